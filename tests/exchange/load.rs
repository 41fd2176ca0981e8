//! How much may be under way, and what of it ends when a caller goes away.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use headroom::limits::Limits;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::exchange::limits::{SHORT, limited};
use crate::exchange::{OK, body, fields, http2, status};
use crate::support::faulty::{Act, playing, say};
use crate::support::harness::{Caller, Harness, PATIENCE};
use crate::support::upstream::Upstream;

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

/// The provider hears of it although there is more on its way than it takes.
#[tokio::test]
async fn a_caller_that_goes_away_cancels_an_upload_that_the_provider_does_not_take() {
    let (told, mut news) = unbounded_channel();
    let upstream = Upstream::scripted(move |mut peer, _| {
        let told = told.clone();
        async move {
            peer.head().await?;
            told.send("called").unwrap();
            // It can be written to until the connection was reset.
            while peer.write("HTTP/1.1 100 Continue\r\n\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            told.send("gone").unwrap();
            Ok(())
        }
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
        .await;
    assert_eq!(news.recv().await, Some("called"));
    // As much as fits between the two.
    let body = vec![b'x'; 50_000_000];
    let writing = tokio::io::AsyncWriteExt::write_all(&mut caller.stream, &body);
    assert!(tokio::time::timeout(SHORT, writing).await.is_err());
    // Its own system would hold a quiet end back behind the rest.
    caller.stream.set_zero_linger().unwrap();
    drop(caller);
    let gone = tokio::time::timeout(PATIENCE, news.recv()).await;
    assert_eq!(gone.expect("the end"), Some("gone"));
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_its_call() {
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
        let gone = tokio::time::timeout(PATIENCE, news.recv()).await;
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
        let gone = tokio::time::timeout(PATIENCE, news.recv()).await;
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
