//! What a header's name says: `x-ratelimit-limit-tokens`, `x-rate-limit-requests-remaining`.

use std::sync::Arc;

use super::super::facts;
use crate::quota::Unit;

/// The families, the standard's own first. Each is a prefix before the quantity.
const FAMILIES: [&str; 4] = ["ratelimit-", "x-ratelimit-", "x-rate-limit-", "rate-limit-"];

/// What a header of a family tells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Limit,
    Remaining,
    Used,
    Reset,
    Window,
    RetryAfter,
}

fn word(text: &str) -> Option<Word> {
    Some(match text {
        "limit" | "quota" | "total" => Word::Limit,
        "remaining" | "left" | "available" => Word::Remaining,
        "used" | "usage" | "observed" => Word::Used,
        "reset" | "resets" | "reset-after" | "resettime" | "reset-in" => Word::Reset,
        "window" | "interval" | "period" => Word::Window,
        "retry-after" => Word::RetryAfter,
        _ => return None,
    })
}

/// Family, quantity and label of a header's name.
pub(super) fn parts(name: &str) -> Option<(&'static str, Word, Option<Arc<str>>)> {
    let (family, rest) = FAMILIES
        .iter()
        .find_map(|family| Some((*family, name.strip_prefix(family)?)))?;
    if let Some(word) = word(rest) {
        return Some((family, word, None));
    }
    // The quantity comes first (`limit-tokens`) or last (`tokens-limit`).
    for (quantity, label) in [
        rest.split_once('-'),
        rest.rsplit_once('-').map(|(a, b)| (b, a)),
    ]
    .into_iter()
    .flatten()
    {
        if let Some(word) = word(quantity) {
            // A name too long for a label is no known header.
            return Some((family, word, Some(facts::label(label)?)));
        }
    }
    None
}

fn segments(label: &str) -> impl Iterator<Item = &str> {
    label.split(['-', '_'])
}

/// The unit that a label speaks of.
pub(super) fn unit(label: &str) -> Option<Unit> {
    let known = ["tokens", "points", "credits", "complexity"]
        .into_iter()
        .find(|unit| label.contains(unit));
    // `audio-seconds` are no requests; nor are they a window of one second.
    let measure = || {
        let last = segments(label).last()?;
        ["seconds", "minutes", "hours", "bytes", "characters"]
            .contains(&last)
            .then_some(label)
    };
    known.or_else(measure).map(Unit::from_name)
}

/// The window that a label names: `minute`, `requests-day`, `perhour`. A number before the word makes it another one, which
/// nobody has told how to read.
pub(super) fn window(label: &str) -> Option<u64> {
    if label.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    segments(label).find_map(|segment| {
        Some(match segment.strip_prefix("per").unwrap_or(segment) {
            "second" | "sec" => 1,
            "minute" | "min" => 60,
            "hour" | "hourly" => 3_600,
            "day" | "daily" => 86_400,
            _ => return None,
        })
    })
}
