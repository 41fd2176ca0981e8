//! Limits out, as standard headers (contract, section 4). No clock, no I/O.

use std::fmt::Write as _;

use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use crate::fields::Fields;
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

/// A header that headroom writes.
struct Own {
    name: HeaderName,
    /// Under which the provider's own header of that name is kept.
    kept: HeaderName,
}

/// A table of names is built once: a constant would be built at each use.
macro_rules! own {
    ($name:expr, $kept:literal) => {
        Own {
            name: $name,
            kept: HeaderName::from_static($kept),
        }
    };
}

/// The names that headroom writes. No answer passes a native header of these names on as if headroom had written it:
/// `ratelimit-reset` carries seconds at one provider and an epoch at the next.
static OWN: [Own; 8] = [
    own!(RATELIMIT_LIMIT, "headroom-upstream-ratelimit-limit"),
    own!(RATELIMIT_REMAINING, "headroom-upstream-ratelimit-remaining"),
    own!(RATELIMIT_RESET, "headroom-upstream-ratelimit-reset"),
    own!(RATELIMIT_POLICY, "headroom-upstream-ratelimit-policy"),
    own!(RATELIMIT, "headroom-upstream-ratelimit"),
    own!(HEADROOM_SOURCE, "headroom-upstream-headroom-source"),
    own!(RETRY_AFTER, "headroom-upstream-retry-after"),
    own!(
        HEADROOM_UPSTREAM_STATUS,
        "headroom-upstream-headroom-upstream-status"
    ),
];

/// How many of them an answer usually gets.
const USUAL: usize = 6;

/// About as long as what is written of a policy in all of them.
const LENGTH: usize = 96;

const LIMIT: usize = 0;
const REMAINING: usize = 1;
const RESET: usize = 2;
const POLICY: usize = 3;
const STATE: usize = 4;
const SOURCE: usize = 5;
const WAIT: usize = 6;
const STATUS: usize = 7;

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
/// `headroom-upstream-<name>`, alone.
pub fn write_headers(
    headers: &mut Fields,
    translation: &Translation,
    upstream_status: StatusCode,
    style: &Style,
) {
    // Looking at all names once is cheaper than asking for sixteen that are hardly ever there.
    if headers.raw().any(|(name, _)| is_own(name)) {
        replace(headers, translation, upstream_status, style);
        return;
    }
    each_value(translation, upstream_status, style, |own, value| {
        // Names of policies are checked where they come in, so it is a header's value.
        let _is_written = headers.append_text(&own.name, value);
    });
}

/// It may be one of the names in [`OWN`].
fn is_own(name: &[u8]) -> bool {
    // Nearly all names are told by their first letter.
    match name.first() {
        Some(b'r') => name.starts_with(b"ratelimit") || name == b"retry-after",
        Some(b'h') => name.starts_with(b"headroom-"),
        _ => false,
    }
}

/// Writes the standard headers where the provider sends some of the same names.
fn replace(
    headers: &mut Fields,
    translation: &Translation,
    upstream_status: StatusCode,
    style: &Style,
) {
    // What a provider sends under the names for its own originals would stand beside them.
    for own in &OWN {
        headers.remove(&own.kept);
    }
    let written = standard_headers(translation, upstream_status, style);
    for own in &OWN {
        let is_written = written.iter().any(|(name, _)| *name == own.name);
        // A `Retry-After` that could not be read is still the provider's word, and under its own name.
        if is_written || own.name != RETRY_AFTER {
            headers.rename(&own.name, &own.kept);
        }
    }
    for (name, value) in &written {
        headers.append(name, value);
    }
}

/// The standard headers of a translation, in the order in which they are written.
#[must_use]
pub fn standard_headers(
    translation: &Translation,
    upstream_status: StatusCode,
    style: &Style,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut written = Vec::with_capacity(USUAL);
    each_value(translation, upstream_status, style, |own, value| {
        let value = HeaderValue::try_from(value);
        written.extend(value.map(|value| (own.name.clone(), value)));
    });
    written
}

