//! What an answer says of its provider's quotas: (adapter, answer, now) → limits and notes. Pure: no clock, no I/O, and it
//! cannot fail; odd headers are input, not errors.
//!
//! [`facts`] reads what stands there, [`window`] derives what the provider leaves to the clock, [`structured`] reads the
//! IETF's structured fields, [`generic`] does without an adapter.

pub mod facts;
pub mod generic;
pub mod structured;
pub mod window;

use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use smallvec::SmallVec;

use crate::adapter::condition::{Body, ResponseCondition};
use crate::adapter::terms::Terms;
use crate::adapter::{Adapter, Answer, Applies, Call, Exhaustion, Policy};
use crate::quota::{Origin, ServiceLimit, Source, Unit, binding};
use facts::{Facts, MAX_WAIT_SECS};

/// What an answer says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    /// The policies that are known, in the order of the adapter.
    pub limits: SmallVec<[ServiceLimit; 4]>,
    /// The policy that will stop the caller first, as an index into `limits`.
    pub binding: Option<usize>,
    /// The status to answer instead of the provider's, where exhaustion came in another dress.
    pub status: Option<StatusCode>,
    /// Seconds to wait, rounded up.
    pub retry_after: Option<u64>,
    /// The answer says that a quota is exhausted.
    pub exhausted: bool,
    /// What this request cost, where the provider says so.
    pub cost: Option<u64>,
    /// What could not be read, had to be guessed, or needs a word.
    pub notes: Vec<String>,
}

impl Translation {
    /// The binding policy's state.
    #[must_use]
    pub fn binding_limit(&self) -> Option<&ServiceLimit> {
        self.limits.get(self.binding?)
    }
}

/// Translates an answer.
#[must_use]
pub fn translate(
    adapter: &Adapter,
    terms: &Terms,
    call: &Call<'_>,
    answer: &Answer<'_>,
    now: Timestamp,
) -> Translation {
    let body = Body::new(answer.body);
    let mut out = Translation::default();
    let mut states = States::default();
    if adapter.silent {
        states.add_documented(adapter, terms, call, now);
    }
    for (index, policy) in adapter.policies.iter().enumerate() {
        if policy.readings.is_empty() || !applies(adapter, policy, call) {
            continue;
        }
        let speaks = |condition: &ResponseCondition| condition.holds(call, answer, &body);
        if !policy.sent_when.is_empty() && !policy.sent_when.iter().any(speaks) {
            continue;
        }
        for facts in facts::gather(
            policy,
            call,
            answer,
            &body,
            terms.zone.as_ref(),
            now,
            &mut out.notes,
        ) {
            out.cost = facts.cost.map(crate::form::Decimal::ceil).or(out.cost);
            if facts.says_something() {
                states.add(policy, Some(index), terms, &facts, now, &mut out.notes);
            }
        }
    }
    if let Some(fields) = &adapter.structured_fields {
        for facts in structured::read(fields, answer.headers, &mut out.notes) {
            let index = adapter
                .policies
                .iter()
                .position(|policy| Some(&policy.name) == facts.label.as_ref());
            states.add_structured(adapter, index, terms, &facts, now, &mut out.notes);
        }
    }
    let told = facts::retry_after(
        &adapter.retry_after,
        call,
        answer,
        &body,
        now,
        &mut out.notes,
    );
    let verdict = exhaustion(adapter, call, answer, &body, &states);
    if let Some(verdict) = &verdict {
        out.exhausted = true;
        if let Some(policy) = verdict.policy {
            states.exhaust(adapter, policy, terms);
        }
    }
    let fallback = verdict
        .as_ref()
        .and_then(|verdict| verdict.retry_after_secs);
    let exhausted_for = out.exhausted.then_some(told.or(fallback)).flatten();
    states.resolve_resets(adapter, terms, exhausted_for, now);
    out.limits = states.limits;
    out.binding = binding(&out.limits);
    let wait = out
        .binding_limit()
        .filter(|limit| limit.is_exhausted())
        .and_then(|limit| limit.reset);
    out.retry_after = told;
    if verdict.is_some() {
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            // The provider's own 429 with the provider's own time to wait: its word stands.
            out.retry_after = told.or(wait).or(fallback).map(|secs| secs.max(1));
        } else {
            out.status = Some(StatusCode::TOO_MANY_REQUESTS);
            // Nobody knows how long: a second is the shortest wait there is.
            let secs = told.max(wait).or(fallback).unwrap_or(1);
            out.retry_after = Some(secs.max(1));
        }
    }
    out
}

