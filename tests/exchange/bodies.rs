//! Bodies stream both ways, whole or visibly broken.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use headroom::gateway::Settings;
use headroom::limits::Limits;
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;

use crate::exchange::{OK, body, fields, status};
use crate::support::harness::{Caller, Harness};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn request_bodies_keep_their_framing() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    gateway
        .send(
            "POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
        )
        .await;
    gateway
        .send("GET /crm/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")
        .await;
    gateway
        .send(
            "DELETE /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        )
        .await;
    let [sized, chunked, delete] = &upstream.requests()[..] else {
        panic!("{:?}", upstream.requests())
    };
    assert_eq!(
        (fields(sized, "content-length"), body(sized)),
        (vec!["5"], "hello")
    );
    assert_eq!(fields(chunked, "transfer-encoding"), ["chunked"]);
    assert_eq!(body(chunked).replace("\r\n", " "), "3 hel 2 lo 0  ");
    assert_eq!(
        (fields(delete, "content-length"), body(delete)),
        (vec!["2"], "hi")
    );
}

#[tokio::test]
async fn a_request_body_arrives_as_it_is_sent() {
    let arrived = Arc::new(Notify::new());
    let told = Arc::clone(&arrived);
    let upstream = Upstream::scripted(move |mut peer, _| {
        let told = Arc::clone(&told);
        async move {
            while crate::support::upstream::find(peer.unread(), b"first").is_none() {
                peer.more().await?;
            }
            told.notify_one();
            peer.request().await?;
            peer.write(OK).await
        }
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller.write("POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nConnection: close\r\n\r\nfirst").await;
    arrived.notified().await;
    caller.write("second").await;
    assert_eq!(status(&caller.rest().await), 200);
}

#[tokio::test]
async fn the_body_is_asked_for_when_the_caller_expects_that() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n")
        .await;
    caller.until("100 Continue\r\n\r\n").await;
    caller.write("hello").await;
    assert_eq!(status(&caller.rest().await), 200);
    assert_eq!(fields(&upstream.request(), "expect"), [""; 0]);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n2\r\nok\r\n0\r\nx-sum: 9\r\n\r\n",
    )
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let answer = gateway
        .send("POST /crm/ HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTrailer: x-check\r\nTransfer-Encoding: chunked\r\nConnection: close, TE\r\n\r\n2\r\nhi\r\n0\r\nx-check: 7\r\n\r\n")
        .await;
    assert!(
        answer.ends_with("2\r\nok\r\n0\r\nx-sum: 9\r\n\r\n"),
        "{answer:?}"
    );
    assert!(
        upstream
            .request()
            .ends_with("2\r\nhi\r\n0\r\nx-check: 7\r\n\r\n"),
        "{:?}",
        upstream.request()
    );
}

