//! Headers of providers that headroom knows nothing of: what they say does not depend on their order, nor on how many lines
//! they come in, and what they do not say is not made up.

use std::collections::BTreeMap;

use headroom::quota::ServiceLimit;
use headroom::translate::Translation;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::support::answers::Sent;

fn translated(status: u16, lines: &[&str]) -> Translation {
    let fields = lines.iter().map(|line| line.split_once(": ").unwrap());
    let sent = Sent {
        id: "generic".to_owned(),
        method: http::Method::GET,
        path: None,
        status: StatusCode::from_u16(status).unwrap(),
        headers: fields
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect::<Vec<_>>()
            .into_iter()
            .fold(http::HeaderMap::new(), |mut all, (name, value)| {
                all.append(name, value);
                all
            }),
        body: Vec::new(),
        now: "2026-11-21T12:00:00Z".parse().unwrap(),
    };
    sent.translate_generic()
}

/// `limit/remaining/reset/window` by policy; `~` where it is an estimate.
fn told(translation: &Translation) -> BTreeMap<String, String> {
    let text = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |it| it.to_string());
    let one = |limit: &ServiceLimit| {
        let [most, left, reset, window] =
            [limit.limit, limit.remaining, limit.reset, limit.window].map(text);
        let estimated = if limit.source.estimated { "~" } else { "" };
        let told = format!("{most}/{left}/{reset}{estimated}/{window}");
        (limit.policy.to_string(), told)
    };
    translation.limits.iter().map(one).collect()
}

/// Checks what lines say, in every order of theirs.
fn says(lines: &[&str], expected: &[(&str, &str)]) {
    let expected: BTreeMap<String, String> = expected
        .iter()
        .map(|(policy, told)| ((*policy).to_owned(), (*told).to_owned()))
        .collect();
    for first in 0..lines.len() {
        let mut lines = lines.to_vec();
        lines.rotate_left(first);
        for lines in [lines.clone(), lines.into_iter().rev().collect()] {
            let translation = translated(200, &lines);
            assert_eq!(told(&translation), expected, "{lines:?} {translation:#?}");
        }
    }
}

/// Envoy names the policy in the list, and nowhere else.
#[test]
fn a_name_in_a_list_is_the_policys() {
    says(
        &[
            "X-RateLimit-Limit: 10, 10;w=1;name=\"per-ip\", 1000;w=3600;name=\"per-day\"",
            "X-RateLimit-Remaining: 4",
            "X-RateLimit-Reset: 1",
        ],
        &[("per-ip", "10/4/1/1"), ("per-day", "1000/?/3600~/3600")],
    );
}

/// RFC 9110, section 5.3.
#[test]
fn lines_of_one_list_are_one_list() {
    for limits in [
        &["RateLimit-Limit: 100, 100;w=60, 1000;w=3600"][..],
        &[
            "RateLimit-Limit: 100, 100;w=60",
            "RateLimit-Limit: 1000;w=3600",
        ],
        &[
            "RateLimit-Limit: 100",
            "RateLimit-Limit: 100;w=60, 1000;w=3600",
        ],
        &[
            "RateLimit-Limit: 100",
            "RateLimit-Policy: 100;w=60",
            "RateLimit-Policy: 1000;w=3600",
        ],
    ] {
        let lines = [limits, &["RateLimit-Remaining: 50", "RateLimit-Reset: 30"]].concat();
        let translation = translated(200, &lines);
        let expected = [
            ("default".to_owned(), "100/50/30/60".to_owned()),
            ("window-3600".to_owned(), "1000/?/3600~/3600".to_owned()),
        ];
        assert_eq!(told(&translation), expected.into(), "{lines:?}");
    }
    says(
        &[
            "RateLimit: limit=100, remaining=50",
            "RateLimit-Policy: 100;w=60",
        ],
        &[("default", "100/50/60~/60")],
    );
    let lines = ["RateLimit: limit=100, remaining=50", "RateLimit: reset=5.5"];
    assert_eq!(told(&translated(200, &lines))["default"], "100/50/6/?");
}

