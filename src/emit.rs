//! Limits out, as standard headers (contract, section 4). No clock, no I/O.

use std::fmt::Write as _;

use http::header::{Entry, HeaderName, RETRY_AFTER};
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

/// What the names of kept headers begin with.
const KEPT: &str = "headroom-upstream-";

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
    headers: &mut HeaderMap,
    translation: &Translation,
    upstream_status: StatusCode,
    style: &Style,
) {
    let values = values(translation, upstream_status, style);
    // What a provider sends under the names for its own originals would stand beside them. Looking at all names is cheaper
    // than asking for eight that are hardly ever there.
    if headers.keys().any(|name| name.as_str().starts_with(KEPT)) {
        for own in &OWN {
            headers.remove(&own.kept);
        }
    }
    // Grown once, not twice on the way.
    headers.reserve(values.iter().flatten().count());
    for (index, (own, value)) in OWN.iter().zip(values).enumerate() {
        match (headers.entry(&own.name), value) {
            (Entry::Vacant(place), Some(value)) => {
                place.insert(value);
            }
            (Entry::Occupied(mut place), Some(value)) => {
                // Not `insert_mult`: it panics at three lines of one name (http 1.5.0), and a provider may send them.
                let native: Vec<HeaderValue> = place.iter().cloned().collect();
                place.insert(value);
                keep(headers, &own.kept, native);
            }
            // A `Retry-After` that could not be read is still the provider's word, and under its own name.
            (Entry::Occupied(place), None) if index != WAIT => {
                let native: Vec<HeaderValue> = place.iter().cloned().collect();
                place.remove();
                keep(headers, &own.kept, native);
            }
            (_, None) => {}
        }
    }
}

fn keep(headers: &mut HeaderMap, name: &HeaderName, native: Vec<HeaderValue>) {
    for value in native {
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
    OWN.iter()
        .zip(values(translation, upstream_status, style))
        .filter_map(|(own, value)| Some((own.name.clone(), value?)))
        .collect()
}

/// The value of each of [`OWN`].
fn values(
    translation: &Translation,
    upstream_status: StatusCode,
    style: &Style,
) -> [Option<HeaderValue>; 8] {
    let mut values = [const { None }; 8];
    let mut text = String::with_capacity(96);
    if let Some(limit) = translation.binding_limit() {
        if let Some(quota) = limit.limit {
            write_limit(&mut text, translation, limit, quota, style.limit);
            values[LIMIT] = take(&mut text);
        }
        values[REMAINING] = limit.remaining.map(HeaderValue::from);
        values[RESET] = limit.reset.map(HeaderValue::from);
        if style.structured {
            write_policies(&mut text, translation);
            values[POLICY] = take(&mut text);
            write_states(&mut text, translation);
            values[STATE] = take(&mut text);
        }
        values[SOURCE] = Some(HeaderValue::from_static(limit.source.as_str()));
    }
    values[WAIT] = translation.retry_after.map(HeaderValue::from);
    if translation
        .status
        .is_some_and(|status| status != upstream_status)
    {
        values[STATUS] = Some(HeaderValue::from(upstream_status.as_u16()));
    }
    values
}

/// Takes the text as a header's value; names are checked where they come in, so it is one.
fn take(text: &mut String) -> Option<HeaderValue> {
    let value = HeaderValue::from_str(text)
        .ok()
        .filter(|value| !value.is_empty());
    text.clear();
    value
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
