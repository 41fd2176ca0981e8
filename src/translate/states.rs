//! Limits in the making: facts become amounts, exhaustion marks a policy, and resets that nobody sent are derived.

use std::sync::Arc;

use jiff::Timestamp;
use smallvec::SmallVec;

use super::facts::{Facts, MAX_WAIT_SECS};
use super::{Spoken, window};
use crate::adapter::terms::Terms;
use crate::adapter::{Adapter, Policy};
use crate::form::{Decimal, Moment};
use crate::quota::{Origin, ServiceLimit, Source};

pub(super) const PROVIDER: Source = Source {
    origin: Origin::Provider,
    estimated: false,
};

/// Limits, with the policies (indices into the adapter's) that they belong to.
#[derive(Default)]
pub(super) struct States {
    pub(super) limits: SmallVec<[ServiceLimit; 4]>,
    pub(super) owners: SmallVec<[Option<usize>; 4]>,
    told: SmallVec<[Told; 4]>,
}

/// What a limit was made of, for the user's own quota.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    used: Option<u64>,
    /// The limit is the answer's, not the documentation's.
    limit_sent: bool,
    /// What remains is the answer's, not concluded from a refusal.
    remaining_sent: bool,
    /// Limit and what remains, before the user's own quota bounded them.
    unbounded: (Option<u64>, Option<u64>),
}

impl States {
    pub(super) fn nothing_left(&self) -> bool {
        self.limits.iter().any(ServiceLimit::is_exhausted)
    }

    /// Where each limit comes from; to be asked before resets are derived.
    pub(super) fn spoken(&self) -> SmallVec<[Spoken; 4]> {
        let owners = self.owners.iter().copied();
        let limits = owners.zip(&self.limits).zip(&self.told);
        limits
            .map(|((policy, limit), told)| Spoken {
                policy,
                limit: told.limit_sent,
                remaining: told.remaining_sent,
                reset: limit.reset.is_some(),
                unbounded: told.unbounded,
            })
            .collect()
    }

    fn push(&mut self, mut limit: ServiceLimit, owner: Option<usize>, told: Told) {
        // A name stands for one policy: who reads `binding` must know which.
        if self.limits.iter().any(|other| other.policy == limit.policy) {
            let mut number = self.limits.len() + 1;
            let name = |number: usize| format!("{}-{number}", limit.policy);
            while self
                .limits
                .iter()
                .any(|other| *other.policy == *name(number))
            {
                number += 1;
            }
            limit.policy = Arc::from(name(number));
        }
        self.limits.push(limit);
        self.owners.push(owner);
        self.told.push(told);
    }

    /// What an answer tells of a policy of the adapter.
    pub(super) fn add(
        &mut self,
        policy: &Policy,
        owner: usize,
        terms: &Terms,
        facts: &Facts,
        now: Timestamp,
        notes: &mut Vec<String>,
    ) {
        let reset = reset(facts, now, notes);
        let window = facts
            .window
            .or_else(|| window::length_secs(policy, terms.zone.as_ref(), now));
        let name = facts
            .label
            .clone()
            .unwrap_or_else(|| Arc::clone(&policy.name));
        let documented = terms.documented.get(owner).copied().flatten();
        let (limit, remaining) = amounts(&name, facts, documented, notes);
        let told = Told {
            used: facts.used.map(Decimal::ceil),
            limit_sent: sent_limit(facts).is_some(),
            remaining_sent: remaining.is_some(),
            unbounded: (limit, remaining),
        };
        self.push(
            ServiceLimit {
                policy: name,
                unit: facts.unit.as_ref().unwrap_or(&policy.unit).clone(),
                limit,
                remaining,
                reset,
                window,
                source: PROVIDER,
            },
            Some(owner),
            told,
        );
    }

    /// What an answer tells of a policy that the provider names itself.
    pub(super) fn add_named(&mut self, facts: Facts, now: Timestamp, notes: &mut Vec<String>) {
        let name = facts.label.clone().unwrap_or_else(|| Arc::from("default"));
        let (limit, remaining) = amounts(&name, &facts, None, notes);
        self.push(
            ServiceLimit {
                policy: name,
                unit: facts.unit.clone().unwrap_or_default(),
                limit,
                remaining,
                reset: reset(&facts, now, notes),
                window: facts.window,
                source: PROVIDER,
            },
            None,
            Told::default(),
        );
    }

