//! The live state of one policy for one partition, as a pure machine: (meter, rule, now) → (meter, decision). No clock, no
//! lock, no I/O, and it cannot fail.
//!
//! [`Meter::check`] asks, [`Meter::take`] takes; between the two nobody else may have the meter, and that is the caller's
//! care ([`super::cell`]). [`Meter::observe`] is what the provider says.

mod ahead;
mod claims;
mod observe;
mod rolling;
mod snapshot;

pub use claims::{Caller, NOBODY, Use};
pub use observe::{Mark, Refusal, Told};
pub use snapshot::Snapshot;

use claims::Who;
use rolling::Log;

use super::rule::{Basis, Motion, Rule};
use super::time::{Nanos, Now, Steady};
use crate::quota::Mode;
use crate::translate::window;

/// No number: the largest, so that comparing needs no case of its own.
const NONE: u64 = u64::MAX;

/// The state of one budget. A new one has nothing used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    /// Units used in the window, those of others included; requests in flight. Of a bucket: 0, see `ends`.
    used: u64,
    /// Units of the window that headroom itself let through.
    own: u64,
    /// When the window is over; 0: none is open. On the steady clock, for windows of the calendar in milliseconds since
    /// 1970. Of a bucket: when it is full again.
    ends: u64,
    /// The limit that the provider told, or [`NONE`].
    limit: u64,
    /// How much may be used in this window by the provider's word, where it does not tell its limit, or [`NONE`].
    cap: u64,
    /// Until when `cap` is good, on the steady clock.
    cap_ends: u64,
    /// The provider has said that nothing goes until then; 0: it has not.
    hold: u64,
    /// All that was ever let through, and all of that which was answered or given up.
    admitted: u64,
    answered: u64,
    /// How many calls were let through, and which of them was the newest whose answer was taken over.
    calls: u32,
    newest: u32,
    /// Windows that are over.
    turns: u32,
    /// So much was counted ahead in the store.
    reserved: u64,
    /// Refusals without a time, one after the other.
    tries: u8,
    /// One call is finding out whether the provider is open again.
    probing: bool,
    /// The provider told something in this window.
    told: bool,
    /// What only some meters need.
    extra: Option<Box<Extra>>,
}

/// What only some meters need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Extra {
    /// Of rolling windows.
    log: Log,
    /// Of concurrency that counts slow calls only: when the calls in flight began.
    starts: Vec<u64>,
    /// Who used how much.
    who: Who,
    /// Since when `who` is known.
    who_since: u64,
    /// When the next call of a paced connection may go.
    slot: u64,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            used: 0,
            own: 0,
            ends: 0,
            limit: NONE,
            cap: NONE,
            cap_ends: 0,
            hold: 0,
            admitted: 0,
            answered: 0,
            calls: 0,
            newest: 0,
            turns: 0,
            reserved: 0,
            tries: 0,
            probing: false,
            told: false,
            extra: None,
        }
    }
}

/// Why a call cannot go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Obstacle {
    /// Whose limit it is.
    pub cause: Cause,
    /// When it will be gone.
    pub until: Until,
}

/// When an obstacle will be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// At this moment.
    At(Steady),
    /// When another call ends. Nobody knows when.
    Released,
    /// Never: the call costs more than there is.
    Never,
}

/// Whose limit an obstacle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The provider refused, and asked to wait.
    Suspended,
    /// A call is finding out whether the provider is open again.
    Probing,
    /// The provider told what is left.
    Told,
    /// The provider documents it for everyone.
    Documented,
    /// The provider documents it for the configured plan.
    Plan,
    /// The user configured it.
    Configured,
    /// What is left belongs to others, or the caller has a cap.
    Share,
    /// Calls are spread over the window.
    Paced,
    /// Others came first.
    Queued,
}

impl Cause {
    /// Without the user's word it is only counted and told.
    #[must_use]
    pub const fn is_observed_by_default(self) -> bool {
        matches!(self, Self::Documented)
    }

    /// Whether it stops a call, by the mode of the rule.
    #[must_use]
    pub fn is_enforced(self, rule: &Rule) -> bool {
        match rule.mode {
            Some(Mode::Observe) => false,
            Some(Mode::Enforce | Mode::Wait) => true,
            None => !self.is_observed_by_default(),
        }
    }
}

