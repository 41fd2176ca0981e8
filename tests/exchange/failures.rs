//! Providers that cannot be reached, are slow, or talk nonsense; and callers who break off.

use std::sync::Arc;
use std::time::Duration;

use headroom::gateway::Settings;
use headroom::limits::Limits;
use tokio::net::TcpListener;
use tokio::sync::Barrier;

use crate::exchange::{OK, body, fields, status};
use crate::support::harness::{Caller, Harness, PATIENCE};
use crate::support::upstream::Upstream;

fn assert_failed(answer: &str, expected: u16, error: &str) {
    assert_eq!(status(answer), expected, "{answer}");
    assert_eq!(
        fields(answer, "proxy-status"),
        [format!("headroom; error={error}")]
    );
    assert_eq!(fields(answer, "content-type"), ["application/problem+json"]);
    assert_eq!(fields(answer, "cache-control"), ["no-store"]);
    assert_eq!(
        fields(answer, "ratelimit-limit"),
        [crate::support::harness::LIMIT]
    );
    let problem: serde_json::Value = serde_json::from_str(body(answer)).unwrap();
    assert_eq!(problem["connection"], "crm");
}

#[tokio::test]
async fn a_refused_connection_is_502() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let gateway = Harness::new(&format!("http://{address}")).await;
    assert_failed(&gateway.get("/crm/").await, 502, "connection_refused");
}

#[tokio::test]
async fn an_unknown_host_is_502() {
    let gateway = Harness::new("http://no-such-host.invalid").await;
    assert_failed(&gateway.get("/crm/").await, 502, "dns_error");
}

#[tokio::test]
async fn no_tls_behind_https_is_502() {
    let upstream = Upstream::scripted(|mut peer, _| async move {
        peer.more().await?;
        peer.write("HTTP/1.1 400 Bad Request\r\n\r\n").await
    })
    .await;
    let gateway = Harness::new(&format!("https://{}", upstream.address)).await;
    assert_failed(&gateway.get("/crm/").await, 502, "tls_protocol_error");
}

#[tokio::test]
async fn silence_is_504() {
    let upstream = Upstream::scripted(|mut peer, _| async move {
        peer.request().await?;
        // A head that drips is no head.
        peer.write("HTTP/1.1 200 OK\r\nx: ").await?;
        peer.request().await.map(drop)
    })
    .await;
    let settings = Settings {
        limits: Limits {
            answer_timeout: Duration::from_millis(100),
            ..Limits::default()
        },
        ..Settings::default()
    };
    let gateway = Harness::with(&upstream.base_url(), settings).await;
    assert_failed(&gateway.get("/crm/").await, 504, "http_response_timeout");
    let post = "POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    assert_failed(&gateway.send(post).await, 504, "http_response_timeout");
}

#[tokio::test]
async fn a_long_upload_is_not_silence() {
    let upstream = Upstream::answering(OK).await;
    let settings = Settings {
        limits: Limits {
            answer_timeout: Duration::from_millis(300),
            ..Limits::default()
        },
        ..Settings::default()
    };
    let gateway = Harness::with(&upstream.base_url(), settings).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nConnection: close\r\n\r\n")
        .await;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        caller.write("x").await;
    }
    assert_eq!(status(&caller.rest().await), 200);
}

#[tokio::test]
async fn nonsense_is_502() {
    for (answer, error) in [
        ("nonsense\r\n\r\n", "http_protocol_error"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "http_protocol_error",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx",
            "http_protocol_error",
        ),
        (
            "HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
            "http_protocol_error",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            "http_protocol_error",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "http_protocol_error",
        ),
        ("HTTP/1.1 200 OK\r\nx: y", "connection_terminated"),
        ("", "connection_terminated"),
    ] {
        let upstream = Upstream::scripted(move |mut peer, _| async move {
            peer.request().await?;
            peer.write(answer).await
        })
        .await;
        let gateway = Harness::new(&upstream.base_url()).await;
        let post =
            "POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        assert_failed(&gateway.send(post).await, 502, error);
        assert_eq!(upstream.requests().len(), 1, "{answer:?}");
    }
}

#[tokio::test]
async fn interim_answers_are_not_the_answer() {
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n{OK}"
    ))
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    assert_eq!(status(&gateway.get("/crm/").await), 200);
}

/// A provider that answers the first request of each connection and closes just as the next one comes.
async fn closing_as_it_is_reused() -> Upstream {
    Upstream::scripted(|mut peer, _| async move {
        peer.request().await?;
        peer.write(OK).await?;
        peer.request().await?;
        peer.reset()
    })
    .await
}

