//! Simple, honest meters for a simulated provider: (meter, cost, now) → (meter, decision). Pure: time is an argument.

use std::collections::VecDeque;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::adapter::{Policy, WindowKind, WindowLength};
use crate::translate::window;

/// Requests of a rolling window that are remembered one by one; of a larger quota, thousandths of the window are.
const EXACT: u64 = 1_000;

/// What is enforced for a policy.
#[derive(Debug, Clone)]
pub struct Rule {
    /// How much there is.
    pub quota: u64,
    /// How it comes back.
    pub motion: Motion,
    /// How long everything is refused after a violation.
    pub penalty: Option<SignedDuration>,
    /// Refused requests use quota too.
    pub rejected_counts: bool,
}

/// How quota comes back.
#[derive(Debug, Clone)]
pub enum Motion {
    /// All at once, so long after the first request.
    Fixed(SignedDuration),
    /// All at once, when the clock says so.
    Aligned {
        /// From one boundary to the next.
        length: WindowLength,
        /// Whose clock.
        zone: TimeZone,
    },
    /// Each request's own, so long after it.
    Rolling(SignedDuration),
    /// One unit after the other, each taking so long.
    Bucket(SignedDuration),
    /// With the end of the request.
    InFlight,
}

impl Rule {
    /// What a policy with this quota (and window, where it is not the documented one) enforces. `None`: how its quota
    /// comes back is not documented.
    #[must_use]
    pub fn new(
        policy: &Policy,
        quota: u64,
        window: Option<WindowLength>,
        account: Option<&TimeZone>,
        now: Timestamp,
    ) -> Option<Self> {
        let length = match window {
            Some(WindowLength::Seconds(secs)) => Some(secs),
            _ => window::length_secs(policy, account, now),
        };
        let length = length
            .and_then(|secs| i64::try_from(secs).ok())
            .map(SignedDuration::from_secs);
        let motion = match (policy.kind, window.or(policy.window)) {
            (Some(WindowKind::Concurrent), _) => Motion::InFlight,
            (Some(WindowKind::Bucket), _) => Motion::Bucket(unit(policy, quota, length)?),
            // A lazy window begins with the first request after the boundary. Only requests look at these meters, so
            // that is the boundary itself.
            (Some(WindowKind::Clock | WindowKind::Lazy), Some(length)) => Motion::Aligned {
                length,
                zone: window::zone(policy, account).unwrap_or(TimeZone::UTC),
            },
            (Some(WindowKind::Rolling), _) => Motion::Rolling(length?),
            // A calendar day, week or month cannot begin with a request.
            (_, Some(length @ (WindowLength::Day | WindowLength::Week | WindowLength::Month))) => {
                Motion::Aligned {
                    length,
                    zone: window::zone(policy, account).unwrap_or(TimeZone::UTC),
                }
            }
            _ => Motion::Fixed(length?),
        };
        let penalty = policy
            .penalty_secs
            .and_then(|secs| i64::try_from(secs).ok());
        Some(Self {
            quota,
            motion,
            penalty: penalty.map(SignedDuration::from_secs),
            rejected_counts: policy.rejected_counts == Some(true),
        })
    }

    /// Takes so much, if it is there. The meter is what it was when it is not, but for the time of a penalty.
    #[must_use]
    pub fn take(&self, meter: Meter, cost: u64, now: Timestamp) -> (Meter, Decision) {
        let mut meter = self.settle(meter, now);
        if let Some(end) = meter.blocked.filter(|end| *end > now) {
            let mut standing = self.standing(&meter, now);
            standing.remaining = 0;
            standing.reset = standing.reset.max(Some(end));
            return (meter, Decision::Refused(standing, Some(end)));
        }
        if meter.used(self, now).saturating_add(cost) <= self.quota {
            self.add(&mut meter, cost, now);
            let standing = self.standing(&meter, now);
            return (meter, Decision::Admitted(standing));
        }
        let mut wait = self.fits_at(&meter, cost, now);
        if let Some(end) = self
            .penalty
            .and_then(|penalty| now.checked_add(penalty).ok())
        {
            meter.blocked = Some(end);
            wait = wait.max(Some(end));
        }
        let standing = self.standing(&meter, now);
        (meter, Decision::Refused(standing, wait))
    }

    /// The state at this moment, without taking anything.
    #[must_use]
    pub fn look(&self, meter: Meter, now: Timestamp) -> (Meter, Standing) {
        let meter = self.settle(meter, now);
        let standing = self.standing(&meter, now);
        (meter, standing)
    }

    /// Counts a request in spite of its refusal.
    #[must_use]
    pub fn count_refused(&self, meter: Meter, cost: u64, now: Timestamp) -> Meter {
        let mut meter = self.settle(meter, now);
        let room = self.quota.saturating_sub(meter.used(self, now));
        self.add(&mut meter, cost.min(room), now);
        meter
    }

    /// A request has ended.
    #[must_use]
    pub fn give_back(&self, mut meter: Meter, cost: u64) -> Meter {
        if matches!(self.motion, Motion::InFlight) {
            meter.count = meter.count.saturating_sub(cost);
        }
        meter
    }

    /// Forgets what is over.
    fn settle(&self, mut meter: Meter, now: Timestamp) -> Meter {
        match &self.motion {
            Motion::Fixed(_) | Motion::Aligned { .. } => {
                if meter.ends.is_some_and(|ends| ends <= now) {
                    meter.ends = None;
                    meter.count = 0;
                }
            }
            Motion::Rolling(length) => {
                while let Some((moment, cost)) = meter.log.front().copied() {
                    if moment.checked_add(*length).is_ok_and(|ends| ends > now) {
                        break;
                    }
                    meter.log.pop_front();
                    meter.count = meter.count.saturating_sub(cost);
                }
            }
            Motion::Bucket(_) | Motion::InFlight => {}
        }
        meter
    }

