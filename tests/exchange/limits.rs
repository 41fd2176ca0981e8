//! `[limits]`: what is too large, too slow or too much ends in good order, and early.

use std::time::Duration;

use headroom::clock;
use headroom::gateway::Settings;
use headroom::limits::Limits;
use tokio::sync::mpsc::unbounded_channel;

use crate::exchange::{OK, body, http2, status};
use crate::support::faulty::{Act, playing};
use crate::support::frames::{END_STREAM, HEADERS, block, frame, opening};
use crate::support::harness::{Caller, Harness, PATIENCE};
use crate::support::upstream::Upstream;

/// Short for a test, and long for a machine that is busy with others.
pub(crate) const SHORT: Duration = Duration::from_millis(400);

/// So long an idle connection of HTTP/2 has for going.
const FAREWELL: Duration = Duration::from_secs(1);

pub(crate) async fn limited(upstream: &Upstream, limits: Limits) -> Harness {
    let settings = Settings {
        limits,
        ..Settings::default()
    };
    Harness::with(&upstream.base_url(), settings).await
}

/// How long it takes until the gateway closes.
async fn until_closed(caller: &mut Caller) -> Duration {
    let before = clock::monotonic();
    caller.rest().await;
    before.elapsed()
}

#[tokio::test]
async fn slow_heads_and_idle_connections_have_their_own_times() {
    let upstream = Upstream::answering(OK).await;
    let limits = Limits {
        head_timeout: SHORT,
        idle_timeout: SHORT * 4,
        ..Limits::default()
    };
    let gateway = limited(&upstream, limits).await;
    let open_block = frame(HEADERS, END_STREAM, 1, &block(&[(":method", "GET")]));
    let half_frame = [&*opening(), &[0, 0, 9, 1]].concat();
    for (beginning, expected) in [
        (b"GET /crm/ HTTP/1.1\r\nHost: a\r\nX: ".to_vec(), SHORT),
        (b"PRI * HTTP/2.0\r\n".to_vec(), SHORT),
        ([opening(), open_block].concat(), SHORT),
        (half_frame, SHORT),
        (Vec::new(), SHORT * 4),
        (opening(), SHORT * 4),
    ] {
        let mut caller = Caller::connect(gateway.address).await;
        caller.write(&beginning).await;
        let took = until_closed(&mut caller).await;
        // A connection of HTTP/2 is told before it is closed.
        let fits = took >= expected - SHORT / 10 && took < expected + SHORT * 2 + FAREWELL;
        assert!(fits, "{took:?}: {:?}", String::from_utf8_lossy(&beginning));
    }
    // Kept after a call, and then slow with the next one.
    for (next, expected) in [("", SHORT * 4), ("GET ", SHORT)] {
        let mut caller = Caller::connect(gateway.address).await;
        caller.write("GET /crm/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
        caller.until("\r\n\r\nok").await;
        caller.write(next).await;
        let took = until_closed(&mut caller).await;
        assert!(
            took >= expected - SHORT / 10 && took < expected + SHORT * 2,
            "{took:?} {next}"
        );
    }
}

#[tokio::test]
async fn a_head_that_drips_is_cut_all_the_same() {
    let limits = Limits {
        head_timeout: SHORT,
        ..Limits::default()
    };
    let upstream = Upstream::answering(OK).await;
    let gateway = limited(&upstream, limits).await;
    let mut caller = Caller::connect(gateway.address).await;
    let before = clock::monotonic();
    caller.write("GET /crm/ HTTP/1.1\r\nHost: a\r\nX: ").await;
    // Writing fails some time after the other end is closed.
    while tokio::io::AsyncWriteExt::write_all(&mut caller.stream, b"x")
        .await
        .is_ok()
    {
        tokio::time::sleep(SHORT / 10).await;
        assert!(before.elapsed() < SHORT * 4);
    }
    assert!(before.elapsed() >= SHORT);
    assert_eq!(upstream.requests(), [""; 0]);
}

#[tokio::test]
async fn calls_and_streams_are_neither_slow_nor_idle() {
    let pause = Duration::from_millis(100);
    let drip = Act::Drip(
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789".to_vec(),
        pause / 5,
    );
    let upstream = playing(vec![Act::Read, drip]).await;
    let limits = Limits {
        head_timeout: pause,
        idle_timeout: pause,
        ..Limits::default()
    };
    let gateway = limited(&upstream, limits).await;
    assert_eq!(body(&gateway.get("/crm/").await), "0123456789");
    let url = format!("http://{}/crm/", gateway.address);
    let answer = http2().get(url).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "0123456789");
    // A slow upload, whose bytes are no head. To a provider that does not close what it has just answered on.
    let upstream = Upstream::answering(OK).await;
    let gateway = limited(&upstream, limits).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nConnection: close\r\n\r\n")
        .await;
    for _ in 0..6 {
        tokio::time::sleep(pause / 2).await;
        caller.write("x").await;
    }
    assert_eq!(status(&caller.rest().await), 200);
}

