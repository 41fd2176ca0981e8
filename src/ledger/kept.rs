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
            let kept = self.store.take_policy(&account.identity, &rule.policy);
            let mut kept = kept.into_iter();
            while !self.is_full(is_resident)
                && let Some((label, stored)) = kept.next()
            {
                let key = account.key(policy, key_of(&label, secret));
                let Some(meter) = stored.meter(rule, now) else {
                    continue;
                };
                let cell = Cell::new(account, label, is_resident, meter, rule);
                self.put(key, cell);
                self.count(is_resident).fetch_add(1, Ordering::Relaxed);
            }
            if kept.len() > 0 {
                let (account, policy) = (&account.identity, &rule.policy);
                self.store.give_back(account, policy, kept.collect());
            }
        }
    }
}
