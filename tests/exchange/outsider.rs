//! What somebody who did not write headroom found: cases of the black-box tester of issue 5 that no other file has.

use std::io;
use std::time::Duration;

use headroom::limits::Limits;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::unbounded_channel;

use crate::exchange::limits::{SHORT, limited};
use crate::exchange::{OK, fields, status};
use crate::support::frames::{
    END_HEADERS, END_STREAM, HEADERS, SETTINGS, block, call, frame, listen,
};
use crate::support::harness::{Caller, Harness, PATIENCE};
use crate::support::upstream::Upstream;

/// RFC 9110 leaves it to the gateway; headroom promises a second, also where the end stands behind what was sent. That a
/// call has ended shows in its place, which the next one takes.
#[tokio::test]
async fn a_caller_that_goes_away_behind_what_nobody_reads_is_noticed() {
    let upload = format!(
        "POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n{}",
        "x".repeat(32 << 20)
    );
    // So much lies before headroom at once; an end that the caller's own system still holds back nobody can see.
    let pipelined = "GET /crm/ HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1_200);
    for (words, ends) in [(upload, &[true][..]), (pipelined, &[false, true])] {
        for &resets in ends {
            let name = words.get(..4).unwrap_or_default();
            let upstream = Upstream::scripted(|mut peer, number| async move {
                peer.head().await?;
                if number == 0 {
                    std::future::pending::<()>().await;
                }
                peer.write(OK).await
            })
            .await;
            let limits = Limits {
                concurrent_calls: 1,
                ..Limits::default()
            };
            let gateway = limited(&upstream, limits).await;
            let mut caller = Caller::connect(gateway.address).await;
            // As much as fits between the two.
            let writing = caller.stream.write_all(words.as_bytes());
            let _stuck = tokio::time::timeout(SHORT, writing).await;
            assert_eq!(status(&gateway.get("/crm/").await), 503, "{name}");
            if resets {
                caller.stream.set_zero_linger().unwrap();
            }
            drop(caller);
            let next = async {
                while status(&gateway.get("/crm/").await) != 200 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            // Half a second, on a machine that has nothing else to do.
            let freed = tokio::time::timeout(PATIENCE, next).await;
            freed.unwrap_or_else(|_| panic!("{name}, {resets}"));
        }
    }
}

/// A caller that is still there keeps its call, however long nobody reads what it sends.
#[tokio::test]
async fn a_caller_that_only_waits_is_not_taken_for_gone() {
    let upstream = Upstream::scripted(|mut peer, _| async move {
        peer.head().await?;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        peer.request().await?;
        peer.write(OK).await
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let body = "x".repeat(8 << 20);
    let answer = gateway
        .send(format!(
            "POST /crm/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert_eq!(status(&answer), 200);
}

/// A window of HTTP/2 that never opens (RFC 9113, section 5.2) must not hold a provider's connection for ever; the caller's
/// other calls go on.
#[tokio::test]
async fn an_answer_over_http2_that_is_not_taken_is_let_go() {
    let (told, mut news) = unbounded_channel();
    let upstream = Upstream::scripted(move |mut peer, _| {
        let told = told.clone();
        async move {
            peer.head().await?;
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n")
                .await?;
            let piece = vec![b'x'; 65_536];
            let ended: io::Result<()> = async {
                loop {
                    peer.write(&piece).await?;
                }
            }
            .await;
            told.send(ended.is_err()).unwrap();
            Ok(())
        }
    })
    .await;
    let limits = Limits {
        send_timeout: SHORT,
        // The timer of a connection is set no later than that.
        head_timeout: SHORT,
        ..Limits::default()
    };
    let gateway = limited(&upstream, limits).await;
    let head = |path| {
        [
            (":method", "GET"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "localhost"),
        ]
    };
    let mut caller = Caller::connect(gateway.address).await;
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let opening = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &no_window].concat();
    caller
        .write([opening, call(1, &head("/crm/"))].concat())
        .await;
    assert_eq!(listen(&mut caller).await.statuses, [0x88]);
    let ended = tokio::time::timeout(PATIENCE, news.recv()).await;
    assert_eq!(ended.expect("the provider is let go"), Some(true));
    // The connection is good: another call is answered.
    caller.write(call(3, &head("/-/healthz"))).await;
    assert_eq!(listen(&mut caller).await.statuses, [0x88]);
}

#[tokio::test]
async fn a_question_about_headroom_itself_goes_no_further() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let asked = "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = gateway.send(asked).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(!fields(&answer, "allow").is_empty(), "{answer}");
    assert_eq!(upstream.requests(), [""; 0]);
}

/// RFC 9110, section 7.1: what another scheme means is not this gateway's to know.
#[tokio::test]
async fn targets_of_other_schemes_are_refused() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for scheme in ["ftp", "ws", "file", "httpx"] {
        let answer = gateway
            .send(format!(
                "GET {scheme}://crm.localhost/x HTTP/1.1\r\nHost: crm.localhost\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!(status(&answer), 400, "{scheme}: {answer}");
        let mut caller = Caller::connect(gateway.address).await;
        let asked = block(&[
            (":method", "GET"),
            (":scheme", scheme),
            (":path", "/crm/"),
            (":authority", "a"),
        ]);
        let opening = crate::support::frames::opening();
        let asked = frame(HEADERS, END_HEADERS | END_STREAM, 1, &asked);
        caller.write([opening, asked].concat()).await;
        assert!(listen(&mut caller).await.refused(), "{scheme}");
    }
    assert_eq!(upstream.requests(), [""; 0]);
}

/// Whoever frames a body by a coding that headroom does not know may see its end elsewhere (RFC 9112, section 11.2).
#[tokio::test]
async fn nothing_is_read_behind_a_coding_that_is_not_known() {
    for coding in ["chunked, chunked", "identity, chunked", "gzip, chunked"] {
        let upstream = Upstream::answering(OK).await;
        let gateway = Harness::new(&upstream.base_url()).await;
        let answer = gateway
            .send(format!(
                "POST /crm/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\nGET /crm/smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!(status(&answer), 501, "{coding}: {answer}");
        assert_eq!(fields(&answer, "connection"), ["close"], "{coding}");
        assert_eq!(upstream.requests(), [""; 0], "{coding}");
    }
}

#[tokio::test]
async fn a_method_is_part_of_a_head_that_may_be_too_large() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let method = "M".repeat(70_000);
    let answer = gateway
        .send(format!(
            "{method} /crm/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        ))
        .await;
    assert_eq!(status(&answer), 431, "{answer}");
    assert_eq!(upstream.requests(), [""; 0]);
}
