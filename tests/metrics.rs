//! `GET /-/metrics`: exact, and as those who read it want it.

pub(crate) mod page;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, io};

use crate::exchange::{OK, body, fields, status};
use crate::support::harness::{Caller, Harness};
use crate::support::program::{Program, stub};
use crate::support::upstream::Upstream;
use page::Page;

/// Scrapes, in the older format.
async fn scrape(gateway: &Harness) -> Page {
    let answer = gateway.get("/-/metrics").await;
    assert_eq!(status(&answer), 200);
    assert_eq!(
        fields(&answer, "content-type"),
        ["text/plain; version=0.0.4; charset=utf-8"]
    );
    Page::read(body(&answer))
}

/// A provider whose quota goes out when somebody calls `/used-up`, that breaks off, and one call that never gets an answer.
pub(crate) async fn upstream() -> Upstream {
    Upstream::scripted(|mut peer, _| async move {
        loop {
            let request = peer.request().await?;
            if request.contains("/broken") {
                peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await?;
                return Ok(());
            }
            if request.contains("/half") {
                peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await?;
                std::future::pending::<()>().await;
            }
            if request.contains("/used-up") {
                peer.write("HTTP/1.1 402 Payment Required\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n\"quota\"").await?;
                continue;
            }
            if request.contains("/never") {
                std::future::pending::<()>().await;
            }
            peer.write(OK).await?;
        }
    })
    .await
}

/// Calls of all kinds, eight of them.
async fn call(gateway: &Harness, upstream: &Upstream) {
    gateway.get("/crm/v3/contacts/17?token=secret").await;
    gateway.get("/crm/v3/contacts/18").await;
    gateway
        .send("POST /hub/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nAuthorization: Bearer t\"o\\k\r\nConnection: close\r\n\r\nhello")
        .await;
    gateway.get("/crm/broken").await;
    gateway.get("/crm/../etc").await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("GET /crm/never HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    while upstream.requests().len() < 5 {
        tokio::task::yield_now().await;
    }
    drop(caller);
    gateway.get("/crm/used-up").await;
    gateway.get("/crm/v3/contacts/19").await;
}

#[tokio::test]
async fn each_call_is_counted_once_and_counts_only_rise() {
    let upstream = upstream().await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let before = scrape(&gateway).await;
    assert_eq!(before.sum("headroom_requests_total", &[]), 0.0);
    call(&gateway, &upstream).await;
    // Whoever goes away is noticed a moment later.
    let page = loop {
        let page = scrape(&gateway).await;
        if page.sum("headroom_requests_total", &[("status", "none")]) > 0.0 {
            break page;
        }
        tokio::task::yield_now().await;
    };
    let requests = |labels: &[(&str, &str)]| page.sum("headroom_requests_total", labels);
    assert_eq!(requests(&[]), 8.0);
    assert_eq!(requests(&[("connection", "crm"), ("status", "200")]), 3.0);
    assert_eq!(requests(&[("connection", "hub"), ("status", "200")]), 1.0);
    assert_eq!(requests(&[("status", "400")]), 1.0);
    assert_eq!(requests(&[("status", "429")]), 2.0);
    assert_eq!(requests(&[("consumer", "anonymous")]), 7.0);
    let refusals = |by: &str| {
        let labels = [
            ("refused_by", by),
            ("policy", "stub"),
            ("connection", "crm"),
        ];
        page.sum("headroom_refusals_total", &labels)
    };
    assert_eq!((refusals("provider"), refusals("headroom")), (1.0, 1.0));
    assert_eq!(page.sum("headroom_broken_answers_total", &[]), 1.0);
    assert_eq!(page.sum("headroom_request_bytes_total", &[]), 5.0);
    let length = OK.rsplit("\r\n\r\n").next().unwrap().len() as f64;
    let hub = [("connection", "hub")];
    assert_eq!(page.sum("headroom_response_bytes_total", &hub), length);
    // All have a length; those that the provider answered have its part; all that were answered have headroom's.
    let count = |name: &str| page.sum(&format!("headroom_{name}_duration_seconds_count"), &[]);
    assert_eq!(
        (count("request"), count("upstream"), count("overhead")),
        (8.0, 5.0, 7.0)
    );
    let sum = |name: &str| page.sum(&format!("headroom_{name}_duration_seconds_sum"), &[]);
    assert!(sum("request") >= sum("upstream") + sum("overhead") - 1e-5);
    assert!(sum("upstream") > 0.0 && sum("overhead") > 0.0);

    // The provider has said that nothing is left.
    let meter = [
        ("connection", "crm"),
        ("policy", "stub"),
        ("unit", "requests"),
    ];
    assert_eq!(page.sum("headroom_quota_limit", &meter), 7.0);
    assert_eq!(page.sum("headroom_quota_remaining", &meter), 0.0);
    let reset = page.sum("headroom_quota_suspended_seconds", &meter);
    assert!((1.0..=60.0).contains(&reset), "{reset}");
    assert_eq!(page.sum("headroom_store_up", &[]), 2.0);

    gateway.get("/hub/again").await;
    let later = scrape(&gateway).await;
    assert_eq!(later.sum("headroom_requests_total", &[]), 9.0);
    later.has_not_fallen_below(&page);
}