#[tokio::test]
async fn events_arrive_before_the_next_one_is_sent() {
    let next = Arc::new(Notify::new());
    let wait = Arc::clone(&next);
    let upstream = Upstream::scripted(move |mut peer, _| {
        let wait = Arc::clone(&wait);
        async move {
            peer.request().await?;
            peer.write("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            for number in 0..3 {
                peer.write(format!("9\r\ndata: {number}\n\n\r\n")).await?;
                wait.notified().await;
            }
            peer.write("0\r\n\r\n").await
        }
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("GET /crm/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    for number in 0..3 {
        caller.until(&format!("data: {number}\n\n")).await;
        next.notify_one();
    }
    assert!(caller.rest().await.ends_with("0\r\n\r\n"));
}

#[tokio::test]
async fn a_long_download_is_held_back_by_its_reader_and_arrives_whole() {
    const MIB: usize = 1024 * 1024;
    const SIZE: usize = 64 * MIB;
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&sent);
    let upstream = Upstream::scripted(move |mut peer, _| {
        let count = Arc::clone(&count);
        async move {
            peer.request().await?;
            peer.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n"))
                .await?;
            let piece: Vec<u8> = (0..MIB).map(|at| u8::try_from(at % 251).unwrap()).collect();
            for _ in 0..SIZE / MIB {
                peer.write(&piece).await?;
                count.fetch_add(MIB, std::sync::atomic::Ordering::SeqCst);
            }
            Ok(())
        }
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("GET /crm/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    // The caller does not read: the provider's side must come to a halt after what sockets and two buffers hold.
    let mut before = usize::MAX;
    while before != sent.load(std::sync::atomic::Ordering::SeqCst) {
        before = sent.load(std::sync::atomic::Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(
        before < SIZE / 2,
        "{before} bytes were taken from the provider, and nobody read them"
    );
    let mut answer = Vec::new();
    caller.stream.read_to_end(&mut answer).await.unwrap();
    let start = crate::support::upstream::find(&answer, b"\r\n\r\n").unwrap() + 4;
    assert_eq!(answer.len() - start, SIZE);
    assert!(
        answer[start..]
            .iter()
            .enumerate()
            .all(|(at, byte)| usize::from(*byte) == (at % MIB) % 251)
    );
}

#[tokio::test]
async fn a_transfer_that_breaks_at_the_provider_breaks_at_the_caller() {
    for (head, reset) in [
        ("content-length: 100\r\n\r\nhalf", false),
        ("content-length: 100\r\n\r\nhalf", true),
        ("transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", false),
        ("transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", true),
        (
            "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
            false,
        ),
    ] {
        let upstream = Upstream::scripted(move |mut peer, _| async move {
            peer.request().await?;
            peer.write(format!("HTTP/1.1 200 OK\r\n{head}")).await?;
            // Not before the caller has seen the first half, so that the reset cannot overtake it.
            tokio::time::sleep(Duration::from_millis(20)).await;
            if reset { peer.reset() } else { Ok(()) }
        })
        .await;
        let gateway = Harness::new(&upstream.base_url()).await;
        let answer = gateway.get("/crm/").await;
        assert_eq!(status(&answer), 200);
        let whole = answer.ends_with("0\r\n\r\n") || body(&answer).len() >= 100;
        assert!(!whole, "{answer:?}");
    }
}

#[tokio::test]
async fn a_provider_that_falls_silent_in_a_body_breaks_the_transfer() {
    let upstream = Upstream::scripted(|mut peer, _| async move {
        peer.request().await?;
        peer.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
            .await?;
        peer.request().await.map(drop)
    })
    .await;
    let settings = Settings {
        limits: Limits {
            silence_timeout: Duration::from_millis(100),
            ..Limits::default()
        },
        ..Settings::default()
    };
    let gateway = Harness::with(&upstream.base_url(), settings).await;
    assert_eq!(body(&gateway.get("/crm/").await), "half");
}

#[tokio::test]
async fn two_lengths_are_one_transfer() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    )
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let answer = gateway.get("/crm/").await;
    assert_eq!(fields(&answer, "content-length"), [""; 0]);
    assert_eq!(body(&answer), "5\r\nhello\r\n0\r\n\r\n");
}

#[tokio::test]
async fn a_body_ended_by_closing_passes() {
    let upstream = Upstream::scripted(|mut peer, _| async move {
        peer.request().await?;
        peer.write("HTTP/1.0 200 OK\r\n\r\nhello").await
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let answer = gateway.get("/crm/").await;
    assert!(body(&answer).contains("hello"));
    assert_eq!(fields(&answer, "via"), ["1.0 headroom"]);
}

#[tokio::test]
async fn a_body_that_translation_reads_still_passes_byte_for_byte() {
    for (answer, expected, whole) in [
        (
            "content-length: 16\r\n\r\n{\"error\":\"quota\"",
            429,
            "{\"error\":\"quota\"",
        ),
        (
            "transfer-encoding: chunked\r\n\r\n5\r\n\"quot\r\n2\r\na\"\r\n0\r\n\r\n",
            429,
            "5\r\n\"quot\r\n2\r\na\"\r\n0\r\n\r\n",
        ),
        (
            "content-encoding: gzip\r\ncontent-length: 5\r\n\r\nquota",
            402,
            "quota",
        ),
        (
            "content-encoding: identity\r\ncontent-length: 5\r\n\r\nquota",
            429,
            "quota",
        ),
        ("content-length: 5\r\n\r\nother", 402, "other"),
        ("content-length: 0\r\n\r\n", 402, ""),
    ] {
        let upstream = Upstream::answering(format!(
            "HTTP/1.1 402 Pay Up\r\ncontent-type: application/json\r\n{answer}"
        ))
        .await;
        let gateway = Harness::new(&upstream.base_url()).await;
        let got = gateway.get("/crm/").await;
        assert_eq!(status(&got), expected, "{answer}");
        assert_eq!(body(&got), whole, "{answer}");
        let moved = if expected == 429 { &["402"][..] } else { &[] };
        assert_eq!(fields(&got, "headroom-upstream-status"), moved);
        assert!(
            got.starts_with(if expected == 429 {
                "HTTP/1.1 429 Too Many"
            } else {
                "HTTP/1.1 402 Pay Up"
            }),
            "{got}"
        );
    }
}

#[tokio::test]
async fn a_body_longer_than_translation_reads_passes_unread() {
    let long = format!("\"quota{}\"", "x".repeat(2 * headroom::adapter::BODY_LIMIT));
    for framing in [
        format!("content-length: {}\r\n\r\n{long}", long.len()),
        format!(
            "transfer-encoding: chunked\r\n\r\n{:x}\r\n{long}\r\n0\r\n\r\n",
            long.len()
        ),
    ] {
        let upstream = Upstream::answering(format!(
            "HTTP/1.1 402 Pay Up\r\ncontent-type: application/json\r\n{framing}"
        ))
        .await;
        let gateway = Harness::new(&upstream.base_url()).await;
        let got = gateway.get("/crm/").await;
        assert_eq!(status(&got), 402);
        assert_eq!(got.matches('x').count(), 2 * headroom::adapter::BODY_LIMIT);
    }
}

#[tokio::test]
async fn a_body_that_drips_does_not_hold_its_head_back() {
    let rest = Arc::new(Notify::new());
    let wait = Arc::clone(&rest);
    let upstream = Upstream::scripted(move |mut peer, _| {
        let wait = Arc::clone(&wait);
        async move {
            peer.request().await?;
            peer.write("HTTP/1.1 402 Pay Up\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\nqu")
                .await?;
            wait.notified().await;
            peer.write("ota").await
        }
    })
    .await;
    let settings = Settings {
        read_ahead_timeout: Duration::from_millis(100),
        ..Settings::default()
    };
    let gateway = Harness::with(&upstream.base_url(), settings).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("GET /crm/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let head = caller.until("\r\n\r\nqu").await;
    assert_eq!(status(&head), 402);
    assert_eq!(
        fields(&head, "ratelimit-limit"),
        [crate::support::harness::LIMIT]
    );
    rest.notify_one();
    assert_eq!(caller.rest().await, "ota");
}

#[tokio::test]
async fn urls_in_json_bodies_lead_back_where_the_adapter_says_so() {
    for (path, kind, extra, rewritten) in [
        ("/hub/", "application/json", "", true),
        (
            "/hub/",
            "application/vnd.github+json; charset=utf-8",
            "",
            true,
        ),
        (
            "/hub/",
            "application/json",
            "content-encoding: gzip\r\n",
            false,
        ),
        // A file, whatever is in it, and a page.
        ("/hub/", "application/vnd.github.raw+json", "", false),
        ("/hub/", "application/vnd.github.v3.html+json", "", false),
        ("/hub/", "text/plain", "", false),
        ("/crm/", "application/json", "", false),
    ] {
        let upstream = Upstream::scripted(move |mut peer, _| async move {
            let base = format!("http://{}", peer.stream.local_addr()?);
            peer.request().await?;
            let body = format!("{{\"next\":\"{base}/p?page=2\"}}");
            let length = body.len();
            peer.write(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\netag: \"a\"\r\ncontent-md5: x\r\n{extra}\r\n{body}"
            ))
            .await
        })
        .await;
        let gateway = Harness::new(&upstream.base_url()).await;
        let got = gateway.get(path).await;
        let base = if rewritten {
            format!("http://{}/hub", gateway.address)
        } else {
            upstream.base_url()
        };
        assert!(
            body(&got).contains(&format!("{{\"next\":\"{base}/p?page=2\"}}")),
            "{got}"
        );
        assert_eq!(fields(&got, "content-md5").is_empty(), rewritten);
        let tag = if rewritten { "W/\"a\"" } else { "\"a\"" };
        assert_eq!(fields(&got, "etag"), [tag]);
        assert_eq!(fields(&got, "content-length").is_empty(), rewritten);
        let identity = if path == "/hub/" {
            &["identity"][..]
        } else {
            &[]
        };
        assert_eq!(fields(&upstream.request(), "accept-encoding"), identity);
    }
}

#[tokio::test]
async fn what_is_revalidated_has_the_tag_that_it_was_given() {
    for (native, path, tag) in [
        ("\"a\"", "/hub/", "W/\"a\""),
        ("W/\"a\"", "/hub/", "W/\"a\""),
        ("\"a\"", "/crm/", "\"a\""),
    ] {
        let upstream = Upstream::answering(format!(
            "HTTP/1.1 304 Not Modified\r\netag: {native}\r\n\r\n"
        ))
        .await;
        let gateway = Harness::new(&upstream.base_url()).await;
        let got = gateway.get(path).await;
        assert_eq!((status(&got), fields(&got, "etag")), (304, vec![tag]));
    }
}

#[tokio::test]
async fn a_refusal_is_understood_in_several_gzip_members_and_not_in_a_broken_one() {
    let zipped = |text: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    };
    let whole = [zipped(b"{\"error\":\"qu"), zipped(b"ota\"}")].concat();
    for (length, expected) in [(whole.len(), 429), (whole.len() - 4, 402)] {
        let head = format!(
            "HTTP/1.1 402 Pay Up\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\n\
             content-length: {length}\r\n\r\n"
        );
        let upstream = Upstream::answering([head.as_bytes(), &whole[..length]].concat()).await;
        let gateway = Harness::new(&upstream.base_url()).await;
        assert_eq!(status(&gateway.get("/crm/").await), expected, "{length}");
    }
}
