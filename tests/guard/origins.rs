//! Only the configured origins are reached, whatever a caller or a provider says.

use std::sync::Arc;

use headroom::consumer::hash_key;
use headroom::gateway::{Connection, Reach, Settings};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::key;
use crate::exchange::{OK, body, fields, status};
use crate::support::harness::{Caller, Harness, connection};
use crate::support::program::{Program, get};
use crate::support::upstream::Upstream;

/// A provider, a gateway before it, and somebody who must never hear of a call.
struct Site {
    upstream: Upstream,
    victim: Upstream,
    gateway: Harness,
}

impl Site {
    async fn new(answer: &str) -> Self {
        let victim = Upstream::answering(OK).await;
        let answer = answer.replace("VICTIM", &victim.address.to_string());
        let upstream = Upstream::answering(answer).await;
        let gateway = Harness::new(&upstream.base_url()).await;
        Self {
            upstream,
            victim,
            gateway,
        }
    }
}

#[tokio::test]
async fn no_request_leads_elsewhere() {
    let site = Site::new(OK).await;
    let victim = site.victim.address;
    let targets = [
        format!("/crm/../{victim}/"),
        format!("/crm/%2e%2e/{victim}/"),
        format!("/crm/..%2f..%2f{victim}/"),
        format!("/crm/%252e%252e/{victim}/"),
        format!("/crm//{victim}/"),
        format!("/crm/%2f%2f{victim}/"),
        format!("/crm///{victim}/"),
        format!("/crm/\\{victim}/"),
        format!("/crm/\\\\{victim}/"),
        format!("/crm@{victim}/"),
        format!("/crm/@{victim}/"),
        format!("/crm:x@{victim}/"),
        format!("/crm/http://{victim}/"),
        format!("/http://{victim}/"),
        format!("/{victim}/"),
        format!("//{victim}/"),
        format!("///{victim}/"),
        format!("/\\{victim}/"),
        format!("/crm?@{victim}/"),
        format!("/crm/?url=http://{victim}/"),
        format!("/crm/;@{victim}/"),
        format!("/crm/%00@{victim}/"),
        format!("/crm/%0d%0aHost:%20{victim}/"),
        format!("http://{victim}/"),
        format!("http://{victim}/crm/"),
        format!("https://{victim}/crm/"),
        format!("ftp://{victim}/crm/"),
        format!("http://crm.localhost@{victim}/crm/"),
        format!("http://crm@{victim}/"),
        victim.to_string(),
        format!("crm@{victim}"),
        "*".to_owned(),
    ];
    let lines = [
        String::new(),
        format!("X-Forwarded-Host: {victim}\r\n"),
        format!(
            "X-Forwarded-Server: {victim}\r\nX-Host: {victim}\r\nX-Original-URL: http://{victim}/\r\n"
        ),
        format!("Forwarded: host={victim};proto=http\r\nX-Forwarded-Proto: https\r\n"),
        format!(
            "X-Forwarded-Port: {}\r\nX-Rewrite-URL: //{victim}/\r\n",
            victim.port()
        ),
    ];
    for target in &targets {
        for host in [
            "h".to_owned(),
            victim.to_string(),
            "crm.localhost".to_owned(),
            format!("crm.localhost:{}", victim.port()),
        ] {
            for line in &lines {
                let request = format!(
                    "GET {target} HTTP/1.1\r\nHost: {host}\r\n{line}Connection: close\r\n\r\n"
                );
                let answer = site.gateway.send(request).await;
                assert!(answer.starts_with("HTTP/1.1 "), "{target} {host}");
            }
        }
    }
    for method in ["CONNECT", "TRACE"] {
        let request =
            format!("{method} {victim} HTTP/1.1\r\nHost: {victim}\r\nConnection: close\r\n\r\n");
        assert!(status(&site.gateway.send(request).await) >= 400, "{method}");
    }
    assert_eq!(site.victim.connections(), 0);
    let reached = site.upstream.requests();
    assert!(reached.len() > targets.len(), "{}", reached.len());
    for request in reached {
        assert_eq!(
            fields(&request, "host"),
            [site.upstream.address.to_string()]
        );
        for name in ["x-forwarded-host", "forwarded", "x-forwarded-proto"] {
            assert!(fields(&request, name).is_empty(), "{request}");
        }
    }
}

