//! How each kind of window counts, and when it gives quota back.

use super::rolling::Log;
use super::{Caller, Cause, Closed, Meter, NONE, Until, cause_of, signed, wall};
use crate::ledger::rule::{Basis, Motion, Rule};
use crate::ledger::time::{Nanos, Now, Steady};
use crate::translate::window;

impl Meter {
    /// A window is over.
    pub(super) fn turn(&mut self, rule: &Rule) {
        let is_corrected = self.is_corrected(rule);
        self.used = 0;
        self.own = 0;
        self.ends = 0;
        if let Some(word) = &mut self.word {
            word.cap = NONE;
            word.told = false;
        }
        if is_corrected {
            let word = self.word_mut();
            word.corrected = word.corrected.wrapping_add(1);
        } else {
            // What was counted ahead was counted for the window that is over.
            self.reserved = self.admitted;
        }
        self.turns = self.turns.wrapping_add(1);
        if let Some(extra) = &mut self.extra {
            extra.who.clear();
            extra.slot = 0;
        }
    }

    /// How many windows are over.
    #[must_use]
    pub const fn turns(&self) -> u32 {
        self.turns
    }

    pub(super) fn add(&mut self, rule: &Rule, cost: u64, caller: Caller, now: Now) {
        if cost == 0 {
            return;
        }
        let named = caller.is_named || rule.shares.is_some();
        match &rule.motion {
            Motion::Fixed(_) | Motion::Aligned { .. } => {
                if self.ends == 0 {
                    self.ends = end_of_window(rule, now).unwrap_or(0);
                }
                self.used = self.used.saturating_add(cost);
            }
            Motion::Rolling(length) => {
                let quota = self.quota(rule).map(|(quota, _)| quota);
                let extra = self.extra.get_or_insert_default();
                extra.log.add(now.steady.0, cost, caller.id, *length, quota);
                self.used = extra.log.sum();
            }
            Motion::Bucket { unit: known, .. } => {
                let limit = self.quota(rule).map_or(NONE, |(limit, _)| limit);
                // Without a quota nobody knows how fast it fills.
                let unit = if limit == NONE && known.is_none() {
                    Nanos(0)
                } else {
                    self.unit(rule)
                };
                // A bucket that is only observed can be emptied, not more.
                let empty = now.steady.after(unit.times(limit));
                let full = Steady(self.ends.max(now.steady.0)).after(unit.times(cost));
                self.ends = full.min(empty).0;
                if named {
                    self.turn_bucket(rule, now);
                }
            }
            Motion::InFlight(slow) => {
                self.used = self.used.saturating_add(cost);
                if slow.0 != 0 {
                    let starts = &mut self.extra.get_or_insert_default().starts;
                    // Those that begin at the same moment can stand for each other.
                    starts.push(now.steady.0);
                }
            }
        }
        self.own = self.own.saturating_add(cost);
        if named {
            let lent = self.lent(rule, caller.id, now);
            let extra = self.extra.get_or_insert_default();
            if extra.who_since == 0 {
                extra.who_since = now.steady.0;
            }
            extra
                .who
                .add(caller.id, cost, lent, now.steady.0, rule.shares.as_deref());
        }
    }

    /// The callers of a bucket are told for the time that it takes to fill.
    pub(super) fn turn_bucket(&mut self, rule: &Rule, now: Now) {
        let limit = self.quota(rule).map_or(1, |(limit, _)| limit);
        let whole = self.unit(rule).times(limit);
        let extra = self.extra.get_or_insert_default();
        if now.steady.since(Steady(extra.who_since)) > whole {
            extra.who.clear();
            extra.who_since = now.steady.0;
        }
    }

    /// The quota that holds, and whose it is: the user's own never gives more than the provider does.
    pub(super) fn quota(&self, rule: &Rule) -> Option<(u64, Cause)> {
        let told = (self.word().limit != NONE).then_some((self.word().limit, Cause::Told));
        let known = rule.quota.map(|quota| (quota, cause_of(rule.basis)));
        match (told, known) {
            (Some(told), Some(known)) if rule.basis == Basis::Configured && known.0 <= told.0 => {
                Some(known)
            }
            (told, known) => told.or(known),
        }
    }

    /// What is used of a quota now.
    pub(super) fn amount(&self, rule: &Rule, limit: u64, now: Now) -> u64 {
        match &rule.motion {
            Motion::Bucket { .. } => {
                let missing = Steady(self.ends).since(now.steady).0;
                // A unit that is not whole yet is still missing.
                missing.div_ceil(self.unit_for(rule, limit).0.max(1))
            }
            Motion::InFlight(slow) if slow.0 != 0 => {
                let long = now.steady.0.saturating_sub(slow.0);
                let starts = self.extra.as_ref().map_or(&[][..], |extra| &extra.starts);
                starts.iter().filter(|start| **start <= long).count() as u64
            }
            Motion::Aligned { .. } => {
                let before = self.set_back(rule, now).map_or(0, |closed| closed.used);
                self.used.saturating_add(before)
            }
            _ => self.used,
        }
    }

    /// The clock was set back into the window before this one: what was used in it is used.
    fn set_back(&self, rule: &Rule, now: Now) -> Option<Closed> {
        let closed = self.extra.as_deref()?.closed?;
        let ahead = closed.ends.checked_sub(wall(now))?;
        // A clock that was wrong by years must not stop anybody for years.
        (ahead > 0 && ahead <= rule.longest_ms()).then_some(closed)
    }