    fn add(&self, meter: &mut Meter, cost: u64, now: Timestamp) {
        if cost == 0 {
            return;
        }
        match &self.motion {
            Motion::Fixed(_) | Motion::Aligned { .. } => {
                meter.ends = meter.ends.or_else(|| self.end_of_window(now));
                meter.count += cost;
            }
            Motion::Rolling(length) => {
                meter.count += cost;
                let grain = if self.quota > EXACT {
                    SignedDuration::from_nanos_i128(length.as_nanos() / i128::from(EXACT))
                } else {
                    SignedDuration::ZERO
                };
                match meter.log.back_mut() {
                    // What is remembered together comes back with the last of it, never too early.
                    Some((moment, sum)) if now.duration_since(meter.grain) < grain => {
                        *moment = now;
                        *sum += cost;
                    }
                    _ => {
                        meter.grain = now;
                        meter.log.push_back((now, cost));
                    }
                }
            }
            Motion::Bucket(unit) => {
                let from = meter.full.max(now);
                meter.full = times(*unit, cost)
                    .and_then(|length| from.checked_add(length).ok())
                    .unwrap_or(from);
            }
            Motion::InFlight => meter.count += cost,
        }
    }

    fn end_of_window(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.motion {
            Motion::Fixed(length) => now.checked_add(*length).ok(),
            Motion::Aligned { length, zone } => window::boundary(*length, zone, now),
            _ => None,
        }
    }

    fn standing(&self, meter: &Meter, now: Timestamp) -> Standing {
        let reset = match &self.motion {
            Motion::Fixed(_) | Motion::Aligned { .. } => {
                meter.ends.or_else(|| self.end_of_window(now))
            }
            Motion::Rolling(length) => match meter.log.front() {
                Some((oldest, _)) => oldest.checked_add(*length).ok(),
                None => Some(now),
            },
            Motion::Bucket(_) => Some(meter.full.max(now)),
            Motion::InFlight => None,
        };
        Standing {
            remaining: self.quota.saturating_sub(meter.used(self, now)),
            reset,
        }
    }

    /// When so much is there. `None`: never, or when another request ends.
    fn fits_at(&self, meter: &Meter, cost: u64, now: Timestamp) -> Option<Timestamp> {
        let room = self.quota.checked_sub(cost)?;
        match &self.motion {
            Motion::Fixed(_) | Motion::Aligned { .. } => {
                meter.ends.or_else(|| self.end_of_window(now))
            }
            Motion::Rolling(length) => {
                let mut left = meter.count;
                let (last, _) = meter.log.iter().find(|(_, cost)| {
                    left = left.saturating_sub(*cost);
                    left <= room
                })?;
                last.checked_add(*length).ok()
            }
            Motion::Bucket(unit) => meter.full.checked_sub(times(*unit, room)?).ok(),
            Motion::InFlight => None,
        }
    }
}

/// The time in which a bucket gives back one unit: by its documented refill, else its quota in its window.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a quota is far below 2^52, and the quotient is bounded before it is cast"
)]
fn unit(policy: &Policy, quota: u64, length: Option<SignedDuration>) -> Option<SignedDuration> {
    let secs = match policy.refill.filter(|refill| *refill > 0.0) {
        Some(refill) => 1.0 / refill,
        None => length?.as_secs_f64() / quota.max(1) as f64,
    };
    // A year for one unit is none.
    (secs < 31_622_400.0).then(|| SignedDuration::from_nanos((secs * 1e9).ceil() as i64))
}

fn times(unit: SignedDuration, count: u64) -> Option<SignedDuration> {
    SignedDuration::try_from_nanos_i128(unit.as_nanos().checked_mul(i128::from(count))?)
}

/// What has been used of one budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meter {
    /// Used in the window, or in flight.
    count: u64,
    /// When the window is over.
    ends: Option<Timestamp>,
    /// What each moment of a rolling window used.
    log: VecDeque<(Timestamp, u64)>,
    /// When the last entry of the log was begun.
    grain: Timestamp,
    /// When a bucket is full again.
    full: Timestamp,
    /// Until when everything is refused.
    blocked: Option<Timestamp>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            count: 0,
            ends: None,
            log: VecDeque::new(),
            grain: Timestamp::MIN,
            full: Timestamp::MIN,
            blocked: None,
        }
    }
}

impl Meter {
    fn used(&self, rule: &Rule, now: Timestamp) -> u64 {
        match &rule.motion {
            Motion::Bucket(unit) => {
                let missing = self.full.max(now).duration_since(now).as_nanos();
                let unit = unit.as_nanos().max(1);
                // A unit that is not whole yet is still missing.
                let units = missing.div_euclid(unit) + i128::from(missing.rem_euclid(unit) > 0);
                u64::try_from(units).unwrap_or(u64::MAX)
            }
            _ => self.count,
        }
    }

    /// Nothing is used and nothing is blocked: the same as a new one.
    #[must_use]
    pub fn is_idle(&self, rule: &Rule, now: Timestamp) -> bool {
        let settled = rule.settle(self.clone(), now);
        settled.used(rule, now) == 0 && settled.blocked.is_none_or(|end| end <= now)
    }
}

/// The state of a budget at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What is left.
    pub remaining: u64,
    /// When quota comes back: all of a window or a bucket, the oldest request of a rolling window.
    pub reset: Option<Timestamp>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It counts; the state after it.
    Admitted(Standing),
    /// It does not fit; the state, and when it would (`None`: never, or nobody knows).
    Refused(Standing, Option<Timestamp>),
}

#[cfg(test)]
mod tests;
