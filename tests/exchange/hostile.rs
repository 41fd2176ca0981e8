//! Callers who try to be misunderstood: of each attempt the provider gets nothing, or exactly one call that nobody can
//! misread.

use std::time::Duration;

use headroom::gateway::Settings;
use headroom::limits::Limits;

use crate::exchange::{OK, body, fields, status};
use crate::support::harness::{Caller, Harness};
use crate::support::upstream::Upstream;

/// What becomes of an attempt.
enum Fate {
    /// One of these statuses; 0: the connection ends without a word. Nothing reaches the provider.
    Refused(&'static [u16]),
    /// 200, and one call with this body.
    Passed(&'static str),
}

use Fate::{Passed, Refused};

const BAD: Fate = Refused(&[400]);
const UNKNOWN_CODING: Fate = Refused(&[501]);

/// A gateway that does not wait long for what an attempt leaves out.
async fn gateway(upstream: &Upstream) -> Harness {
    let short = Duration::from_millis(300);
    let settings = Settings {
        limits: Limits {
            head_timeout: short,
            body_timeout: short,
            idle_timeout: short,
            ..Limits::default()
        },
        ..Settings::default()
    };
    Harness::with(&upstream.base_url(), settings).await
}

/// Sends an attempt, with a second call behind it that must not come to life unless `follows` says so.
async fn attempt(request: &[u8], fate: &Fate) {
    let name = String::from_utf8_lossy(request).into_owned();
    let upstream = Upstream::answering(OK).await;
    let gateway = gateway(&upstream).await;
    let answer = gateway.send(request).await;
    let requests = upstream.requests();
    let smuggled = |request: &String| request.starts_with("GET /smuggled");
    assert!(!requests.iter().any(smuggled), "{name:?}: {requests:#?}");
    match fate {
        Refused(statuses) => {
            let got = if answer.is_empty() {
                0
            } else {
                status(&answer)
            };
            assert!(statuses.contains(&got), "{name:?}: {answer}");
            if got == 400 {
                // Whoever sent it reads what is wrong with it, and that nothing more is listened to.
                assert_eq!(
                    fields(&answer, "content-type"),
                    ["application/problem+json"]
                );
                assert_eq!(
                    fields(&answer, "connection"),
                    ["close"],
                    "{name:?}: {answer}"
                );
            }
            assert_eq!(requests, [""; 0], "{name:?}");
        }
        Passed(expected) => {
            assert_eq!(status(&answer), 200, "{name:?}: {answer}");
            let [request] = requests.as_slice() else {
                panic!("{name:?}: {requests:#?}");
            };
            assert_eq!(unchunked(request), *expected, "{name:?}: {request}");
            let framings = fields(request, "content-length").len()
                + fields(request, "transfer-encoding").len();
            assert!(framings <= 1, "{name:?}: {request}");
        }
    }
    // Whatever it was, the next caller is served.
    let next = gateway.get("/-/healthz").await;
    assert_eq!(status(&next), 200, "{name:?}");
}

/// A body without its framing.
fn unchunked(request: &str) -> String {
    if fields(request, "transfer-encoding").is_empty() {
        return body(request).to_owned();
    }
    let mut lines = body(request).split("\r\n");
    let mut data = String::new();
    while let (Some(size), Some(piece)) = (lines.next(), lines.next()) {
        if size == "0" {
            break;
        }
        data.push_str(piece);
    }
    data
}

const SMUGGLED: &str = "GET /crm/smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn transfer_codings_in_every_spelling() {
    for (fields, fate) in [
        (
            "Content-Length: 4\r\nTransfer-Encoding: chunked",
            Passed("hello"),
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 4",
            Passed("hello"),
        ),
        ("Transfer-Encoding: Chunked", Passed("hello")),
        ("Transfer-Encoding:\tchunked \t", Passed("hello")),
        ("Transfer-Encoding: , chunked", Passed("hello")),
        ("Transfer-Encoding: xchunked", BAD),
        ("Transfer-Encoding: chunkedx", BAD),
        ("Transfer-Encoding: chunke", BAD),
        ("Transfer-Encoding: \"chunked\"", BAD),
        ("Transfer-Encoding: chunked;q=1", BAD),
        ("Transfer-Encoding: chunked, identity", BAD),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            BAD,
        ),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: x", BAD),
        ("Transfer-Encoding:", BAD),
        ("Transfer-Encoding: \0chunked", BAD),
        ("Transfer-Encoding: \x0bchunked", BAD),
        ("Transfer-Encoding: chunked\x7f", BAD),
        ("Transfer-Encoding: ch\runked", BAD),
        ("Transfer-Encoding : chunked", BAD),
        (" Transfer-Encoding: chunked", BAD),
        ("X: y\r\n Transfer-Encoding: chunked", BAD),
        ("Transfer-Encoding:\r\n chunked", BAD),
        ("Transfer-Encoding\r\n: chunked", BAD),
        ("Transfer\0Encoding: chunked", BAD),
        ("Transfer-Encoding: identity, chunked", UNKNOWN_CODING),
        ("Transfer-Encoding: gzip, chunked", UNKNOWN_CODING),
        ("Transfer-Encoding: chunked, chunked", UNKNOWN_CODING),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            UNKNOWN_CODING,
        ),
        (
            "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
            UNKNOWN_CODING,
        ),
    ] {
        let request = format!(
            "POST /crm/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"
        );
        attempt(request.as_bytes(), &fate).await;
    }
    let old = format!(
        "POST /crm/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{SMUGGLED}"
    );
    attempt(old.as_bytes(), &BAD).await;
}

