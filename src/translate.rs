//! What an answer says of its provider's quotas: (adapter, answer, now) → limits and notes. Pure: no clock, no I/O, and it
//! cannot fail; odd headers are input, not errors.
//!
//! `lookup` goes through the readings, `reader` reads one of them (`text` its parts), `facts` is what they tell. `states`
//! makes limits of it, [`window`] derives what the provider leaves to the clock, `structured` reads the IETF's structured
//! fields, [`generic`] does without an adapter.

mod facts;
pub mod generic;
mod lookup;
mod reader;
mod states;
mod structured;
mod text;
pub mod window;

use std::cell::OnceCell;

use http::StatusCode;
use jiff::Timestamp;
use smallvec::SmallVec;

use crate::adapter::condition::{Body, RequestCondition, ResponseCondition};
use crate::adapter::reading::Reading;
use crate::adapter::terms::Terms;
use crate::adapter::{Adapter, Answer, Applies, Call, Exhaustion, Policy};
use crate::form::Decimal;
use crate::quota::{ServiceLimit, binding};
use states::States;

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
    /// They are the provider's own word beside its own 429, and stand.
    pub wait_stands: bool,
    /// The answer says that a quota is exhausted.
    pub exhausted: bool,
    /// What this request cost, where the provider says so.
    pub cost: Option<u64>,
    /// The same for each policy of the adapter (an index) of which the answer tells it.
    pub costs: SmallVec<[(usize, u64); 1]>,
    /// What could not be read, had to be guessed, or needs a word.
    pub notes: Vec<String>,
    /// For each of `limits`, where it comes from.
    pub told: SmallVec<[Spoken; 4]>,
    /// Seconds that the provider (or its documentation) asks to wait.
    pub told_wait: Option<u64>,
}

/// Where a limit comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spoken {
    /// The policy of the adapter (an index) that it is the state of.
    pub policy: Option<usize>,
    /// The answer told its limit.
    pub limit: bool,
    /// The answer told what is left, or what is used. Otherwise that nothing is left is concluded from a refusal.
    pub remaining: bool,
    /// The answer told its reset.
    pub reset: bool,
    /// Limit and what is left before the user's own quota bounded them. Where the answer told no limit it is the
    /// documentation's, if that is one.
    pub unbounded: (Option<u64>, Option<u64>),
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
    let matches = Matches::new(adapter, call);
    let mut out = Translation::default();
    let mut notes = Vec::new();
    let mut states = States::default();
    if adapter.silent {
        add_documented(&mut states, &matches, terms, now);
    }
    let mut lookup = lookup::Lookup {
        call,
        answer,
        body: &body,
        now,
        notes: &mut notes,
        unfit: SmallVec::new(),
    };
    // Used again for each policy: it is large.
    let mut all = SmallVec::new();
    let mut spoken: SmallVec<[usize; 8]> = SmallVec::new();
    for (index, policy) in adapter.policies.iter().enumerate() {
        if policy.readings.is_empty()
            || !matches.counts(index)
            || matches.is_told_by(index, &spoken)
        {
            continue;
        }
        let speaks = |condition: &ResponseCondition| condition.holds(call, answer, &body);
        if !policy.sent_when.is_empty() && !policy.sent_when.iter().any(speaks) {
            continue;
        }
        spoken.push(index);
        lookup.gather(policy, terms.zone.as_ref(), &mut all);
        for facts in &all {
            if let Some(cost) = facts.cost.map(Decimal::ceil) {
                out.cost = Some(cost);
                // A state under a name of the provider's own is not the whole policy's.
                if facts
                    .label
                    .as_ref()
                    .is_none_or(|label| *label == policy.name)
                {
                    out.costs.push((index, cost));
                }
            }
            if facts.says_something() {
                states.add(policy, index, terms, facts, now, lookup.notes);
            }
        }
    }
    lookup.note_unfit();
    if let Some(fields) = &adapter.structured_fields {
        for facts in structured::read(fields, answer.headers, lookup.notes) {
            let known = adapter
                .policies
                .iter()
                .enumerate()
                .find(|(_, policy)| Some(&policy.name) == facts.label.as_ref());
            match known {
                Some((index, policy)) => {
                    states.add(policy, index, terms, &facts, now, lookup.notes);
                }
                None => states.add_named(facts, now, lookup.notes),
            }
        }
    }
    let told = lookup.retry_after(&adapter.retry_after);
    drop(lookup);
    out.notes = notes;
    bound(&mut out.notes);
    let verdict = exhaustion(&matches, call, answer, &body, &states);
    let fallback = verdict
        .as_ref()
        .and_then(|verdict| verdict.retry_after_secs);
    let mut wait = None;
    if let Some(verdict) = &verdict {
        out.exhausted = true;
        wait = told
            .map(|secs| (secs, true))
            .or_else(|| fallback.map(|secs| (secs, false)));
        if let Some(policy) = verdict.policy {
            states.exhaust(adapter, policy, terms);
        }
    }
    states.bound_by_own_quotas(terms);
    out.told = states.spoken();
    states.resolve_resets(adapter, terms, wait, now);
    out.limits = states.limits;
    out.told_wait = wait.map(|(secs, _)| secs);
    out.binding = binding(&out.limits);
    out.retry_after = told;
    if out.exhausted {
        let reset = out
            .binding_limit()
            .filter(|limit| limit.is_exhausted())
            .and_then(|limit| limit.reset);
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            // The provider's own 429 with the provider's own time to wait: its word stands.
            out.retry_after = told.or(reset).or(fallback);
            out.wait_stands = told.is_some();
        } else {
            out.status = Some(StatusCode::TOO_MANY_REQUESTS);
            // Nobody knows how long: a second is the shortest wait there is.
            out.retry_after = told.max(reset).or(fallback).or(Some(1));
        }
    }
    if out.status.unwrap_or(answer.status) == StatusCode::TOO_MANY_REQUESTS {
        // A 429 that asks for no wait at all would be tried again at once, for ever.
        out.retry_after = out.retry_after.map(|secs| secs.max(1));
    }
    out
}

