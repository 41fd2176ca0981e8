//! Pure values: what a quota policy is and what an answer says of it. No clock, no I/O.
//!
//! The words are those of draft-ietf-httpapi-ratelimit-headers-11.

use std::fmt;
use std::sync::Arc;

/// The unit that a policy counts in (draft: `qu`). Requests are the default and are not written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Unit {
    /// `requests`: each call counts one unless the policy has weights.
    #[default]
    Requests,
    /// `concurrent-requests`: calls in flight.
    ConcurrentRequests,
    /// Anything else in the provider's own word: `tokens`, `points`, `percent`.
    Other(Arc<str>),
}

impl Unit {
    /// Reads a unit by the name that adapters and headers use.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "requests" => Self::Requests,
            "concurrent-requests" => Self::ConcurrentRequests,
            other => Self::Other(Arc::from(other)),
        }
    }

    /// The name that adapters and headers use.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Requests => "requests",
            Self::ConcurrentRequests => "concurrent-requests",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who said a number (contract, section 4: `headroom-source`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The provider said so, in this answer or in its documentation.
    Provider,
    /// Headroom counted.
    Own,
}

/// Who said a number and whether it is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    /// Who said it.
    pub origin: Origin,
    /// Not exact: a whole window stands for an unknown reset, or a documented quota for one that was not sent.
    pub estimated: bool,
}

impl Source {
    /// The value of `headroom-source`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match (self.origin, self.estimated) {
            (Origin::Provider, false) => "provider",
            (Origin::Provider, true) => "provider;estimated",
            (Origin::Own, false) => "own",
            (Origin::Own, true) => "own;estimated",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is done about a limit (contract, section 7: `mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Count and tell, never refuse.
    Observe,
    /// Refuse what would exceed it.
    Enforce,
    /// Hold what would exceed it until it fits.
    Wait,
}

/// The state of one policy at one moment. Unknown numbers are `None`: nothing is invented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceLimit {
    /// The policy's name.
    pub policy: Arc<str>,
    /// What it counts.
    pub unit: Unit,
    /// The quota, in `unit`.
    pub limit: Option<u64>,
    /// What is left, in `unit`; a provider's negative remainder is 0.
    pub remaining: Option<u64>,
    /// Seconds until the policy gives quota back, rounded up.
    pub reset: Option<u64>,
    /// Length of the window in seconds.
    pub window: Option<u64>,
    /// Who said so.
    pub source: Source,
}

impl ServiceLimit {
    /// Nothing is left.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.remaining == Some(0)
    }

    /// At least one number is known.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.limit.is_some() || self.remaining.is_some() || self.reset.is_some()
    }
}

/// The policy that will stop the caller first, as an index into `limits` (contract, section 4).
///
/// A policy with nothing left binds before any other, the one with the longest reset first; else the lowest remaining
/// among the policies counted in requests, ties to the later reset. A policy in another unit binds only when it is
/// exhausted or when no request policy is known.
#[must_use]
pub fn binding(limits: &[ServiceLimit]) -> Option<usize> {
    let exhausted = pick(limits, |limit| {
        limit.is_exhausted().then_some((0, limit.reset))
    });
    let requests = |limit: &ServiceLimit| limit.unit == Unit::Requests;
    exhausted
        .or_else(|| {
            pick(limits, |limit| {
                let remaining = limit.remaining.filter(|_| requests(limit))?;
                Some((remaining, limit.reset))
            })
        })
        // No remainder of requests is known: the first request policy speaks for its limit. Tokens in its place would be
        // read as requests.
        .or_else(|| {
            limits
                .iter()
                .position(|limit| requests(limit) && limit.is_known())
        })
        .or_else(|| pick(limits, |limit| Some((limit.remaining?, limit.reset))))
        .or_else(|| limits.iter().position(ServiceLimit::is_known))
}

/// The candidate with the lowest remaining; among equals the one with the latest reset, then the first.
fn pick(
    limits: &[ServiceLimit],
    candidate: impl Fn(&ServiceLimit) -> Option<(u64, Option<u64>)>,
) -> Option<usize> {
    let mut best: Option<(usize, u64, Option<u64>)> = None;
    for (index, limit) in limits.iter().enumerate() {
        let Some((remaining, reset)) = candidate(limit) else {
            continue;
        };
        let better = best.is_none_or(|(_, least, latest)| {
            remaining < least || (remaining == least && reset > latest)
        });
        if better {
            best = Some((index, remaining, reset));
        }
    }
    best.map(|(index, ..)| index)
}
