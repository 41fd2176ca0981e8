//! Limits out, as standard headers (contract, section 4). No clock, no I/O.

use std::io::Write as _;

use http::header::{HeaderName, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use crate::fields::{Fields, Value};
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
    append(headers, translation, upstream_status, style);
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
    let mut written = Fields::new();
    append(&mut written, translation, upstream_status, style);
    for own in &OWN {
        // A `Retry-After` that could not be read is still the provider's word, and under its own name.
        if own.name != RETRY_AFTER || written.contains_key(RETRY_AFTER) {
            headers.rename(&own.name, &own.kept);
        }
    }
    append(headers, translation, upstream_status, style);
}

/// The standard headers of a translation, in the order in which they are written.
#[must_use]
pub fn standard_headers(
    translation: &Translation,
    upstream_status: StatusCode,
    style: &Style,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut written = Fields::new();
    append(&mut written, translation, upstream_status, style);
    let named = |(name, value): (&[u8], Value<'_>)| {
        let own = OWN
            .iter()
            .find(|own| own.name.as_str().as_bytes() == name)?;
        let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
        Some((own.name.clone(), value))
    };
    written.raw().filter_map(named).collect()
}

/// Writes the lines, in the order of [`OWN`].
fn append(
    headers: &mut Fields,
    translation: &Translation,
    upstream_status: StatusCode,
    style: &Style,
) {
    let mut line = |name: &HeaderName, write: &dyn Fn(&mut Vec<u8>)| {
        // What is left out is an empty list of policies: their names are checked where they come in.
        let _is_written = headers.append_written(name, write);
    };
    if let Some(limit) = translation.binding_limit() {
        if let Some(quota) = limit.limit {
            line(&RATELIMIT_LIMIT, &|text| {
                write_limit(text, translation, limit, quota, style.limit);
            });
        }
        if let Some(remaining) = limit.remaining {
            line(&RATELIMIT_REMAINING, &|text| number(text, remaining));
        }
        if let Some(reset) = limit.reset {
            line(&RATELIMIT_RESET, &|text| number(text, reset));
        }
        if style.structured {
            line(&RATELIMIT_POLICY, &|text| write_policies(text, translation));
            line(&RATELIMIT, &|text| write_states(text, translation));
        }
        line(&HEADROOM_SOURCE, &|text| {
            text.extend_from_slice(limit.source.as_str().as_bytes());
        });
    }
    if let Some(wait) = translation.retry_after {
        line(&RETRY_AFTER, &|text| number(text, wait));
    }
    if translation
        .status
        .is_some_and(|status| status != upstream_status)
    {
        line(&HEADROOM_UPSTREAM_STATUS, &|text| {
            text.extend_from_slice(upstream_status.as_str().as_bytes());
        });
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
    text: &mut Vec<u8>,
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
            text.extend_from_slice(b", ");
            windowed(text, quota, binding.window);
        }
    }
    if style == LimitStyle::Plain {
        return;
    }
    others(translation).for_each(|limit| {
        if let Some(quota) = limit.limit {
            text.extend_from_slice(b", ");
            windowed(text, quota, limit.window);
        }
    });
}

fn windowed(text: &mut Vec<u8>, quota: u64, window: Option<u64>) {
    number(text, quota);
    parameter(text, ";w=", window);
}

fn parameter(text: &mut Vec<u8>, name: &str, value: Option<u64>) {
    if let Some(value) = value {
        text.extend_from_slice(name.as_bytes());
        number(text, value.min(MAX_INTEGER));
    }
}

fn number(text: &mut Vec<u8>, number: u64) {
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `"daily";q=2500;w=86400`: only policies whose quota is known, since `q` is required.
fn write_policies(text: &mut Vec<u8>, translation: &Translation) {
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
fn write_states(text: &mut Vec<u8>, translation: &Translation) {
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
fn name(text: &mut Vec<u8>, start: usize, limit: &ServiceLimit) {
    if text.len() > start {
        text.extend_from_slice(b", ");
    }
    text.push(b'"');
    text.extend_from_slice(limit.policy.as_bytes());
    text.push(b'"');
}
