//! The live state of one policy for one partition, as a pure machine: (meter, rule, now) → (meter, decision). No clock, no
//! lock, no I/O, and it cannot fail.
//!
//! [`Meter::check`] asks, [`Meter::take`] takes; between the two nobody else may have the meter, and that is the caller's
//! care ([`super::cell`]). [`Meter::observe`] is what the provider says.

mod ahead;
mod back;
mod change;
mod claims;
mod join;
mod motion;
mod observe;
mod rolling;
mod snapshot;

pub use ahead::{Promise, Tally};
pub use claims::{Caller, NOBODY, Use};
pub use observe::{Mark, Refusal, Told};
pub use snapshot::Snapshot;

use ahead::Speed;
use claims::{REST, Who};
use motion::end_of_window;
use rolling::Log;

use super::rule::{Basis, Motion, Rule};
use super::time::{Nanos, Now, Steady};
use crate::quota::Mode;

/// So long after its end a suspension is remembered, if nobody asks.
const REMEMBERED: Nanos = Nanos::from_secs(600);

/// No number: the largest, so that comparing needs no case of its own.
const NONE: u64 = u64::MAX;

/// The state of one budget. A new one has nothing used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meter {
    /// Units used in the window, those of others included; requests in flight. Of a bucket: 0, see `ends`.
    used: u64,
    /// Units of the window that headroom itself let through.
    own: u64,
    /// When the window is over; 0: none is open. On the steady clock, for windows of the calendar in milliseconds since
    /// 1970. Of a bucket: when it is full again.
    ends: u64,
    /// All that was ever let through, and all of that which was answered or given up.
    admitted: u64,
    answered: u64,
    /// How many calls were let through.
    calls: u32,
    /// Windows that are over.
    turns: u32,
    /// So much was counted ahead in the store.
    reserved: u64,
    /// What the provider said, from its first word on.
    word: Option<Box<Word>>,
    /// What only some meters need.
    extra: Option<Box<Extra>>,
}

/// A window of the calendar that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Closed {
    used: u64,
    ends: u64,
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
    /// The calendar's window before this one, in case the clock is set back into it.
    closed: Option<Closed>,
    /// The first window since its numbers mean what they mean.
    changed: u32,
    /// How fast blocks that were counted ahead are used up.
    speed: Speed,
}

/// What the provider said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    /// The limit that it told, or [`NONE`].
    limit: u64,
    /// How much may be used in this window, where it does not tell its limit, or [`NONE`].
    cap: u64,
    /// Until when `cap` is good, on the steady clock.
    cap_ends: u64,
    /// It has said that nothing goes until then; 0: it has not.
    hold: u64,
    /// Which call was the newest whose answer was taken over.
    newest: u32,
    /// Refusals without a time, one after the other.
    tries: u8,
    /// One call is finding out whether it is open again.
    probing: bool,
    /// It told something in this window.
    told: bool,
    /// The meter does not believe that so much is left as it told last.
    doubted: bool,
    /// Windows that are over and in which it told something.
    corrected: u32,
}