    /// The documented quota of a policy of which no answer ever tells.
    pub(super) fn add_documented(
        &mut self,
        policy: &Policy,
        owner: usize,
        terms: &Terms,
        now: Timestamp,
    ) {
        let limit = terms.quota(owner);
        if limit.is_none() {
            return;
        }
        self.push(
            ServiceLimit {
                policy: Arc::clone(&policy.name),
                unit: policy.unit.clone(),
                limit,
                remaining: None,
                reset: None,
                window: window::length_secs(policy, terms.zone.as_ref(), now),
                // The documentation says so, not this answer.
                source: Source {
                    origin: Origin::Provider,
                    estimated: true,
                },
            },
            Some(owner),
            Told::default(),
        );
    }

    /// The answer says that this policy has nothing left.
    pub(super) fn exhaust(&mut self, adapter: &Adapter, index: usize, terms: &Terms) {
        let mut own = self
            .limits
            .iter_mut()
            .zip(&self.owners)
            .filter(|(_, owner)| **owner == Some(index))
            .map(|(limit, _)| limit);
        match (own.next(), own.next()) {
            (Some(limit), None) => {
                limit.remaining = Some(0);
                limit.source.estimated = false;
            }
            // It has several states under names of their own, and nobody said which of them.
            (Some(_), Some(_)) => {}
            (None, _) => {
                let Some(policy) = adapter.policies.get(index) else {
                    return;
                };
                self.push(
                    ServiceLimit {
                        policy: Arc::clone(&policy.name),
                        unit: policy.unit.clone(),
                        limit: terms.quota(index),
                        remaining: Some(0),
                        reset: None,
                        window: None,
                        source: PROVIDER,
                    },
                    Some(index),
                    Told::default(),
                );
            }
        }
    }

    /// The user's own quotas bound what was told. Only after it is known whether the provider refused: it does not know
    /// them, so they are no reason of its refusals.
    pub(super) fn bound_by_own_quotas(&mut self, terms: &Terms) {
        for ((limit, owner), told) in self.limits.iter_mut().zip(&self.owners).zip(&mut self.told) {
            let Some(own) = owner.and_then(|index| terms.own.get(index).copied().flatten()) else {
                continue;
            };
            match limit.limit {
                // What has been used of the provider's quota counts against the user's own.
                Some(most) if own < most => {
                    let left = limit.remaining;
                    limit.remaining =
                        left.map(|left| own.saturating_sub(most.saturating_sub(left)));
                    limit.limit = Some(own);
                }
                // The user knows more than the documentation, but not more than the answer.
                _ if !told.limit_sent => {
                    let left = told.used.map(|used| own.saturating_sub(used));
                    limit.remaining = limit.remaining.or(left).map(|left| left.min(own));
                    limit.limit = Some(own);
                }
                _ => {}
            }
        }
    }

