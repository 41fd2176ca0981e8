//! What is enforced, and what has been used of it: the ledger's own rules and meters, with what only the provider decides.
//! Pure: no clock, no socket.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::adapter::terms::Terms;
use crate::adapter::{Policy, WindowKind, WindowLength};
use crate::ledger::meter::{Caller, Cause, Meter, Obstacle, Refusal, Standing, Taken, Until};
use crate::ledger::rule::{Motion, Rule, Wishes};
use crate::quota::Mode;
use crate::time::{Nanos, Now, Steady};
use crate::translate::window;

/// The most budgets that one simulation keeps: a caller with ever new paths must not fill the memory.
const MOST: usize = 10_000;

/// A provider does not tell the callers of one budget from each other.
const CALLER: Caller = Caller {
    id: 1,
    is_named: false,
};

/// What a simulated provider enforces of one policy.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) rule: Rule,
    pub(super) quota: u64,
    /// The length of its window in seconds, for telling it.
    pub(super) window_secs: Option<u64>,
}

impl Held {
    /// The policy (the `index`-th of its adapter) on these terms, with a window where the account has one of its own.
    /// `None`: its quota or how it comes back is not documented.
    pub(super) fn new(
        policy: &Policy,
        index: usize,
        terms: &Terms,
        own_secs: Option<u64>,
        now: Timestamp,
    ) -> Option<Self> {
        let wishes = Wishes {
            mode: Some(Mode::Enforce),
            ..Wishes::default()
        };
        let mut rule = Rule::new(policy, index, terms, &wishes);
        let account = terms.zone.as_ref();
        if let Some(secs) = own_secs {
            rule.motion = own_window(policy, secs, account);
        } else if let (None, Motion::Rolling(length)) = (policy.kind, &rule.motion) {
            // The gateway takes the strictest reading of a window that nobody describes. A provider that says "100 in a
            // minute" and no more mostly counts in a counter that expires.
            rule.motion = Motion::Fixed(Some(*length));
        }
        if matches!(rule.motion, Motion::Fixed(None)) {
            return None;
        }
        Some(Self {
            quota: rule.quota?,
            window_secs: own_secs.or_else(|| window::length_secs(policy, account, now)),
            rule,
        })
    }

    fn is_in_flight(&self) -> bool {
        matches!(self.rule.motion, Motion::InFlight(_))
    }

    /// What is in the way of a call; what costs nothing is stopped by a penalty alone.
    fn obstacle(&self, meter: &mut Meter, cost: u64, now: Now) -> Option<Obstacle> {
        if cost > 0 {
            return meter.check(&self.rule, cost, CALLER, now).err();
        }
        let suspended = meter.standing(&self.rule, now).suspended?;
        Some(Obstacle {
            cause: Cause::Suspended,
            until: Until::At(suspended),
        })
    }

    fn take(&self, meter: &mut Meter, cost: u64, now: Now) -> Taken {
        let taken = meter.take(&self.rule, cost, CALLER, now);
        if taken.probe {
            // When a penalty is over, a provider is open for everyone. Careful steps are the gateway's.
            meter.opened(true);
            meter.finish(0, true);
        }
        taken
    }

    /// The call is refused, whoever refuses it: it may count all the same, and whoever asks too much is locked out.
    fn refuse(&self, meter: &mut Meter, cost: u64, obstacle: Option<Obstacle>, now: Now) {
        if cost > 0 && self.rule.rejected_counts == Some(true) && !self.is_in_flight() {
            let taken = self.take(meter, cost, now);
            meter.finish(taken.cost, false);
        }
        let asks_too_much = obstacle.is_some_and(|obstacle| obstacle.cause != Cause::Suspended);
        if let Some(penalty) = self.rule.penalty.filter(|_| asks_too_much) {
            let refusal = Refusal {
                wait_secs: Some(penalty.ceil_secs()),
                random: 0,
            };
            meter.refused(&self.rule, &refusal, now);
        }
    }

    /// When all is there again. Meters tell of a bucket when the next unit is; the headers of providers, when it is full.
    fn full_at(&self, standing: &Standing) -> Option<Steady> {
        let reset = standing.reset?;
        let Motion::Bucket { unit, whole } = &self.rule.motion else {
            return Some(reset);
        };
        let unit = unit.unwrap_or(Nanos(whole.0.div_ceil(self.quota.max(1))));
        Some(reset.after(unit.times(standing.used.saturating_sub(1))))
    }
}

/// How quota comes back in a window that is not the documented one.
fn own_window(policy: &Policy, secs: u64, account: Option<&TimeZone>) -> Motion {
    let length = Nanos::from_secs(secs);
    match policy.kind {
        Some(WindowKind::Concurrent) => {
            Motion::InFlight(Nanos::from_secs(policy.slower_than_secs.unwrap_or(0)))
        }
        Some(WindowKind::Bucket) => Motion::Bucket {
            unit: None,
            whole: length,
        },
        Some(WindowKind::Rolling) => Motion::Rolling(length),
        Some(WindowKind::Clock | WindowKind::Lazy) => Motion::Aligned {
            length: WindowLength::Seconds(secs),
            zone: window::zone(policy, account).unwrap_or(TimeZone::UTC),
        },
        Some(WindowKind::Fixed) | None => Motion::Fixed(Some(length)),
    }
}