/// The provider said nothing.
static SILENCE: Word = Word {
    limit: NONE,
    cap: NONE,
    cap_ends: 0,
    hold: 0,
    newest: 0,
    tries: 0,
    probing: false,
    told: false,
    doubted: false,
    corrected: 0,
};

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
    /// It holds a place among the requests in flight until it has ended.
    pub permit: bool,
    /// Who called.
    pub(super) who: u64,
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
    /// What is left is what the provider told: of this window, and nothing was let through since.
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
        let word = self.word();
        if word.hold > now.steady.0 {
            add(Cause::Suspended, Until::At(Steady(word.hold)));
        } else if word.hold != 0 && word.probing {
            add(Cause::Probing, Until::Released);
        }
        // What a call costs may only be known afterwards; something must be left for it.
        let ask = cost.max(1);
        // Who finds out whether the provider is open again goes against what it said before.
        let is_open = word.hold == 0;
        if let Some((limit, cause)) = self.quota(rule)
            && (is_open || cause != Cause::Told)
            && (ask > limit || self.certain(rule, limit, cause, now).saturating_add(ask) > limit)
            && !(cause == Cause::Told && rule.soft)
        {
            add(cause, self.fits_at(rule, ask, limit, now));
        }
        if is_open
            && word.cap_ends > now.steady.0
            && !rule.soft
            && self.used.saturating_add(ask) > word.cap
        {
            add(Cause::Told, Until::At(Steady(word.cap_ends)));
        }
        if rule.pace
            && let Some(extra) = &self.extra
            && extra.slot > now.steady.0
        {
            add(Cause::Paced, Until::At(Steady(extra.slot)));
        }
        if let Some(shares) = &rule.shares
            && (cost != 0 || self.own != 0)
            && let Some(until) = self.claim(rule, shares, ask, caller.id, now)
        {
            add(Cause::Share, until);
        }
        worst.map_or(Ok(()), Err)
    }

    /// Takes so much, whether it fits or not: what is only observed can go beyond.
    pub fn take(&mut self, rule: &Rule, cost: u64, caller: Caller, now: Now) -> Taken {
        self.settle(rule, now);
        self.take_checked(rule, cost, caller, now)
    }

    /// The same, where [`Meter::check`] has just asked, at this very moment.
    pub(super) fn take_checked(
        &mut self,
        rule: &Rule,
        cost: u64,
        caller: Caller,
        now: Now,
    ) -> Taken {
        let word = self.word();
        let probe = word.hold != 0 && word.hold <= now.steady.0 && !word.probing;
        if probe {
            self.word_mut().probing = true;
        }
        if rule.pace {
            self.pace(rule, cost, now);
        }
        // Those whom nobody tells apart are one: anybody can make up credentials.
        let id = if caller.is_named || rule.shares.is_some() {
            caller.id
        } else {
            REST
        };
        self.add(rule, cost, Caller { id, ..caller }, now);
        let behind = self.in_flight();
        self.admitted = self.admitted.wrapping_add(cost);
        self.calls = self.calls.wrapping_add(1);
        Taken {
            cost,
            mark: Mark {
                after: self.admitted,
                call: self.calls,
                window: self.turns,
                at: now.steady,
                behind,
            },
            probe,
            permit: matches!(rule.motion, Motion::InFlight(_)),
            who: id,
        }
    }

    /// The state at this moment.
    #[must_use]
    pub fn standing(&mut self, rule: &Rule, now: Now) -> Standing {
        self.settle(rule, now);
        let quota = self.quota(rule);
        let limit = quota.map(|(limit, _)| limit);
        let used = match (&rule.motion, limit) {
            (Motion::Fixed(_) | Motion::Rolling(_), _) | (_, None) => self.used,
            (_, Some(limit)) => self.amount(rule, limit, now),
        };
        let mut remaining = limit.map(|limit| limit.saturating_sub(used));
        let mut cause = quota.map_or(Cause::Told, |(_, cause)| cause);
        if self.word().cap != NONE {
            let left = self.word().cap.saturating_sub(self.used);
            if remaining.is_none_or(|remaining| left <= remaining) {
                remaining = Some(left);
                cause = Cause::Told;
            }
        }
        let held = self.word().hold > now.steady.0;
        let mut reset = self.reset(rule, limit, now);
        if remaining == Some(0) {
            // Not when the first bit of it comes back, but when there is enough for a call.
            if self.word().cap_ends > now.steady.0 && self.word().cap <= self.used {
                reset = reset.max(Some(Steady(self.word().cap_ends)));
            }
            if let Some(limit) = limit
                && let Until::At(at) = self.fits_at(rule, 1, limit, now)
            {
                reset = reset.max(Some(at));
            }
        }
        if held {
            reset = Some(Steady(self.word().hold)).max(reset.filter(|_| remaining == Some(0)));
            remaining = Some(0);
            cause = Cause::Suspended;
        }
        Standing {
            limit,
            used,
            own: self.own,
            remaining,
            reset,
            suspended: held.then_some(Steady(self.word().hold)),
            cause,
            fresh: self.word().told && !self.word().doubted && self.word().newest == self.calls,
        }
    }

    /// Nothing is used, held or in flight, and nothing would be lost by forgetting it.
    #[must_use]
    pub fn is_idle(&mut self, rule: &Rule, now: Now) -> bool {
        self.is_idle_but_for_its_count(rule, now) && self.used == 0
    }

    /// The same, where what is used is told and decides nothing: no window will ever end it, and nobody knows its end.
    pub(super) fn is_idle_without_end(&mut self, rule: &Rule, now: Now) -> bool {
        self.is_idle_but_for_its_count(rule, now)
            && matches!(rule.motion, Motion::Fixed(_))
            && self.ends == 0
    }

    fn is_idle_but_for_its_count(&mut self, rule: &Rule, now: Now) -> bool {
        self.settle(rule, now);
        let hold = Steady(self.word().hold);
        // Whoever asks first after a suspension goes alone: that must not be forgotten with its end.
        (hold.0 == 0 || hold.after(REMEMBERED) <= now.steady)
            && !self.word().probing
            && (self.word().cap == NONE || self.word().cap_ends == 0)
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

    fn word(&self) -> &Word {
        self.word.as_deref().unwrap_or(&SILENCE)
    }

    fn word_mut(&mut self) -> &mut Word {
        self.word.get_or_insert_with(|| Box::new(SILENCE.clone()))
    }

    /// Forgets what is over.
    fn settle(&mut self, rule: &Rule, now: Now) {
        if let Some(word) = &mut self.word
            && word.cap_ends != 0
            && word.cap_ends <= now.steady.0
        {
            word.cap = NONE;
        }
        match &rule.motion {
            Motion::Fixed(_) => {
                if self.ends != 0 && self.ends <= now.steady.0 {
                    self.turn(rule);
                }
            }
            Motion::Aligned { .. } => {
                let wall = wall(now);
                if self.ends != 0 && self.ends <= wall {
                    let (used, ends) = (self.used, self.ends);
                    if used > 0 {
                        let extra = self.extra.get_or_insert_default();
                        extra.closed = Some(Closed { used, ends });
                    }
                    self.turn(rule);
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
