//! Heads: what is stripped, what is written anew, what is refused.

use crate::exchange::{OK, body, fields, status};
use crate::support::harness::Harness;
use crate::support::upstream::Upstream;

#[tokio::test]
async fn malformed_or_unwanted_heads_are_refused() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for (expected, request) in [
        (400, "GET /crm/ HTTP/1.1\r\nHost: a\r\nHost: a\r\n"),
        (400, "GET /crm/ HTTP/1.1\r\n"),
        (400, "GET http://a/crm/ HTTP/1.1\r\n"),
        (400, "GET /crm/ HTTP/1.1\r\nHost: a, b\r\n"),
        (400, "GET /crm/ HTTP/1.1\r\nHost: user@a\r\n"),
        (400, "GET /crm/ HTTP/1.1\r\nHost:\r\n"),
        (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n"),
        (400, "GET /crm/ HTTP/1.1\r\nHost: a:evil\r\n"),
        (400, "GET /crm/ HTTP/1.1\r\nHost: a:99999\r\n"),
        (
            400,
            "GET crm.localhost:80 HTTP/1.1\r\nHost: crm.localhost:80\r\n",
        ),
        (400, "GET /../crm/x HTTP/1.1\r\nHost: a\r\n"),
        (400, "GET /./crm/x HTTP/1.1\r\nHost: a\r\n"),
        (400, "GET /%2e%2e/crm/x HTTP/1.1\r\nHost: a\r\n"),
        (400, "GET /-/../crm/x HTTP/1.1\r\nHost: a\r\n"),
        (400, "GET /../x HTTP/1.1\r\nHost: nobody.localhost\r\n"),
        (400, "GET * HTTP/1.1\r\nHost: a\r\n"),
        (405, "TRACE /crm/ HTTP/1.1\r\nHost: a\r\n"),
        (
            405,
            "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n",
        ),
        (
            405,
            "POST /-/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n",
        ),
        (
            501,
            "GET /crm/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
        ),
        (
            501,
            "POST /crm/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n",
        ),
        (
            508,
            "GET /crm/ HTTP/1.1\r\nHost: a\r\nVia: 1.1 fred, 1.1 Headroom (x)\r\n",
        ),
        (404, "GET /cmr/ HTTP/1.1\r\nHost: a\r\n"),
        (404, "GET /-/nothing HTTP/1.1\r\nHost: localhost\r\n"),
        (404, "GET //crm/ HTTP/1.1\r\nHost: a\r\n"),
    ] {
        let answer = gateway
            .send(format!("{request}Connection: close\r\n\r\n"))
            .await;
        assert_eq!(status(&answer), expected, "{request}");
        assert_eq!(
            fields(&answer, "content-type"),
            ["application/problem+json"],
            "{request}"
        );
        assert_eq!(fields(&answer, "cache-control"), ["no-store"], "{request}");
        let problem: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
        assert_eq!(problem["status"], expected);
    }
    assert_eq!(upstream.requests(), [""; 0]);
}

#[tokio::test]
async fn a_member_that_is_no_text_does_not_hide_the_others() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let answer = gateway
        .send(b"GET /crm/ HTTP/1.1\r\nHost: a\r\nConnection: x-secret, \xe9\r\nX-Secret: 1\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(status(&answer), 200);
    assert_eq!(fields(&upstream.request(), "x-secret"), [""; 0]);
}