/// What is known without an answer: documented quotas of a provider that never tells.
#[must_use]
pub fn documented(
    adapter: &Adapter,
    terms: &Terms,
    call: &Call<'_>,
    now: Timestamp,
) -> Translation {
    let mut states = States::default();
    if adapter.silent {
        states.add_documented(adapter, terms, call, now);
        states.resolve_resets(adapter, terms, None, now);
    }
    let binding = binding(&states.limits);
    Translation {
        limits: states.limits,
        binding,
        ..Translation::default()
    }
}

/// Whether a policy counts the call. What is not known of the call counts as fitting, so that a file translated without
/// its path still shows the main policy.
pub(crate) fn applies(adapter: &Adapter, policy: &Policy, call: &Call<'_>) -> bool {
    match &policy.applies {
        Applies::Always => true,
        Applies::When(conditions) => conditions
            .iter()
            .any(|condition| condition.holds(call) != Some(false)),
        Applies::Otherwise => !adapter.policies.iter().any(|other| {
            matches!(&other.applies, Applies::When(conditions)
                if conditions.iter().any(|condition| condition.holds(call) != Some(false)))
        }),
    }
}

/// What an answer says about exhaustion.
struct Verdict {
    policy: Option<usize>,
    retry_after_secs: Option<u64>,
}

fn exhaustion(
    adapter: &Adapter,
    call: &Call<'_>,
    answer: &Answer<'_>,
    body: &Body<'_>,
    states: &States,
) -> Option<Verdict> {
    let fits = |rule: &&Exhaustion| {
        let nothing_left = !rule.needs_nothing_left
            || states
                .limits
                .iter()
                .zip(&states.owners)
                .any(|(limit, owner)| {
                    limit.is_exhausted() && (rule.policy.is_none() || *owner == rule.policy)
                });
        nothing_left && rule.when.holds(call, answer, body)
    };
    let rule = adapter.exhausted.iter().find(fits);
    if let Some(rule) = rule {
        let policy = rule.policy.or_else(|| {
            (!states.nothing_left() && !rule.needs_nothing_left)
                .then(|| only_policy(adapter, call, states))
                .flatten()
                // A rule that says how long to wait speaks of a limit of its own.
                .filter(|_| rule.retry_after_secs.is_none())
        });
        return Some(Verdict {
            policy,
            retry_after_secs: rule.retry_after_secs,
        });
    }
    let named = adapter
        .exhausted
        .iter()
        .any(|rule| rule.when.statuses.contains(&429));
    if answer.status != StatusCode::TOO_MANY_REQUESTS || (named && !states.nothing_left()) {
        return None;
    }
    Some(Verdict {
        policy: (!states.nothing_left())
            .then(|| only_policy(adapter, call, states))
            .flatten(),
        retry_after_secs: None,
    })
}

/// The one policy that applies to the call, if there is only one and the answer did not say that something is left.
fn only_policy(adapter: &Adapter, call: &Call<'_>, states: &States) -> Option<usize> {
    let mut fitting = adapter
        .policies
        .iter()
        .enumerate()
        .filter(|(_, policy)| applies(adapter, policy, call));
    let (index, _) = fitting.next()?;
    let told = states
        .limits
        .iter()
        .any(|limit| limit.remaining.is_some_and(|left| left > 0));
    (fitting.next().is_none() && !told).then_some(index)
}

