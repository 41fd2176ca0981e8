//! What headroom knows of a provider, checked: text in, [`Adapter`] out. No clock, no network; reading files is the
//! caller's.
//!
//! [`language`] is the language as data, [`parse`] collects every mistake of a file, [`condition`] and [`reading`] are its
//! two compound parts, [`catalog`] holds what is built in.

pub mod catalog;
pub mod condition;
pub mod language;
pub mod parse;
pub mod pointer;
pub mod reading;
pub mod terms;

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, StatusCode};

use condition::{PathTemplate, RequestCondition, ResponseCondition};
use pointer::Pointer;
use reading::{Reading, Source};

use crate::fields::Fields;
use crate::quota::Unit;

/// Bytes of a body that are looked at, at the most. A longer one is passed on unread.
pub const BODY_LIMIT: usize = 256 * 1024;

/// Bytes of a request's body that conditions look at. What lies behind them is not known.
pub const REQUEST_BODY_LIMIT: usize = 64 * 1024;

/// A provider, described by one file.
#[derive(Debug)]
pub struct Adapter {
    /// The file's stem: `toggl`.
    pub id: String,
    /// For people: `Toggl Track`.
    pub name: String,
    /// Scheme and host; `None` where every account has a host of its own.
    pub base_url: Option<String>,
    /// The host has `{…}` in it: a connection must say which.
    pub base_url_is_template: bool,
    /// The pages the facts come from.
    pub docs: Vec<String>,
    /// Where the provider tells its quota, for people.
    pub quota_endpoint: Option<String>,
    /// Where the provider wants its credential.
    pub credential: CredentialPlace,
    /// Readings of a time to wait, beside `Retry-After`.
    pub retry_after: Vec<Reading>,
    /// The IETF's structured fields: header of the quotas, header of the state.
    pub structured_fields: Option<(HeaderName, HeaderName)>,
    /// Absolute URLs of this API in JSON bodies become headroom's.
    pub rewrite_urls: bool,
    /// The policies, the main one first.
    pub policies: Vec<Policy>,
    /// What says that a quota is exhausted, beside status 429.
    pub exhausted: Vec<Exhaustion>,
    /// Requests that use no quota.
    pub uncounted: Vec<RequestCondition>,
    /// How a refusal must look to this provider's SDKs.
    pub refusals: Vec<Refusal>,
    /// The statuses of answers whose bodies some rule looks at.
    pub(crate) body_statuses: Vec<u16>,
    /// What some request costs, or which policy counts it, depends on its body.
    pub(crate) looks_at_request_bodies: bool,
    /// No answer of this provider tells anything: what it documents is all there is.
    pub silent: bool,
}

impl Adapter {
    /// Whether there are answers whose bodies have to be looked at.
    #[must_use]
    pub const fn looks_at_bodies(&self) -> bool {
        !self.body_statuses.is_empty()
    }

    /// Whether the body of this answer has to be looked at: some rule needs it, and all else of the rule fits.
    #[must_use]
    pub fn reads_body(&self, call: &Call<'_>, answer: &Answer<'_>) -> bool {
        if !self.body_statuses.contains(&answer.status.as_u16()) || is_event_stream(answer.headers)
        {
            return false;
        }
        let looks = |condition: &ResponseCondition| {
            condition.needs_body() && condition.holds_before_body(call, answer)
        };
        let reads = |reading: &Reading| {
            reading.when.as_ref().is_some_and(|when| {
                looks(when)
                    || (matches!(reading.source, Source::Body)
                        && when.holds_before_body(call, answer))
            })
        };
        self.exhausted.iter().any(|rule| looks(&rule.when))
            || self.retry_after.iter().any(reads)
            || self.policies.iter().any(|policy| {
                policy.sent_when.iter().any(looks) || policy.readings.iter().any(reads)
            })
    }

    /// The look of a refusal by this policy.
    #[must_use]
    pub fn refusal(&self, policy: Option<&str>) -> Option<&Refusal> {
        let named = |name: Option<&str>| {
            self.refusals
                .iter()
                .find(|refusal| refusal.policy.as_deref() == name)
        };
        policy
            .and_then(|name| named(Some(name)))
            .or_else(|| named(None))
    }

