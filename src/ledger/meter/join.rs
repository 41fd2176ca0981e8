//! Two meters of one budget become one: what an earlier process has stored comes to light while this one counts already.
//!
//! Nobody knows of everything: what either counted the other did not see, so both counts go together, and the window ends with
//! the later one. Unless the provider has told this meter how much is used: then the provider's count has it all.

use super::claims::REST;
use super::{Caller, Meter, NONE};
use crate::ledger::rule::{Motion, Rule};
use crate::ledger::time::Now;

impl Meter {
    /// Counts also what another meter of the same budget knows. Never is more left afterwards than either of them had.
    pub fn join(&mut self, rule: &Rule, mut other: Self, now: Now) {
        self.settle(rule, now);
        other.settle(rule, now);
        if let Some(theirs) = &other.word {
            let word = self.word_mut();
            word.hold = word.hold.max(theirs.hold);
            word.tries = word.tries.max(theirs.tries);
            if word.limit == NONE {
                word.limit = theirs.limit;
            }
        }
        // What was in flight in another process is not any more.
        if matches!(rule.motion, Motion::InFlight(_)) {
            return;
        }
        if let Some(closed) = other.extra.as_ref().and_then(|extra| extra.closed) {
            let extra = self.extra.get_or_insert_default();
            extra.closed.get_or_insert(closed);
        }
        let theirs = other.counted(rule, now);
        let has_it_all = self.word().told && self.counted(rule, now) >= theirs;
        if !has_it_all {
            let own = self.used;
            self.join_use(rule, &other, theirs, now);
            self.join_cap(&other, own);
        }
    }

    fn join_use(&mut self, rule: &Rule, other: &Self, theirs: u64, now: Now) {
        match &rule.motion {
            Motion::Rolling(length) => {
                let extra = self.extra.get_or_insert_default();
                for entry in other.extra.iter().flat_map(|extra| extra.log.entries()) {
                    let (at, cost, who) = (entry.at, entry.cost, entry.who);
                    extra.log.add(at, cost, who, *length, Some(0));
                }
                self.used = extra.log.sum();
                self.own = extra.log.own();
                for user in other.users() {
                    extra.who.join(user.who, user.used);
                }
            }
            Motion::Fixed(_) | Motion::Aligned { .. } => {
                self.ends = self.ends.max(other.ends);
                self.used = self.used.saturating_add(other.used);
                self.own = self.own.saturating_add(other.own);
                let extra = self.extra.get_or_insert_default();
                for user in other.users() {
                    extra.who.join(user.who, user.used);
                }
            }
            Motion::Bucket { .. } => {
                let caller = Caller {
                    id: REST,
                    is_named: false,
                };
                self.add(rule, theirs, caller, now);
            }
            Motion::InFlight(_) => {}
        }
    }

    /// What the provider told the other one that may be used, less what this one has used since.
    fn join_cap(&mut self, other: &Self, own: u64) {
        let cap = other.word().cap;
        if cap == NONE {
            return;
        }
        let left = cap.saturating_sub(other.used).saturating_sub(own);
        let theirs = self.used.saturating_add(left);
        let ends = other.word().cap_ends;
        let word = self.word_mut();
        if word.cap == NONE || theirs < word.cap {
            (word.cap, word.cap_ends) = (theirs, ends.max(word.cap_ends));
        }
    }
}
