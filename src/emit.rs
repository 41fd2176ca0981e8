//! Limits out, as standard headers (contract, section 4). No clock, no I/O.

use std::fmt::Write as _;

use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::quota::{ServiceLimit, Unit};
use crate::translate::Translation;

/// `ratelimit-limit`.
pub const RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
/// `ratelimit-remaining`.
pub const RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
/// `ratelimit-reset`.
pub const RATELIMIT_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
/// `ratelimit-policy` (draft-ietf-httpapi-ratelimit-headers-11, section 3).
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `ratelimit` (the same draft, section 4).
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
/// Who said the numbers.
pub const HEADROOM_SOURCE: HeaderName = HeaderName::from_static("headroom-source");
/// The provider's status, where headroom answers another one.
pub const HEADROOM_UPSTREAM_STATUS: HeaderName =
    HeaderName::from_static("headroom-upstream-status");

/// The names that headroom writes, each with the name under which the provider's own is kept. No answer passes a native
/// header of these names on as if headroom had written it: `ratelimit-reset` carries seconds at one provider and an epoch
/// at the next.
const OWN: [(HeaderName, HeaderName); 8] = [
    (
        RATELIMIT_LIMIT,
        HeaderName::from_static("headroom-upstream-ratelimit-limit"),
    ),
    (
        RATELIMIT_REMAINING,
        HeaderName::from_static("headroom-upstream-ratelimit-remaining"),
    ),
    (
        RATELIMIT_RESET,
        HeaderName::from_static("headroom-upstream-ratelimit-reset"),
    ),
    (
        RATELIMIT_POLICY,
        HeaderName::from_static("headroom-upstream-ratelimit-policy"),
    ),
    (
        RATELIMIT,
        HeaderName::from_static("headroom-upstream-ratelimit"),
    ),
    (
        RETRY_AFTER,
        HeaderName::from_static("headroom-upstream-retry-after"),
    ),
    (
        HEADROOM_SOURCE,
        HeaderName::from_static("headroom-upstream-headroom-source"),
    ),
    (
        HEADROOM_UPSTREAM_STATUS,
        HeaderName::from_static("headroom-upstream-headroom-upstream-status"),
    ),
];

/// The largest integer of a structured field (RFC 9651, section 3.3.1).
const MAX_INTEGER: u64 = 999_999_999_999_999;

/// How `ratelimit-limit` is spelled (`[headers] limit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitStyle {
    /// `110;w=10, 250000;w=86400`: the binding policy first.
    #[default]
    Windowed,
    /// `110`: for clients that parse an integer.
    Plain,
    /// `110, 110;w=10, 250000;w=86400`: draft-polli-ratelimit-headers.
    List,
}

/// How the standard headers are written (`[headers]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// How `ratelimit-limit` is spelled.
    pub limit: LimitStyle,
    /// Whether `ratelimit-policy` and `ratelimit` are written.
    pub structured: bool,
}

impl Default for Style {
    fn default() -> Self {
        Self {
            limit: LimitStyle::default(),
            structured: true,
        }
    }
}

/// Writes the standard headers of a translation over those of the answer. Native headers of the same names are kept as
/// `headroom-upstream-<name>`.
pub fn write_headers(
    headers: &mut HeaderMap,
    translation: &Translation,
    upstream_status: StatusCode,
    style: &Style,
) {
    keep_native(headers, translation);
    for (name, value) in standard_headers(translation, upstream_status, style) {
        headers.insert(name, value);
    }
}

fn keep_native(headers: &mut HeaderMap, translation: &Translation) {
    for (own, kept) in &OWN {
        let Some(first) = headers.get(own) else {
            continue;
        };
        // A `Retry-After` that could not be read is still the provider's word.
        if own == RETRY_AFTER && translation.retry_after.is_none() {
            continue;
        }
        let mut lines = vec![first.clone()];
        lines.extend(headers.get_all(own).iter().skip(1).cloned());
        headers.remove(own);
        for line in lines {
            headers.append(kept.clone(), line);
        }
    }
}

