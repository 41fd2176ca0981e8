//! Counting ahead in the store, so that a process that is killed never forgets a call.

use super::Meter;
use crate::ledger::rule::Rule;

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

    /// So much more than now is stored.
    pub fn cover(&mut self, admitted: u64, ahead: u64) {
        self.reserved = self.reserved.max(admitted.wrapping_add(ahead));
    }

    /// What was ever let through: [`Meter::cover`] is told what it was when the snapshot was taken.
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
