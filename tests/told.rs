//! What single values of headers mean, with adapters made for it.

use headroom::adapter::parse::parse;
use headroom::adapter::terms::Terms;
use headroom::translate::Translation;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::support::answers::Sent;

/// What an adapter with these policies reads of an answer with these lines.
fn translated(
    policies: &str,
    status: StatusCode,
    lines: &[(&'static str, &'static str)],
) -> Translation {
    let text = format!("name = \"Model\"\ndocs = \"https://example.com\"\n{policies}");
    let adapter = parse("model", &text)
        .unwrap_or_else(|mistakes| panic!("{}", mistakes.render("", &text, false)));
    let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    let sent = Sent {
        id: "model".to_owned(),
        method: Method::GET,
        path: None,
        status,
        headers,
        body: Vec::new(),
        now: "2026-11-21T12:00:00Z".parse().unwrap(),
    };
    sent.translate_with(&adapter, &terms)
}

/// Limit, what is left and the reset of the one policy.
fn numbers(translation: &Translation) -> (Option<u64>, Option<u64>, Option<u64>) {
    let limit = translation.limits.first();
    let of = |number: fn(&headroom::quota::ServiceLimit) -> Option<u64>| limit.and_then(number);
    (of(|it| it.limit), of(|it| it.remaining), of(|it| it.reset))
}

/// Half a call a second is one in two seconds: in a second it is neither none nor one.
#[test]
fn a_rate_below_one_is_no_limit() {
    let policies = |window: &str| {
        let limit = "{ header = \"x-limit\", form = \"per-second\" }";
        format!("[policy.rate]\nwindow = \"{window}\"\nlimit = {limit}\nremaining = \"x-left\"\n")
    };
    let lines = [("x-limit", "0.5"), ("x-left", "0")];
    let short = translated(&policies("1s"), StatusCode::OK, &lines);
    assert_eq!(numbers(&short), (None, Some(0), Some(1)));
    assert!(
        short.notes[0].contains("less than one call"),
        "{:?}",
        short.notes
    );
    let long = translated(&policies("60s"), StatusCode::OK, &lines);
    assert_eq!(numbers(&long), (Some(30), Some(0), Some(60)));
    assert!(long.notes.is_empty(), "{:?}", long.notes);
}

/// What many send of a plan that is not limited.
#[test]
fn a_limit_below_zero_is_none() {
    let policies = "[policy.day]\nquota = 100\nlimit = \"x-limit\"\nremaining = \"x-left\"\n";
    for (limit, left, expected) in [
        ("-1", "-1", (None, None, None)),
        ("-1", "7", (None, Some(7), None)),
        ("50", "-3", (Some(50), Some(0), None)),
        ("0", "0", (Some(0), Some(0), None)),
    ] {
        let lines = [("x-limit", limit), ("x-left", left)];
        let translation = translated(policies, StatusCode::OK, &lines);
        assert_eq!(numbers(&translation), expected, "{limit} {left}");
    }
    // Beside a documented limit, less than nothing is nothing.
    let lines = [("x-left", "-1")];
    let translation = translated(policies, StatusCode::OK, &lines);
    assert_eq!(numbers(&translation), (Some(100), Some(0), None));
}

#[test]
fn a_negative_wait_is_none_and_a_negative_reset_is_now() {
    let policies = "[policy.day]\nremaining = \"x-left\"\nreset = { header = \"x-reset\", form = \"seconds\" }\n";
    let lines = [("x-left", "0"), ("x-reset", "-5"), ("retry-after", "-5")];
    let translation = translated(policies, StatusCode::OK, &lines);
    assert_eq!(numbers(&translation), (None, Some(0), Some(0)));
    assert_eq!(translation.retry_after, None);
    assert_eq!(translation.notes.len(), 2, "{:?}", translation.notes);
}