#[tokio::test]
async fn cookies_reach_the_provider_in_one_line() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    gateway
        .send("GET /crm/ HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\nCookie: b=2\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(fields(&upstream.request(), "cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn options_go_as_far_as_they_say() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for (method, max, passed_on) in [
        ("OPTIONS", "0", None),
        ("OPTIONS", "00", None),
        ("OPTIONS", "3", Some("2")),
        ("OPTIONS", "99999999999", Some("4294967294")),
        ("OPTIONS", "few", Some("few")),
        ("OPTIONS", "-0", Some("-0")),
        // For any other method it means nothing.
        ("GET", "0", Some("0")),
    ] {
        let before = upstream.requests().len();
        let answer = gateway
            .send(format!(
                "{method} /crm/ HTTP/1.1\r\nHost: a\r\nMax-Forwards: {max}\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!(status(&answer), 200, "{method} {max}");
        assert_eq!(fields(&answer, "allow").is_empty(), passed_on.is_some());
        let requests = upstream.requests();
        let got: Vec<_> = requests[before..]
            .iter()
            .flat_map(|request| fields(request, "max-forwards"))
            .collect();
        assert_eq!(got, passed_on.as_slice(), "{method} {max}");
    }
}

#[tokio::test]
async fn nothing_of_the_providers_passes_as_headrooms() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nratelimit-limit: 1\r\nheadroom-upstream-ratelimit-limit: 2\r\n\
         headroom-upstream-retry-after: 3\r\nheadroom-upstream-status: 402\r\nheadroom-source: measured\r\n\
         headroom-upstream-headroom-source: forged\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let answer = gateway.get("/crm/").await;
    for (name, expected) in [
        ("ratelimit-limit", &[crate::support::harness::LIMIT][..]),
        ("headroom-upstream-ratelimit-limit", &["1"]),
        ("headroom-upstream-retry-after", &[]),
        ("headroom-upstream-status", &[]),
        ("headroom-upstream-headroom-upstream-status", &["402"]),
        ("headroom-source", &["own;estimated"]),
        ("headroom-upstream-headroom-source", &["measured"]),
    ] {
        assert_eq!(fields(&answer, name), expected, "{name}: {answer}");
    }
}

#[tokio::test]
async fn http_1_0_needs_no_host() {
    let upstream =
        Upstream::answering("HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n")
            .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let answer = gateway.send("GET /crm/ HTTP/1.0\r\n\r\n").await;
    assert_eq!(status(&answer), 302);
    assert_eq!(fields(&upstream.request(), "via"), ["1.0 headroom"]);
}

#[tokio::test]
async fn an_offer_of_h2c_is_ignored() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let answer = gateway
        .send("GET /crm/ HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n")
        .await;
    assert_eq!(status(&answer), 200);
    assert_eq!(fields(&upstream.request(), "http2-settings"), [""; 0]);
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_pass() {
    let upstream = Upstream::answering(
        b"HTTP/1.1 200 Fine By Me\r\nx-name: caf\xe9\r\ncontent-length: 0\r\n\r\n".as_slice(),
    )
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let mut caller = crate::support::harness::Caller::connect(gateway.address).await;
    caller
        .write(b"GET /crm/ HTTP/1.1\r\nHost: a\r\nX-Name: caf\xe9\r\nConnection: close\r\n\r\n")
        .await;
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut caller.stream, &mut answer)
        .await
        .unwrap();
    assert!(crate::support::upstream::find(&answer, b"x-name: caf\xe9\r\n").is_some());
    assert!(crate::support::upstream::find(&answer, b"HTTP/1.1 200 Fine By Me\r\n").is_some());
    assert!(upstream.request().contains("x-name: caf\u{fffd}"));
}