/// Hands out the values, in the order of [`OWN`].
fn each_value(
    translation: &Translation,
    upstream_status: StatusCode,
    style: &Style,
    mut put: impl FnMut(&'static Own, &str),
) {
    // All values stand in one buffer, one behind the other: one allocation for all of them.
    let mut text = String::with_capacity(LENGTH * translation.limits.len());
    // Where each of them ends. One that is not written ends nowhere.
    let mut ends = [0; OWN.len()];
    if let Some(limit) = translation.binding_limit() {
        if let Some(quota) = limit.limit {
            write_limit(&mut text, translation, limit, quota, style.limit);
            ends[LIMIT] = text.len();
        }
        if let Some(remaining) = limit.remaining {
            number(&mut text, remaining);
            ends[REMAINING] = text.len();
        }
        if let Some(reset) = limit.reset {
            number(&mut text, reset);
            ends[RESET] = text.len();
        }
        if style.structured {
            write_policies(&mut text, translation);
            ends[POLICY] = text.len();
            write_states(&mut text, translation);
            ends[STATE] = text.len();
        }
        text.push_str(limit.source.as_str());
        ends[SOURCE] = text.len();
    }
    if let Some(wait) = translation.retry_after {
        number(&mut text, wait);
        ends[WAIT] = text.len();
    }
    if translation
        .status
        .is_some_and(|status| status != upstream_status)
    {
        text.push_str(upstream_status.as_str());
        ends[STATUS] = text.len();
    }
    let mut start = 0;
    for (own, end) in OWN.iter().zip(ends) {
        // An empty list of policies is no header.
        if end > start {
            put(own, text.get(start..end).unwrap_or_default());
            start = end;
        }
    }
}

/// The binding policy first, then the others.
fn in_order(translation: &Translation) -> impl Iterator<Item = &ServiceLimit> {
    translation
        .binding_limit()
        .into_iter()
        .chain(others(translation))
}

fn others(translation: &Translation) -> impl Iterator<Item = &ServiceLimit> {
    let binding = translation.binding;
    let others = translation.limits.iter().enumerate();
    others
        .filter(move |(index, _)| Some(*index) != binding)
        .map(|(_, limit)| limit)
}

fn write_limit(
    text: &mut String,
    translation: &Translation,
    binding: &ServiceLimit,
    quota: u64,
    style: LimitStyle,
) {
    match style {
        LimitStyle::Plain => number(text, quota),
        LimitStyle::Windowed => windowed(text, quota, binding.window),
        LimitStyle::List => {
            number(text, quota);
            text.push_str(", ");
            windowed(text, quota, binding.window);
        }
    }
    if style == LimitStyle::Plain {
        return;
    }
    others(translation).for_each(|limit| {
        if let Some(quota) = limit.limit {
            text.push_str(", ");
            windowed(text, quota, limit.window);
        }
    });
}

fn windowed(text: &mut String, quota: u64, window: Option<u64>) {
    number(text, quota);
    parameter(text, ";w=", window);
}

fn parameter(text: &mut String, name: &str, value: Option<u64>) {
    if let Some(value) = value {
        text.push_str(name);
        number(text, value.min(MAX_INTEGER));
    }
}

fn number(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}

/// `"daily";q=2500;w=86400`: only policies whose quota is known, since `q` is required.
fn write_policies(text: &mut String, translation: &Translation) {
    let start = text.len();
    in_order(translation).for_each(|limit| {
        if limit.limit.is_none() {
            return;
        }
        name(text, start, limit);
        parameter(text, ";q=", limit.limit);
        parameter(text, ";w=", limit.window);
        if limit.unit != Unit::Requests {
            // Units come from adapters and structured fields; both are checked to be plain ASCII.
            let _ = write!(text, ";qu=\"{}\"", limit.unit);
        }
    });
}

/// `"daily";r=2499;t=50400`: only policies whose remainder is known, since `r` is required.
fn write_states(text: &mut String, translation: &Translation) {
    let start = text.len();
    in_order(translation).for_each(|limit| {
        if limit.remaining.is_none() {
            return;
        }
        name(text, start, limit);
        parameter(text, ";r=", limit.remaining);
        parameter(text, ";t=", limit.reset);
    });
}

/// The name of a list's member; the list begins at `start`.
fn name(text: &mut String, start: usize, limit: &ServiceLimit) {
    if text.len() > start {
        text.push_str(", ");
    }
    text.push('"');
    text.push_str(&limit.policy);
    text.push('"');
}