#[tokio::test]
async fn a_safe_request_on_a_dead_connection_is_tried_again_once() {
    let upstream = closing_as_it_is_reused().await;
    let gateway = Harness::new(&upstream.base_url()).await;
    assert_eq!(status(&gateway.get("/crm/1").await), 200);
    assert_eq!(status(&gateway.get("/crm/2").await), 200);
    let requests = upstream.requests();
    let lines: Vec<_> = requests
        .iter()
        .map(|request| request.lines().next().unwrap())
        .collect();
    assert_eq!(
        lines,
        ["GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "GET /2 HTTP/1.1"]
    );
    assert_eq!(upstream.connections(), 2);
}

#[tokio::test]
async fn after_a_provider_started_anew_no_kept_connection_is_tried_twice() {
    // The first two connections are there at the same time.
    let both = Arc::new(Barrier::new(2));
    let upstream = Upstream::scripted(move |mut peer, number| {
        let both = Arc::clone(&both);
        async move {
            peer.request().await?;
            if number < 2 {
                both.wait().await;
            }
            peer.write(OK).await?;
            peer.request().await?;
            peer.reset()
        }
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let (first, second) = tokio::join!(gateway.get("/crm/1"), gateway.get("/crm/2"));
    assert_eq!([status(&first), status(&second)], [200; 2]);
    // Both are kept now, and both are dead.
    assert_eq!(status(&gateway.get("/crm/3").await), 200);
    assert_eq!(upstream.requests().len(), 4);
    assert_eq!(upstream.connections(), 3);
}

#[tokio::test]
async fn a_caller_that_stops_in_the_middle_of_its_body_is_408() {
    let upstream = Upstream::answering(OK).await;
    let settings = Settings {
        limits: Limits {
            answer_timeout: Duration::from_millis(100),
            ..Limits::default()
        },
        ..Settings::default()
    };
    let gateway = Harness::with(&upstream.base_url(), settings).await;
    let half =
        "POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhal";
    assert_failed(&gateway.send(half).await, 408, "http_request_error");
}

#[tokio::test]
async fn an_answer_that_breaks_off_while_it_is_read_ahead_is_502() {
    for (rest, reset, error) in [
        (
            "content-length: 100\r\n\r\nhalf",
            false,
            "http_response_incomplete",
        ),
        (
            "content-length: 100\r\n\r\nhalf",
            true,
            "connection_terminated",
        ),
        (
            "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            false,
            "http_response_incomplete",
        ),
        (
            "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
            false,
            "http_response_incomplete",
        ),
    ] {
        let upstream = Upstream::scripted(move |mut peer, _| async move {
            peer.request().await?;
            peer.write(format!(
                "HTTP/1.1 402 Pay Up\r\ncontent-type: application/json\r\n{rest}"
            ))
            .await?;
            // The reset must not overtake what was written.
            tokio::time::sleep(Duration::from_millis(100)).await;
            if reset { peer.reset() } else { Ok(()) }
        })
        .await;
        let gateway = Harness::new(&upstream.base_url()).await;
        assert_failed(&gateway.get("/crm/").await, 502, error);
        assert_eq!(upstream.requests().len(), 1, "{rest}");
    }
}

#[tokio::test]
async fn what_is_not_safe_is_never_sent_twice() {
    for (method, rest) in [
        ("POST", "Content-Length: 2\r\n\r\nhi"),
        ("POST", "Content-Length: 0\r\n\r\n"),
        ("PUT", "Content-Length: 0\r\n\r\n"),
        ("DELETE", "\r\n"),
        ("GET", "Content-Length: 2\r\n\r\nhi"),
    ] {
        let upstream = closing_as_it_is_reused().await;
        let gateway = Harness::new(&upstream.base_url()).await;
        let request = format!("{method} /crm/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{rest}");
        assert_eq!(status(&gateway.send(&request).await), 200);
        assert_failed(&gateway.send(&request).await, 502, "connection_terminated");
        assert_eq!(upstream.requests().len(), 2, "{method}");
    }
}

#[tokio::test]
async fn bad_framing_by_the_caller_is_400() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let answer = gateway
        .send("POST /crm/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n")
        .await;
    assert_eq!(status(&answer), 400, "{answer}");
    assert_eq!(upstream.requests(), [""; 0]);
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_the_call() {
    let (told, mut gone) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut peer, _| {
        let told = told.clone();
        async move {
            peer.request().await?;
            told.send("called").unwrap();
            // Ends when the gateway closes the connection.
            let _ = peer.more().await;
            told.send("gone").unwrap();
            Ok(())
        }
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller.write("GET /crm/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(gone.recv().await, Some("called"));
    drop(caller);
    assert_eq!(
        tokio::time::timeout(PATIENCE, gone.recv()).await.unwrap(),
        Some("gone")
    );
}