#[test]
fn no_chance_leads_elsewhere() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let site = runtime.block_on(Site::new(OK));
    let victim = site.victim.address.to_string();
    let pieces = prop::sample::select(vec![
        "/",
        "//",
        "\\",
        "..",
        "%2e%2e",
        ".",
        "@",
        ":",
        "%2f",
        "%5c",
        "%00",
        "http:",
        "crm",
        "hub",
        "-",
        ";",
        "?",
        "#",
        "VICTIM",
        "localhost",
        "crm.localhost",
        "%40",
        "é",
        "|",
    ]);
    let hosts = prop::sample::select(vec![
        "h",
        "VICTIM",
        "crm.localhost",
        "crm.localhost:1",
        "x@VICTIM",
        "VICTIM.localhost",
    ]);
    let targets = (prop::collection::vec(pieces, 0..9), hosts);
    let mut runner = TestRunner::new(Config {
        cases: 400,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&targets, |(pieces, host)| {
        let target = format!("/{}", pieces.concat()).replace("VICTIM", &victim);
        let host = host.replace("VICTIM", &victim);
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        runtime.block_on(site.gateway.send(&request));
        prop_assert_eq!(site.victim.connections(), 0, "{}", request);
        Ok(())
    });
    outcome.unwrap();
    assert!(!site.upstream.requests().is_empty());
}