/// Who sends both lengths is not listened to any further, even where it wants the connection to be kept.
#[tokio::test]
async fn both_lengths_end_the_connection() {
    let upstream = Upstream::answering(OK).await;
    let gateway = gateway(&upstream).await;
    let request = format!(
        "POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
    );
    let answer = gateway.send(request).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "{answer}");
    assert_eq!(upstream.requests().len(), 1);
}

#[tokio::test]
async fn lengths_in_every_spelling() {
    for (fields, fate) in [
        ("Content-Length: 5", Passed("hello")),
        ("Content-Length: 005", Passed("hello")),
        ("Content-Length: 5\r\nContent-Length: 5", Passed("hello")),
        ("Content-Length: 5\r\nContent-Length: 6", BAD),
        ("Content-Length: 5, 5", BAD),
        ("Content-Length: 5, 6", BAD),
        ("Content-Length: +5", BAD),
        ("Content-Length: -5", BAD),
        ("Content-Length: 0x5", BAD),
        ("Content-Length: 5 5", BAD),
        ("Content-Length: 5;", BAD),
        ("Content-Length: 5.0", BAD),
        ("Content-Length: 1e1", BAD),
        ("Content-Length: \u{0665}", BAD),
        ("Content-Length: 5\0", BAD),
        ("Content-Length:", BAD),
        ("Content-Length: \"5\"", BAD),
        ("Content-Length : 5", BAD),
        ("Content-Length: 18446744073709551615", Refused(&[400, 431])),
        ("Content-Length: 18446744073709551616", BAD),
        ("Content-Length: 99999999999999999999999", BAD),
        // A length that can be meant, of a body that does not come.
        ("Content-Length: 9223372036854775807", Refused(&[408])),
        ("Content-Length: 200", Refused(&[408])),
    ] {
        let request = format!(
            "POST /crm/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n\r\nhello{SMUGGLED}"
        );
        attempt(request.as_bytes(), &fate).await;
    }
}

#[tokio::test]
async fn chunks_in_every_spelling() {
    let long_extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20_000));
    for (chunks, fate) in [
        ("5\r\nhello\r\n0\r\n\r\n", Passed("hello")),
        ("05\r\nhello\r\n00\r\n\r\n", Passed("hello")),
        ("5;a=b\r\nhello\r\n0;c=\"d\"\r\n\r\n", Passed("hello")),
        (
            "5\r\nhello\r\n0\r\nContent-Length: 9\r\nX: y\r\n\r\n",
            Passed("hello"),
        ),
        (&long_extension, BAD),
        ("g\r\nhello\r\n0\r\n\r\n", BAD),
        ("-5\r\nhello\r\n0\r\n\r\n", BAD),
        ("+5\r\nhello\r\n0\r\n\r\n", BAD),
        ("0x5\r\nhello\r\n0\r\n\r\n", BAD),
        ("\r\nhello\r\n0\r\n\r\n", BAD),
        (" 5\r\nhello\r\n0\r\n\r\n", BAD),
        ("5\nhello\n0\n\n", BAD),
        ("5\rhello\r0\r\r", BAD),
        ("5;a\nb\r\nhello\r\n0\r\n\r\n", BAD),
        ("5\r\nhello0\r\n\r\n", BAD),
        ("5\r\nhelloworld\r\n0\r\n\r\n", BAD),
        ("5\r\nhello\n0\r\n\r\n", BAD),
        ("fffffffffffffffff\r\nhello\r\n0\r\n\r\n", BAD),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", BAD),
        ("5\r\nhello\r\n0\r\nbad trailer\r\n\r\n", BAD),
        ("5\r\nhello\r\n", Refused(&[408])),
        ("5\r\nhello\r\n0\r\n", Refused(&[408])),
        ("5\r\nhel", Refused(&[408])),
        ("ffffffff\r\nhello", Refused(&[408])),
    ] {
        // What is missing does not come: no second call is behind it.
        let behind = if matches!(fate, Refused([408])) {
            ""
        } else {
            SMUGGLED
        };
        let request = format!(
            "POST /crm/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{behind}"
        );
        attempt(request.as_bytes(), &fate).await;
    }
}