/// The most notes of one answer: a flood of odd lines is one problem, not ten thousand.
const MAX_NOTES: usize = 30;

fn bound(notes: &mut Vec<String>) {
    if notes.len() > MAX_NOTES {
        notes.truncate(MAX_NOTES);
        notes.push("further notes are left out".to_owned());
    }
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
        add_documented(&mut states, &Matches::new(adapter, call), terms, now);
        states.resolve_resets(adapter, terms, None, now);
    }
    let binding = binding(&states.limits);
    Translation {
        told: states.spoken(),
        limits: states.limits,
        binding,
        ..Translation::default()
    }
}

fn add_documented(states: &mut States, matches: &Matches<'_>, terms: &Terms, now: Timestamp) {
    for (index, policy) in matches.adapter.policies.iter().enumerate() {
        if matches.counts(index) {
            states.add_documented(policy, index, terms, now);
        }
    }
}

/// Whether a policy (an index into the adapter's) counts the call.
pub(crate) fn applies(adapter: &Adapter, index: usize, call: &Call<'_>) -> bool {
    Matches::new(adapter, call).counts(index)
}

/// Which policies of an adapter count a call.
pub(crate) struct Matches<'a> {
    adapter: &'a Adapter,
    call: &'a Call<'a>,
    /// For each policy, whether its own condition holds: `Some(true)` where it has none. Looked at when first asked: most
    /// answers speak of a policy that counts all calls.
    holds: OnceCell<SmallVec<[Option<bool>; 8]>>,
}

impl<'a> Matches<'a> {
    pub(crate) const fn new(adapter: &'a Adapter, call: &'a Call<'a>) -> Self {
        Self {
            adapter,
            call,
            holds: OnceCell::new(),
        }
    }

