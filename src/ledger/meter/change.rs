//! The rule of a meter becomes one under which its numbers mean something else: another window, another unit.
//!
//! Nobody knows how what was used lies in the new window. So all of the old window's use counts as used just now: it comes back
//! as late as it can. What was used before the old window is not known here. Of another unit nothing is known at all. What
//! the provider has asked to wait stays: it said so to the account, whatever is counted.

use super::claims::REST;
use super::{Caller, Mark, Meter, NONE, Told};
use crate::ledger::rule::{Motion, Rule};
use crate::ledger::time::Now;

/// What was used, where its times mean nothing any more.
#[derive(Debug, Clone, Default)]
pub(super) struct Carried {
    /// Units of the window, those of others included.
    pub(super) used: u64,
    /// Of these, what headroom let through.
    pub(super) own: u64,
    /// By whom.
    pub(super) who: Vec<(u64, u64)>,
    /// What the provider said is left, where its limit is not known.
    pub(super) left: Option<u64>,
}

impl Meter {
    /// From now on it is held to the new rule.
    pub fn change(&mut self, old: &Rule, new: &Rule, now: Now) {
        let (before, after) = (old.meaning(), new.meaning());
        if before == after {
            return;
        }
        self.settle(old, now);
        if let (Motion::InFlight(_), Motion::InFlight(slow)) = (&old.motion, &new.motion) {
            self.keep_in_flight(slow.0 != 0);
            return;
        }
        let mut carried = Carried::default();
        if before.unit == after.unit {
            let cap = self.word().cap;
            carried = Carried {
                used: self.counted(old, now),
                own: self.own,
                who: self.users().map(|user| (user.who, user.used)).collect(),
                left: (cap != NONE).then(|| cap.saturating_sub(self.used)),
            };
        } else if let Some(word) = &mut self.word {
            word.limit = NONE;
        }
        (self.used, self.own, self.ends) = (0, 0, 0);
        // What the store has counted, it has counted in the old window.
        self.reserved = self.admitted;
        self.turns = self.turns.wrapping_add(1);
        if let Some(word) = &mut self.word {
            word.cap = NONE;
            word.told = false;
        }
        let extra = self.extra.get_or_insert_default();
        **extra = super::Extra {
            changed: self.turns,
            ..super::Extra::default()
        };
        self.carry(new, &carried, now);
    }

    /// What is in flight stays so. When it began is only known where that mattered: the rest has been there for long.
    fn keep_in_flight(&mut self, slow_ones_count: bool) {
        let missing = usize::try_from(self.used).unwrap_or(usize::MAX);
        let extra = self.extra.get_or_insert_default();
        if slow_ones_count {
            let missing = missing.saturating_sub(extra.starts.len());
            extra.starts.splice(0..0, std::iter::repeat_n(0, missing));
        } else {
            extra.starts.clear();
        }
    }

    /// Counts as used now, in a meter that has nothing used, what was used under another rule.
    pub(super) fn carry(&mut self, rule: &Rule, carried: &Carried, now: Now) {
        // What was in flight knows its own end, and what was used knows none.
        if matches!(rule.motion, Motion::InFlight(_)) {
            return;
        }
        let own = carried.own.min(carried.used);
        let mut rest = own;
        for (who, used) in &carried.who {
            let cost = rest.min(*used);
            rest -= cost;
            let is_named = true;
            self.add(rule, cost, Caller { id: *who, is_named }, now);
        }
        let nameless = Caller {
            id: REST,
            is_named: false,
        };
        self.add(rule, rest, nameless, now);
        let others = carried.used - own;
        match &rule.motion {
            Motion::Bucket { .. } => self.add(rule, others, nameless, now),
            _ if others > 0 => self.set_used(rule, carried.used, &Told::default(), now),
            _ => {}
        }
        self.own = own;
        if let (Some(left), Some(word)) = (carried.left, &mut self.word) {
            word.cap = self.used.saturating_add(left);
        }
    }

    /// Units that are used now, whatever keeps them.
    pub(super) fn counted(&self, rule: &Rule, now: Now) -> u64 {
        let limit = self.quota(rule).map_or(1, |(limit, _)| limit);
        match &rule.motion {
            Motion::InFlight(_) => self.used,
            _ => self.amount(rule, limit, now),
        }
    }

    /// The call was let through under a rule that meant something else: its meter says nothing of it any more.
    pub(super) fn is_of_before(&self, mark: Mark) -> bool {
        let changed = self.extra.as_ref().map_or(0, |extra| extra.changed);
        mark.window.wrapping_sub(changed) > u32::MAX / 2
    }
}