#[tokio::test]
async fn neither_paths_nor_credentials_are_labels() {
    let upstream = upstream().await;
    let gateway = Harness::new(&upstream.base_url()).await;
    call(&gateway, &upstream).await;
    let answer = gateway.get("/-/metrics").await;
    for secret in ["contacts", "token", "secret", "t\"o", "used-up", "etc"] {
        assert!(!body(&answer).contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn whoever_asks_gets_the_format_that_it_reads() {
    let upstream = upstream().await;
    let gateway = Harness::new(&upstream.base_url()).await;
    let ask = async |accept: &str| {
        let request = format!(
            "GET /-/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: {accept}\r\n\r\n"
        );
        gateway.send(request).await
    };
    // As Prometheus asks.
    let newer = ask(
        "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    )
    .await;
    assert!(fields(&newer, "content-type")[0].starts_with("application/openmetrics-text"));
    assert!(body(&newer).ends_with("# EOF\n"));
    assert!(body(&newer).contains("# TYPE headroom_requests counter\n"));
    for accept in ["*/*", "text/plain", "application/openmetrics-text;q=0"] {
        let older = ask(accept).await;
        assert!(
            fields(&older, "content-type")[0].starts_with("text/plain"),
            "{accept}"
        );
        assert!(body(&older).contains("# TYPE headroom_requests_total counter\n"));
    }
}

/// Prometheus' own linter. `tests/clients/install` brings it; where clients are required, so is it.
#[tokio::test]
async fn promtool_finds_nothing() {
    let upstream = upstream().await;
    let gateway = Harness::new(&upstream.base_url()).await;
    call(&gateway, &upstream).await;
    let answer = gateway.get("/-/metrics").await;
    let installed = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join("clients/promtool");
    let child = Command::new(installed)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            let required = env::var("HEADROOM_CLIENTS").is_ok_and(|policy| policy == "required");
            assert!(!required, "promtool cannot be run: {error}");
            let mut stderr = io::stderr();
            writeln!(
                stderr,
                "skipped, promtool is not installed: run tests/clients/install"
            )
            .unwrap();
            return;
        }
    };
    let text = body(&answer).to_owned();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.is_empty(), "{told}\n{text}");
}

#[tokio::test]
async fn warnings_are_counted_by_kind_and_threshold() {
    let upstream = Upstream::answering(OK).await;
    let policies = "[policy.hourly]\nquota = 20\nwindow = \"1h\"\nkind = \"fixed\"";
    let (folder, config) = stub(&upstream, policies, "mode = \"enforce\"");
    let program = Program::start(folder.path(), &config);
    for _ in 0..16 {
        assert_eq!(status(&program.get("/stub/", "").await), 200);
    }
    // Warnings are looked for beside the calls.
    let page = loop {
        let page = Page::read(body(&program.get("/-/metrics", "").await));
        if page.sum("headroom_warnings_total", &[]) > 0.0 {
            break page;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let labels = [
        ("kind", "quota.threshold"),
        ("connection", "stub"),
        ("policy", "hourly"),
        ("threshold", "0.8"),
    ];
    assert_eq!(page.sum("headroom_warnings_total", &labels), 1.0);
    assert_eq!(
        page.sum("headroom_quota_used", &[("policy", "hourly")]),
        16.0
    );
}

/// Every expression of the dashboard asks for what there is.
#[tokio::test]
async fn the_dashboard_for_grafana_asks_for_what_there_is() {
    let upstream = upstream().await;
    let gateway = Harness::new(&upstream.base_url()).await;
    call(&gateway, &upstream).await;
    let page = scrape(&gateway).await;
    let answer = gateway.get("/-/grafana.json").await;
    assert_eq!(fields(&answer, "content-type"), ["application/json"]);
    let dashboard: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    let mut asked = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            names(target["expr"].as_str().unwrap(), &mut asked);
            let legend = target["legendFormat"].as_str().unwrap();
            for label in legend.split("{{").skip(1) {
                let label = label.split("}}").next().unwrap();
                assert!(page::LABELS.contains(&label), "{legend}");
            }
        }
    }
    names(
        dashboard["templating"]["list"][1]["definition"]
            .as_str()
            .unwrap(),
        &mut asked,
    );
    for name in &asked {
        let family = page.families.keys().find(|family| {
            let suffix = name.strip_prefix(family.as_str());
            suffix == Some("")
                || (page.families[*family] == "histogram"
                    && matches!(suffix, Some("_bucket" | "_sum" | "_count")))
        });
        assert!(family.is_some(), "{name} is not there");
    }
    // And shows all that matters.
    let unused = [
        "headroom_build_info",
        "headroom_config_last_reload_success_timestamp_seconds",
        "headroom_uptime_seconds",
        "process_start_time_seconds",
        "headroom_quota_meters",
        "headroom_quota_meters_omitted",
    ];
    for family in page.families.keys() {
        let is_asked = asked.iter().any(|name| name.starts_with(family.as_str()));
        assert!(
            is_asked || unused.contains(&family.as_str()),
            "{family} is not shown"
        );
    }
}

fn names(expression: &str, found: &mut BTreeSet<String>) {
    let is_of_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
    for word in expression.split(|character| !is_of_name(character)) {
        if word.starts_with("headroom_") || word.starts_with("process_") {
            found.insert(word.to_owned());
        }
    }
}