#[tokio::test]
async fn heads_in_every_spelling() {
    for (head, fate) in [
        // Request lines.
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\n", Passed("")),
        ("\r\nGET /crm/ HTTP/1.1\r\nHost: a\r\n", Passed("")),
        ("PURGE /crm/ HTTP/1.1\r\nHost: a\r\n", Passed("")),
        ("GET http://a/crm/ HTTP/1.1\r\nHost: a\r\n", Passed("")),
        ("GET /crm/ HTTP/1.0\r\n", Passed("")),
        ("GET /crm/\r\n", BAD),
        ("GET /crm/ HTTP/0.9\r\n", BAD),
        ("GET /crm/ HTTP/2.0\r\nHost: a\r\n", BAD),
        ("GET /crm/ HTTP/1.2\r\nHost: a\r\n", BAD),
        ("GET /crm/ HTTP/01.1\r\nHost: a\r\n", BAD),
        ("GET /crm/ HTTP/1.1x\r\nHost: a\r\n", BAD),
        ("GET /crm/ http/1.1\r\nHost: a\r\n", BAD),
        ("GET /crm/ x HTTP/1.1\r\nHost: a\r\n", BAD),
        ("GET  /crm/ HTTP/1.1\r\nHost: a\r\n", BAD),
        ("GET\t/crm/ HTTP/1.1\r\nHost: a\r\n", BAD),
        (" GET /crm/ HTTP/1.1\r\nHost: a\r\n", BAD),
        ("\0GET /crm/ HTTP/1.1\r\nHost: a\r\n", BAD),
        ("G@T /crm/ HTTP/1.1\r\nHost: a\r\n", BAD),
        ("GET /crm/\0 HTTP/1.1\r\nHost: a\r\n", BAD),
        ("GET /crm/\x7f HTTP/1.1\r\nHost: a\r\n", BAD),
        ("GET crm/ HTTP/1.1\r\nHost: a\r\n", BAD),
        ("GET * HTTP/1.1\r\nHost: a\r\n", BAD),
        ("GET a:80 HTTP/1.1\r\nHost: a:80\r\n", BAD),
        ("GET http:///crm/ HTTP/1.1\r\nHost: a\r\n", BAD),
        ("GET http://u:p@a/crm/ HTTP/1.1\r\nHost: a\r\n", BAD),
        ("GET HTTP/1.1\r\nHost: a\r\n", BAD),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n", Refused(&[405])),
        ("TRACE /crm/ HTTP/1.1\r\nHost: a\r\n", Refused(&[405])),
        // Fields.
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\nX : y\r\n", BAD),
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\nX\t: y\r\n", BAD),
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\n: y\r\n", BAD),
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\nno colon\r\n", BAD),
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n", BAD),
        ("GET /crm/ HTTP/1.1\r\n Host: a\r\n", BAD),
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n", BAD),
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\nX: y\x01z\r\n", BAD),
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\nX: y\x7fz\r\n", BAD),
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n", BAD),
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\nX\0: y\r\n", BAD),
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\nX\u{e9}: y\r\n", BAD),
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\nX(y): z\r\n", BAD),
        ("GET /crm/ HTTP/1.1\r\nHost: a\r\n\r: y\r\n", BAD),
        // A lone LF is a line's end (RFC 9112, section 2.2), and what is sent on has none.
        (
            "GET /crm/ HTTP/1.1\nHost: a\nConnection: close\n",
            Passed(""),
        ),
        // Expectations and upgrades.
        (
            "GET /crm/ HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\n",
            Passed(""),
        ),
        (
            "GET /crm/ HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n",
            Refused(&[417]),
        ),
        (
            "GET /crm/ HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\n",
            Refused(&[417]),
        ),
        (
            "GET /crm/ HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n",
            Refused(&[501]),
        ),
        (
            "GET /crm/ HTTP/1.1\r\nHost: a\r\nUpgrade: h2c, websocket\r\nConnection: Upgrade\r\n",
            Refused(&[501]),
        ),
        (
            "GET /crm/ HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n",
            Passed(""),
        ),
    ] {
        let request = format!("{head}Connection: close\r\n\r\n{SMUGGLED}");
        attempt(request.as_bytes(), &fate).await;
    }
}

