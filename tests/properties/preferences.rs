//! What a caller asks of headroom itself: nothing that it writes can break or be lost.

use headroom::adapter::Refusal;
use headroom::dress::{Dress, Words};
use headroom::fields::Fields;
use headroom::gateway::preferences::{PREFER, PRIORITY, Priority, strip_wait, wait};
use http::{HeaderValue, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::answers::text;

/// Preferences with and without sense, and what is none.
fn element() -> impl Strategy<Value = String> {
    prop_oneof![
        text("[ \t]?[Ww]ait[ ]?=[ ]?\"?[0-9]{0,22}\"?[ ]?(; ?x=[0-9])?"),
        text("[ ]?(return=minimal|handling=lenient; a=\"x, wait=3\"|odata[.]track-changes)[ ]?"),
        text("[ -~]{0,12}"),
    ]
}

fn lines() -> impl Strategy<Value = Vec<String>> {
    let line = proptest::collection::vec(element(), 0..4).prop_map(|parts| parts.join(","));
    proptest::collection::vec(line, 0..4)
}

fn headers(lines: &[String]) -> Fields {
    let mut headers = Fields::new();
    for line in lines {
        headers.append(PREFER, HeaderValue::from_str(line).unwrap());
        headers.append(PRIORITY, HeaderValue::from_str(line).unwrap());
    }
    headers
}

proptest! {
    #[test]
    fn a_wait_is_bounded_and_goes_no_further(lines in lines(), longest in 0_u64..1_000) {
        let mut headers = headers(&lines);
        prop_assert!(wait(&headers, longest).is_none_or(|seconds| seconds <= longest));
        let other = headers.get_all(PRIORITY).count();
        strip_wait(&mut headers);
        let left: Vec<&str> = headers.get_all(PREFER).map(|line| line.text().unwrap()).collect();
        if !lines.iter().any(|line| line.to_ascii_lowercase().contains("respond-async")) {
            prop_assert_eq!(wait(&headers, longest), None);
        }
        // What is left stood there, in that order.
        let before = lines.join(",");
        let mut rest = before.as_str();
        for part in left.iter().flat_map(|line| line.split(',')) {
            let at = rest.find(part.trim());
            prop_assert!(at.is_some(), "{part} was not in {before}");
            rest = &rest[at.unwrap() + part.trim().len()..];
        }
        prop_assert_eq!(headers.get_all(PRIORITY).count(), other);
        // Twice is once.
        let once = headers.clone();
        strip_wait(&mut headers);
        prop_assert_eq!(once, headers);
    }

    #[test]
    fn an_urgency_is_one_of_eight(lines in lines(), urgency in any::<i64>()) {
        let mut headers = headers(&lines);
        prop_assert!(Priority::of(&headers).urgency <= 7);
        headers.remove(PRIORITY);
        headers.append(PRIORITY, HeaderValue::from_str(&format!("u={urgency}, i")).unwrap());
        prop_assert!(Priority::of(&headers).urgency <= 7);
    }

    #[test]
    fn a_dress_of_json_is_json_whatever_is_said(detail in "\\PC*", policy in "[ -~]{0,9}", limit in any::<Option<u64>>()) {
        let refusal = Refusal {
            policy: None,
            status: StatusCode::TOO_MANY_REQUESTS,
            content_type: Some(HeaderValue::from_static("application/json")),
            body: r#"{"a":"<{detail}>","b":{policy},"c":{limit},"d":"{","e":{"f{detail":[{}, {retry_after}]}}"#.to_owned(),
            headers: Vec::new(),
        };
        let words = Words { detail: &detail, policy: &policy, limit, retry_after: 3, reset_epoch: 0 };
        let body = Dress::new(&refusal, &words).body;
        prop_assert_eq!(
            serde_json::from_str::<Value>(&body).unwrap(),
            json!({"a": format!("<{detail}>"), "b": policy, "c": limit, "d": "{", "e": {"f{detail": [{}, 3]}})
        );
    }
}