    /// What stands against a quota for certain. Where nobody knows when the window ends, only the provider's refusals stop
    /// calls: a guess could stop them for a day.
    pub(super) fn certain(&self, rule: &Rule, limit: u64, cause: Cause, now: Now) -> u64 {
        let is_told = cause == Cause::Told;
        match &rule.motion {
            Motion::Fixed(_) if self.ends == 0 => 0,
            // When others' part comes back is not known.
            Motion::Rolling(length) if is_told && *length > Nanos::from_secs(60) => self.own,
            _ => self.amount(rule, limit, now),
        }
    }

    /// When so much will be there.
    pub(super) fn fits_at(&self, rule: &Rule, cost: u64, limit: u64, now: Now) -> Until {
        let Some(room) = limit.checked_sub(cost) else {
            return Until::Never;
        };
        match &rule.motion {
            Motion::Fixed(_) => Until::At(Steady(self.ends)),
            Motion::Aligned { .. } if rule.end_is_unknown => {
                Until::At(now.steady.after(self.whole(rule)))
            }
            Motion::Aligned { .. } => {
                let before = self.set_back(rule, now).filter(|_| self.used <= room);
                let ends = before.map_or(self.ends, |closed| closed.ends);
                Until::At(now.steady_at(signed(ends)))
            }
            Motion::Rolling(length) => {
                let log = self.extra.as_ref().map(|extra| &extra.log);
                let at = log.and_then(|log| log.falls_to(room));
                Until::At(Steady(at.unwrap_or(now.steady.0)).after(*length))
            }
            Motion::Bucket { .. } => {
                let room = self.unit_for(rule, limit).times(room);
                Until::At(Steady(self.ends.saturating_sub(room.0)))
            }
            Motion::InFlight(_) => Until::Released,
        }
    }

    /// When quota comes back.
    pub(super) fn reset(&self, rule: &Rule, limit: Option<u64>, now: Now) -> Option<Steady> {
        let at = match &rule.motion {
            Motion::Fixed(_) if self.ends != 0 => Steady(self.ends),
            Motion::Fixed(length) => {
                let cap = Steady(self.word().cap_ends).max(now.steady);
                length.map_or(cap, |length| now.steady.after(length))
            }
            Motion::Aligned { .. } if rule.end_is_unknown => now.steady.after(self.whole(rule)),
            Motion::Aligned { .. } => {
                let before = self.set_back(rule, now).map(|closed| closed.ends);
                let ends = before.or((self.ends != 0).then_some(self.ends));
                now.steady_at(signed(ends.or_else(|| end_of_window(rule, now))?))
            }
            Motion::Rolling(length) => {
                let log = self.extra.as_ref().map(|extra| &extra.log);
                log.and_then(Log::oldest)
                    .map_or(now.steady, |at| Steady(at).after(*length))
            }
            Motion::Bucket { .. } => {
                let unit = self.unit_for(rule, limit?).0.max(1);
                let missing = Steady(self.ends).since(now.steady).0;
                // The next unit that is whole.
                let part = missing % unit;
                let next = if part == 0 { missing.min(unit) } else { part };
                now.steady.after(Nanos(next))
            }
            Motion::InFlight(_) => return None,
        };
        (at != now.steady || !matches!(rule.motion, Motion::Fixed(None))).then_some(at)
    }

    /// The time that a bucket needs for one unit.
    pub(super) fn unit(&self, rule: &Rule) -> Nanos {
        let limit = self.quota(rule).map_or(1, |(limit, _)| limit);
        self.unit_for(rule, limit)
    }

    pub(super) const fn unit_for(&self, rule: &Rule, limit: u64) -> Nanos {
        match &rule.motion {
            Motion::Bucket {
                unit: Some(unit), ..
            } => *unit,
            Motion::Bucket { whole, .. } => {
                Nanos(whole.0.div_ceil(if limit == 0 { 1 } else { limit }))
            }
            _ => Nanos(0),
        }
    }

    /// The next call may go when its part of the window has passed.
    pub(super) fn pace(&mut self, rule: &Rule, cost: u64, now: Now) {
        let Some((limit, _)) = self.quota(rule) else {
            return;
        };
        let left = limit.saturating_sub(self.amount(rule, limit, now)).max(1);
        let time = match &rule.motion {
            Motion::Fixed(length) if self.ends == 0 => length.unwrap_or_default(),
            Motion::Fixed(_) => Steady(self.ends).since(now.steady),
            Motion::Aligned { .. } => {
                let ends = if self.ends == 0 {
                    end_of_window(rule, now).unwrap_or(0)
                } else {
                    self.ends
                };
                now.steady_at(signed(ends)).since(now.steady)
            }
            // These give back in their own pace, which does not depend on what is left.
            Motion::Rolling(length) => Nanos(length.0 / limit.max(1) * left),
            Motion::Bucket { .. } => self.unit_for(rule, limit).times(left),
            Motion::InFlight(_) => return,
        };
        let slot = &mut self.extra.get_or_insert_default().slot;
        *slot = Steady(*slot)
            .max(now.steady)
            .after(Nanos(time.0 / left).times(cost))
            .0;
    }
}

/// When a window that begins now is over.
pub(super) fn end_of_window(rule: &Rule, now: Now) -> Option<u64> {
    match &rule.motion {
        Motion::Fixed(length) => Some(now.steady.after((*length)?).0),
        Motion::Aligned { length, zone } => {
            let boundary = window::boundary(*length, zone, now.wall())?;
            u64::try_from(boundary.as_millisecond()).ok()
        }
        _ => None,
    }
}
