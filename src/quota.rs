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

/// What happens to a call that a quota has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It is sent and counted; headroom only tells.
    Observe,
    /// It is refused.
    Enforce,
    /// It is held until there is room, as long as it may be; then it is refused.
    Wait,
}

impl Mode {
    /// The words of the configuration.
    pub const WORDS: &'static [&'static str] = &["observe", "enforce", "wait"];

    /// By the word of the configuration.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "observe" => Some(Self::Observe),
            "enforce" => Some(Self::Enforce),
            "wait" => Some(Self::Wait),
            _ => None,
        }
    }

    /// The word of the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
            Self::Wait => "wait",
        }
    }
}

/// A part of a quota, exact to a millionth: shares are added up, and ten times 10 % must be the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u32);

impl Share {
    /// All of it.
    pub const WHOLE: Self = Self(1_000_000);

    /// Reads `30%`, `12.5 %`: more than nothing, at most everything, no more than four decimals.
    #[must_use]
    pub fn from_percent(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?.trim_end_matches(' ');
        let (whole, decimals) = match number.split_once('.') {
            Some((_, "")) => return None,
            Some(parts) => parts,
            None => (number, ""),
        };
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || decimals.len() > 4 || !digits(whole) || !digits(decimals) {
            return None;
        }
        let whole: u32 = whole.parse().ok()?;
        let decimals: u32 = format!("{decimals:0<4}").parse().ok()?;
        let millionths = whole.checked_mul(10_000)?.checked_add(decimals)?;
        (1..=Self::WHOLE.0)
            .contains(&millionths)
            .then_some(Self(millionths))
    }

    /// In millionths of the whole.
    #[must_use]
    pub const fn millionths(self) -> u32 {
        self.0
    }

    /// This part of a quota, rounded down.
    #[must_use]
    pub fn of(self, quota: u64) -> u64 {
        let part = u128::from(quota) * u128::from(self.0) / u128::from(Self::WHOLE.0);
        // A part of the whole is no more than the whole.
        u64::try_from(part).unwrap_or(quota)
    }
}

/// As the configuration writes it: `12.5%`.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&percent(u64::from(self.0)))
    }
}

/// Millionths as percent, exactly: `12.5%`.
#[must_use]
pub fn percent(millionths: u64) -> String {
    let (whole, decimals) = (millionths / 10_000, format!("{:04}", millionths % 10_000));
    match decimals.trim_end_matches('0') {
        "" => format!("{whole}%"),
        decimals => format!("{whole}.{decimals}%"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_exact() {
        for (text, millionths, shown) in [
            ("30%", 300_000, "30%"),
            ("12.5 %", 125_000, "12.5%"),
            ("0.0001%", 1, "0.0001%"),
            ("100%", 1_000_000, "100%"),
            ("100.0%", 1_000_000, "100%"),
        ] {
            let share = Share::from_percent(text).unwrap();
            assert_eq!(share.millionths(), millionths, "{text}");
            assert_eq!(share.to_string(), shown);
        }
        for text in [
            "",
            "%",
            "0%",
            "0.00%",
            "100.0001%",
            "-1%",
            "+1%",
            "30",
            ".5%",
            "5.%",
            "1e1%",
            "0.00001%",
            "99999999999%",
            "30%%",
            "1.2.3%",
        ] {
            assert_eq!(Share::from_percent(text), None, "{text}");
        }
    }

    #[test]
    fn a_part_of_a_quota_is_rounded_down() {
        let third = Share::from_percent("33.3333%").unwrap();
        assert_eq!(third.of(3), 0);
        assert_eq!(third.of(1_000_000), 333_333);
        assert_eq!(Share::WHOLE.of(u64::MAX), u64::MAX);
    }

    #[test]
    fn modes_have_their_words() {
        for word in Mode::WORDS {
            assert_eq!(Mode::from_word(word).map(Mode::as_str), Some(*word));
        }
        assert_eq!(Mode::from_word("off"), None);
    }
}