/// Limits in the making, with the policies they belong to.
#[derive(Default)]
struct States {
    limits: SmallVec<[ServiceLimit; 4]>,
    owners: SmallVec<[Option<usize>; 4]>,
}

impl States {
    fn nothing_left(&self) -> bool {
        self.limits.iter().any(ServiceLimit::is_exhausted)
    }

    fn push(&mut self, limit: ServiceLimit, owner: Option<usize>) {
        self.limits.push(limit);
        self.owners.push(owner);
    }

    fn add(
        &mut self,
        policy: &Policy,
        owner: Option<usize>,
        terms: &Terms,
        facts: &Facts,
        now: Timestamp,
        notes: &mut Vec<String>,
    ) {
        let name = facts
            .label
            .clone()
            .unwrap_or_else(|| Arc::clone(&policy.name));
        let quota = owner.and_then(|index| terms.quotas.get(index).copied().flatten());
        let own = owner.is_some_and(|index| terms.own.get(index) == Some(&true));
        let (limit, remaining) = amounts(&name, facts, quota, own, notes);
        let window = facts
            .window
            .or_else(|| window::length_secs(policy, terms.zone.as_ref(), now));
        self.push(
            ServiceLimit {
                policy: name,
                unit: policy.unit.clone(),
                limit,
                remaining,
                reset: reset(facts, now, notes),
                window,
                source: PROVIDER,
            },
            owner,
        );
    }

    fn add_structured(
        &mut self,
        adapter: &Adapter,
        owner: Option<usize>,
        terms: &Terms,
        facts: &Facts,
        now: Timestamp,
        notes: &mut Vec<String>,
    ) {
        if let Some(policy) = owner.and_then(|index| adapter.policies.get(index)) {
            self.add(policy, owner, terms, facts, now, notes);
        } else {
            let name = facts.label.clone().unwrap_or_else(|| Arc::from("default"));
            let (limit, remaining) = amounts(&name, facts, None, false, notes);
            self.push(
                ServiceLimit {
                    policy: name,
                    unit: Unit::Requests,
                    limit,
                    remaining,
                    reset: reset(facts, now, notes),
                    window: facts.window,
                    source: PROVIDER,
                },
                None,
            );
        }
        if let (Some(unit), Some(limit)) = (&facts.unit, self.limits.last_mut()) {
            limit.unit = unit.clone();
        }
    }

    /// The documented quotas of a provider that never tells; nothing is counted yet.
    fn add_documented(
        &mut self,
        adapter: &Adapter,
        terms: &Terms,
        call: &Call<'_>,
        now: Timestamp,
    ) {
        for (index, policy) in adapter.policies.iter().enumerate() {
            let quota = terms.quotas.get(index).copied().flatten();
            if quota.is_none() || !applies(adapter, policy, call) {
                continue;
            }
            self.push(
                ServiceLimit {
                    policy: Arc::clone(&policy.name),
                    unit: policy.unit.clone(),
                    limit: quota,
                    remaining: None,
                    reset: None,
                    window: window::length_secs(policy, terms.zone.as_ref(), now),
                    // The documentation says so, not this answer.
                    source: Source {
                        origin: Origin::Provider,
                        estimated: true,
                    },
                },
                Some(index),
            );
        }
    }

    /// The answer says that this policy has nothing left.
    fn exhaust(&mut self, adapter: &Adapter, index: usize, terms: &Terms) {
        if let Some(position) = self.owners.iter().position(|owner| *owner == Some(index)) {
            if let Some(limit) = self.limits.get_mut(position) {
                limit.remaining = Some(0);
                limit.source.estimated = false;
            }
            return;
        }
        if let Some(policy) = adapter.policies.get(index) {
            self.push(
                ServiceLimit {
                    policy: Arc::clone(&policy.name),
                    unit: policy.unit.clone(),
                    limit: terms.quotas.get(index).copied().flatten(),
                    remaining: Some(0),
                    reset: None,
                    window: None,
                    source: PROVIDER,
                },
                Some(index),
            );
        }
    }

