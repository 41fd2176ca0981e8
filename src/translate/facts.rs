//! What an answer tells of one policy, before anything is concluded from it.

use std::sync::Arc;

use jiff::Timestamp;

use crate::form::{Decimal, Moment};
use crate::quota::Unit;

/// The longest value of a header that is looked at, in bytes: business-use-case maps are a few KiB.
pub(super) const MAX_TEXT: usize = 32 * 1024;

/// The longest wait that is believed: more is a wrong unit, not a window (seconds).
pub(super) const MAX_WAIT_SECS: i64 = 400 * 86_400;

/// The most lines of one header, or headers of one pattern, that are looked at.
pub(super) const MAX_LINES: usize = 64;

/// What an answer tells of one policy.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) label: Option<Arc<str>>,
    pub(super) unit: Option<Unit>,
    pub(super) limit: Option<Decimal>,
    pub(super) remaining: Option<Decimal>,
    pub(super) used: Option<Decimal>,
    pub(super) reset: Option<Moment>,
    pub(super) window: Option<u64>,
    pub(super) cost: Option<Decimal>,
    /// It told a negative limit, as those do that have none.
    pub(super) has_no_limit: bool,
}

impl Facts {
    /// A number of the quota is there. A window or a label alone says nothing of it.
    pub(super) const fn says_something(&self) -> bool {
        self.limit.is_some()
            || self.remaining.is_some()
            || self.used.is_some()
            || self.reset.is_some()
    }

    /// Takes a value in; where there is one already, the tighter counts.
    pub(super) fn take(&mut self, value: Told, now: Timestamp) {
        match value {
            Told::Limit(new) => self.limit = Some(self.limit.map_or(new, |old| old.min(new))),
            Told::Remaining(new) => {
                self.remaining = Some(self.remaining.map_or(new, |old| old.min(new)));
            }
            Told::Used(new) => self.used = Some(self.used.map_or(new, |old| old.max(new))),
            Told::Cost(new) => self.cost = Some(self.cost.map_or(new, |old| old.max(new))),
            Told::Reset(new) => {
                let later = self
                    .reset
                    .is_none_or(|old| new.duration_from(now) > old.duration_from(now));
                if later {
                    self.reset = Some(new);
                }
            }
            Told::Window(new) => self.window = self.window.or(Some(new)),
            Told::Label(new) => self.label = Some(self.label.take().unwrap_or(new)),
        }
    }

    pub(super) fn merge(&mut self, other: Self, now: Timestamp) {
        let values = [
            other.label.map(Told::Label),
            other.limit.map(Told::Limit),
            other.remaining.map(Told::Remaining),
            other.used.map(Told::Used),
            other.reset.map(Told::Reset),
            other.window.map(Told::Window),
            other.cost.map(Told::Cost),
        ];
        for value in values.into_iter().flatten() {
            self.take(value, now);
        }
        self.has_no_limit |= other.has_no_limit;
    }

    /// They tell nothing of the same.
    pub(super) const fn is_disjoint(&self, other: &Self) -> bool {
        !(self.limit.is_some() && other.limit.is_some()
            || self.remaining.is_some() && other.remaining.is_some()
            || self.used.is_some() && other.used.is_some()
            || self.reset.is_some() && other.reset.is_some()
            || self.window.is_some() && other.window.is_some())
    }

    /// Less is left. What tells no amount is never tighter than what does.
    pub(super) fn is_tighter_than(&self, other: &Self) -> bool {
        match (self.slack(), other.slack()) {
            (Some(own), Some(other)) => own < other,
            (own, other) => own.is_some() && other.is_none(),
        }
    }

    /// The less is left, the smaller: what remains, or the negative of what is used.
    fn slack(&self) -> Option<(u64, u64)> {
        let left = match (self.remaining, self.limit, self.used) {
            (Some(left), ..) => left.floor(),
            (None, Some(limit), Some(used)) => limit.floor().saturating_sub(used.ceil()),
            (None, None, Some(used)) => u64::MAX - used.ceil(),
            _ => return None,
        };
        let reset = self.reset.map_or(0, |reset| {
            u64::try_from(reset.seconds_from(Timestamp::UNIX_EPOCH)).unwrap_or(0)
        });
        Some((left, u64::MAX - reset))
    }
}

/// A quantity with its value.
pub(super) enum Told {
    Limit(Decimal),
    Remaining(Decimal),
    Used(Decimal),
    Cost(Decimal),
    Reset(Moment),
    Window(u64),
    Label(Arc<str>),
}

/// A policy's name out of an answer: visible ASCII, not too long, nothing that would need escaping.
pub(super) fn label(text: &str) -> Option<Arc<str>> {
    let text = text.trim();
    let fits = !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\');
    fits.then(|| Arc::from(text))
}

/// A value for a note: short, quoted, without control characters. Limits are no secrets, but a header may be anything.
pub(super) fn shown(value: &[u8]) -> String {
    const LONGEST: usize = 40;
    let cut = value.get(..LONGEST).unwrap_or(value);
    let more = if cut.len() < value.len() { "…" } else { "" };
    format!("\"{}{more}\"", cut.escape_ascii())
}