/// What was taken, for giving it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// So much.
    pub cost: u64,
    /// Where it stands among all calls.
    pub mark: Mark,
    /// It finds out whether the provider is open again.
    pub probe: bool,
    /// When it began, where that matters.
    start: u64,
    who: u64,
}

/// The state at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The quota that holds.
    pub limit: Option<u64>,
    /// Used in the window, those of others included, as far as that is known.
    pub used: u64,
    /// Let through by headroom itself.
    pub own: u64,
    /// What is left.
    pub remaining: Option<u64>,
    /// When quota comes back.
    pub reset: Option<Steady>,
    /// Until when the provider wants no call.
    pub suspended: Option<Steady>,
    /// Whose limit it is.
    pub cause: Cause,
    /// The provider told something of this window, and nothing was let through since.
    pub fresh: bool,
}

impl Meter {
    /// Whether so much may be taken now; if not, why. Obstacles that the rule's mode only observes are none.
    pub fn check(
        &mut self,
        rule: &Rule,
        cost: u64,
        caller: Caller,
        now: Now,
    ) -> Result<(), Obstacle> {
        self.settle(rule, now);
        let mut worst: Option<Obstacle> = None;
        let mut add = |cause: Cause, until: Until| {
            if cause.is_enforced(rule) && worst.is_none_or(|worst| until > worst.until) {
                worst = Some(Obstacle { cause, until });
            }
        };
        let held = self.hold > now.steady.0;
        if held {
            add(Cause::Suspended, Until::At(Steady(self.hold)));
        } else if self.hold != 0 && self.probing {
            add(Cause::Probing, Until::Released);
        }
        // What a call costs may only be known afterwards; something must be left for it.
        let ask = cost.max(1);
        // Who finds out whether the provider is open again goes against what it said before.
        let is_open = self.hold == 0;
        if let Some((limit, cause)) = self.quota(rule)
            && (is_open || cause != Cause::Told)
            && (ask > limit || self.certain(rule, limit, cause, now).saturating_add(ask) > limit)
            && !(cause == Cause::Told && rule.soft)
        {
            add(cause, self.fits_at(rule, ask, limit, now));
        }
        if is_open
            && self.cap_ends > now.steady.0
            && !rule.soft
            && self.used.saturating_add(ask) > self.cap
        {
            add(Cause::Told, Until::At(Steady(self.cap_ends)));
        }
        if let Some(extra) = &self.extra
            && rule.pace
            && extra.slot > now.steady.0
        {
            add(Cause::Paced, Until::At(Steady(extra.slot)));
        }
        if !rule.shares.is_empty()
            && cost != 0
            && let Some(until) = self.claim(rule, cost, caller.id, now)
        {
            add(Cause::Share, until);
        }
        worst.map_or(Ok(()), Err)
    }

    /// Takes so much, whether it fits or not: what is only observed can go beyond.
    pub fn take(&mut self, rule: &Rule, cost: u64, caller: Caller, now: Now) -> Taken {
        self.settle(rule, now);
        let probe = self.hold != 0 && self.hold <= now.steady.0 && !self.probing;
        self.probing |= probe;
        if rule.pace {
            self.pace(rule, cost, now);
        }
        let start = self.add(rule, cost, caller, now);
        self.admitted = self.admitted.wrapping_add(cost);
        self.calls = self.calls.wrapping_add(1);
        Taken {
            cost,
            mark: Mark {
                after: self.admitted,
                call: self.calls,
                window: self.turns,
                at: now.steady,
            },
            probe,
            start,
            who: caller.id,
        }
    }