    /// A policy by its name.
    #[must_use]
    pub fn policy(&self, name: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| &*policy.name == name)
    }

    /// The names of all plans that the policies know, sorted.
    #[must_use]
    pub fn plans(&self) -> Vec<&str> {
        let mut plans: Vec<&str> = self
            .policies
            .iter()
            .filter_map(|policy| match &policy.quota {
                Quota::ByPlan(plans) => Some(plans),
                _ => None,
            })
            .flatten()
            .map(|(plan, _)| plan.as_str())
            .collect();
        plans.sort_unstable();
        plans.dedup();
        plans
    }
}

/// The body is a stream of events, which has no end to wait for.
pub(crate) fn is_event_stream(headers: &Fields) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    let media_type = headers.get(http::header::CONTENT_TYPE);
    let beginning = media_type.and_then(|media_type| media_type.as_bytes().get(..EVENTS.len()));
    beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(EVENTS))
}

/// Where a provider wants its credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialPlace {
    /// `Authorization: Bearer …`.
    Bearer,
    /// `Authorization: Basic …`; the credential is `user:password`, or a key alone.
    Basic {
        /// What stands before a key alone.
        before: String,
        /// What stands behind it: `:` and the password.
        after: String,
    },
    /// A header, with what stands before and after the credential.
    Header {
        /// The header.
        name: HeaderName,
        /// Text before the credential.
        prefix: String,
        /// Text after it.
        suffix: String,
    },
    /// A query parameter.
    Query(String),
}

/// A quota policy.
#[derive(Debug)]
pub struct Policy {
    /// Its name.
    pub name: Arc<str>,
    /// What it counts.
    pub unit: Unit,
    /// The documented quota.
    pub quota: Quota,
    /// The documented length of the window.
    pub window: Option<WindowLength>,
    /// How the window moves, where the provider says so.
    pub kind: Option<WindowKind>,
    /// The zone of calendar windows.
    pub zone: Option<Zone>,
    /// For a bucket: units given back in a second.
    pub refill: Option<f64>,
    /// For concurrency: only requests that run longer count (seconds).
    pub slower_than_secs: Option<u64>,
    /// How long the provider blocks after a violation (seconds).
    pub penalty_secs: Option<u64>,
    /// Whose budget it is.
    pub partition: Vec<PartitionPart>,
    /// How a partition that is not in the path is learned.
    pub learn: Vec<Learn>,
    /// The requests that it counts.
    pub applies: Applies,
    /// What requests cost, if not 1.
    pub weights: Vec<(RequestCondition, u64)>,
    /// Whether a refused request uses quota; `None`: not documented.
    pub rejected_counts: Option<bool>,
    /// Callers may exceed it.
    pub soft: bool,
    /// The readings of its state.
    pub readings: Vec<Reading>,
    /// When the readings speak of this policy: any of these, or always.
    pub sent_when: Vec<ResponseCondition>,
}

impl Policy {
    /// The conditions on requests that say whether a call counts and what it costs.
    pub fn request_conditions(&self) -> impl Iterator<Item = &RequestCondition> {
        let applies: &[RequestCondition] = match &self.applies {
            Applies::When(conditions) => conditions,
            Applies::Always | Applies::Otherwise => &[],
        };
        applies
            .iter()
            .chain(self.weights.iter().map(|(condition, _)| condition))
    }
}

/// A documented quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quota {
    /// Not documented, or only told by answers.
    Unknown,
    /// The same for all.
    Fixed(u64),
    /// By plan, in the order of the file.
    ByPlan(Vec<(String, u64)>),
}

/// The length of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowLength {
    /// So many seconds.
    Seconds(u64),
    /// A calendar day (nominally 86,400 seconds).
    Day,
    /// A calendar week from Monday (nominally 604,800 seconds).
    Week,
    /// A calendar month; its length depends on the month.
    Month,
}

