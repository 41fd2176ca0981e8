//! A call that headroom itself refuses because a quota has no room for it (contract, section 3).
//!
//! It looks as the provider's own refusal would have looked through headroom: in the dress that the provider's SDKs know,
//! and with the status that translation gives to that dress. A caller that would rather have a problem gets one.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use super::heads::{PROXY_STATUS, Reply};
use super::present::Present;
use super::{accept, fields};
use crate::adapter::terms::Terms;
use crate::adapter::{Adapter, Answer, Call};
use crate::dress::{Dress, Words};
use crate::fields::Fields;
use crate::quota::Origin;
use crate::translate::translate;

/// Why there was no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The quota is used up.
    QuotaExceeded,
    /// The quota is used up, and as many calls wait for it as may.
    QueueFull,
    /// The call waited for a quota that was used up, and headroom stops. As a problem it is a 503: another headroom may have
    /// room for it at once.
    Draining,
}

impl Reason {
    /// A stable word for programs.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::QuotaExceeded => "quota-exceeded",
            Self::QueueFull => "queue-full",
            Self::Draining => "draining",
        }
    }
}

/// A call that found no room.
#[derive(Clone, Copy)]
pub struct Refused<'a> {
    /// The connection's name.
    pub connection: &'a str,
    /// The provider.
    pub adapter: &'a Adapter,
    /// The account.
    pub terms: &'a Terms,
    /// The call; its `Accept` is looked at.
    pub call: &'a Call<'a>,
    /// Why.
    pub reason: Reason,
    /// The names of the policies without room. The first one chooses the dress.
    pub policies: &'a [&'a str],
    /// The quota of the first of them, where it is known.
    pub limit: Option<u64>,
    /// Whose limit that is: the provider's, or one of the configuration.
    pub whose: Origin,
    /// A sentence for people, such as [`used_up`] makes.
    pub detail: &'a str,
    /// Seconds until there is room; 0 is answered as 1.
    pub retry_after: u64,
    /// When the first policy gives quota back, if that is not when there is room.
    pub reset: Option<Timestamp>,
    /// The moment.
    pub now: Timestamp,
}

/// What is said of a quota that is used up.
#[must_use]
pub fn used_up(policy: &str, limit: Option<u64>, whose: Origin, retry_after: u64) -> String {
    let whose = possessive(whose);
    let limit = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
    format!(
        "headroom did not send this call: {whose} quota `{policy}`{limit} is used up; try again in {} s.",
        retry_after.max(1)
    )
}

/// What is said of a call that costs more than there ever is.
#[must_use]
pub fn too_dear(policy: &str, limit: Option<u64>, whose: Origin, cost: u64) -> String {
    let whose = possessive(whose);
    let limit = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
    format!(
        "headroom did not send this call: it costs {cost}, and {whose} quota `{policy}`{limit} is smaller than that; it will never fit."
    )
}

const fn possessive(whose: Origin) -> &'static str {
    match whose {
        Origin::Provider => "the provider's",
        Origin::Own => "your own",
    }
}

/// What is said where too many calls wait already.
#[must_use]
pub fn queue_full(policy: &str, waiting: u64, retry_after: u64) -> String {
    format!(
        "headroom did not send this call: {waiting} calls wait for the quota `{policy}` already; try again in {} s.",
        retry_after.max(1)
    )
}

/// What is said of a call that waits where headroom stops.
#[must_use]
pub fn draining(policy: &str, retry_after: u64) -> String {
    format!(
        "headroom did not send this call: it stops, and the quota `{policy}` is used up for another {} s.",
        retry_after.max(1)
    )
}

/// The refusal as a problem (RFC 9457). Where a quota is the reason, it is of the type that
/// draft-ietf-httpapi-ratelimit-headers registers.
#[derive(Serialize)]
struct Details<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    connection: &'a str,
    #[serde(rename = "violated-policies")]
    violated_policies: &'a [&'a str],
    /// Whose limit it is, by the words of `headroom-source`.
    source: &'static str,
}