#[tokio::test]
async fn answers_without_a_body_keep_what_they_say_of_it() {
    for (method, answer, length) in [
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n",
            &["1234"][..],
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\n\r\n", &[]),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            &[],
        ),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", &[]),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\ncontent-length: 1234\r\n\r\n",
            &[],
        ),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n",
            &[],
        ),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            &["0"],
        ),
    ] {
        let upstream = Upstream::answering(answer).await;
        let gateway = Harness::new(&upstream.base_url()).await;
        // Two on one connection: a body that is not there must not be waited for, nor be sent.
        let mut caller = crate::support::harness::Caller::connect(gateway.address).await;
        caller
            .write(format!("{method} /crm/ HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        let first = caller.until("\r\n\r\n").await;
        caller
            .write(format!(
                "{method} /crm/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            ))
            .await;
        let second = caller.rest().await;
        for got in [&first, &second] {
            assert_eq!(status(got), status(answer), "{method} {answer}");
            assert_eq!(fields(got, "content-length"), length, "{method} {answer}");
            assert_eq!(
                fields(got, "transfer-encoding"),
                [""; 0],
                "{method} {answer}"
            );
            assert_eq!(body(got), "", "{method} {answer}");
            assert_eq!(
                fields(got, "ratelimit-limit"),
                [crate::support::harness::LIMIT],
                "{method} {answer}"
            );
        }
    }
}

#[tokio::test]
async fn links_lead_back_to_where_the_caller_is() {
    let upstream = Upstream::scripted(|mut peer, _| async move {
        let base = format!("http://{}", peer.stream.local_addr()?);
        loop {
            peer.request().await?;
            peer.write(format!(
                "HTTP/1.1 201 Created\r\nlocation: {base}/a?b=%2F\r\ncontent-location: {base}\r\n\
                 link: <{base}/?page=2>; rel=\"next\", <https://other.example/>; rel=\"x\"\r\nlink: </y>; rel=\"y\"\r\n\
                 content-length: 0\r\n\r\n"
            ))
            .await?;
        }
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for (host, path, mount) in [
        ("Example.test:8080", "/crm/", "http://Example.test:8080/crm"),
        ("crm.localhost:8080", "/", "http://crm.localhost:8080"),
    ] {
        let answer =
            gateway.send(format!("POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(fields(&answer, "location"), [format!("{mount}/a?b=%2F")]);
        assert_eq!(fields(&answer, "content-location"), [mount]);
        assert_eq!(
            fields(&answer, "link"),
            [
                format!("<{mount}/?page=2>; rel=\"next\", <https://other.example/>; rel=\"x\""),
                "</y>; rel=\"y\"".to_owned()
            ]
        );
    }
}

#[tokio::test]
async fn an_empty_post_says_so_and_nothing_else_is_added() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    gateway
        .send("POST /crm/ HTTP/1.1\r\nHost: a\r\nAccept: x/y\r\nConnection: close\r\n\r\n")
        .await;
    let expected = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\naccept: x/y\r\ncontent-length: 0\r\nvia: 1.1 headroom\r\n\r\n",
        upstream.address
    );
    assert_eq!(upstream.request(), expected);
}

#[tokio::test]
async fn heads_with_many_fields_pass_both_ways() {
    let many: String = (0..300)
        .map(|number| format!("x-{number}: v\r\n"))
        .collect();
    let upstream = Upstream::answering(format!(
        "HTTP/1.1 200 OK\r\n{many}content-length: 2\r\n\r\nok"
    ))
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let answer = gateway
        .send(format!(
            "GET /crm/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{many}\r\n"
        ))
        .await;
    assert_eq!(status(&answer), 200);
    assert_eq!(fields(&answer, "x-299"), ["v"]);
    assert_eq!(fields(&upstream.request(), "x-299"), ["v"]);
}

#[tokio::test]
async fn a_head_without_bounds_is_refused() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let many: String = (0..600)
        .map(|number| format!("x-{number}: v\r\n"))
        .collect();
    for extra in [many, format!("x: {}\r\n", "v".repeat(128 * 1024))] {
        // The gateway may close before it has read all of it.
        let mut caller = crate::support::harness::Caller::connect(gateway.address).await;
        let request = format!("GET /crm/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{extra}\r\n");
        let _ = tokio::io::AsyncWriteExt::write_all(&mut caller.stream, request.as_bytes()).await;
        let answer = caller.rest().await;
        assert!(answer.is_empty() || status(&answer) == 431, "{answer}");
    }
    assert_eq!(upstream.requests(), [""; 0]);
}