    /// Gives back what was taken for a call that never reached the provider, or that it refused without counting it.
    pub fn refund(&mut self, rule: &Rule, taken: &Taken, now: Now) {
        self.settle(rule, now);
        if taken.cost == 0 {
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
    const fn has_told(&self, mark: Mark) -> bool {
        self.told && self.newest == mark.call
    }

    /// If the call that opened a fixed window never came to the provider, the provider's window began with a later one, now
    /// at the latest, or not yet.
    fn begin_later(&mut self, rule: &Rule, at: Steady, now: Now) {
        if let Motion::Fixed(Some(length)) = &rule.motion
            && !self.told
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
        if matches!(rule.motion, Motion::InFlight(_)) {
            self.used = self.used.saturating_sub(taken.cost);
            self.own = self.own.saturating_sub(taken.cost);
            if let Some(extra) = &mut self.extra {
                if let Some(at) = extra.starts.iter().position(|start| *start == taken.start) {
                    extra.starts.remove(at);
                }
                extra.who.give_back(taken.who, taken.cost);
            }
        }
    }

    /// The state at this moment.
    #[must_use]
    pub fn standing(&mut self, rule: &Rule, now: Now) -> Standing {
        self.settle(rule, now);
        let quota = self.quota(rule);
        let limit = quota.map(|(limit, _)| limit);
        let used = match (&rule.motion, limit) {
            (Motion::Bucket { .. }, Some(limit)) => self.amount(rule, limit, now),
            (Motion::InFlight(_), Some(limit)) => self.amount(rule, limit, now),
            _ => self.used,
        };
        let mut remaining = limit.map(|limit| limit.saturating_sub(used));
        let mut cause = quota.map_or(Cause::Told, |(_, cause)| cause);
        if self.cap != NONE {
            let left = self.cap.saturating_sub(self.used);
            if remaining.is_none_or(|remaining| left <= remaining) {
                remaining = Some(left);
                cause = Cause::Told;
            }
        }
        let held = self.hold > now.steady.0;
        let mut reset = self.reset(rule, limit, now);
        if remaining == Some(0) {
            // Not when the first bit of it comes back, but when there is enough for a call.
            if self.cap_ends > now.steady.0 && self.cap <= self.used {
                reset = reset.max(Some(Steady(self.cap_ends)));
            }
            if let Some(limit) = limit
                && let Until::At(at) = self.fits_at(rule, 1, limit, now)
            {
                reset = reset.max(Some(at));
            }
        }
        if held {
            reset = Some(Steady(self.hold)).max(reset.filter(|_| remaining == Some(0)));
            remaining = Some(0);
            cause = Cause::Suspended;
        }
        Standing {
            limit,
            used,
            own: self.own,
            remaining,
            reset,
            suspended: held.then_some(Steady(self.hold)),
            cause,
            fresh: self.told && self.newest == self.calls,
        }
    }

    /// Nothing is used, held or in flight, and nothing would be lost by forgetting it.
    #[must_use]
    pub fn is_idle(&mut self, rule: &Rule, now: Now) -> bool {
        self.settle(rule, now);
        self.hold <= now.steady.0
            && !self.probing
            && self.used == 0
            && (self.cap == NONE || self.cap_ends == 0)
            && self.admitted == self.answered
            && (!matches!(rule.motion, Motion::Bucket { .. }) || self.ends <= now.steady.0)
    }

    /// What has been let through and not been answered.
    #[must_use]
    pub const fn in_flight(&self) -> u64 {
        self.admitted.wrapping_sub(self.answered)
    }

    /// Everyone who used something in this window, and how much.
    pub fn users(&self) -> impl Iterator<Item = Use> + '_ {
        self.extra.iter().flat_map(|extra| extra.who.iter())
    }

    /// Forgets what is over.
    fn settle(&mut self, rule: &Rule, now: Now) {
        if self.cap != NONE && self.cap_ends <= now.steady.0 && self.cap_ends != 0 {
            self.cap = NONE;
        }
        match &rule.motion {
            Motion::Fixed(_) => {
                if self.ends != 0 && self.ends <= now.steady.0 {
                    self.turn();
                }
            }
            Motion::Aligned { .. } => {
                let wall = wall(now);
                if self.ends != 0 && self.ends <= wall {
                    self.turn();
                    // The next one is open at once: if the clock is set back, the old one is not granted again.
                    self.ends = end_of_window(rule, now).unwrap_or(0);
                } else if self.ends.saturating_sub(wall) > rule.longest_ms() {
                    // The clock was set back by more than a window. What was used stays used until the end of this one.
                    self.ends = end_of_window(rule, now).unwrap_or(0);
                }
            }
            Motion::Rolling(length) => {
                if let Some(extra) = &mut self.extra
                    && let Some(gone) = now.steady.0.checked_sub(length.0)
                {
                    extra.log.forget(gone, &mut extra.who);
                    self.used = extra.log.sum();
                    self.own = extra.log.own();
                }
            }
            Motion::Bucket { .. } => {
                if self.ends <= now.steady.0 {
                    self.ends = 0;
                    self.own = 0;
                }
            }
            Motion::InFlight(_) => {}
        }
    }

    /// A window is over.
    fn turn(&mut self) {
        self.used = 0;
        self.own = 0;
        self.ends = 0;
        self.cap = NONE;
        self.told = false;
        // What was counted ahead was counted for the window that is over.
        self.reserved = self.admitted;
        self.turns = self.turns.wrapping_add(1);
        if let Some(extra) = &mut self.extra {
            extra.who.clear();
            extra.slot = 0;
        }
    }

    fn add(&mut self, rule: &Rule, cost: u64, caller: Caller, now: Now) -> u64 {
        let mut start = 0;
        if cost == 0 {
            return start;
        }
        let named = caller.is_named || !rule.shares.is_empty();
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
                    start = now.steady.0;
                    starts.push(start);
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
                .add(caller.id, cost, lent, now.steady.0, &rule.shares);
        }
        start
    }

