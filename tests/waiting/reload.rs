//! The files change while a call waits.

use std::fs;

use super::*;

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
