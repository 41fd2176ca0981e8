//! `[limits]`: what is too large, too slow or too much ends in good order, and early.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headroom::clock;
use headroom::gateway::Settings;
use headroom::limits::Limits;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::exchange::{OK, body, fields, http2, status};
use crate::support::faulty::{Act, playing, say};
use crate::support::frames::{END_STREAM, HEADERS, block, frame, opening};
use crate::support::harness::{Caller, Harness, PATIENCE};
use crate::support::upstream::Upstream;

/// Short for a test, and long for a machine that is busy with others.
const SHORT: Duration = Duration::from_millis(400);

/// So long an idle connection of HTTP/2 has for going.
const FAREWELL: Duration = Duration::from_secs(1);

async fn limited(upstream: &Upstream, limits: Limits) -> Harness {
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
    // A slow upload, whose bytes are no head.
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

/// A provider that tells when it is called, and when nobody wants its answer any more.
async fn patient(answer: &'static str) -> (Upstream, UnboundedReceiver<&'static str>) {
    let (told, news) = unbounded_channel();
    let upstream = Upstream::scripted(move |mut peer, _| {
        let told = told.clone();
        async move {
            peer.head().await?;
            peer.write(answer).await?;
            told.send("called").unwrap();
            while peer.more().await.is_ok() {}
            told.send("gone").unwrap();
            Ok(())
        }
    })
    .await;
    (upstream, news)
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_its_call_within_a_second() {
    const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    for (answer, rest) in [
        ("", "\r\n"),
        (HALF, "\r\n"),
        ("", "Content-Length: 10\r\n\r\nhalf"),
        ("", "Content-Length: 4\r\n\r\nhalf"),
        (HALF, "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
    ] {
        let (upstream, mut news) = patient(answer).await;
        let gateway = Harness::new(&upstream.base_url()).await;
        let mut caller = Caller::connect(gateway.address).await;
        caller
            .write(format!("POST /crm/ HTTP/1.1\r\nHost: a\r\n{rest}"))
            .await;
        assert_eq!(news.recv().await, Some("called"));
        if !answer.is_empty() {
            caller.until("half").await;
        }
        drop(caller);
        let gone = tokio::time::timeout(Duration::from_secs(1), news.recv()).await;
        assert_eq!(gone.expect(rest), Some("gone"), "{rest}");
    }
    for answer in ["", HALF] {
        let (upstream, mut news) = patient(answer).await;
        let gateway = Harness::new(&upstream.base_url()).await;
        let url = format!("http://{}/crm/", gateway.address);
        let calling = tokio::spawn(async move {
            let mut answer = http2().get(url).send().await.unwrap();
            while answer.chunk().await.is_ok() {}
        });
        assert_eq!(news.recv().await, Some("called"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        calling.abort();
        let gone = tokio::time::timeout(Duration::from_secs(1), news.recv()).await;
        assert_eq!(gone.expect("HTTP/2"), Some("gone"));
    }
}

#[tokio::test]
async fn a_call_too_many_is_refused_before_its_body_is_read() {
    let (upstream, mut news) = patient("").await;
    let limits = Limits {
        concurrent_calls: 2,
        ..Limits::default()
    };
    let gateway = limited(&upstream, limits).await;
    let mut callers = Vec::new();
    for _ in 0..2 {
        let mut caller = Caller::connect(gateway.address).await;
        caller.write("GET /crm/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(news.recv().await, Some("called"));
        callers.push(caller);
    }
    let post =
        "POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n";
    let answer = gateway.send(post).await;
    assert_eq!(status(&answer), 503, "{answer}");
    assert_eq!(fields(&answer, "retry-after"), ["1"]);
    assert_eq!(
        fields(&answer, "content-type"),
        ["application/problem+json"]
    );
    assert!(
        !answer.contains("100 Continue") && answer.contains("\"overloaded\""),
        "{answer}"
    );
    // Headroom's own pages are there all the same.
    assert_eq!(status(&gateway.get("/-/healthz").await), 200);
    drop(callers.pop());
    assert_eq!(news.recv().await, Some("gone"));
    let mut caller = Caller::connect(gateway.address).await;
    caller.write("GET /crm/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let called = tokio::time::timeout(PATIENCE, news.recv()).await;
    assert_eq!(called.unwrap(), Some("called"));
}

#[tokio::test]
async fn a_streams_place_is_free_when_it_ends() {
    let upstream = Upstream::answering(OK).await;
    let limits = Limits {
        concurrent_calls: 1,
        connections_per_origin: 1,
        ..Limits::default()
    };
    let gateway = limited(&upstream, limits).await;
    for method in ["GET", "HEAD", "POST"].into_iter().cycle().take(30) {
        let request = format!(
            "{method} /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(status(&gateway.send(request).await), 200, "{method}");
    }
}

#[tokio::test]
async fn more_calls_than_connections_wait_for_one() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, seen) = (Arc::clone(&now), Arc::clone(&most));
    let upstream = Upstream::scripted(move |mut peer, _| {
        let (now, most) = (Arc::clone(&counted), Arc::clone(&seen));
        async move {
            loop {
                peer.request().await?;
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no")
                    .await?;
                // The place is taken to the last byte.
                tokio::time::sleep(Duration::from_millis(20)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                peer.write("k").await?;
            }
        }
    })
    .await;
    let limits = Limits {
        connections_per_origin: 3,
        ..Limits::default()
    };
    let gateway = Arc::new(limited(&upstream, limits).await);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..30 {
        let gateway = Arc::clone(&gateway);
        calls.spawn(async move { status(&gateway.get("/crm/").await) });
    }
    assert_eq!(calls.join_all().await, [200; 30]);
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn waiting_for_a_connection_has_an_end() {
    let upstream = playing(vec![
        Act::Read,
        say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nstream"),
        Act::Stall,
    ])
    .await;
    let limits = Limits {
        connections_per_origin: 1,
        connect_timeout: SHORT,
        ..Limits::default()
    };
    let gateway = limited(&upstream, limits).await;
    let mut stream = Caller::connect(gateway.address).await;
    stream.write("GET /crm/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    stream.until("stream").await;
    let answer = gateway.get("/crm/").await;
    assert_eq!(status(&answer), 503, "{answer}");
    assert_eq!(
        fields(&answer, "proxy-status"),
        ["headroom; error=connection_limit_reached"]
    );
    assert_eq!(fields(&answer, "retry-after"), ["1"]);
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn what_callers_make_up_makes_no_table_grow_without_end() {
    const CALLERS: usize = 8;
    const EACH: usize = 1_250;
    const AT_ONCE: usize = 50;
    let made_up = |name: usize| {
        format!(
            "M{name} /crm/p{name}/x{name}y?q={name} HTTP/1.1\r\nHost: h{name}.example\r\nUser-Agent: u{name}\r\n\
             Authorization: Bearer t{name}\r\nX-{name}: v\r\n\r\n"
        )
    };
    let upstream = Upstream::answering(OK).await;
    let gateway = Arc::new(Harness::new(&upstream.base_url()).await);
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..CALLERS {
        let address = gateway.address;
        callers.spawn(async move {
            let mut caller = Caller::connect(address).await;
            for start in (0..EACH).step_by(AT_ONCE) {
                let calls = start..start + AT_ONCE;
                let calls = calls.map(|one| made_up(number * EACH + one));
                caller.write(calls.collect::<String>()).await;
                let mut answers = Vec::new();
                while answers
                    .windows(6)
                    .filter(|&end| end == b"\r\n\r\nok")
                    .count()
                    < AT_ONCE
                {
                    assert!(caller.stream.read_buf(&mut answers).await.unwrap() > 0);
                }
            }
        });
    }
    callers.join_all().await;
    assert_eq!(upstream.requests().len(), CALLERS * EACH);
    let metrics = gateway.get("/-/metrics").await;
    let series = body(&metrics)
        .lines()
        .filter(|line| !line.starts_with('#'))
        .count();
    // Past 4,000 callers that have no name, all others are one.
    assert!(series > 10 && series < CALLERS * EACH, "{series}");
    let report = gateway
        .get("/-/usage?by=endpoint&last=1h&format=json")
        .await;
    assert_eq!(status(&report), 200, "{report}");
    let rows = report.matches("\"endpoint\"").count();
    assert!(rows > 10 && rows < 5_000, "{rows}");
}