#[tokio::test]
async fn who_takes_nothing_of_an_answer_is_let_go() {
    let (told, mut gone) = unbounded_channel();
    let upstream = Upstream::scripted(move |mut peer, _| {
        let told = told.clone();
        async move {
            peer.request().await?;
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
                .await?;
            while peer.write([0; 65_536]).await.is_ok() {}
            told.send(()).unwrap();
            Ok(())
        }
    })
    .await;
    let limits = Limits {
        send_timeout: SHORT,
        ..Limits::default()
    };
    let gateway = limited(&upstream, limits).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller.write("GET /crm/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    tokio::time::timeout(PATIENCE, gone.recv())
        .await
        .unwrap()
        .unwrap();
    assert!(caller.rest().await.len() < 1_000_000_000);
}

#[tokio::test]
async fn bodies_that_are_too_slow_or_too_long_are_told_so() {
    let upstream = Upstream::answering(OK).await;
    let limits = Limits {
        body_timeout: SHORT,
        body_bytes: Some(10),
        ..Limits::default()
    };
    let gateway = limited(&upstream, limits).await;
    let post =
        |rest: &str| format!("POST /crm/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{rest}");
    for (rest, expected, code) in [
        ("Content-Length: 10\r\n\r\n0123456789", 200, ""),
        (
            "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
            200,
            "",
        ),
        ("Content-Length: 11\r\n\r\n", 413, "body-too-long"),
        (
            "Content-Length: 11\r\n\r\n0123456789a",
            413,
            "body-too-long",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n5\r\n6789a\r\n0\r\n\r\n",
            413,
            "body-too-long",
        ),
        (
            "Transfer-Encoding: chunked\r\n\r\nfffffff\r\n0123456789a",
            413,
            "body-too-long",
        ),
        ("Content-Length: 9\r\n\r\n01234", 408, "slow-request"),
        (
            "Transfer-Encoding: chunked\r\n\r\n5\r\n012",
            408,
            "slow-request",
        ),
    ] {
        let before = upstream.requests().len();
        let answer = gateway.send(post(rest)).await;
        assert_eq!(status(&answer), expected, "{rest}: {answer}");
        assert!(answer.contains(code), "{answer}");
        assert_eq!(
            upstream.requests().len() - before,
            usize::from(expected == 200),
            "{rest}"
        );
    }
    let url = format!("http://{}/crm/", gateway.address);
    let answer = http2().post(url).body("0123456789a").send().await.unwrap();
    assert_eq!(answer.status(), 413);
}

#[tokio::test]
async fn heads_that_are_too_large_are_told_what_is_too_large() {
    let upstream = Upstream::answering(OK).await;
    let limits = Limits {
        header_bytes: 8 * 1024,
        header_fields: 50,
        ..Limits::default()
    };
    let gateway = limited(&upstream, limits).await;
    let long = |length: usize| "v".repeat(length);
    let fields_of = |count: usize| {
        (0..count)
            .map(|one| format!("x{one}: v\r\n"))
            .collect::<String>()
    };
    for (target, lines, expected) in [
        (long(7_000), String::new(), 200),
        (String::new(), format!("x: {}\r\n", long(7_000)), 200),
        (String::new(), fields_of(40), 200),
        (long(9_000), String::new(), 414),
        (String::new(), format!("x: {}\r\n", long(9_000)), 431),
        // So large that nobody reads it to its end.
        (String::new(), format!("x: {}\r\n", long(300_000)), 431),
        (String::new(), fields_of(60), 431),
    ] {
        let request =
            format!("GET /crm/{target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n");
        let before = upstream.requests().len();
        let answer = gateway.send(request).await;
        assert_eq!(
            status(&answer),
            expected,
            "{} {}",
            target.len(),
            lines.len()
        );
        assert_eq!(
            upstream.requests().len() - before,
            usize::from(expected == 200)
        );
    }
    let url = format!("http://{}/crm/", gateway.address);
    for (target, lines, expected) in [(7_000, 0, 200), (9_000, 0, 414), (0, 60, 431), (0, 40, 200)]
    {
        let mut call = http2().get(format!("{url}{}", long(target)));
        for one in 0..lines {
            call = call.header(format!("x{one}"), "v");
        }
        // What is larger than the connection's own limit may be reset instead.
        match call.send().await {
            Ok(answer) if expected == 414 => assert!(matches!(answer.status().as_u16(), 414 | 431)),
            Ok(answer) => assert_eq!(answer.status(), expected, "{target} {lines}"),
            Err(error) => assert_eq!(expected, 414, "{error}"),
        }
    }
}
