//! Meters of an earlier process, put in place before anybody asks for them: reports show them from the start.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Ledger;
use super::account::{Account, connection_of};
use super::cell::Cell;
use super::time::Now;
use crate::charge::key_of;

impl Ledger {
    /// The connections of which the store has meters.
    #[must_use]
    pub fn kept_connections(&self) -> Vec<String> {
        let accounts = self.store.accounts();
        let names = accounts
            .iter()
            .map(|account| connection_of(account).to_owned());
        names.collect()
    }

    /// Puts the kept meters of an account in place, as far as there is room. `secret` is what keys of partitions are made
    /// with.
    pub fn adopt(&self, account: &Arc<Account>, secret: (u64, u64), is_resident: bool, now: Now) {
        account.keep_in(&self.store);
        for (policy, rule) in account.rules.iter().enumerate() {
            for label in self.store.labels(&account.identity, &rule.policy) {
                if self.is_full(is_resident) {
                    return;
                }
                let key = account.key(policy, key_of(&label, secret));
                let Some(meter) = self.store.take_kept(&account.identity, rule, &label, now) else {
                    continue;
                };
                let cell = Cell::new(account, label, is_resident, meter, rule);
                self.cells.insert(key, Arc::new(cell));
                self.count(is_resident).fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
