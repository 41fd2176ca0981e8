//! What a call took, from its admission to the last byte of its answer. However the call ends, nothing is leaked.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Item;
use super::cell::{Cell, Few, Inner, Shared};
use super::lookout;
use super::meter::{Caller, Refusal, Standing, Taken, Told};
use super::rule::{Motion, Rule};
use super::time::{Nanos, Now};
use crate::adapter::Adapter;
use crate::quota::ServiceLimit;
use crate::translate::{Spoken, Translation};

/// A call that was let through.
pub struct Ticket {
    held: Few<Held>,
    answered: bool,
    /// How long it waited for its quota.
    pub waited: Nanos,
}

/// What it took of one meter.
struct Held {
    policy: usize,
    cell: Arc<Cell>,
    taken: Taken,
}

/// The state of one policy after an answer, or at a refusal.
#[derive(Debug, Clone)]
pub struct State {
    /// The policy, as an index into the adapter's.
    pub policy: usize,
    /// What its meter is held to.
    pub rule: Arc<Rule>,
    /// What it says.
    pub standing: Standing,
    /// Counting means something: what the call cost is known, or what calls before it did.
    pub counts: bool,
}

impl State {
    /// For everybody, or for one caller, who may use less.
    pub(super) fn of(
        inner: &mut Inner,
        policy: usize,
        counts: bool,
        caller: Option<u64>,
        now: Now,
    ) -> Self {
        let Inner { meter, rule, .. } = inner;
        let standing = match caller {
            Some(caller) => meter.standing_for(rule, caller, now),
            None => meter.standing(rule, now),
        };
        Self {
            policy,
            rule: Arc::clone(rule),
            standing,
            counts: counts || standing.used > 0,
        }
    }
}

impl Ticket {
    /// What a call took of its only meter.
    pub(super) fn one(policy: usize, cell: Arc<Cell>, taken: Taken) -> Self {
        let mut held = Few::new();
        held.push(Held {
            policy,
            cell,
            taken,
        });
        Self {
            held,
            answered: false,
            waited: Nanos(0),
        }
    }

    /// Nothing that all calls share is counted here: two threads would wait for each other's caches.
    pub(super) fn new(items: &[Item], cells: Few<Arc<Cell>>, taken: Few<Taken>) -> Self {
        let held = items.iter().zip(cells).zip(taken);
        let held = held.map(|((item, cell), taken)| Held {
            policy: item.policy,
            cell,
            taken,
        });
        Self {
            held: held.collect(),
            answered: false,
            waited: Nanos(0),
        }
    }

    /// The call is sent a second time, and the provider may have counted the first.
    pub fn repeated(&mut self, now: Now) {
        for held in &mut self.held {
            let before = held.taken;
            held.taken = held.with(|inner| inner.meter.take_again(&inner.rule, &before, now));
        }
    }

    /// The call never reached the provider: it used nothing.
    pub fn unsent(&mut self, now: Now) {
        for held in &self.held {
            held.with(|inner| {
                inner.meter.refund(&inner.rule, &held.taken, now);
            });
        }
    }

    /// The head of the answer is there: what it says corrects the meters, and they answer with their state.
    pub fn answered(
        &mut self,
        adapter: &Adapter,
        translation: &Translation,
        random: u64,
        now: Now,
    ) -> Few<State> {
        let refused = refused(adapter, translation, &self.held);
        let is_rejected = !refused.is_empty();
        let mut states = Few::new();
        for held in &self.held {
            let refused = refused.contains(&held.policy);
            let state = held.with(|inner| {
                let Inner { meter, rule, .. } = inner;
                let told = told(translation, held.policy, rule);
                let (taken, mark) = (&held.taken, held.taken.mark);
                if !self.answered {
                    meter.arrived(rule, taken, now);
                }
                if let Some(told) = &told {
                    meter.observe(rule, told, mark, now);
                }
                if refused {
                    let wait_secs = translation
                        .told_wait
                        .or_else(|| told?.reset_secs)
                        .or_else(|| calendar(translation, rule));
                    meter.refused(rule, &Refusal { wait_secs, random }, now);
                } else {
                    meter.opened(taken.probe);
                }
                let cost = cost(translation, held.policy);
                // What is left is the better word: it knows of this call.
                if told.is_none_or(|told| told.remaining.is_none()) {
                    // Whichever of them refused it: a rejected call is not counted by this one.
                    if is_rejected && rule.rejected_counts == Some(false) {
                        meter.refund(rule, taken, now);
                    } else if let Some(cost) = cost {
                        meter.charge(rule, taken, cost, now);
                    }
                }
                if !self.answered {
                    inner.finish(taken);
                }
                let counts = taken.cost > 0 || cost.is_some();
                let state = State::of(inner, held.policy, counts, Some(taken.who), now);
                lookout::notice(&held.cell, inner, &state.standing, now);
                let is_out = refused || told.is_some_and(|told| told.remaining == Some(0));
                if let Some(store) = held.cell.account.store() {
                    if is_out {
                        store.keep(&held.cell, inner, now);
                    } else {
                        store.count_on(&held.cell, inner, now);
                    }
                }
                state
            });
            states.push(state);
        }
        self.answered = true;
        states
    }