/// The standard headers of a translation, in the order in which they are written.
#[must_use]
pub fn standard_headers(
    translation: &Translation,
    upstream_status: StatusCode,
    style: &Style,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut out = Vec::with_capacity(8);
    let mut text = String::with_capacity(64);
    if let Some(limit) = translation.binding_limit() {
        if let Some(quota) = limit.limit {
            write_limit(&mut text, translation, limit, quota, style.limit);
            push(&mut out, RATELIMIT_LIMIT, &mut text);
        }
        if let Some(remaining) = limit.remaining {
            out.push((RATELIMIT_REMAINING, HeaderValue::from(remaining)));
        }
        if let Some(reset) = limit.reset {
            out.push((RATELIMIT_RESET, HeaderValue::from(reset)));
        }
        if style.structured {
            write_policies(&mut text, translation);
            push(&mut out, RATELIMIT_POLICY, &mut text);
            write_states(&mut text, translation);
            push(&mut out, RATELIMIT, &mut text);
        }
        out.push((
            HEADROOM_SOURCE,
            HeaderValue::from_static(limit.source.as_str()),
        ));
    }
    if let Some(wait) = translation.retry_after {
        out.push((RETRY_AFTER, HeaderValue::from(wait)));
    }
    if translation
        .status
        .is_some_and(|status| status != upstream_status)
    {
        out.push((
            HEADROOM_UPSTREAM_STATUS,
            HeaderValue::from(upstream_status.as_u16()),
        ));
    }
    out
}

/// Moves the text into a header value; names are checked where they come in, so this does not fail.
fn push(out: &mut Vec<(HeaderName, HeaderValue)>, name: HeaderName, text: &mut String) {
    if !text.is_empty()
        && let Ok(value) = HeaderValue::from_str(text)
    {
        out.push((name, value));
    }
    text.clear();
}

/// The binding policy first, then the others.
fn in_order(translation: &Translation) -> impl Iterator<Item = &ServiceLimit> {
    let binding = translation.binding;
    let rest = translation
        .limits
        .iter()
        .enumerate()
        .filter(move |(index, _)| Some(*index) != binding)
        .map(|(_, limit)| limit);
    translation.binding_limit().into_iter().chain(rest)
}

fn write_limit(
    text: &mut String,
    translation: &Translation,
    binding: &ServiceLimit,
    quota: u64,
    style: LimitStyle,
) {
    let mut digits = itoa::Buffer::new();
    match style {
        LimitStyle::Plain => text.push_str(digits.format(quota)),
        LimitStyle::Windowed => {
            windowed(text, quota, binding.window);
        }
        LimitStyle::List => {
            text.push_str(digits.format(quota));
            text.push_str(", ");
            windowed(text, quota, binding.window);
        }
    }
    if style == LimitStyle::Plain {
        return;
    }
    for limit in in_order(translation).skip(1) {
        if let Some(quota) = limit.limit {
            text.push_str(", ");
            windowed(text, quota, limit.window);
        }
    }
}

fn windowed(text: &mut String, quota: u64, window: Option<u64>) {
    let mut digits = itoa::Buffer::new();
    text.push_str(digits.format(quota));
    parameter(text, ";w=", window);
}

fn parameter(text: &mut String, name: &str, value: Option<u64>) {
    if let Some(value) = value {
        text.push_str(name);
        text.push_str(itoa::Buffer::new().format(value.min(MAX_INTEGER)));
    }
}

/// `"daily";q=2500;w=86400`: only policies whose quota is known, since `q` is required.
fn write_policies(text: &mut String, translation: &Translation) {
    for limit in in_order(translation) {
        if limit.limit.is_none() {
            continue;
        }
        name(text, limit);
        parameter(text, ";q=", limit.limit);
        parameter(text, ";w=", limit.window);
        if limit.unit != Unit::Requests {
            // Units come from adapters and structured fields; both are checked to be plain ASCII.
            let _ = write!(text, ";qu=\"{}\"", limit.unit);
        }
    }
}

/// `"daily";r=2499;t=50400`: only policies whose remainder is known, since `r` is required.
fn write_states(text: &mut String, translation: &Translation) {
    for limit in in_order(translation) {
        if limit.remaining.is_none() {
            continue;
        }
        name(text, limit);
        parameter(text, ";r=", limit.remaining);
        parameter(text, ";t=", limit.reset);
    }
}

fn name(text: &mut String, limit: &ServiceLimit) {
    if !text.is_empty() {
        text.push_str(", ");
    }
    text.push('"');
    text.push_str(&limit.policy);
    text.push('"');
}