    /// The callers of a bucket are told for the time that it takes to fill.
    fn turn_bucket(&mut self, rule: &Rule, now: Now) {
        let limit = self.quota(rule).map_or(1, |(limit, _)| limit);
        let whole = self.unit(rule).times(limit);
        let extra = self.extra.get_or_insert_default();
        if now.steady.since(Steady(extra.who_since)) > whole {
            extra.who.clear();
            extra.who_since = now.steady.0;
        }
    }

    /// The quota that holds, and whose it is: the user's own never gives more than the provider does.
    fn quota(&self, rule: &Rule) -> Option<(u64, Cause)> {
        let told = (self.limit != NONE).then_some((self.limit, Cause::Told));
        let known = rule.quota.map(|quota| (quota, cause_of(rule.basis)));
        match (told, known) {
            (Some(told), Some(known)) if rule.basis == Basis::Configured && known.0 <= told.0 => {
                Some(known)
            }
            (told, known) => told.or(known),
        }
    }

    /// What is used of a quota now.
    fn amount(&self, rule: &Rule, limit: u64, now: Now) -> u64 {
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
            _ => self.used,
        }
    }

    /// What stands against a quota for certain. Where nobody knows when the window ends, only the provider's refusals stop
    /// calls: a guess could stop them for a day.
    fn certain(&self, rule: &Rule, limit: u64, cause: Cause, now: Now) -> u64 {
        let is_told = cause == Cause::Told;
        match &rule.motion {
            Motion::Fixed(_) if self.ends == 0 => 0,
            // When others' part comes back is not known.
            Motion::Rolling(length) if is_told && *length > Nanos::from_secs(60) => self.own,
            _ => self.amount(rule, limit, now),
        }
    }

    /// When so much will be there.
    fn fits_at(&self, rule: &Rule, cost: u64, limit: u64, now: Now) -> Until {
        let Some(room) = limit.checked_sub(cost) else {
            return Until::Never;
        };
        match &rule.motion {
            Motion::Fixed(_) => Until::At(Steady(self.ends)),
            Motion::Aligned { .. } => Until::At(now.steady_at(signed(self.ends))),
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
    fn reset(&self, rule: &Rule, limit: Option<u64>, now: Now) -> Option<Steady> {
        let at = match &rule.motion {
            Motion::Fixed(_) if self.ends != 0 => Steady(self.ends),
            Motion::Fixed(length) => {
                let cap = Steady(self.cap_ends).max(now.steady);
                length.map_or(cap, |length| now.steady.after(length))
            }
            Motion::Aligned { .. } => {
                let ends = (self.ends != 0).then_some(self.ends);
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
    fn unit(&self, rule: &Rule) -> Nanos {
        let limit = self.quota(rule).map_or(1, |(limit, _)| limit);
        self.unit_for(rule, limit)
    }

    const fn unit_for(&self, rule: &Rule, limit: u64) -> Nanos {
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
    fn pace(&mut self, rule: &Rule, cost: u64, now: Now) {
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
fn end_of_window(rule: &Rule, now: Now) -> Option<u64> {
    match &rule.motion {
        Motion::Fixed(length) => Some(now.steady.after((*length)?).0),
        Motion::Aligned { length, zone } => {
            let boundary = window::boundary(*length, zone, now.wall())?;
            u64::try_from(boundary.as_millisecond()).ok()
        }
        _ => None,
    }
}

fn wall(now: Now) -> u64 {
    u64::try_from(now.wall_ms).unwrap_or(0)
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

const fn cause_of(basis: Basis) -> Cause {
    match basis {
        Basis::Documented => Cause::Documented,
        Basis::Plan => Cause::Plan,
        Basis::Configured => Cause::Configured,
    }
}
