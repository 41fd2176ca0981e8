//! What a caller reads on an answer, by what the provider tells and by what headroom has counted.

use headroom::consumer::{hash_key, to_hex};

use headroom::ledger::report::Report;

use crate::exchange::{body, fields, status};
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

/// Of a limit of 0 no call would ever fit, and no answer could say otherwise.
#[tokio::test]
async fn a_limit_of_nothing_does_not_stop_all_calls_for_ever() {
    let upstream = telling(|number| match number {
        0 => ok("x-limit: 0\r\n"),
        _ => ok("x-limit: 10\r\n"),
    })
    .await;
    let policies = "[policy.hourly]\nwindow = \"1h\"\nkind = \"fixed\"\nlimit = \"x-limit\"\n";
    let site = Site::before(upstream, policies, "");
    site.get("").await;
    for left in ["8", "7"] {
        let answer = site.get("").await;
        assert_eq!(field(&answer, "ratelimit-limit"), "10;w=3600", "{answer}");
        assert_eq!(field(&answer, "ratelimit-remaining"), left, "{answer}");
    }
}

/// What the provider says goes before what is documented, also where it said less before.
#[tokio::test]
async fn a_documented_quota_below_what_is_left_is_anothers() {
    let upstream = telling(|number| match number {
        0 => ok("x-left: 2\r\n"),
        _ => ok(&format!("x-left: {}\r\n", 100 - number)),
    })
    .await;
    let policies =
        "[policy.hourly]\nquota = 5\nwindow = \"1h\"\nkind = \"fixed\"\nremaining = \"x-left\"\n";
    let site = Site::before(upstream, policies, "");
    assert_eq!(field(&site.get("").await, "ratelimit-remaining"), "2");
    for left in (90..100).rev() {
        let answer = site.get("").await;
        assert_eq!(field(&answer, "ratelimit-limit"), "", "{answer}");
        assert_eq!(
            field(&answer, "ratelimit-remaining"),
            left.to_string(),
            "{answer}"
        );
        // Only when it comes back nobody said.
        let source = field(&answer, "headroom-source");
        assert_eq!(source, "provider;estimated", "{answer}");
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
        for (query, key, limit, left) in [
            ("", "", 10, 7),
            ("", "capped", 2, 0),
            ("?consumer=capped", "", 2, 0),
            ("?consumer=capped", "capped", 2, 0),
            ("?consumer=other", "", 7, 4),
        ] {
            assert_eq!(
                reported(&site, query, key).await,
                (limit, left),
                "{query} {key}"
            );
        }
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
        assert_eq!(reported(&site, "", "").await, (10, 2));
        assert_eq!(reported(&site, "?consumer=other", "").await, (7, 0));
    }
}

/// What is kept for others is told until when: a share is lent as time goes by, a reserve never.
#[tokio::test]
async fn a_consumer_is_told_when_there_will_be_something_for_it() {
    let policy = "[policy.hourly]\nwindow = \"1h\"\nkind = \"fixed\"\nquota = 10\n";
    for (keeps, uses, waits) in [
        // Three tenths: one is lent after 1,200 s.
        (consumer("sure", "share = \"30%\""), 7, 1_190..=1_200),
        (
            "reserve = { share = \"30%\", consumers = [] }".to_owned(),
            7,
            3_590..=3_600,
        ),
    ] {
        let connection = format!(
            "quotas = {{ hourly = 10 }}\n{keeps}{}",
            consumer("other", "")
        );
        let site = Site::before(telling(|_| ok("")).await, policy, &connection);
        for _ in 0..uses {
            assert_eq!(told_to(&site, "other").await.0, 200, "{keeps}");
        }
        let refused = site.get("headroom-key: hr_other\r\n").await;
        assert_eq!(status(&refused), 429, "{refused}");
        for name in ["retry-after", "ratelimit-reset"] {
            let secs: u64 = fields(&refused, name)[0].parse().unwrap();
            assert!(waits.contains(&secs), "{name}: {refused}");
        }
    }
}

/// Limit and remaining in `/-/quota`, asked with this consumer's key.
async fn reported(site: &Site, query: &str, key: &str) -> (u64, u64) {
    let header = match key {
        "" => String::new(),
        key => format!("headroom-key: hr_{key}\r\n"),
    };
    let target = format!("/-/quota{query}");
    let answer = site.program.get(&target, &header).await;
    let report: Report = serde_json::from_str(body(&answer)).unwrap();
    let meter = &report.meters[0];
    (meter.limit.unwrap(), meter.remaining.unwrap())
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

/// The headers of an answer and `/-/quota` after it are one truth, whoever it comes from.
#[tokio::test]
async fn answers_and_the_report_tell_the_same_numbers_of_the_same_source() {
    const FIXED: &str = "window = \"1h\"\nkind = \"fixed\"\n";
    const ROLLING: &str = "window = \"1h\"\nkind = \"rolling\"\n";
    const DAY: &str = "window = \"day\"\nkind = \"clock\"\ntime_zone = \"UTC\"\n";
    const ZONE: &str = "window = \"day\"\nkind = \"clock\"\ntime_zone = \"account\"\n";
    for (window, quota, tells, own, limit, source) in [
        (FIXED, "", true, "", 10, "provider"),
        (DAY, "", true, "", 10, "provider"),
        (ZONE, "", true, "", 10, "provider;estimated"),
        (ROLLING, "", true, "", 10, "provider"),
        // The user's own quota is below the provider's.
        (FIXED, "", true, "5", 5, "own"),
        (DAY, "", true, "5", 5, "own"),
        (ZONE, "", true, "5", 5, "own;estimated"),
        (ROLLING, "", true, "5", 5, "own"),
        // It is above: the provider's holds.
        (FIXED, "", true, "50", 10, "provider"),
        (DAY, "", true, "50", 10, "provider"),
        // Nobody tells: headroom counts.
        (FIXED, "", false, "5", 5, "own"),
        (DAY, "", false, "5", 5, "own"),
        (ZONE, "", false, "5", 5, "own;estimated"),
        (ROLLING, "quota = 10\n", false, "5", 5, "own"),
        (FIXED, "quota = 10\n", false, "", 10, "own;estimated"),
        (DAY, "quota = 10\n", false, "", 10, "own;estimated"),
    ] {
        let upstream = telling(move |number| {
            let lines = format!("x-limit: 10\r\nx-left: {}\r\n", 9 - number);
            ok(if tells { &lines } else { "" })
        })
        .await;
        let readings = "limit = \"x-limit\"\nremaining = \"x-left\"\n";
        let policy = format!("[policy.some]\n{window}{quota}{readings}");
        let connection = match own {
            "" => String::new(),
            own => format!("quotas = {{ some = {own} }}"),
        };
        let site = Site::before(upstream, &policy, &connection);
        for used in 1..=3 {
            let case = format!("{window}{quota}{tells} {own} {used}");
            let answer = site.get("").await;
            let told = ["ratelimit-limit", "ratelimit-remaining", "headroom-source"]
                .map(|name| field(&answer, name));
            let report = site.program.get("/-/quota", "").await;
            let report: Report = serde_json::from_str(body(&report)).unwrap();
            let meter = &report.meters[0];
            let left = limit - used;
            let expected = [
                format!("{limit};w={}", meter.window.unwrap()),
                left.to_string(),
                source.to_owned(),
            ];
            assert_eq!(told, expected, "{case}");
            let reported = (meter.limit, meter.remaining, &*meter.source);
            assert_eq!(reported, (Some(limit), Some(left), source), "{case}");
        }
    }
}
