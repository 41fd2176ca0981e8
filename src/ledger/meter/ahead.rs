//! Counting ahead in the store, so that a process that is killed never forgets a call.
//!
//! What was counted for a window is worth nothing in the next, which the store has to hear of before its first call. But where
//! the provider tells what is left, its next answer corrects whatever a killed process forgot, and the store hears of the new
//! window with the next flush: else a provider whose windows are short, or whose clock is behind so that each of them seems
//! over as soon as it is told, would make each call wait for a disk.
//!
//! The next block is counted while half of the last one is left, so calls do not wait for the disk. Where blocks are used up
//! fast they become larger, else a busy meter would write hundreds of times a second; when it is quiet again what it has too
//! much is given back.
//!
//! A call that uses what was counted ahead changes nothing that a restart needs: what is left of the block counts as used
//! then, so the sum is the same. Its row is written again when that is not so any more ([`Tally`]), or when it is quiet.

use std::num::NonZeroU64;

use super::{Cause, Meter, NONE};
use crate::ledger::rule::{Motion, Rule};
use crate::ledger::time::{Nanos, Now, Steady};

/// Smaller blocks are not counted before they are needed: their meters are those of small quotas, of which nothing is to seem
/// used that is not.
const SMALL: u64 = 8;

/// A block that is used up within so long is followed by one of twice its size, up to [`MOST_STEPS`] times;
const FAST: Nanos = Nanos::from_millis(200);

/// after one that has lasted so long comes one of half its size.
const SLOW: Nanos = Nanos::from_millis(800);

/// Blocks become sixteen times as large as configured at the most.
const MOST_STEPS: u8 = 4;

/// A meter that has used up no block for so long is quiet.
const QUIET: Nanos = Nanos::from_secs(1);

/// How fast blocks are used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Speed {
    /// When one was last counted before it was needed.
    last: Steady,
    /// How often the size of blocks was doubled.
    steps: u8,
    /// How often something was given back, in so far as it matters for promises that are on their way.
    given_back: u8,
}

/// What the store will have counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// Up to this, of all that was ever let through.
    covers: u64,
    /// For this window and those that follow one that the provider spoke of.
    window: u32,
    /// Nothing was given back since: a row that says so may be stored after this one.
    given_back: u8,
}

/// What a row says of a window of which only headroom counts the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    used: u64,
    ahead: u64,
    /// On the meter's own clock.
    ends: NonZeroU64,
}

impl Tally {
    /// A process that is killed now leaves the same behind with a row of then as with one of now, but for whose calls they
    /// were.
    #[must_use]
    pub const fn is_as_good_as(&self, now: &Self) -> bool {
        self.ends.get() == now.ends.get()
            && self.used.saturating_add(self.ahead) == now.used.saturating_add(now.ahead)
    }
}

impl Meter {
    /// What a row of now says, where so much is counted ahead. `None`: the provider has had its say, or no window is open, or
    /// what is used comes back bit by bit; then the row has to be a new one whatever has happened.
    #[must_use]
    pub fn tally(&self, rule: &Rule, ahead: u64) -> Option<Tally> {
        let counts = matches!(rule.motion, Motion::Fixed(_) | Motion::Aligned { .. });
        let ends = NonZeroU64::new(self.ends).filter(|_| counts && self.word.is_none())?;
        Some(Tally {
            used: self.used,
            ahead,
            ends,
        })
    }

    /// The store has counted so much already.
    #[must_use]
    pub const fn is_covered(&self, cost: u64) -> bool {
        self.admitted.wrapping_add(cost) <= self.reserved
    }

    /// How much is to be counted ahead, beside a snapshot taken now: small parts of small quotas. Where the provider tells
    /// what is left, its next answer puts right what was counted too much, so it may be a larger part of that.
    #[must_use]
    pub fn block(&self, rule: &Rule, cost: u64, now: Now) -> u64 {
        let wanted = self.wanted(rule);
        let quota = self.quota(rule);
        let part = quota.map_or(rule.block, |(quota, _)| quota / 64);
        let of_left = self.told_left(rule, now).map_or(0, |left| left / 8);
        wanted.min(part.max(of_left)).max(cost).max(1)
    }

