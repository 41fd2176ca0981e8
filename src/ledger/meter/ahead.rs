//! Counting ahead in the store, so that a process that is killed never forgets a call.
//!
//! What was counted for a window is worth nothing in the next, which the store has to hear of before its first call. But where
//! the provider tells what is left, its next answer corrects whatever a killed process forgot, and the store hears of the new
//! window with the next flush: else a provider whose windows are short, or whose clock is behind so that each of them seems
//! over as soon as it is told, would make each call wait for a disk.

use super::{Cause, Meter};
use crate::ledger::rule::{Motion, Rule};

/// What the store will have counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// Up to this, of all that was ever let through.
    covers: u64,
    /// For this window and those that follow one that the provider spoke of.
    window: u32,
}

impl Meter {
    /// The store has counted so much already.
    #[must_use]
    pub const fn is_covered(&self, cost: u64) -> bool {
        self.admitted.wrapping_add(cost) <= self.reserved
    }

    /// How much is to be counted ahead, beside a snapshot taken now: small parts of small quotas.
    #[must_use]
    pub fn block(&self, rule: &Rule, cost: u64) -> u64 {
        let quota = self.quota(rule).map_or(rule.block, |(quota, _)| quota);
        rule.block.min(quota / 64).max(cost).max(1)
    }

    /// So much is about to be stored beside a snapshot taken now.
    #[must_use]
    pub fn promise(&self, ahead: u64) -> Promise {
        Promise {
            covers: self.admitted.wrapping_add(ahead),
            window: self.uncorrected(),
        }
    }

    /// It is stored. If its window is over meanwhile, it is worth nothing.
    pub fn cover(&mut self, promise: Promise) {
        if promise.window == self.uncorrected() {
            self.reserved = self.reserved.max(promise.covers);
        }
    }

    /// Windows that are over and that the provider did not speak of.
    fn uncorrected(&self) -> u32 {
        self.turns.wrapping_sub(self.word().corrected)
    }

    /// The provider tells what is left, and that is what holds: not a quota of the user's own below it, which nobody else
    /// counts.
    pub(super) fn is_corrected(&self, rule: &Rule) -> bool {
        self.word().told
            && matches!(rule.motion, Motion::Fixed(_))
            && !matches!(self.quota(rule), Some((_, Cause::Configured)))
    }

    /// What was ever let through.
    #[must_use]
    pub const fn admitted(&self) -> u64 {
        self.admitted
    }

    /// What the store has counted and the meter has not.
    #[must_use]
    pub const fn ahead(&self) -> u64 {
        self.reserved.saturating_sub(self.admitted)
    }
}
