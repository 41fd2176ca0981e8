//! What a caller reads on an answer, by what the provider tells and by what headroom has counted.

use headroom::consumer::{hash_key, to_hex};

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

fn consumer(name: &str, rights: &str) -> String {
    let hash = to_hex(&hash_key(&format!("hr_{name}")));
    format!("\n[consumers.{name}]\nkey_hash = \"{hash}\"\n{rights}\n")
}

/// What a consumer is told: limit, remaining, source.
async fn told_to(site: &Site, name: &str) -> (u16, String, String, String) {
    let answer = site.get(&format!("headroom-key: hr_{name}\r\n")).await;
    let field = |name: &str| fields(&answer, name).join(", ");
    (
        status(&answer),
        field("ratelimit-limit"),
        field("ratelimit-remaining"),
        field("headroom-source"),
    )
}

#[tokio::test]
async fn a_consumer_is_told_what_is_left_for_it() {
    let told = "[policy.hourly]\nwindow = \"1h\"\nkind = \"fixed\"\nlimit = \"x-limit\"\n\
        remaining = \"x-left\"\n";
    let counted = "[policy.hourly]\nwindow = \"1h\"\nkind = \"fixed\"\nquota = 10\n";
    for (policy, source) in [(told, "provider"), (counted, "own")] {
        let upstream = telling(move |number| match source {
            "provider" => ok(&format!("x-limit: 10\r\nx-left: {}\r\n", 9 - number)),
            _ => ok(""),
        })
        .await;
        let connection = format!(
            "{}{}{}{}",
            if policy == counted {
                "quotas = { hourly = 10 }"
            } else {
                ""
            },
            consumer("capped", "cap = { hourly = 2 }"),
            consumer("sure", "share = \"30%\""),
            consumer("other", ""),
        );
        let site = Site::before(upstream, policy, &connection);
        let is = |status, limit: &str, left: &str, source: &str| {
            let text = |text: &str| text.to_owned();
            (status, format!("{limit};w=3600"), text(left), text(source))
        };
        // Seven are not kept for anybody.
        assert_eq!(told_to(&site, "other").await, is(200, "7", "6", "own"));
        assert_eq!(told_to(&site, "capped").await, is(200, "2", "1", "own"));
        assert_eq!(told_to(&site, "capped").await, is(200, "2", "0", "own"));
        let refused = told_to(&site, "capped").await;
        assert_eq!(
            (refused.0, &*refused.1, &*refused.2),
            (429, "2;w=3600", "0")
        );
        // Who has a share may use the rest, too: what is left for it is what is left.
        assert_eq!(told_to(&site, "sure").await, is(200, "10", "6", source));
        for left in ["3", "2", "1", "0"] {
            assert_eq!(told_to(&site, "other").await, is(200, "7", left, "own"));
        }
        let refused = told_to(&site, "other").await;
        assert_eq!(
            (refused.0, &*refused.1, &*refused.2),
            (429, "7;w=3600", "0")
        );
        // The meter is everybody's.
        let report = site.program.get("/-/quota", "").await;
        assert!(report.contains("\"remaining\":2"), "{report}");
    }
}

#[tokio::test]
async fn a_cap_that_is_only_observed_is_not_told() {
    let policy = "[policy.hourly]\nwindow = \"1h\"\nkind = \"fixed\"\nquota = 10\n";
    let connection = format!(
        "mode = \"observe\"{}",
        consumer("capped", "cap = { hourly = 1 }")
    );
    let site = Site::new(policy, &connection).await;
    for left in ["9", "8"] {
        assert_eq!(told_to(&site, "capped").await.2, left);
    }
}