/// How a window moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    /// It begins with the first request and ends after its length.
    Fixed,
    /// Aligned to the clock or the calendar.
    Clock,
    /// Aligned, but reset by the first request after the boundary.
    Lazy,
    /// The length that ends now.
    Rolling,
    /// A token or leaky bucket.
    Bucket,
    /// Requests in flight; no window.
    Concurrent,
}

impl WindowKind {
    /// The word of the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Clock => "clock",
            Self::Lazy => "lazy",
            Self::Rolling => "rolling",
            Self::Bucket => "bucket",
            Self::Concurrent => "concurrent",
        }
    }

    /// The kind for a word of the language.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Self::Fixed,
            Self::Clock,
            Self::Lazy,
            Self::Rolling,
            Self::Bucket,
            Self::Concurrent,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
    }
}

/// The zone of a calendar window.
#[derive(Debug, Clone)]
pub enum Zone {
    /// A zone that the provider names.
    Named(jiff::tz::TimeZone),
    /// The account's own; only the connection knows it.
    Account,
}

/// A part of a partition key (draft: `pk`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionPart {
    /// The caller's credential.
    Credential,
    /// The connection as a whole.
    Account,
    /// The address that the provider sees.
    Address,
    /// The provider's host: a shop, a site, a region.
    Host,
    /// Method and path template.
    Endpoint,
    /// The method.
    Method,
    /// A captured path segment.
    Capture(String),
    /// A header of the request.
    Header(HeaderName),
    /// A header of the request that may be a secret by its name: it is never shown.
    SecretHeader(HeaderName),
}

/// How a partition is learned from another answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learn {
    /// The partition to learn.
    pub partition: Arc<str>,
    /// What the path has instead.
    pub from: Arc<str>,
    /// Whose answer tells it.
    pub path: PathTemplate,
    /// The elements of the answer that tell it; the answer itself if left out.
    pub each: Option<Pointer>,
    /// Where an element names what the path of a call has instead; left out where `path` captures it.
    pub key: Option<Pointer>,
    /// The JSON pointer into the answer, or into an element of it.
    pub json: Pointer,
}

/// The requests that a policy counts.
#[derive(Debug)]
pub enum Applies {
    /// All.
    Always,
    /// Those that no other policy's condition takes.
    Otherwise,
    /// Those for which one of the conditions holds.
    When(Vec<RequestCondition>),
}

/// What says that a quota is exhausted.
#[derive(Debug)]
pub struct Exhaustion {
    /// When it speaks.
    pub when: ResponseCondition,
    /// Only if a policy of this answer (the named one, if one is named) has nothing left.
    pub needs_nothing_left: bool,
    /// The policy (an index), where the rule names it.
    pub policy: Option<usize>,
    /// How long to wait where the provider does not say (seconds).
    pub retry_after_secs: Option<u64>,
}

/// How a refusal must look to a provider's SDKs.
#[derive(Debug)]
pub struct Refusal {
    /// The policy it speaks of; `None`: all that no other refusal names.
    pub policy: Option<String>,
    /// The status.
    pub status: StatusCode,
    /// The media type of the body.
    pub content_type: Option<HeaderValue>,
    /// The template of the body.
    pub body: String,
    /// Further headers; their values are templates too.
    pub headers: Vec<(HeaderName, String)>,
}

/// What is known of a call, for conditions. `None`: not known, which is not the same as absent.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path as it was sent, percent-encoded, without query.
    pub path: Option<&'a str>,
    /// The request's headers.
    pub headers: Option<&'a Fields>,
    /// The beginning of the request's body, up to [`REQUEST_BODY_LIMIT`]. Asked for only where a weight depends on it.
    pub body: Option<&'a [u8]>,
}

/// An answer of the provider.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a Fields,
    /// Its body, where it was asked for and is short enough.
    pub body: Option<&'a [u8]>,
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;

    use super::*;

    #[test]
    fn events_are_known_by_their_type() {
        for (media_type, is) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("text/event", false),
            ("application/json", false),
        ] {
            let mut headers = Fields::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            assert_eq!(is_event_stream(&headers), is, "{media_type}");
        }
        assert!(!is_event_stream(&Fields::new()));
    }
}