#[test]
fn of_several_that_have_spoken_the_tightest_counts() {
    says(
        &[
            "X-RateLimit-Limit: 100",
            "X-RateLimit-Limit: 50",
            "X-RateLimit-Remaining: 99",
            "X-RateLimit-Remaining: 2",
        ],
        &[("default", "50/2/?/?")],
    );
    says(
        &[
            "RateLimit: limit=100, remaining=50, reset=5",
            "RateLimit: limit=10, remaining=3, reset=60",
        ],
        &[("default", "10/3/60/?")],
    );
    says(
        &[
            "RateLimit: \"a\";r=3;t=60",
            "RateLimit: \"a\";r=50;t=5;pk=:AAAA:",
            "RateLimit-Policy: \"a\";q=100;w=60",
        ],
        &[("a", "100/3/60/60")],
    );
    says(
        &[
            "X-RateLimit-Limit: 5",
            "X-RateLimit-Remaining: 4",
            "X-RateLimit-Reset: 1795262430",
            "X-RateLimit-Reset-After: 29.5",
        ],
        &[("default", "5/4/30/?")],
    );
}

#[test]
fn what_stands_in_quotes_separates_nothing() {
    says(
        &[
            "RateLimit-Limit: 100, 100;w=60;comment=\"a, 7;w=1 \\\" b\", 5000;w=3600;comment=\"c;w=9\"",
            "RateLimit-Remaining: 50",
            "RateLimit-Reset: 30",
        ],
        &[
            ("default", "100/50/30/60"),
            ("window-3600", "5000/?/3600~/3600"),
        ],
    );
}

/// Kong sends every window by its name, and the tightest once more without one.
#[test]
fn the_tightest_window_has_the_reset_that_was_sent() {
    says(
        &[
            "X-RateLimit-Limit-Minute: 60",
            "X-RateLimit-Remaining-Minute: 50",
            "X-RateLimit-Limit-Hour: 1000",
            "X-RateLimit-Remaining-Hour: 20",
            "RateLimit-Limit: 1000",
            "RateLimit-Remaining: 20",
            "RateLimit-Reset: 900",
        ],
        &[("minute", "60/50/60~/60"), ("hour", "1000/20/900/3600")],
    );
}

#[test]
fn a_unit_in_a_name_is_no_window() {
    says(
        &[
            "X-RateLimit-Limit-Audio-Seconds: 7200",
            "X-RateLimit-Remaining-Audio-Seconds: 7000",
        ],
        &[("audio-seconds", "7200/7000/?/?")],
    );
    let lines = ["X-RateLimit-Limit-Audio-Seconds: 7200"];
    let translation = translated(200, &lines);
    assert_eq!(translation.limits[0].unit.as_str(), "audio-seconds");
    says(
        &["X-RateLimit-Limit-15-Minute: 9"],
        &[("15-minute", "9/?/?/?")],
    );
    says(
        &["X-RateLimit-Limit-Requests-Day: 9"],
        &[("requests-day", "9/?/86400~/86400")],
    );
}

#[test]
fn less_than_nothing_is_nothing_of_a_limit_and_unknown_of_none() {
    for (lines, expected) in [
        (["X-RateLimit-Limit: -1", "X-RateLimit-Remaining: -1"], None),
        (
            ["X-RateLimit-Limit: 100", "X-RateLimit-Remaining: -1"],
            Some("100/0/?/?"),
        ),
        (
            ["X-RateLimit-Limit: -1", "X-RateLimit-Remaining: 7"],
            Some("?/7/?/?"),
        ),
    ] {
        let translation = translated(200, &lines);
        let told = told(&translation);
        assert!(!translation.exhausted);
        assert_eq!(
            told.get("default").map_or("?/?/?/?", |told| told),
            expected.unwrap_or("?/?/?/?")
        );
    }
    let translation = translated(200, &["X-RateLimit-Limit: -1", "X-RateLimit-Remaining: -1"]);
    assert!(!translation.notes.is_empty());
}

#[test]
fn waits_and_windows_come_by_other_names() {
    for (line, wait) in [
        ("Retry-After-Ms: 1500", Some(2)),
        ("X-RateLimit-Retry-After: 7", Some(7)),
        ("X-RateLimit-Retry-After: soon", None),
        ("Retry-After: -5", None),
    ] {
        let translation = translated(429, &[line]);
        assert_eq!(translation.retry_after, wait, "{line}");
        assert_eq!(
            translation.notes.is_empty(),
            line.ends_with("1500"),
            "{line}"
        );
    }
    says(
        &["X-Rate-Limit-Limit: 9", "X-Rate-Limit-Interval: 1s"],
        &[("default", "9/?/1~/1")],
    );
    let translation = translated(200, &["RateLimit-Remaining: 3", "RateLimit-Reset: -5"]);
    assert_eq!(told(&translation)["default"], "?/3/0/?");
    assert_eq!(translation.notes.len(), 1);
}
