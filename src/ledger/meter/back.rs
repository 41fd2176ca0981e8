//! What was taken is given back: a call that used nothing after all, or one that is over.

use super::claims::REST;
use super::{Caller, Mark, Meter, Taken};
use crate::ledger::rule::{Motion, Rule};
use crate::ledger::time::{Nanos, Now, Steady};

/// The longest that a call is taken to have been on its way to the provider.
const LONGEST_WAY: Nanos = Nanos::from_secs(1);

impl Meter {
    /// The head of a call's answer is there. The provider counted the call when it arrived: somewhere between then and now,
    /// and later than the meter did if a connection had to be made first. What it used comes back that much later. How much
    /// of the time was the provider's own nobody knows, so no more than a second is taken for the way, nor a quarter of the
    /// window.
    pub fn arrived(&mut self, rule: &Rule, taken: &Taken, now: Now) {
        if taken.cost == 0 || self.is_of_before(taken.mark) {
            return;
        }
        let at = taken.mark.at;
        let way = |window: Nanos| {
            let took = now.steady.since(at).min(LONGEST_WAY);
            at.after(took.min(Nanos(window.0 / 4)))
        };
        match &rule.motion {
            Motion::Fixed(Some(length)) if self.ends == at.after(*length).0 => {
                self.ends = way(*length).after(*length).0;
            }
            Motion::Rolling(length) => {
                if let Some(extra) = &mut self.extra {
                    extra.log.postpone(taken.who, at.0, way(*length).0);
                }
            }
            Motion::Bucket { .. } if self.ends > now.steady.0 => {
                let unit = self.unit(rule);
                let limit = self.quota(rule).map_or(1, |(limit, _)| limit);
                let whole = unit.times(limit.max(1));
                let full = way(whole).after(unit.times(taken.cost));
                self.ends = self.ends.max(full.0);
            }
            _ => {}
        }
    }

    /// The call is sent a second time, and nobody knows whether the provider saw the first: it may count twice.
    #[must_use]
    pub fn take_again(&mut self, rule: &Rule, taken: &Taken, now: Now) -> Taken {
        if taken.permit {
            return *taken;
        }
        let caller = Caller {
            id: taken.who,
            is_named: self.users().any(|user| user.who == taken.who),
        };
        let again = self.take(rule, taken.cost, caller, now);
        self.finish(taken.cost, again.probe);
        let probe = taken.probe;
        Taken { probe, ..again }
    }

    /// The answer has told what its call cost, and not what is left. What was taken for it already is part of that.
    ///
    /// The rest counts from now on: nobody knows when the provider counted it, but it was before. It may be more than was
    /// left, because the call is over and cannot be refused any more.
    pub fn charge(&mut self, rule: &Rule, taken: &Taken, cost: u64, now: Now) {
        if taken.permit {
            return;
        }
        let Some(more) = cost.checked_sub(taken.cost) else {
            let too_much = taken.cost - cost;
            let taken = Taken {
                cost: too_much,
                ..*taken
            };
            self.refund(rule, &taken, now);
            return;
        };
        self.settle(rule, now);
        if more == 0 {
            return;
        }
        if rule.pace {
            self.pace(rule, more, now);
        }
        let caller = Caller {
            id: taken.who,
            is_named: taken.who != REST,
        };
        self.add(rule, more, caller, now);
        // It is neither in flight nor covered by what the store has counted ahead, and answers of calls from before it do
        // not know of it.
        self.admitted = self.admitted.wrapping_add(more);
        self.answered = self.answered.wrapping_add(more);
        if self.word.is_some() {
            self.word_mut().doubted = true;
        }
    }

    /// Gives back what was taken for a call that never reached the provider, or that it refused without counting it.
    pub fn refund(&mut self, rule: &Rule, taken: &Taken, now: Now) {
        self.settle(rule, now);
        if taken.cost == 0 || self.is_of_before(taken.mark) {
            return;
        }
        let at = taken.mark.at;
        match &rule.motion {
            Motion::Fixed(_) | Motion::Aligned { .. } => {
                // Its own answer has told what is left since: it knows that this call used nothing.
                if self.turns != taken.mark.window || self.has_told(taken.mark) {
                    return;
                }
                self.used = self.used.saturating_sub(taken.cost);
                self.begin_later(rule, at, now);
            }
            Motion::Bucket { .. } => {
                // Without the call the bucket may have been full since then: what flowed in meanwhile would have been lost.
                let unit = self.unit(rule).times(taken.cost).0;
                let back = unit.saturating_sub(now.steady.since(at).0);
                if self.has_told(taken.mark) {
                    return;
                }
                self.ends = self.ends.saturating_sub(back);
            }
            Motion::Rolling(_) => {
                if self.has_told(taken.mark) {
                    return;
                }
                if let Some(extra) = &mut self.extra {
                    if !extra.log.remove(taken.cost, taken.who, at.0) {
                        return;
                    }
                    self.used = extra.log.sum();
                }
            }
            Motion::InFlight(_) => return,
        }
        self.own = self.own.saturating_sub(taken.cost);
        if let Some(extra) = &mut self.extra {
            extra.who.give_back(taken.who, taken.cost);
        }
    }

    /// What is left was told by the answer to this very call.
    pub(super) fn has_told(&self, mark: Mark) -> bool {
        self.word().told && self.word().newest == mark.call
    }

    /// If the call that opened a fixed window never came to the provider, the provider's window began with a later one, now
    /// at the latest, or not yet.
    fn begin_later(&mut self, rule: &Rule, at: Steady, now: Now) {
        if let Motion::Fixed(Some(length)) = &rule.motion
            && !self.word().told
        {
            if self.used == 0 {
                self.ends = 0;
            } else if self.ends >= at.after(*length).0 {
                self.ends = now.steady.after(*length).0;
            }
        }
    }

    /// The call is over to the last byte of its answer: its permit is free.
    pub fn release(&mut self, rule: &Rule, taken: &Taken) {
        let is_counted = taken.permit && !self.is_of_before(taken.mark);
        if is_counted && matches!(rule.motion, Motion::InFlight(_)) {
            self.used = self.used.saturating_sub(taken.cost);
            self.own = self.own.saturating_sub(taken.cost);
            if let Some(extra) = &mut self.extra {
                // Of a call that began before beginnings mattered, only that it began long ago is known.
                let began = |at: u64| extra.starts.iter().position(|start| *start == at);
                if let Some(at) = began(taken.mark.at.0).or_else(|| began(0)) {
                    extra.starts.remove(at);
                }
                extra.who.give_back(taken.who, taken.cost);
            }
        }
    }
}
