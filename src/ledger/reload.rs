//! The configuration was read again: meters that are there are held to it, and calls that wait are judged by it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use super::Ledger;
use super::account::Account;
use super::cell::Shared;
use super::rule::Rule;
use super::time::Now;
use crate::quota::Mode;

impl Ledger {
    /// An account of each identity that has meters.
    #[must_use]
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let mut accounts: HashMap<Arc<str>, Arc<Account>> = HashMap::new();
        for (_, cell) in &self.cells {
            let account = &cell.account;
            if !accounts.contains_key(&account.identity) {
                accounts.insert(Arc::clone(&account.identity), Arc::clone(account));
            }
        }
        accounts.into_values().collect()
    }

    /// The configuration has no connection of these identities any more: reports do not tell their meters.
    pub fn leave(&self, identities: HashSet<Arc<str>>) {
        *self.left.write().unwrap_or_else(PoisonError::into_inner) = identities;
    }

    /// Holds the meters of these accounts to their new rules, whichever calls they were made for, and lets all who wait ask
    /// again. A policy that is gone stops nobody. Accounts that are not named stay as they were.
    pub fn renew(&self, accounts: &[Arc<Account>], now: Now) {
        let accounts: HashMap<&str, &Account> = accounts
            .iter()
            .map(|account| (&*account.identity, &**account))
            .collect();
        for (_, cell) in &self.cells {
            let Some(account) = accounts.get(&*cell.account.identity) else {
                continue;
            };
            let mut inner = cell.lock();
            let newest = account.rules.first().map_or(0, |rule| rule.generation);
            if newest <= inner.rule.generation {
                continue;
            }
            let rule = match account.rule(&inner.rule.policy) {
                Some(rule) => Arc::clone(rule),
                None => Arc::new(Rule {
                    mode: Some(Mode::Observe),
                    pace: false,
                    generation: newest,
                    ..Rule::clone(&inner.rule)
                }),
            };
            inner.put_rule(&rule, now);
        }
    }
}