    /// Resets that the provider did not send: from its time to wait, the clock, or the whole window.
    fn resolve_resets(
        &mut self,
        adapter: &Adapter,
        terms: &Terms,
        told: Option<u64>,
        now: Timestamp,
    ) {
        for (limit, owner) in self.limits.iter_mut().zip(&self.owners) {
            let policy = owner.and_then(|index| adapter.policies.get(index));
            if let (None, Some(policy)) = (limit.window, policy) {
                limit.window = window::length_secs(policy, terms.zone.as_ref(), now);
            }
            if limit.reset.is_some() {
                continue;
            }
            if limit.is_exhausted() && told.is_some() {
                limit.reset = told;
                continue;
            }
            let derived = policy.map_or_else(
                || limit.window.map(|secs| (secs, true)),
                |policy| window::reset_secs(policy, limit.window, terms.zone.as_ref(), now),
            );
            if let Some((secs, estimated)) = derived {
                limit.reset = Some(secs);
                limit.source.estimated |= estimated;
            }
        }
    }
}

const PROVIDER: Source = Source {
    origin: Origin::Provider,
    estimated: false,
};

/// Limit and remainder: any two of limit, remaining and used give the third; where all are told the tighter holds.
fn amounts(
    name: &str,
    facts: &Facts,
    quota: Option<u64>,
    own: bool,
    notes: &mut Vec<String>,
) -> (Option<u64>, Option<u64>) {
    let used = facts.used.map(crate::form::Decimal::ceil);
    let told = facts.remaining.map(crate::form::Decimal::floor);
    let sent = facts.limit.map(crate::form::Decimal::floor).or_else(|| {
        // Added before rounding: 595.5 left and 4.5 used are a limit of 600.
        facts
            .used
            .zip(facts.remaining)
            .and_then(|(used, left)| used.checked_add(left))
            .map(crate::form::Decimal::floor)
    });
    let limit = sent.or(quota);
    let derived = limit
        .zip(used)
        .map(|(limit, used)| limit.saturating_sub(used));
    let mut remaining = match (told, derived) {
        (Some(told), Some(derived)) => Some(told.min(derived)),
        (told, derived) => told.or(derived),
    };
    let mut limit = limit;
    match (sent, quota, own) {
        // The user's own quota bounds what the provider allows: what has been used counts against it.
        (Some(sent), Some(own_quota), true) if own_quota < sent => {
            if let Some(left) = remaining {
                remaining = Some(own_quota.saturating_sub(sent.saturating_sub(left)));
            }
            limit = Some(own_quota);
        }
        (Some(sent), _, _) if remaining.is_some_and(|left| left > sent) => {
            notes.push(format!(
                "policy {name}: more is left than the limit allows; the limit holds"
            ));
            remaining = Some(sent);
        }
        (Some(_), _, _) => {}
        // More left than is documented: the account's quota is another one, so nothing is known of it.
        (None, Some(quota), false) if told.is_some_and(|left| left > quota) => {
            notes.push(format!(
                "policy {name}: more is left than the documented quota of {quota}; the limit is not known"
            ));
            limit = None;
        }
        (None, Some(quota), true) => remaining = remaining.map(|left| left.min(quota)),
        _ => {}
    }
    (limit, remaining)
}

/// Seconds until the reset that was told; a moment in the past is now.
fn reset(facts: &Facts, now: Timestamp, notes: &mut Vec<String>) -> Option<u64> {
    let secs = facts.reset?.seconds_from(now);
    if secs > MAX_WAIT_SECS {
        notes.push(format!(
            "a reset in {secs} seconds is beyond any window; ignored"
        ));
        return None;
    }
    Some(u64::try_from(secs).unwrap_or(0))
}
