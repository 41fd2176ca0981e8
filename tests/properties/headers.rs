//! What goes out: well-formed whatever came in, and the provider's own headers kept.

use headroom::emit::{Style, standard_headers, write_headers};
use headroom::fields::Fields;
use headroom::quota::ServiceLimit;
use headroom::translate::Translation;
use http::header::RETRY_AFTER;
use http::{HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;

use crate::fuzzed::targets::emitted::{STYLES, is_integer, is_limit, is_structured};
use crate::support::answers::{changed_case, families, header_value, made_up, text, value};

fn check(translation: &Translation, upstream: StatusCode) {
    for style in &STYLES {
        let headers = standard_headers(translation, upstream, style);
        for (name, value) in &headers {
            let text = value.to_str().unwrap();
            let fits = match name.as_str() {
                "ratelimit-limit" => is_limit(text, style.limit),
                "ratelimit-remaining" | "ratelimit-reset" | "retry-after" => is_integer(text),
                "ratelimit-policy" => style.structured && is_structured(text, ["q", "w"]),
                "ratelimit" => style.structured && is_structured(text, ["r", "t"]),
                "headroom-source" => {
                    let origin = text.strip_suffix(";estimated").unwrap_or(text);
                    origin == "provider"
                }
                "headroom-upstream-status" => text == upstream.as_str(),
                _ => false,
            };
            assert!(fits, "{name}: {text} ({style:?})");
            assert_eq!(
                headers.iter().filter(|(other, _)| other == name).count(),
                1,
                "{name}"
            );
        }
        check_status(translation, upstream, &headers);
    }
    for note in &translation.notes {
        assert!(note.len() < 400, "{note}");
        assert!(!note.chars().any(char::is_control), "{note:?}");
    }
}

/// Exhaustion in another dress: `Retry-After` is at least 1, and not earlier than the reset of what is exhausted.
fn check_status(
    translation: &Translation,
    upstream: StatusCode,
    headers: &[(HeaderName, HeaderValue)],
) {
    let told = |wanted: &str| {
        headers
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.to_str().unwrap().parse::<u64>().unwrap())
    };
    let changed = translation.status.is_some_and(|status| status != upstream);
    assert_eq!(told("headroom-upstream-status").is_some(), changed);
    if changed {
        assert_eq!(translation.status, Some(StatusCode::TOO_MANY_REQUESTS));
        assert!(translation.exhausted);
        let wait = told("retry-after").expect("an exhausted quota needs a time to wait");
        assert!(wait >= 1);
        // Where another limit than the binding one refused (GitHub's secondary limit), its reset says nothing of the wait.
        let refused = translation
            .binding_limit()
            .is_some_and(ServiceLimit::is_exhausted);
        assert!(
            !refused || wait >= told("ratelimit-reset").unwrap_or(0),
            "{translation:?}"
        );
    }
    if translation.exhausted {
        assert_ne!(told("retry-after"), Some(0), "{translation:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn changed_cases_give_well_formed_headers(sent in changed_case()) {
        check(&sent.translate(), sent.status);
        check(&sent.translate_generic(), sent.status);
    }

    #[test]
    fn made_up_answers_give_well_formed_headers(sent in made_up()) {
        check(&sent.translate(), sent.status);
        check(&sent.translate_generic(), sent.status);
    }

    #[test]
    fn common_families_give_well_formed_headers(sent in families()) {
        check(&sent.translate_generic(), sent.status);
    }
}

const OWN: [&str; 8] = [
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "ratelimit-policy",
    "ratelimit",
    "retry-after",
    "headroom-source",
    "headroom-upstream-status",
];

fn native() -> impl Strategy<Value = Fields> {
    let own = proptest::sample::select(OWN.to_vec()).prop_map(str::to_owned);
    let name = prop_oneof![own, text("x-[a-z]{1,3}")];
    prop::collection::vec((name, value()), 0..20).prop_map(|lines| {
        let mut headers = Fields::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(name).unwrap(), header_value(&value));
        }
        headers
    })
}

fn lines<'a>(headers: &'a Fields, name: &str) -> Vec<&'a [u8]> {
    headers.get_all(name).map(|line| line.as_bytes()).collect()
}

/// A header map of http 1.5.0 panicked when three lines of one name were replaced in the obvious way.
#[test]
fn three_lines_of_one_name_are_kept() {
    let translation = Translation {
        retry_after: Some(7),
        ..Translation::default()
    };
    let mut headers = Fields::new();
    for name in OWN {
        for line in ["1", "2", "3"] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(line),
            );
        }
    }
    write_headers(
        &mut headers,
        &translation,
        StatusCode::OK,
        &Style::default(),
    );
    assert_eq!(lines(&headers, "retry-after"), [b"7"]);
    for name in OWN {
        assert_eq!(
            lines(&headers, &format!("headroom-upstream-{name}")),
            [b"1", b"2", b"3"]
        );
    }
}

proptest! {
    #[test]
    fn native_headers_are_kept(sent in made_up(), native in native()) {
        let translation = sent.translate();
        let mut headers = native.clone();
        write_headers(&mut headers, &translation, sent.status, &Style::default());
        let written = standard_headers(&translation, sent.status, &Style::default());
        for name in native.keys() {
            if !OWN.contains(&name) {
                prop_assert_eq!(lines(&headers, name), lines(&native, name));
            } else if name == RETRY_AFTER.as_str() && translation.retry_after.is_none() {
                // The provider's word, in whatever form.
                prop_assert_eq!(lines(&headers, name), lines(&native, name));
            } else {
                let kept = format!("headroom-upstream-{name}");
                prop_assert_eq!(lines(&headers, &kept), lines(&native, name));
            }
        }
        for name in OWN {
            let own: Vec<&[u8]> = written
                .iter()
                .filter(|(written, _)| written == name)
                .map(|(_, value)| value.as_bytes())
                .collect();
            if name != "retry-after" || translation.retry_after.is_some() {
                prop_assert_eq!(lines(&headers, name), own, "{}", name);
            }
        }
        let count = native.len() + written.len();
        prop_assert_eq!(headers.len(), count);
    }
}