    /// Resets that the provider did not send: from its time to wait, the clock, or the whole window. `wait` is the time to
    /// wait that an exhausted quota comes with, and whether the provider said so itself.
    pub(super) fn resolve_resets(
        &mut self,
        adapter: &Adapter,
        terms: &Terms,
        wait: Option<(u64, bool)>,
        now: Timestamp,
    ) {
        let window = |limit: &ServiceLimit, policy: Option<&Policy>| {
            let length = |policy| window::length_secs(policy, terms.zone.as_ref(), now);
            limit.window.or_else(|| policy.and_then(length))
        };
        let policy_of = |owner: &Option<usize>| owner.and_then(|index| adapter.policies.get(index));
        // Of a second and an hour that both have nothing left, a wait of minutes speaks of the hour.
        let can_take = |limit: &ServiceLimit, policy: Option<&Policy>, secs: u64| {
            limit.is_exhausted() && window(limit, policy).is_none_or(|window| window >= secs)
        };
        let is_taken = wait.is_some_and(|(secs, _)| {
            let mut all = self.limits.iter().zip(&self.owners);
            all.any(|(limit, owner)| can_take(limit, policy_of(owner), secs))
        });
        for (limit, owner) in self.limits.iter_mut().zip(&self.owners) {
            let policy = policy_of(owner);
            limit.window = window(limit, policy);
            if limit.reset.is_some() {
                continue;
            }
            let wait = wait.filter(|(secs, _)| !is_taken || can_take(limit, policy, *secs));
            let derived = policy.map_or_else(
                || limit.window.map(|secs| (secs, true)),
                |policy| window::reset_secs(policy, limit, terms.zone.as_ref(), now),
            );
            let (secs, estimated) = match (derived, wait.filter(|_| limit.is_exhausted())) {
                // The calendar is certain: a shorter wait speaks of something else.
                (Some((secs, false)), Some((told, _))) => (secs.max(told), false),
                (_, Some((told, by_provider))) => (told, !by_provider),
                (Some(derived), None) => derived,
                (None, None) => continue,
            };
            limit.reset = Some(secs);
            limit.source.estimated |= estimated;
        }
    }
}

/// Limit and remainder: any two of limit, remaining and used give the third; where all are told the tighter holds.
pub(super) fn amounts(
    name: &str,
    facts: &Facts,
    documented: Option<u64>,
    notes: &mut Vec<String>,
) -> (Option<u64>, Option<u64>) {
    let sent = sent_limit(facts);
    let is_unlimited = facts.has_no_limit && sent.is_none();
    let mut limit = sent.or(documented.filter(|_| !is_unlimited));
    let left = facts.remaining.filter(|left| {
        // Beside a limit, less than nothing is nothing. Without one it is what many send for "not limited".
        let means_nothing = limit.is_none()
            && left.is_negative()
            && (is_unlimited || *left == Decimal::from_whole(-1));
        if means_nothing {
            notes.push(format!(
                "policy {name}: less than nothing left of no limit; what is left is not known"
            ));
        }
        !means_nothing
    });
    let told = left.map(Decimal::floor);
    let derived = limit
        .zip(facts.used.map(Decimal::ceil))
        .map(|(limit, used)| limit.saturating_sub(used));
    let mut remaining = match (told, derived) {
        (Some(told), Some(derived)) => Some(told.min(derived)),
        (told, derived) => told.or(derived),
    };
    if let (Some(most), Some(left)) = (limit, remaining)
        && left > most
    {
        if sent.is_some() {
            notes.push(format!(
                "policy {name}: more is left than the limit allows; the limit holds"
            ));
            remaining = Some(most);
        } else {
            notes.push(format!(
                "policy {name}: more is left than the documented quota of {most}; the limit is not known"
            ));
            limit = None;
        }
    }
    (limit, remaining)
}

/// The limit that the answer tells.
fn sent_limit(facts: &Facts) -> Option<u64> {
    facts.limit.map(Decimal::floor).or_else(|| sum(facts))
}

/// The limit of what is used and what remains. With nothing left, more than the limit may have been used.
fn sum(facts: &Facts) -> Option<u64> {
    let (used, left) = facts.used.zip(facts.remaining)?;
    if left.floor() == 0 {
        return None;
    }
    // Added before rounding: 595.5 left and 4.5 used are a limit of 600.
    used.checked_add(left).map(Decimal::floor)
}

/// Seconds until the reset that was told; a moment in the past is now.
pub(super) fn reset(facts: &Facts, now: Timestamp, notes: &mut Vec<String>) -> Option<u64> {
    let moment = facts.reset?;
    let secs = moment.seconds_from(now);
    if secs < 0 && matches!(moment, Moment::In(_)) {
        notes.push(format!("a reset in {secs} seconds was taken for now"));
    }
    if secs > MAX_WAIT_SECS {
        notes.push(format!(
            "a reset in {secs} seconds is beyond any window; ignored"
        ));
        return None;
    }
    Some(u64::try_from(secs).unwrap_or(0))
}
