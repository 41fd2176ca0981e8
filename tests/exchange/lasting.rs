//! Streams of events, which headroom writes without hyper: they end, break off and go as other answers do.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Mutex, Notify};

use crate::exchange::{OK, body, fields, status};
use crate::support::harness::{Caller, Harness};
use crate::support::upstream::{Peer, Upstream};

const PATIENCE: Duration = Duration::from_secs(10);
const HEAD: &str =
    "HTTP/1.1 200 Fine\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const EVENT: &str = "9\r\ndata: 1\n\n\r\n";
const END: &str = "0\r\n\r\n";

/// What the provider of events is told to do, and where it tells of its end.
struct Director {
    acts: UnboundedSender<Act>,
    gone: Arc<Notify>,
}

enum Act {
    Say(String),
    Reset,
}

impl Director {
    fn say(&self, words: impl Into<String>) {
        self.acts.send(Act::Say(words.into())).unwrap();
    }

    async fn sees_it_go(&self) {
        let gone = tokio::time::timeout(PATIENCE, self.gone.notified());
        gone.await.expect("the end of the call");
    }
}

/// Begins a stream of what it is told for each call whose path ends with `events`, and answers all others at once.
async fn provider() -> (Upstream, Director) {
    let (acts, script) = unbounded_channel();
    let (script, gone) = (Arc::new(Mutex::new(script)), Arc::new(Notify::new()));
    let told = Arc::clone(&gone);
    let upstream = Upstream::scripted(move |mut peer, _| {
        let (script, told) = (Arc::clone(&script), Arc::clone(&told));
        async move {
            loop {
                let request = peer.request().await?;
                if !request.lines().next().unwrap().contains("events") {
                    peer.write(OK).await?;
                    continue;
                }
                peer.write(HEAD).await?;
                if play(&mut peer, &mut *script.lock().await).await? {
                    return peer.reset();
                }
                if peer.unread().is_empty() {
                    told.notify_one();
                }
            }
        }
    })
    .await;
    (upstream, Director { acts, gone })
}

/// A caller that has its first event.
async fn listener(gateway: &Harness, director: &Director) -> Caller {
    let mut caller = Caller::connect(gateway.address).await;
    listens(&mut caller, director).await;
    caller
}

/// The caller asks for a stream, and has its first event.
async fn listens(caller: &mut Caller, director: &Director) {
    caller
        .write("GET /crm/events HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    director.say(EVENT);
    caller.until("data: 1\n\n\r\n").await;
}

/// Whether it ends with a reset. Nothing is asked of it meanwhile, so what is read is the end of the call.
async fn play(peer: &mut Peer, script: &mut UnboundedReceiver<Act>) -> std::io::Result<bool> {
    loop {
        tokio::select! {
            act = script.recv() => match act {
                Some(Act::Say(words)) => {
                    peer.write(&words).await?;
                    if words.ends_with(END) {
                        return Ok(false);
                    }
                }
                _ => return Ok(true),
            },
            read = peer.more() => {
                assert!(read.is_err());
                return Ok(false);
            }
        }
    }
}

#[tokio::test]
async fn calls_go_on_behind_a_stream_also_those_that_came_meanwhile() {
    let (upstream, director) = provider().await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let mut caller = Caller::connect(gateway.address).await;
    for _ in 0..2 {
        caller
            .write("POST /crm/events HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            .await;
        director.say(EVENT);
        let answer = caller.until("data: 1\n\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 Fine\r\n"), "{answer:?}");
        assert_eq!(fields(&answer, "transfer-encoding"), ["chunked"]);
        assert_eq!(fields(&answer, "date").len(), 1);
        assert_eq!(fields(&answer, "connection"), [""; 0]);
        director.say(format!("{EVENT}{END}"));
        assert!(caller.until(END).await.ends_with(END));
    }
    listens(&mut caller, &director).await;
    // More than is read of it meanwhile, and not all of it.
    let long = "b".repeat(3_000);
    caller
        .write(format!(
            "GET /crm/next HTTP/1.1\r\nHost: a\r\nx-long: {long}\r\n"
        ))
        .await;
    director.say(EVENT);
    caller.until("data: 1\n\n\r\n").await;
    director.say(END);
    caller.until(END).await;
    caller.write("Connection: close\r\n\r\n").await;
    let answer = caller.rest().await;
    assert_eq!((status(&answer), body(&answer)), (200, "ok"));
    assert_eq!(upstream.requests().len(), 4);
    let last = upstream.requests().pop().unwrap();
    assert_eq!(fields(&last, "x-long"), [long]);
}

#[tokio::test]
async fn a_stream_is_the_last_answer_for_who_wants_that() {
    let (upstream, director) = provider().await;
    let gateway = Harness::new(&upstream.base_url()).await;
    director.say(format!("{EVENT}{END}"));
    let answer = gateway.get("/crm/events").await;
    assert_eq!(fields(&answer, "connection"), ["close"]);
    assert_eq!(body(&answer), format!("{EVENT}{END}"));
}

#[tokio::test]
async fn a_stream_that_breaks_off_has_no_end() {
    let (upstream, director) = provider().await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let mut caller = listener(&gateway, &director).await;
    director.acts.send(Act::Reset).unwrap();
    assert_eq!(caller.rest().await, "");
}

#[tokio::test]
async fn a_caller_that_leaves_a_silent_stream_cancels_it() {
    let (upstream, director) = provider().await;
    let gateway = Harness::new(&upstream.base_url()).await;
    // Also behind what nobody reads.
    for before in [
        "",
        "GET /crm/next HTTP/1.1\r\nHost: a\r\n\r\n",
        &"x".repeat(100_000),
    ] {
        let mut caller = listener(&gateway, &director).await;
        caller.write(before).await;
        drop(caller);
        director.sees_it_go().await;
    }
}

#[tokio::test]
async fn a_stream_waits_for_its_reader_and_arrives_whole() {
    const EVENTS: usize = 200;
    let (upstream, director) = provider().await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("GET /crm/events HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let data = |number: usize| format!("data: {}\n\n", format!("{number:04}").repeat(10_000));
    for number in 0..EVENTS {
        let event = data(number);
        director.say(format!("{:x}\r\n{event}\r\n", event.len()));
    }
    director.say(END);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let answer = caller.rest().await;
    let mut rest = body(&answer);
    let mut whole = String::new();
    while let Some((length, data)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        whole.push_str(&data[..length]);
        rest = data[length..].strip_prefix("\r\n").unwrap();
    }
    assert!(whole == (0..EVENTS).map(data).collect::<String>());
}
