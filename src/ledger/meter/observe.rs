//! What the provider says corrects the count.
//!
//! An answer was made somewhere between its call and now. It knows nothing of calls that were let through after its own, so
//! these are taken off what it says is left. It may also not know of calls that were still on their way when its own went:
//! if it says that more is left than the meter believes, so much of the difference is not believed yet. An answer that
//! arrives after that of a later call can only lower what is left; one that speaks of a window that is over says nothing.

use super::{Meter, NOBODY, NONE, signed};
use crate::ledger::rule::{Motion, Rule};
use crate::ledger::time::{Nanos, Now, Steady};

/// Resets are told in whole seconds and take a moment to arrive.
const TOLERANCE: Nanos = Nanos::from_secs(2);

/// The first and the longest wait after a refusal that did not say how long.
const FIRST_WAIT: Nanos = Nanos::from_secs(1);
const LONGEST_WAIT: Nanos = Nanos::from_secs(64);

/// The longest that a provider's word stops a connection without asking it again.
const LONGEST_HOLD: Nanos = Nanos::from_secs(32 * 86_400);

/// Where a call stands among all calls of its meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// What was let through up to it, itself included.
    pub(super) after: u64,
    /// Its number.
    pub(super) call: u32,
    /// The window in which it was let through.
    pub(super) window: u32,
    /// When.
    pub(super) at: Steady,
    /// What was in flight then, itself not included.
    pub(super) behind: u64,
}

impl Mark {
    /// The call's number among all calls of its meter.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.call
    }
}

/// What an answer tells of one policy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Told {
    /// The quota.
    pub limit: Option<u64>,
    /// What is left.
    pub remaining: Option<u64>,
    /// Seconds until quota comes back, where the provider says so itself.
    pub reset_secs: Option<u64>,
}

/// The provider refused a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Seconds to wait, where the provider says so.
    pub wait_secs: Option<u64>,
    /// A random number, for a wait of our own.
    pub random: u64,
}

impl Meter {
    /// What an answer says of this policy. The call is still in flight: [`Meter::finish`] comes after.
    pub fn observe(&mut self, rule: &Rule, told: &Told, mark: Mark, now: Now) {
        if self.is_of_before(mark) {
            return;
        }
        self.settle(rule, now);
        let later = self.admitted.wrapping_sub(mark.after);
        let is_newest = mark.call.wrapping_sub(self.word().newest) <= u32::MAX / 2;
        let Some(is_newer_window) = self.align(rule, told, mark, is_newest, now) else {
            // It says nothing, but what earlier calls are told is older still.
            if is_newest {
                self.word_mut().newest = mark.call;
            }
            return;
        };
        let newest = is_newest || is_newer_window;
        // Of a limit of 0 no call would ever fit, so that no answer could correct it: what is left of it says as much, until
        // its reset.
        if let Some(limit) = told.limit.filter(|limit| newest && *limit > 0) {
            self.word_mut().limit = limit;
        } else if newest && told.remaining.is_some_and(|left| left > self.word().limit) {
            // A documented quota below what is left is another account's.
            self.word_mut().limit = NONE;
        }
        let Some(told_left) = told.remaining else {
            return;
        };
        self.word_mut().told = true;
        let doubted = self.word().doubted;
        let limit = self.word().limit;
        let before = if limit != NONE {
            Some(limit.saturating_sub(self.amount(rule, limit, now)))
        } else {
            (self.word().cap != NONE).then(|| self.word().cap.saturating_sub(self.used))
        };
        let mut left = told_left.saturating_sub(later);
        if newest {
            self.word_mut().newest = mark.call;
            // What was on its way when this call went may have been counted after it, whether it was answered since or not.
            let before = before.filter(|_| !is_newer_window).unwrap_or(0);
            left -= left.saturating_sub(before).min(mark.behind);
        } else {
            left = before.map_or(left, |before| before.min(told_left));
        }
        self.word_mut().doubted = left < told_left && (newest || doubted);
        if limit == NONE {
            self.word_mut().cap = self.used.saturating_add(left);
            self.word_mut().cap_ends = self.end_of_word(rule, told, now);
        } else {
            self.word_mut().cap = NONE;
            self.set_used(rule, limit.saturating_sub(left), told, now);
        }
    }

    /// The provider refused the call: nothing goes until then. One call will find out whether it is open again.
    pub fn refused(&mut self, rule: &Rule, refusal: &Refusal, now: Now) {
        let wait = match refusal.wait_secs.filter(|secs| *secs > 0) {
            Some(secs) => Nanos::from_secs(secs),
            // Calls that went out together are refused together: that is one refusal.
            None if self.word().hold > now.steady.0 => return,
            None => {
                // Full jitter: anything up to twice the last one's bound.
                let bound = FIRST_WAIT
                    .times(1 << self.word().tries.min(10))
                    .min(LONGEST_WAIT)
                    .0;
                self.word_mut().tries = self.word().tries.saturating_add(1);
                Nanos(1 + refusal.random % bound)
            }
        };
        let wait = wait.max(rule.penalty.unwrap_or_default()).min(LONGEST_HOLD);
        self.word_mut().hold = self.word().hold.max(now.steady.after(wait).0);
    }

    /// The provider let a call through: it is open.
    pub fn opened(&mut self, probe: bool) {
        if probe {
            self.word_mut().hold = 0;
            self.word_mut().tries = 0;
        }
    }

