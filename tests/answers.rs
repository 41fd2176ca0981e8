//! What a caller reads on an answer, by what the provider tells and by what headroom has counted.

use crate::exchange::{fields, status};
use crate::modes::telling;
use crate::waiting::{Site, assert_refused};

/// An answer with these lines in its head.
fn ok(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\nok")
}

/// One header of an answer that went through.
fn field(answer: &str, name: &str) -> String {
    assert_eq!(status(answer), 200, "{answer}");
    fields(answer, name).join(", ")
}

#[tokio::test]
async fn a_cost_that_only_the_answer_tells_counts_for_the_next_call() {
    let upstream = telling(|number| match number {
        1 => ok(""),
        _ => ok("x-cost: 45.5\r\n"),
    })
    .await;
    let policies = "[policy.tokens]\nunit = \"tokens\"\nwindow = \"1h\"\nkind = \"fixed\"\n\
        cost = \"x-cost\"\n";
    let site = Site::before(upstream, policies, "quotas = { tokens = 100 }");
    // What an answer does not tell its call did not use, as far as anybody knows.
    for left in ["54", "54", "8", "0"] {
        let answer = site.get("").await;
        assert_eq!(field(&answer, "ratelimit-limit"), "100;w=3600", "{answer}");
        assert_eq!(field(&answer, "ratelimit-remaining"), left, "{answer}");
        assert_eq!(field(&answer, "headroom-source"), "own");
    }
    assert_refused(&site.get("").await);
    let report = site.program.get("/-/quota", "").await;
    assert!(report.contains("\"used\":138"), "{report}");
}

#[tokio::test]
async fn a_provider_that_tells_only_its_limit_gets_the_rest_from_the_count() {
    let upstream = telling(|_| ok("x-limit: 10\r\n")).await;
    let policies = "[policy.hourly]\nwindow = \"1h\"\nkind = \"fixed\"\nlimit = \"x-limit\"\n";
    let site = Site::before(upstream, policies, "");
    for left in ["9", "8"] {
        let answer = site.get("").await;
        assert_eq!(field(&answer, "ratelimit-limit"), "10;w=3600");
        assert_eq!(field(&answer, "ratelimit-remaining"), left);
        assert_eq!(field(&answer, "ratelimit-reset"), "3600");
        assert_eq!(field(&answer, "headroom-source"), "own");
    }
}
