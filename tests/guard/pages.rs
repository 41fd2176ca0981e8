//! Who may look at headroom's own pages, and what they see.

use std::net::{SocketAddr, UdpSocket};

use serde_json::Value;
use tempfile::TempDir;

use super::key;
use crate::exchange::{OK, body, fields, status};
use crate::support::harness::{Caller, Harness};
use crate::support::program::{Program, get, stub};
use crate::support::upstream::Upstream;

/// What a proxy on the same machine adds: then the caller is somebody else.
const FAR: &str = "X-Forwarded-For: 192.0.2.1\r\n";

const PAGES: [&str; 8] = [
    "/-/",
    "/-/quota",
    "/-/usage",
    "/-/events",
    "/-/advice",
    "/-/metrics",
    "/-/grafana.json",
    "/-/nothing",
];

fn site(upstream: &Upstream, more: &str) -> (TempDir, String) {
    let policy = "[policy.hourly]\nquota = 100\nwindow = \"1h\"\nkind = \"fixed\"\n";
    let (folder, config) = stub(upstream, policy, "mode = \"enforce\"");
    (folder, format!("{config}{more}"))
}

fn json(answer: &str) -> Value {
    serde_json::from_str(body(answer)).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn code(answer: &str) -> (u16, String) {
    let code = json(answer)["code"].as_str().unwrap().to_owned();
    (status(answer), code)
}

fn pair(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn without_a_key_the_pages_are_for_this_machine() {
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = site(&upstream, "");
    let program = Program::start(folder.path(), &config);
    for page in PAGES {
        let near = program.get(page, "").await;
        let wanted = if page == "/-/nothing" { 404 } else { 200 };
        assert_eq!(status(&near), wanted, "{page}");
        for lines in [
            FAR,
            "Forwarded: for=a\r\n",
            "Via: 1.1 a\r\n",
            "X-Real-IP: \r\n",
        ] {
            let far = program.get(page, lines).await;
            assert_eq!(code(&far), pair(403, "no-admin-key"), "{page} {lines}");
            assert!(far.contains("headroom key new NAME --admin"), "{far}");
        }
    }
    for page in ["/-/healthz", "/-/readyz"] {
        assert_eq!(status(&program.get(page, FAR).await), 200, "{page}");
    }
    let (wrong, _) = key(9);
    let lines = format!("headroom-key: {wrong}\r\n");
    let answer = program.get("/-/quota", &lines).await;
    assert_eq!(code(&answer), pair(401, "unknown-key"));
}

#[tokio::test]
async fn with_a_key_they_are_for_whoever_has_it() {
    let upstream = Upstream::answering(OK).await;
    let ((admin, hash), (other, _)) = (key(1), key(2));
    let (folder, config) = site(&upstream, &format!("[admin]\nkey_hash = \"{hash}\"\n"));
    let program = Program::start(folder.path(), &config);
    use base64::Engine as _;
    let basic = |user: &str, password: &str| {
        let text = format!("{user}:{password}");
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        format!("Authorization: Basic {encoded}\r\n{FAR}")
    };
    let lines = [
        format!("Authorization: Bearer {admin}\r\n{FAR}"),
        format!("headroom-key: {admin}\r\n{FAR}"),
        basic("me", &admin),
        basic("", &admin),
        basic(&admin, ""),
    ];
    for page in PAGES {
        for lines in &lines {
            let answer = program.get(page, lines).await;
            let wanted = if page == "/-/nothing" { 404 } else { 200 };
            assert_eq!(status(&answer), wanted, "{page} {lines}");
        }
        let without = program.get(page, FAR).await;
        assert_eq!(code(&without), pair(401, "no-key"), "{page}");
        for wrong in [
            format!("Authorization: Bearer {other}\r\n{FAR}"),
            format!("headroom-key: {admin}\r\nheadroom-key: {other}\r\n{FAR}"),
            format!("headroom-key: {hash}\r\n{FAR}"),
            basic("me", &other),
        ] {
            let answer = program.get(page, &wrong).await;
            assert_eq!(code(&answer), pair(401, "unknown-key"), "{page} {wrong}");
            assert!(!answer.contains(&other), "{answer}");
        }
        // This machine needs none all the same.
        assert_ne!(status(&program.get(page, "").await), 401, "{page}");
    }
    // Only what a browser opens makes it ask for a password.
    for (lines, challenge) in [
        (
            "Accept: text/html,*/*;q=0.8\r\n",
            "Basic realm=\"headroom\"",
        ),
        (
            "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Site: none\r\n",
            "Basic realm=\"headroom\"",
        ),
        (
            "Accept: text/html\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nSec-Fetch-Site: same-origin\r\n",
            "Bearer realm=\"headroom\"",
        ),
        ("Accept: */*\r\n", "Bearer realm=\"headroom\""),
    ] {
        let answer = program.get("/-/", &format!("{FAR}{lines}")).await;
        assert_eq!(fields(&answer, "www-authenticate"), [challenge], "{lines}");
    }
    // The key opens pages, and nothing else: to the provider it does not go.
    program
        .get("/stub/", &format!("headroom-key: {admin}\r\n"))
        .await;
    assert!(!upstream.request().contains(&admin));
}

#[tokio::test]
async fn a_consumer_sees_its_own_numbers_and_nobody_elses() {
    let upstream = Upstream::answering(OK).await;
    let ((one, one_hash), (two, two_hash)) = (key(1), key(2));
    let tables = format!(
        "[consumers.one]\nkey_hash = \"{one_hash}\"\n[consumers.two]\nkey_hash = \"{two_hash}\"\n"
    );
    let (folder, config) = site(&upstream, &tables);
    let program = Program::start(folder.path(), &config);
    let show = |key: &str| format!("headroom-key: {key}\r\n");
    for (key, calls) in [(&one, 2), (&two, 3)] {
        for number in 0..calls {
            let target = format!(
                "/stub/of-{}/{number}",
                if key == &one { "one" } else { "two" }
            );
            assert_eq!(status(&program.get(&target, &show(key)).await), 200);
        }
    }
    for near in ["", FAR] {
        let lines = format!("{}{near}", show(&one));
        let seen = async |target: &str| program.get(target, &lines).await;
        for page in [
            "/-/",
            "/-/advice",
            "/-/metrics",
            "/-/grafana.json",
            "/-/nothing",
        ] {
            assert_eq!(
                code(&seen(page).await),
                pair(403, "forbidden-page"),
                "{page}"
            );
        }

        let quota = json(&seen("/-/quota").await);
        let meter = &quota["meters"][0];
        assert_eq!(
            (quota["total"].as_u64(), meter["used"].as_u64()),
            (Some(1), Some(2))
        );
        assert_eq!(meter["remaining"], 95);
        assert_eq!(
            meter["consumers"],
            serde_json::json!([{ "consumer": "one", "used": 2 }])
        );
        for of_all in ["others", "in_flight", "waiting", "forecast"] {
            assert_eq!(meter.get(of_all), None, "{meter}");
        }

        let usage = json(&seen("/-/usage?by=consumer,endpoint").await);
        assert_eq!(usage["totals"]["calls"], 2, "{usage}");
        let csv = seen("/-/usage?by=consumer,endpoint&format=csv").await;
        let events = seen("/-/events?limit=1").await;
        let next = json(&events)["next"].as_str().unwrap().to_owned();
        let more = seen(&format!("/-/events?before={next}&limit=1000")).await;
        let all = seen("/-/events?before=999999999").await;
        assert_eq!(json(&all)["events"].as_array().unwrap().len(), 2, "{all}");
        assert_eq!(json(&more)["events"].as_array().unwrap().len(), 1, "{more}");
        // Numbers of events would tell how many calls the others have made.
        let operators = program.get("/-/events?limit=1000", "").await;
        let ids = |document: &str| -> Vec<i64> {
            let document = json(document);
            let events = document["events"].as_array().unwrap();
            events
                .iter()
                .map(|event| event["id"].as_i64().unwrap())
                .collect()
        };
        let (own, real) = (ids(&all), ids(&operators));
        assert!(
            real.len() > own.len() && real.iter().all(|id| *id < 100),
            "{real:?}"
        );
        assert!(own.iter().all(|id| *id > 100), "{own:?}");
        assert_eq!(ids(&seen("/-/events").await), own);
        assert_eq!(next, own[0].to_string());
        assert_eq!(ids(&more), own[1..]);
        let day = seen("/-/usage?by=consumer,day&last=7d").await;
        let policy = seen("/-/usage?by=consumer,policy").await;
        for answer in [
            &quota.to_string(),
            &usage.to_string(),
            &csv,
            &events,
            &more,
            &all,
            &day,
            &policy,
        ] {
            assert!(answer.contains("one"), "{answer}");
            assert!(!answer.contains("two"), "{answer}");
        }
        for target in [
            "/-/quota?consumer=two",
            "/-/usage?consumer=two",
            "/-/usage?consumer=one&consumer=two",
            "/-/usage?format=csv&consumer=two",
            "/-/events?consumer=two",
            "/-/events?consumer=two&before=999",
            "/-/events?%63onsumer=two",
        ] {
            let answer = seen(target).await;
            assert_eq!(status(&answer), 400, "{target}");
            assert!(!answer.contains("of-two"), "{answer}");
        }
        assert_eq!(status(&seen("/-/usage?consumer=one").await), 200);
    }

    // Live, also from where it was before.
    let lines = format!("Authorization: Bearer {one}\r\n{FAR}");
    let mut stream = Caller::connect(program.address()).await;
    let request = format!(
        "GET /-/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nLast-Event-ID: 0\r\n{lines}\r\n"
    );
    stream.write(request).await;
    // The latest of what is stored goes last.
    let mut told = stream.until("\"endpoint\":\"/of-one").await;
    program.get("/stub/of-two/live", &show(&two)).await;
    program.get("/stub/of-one/live", &show(&one)).await;
    told.push_str(&stream.until("/of-one/live").await);
    assert!(!told.contains("two"), "{told}");
    drop(stream);
    // Its own numbers lead it back, too: from the last but one on it has missed one call.
    let ids: Vec<&str> = told
        .lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect();
    assert!(
        ids.len() >= 3 && ids.iter().all(|id| id.len() > 3),
        "{ids:?}"
    );
    let told = {
        let calls: Vec<&str> = told
            .split("\n\n")
            .filter(|part| part.contains("event: call"))
            .collect();
        let before = calls[calls.len() - 2]
            .lines()
            .find_map(|line| line.strip_prefix("id: "));
        let before = before.unwrap().to_owned();
        let mut stream = Caller::connect(program.address()).await;
        let request = format!(
            "GET /-/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nLast-Event-ID: {before}\r\n{lines}\r\n"
        );
        stream.write(request).await;
        stream.until("/of-one/live").await
    };
    assert!(!told.contains("gap") && !told.contains("two"), "{told}");
    assert_eq!(told.matches("event: call").count(), 1, "{told}");
    let usage = program.get("/-/usage?by=consumer,endpoint", &lines).await;
    assert_eq!(json(&usage)["totals"]["calls"], 3, "{usage}");

    // Who shows nothing is told that a key is needed, any consumer's.
    let nobody = program.get("/-/usage", FAR).await;
    assert_eq!(code(&nobody), pair(401, "no-key"));
    let nobody = program.get("/-/metrics", FAR).await;
    assert_eq!(code(&nobody), pair(403, "no-admin-key"));
}

#[tokio::test]
async fn metrics_may_be_open() {
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = site(&upstream, "[admin]\nmetrics = \"open\"\n");
    let program = Program::start(folder.path(), &config);
    for lines in [FAR, "Sec-Fetch-Site: cross-site\r\n"] {
        assert_eq!(status(&program.get("/-/metrics", lines).await), 200);
    }
    assert_eq!(status(&program.get("/-/quota", FAR).await), 403);
    let evil = "GET /-/metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let mut caller = Caller::connect(program.address()).await;
    caller.write(evil).await;
    assert_eq!(status(&caller.rest().await), 200);
}

/// The accepted socket itself: over this machine's own address in its network, where it has one.
#[tokio::test]
async fn a_caller_of_the_network_is_no_caller_of_this_machine() {
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = site(&upstream, "");
    let arguments = ["--listen", "0.0.0.0:0", "--open-to-all"];
    let program = Program::with_listen(folder.path(), &config, &arguments);
    let port = program.address().port();
    let loopback = SocketAddr::from(([127, 0, 0, 1], port));
    assert_eq!(status(&get(loopback, "/-/quota", "").await), 200);
    // Nothing is sent: this only asks which address would be used.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let own = socket
        .connect("192.0.2.1:9")
        .and_then(|()| socket.local_addr());
    let Ok(own) = own.map(|own| own.ip()) else {
        return;
    };
    if !own.is_loopback() {
        let far = get(SocketAddr::new(own, port), "/-/quota", "").await;
        assert_eq!(code(&far), pair(403, "no-admin-key"));
        // It cannot talk itself near.
        let far = get(SocketAddr::new(own, port), "http://localhost/-/quota", "").await;
        assert_eq!(code(&far), pair(403, "no-admin-key"));
    }
}

#[tokio::test]
async fn every_page_is_guarded_in_browsers() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for target in PAGES
        .into_iter()
        .chain(["/", "/-/healthz", "/-/readyz", "/-/usage?x=y"])
    {
        let answer = gateway.get(target).await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(fields(&answer, name), [value], "{target}");
        }
        let policy = fields(&answer, "content-security-policy");
        assert_eq!(policy.len(), 1, "{target}");
        for word in [
            "default-src 'none'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy[0].contains(word), "{target}: {policy:?}");
        }
        assert_eq!(fields(&answer, "cache-control").len(), 1, "{target}");
        for name in ["access-control-allow-origin", "set-cookie"] {
            assert!(fields(&answer, name).is_empty(), "{target}");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let request = format!(
                "{method} {target} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nAccess-Control-Request-Method: GET\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            let answer = gateway.send(request).await;
            let wanted = if target == "/-/nothing" { 404 } else { 405 };
            assert_eq!(status(&answer), wanted, "{method} {target}");
            assert!(fields(&answer, "access-control-allow-origin").is_empty());
        }
    }
}
