//! What a caller reads on an answer, by what the provider tells and by what headroom has counted.

use crate::exchange::{fields, status};
use crate::modes::telling;
use crate::waiting::{Site, assert_refused, retry_after};

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

#[tokio::test]
async fn a_day_of_an_unknown_zone_has_one_end_wherever_it_is_told() {
    let day =
        "[policy.daily]\nquota = 1\nwindow = \"day\"\nkind = \"clock\"\ntime_zone = \"account\"\n";
    let told = format!("{day}limit = \"x-limit\"\nremaining = \"x-left\"\n");
    let says = "x-limit: 1\r\nx-left: 0\r\n";
    for (policies, lines) in [(day, ""), (&*told, says)] {
        let upstream = telling(move |_| ok(lines)).await;
        let site = Site::before(upstream, policies, "mode = \"enforce\"");
        let answer = site.get("").await;
        assert_eq!(field(&answer, "ratelimit-remaining"), "0");
        let refused = site.get("").await;
        assert_refused(&refused);
        assert_eq!(retry_after(&refused), 86_400);
        for answer in [&answer, &refused] {
            assert_eq!(fields(answer, "ratelimit-reset"), ["86400"], "{answer}");
            let source = fields(answer, "headroom-source").join("");
            assert!(source.ends_with(";estimated"), "{answer}");
        }
        let report = site.program.get("/-/quota", "").await;
        assert!(report.contains("\"reset\":86400"), "{report}");
        assert!(report.contains(";estimated\""), "{report}");
    }
    // Where the zone is known it is the calendar's.
    let site = Site::new(day, "time_zone = \"Asia/Kathmandu\"\nmode = \"enforce\"").await;
    let answer = site.get("").await;
    let reset: u64 = field(&answer, "ratelimit-reset").parse().unwrap();
    let now = headroom::clock::moment().wall().as_second();
    // 5:45 hours ahead of UTC, all year round.
    let midnight = 86_400 - u64::try_from(now + 20_700).unwrap() % 86_400;
    assert!(reset.abs_diff(midnight) % 86_400 <= 5, "{reset} {midnight}");
}

#[tokio::test]
async fn a_call_that_will_never_fit_is_told_so() {
    for kind in ["fixed", "rolling", "bucket"] {
        let policy = format!(
            "[policy.minute]\nquota = 3\nwindow = \"60s\"\nkind = \"{kind}\"\n\
             weights = [{{ path = \"/dear\", cost = 5 }}]\n"
        );
        let site = Site::new(&policy, "mode = \"enforce\"").await;
        assert_eq!(status(&site.get("").await), 200);
        let refused = site.program.get("/stub/dear", "").await;
        assert_refused(&refused);
        assert!((58..=60).contains(&retry_after(&refused)), "{refused}");
        let detail = "it costs 5, and the provider's quota `minute` of 3 is smaller than that; it will never fit.";
        assert!(refused.contains(detail), "{refused}");
        assert_eq!(status(&site.get("").await), 200);
    }
}
