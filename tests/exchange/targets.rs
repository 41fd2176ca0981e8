//! Paths and queries reach the provider byte for byte, or not at all.

use crate::exchange::{OK, fields, status};
use crate::support::harness::Harness;
use crate::support::upstream::Upstream;

fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default()
}

#[tokio::test]
async fn every_byte_of_a_target_is_kept() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let targets = [
        "/",
        "/a",
        "//",
        "//a//b//",
        "/a;b=c",
        "/a%2Fb",
        "/a%2fb",
        "/%41",
        "/a?",
        "/a?b",
        "/a??",
        "/?a='b'&c=`d`",
        "/{\"a\":1}?{b}",
        "/a|b^c",
        "/a\\b",
        "/a?/../b",
        "/a?%2e%2e",
        "/~a!$&'()*+,=:@",
        "/%00%7f%ff",
        "/a?b=\"",
        "/é?é",
        "/a?[x]=1",
        "/...",
        "/a..b",
        "/http://evil.example/",
        "/@evil.example",
        "/a?b#c",
    ];
    for target in targets {
        let answer = gateway.get(&format!("/crm{target}")).await;
        let got = upstream.requests().last().cloned().unwrap_or_default();
        match target {
            // Not allowed in a request target (RFC 3986).
            "/a?b=\"" | "/a?b#c" => {
                assert_eq!(status(&answer), 400);
                assert!(answer.contains("\"code\":\"bad-request\""), "{answer}");
                assert!(!first_line(&got).contains("/a?b"), "{got}");
            }
            _ => {
                assert_eq!(status(&answer), 200, "{target}");
                assert_eq!(first_line(&got), format!("GET {target} HTTP/1.1"));
            }
        }
    }
}

#[tokio::test]
async fn what_the_parser_refuses_is_refused_and_not_altered() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for byte in [b'<', b'>', b'`', 0x7f, b'\t', 0] {
        let mut request = b"GET /crm/a".to_vec();
        request.push(byte);
        request.extend_from_slice(b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&gateway.send(request).await), 400, "{byte}");
    }
    assert_eq!(upstream.requests(), [""; 0]);
}

#[tokio::test]
async fn dot_segments_are_refused() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for path in [
        "/..",
        "/a/../b",
        "/./a",
        "/a/.",
        "/%2e%2e/a",
        "/%2E",
        "/.%2e/a",
        "/a/..%2fb",
        "/a%2f%2e%2e",
        "/a\\..\\b",
        "/a/..%5cb",
        "/%252e%252e/a",
        "/..;/a",
    ] {
        let answer = gateway.get(&format!("/crm{path}")).await;
        assert_eq!(status(&answer), 400, "{path}");
        assert_eq!(
            fields(&answer, "content-type"),
            ["application/problem+json"]
        );
        // The connection is known, so its limits stand on the refusal too.
        assert_eq!(
            fields(&answer, "ratelimit-limit"),
            [crate::support::harness::LIMIT]
        );
    }
    assert_eq!(upstream.requests(), [""; 0]);
}

#[tokio::test]
async fn a_mount_without_a_slash_stands_for_its_root() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for (target, got) in [
        ("/crm", "/"),
        ("/crm?a=b", "/?a=b"),
        ("/crm/", "/"),
        ("/c%72m/x", "/x"),
    ] {
        assert_eq!(status(&gateway.get(target).await), 200);
        assert_eq!(
            first_line(upstream.requests().last().unwrap()),
            format!("GET {got} HTTP/1.1")
        );
    }
}

#[tokio::test]
async fn a_base_path_comes_first() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&format!("{}/v2/", upstream.base_url())).await;
    gateway.get("/crm/a'b?'").await;
    assert_eq!(first_line(&upstream.request()), "GET /v2/a'b?' HTTP/1.1");
}

#[tokio::test]
async fn only_the_connections_origin_is_reached() {
    let upstream = Upstream::answering(OK).await;
    let elsewhere = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for (target, host) in [
        (
            format!("http://{}/crm/a", elsewhere.address),
            elsewhere.address.to_string(),
        ),
        (format!("//{}/a", elsewhere.address), "h".to_owned()),
        (format!("/crm//{}/a", elsewhere.address), "h".to_owned()),
        (
            format!("/crm/@{}/a", elsewhere.address),
            elsewhere.address.to_string(),
        ),
    ] {
        gateway
            .send(format!(
                "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            ))
            .await;
    }
    assert_eq!(elsewhere.connections(), 0);
    let requests = upstream.requests();
    let lines: Vec<_> = requests.iter().map(|request| first_line(request)).collect();
    let address = elsewhere.address;
    let expected = [
        "GET /a HTTP/1.1".to_owned(),
        format!("GET //{address}/a HTTP/1.1"),
        format!("GET /@{address}/a HTTP/1.1"),
    ];
    assert_eq!(lines, expected);
    for request in &requests {
        assert_eq!(fields(request, "host"), [upstream.address.to_string()]);
    }
}

#[tokio::test]
async fn a_connection_has_a_host_and_may_have_a_port_of_its_own() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let by_host =
        "GET /-/healthz?x HTTP/1.1\r\nHost: crm.localhost:8080\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&gateway.send(by_host).await), 200);
    let mut caller = crate::support::harness::Caller::connect(gateway.own_address).await;
    caller
        .write("GET /crm/a HTTP/1.1\r\nHost: whatever\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(status(&caller.rest().await), 200);
    let requests = upstream.requests();
    let lines: Vec<_> = requests.iter().map(|request| first_line(request)).collect();
    assert_eq!(lines, ["GET /-/healthz?x HTTP/1.1", "GET /crm/a HTTP/1.1"]);
    for (target, host, expected) in [
        ("/x", "CRM.LocalHost.:80", "GET /x HTTP/1.1"),
        ("http://Crm.localhost:1?x=1", "a", "GET /?x=1 HTTP/1.1"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&gateway.send(request).await), 200, "{host}");
        assert_eq!(first_line(upstream.requests().last().unwrap()), expected);
    }
    let bare = "GET http://a?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&gateway.send(bare).await), 307);
    let nameless = gateway.get("//crm/").await;
    assert!(!nameless.contains("did you mean"), "{nameless}");
    let unknown = "GET / HTTP/1.1\r\nHost: cmr.localhost\r\nConnection: close\r\n\r\n";
    let answer = gateway.send(unknown).await;
    assert_eq!(status(&answer), 404);
    assert!(answer.contains("did you mean `crm`"), "{answer}");
}
