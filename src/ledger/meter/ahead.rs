//! Counting ahead in the store, so that a process that is killed never forgets a call.

use super::Meter;
use crate::ledger::rule::Rule;

/// What the store will have counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// Up to this, of all that was ever let through.
    covers: u64,
    /// For this window.
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
    pub const fn promise(&self, ahead: u64) -> Promise {
        Promise {
            covers: self.admitted.wrapping_add(ahead),
            window: self.turns,
        }
    }

    /// It is stored. If its window is over meanwhile, it is worth nothing.
    pub fn cover(&mut self, promise: Promise) {
        if promise.window == self.turns {
            self.reserved = self.reserved.max(promise.covers);
        }
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