    /// What is left by the provider's word, where that is what holds.
    fn told_left(&self, rule: &Rule, now: Now) -> Option<u64> {
        let quota = self.quota(rule);
        if !self.word().told || matches!(quota, Some((_, Cause::Configured))) {
            return None;
        }
        let of_quota = quota.map(|(limit, _)| limit.saturating_sub(self.amount(rule, limit, now)));
        let cap = self.word().cap;
        let of_cap = (cap != NONE).then(|| cap.saturating_sub(self.used));
        of_quota.into_iter().chain(of_cap).min()
    }

    /// Of a block that was counted ahead less than half is left, and the next should be counted before it is needed: so
    /// much.
    #[must_use]
    pub fn next_block(&self, rule: &Rule, now: Now) -> Option<u64> {
        if self.ahead() > self.wanted(rule) / 2 {
            return None;
        }
        let block = self.block(rule, 1, now);
        (block >= SMALL && self.ahead() <= block / 2).then_some(block)
    }

    /// A block is counted before it is needed.
    pub fn hurry(&mut self, now: Now) {
        let speed = &mut self.extra.get_or_insert_default().speed;
        let lasted = now.steady.since(speed.last);
        if lasted < FAST {
            speed.steps = (speed.steps + 1).min(MOST_STEPS);
        } else if lasted > SLOW {
            speed.steps = speed.steps.saturating_sub(1);
        }
        speed.last = now.steady;
    }

    /// Where it has been quiet since its blocks became large they become smaller, and what was counted too much is given back
    /// with a snapshot taken now, if nothing is on its way that would cover it again. Whether blocks are still large.
    pub fn relax(&mut self, rule: &Rule, may_give_back: bool, now: Now) -> bool {
        let Some(extra) = &mut self.extra else {
            return false;
        };
        let speed = &mut extra.speed;
        if speed.steps == 0 {
            return false;
        }
        if now.steady.since(speed.last) > QUIET {
            speed.steps -= 1;
            let block = self.block(rule, 1, now);
            if may_give_back && self.ahead() > block {
                self.reserved = self.admitted.wrapping_add(block);
                let speed = &mut self.extra.get_or_insert_default().speed;
                speed.given_back = speed.given_back.wrapping_add(1);
            }
        }
        self.speed().steps > 0
    }

    /// Gives back all that was counted ahead, with a snapshot taken now. Whether there was anything.
    pub fn give_back_ahead(&mut self) -> bool {
        let is_some = self.ahead() > 0;
        if is_some {
            self.reserved = self.admitted;
            let speed = &mut self.extra.get_or_insert_default().speed;
            speed.given_back = speed.given_back.wrapping_add(1);
        }
        is_some
    }

    /// So much is about to be stored beside a snapshot taken now.
    #[must_use]
    pub fn promise(&self, ahead: u64) -> Promise {
        Promise {
            covers: self.admitted.wrapping_add(ahead),
            window: self.uncorrected(),
            given_back: self.speed().given_back,
        }
    }

    /// It is stored. If its window is over meanwhile, it is worth nothing.
    pub fn cover(&mut self, promise: Promise) {
        if promise.window == self.uncorrected() && promise.given_back == self.speed().given_back {
            self.reserved = self.reserved.max(promise.covers);
        }
    }

    /// How much is counted ahead of a large quota.
    fn wanted(&self, rule: &Rule) -> u64 {
        rule.block.saturating_mul(1 << self.speed().steps)
    }

    fn speed(&self) -> Speed {
        self.extra
            .as_ref()
            .map_or_else(Speed::default, |extra| extra.speed)
    }

    /// Windows that are over and that the provider did not speak of.
    fn uncorrected(&self) -> u32 {
        self.turns.wrapping_sub(self.word().corrected)
    }

    /// The provider tells what is left, and that is what holds: not a quota of the user's own below it, which nobody else
    /// counts.
    pub(super) fn is_corrected(&self, rule: &Rule) -> bool {
        self.word().told
            && matches!(rule.motion, Motion::Fixed(_))
            && !matches!(self.quota(rule), Some((_, Cause::Configured)))
    }

    /// What was ever let through.
    #[must_use]
    pub const fn admitted(&self) -> u64 {
        self.admitted
    }

    /// What was ever let through or may be without asking the store again.
    #[must_use]
    pub const fn reserved(&self) -> u64 {
        self.reserved
    }

    /// What the store has counted and the meter has not.
    #[must_use]
    pub const fn ahead(&self) -> u64 {
        self.reserved.saturating_sub(self.admitted)
    }
}