    /// The answer is there, or the call is given up.
    pub fn finish(&mut self, cost: u64, probe: bool) {
        self.answered = self.answered.wrapping_add(cost);
        if probe {
            self.word_mut().probing = false;
        }
    }

    /// Puts the window where the provider says it is. `None`: it speaks of a window that is over. `Some(true)`: of a later
    /// one than the meter knew.
    fn align(
        &mut self,
        rule: &Rule,
        told: &Told,
        mark: Mark,
        is_newest: bool,
        now: Now,
    ) -> Option<bool> {
        let same_window = mark.window == self.turns;
        match &rule.motion {
            Motion::Fixed(_) | Motion::Aligned { .. } => {}
            // A call that took longer than the window may have been counted before it.
            Motion::Rolling(length) => {
                let took = now.steady.since(mark.at);
                return (is_newest && took <= *length).then_some(false);
            }
            Motion::Bucket { .. } | Motion::InFlight(_) => return is_newest.then_some(false),
        }
        let Some(length) = told.reset_secs.map(Nanos::from_secs) else {
            return same_window.then_some(false);
        };
        // The provider wrote this at some moment between the call and now.
        let (first, last) = (mark.at.after(length), now.steady.after(length));
        if !same_window && first <= now.steady.after(TOLERANCE) {
            return None;
        }
        let known = match &rule.motion {
            _ if self.ends == 0 => None,
            Motion::Aligned { .. } => Some(now.steady_at(signed(self.ends))),
            _ => Some(Steady(self.ends)),
        };
        let Some(known) = known else {
            self.set_end(rule, last, now);
            return Some(false);
        };
        if first <= known.after(TOLERANCE) && known <= last.after(TOLERANCE) {
            // The same window. At first the latest end that it can have: no call is too early. What comes later says it
            // better. Of the calendar, the calendar's.
            if matches!(rule.motion, Motion::Fixed(_)) && is_newest {
                let least = if self.word().told { first } else { last };
                // Some providers round down.
                let end = known.max(least).min(last.after(Nanos::from_secs(1)));
                self.set_end(rule, end, now);
            }
            return Some(false);
        }
        if first > known {
            // A new window ends a whole window later. What ends a little later is the same one, told less well.
            let half = Nanos::from_secs(rule.window_secs.unwrap_or(0) / 2);
            let is_newer = self.word().told && first.since(known) >= half;
            if is_newer {
                self.turn(rule);
            }
            self.set_end(rule, last, now);
            return Some(is_newer);
        }
        // It ends before the meter thought: the provider's window began earlier, unless this answer is an old one.
        if self.word().told && !is_newest {
            return None;
        }
        self.set_end(rule, last, now);
        Some(false)
    }

    fn set_end(&mut self, rule: &Rule, end: Steady, now: Now) {
        self.ends = match &rule.motion {
            Motion::Aligned { .. } => u64::try_from(now.wall_at(end)).unwrap_or(0),
            _ => end.0,
        };
    }

    /// Until when it is good that so much is left of an unknown limit; 0: nobody knows.
    fn end_of_word(&self, rule: &Rule, told: &Told, now: Now) -> u64 {
        let told = told
            .reset_secs
            .map(|secs| now.steady.after(Nanos::from_secs(secs)).0);
        match &rule.motion {
            Motion::Fixed(_) if self.ends != 0 => self.ends,
            Motion::Aligned { .. } if self.ends != 0 && !rule.end_is_unknown => {
                now.steady_at(signed(self.ends)).0
            }
            Motion::Rolling(length) if *length <= Nanos::from_secs(60) => {
                told.unwrap_or(now.steady.after(*length).0)
            }
            _ => told.unwrap_or(0),
        }
    }

    pub(super) fn set_used(&mut self, rule: &Rule, used: u64, told: &Told, now: Now) {
        match &rule.motion {
            Motion::Fixed(_) | Motion::Aligned { .. } => {
                if self.ends == 0 {
                    self.ends = super::end_of_window(rule, now).unwrap_or(0);
                }
                self.used = used;
            }
            Motion::Rolling(length) => {
                let quota = self.quota(rule).map(|(quota, _)| quota);
                let extra = self.extra.get_or_insert_default();
                let known = extra.log.sum();
                if used > known {
                    // Where the provider says when quota comes back, what others used comes back then.
                    let at = match told.reset_secs {
                        Some(secs) => {
                            now.steady
                                .after(Nanos::from_secs(secs))
                                .since(Steady(length.0))
                                .0
                        }
                        None => now.steady.0,
                    };
                    let at = at.min(now.steady.0);
                    extra.log.add(at, used - known, NOBODY, *length, quota);
                } else {
                    extra.log.remove_oldest(known - used, &mut extra.who);
                }
                self.used = extra.log.sum();
                self.own = extra.log.own();
            }
            Motion::Bucket { .. } => {
                let unit = self.unit(rule);
                let full = now.steady.after(unit.times(used));
                // With nothing left, the next unit comes when the provider says that quota comes back.
                let told = told.reset_secs.filter(|_| told.remaining == Some(0));
                let told = told.map_or(full, |secs| {
                    let next = now.steady.after(Nanos::from_secs(secs));
                    next.after(unit.times(used.saturating_sub(1)))
                });
                self.ends = full.max(told).0;
            }
            // What is in flight is known better here.
            Motion::InFlight(_) => {}
        }
    }
}
