//! The server side: pages, HTTP/2, slow callers, draining, and changing the catalogue.

use std::sync::Arc;
use std::time::Duration;

use headroom::gateway::{Connections, Settings};
use headroom::limits::Limits;
use tokio::sync::Notify;

use crate::exchange::{OK, body, fields, http2, status};
use crate::support::harness::{Caller, Harness, PATIENCE, connections};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn headrooms_own_pages() {
    let gateway = Harness::new("http://127.0.0.1:1").await;
    assert_eq!(body(&gateway.get("/-/healthz").await), "ok\n");
    assert_eq!(body(&gateway.get("/-/readyz").await), "ready\n");
    for path in ["/", "/?x", "/-"] {
        let answer = gateway.get(path).await;
        assert_eq!(
            (status(&answer), fields(&answer, "location")),
            (307, vec!["/-/"]),
            "{path}"
        );
    }
    let page = gateway.get("/-/").await;
    assert_eq!(fields(&page, "content-type"), ["text/html; charset=utf-8"]);
    assert!(fields(&page, "content-security-policy")[0].starts_with("default-src 'none'"));
    assert!(
        body(&page).contains("<li><code>/crm/</code></li>"),
        "{page}"
    );
}

#[tokio::test]
async fn the_catalogue_can_be_replaced_while_running() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    assert_eq!(status(&gateway.get("/crm/").await), 200);
    gateway.gateway.replace(Arc::new(Connections::default()));
    let answer = gateway.get("/crm/").await;
    assert_eq!(status(&answer), 404);
    assert!(
        answer.contains("There is no connection `crm`; see /-/ for all."),
        "{answer}"
    );
    gateway
        .gateway
        .replace(Arc::new(connections(&upstream.base_url())));
    assert_eq!(status(&gateway.get("/crm/").await), 200);
    // What did not change keeps its connections.
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn http_2_without_tls() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nconnection: x-hop\r\nx-hop: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    )
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let client = http2();
    let answer = client
        .post(format!("http://{}/crm/a?b", gateway.address))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body("hello")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.version(), http::Version::HTTP_2);
    assert_eq!(
        answer.headers()["ratelimit-limit"],
        crate::support::harness::LIMIT
    );
    assert!(!answer.headers().contains_key("x-hop"));
    assert_eq!(answer.text().await.unwrap(), "ok");
    let request = upstream.request();
    assert!(request.starts_with("POST /a?b HTTP/1.1\r\n"), "{request}");
    assert_eq!(fields(&request, "host"), [upstream.address.to_string()]);
    assert_eq!(fields(&request, "via"), ["2 headroom"]);
    assert_eq!(fields(&request, "cookie"), ["a=1; b=2"]);
    assert_eq!(body(&request), "hello");
}

#[tokio::test]
async fn heads_that_do_not_come_are_not_waited_for() {
    let gateway = Harness::with(
        "http://127.0.0.1:1",
        Settings {
            limits: Limits {
                head_timeout: Duration::from_millis(100),
                idle_timeout: Duration::from_millis(100),
                ..Limits::default()
            },
            ..Settings::default()
        },
    )
    .await;
    for beginning in ["", "PRI * HT", "GET /crm/ HTTP/1.1\r\nHost: a\r\nX: "] {
        let mut caller = Caller::connect(gateway.address).await;
        caller.write(beginning).await;
        caller.rest().await;
    }
}

#[tokio::test]
async fn calls_in_flight_are_finished_before_the_end() {
    let answer_now = Arc::new(Notify::new());
    let wait = Arc::clone(&answer_now);
    let (told, mut called) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::scripted(move |mut peer, _| {
        let (wait, told) = (Arc::clone(&wait), told.clone());
        async move {
            peer.request().await?;
            told.send(()).unwrap();
            wait.notified().await;
            peer.write(OK).await
        }
    })
    .await;
    let mut gateway = Harness::new(&upstream.base_url()).await;
    let mut idle = Caller::connect(gateway.address).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller.write("GET /crm/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    called.recv().await.unwrap();
    gateway.stop.take().unwrap().send(()).unwrap();
    // Who has no call in flight is let go at once, and nobody new is let in.
    idle.rest().await;
    while tokio::net::TcpStream::connect(gateway.address)
        .await
        .is_ok()
    {
        tokio::task::yield_now().await;
    }
    assert!(!gateway.task.is_finished());
    answer_now.notify_one();
    let answer = caller.rest().await;
    assert_eq!((status(&answer), body(&answer)), (200, "ok"));
    tokio::time::timeout(PATIENCE, &mut gateway.task)
        .await
        .unwrap()
        .unwrap();
}

/// HTTP/2 without the client: it says hello, asks at most once, and never answers anything.
async fn silent(gateway: &Harness, call: &[u8]) -> Caller {
    let mut caller = Caller::connect(gateway.address).await;
    let settings = b"\0\0\0\x04\0\0\0\0\0";
    caller.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    caller.write(settings).await;
    caller.write(call).await;
    // Its settings, and that it knows of those above.
    caller.until("\0\0\0\x04\x01\0\0\0\0").await;
    caller
}

#[tokio::test]
async fn an_http_2_connection_of_which_nobody_is_there_does_not_hold_up_the_end() {
    let answer_now = Arc::new(Notify::new());
    let wait = Arc::clone(&answer_now);
    let upstream = Upstream::scripted(move |mut peer, _| {
        let wait = Arc::clone(&wait);
        async move {
            peer.request().await?;
            wait.notified().await;
            peer.write(OK).await
        }
    })
    .await;
    let mut gateway = Harness::new(&upstream.base_url()).await;
    let mut idle = silent(&gateway, b"").await;
    // GET http /crm/ of `a`, on stream 1.
    let call = b"\0\0\x0c\x01\x05\0\0\0\x01\x82\x86\x04\x05/crm/\x01\x01a";
    let mut caller = silent(&gateway, call).await;
    while upstream.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    // The time to drain is longer than this test waits for anything.
    assert!(Settings::default().limits.drain_timeout > PATIENCE);
    gateway.stop.take().unwrap().send(()).unwrap();
    idle.rest().await;
    assert!(!gateway.task.is_finished());
    answer_now.notify_one();
    // A frame of data with the whole body.
    let answer = caller.rest().await;
    assert!(answer.contains("\0\0\x02\0\x01\0\0\0\x01ok"), "{answer:?}");
    tokio::time::timeout(PATIENCE, &mut gateway.task)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn draining_has_an_end() {
    let upstream = Upstream::scripted(|mut peer, _| async move {
        loop {
            peer.request().await?;
        }
    })
    .await;
    let settings = Settings {
        limits: Limits {
            drain_timeout: Duration::from_millis(100),
            ..Limits::default()
        },
        ..Settings::default()
    };
    let mut gateway = Harness::with(&upstream.base_url(), settings).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller.write("GET /crm/ HTTP/1.1\r\nHost: a\r\n\r\n").await;
    while upstream.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    gateway.stop.take().unwrap().send(()).unwrap();
    tokio::time::timeout(PATIENCE, &mut gateway.task)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(caller.rest().await, "");
}
