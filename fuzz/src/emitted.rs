//! What is written of a translation is well-formed, and never more than there is.

use headroom::emit::{LimitStyle, Style, standard_headers};
use headroom::translate::Translation;
use http::StatusCode;
use sfv::{BareItem, List, ListEntry, Parser};

pub(crate) const STYLES: [Style; 4] = [
    Style {
        limit: LimitStyle::Windowed,
        structured: true,
    },
    Style {
        limit: LimitStyle::Plain,
        structured: true,
    },
    Style {
        limit: LimitStyle::List,
        structured: true,
    },
    Style {
        limit: LimitStyle::Windowed,
        structured: false,
    },
];

pub(crate) fn check(translation: &Translation, upstream: StatusCode) {
    for limit in &translation.limits {
        if let (Some(limit), Some(left)) = (limit.limit, limit.remaining) {
            assert!(left <= limit, "{translation:?}");
        }
    }
    assert!(
        translation
            .binding
            .is_none_or(|binding| binding < translation.limits.len())
    );
    for style in &STYLES {
        check_headers(translation, upstream, style);
    }
    for note in &translation.notes {
        assert!(!note.chars().any(char::is_control), "{note:?}");
    }
    if translation.exhausted {
        assert_ne!(translation.retry_after, Some(0), "{translation:?}");
    }
    if let Some(status) = translation.status.filter(|status| *status != upstream) {
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        assert!(
            translation.exhausted && translation.retry_after.is_some(),
            "{translation:?}"
        );
    }
}

fn check_headers(translation: &Translation, upstream: StatusCode, style: &Style) {
    let headers = standard_headers(translation, upstream, style);
    for (name, value) in &headers {
        let text = value.to_str().unwrap_or("not ASCII");
        let fits = match name.as_str() {
            "ratelimit-limit" => is_limit(text, style.limit),
            "ratelimit-remaining" | "ratelimit-reset" | "retry-after" => is_integer(text),
            "ratelimit-policy" => style.structured && is_structured(text, ["q", "w"]),
            "ratelimit" => style.structured && is_structured(text, ["r", "t"]),
            // The translator knows no other: what headroom counts or the user says comes later.
            "headroom-source" => matches!(text, "provider" | "provider;estimated"),
            "headroom-upstream-status" => text == upstream.as_str(),
            _ => false,
        };
        assert!(fits, "{name}: {text} ({style:?}) of {translation:?}");
        let lines = headers.iter().filter(|(other, _)| other == name);
        assert_eq!(lines.count(), 1, "{name}");
    }
}

pub(crate) fn is_integer(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u64>().is_ok()
}

/// `110`, `110;w=10`, and a list of them.
pub(crate) fn is_limit(text: &str, style: LimitStyle) -> bool {
    let item = |text: &str| match text.split_once(";w=") {
        Some((quota, window)) => is_integer(quota) && is_integer(window) && window != "0",
        None => is_integer(text),
    };
    match style {
        LimitStyle::Plain => is_integer(text),
        LimitStyle::List => text
            .split_once(", ")
            .is_some_and(|(first, rest)| is_integer(first) && rest.split(", ").all(item)),
        LimitStyle::Windowed => text.split(", ").all(item),
    }
}

/// Each member is a name with parameters; `integers` are the parameters that count, the first is required.
pub(crate) fn is_structured(text: &str, integers: [&str; 2]) -> bool {
    let Ok(list) = Parser::new(text).parse::<List>() else {
        return false;
    };
    list.iter().all(|entry| {
        let ListEntry::Item(item) = entry else {
            return false;
        };
        let fits = item.params.iter().all(|(key, value)| match value {
            BareItem::Integer(number) => {
                integers.contains(&key.as_str()) && i64::from(*number) >= 0
            }
            BareItem::String(_) => key.as_str() == "qu",
            _ => false,
        });
        matches!(item.bare_item, BareItem::String(_))
            && fits
            && item.params.contains_key(integers[0])
    })
}