    fn holds(&self) -> &[Option<bool>] {
        self.holds.get_or_init(|| {
            let holds = |policy: &Policy| match &policy.applies {
                Applies::When(conditions) => any_holds(conditions, self.call),
                Applies::Always | Applies::Otherwise => Some(true),
            };
            self.adapter.policies.iter().map(holds).collect()
        })
    }

    /// Policies that share their headers exclude each other by path. Where the path is not known, the first that has
    /// spoken stands for them.
    fn is_told_by(&self, index: usize, spoken: &[usize]) -> bool {
        let policies = &self.adapter.policies;
        let unknown = |policy: &&Policy| {
            matches!(policy.applies, Applies::When(_)) && self.holds().get(index) == Some(&None)
        };
        let Some(policy) = policies.get(index).filter(unknown) else {
            return false;
        };
        let is_read = |own: &Reading| {
            let mut others = spoken.iter().filter_map(|other| policies.get(*other));
            others.any(|other| {
                let mut readings = other.readings.iter();
                readings.any(|reading| reading.shares_its_header_with(own))
            })
        };
        policy.readings.iter().any(is_read)
    }

    /// Whether a policy counts the call. Where what is known of the call does not tell, the order of the file decides
    /// between a policy with a condition and one for all others: the main one comes first.
    pub(crate) fn counts(&self, index: usize) -> bool {
        let policies = &self.adapter.policies;
        let Some(policy) = policies.get(index) else {
            return false;
        };
        match policy.applies {
            Applies::Always => true,
            Applies::When(_) => self
                .holds()
                .get(index)
                .copied()
                .flatten()
                .unwrap_or_else(|| {
                    !policies
                        .iter()
                        .take(index)
                        .any(|other| matches!(other.applies, Applies::Otherwise))
                }),
            Applies::Otherwise => {
                let mut others = policies.iter().zip(self.holds()).enumerate();
                !others.any(|(other, (policy, holds))| {
                    matches!(policy.applies, Applies::When(_)) && holds.unwrap_or(other < index)
                })
            }
        }
    }
}

/// Whether one of the conditions holds; `None` when one may and none certainly does.
fn any_holds(conditions: &[RequestCondition], call: &Call<'_>) -> Option<bool> {
    let mut unknown = false;
    for condition in conditions {
        match condition.holds(call) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(false)
}

/// What an answer says about exhaustion.
struct Verdict {
    policy: Option<usize>,
    retry_after_secs: Option<u64>,
}

fn exhaustion(
    matches: &Matches<'_>,
    call: &Call<'_>,
    answer: &Answer<'_>,
    body: &Body<'_>,
    states: &States,
) -> Option<Verdict> {
    let adapter = matches.adapter;
    let fits = |rule: &&Exhaustion| {
        // The status first: it settles nearly all answers.
        let statuses = &rule.when.statuses;
        if !statuses.is_empty() && !statuses.iter().any(|status| answer.status == *status) {
            return false;
        }
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
                .then(|| only_policy(matches, states))
                .flatten()
                // A rule that says how long to wait speaks of a limit of its own.
                .filter(|_| rule.retry_after_secs.is_none())
        });
        return Some(Verdict {
            policy,
            retry_after_secs: rule.retry_after_secs,
        });
    }
    if answer.status != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let named = adapter
        .exhausted
        .iter()
        .any(|rule| rule.when.statuses.contains(&429));
    if named && !states.nothing_left() {
        return None;
    }
    Some(Verdict {
        policy: (!states.nothing_left())
            .then(|| only_policy(matches, states))
            .flatten(),
        retry_after_secs: None,
    })
}

/// The one policy that applies to the call, if there is only one and the answer did not say that something is left.
fn only_policy(matches: &Matches<'_>, states: &States) -> Option<usize> {
    let mut fitting = matches
        .adapter
        .policies
        .iter()
        .enumerate()
        .filter(|(index, _)| matches.counts(*index));
    let (index, _) = fitting.next()?;
    let told = states
        .limits
        .iter()
        .any(|limit| limit.remaining.is_some_and(|left| left > 0));
    (fitting.next().is_none() && !told).then_some(index)
}
