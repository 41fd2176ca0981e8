//! Meters of an earlier process, put in place before anybody asks for them: reports show them from the start.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Ledger;
use super::account::{Account, connection_of};
use super::cell::{Cell, Marks, Shared};
use super::meter::Meter;
use super::store::Labels;
use super::time::Now;
use crate::charge::key_of;
use crate::state::{LearnedRow, MeterRow};

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
            let mut left = Labels::new();
            for (label, stored) in kept {
                let key = account.key(policy, key_of(&label, secret));
                // Nobody makes it meanwhile.
                let mut roll = self.roll();
                let cell = self.find(key);
                if cell.is_none() && self.is_full(is_resident) {
                    left.insert(label, stored);
                    continue;
                }
                let Some(meter) = stored.meter(rule, now) else {
                    continue;
                };
                let meter = match cell {
                    Some(cell) => self.join(&cell, meter, now),
                    None => Some(meter),
                };
                if let Some(meter) = meter {
                    self.put(
                        &mut roll,
                        key,
                        Cell::new(account, label, is_resident, meter, rule),
                    );
                    self.count(is_resident).fetch_add(1, Ordering::Relaxed);
                }
            }
            if !left.is_empty() {
                self.store.give_back(&account.identity, &rule.policy, left);
            }
        }
    }

    /// Counts in a meter what is kept of it. Gives that back where the meter was forgotten.
    fn join(&self, cell: &Arc<Cell>, meter: Meter, now: Now) -> Option<Meter> {
        let mut guard = cell.lock();
        let inner = &mut *guard;
        if inner.marks.has(Marks::DEAD) {
            return Some(meter);
        }
        inner.meter.join(&inner.rule, meter, now);
        if !inner.rule.kept && inner.meter.is_held() {
            inner.marks.put(Marks::STORED);
        }
        let is_new = inner.touch_again();
        drop(guard);
        if is_new {
            self.store.touch(cell);
        }
        None
    }

    /// Takes over what a store has kept that could not be opened at the start. Its accounts are to be adopted next
    /// ([`Ledger::adopt`]); before that nothing may be written into that store.
    pub fn take_over(&self, meters: Vec<MeterRow>, learned: Vec<LearnedRow>) {
        self.learned.join(learned);
        self.store.take_over(meters);
    }
}