/// A policy (an index) and whose budget of it.
type Key = (usize, u128);

/// What a call wants of one policy.
pub(super) struct Want<'a> {
    pub(super) held: &'a Held,
    pub(super) policy: usize,
    pub(super) partition: u128,
    /// 0: the policy does not count the call, but its answer tells of it.
    pub(super) cost: u64,
}

/// What became of a call.
pub(super) struct Outcome {
    /// For each want, the state after it, and when quota comes back.
    pub(super) standings: Vec<(Standing, Option<Timestamp>)>,
    /// The policy that refused, and when there is room again.
    pub(super) refused: Option<(usize, Option<Timestamp>)>,
    /// What has to be given back when the call ends.
    pub(super) permits: Vec<Permit>,
}

/// What a call holds of one budget until it ends.
#[derive(Debug)]
pub(super) struct Permit {
    key: Key,
    taken: Taken,
}

/// The budgets of one simulated provider.
#[derive(Debug, Clone, Default)]
pub struct Budgets(HashMap<Key, Meter>);

impl Budgets {
    /// Takes what the call wants, if all of it is there; else nothing of it.
    pub(super) fn admit(
        &mut self,
        wants: &[Want<'_>],
        rules: &[Option<Held>],
        now: Now,
    ) -> Outcome {
        let keys: Vec<Key> = wants
            .iter()
            .map(|want| self.seat((want.policy, want.partition), rules, now))
            .collect();
        let mut obstacles: Vec<Option<Obstacle>> = Vec::new();
        for (want, key) in wants.iter().zip(&keys) {
            let meter = self.0.entry(*key).or_default();
            obstacles.push(want.held.obstacle(meter, want.cost, now));
        }
        let is_refused = obstacles.iter().any(Option::is_some);
        let mut outcome = Outcome {
            standings: Vec::new(),
            refused: None,
            permits: Vec::new(),
        };
        for ((want, key), obstacle) in wants.iter().zip(&keys).zip(obstacles) {
            let held = want.held;
            let meter = self.0.entry(*key).or_default();
            let mut wait = None;
            if is_refused {
                held.refuse(meter, want.cost, obstacle, now);
            } else {
                let taken = held.take(meter, want.cost, now);
                outcome.permits.push(Permit { key: *key, taken });
            }
            if let Some(before) = obstacle {
                // What the refusal itself has used, or the penalty, comes on top.
                let after = held.obstacle(meter, want.cost, now).unwrap_or(before);
                if let Until::At(moment) = after.until {
                    wait = Some(moment);
                }
                let refused = (want.policy, wait.and_then(|moment| at(moment, now)));
                // Who waits for the longest has waited for all.
                if outcome.refused.is_none_or(|other| refused.1 >= other.1) {
                    outcome.refused = Some(refused);
                }
            }
            let standing = meter.standing(&held.rule, now);
            let reset = held.full_at(&standing);
            let reset = reset.map(|reset| wait.map_or(reset, |wait| wait.max(reset)));
            let reset = reset.and_then(|moment| at(moment, now));
            outcome.standings.push((standing, reset));
        }
        outcome
    }

    /// The call has ended.
    pub(super) fn finish(&mut self, permits: &[Permit], rules: &[Option<Held>]) {
        for Permit { key, taken } in permits {
            let held = rules.get(key.0).and_then(Option::as_ref);
            if let (Some(held), Some(meter)) = (held, self.0.get_mut(key)) {
                meter.finish(taken.cost, false);
                meter.release(&held.rule, taken);
            }
        }
    }

    /// The least that is left of this policy to anyone who has used it.
    pub(super) fn left(&mut self, policy: usize, held: &Held, now: Now) -> u64 {
        let of_policy = self.0.iter_mut().filter(|((index, _), _)| *index == policy);
        let left = of_policy.filter_map(|(_, meter)| meter.standing(&held.rule, now).remaining);
        left.min().unwrap_or(held.quota)
    }

    /// Where a budget is kept. A full house forgets what is idle, and then strangers share one budget.
    fn seat(&mut self, key: Key, rules: &[Option<Held>], now: Now) -> Key {
        if self.0.len() < MOST || self.0.contains_key(&key) {
            return key;
        }
        self.0.retain(|(index, _), meter| {
            let held = rules.get(*index).and_then(Option::as_ref);
            held.is_some_and(|held| !meter.is_idle(&held.rule, now))
        });
        if self.0.len() < MOST { key } else { (key.0, 0) }
    }
}

/// What nobody has used yet.
pub(super) fn untouched(held: &Held, now: Now) -> (Standing, Option<Timestamp>) {
    let standing = Meter::default().standing(&held.rule, now);
    let reset = held.full_at(&standing);
    (standing, reset.and_then(|moment| at(moment, now)))
}

/// What the wall clock shows at this moment.
fn at(moment: Steady, now: Now) -> Option<Timestamp> {
    Timestamp::from_millisecond(now.wall_at(moment)).ok()
}