#[tokio::test]
async fn whatever_stands_between_a_body_and_the_next_call_ends_the_connection() {
    // A body that is one byte longer than it says: what is left over is no call.
    let request =
        format!("POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nhello{SMUGGLED}");
    let upstream = Upstream::answering(OK).await;
    let gateway = gateway(&upstream).await;
    let answer = gateway.send(request).await;
    assert_eq!(status(&answer), 200);
    let methods: Vec<_> = upstream
        .requests()
        .iter()
        .map(|request| request.split(' ').next().unwrap().to_owned())
        .collect();
    // `oGET` is a method like any other; it is not GET.
    assert!(
        matches!(
            methods.iter().map(String::as_str).collect::<Vec<_>>()[..],
            ["POST"] | ["POST", "oGET"]
        ),
        "{methods:?}"
    );
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_no_second_call() {
    let upstream = Upstream::answering(OK).await;
    let gateway = gateway(&upstream).await;
    for (call, refused) in [
        ("POST /nothing/ HTTP/1.1\r\nHost: a\r\n", 404),
        ("GET /-/healthz HTTP/1.1\r\nHost: a\r\n", 200),
        ("TRACE /crm/ HTTP/1.1\r\nHost: a\r\n", 405),
        ("POST /crm/ HTTP/1.1\r\nHost: a\r\nExpect: x\r\n", 417),
    ] {
        let length = SMUGGLED.len();
        let request = format!("{call}Content-Length: {length}\r\n\r\n{SMUGGLED}");
        let answer = gateway.send(request).await;
        assert_eq!(status(&answer), refused, "{call}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{call}: {answer}");
    }
    assert_eq!(upstream.requests(), [""; 0]);
}

#[tokio::test]
async fn http_1_0_is_kept_where_it_asks_for_that_and_closed_else() {
    let upstream = Upstream::answering(OK).await;
    let gateway = gateway(&upstream).await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("GET /crm/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let kept = caller.until("\r\n\r\nok").await;
    assert!(
        kept.to_ascii_lowercase().contains("connection: keep-alive"),
        "{kept}"
    );
    caller.write("GET /crm/ HTTP/1.0\r\n\r\n").await;
    assert!(caller.rest().await.ends_with("\r\n\r\nok"));
    assert_eq!(upstream.requests().len(), 2);
}

/// What is for the provider, or for all on the way, cannot be taken off by naming it.
#[tokio::test]
async fn connection_cannot_take_off_what_is_not_the_hops() {
    let upstream = Upstream::answering(OK).await;
    let gateway = gateway(&upstream).await;
    gateway
        .send(
            "POST /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nAuthorization: b\r\nCookie: c=d\r\nVia: 1.1 fred\r\n\
             Idempotency-Key: e\r\nContent-Type: f/g\r\nX-Hop: h\r\nKeep-Alive: i\r\nProxy-Connection: j\r\nTE: gzip\r\n\
             X-Forwarded-For: k\r\nForwarded: l\r\n\
             Connection: close, host, authorization, cookie, via, content-length, content-type, idempotency-key, x-hop\r\n\r\nhi",
        )
        .await;
    let request = upstream.request();
    for (name, expected) in [
        ("host", &[&*upstream.address.to_string()][..]),
        ("authorization", &["b"]),
        ("content-length", &["2"]),
        ("content-type", &["f/g"]),
        ("cookie", &["c=d"]),
        ("idempotency-key", &["e"]),
        ("via", &["1.1 fred", "1.1 headroom"]),
        ("x-hop", &[]),
        ("connection", &[]),
        ("keep-alive", &[]),
        ("proxy-connection", &[]),
        ("te", &[]),
        ("x-forwarded-for", &[]),
        ("forwarded", &[]),
    ] {
        assert_eq!(fields(&request, name), expected, "{name}: {request}");
    }
    assert_eq!(body(&request), "hi");
}

#[tokio::test]
async fn a_loop_cannot_be_hidden_in_connection() {
    let upstream = Upstream::answering(OK).await;
    let gateway = gateway(&upstream).await;
    let answer = gateway
        .send(
            "GET /crm/ HTTP/1.1\r\nHost: a\r\nVia: 1.1 headroom\r\nConnection: via, close\r\n\r\n",
        )
        .await;
    assert_eq!(status(&answer), 508);
    assert_eq!(upstream.requests(), [""; 0]);
}

#[tokio::test]
async fn bodies_where_none_is_usual_pass_and_answers_that_have_none_have_none() {
    for (method, answer, expected) in [
        ("HEAD", OK, ""),
        ("GET", OK, "ok"),
        ("DELETE", OK, "ok"),
        ("OPTIONS", OK, "ok"),
        // What follows such a head is no body, whatever it says of one.
        (
            "GET",
            "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nok",
            "",
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\nok",
            "",
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "",
        ),
    ] {
        let upstream = Upstream::answering(answer).await;
        let gateway = gateway(&upstream).await;
        let request = format!(
            "{method} /crm/ HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi"
        );
        let got = gateway.send(request).await;
        assert_eq!(status(&got), status(answer), "{method} {answer}");
        assert_eq!(body(&got), expected, "{method} {answer}");
        assert_eq!(body(&upstream.request()), "hi", "{method} {answer}");
    }
}