impl Refused<'_> {
    /// The answer. `standard` puts the standard headers on, as it does for every answer; the time to wait is this refusal's.
    pub fn response(
        &self,
        pseudonym: &str,
        standard: impl FnOnce(&mut Fields, StatusCode),
    ) -> Reply<Bytes> {
        let (status, mut headers, body) = self.dressed().unwrap_or_else(|| self.problem());
        standard(&mut headers, status);
        headers.insert_number(&RETRY_AFTER, self.wait());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // RFC 9209, section 2.3.13: it was not the provider who refused.
        if let Ok(value) = HeaderValue::try_from(format!("{pseudonym}; error=http_request_denied"))
        {
            headers.insert(&PROXY_STATUS, &value);
        }
        let body = if *self.call.method == Method::HEAD {
            Bytes::new()
        } else {
            Bytes::from(body)
        };
        Reply::new(status, headers, body)
    }

    /// In the provider's dress, where it has one and the caller would not rather have a problem.
    fn dressed(&self) -> Option<(StatusCode, Fields, String)> {
        let policy = self.policies.first().copied();
        let refusal = self.adapter.refusal(policy)?;
        if let Some(headers) = self.call.headers
            && accept::prefers_problem(headers, refusal.content_type.as_ref())
        {
            return None;
        }
        let dress = Dress::new(
            refusal,
            &Words {
                detail: self.detail,
                policy: policy.unwrap_or_default(),
                limit: self.limit,
                retry_after: self.wait(),
                reset_epoch: self.reset_epoch(),
            },
        );
        let mut headers = Fields::from(dress.headers);
        if let Some(value) = dress.content_type.filter(|_| !dress.body.is_empty()) {
            headers.insert(&CONTENT_TYPE, &value);
        }
        let answer = Answer {
            status: dress.status,
            headers: &headers,
            body: None,
        };
        let reads_body = self.adapter.reads_body(self.call, &answer);
        let answer = Answer {
            body: reads_body.then_some(dress.body.as_bytes()),
            ..answer
        };
        // What headroom would have answered, had the provider sent this: its 402 is a 429.
        let translation = translate(self.adapter, self.terms, self.call, &answer, self.now);
        let status = translation.status.unwrap_or(dress.status);
        // Framing is not the adapter's, and there is one time to wait, even where nobody writes another.
        let present = Present::of(&headers);
        fields::strip_hop_by_hop(&mut headers, present);
        headers.remove(CONTENT_LENGTH);
        headers.remove(RETRY_AFTER);
        Some((status, headers, dress.body))
    }

    fn problem(&self) -> (StatusCode, Fields, String) {
        let (status, r#type, title) = match self.reason {
            Reason::QuotaExceeded | Reason::QueueFull => (
                StatusCode::TOO_MANY_REQUESTS,
                "https://iana.org/assignments/http-problem-types#quota-exceeded",
                "Quota Exceeded",
            ),
            Reason::Draining => (
                StatusCode::SERVICE_UNAVAILABLE,
                "about:blank",
                "Service Unavailable",
            ),
        };
        let details = Details {
            r#type,
            title,
            status: status.as_u16(),
            detail: self.detail,
            code: self.reason.code(),
            connection: self.connection,
            violated_policies: self.policies,
            source: match self.whose {
                Origin::Provider => "provider",
                Origin::Own => "own",
            },
        };
        let mut headers = Fields::new();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        // Strings and a number: there is nothing in it that could not be written.
        let body = serde_json::to_string(&details).unwrap_or_default();
        (status, headers, body)
    }

    const fn wait(&self) -> u64 {
        if self.retry_after == 0 {
            1
        } else {
            self.retry_after
        }
    }

    fn reset_epoch(&self) -> i64 {
        match self.reset {
            // Rounded up: who comes back in the second before it finds nothing.
            Some(reset) => reset.as_second() + i64::from(reset.subsec_nanosecond() > 0),
            None => {
                let wait = i64::try_from(self.wait()).unwrap_or(i64::MAX);
                self.now.as_second().saturating_add(wait)
            }
        }
    }
}

#[cfg(test)]
mod tests;
