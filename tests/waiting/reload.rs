//! The files change while a call waits.

use std::fs;

use super::*;
use crate::modes::telling;

#[tokio::test]
async fn who_waits_goes_when_the_quota_is_raised() {
    let short = "[policy.short]\nquota = 1\nwindow = \"50s\"\nkind = \"fixed\"\n";
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = stub(
        &upstream,
        short,
        "max_wait = \"60s\"\nquotas = { short = 1 }",
    );
    let program = Program::start(folder.path(), &config);
    assert_eq!(status(&program.get("/stub/", "").await), 200);
    let mut caller = Caller::connect(program.address()).await;
    caller
        .write(request(program.address(), "/stub/", "Prefer: wait=60\r\n"))
        .await;
    settle().await;
    let raised = config.replace("short = 1", "short = 5");
    fs::write(folder.path().join("headroom.toml"), raised).unwrap();
    let (answer, took) = timed(caller.rest()).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    // The count goes on.
    assert_eq!(fields(&answer, "ratelimit-remaining"), ["3"], "{answer}");
}

#[tokio::test]
async fn the_meters_of_an_origin_that_was_left_are_not_reported() {
    let short = "[policy.short]\nquota = 5\nwindow = \"1h\"\nkind = \"fixed\"\n";
    let (before, after) = (Upstream::answering(OK).await, Upstream::answering(OK).await);
    let (folder, config) = stub(&before, short, "");
    let program = Program::start(folder.path(), &config);
    assert_eq!(status(&program.get("/stub/", "").await), 200);
    let is_told = async || {
        let report = program.get("/-/quota", "").await;
        report.contains("\"total\":1")
    };
    assert!(is_told().await);
    let write = |config: &str| fs::write(folder.path().join("headroom.toml"), config).unwrap();
    write(&config.replace(&before.base_url(), &after.base_url()));
    let (_, took) = timed(async {
        while is_told().await {
            settle().await;
        }
    })
    .await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    // It counts still, in case the connection comes back.
    write(&config);
    while !is_told().await {
        settle().await;
    }
    let answer = program.get("/stub/", "").await;
    assert_eq!(fields(&answer, "ratelimit-remaining"), ["3"], "{answer}");
}

/// The user's own quota is not remembered as the provider's word.
#[tokio::test]
async fn an_own_quota_that_is_raised_or_gone_stops_nobody() {
    let policies = "[policy.short]\nwindow = \"1h\"\nkind = \"fixed\"\nlimit = \"x-limit\"\nremaining = \"x-left\"\n";
    let upstream = telling(|number| {
        let left = 99 - number;
        format!("HTTP/1.1 200 OK\r\nx-limit: 100\r\nx-left: {left}\r\ncontent-length: 2\r\n\r\nok")
    })
    .await;
    let (folder, config) = stub(&upstream, policies, "quotas = { short = 2 }");
    let program = Program::start(folder.path(), &config);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(status(&program.get("/stub/", "").await));
    }
    assert_eq!(statuses, [200, 200, 429]);
    for (quotas, source) in [("quotas = { short = 50 }", "own"), ("", "provider")] {
        let config = config.replace("quotas = { short = 2 }", quotas);
        fs::write(folder.path().join("headroom.toml"), config).unwrap();
        let reading = async {
            loop {
                let report = program.get("/-/quota", "").await;
                if report.contains(&format!("\"source\":\"{source}\""))
                    && !report.contains("\"limit\":2,")
                {
                    return;
                }
                settle().await;
            }
        };
        let (_, took) = timed(reading).await;
        assert!(took < Duration::from_secs(10), "{took:?}");
        let answer = program.get("/stub/", "").await;
        assert_eq!(status(&answer), 200, "{answer}");
        assert_eq!(fields(&answer, "headroom-source"), [source], "{answer}");
        let left = if source == "own" { "47" } else { "96" };
        assert_eq!(fields(&answer, "ratelimit-remaining"), [left], "{answer}");
    }
}