/// Redirects are the caller's to follow, and lead it back to headroom only where they stay with the provider.
#[tokio::test]
async fn redirects_are_not_followed() {
    for (code, words) in [
        (301, "Moved"),
        (302, "Found"),
        (303, "Other"),
        (307, "Again"),
        (308, "There"),
    ] {
        let answer = format!(
            "HTTP/1.1 {code} {words}\r\nlocation: http://VICTIM/take\r\nlink: <http://VICTIM/next>; rel=next\r\ncontent-length: 0\r\n\r\n"
        );
        let site = Site::new(&answer).await;
        for method in ["GET", "POST"] {
            let request = format!(
                "{method} /hub/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer hush\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let answer = site.gateway.send(request).await;
            assert_eq!(status(&answer), code);
            let location = format!("http://{}/take", site.victim.address);
            assert_eq!(fields(&answer, "location"), [location]);
            assert!(!answer.contains("hush"), "{answer}");
        }
        assert_eq!(
            (site.victim.connections(), site.upstream.requests().len()),
            (0, 2)
        );
    }
}

/// The caller's credential goes to the connection that it called, and a consumer's key to nobody.
#[tokio::test]
async fn credentials_stay_with_their_connection() {
    let (one, other) = (Upstream::answering(OK).await, Upstream::answering(OK).await);
    let connections = [
        connection("one", false, &one.base_url()),
        connection("other", false, &other.base_url()),
    ];
    let gateway = Harness::of(connections.into_iter().collect(), Settings::default()).await;
    for (name, secret) in [("one", "of-one"), ("other", "of-other")] {
        let request = format!(
            "GET /{name}/../{name}/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n\
             GET /{name}/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\nConnection: close\r\n\r\n"
        );
        gateway.send(request).await;
    }
    assert!(one.request().contains("of-one") && other.request().contains("of-other"));
}

/// Hosts of the built-in catalogue are of the internet. Here `localhost` stands for a name that the DNS leads inside.
#[tokio::test]
async fn a_public_host_is_not_looked_for_inside() {
    let inside = Upstream::answering(OK).await;
    let port = inside.address.port();
    for (host, reach, wanted) in [
        (format!("localhost:{port}"), Reach::Public, 502),
        (format!("127.0.0.1:{port}"), Reach::Public, 502),
        (format!("127.1:{port}"), Reach::Public, 502),
        (format!("0x7f000001:{port}"), Reach::Public, 502),
        (format!("0.0.0.0:{port}"), Reach::Public, 502),
        (format!("[::ffff:127.0.0.1]:{port}"), Reach::Public, 502),
        (format!("[::1]:{port}"), Reach::Public, 502),
        (format!("localhost:{port}"), Reach::Anywhere, 200),
        (format!("127.0.0.1:{port}"), Reach::Anywhere, 200),
    ] {
        let before = inside.connections();
        let one = Connection {
            reach,
            ..connection("crm", false, &format!("http://{host}"))
        };
        let gateway = Harness::of([one].into_iter().collect(), Settings::default()).await;
        for method in ["GET", "POST"] {
            let request = format!(
                "{method} /crm/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let answer = gateway.send(request).await;
            assert_eq!(status(&answer), wanted, "{host}: {answer}");
            if wanted == 502 {
                let problem: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
                assert_eq!(problem["code"], "private-address");
                let told = ["headroom; error=destination_ip_prohibited"];
                assert_eq!(fields(&answer, "proxy-status"), told);
                assert_eq!(inside.connections(), before, "{host}");
            }
        }
    }
}

/// Two gateways, of which the second leads back to the first; and one that leads to itself.
#[tokio::test]
async fn loops_end() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    // An address that nobody has, until the program that is to have it starts.
    let kept = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = kept.local_addr().unwrap();
    let config = |via: &str, to: &str| {
        format!("via = \"{via}\"\n[connections.crm]\nprovider = \"hubspot\"\nbase_url = \"{to}\"\n")
    };
    let to_first = format!("http://{address}/crm");
    let second = Program::start(folders[0].path(), &config("second", &to_first));
    let to_second = format!("http://{}/crm", second.address());
    drop(kept);
    let listen = address.to_string();
    let first = Program::with_listen(
        folders[1].path(),
        &config("first", &to_second),
        &["--listen", &listen],
    );
    let answer = first.get("/crm/a", "").await;
    assert_eq!(status(&answer), 508, "{answer}");
    // The first noticed it; the second brought its word back.
    assert!(
        answer.contains("first; error=proxy_loop_detected"),
        "{answer}"
    );
    drop((first, second));

    let itself = Program::with_listen(
        folders[0].path(),
        &config("headroom", &to_first),
        &["--listen", &listen],
    );
    let answer = get(itself.address(), "/crm/a", "").await;
    assert_eq!(status(&answer), 508, "{answer}");
    assert!(answer.contains("loop-detected"), "{answer}");
}

/// A chain of two is no loop, if they have two names.
#[tokio::test]
async fn two_gateways_in_a_row_pass_calls_on() {
    let upstream = Upstream::answering(OK).await;
    let first = Harness::with(
        &upstream.base_url(),
        Settings {
            pseudonym: "inner".to_owned(),
            ..Settings::default()
        },
    )
    .await;
    let base_url = format!("http://{}/crm", first.address);
    let second = Harness::new(&base_url).await;
    let answer = second.get("/crm/a").await;
    assert_eq!(status(&answer), 200, "{answer}");
    let via = fields(&upstream.request(), "via").join(", ");
    assert_eq!(via, "1.1 headroom, 1.1 inner");
    let same = Harness::with(&base_url, first_name()).await;
    assert_eq!(status(&same.get("/crm/a").await), 508);
}

fn first_name() -> Settings {
    Settings {
        pseudonym: "Inner".to_owned(),
        ..Settings::default()
    }
}

/// A key that nobody has opens nothing, however often it is tried, and goes nowhere.
#[tokio::test]
async fn no_key_of_headrooms_leaves_by_a_page_or_a_problem() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let (key, _) = key(7);
    let hash = Arc::new(hash_key(&key));
    for target in ["/-/quota", "/crm/a", "/nothing/", "/-/nothing"] {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nheadroom-key: {key}\r\nConnection: close\r\n\r\n"
        );
        let mut caller = Caller::connect(gateway.address).await;
        caller.write(request).await;
        let answer = caller.rest().await;
        assert!(!answer.contains(&key), "{answer}");
        assert!(
            !answer.contains(&headroom::consumer::to_hex(&*hash)),
            "{answer}"
        );
    }
    assert!(!upstream.request().contains(&key));
}