    /// The state of its meters, for an answer that is headroom's own.
    #[must_use]
    pub fn states(&self, now: Now) -> Few<State> {
        let state = |held: &Held| {
            let inner = &mut held.cell.lock();
            State::of(inner, held.policy, true, Some(held.taken.who), now)
        };
        self.held.iter().map(state).collect()
    }
}

/// The state of these meters, as it is for a caller.
pub fn states<'a>(
    cells: impl Iterator<Item = (usize, &'a Arc<Cell>)>,
    caller: Caller,
    now: Now,
) -> Few<State> {
    cells
        .map(|(policy, cell)| {
            let mut inner = cell.lock();
            let state = State::of(&mut inner, policy, true, Some(caller.id), now);
            lookout::notice(cell, &mut inner, &state.standing, now);
            state
        })
        .collect()
}

impl Drop for Ticket {
    fn drop(&mut self) {
        for held in &self.held {
            if self.answered && !held.taken.permit {
                continue;
            }
            held.with(|inner| {
                if !self.answered {
                    inner.finish(&held.taken);
                }
                inner.meter.release(&inner.rule, &held.taken);
            });
        }
    }
}

impl Held {
    /// Changes the meter, and wakes whoever waits for it.
    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.cell.lock();
        let result = change(&mut inner);
        inner.queue.wake();
        let store = self.cell.account.store().filter(|_| inner.touch());
        drop(inner);
        if let Some(store) = store {
            store.touch(&self.cell);
        }
        result
    }
}

/// What an answer tells of a policy of the adapter, and not the documentation in its place: that is only observed. Where it
/// tells several things, the tightest. Of a policy that has many states by names of the provider's own nothing: before a
/// call nobody knows which of them it uses.
fn told(translation: &Translation, policy: usize, rule: &Rule) -> Option<Told> {
    let limits = translation.limits.iter().zip(&translation.told);
    let of_policy =
        limits.filter(|(limit, told)| told.policy == Some(policy) && limit.policy == rule.policy);
    let tightest = of_policy.min_by_key(|(limit, _)| limit.remaining.unwrap_or(u64::MAX));
    tightest.map(|(limit, told)| Told {
        // A documented limit is the measure of what is left. The user's own quota is the rule's, which may change: it is not
        // remembered as the provider's word.
        limit: told.unbounded.0.filter(|_| told.limit || told.remaining),
        // Concluded from a refusal, it is the refusal that counts.
        remaining: told.unbounded.1.filter(|_| told.remaining),
        reset_secs: limit.reset.filter(|_| told.reset),
    })
}

/// What the call cost of a policy of the adapter, where the answer tells it. Where it tells several costs, the dearest.
fn cost(translation: &Translation, policy: usize) -> Option<u64> {
    let costs = translation.costs.iter();
    let of_policy = costs.filter(|(of, _)| *of == policy);
    of_policy.map(|(_, cost)| *cost).max()
}

/// When the calendar ends a window that a refusal speaks of, where that is certain.
fn calendar(translation: &Translation, rule: &Rule) -> Option<u64> {
    let aligned = matches!(rule.motion, Motion::Aligned { .. });
    let mut limits = translation.limits.iter();
    let limit = limits.find(|limit| limit.policy == rule.policy && limit.is_exhausted())?;
    limit.reset.filter(|_| aligned && !limit.source.estimated)
}

/// The policies that refused the call. Where the answer does not say which, the one with the narrowest partition: what it
/// stops is the least.
fn refused(adapter: &Adapter, translation: &Translation, held: &[Held]) -> SmallVec<[usize; 4]> {
    if !translation.exhausted {
        return SmallVec::new();
    }
    let limits = translation.limits.iter().zip(&translation.told);
    let empty = limits.filter(|(limit, _)| ServiceLimit::is_exhausted(limit));
    let is_its_own = |(limit, told): &(&ServiceLimit, &Spoken)| {
        let policy = told.policy.and_then(|policy| adapter.policies.get(policy));
        policy.is_some_and(|policy| policy.name == limit.policy)
    };
    let named: SmallVec<[usize; 4]> = empty
        .filter(is_its_own)
        .filter_map(|(_, told)| told.policy)
        .filter(|policy| held.iter().any(|held| held.policy == *policy))
        .collect();
    if !named.is_empty() {
        return named;
    }
    let width = |policy: usize| {
        let parts = adapter.policies.get(policy);
        parts.map_or(0, |policy| policy.partition.len())
    };
    let narrowest = held.iter().rev().max_by_key(|held| width(held.policy));
    narrowest.map(|held| held.policy).into_iter().collect()
}
