//! Meters as limits: what an answer's headers say where the provider says nothing, or less than headroom knows.

use smallvec::SmallVec;

use super::meter::Cause;
use super::ticket::State;
use super::time::Now;
use crate::adapter::Adapter;
use crate::ledger::rule::{Basis, Motion};
use crate::quota::{Origin, ServiceLimit, Source, binding};
use crate::translate::{Spoken, Translation};

/// Puts what the meters know into a translation. Where both know, the tighter holds. A quota that is only documented for
/// everyone is told where nothing better is: beside the provider's own numbers it would pass for one of them.
pub fn complete(translation: &mut Translation, adapter: &Adapter, states: &[State], now: Now) {
    if adapter.silent {
        // What is documented is told by the meter, which has counted.
        let counted = |told: &Spoken| states.iter().any(|state| Some(state.policy) == told.policy);
        keep(translation, |limit, told| {
            limit.remaining.is_some() || !counted(told)
        });
    }
    let tells = !adapter.silent
        && (translation.limits.iter().any(ServiceLimit::is_known)
            || states.iter().any(is_used_up_by_its_word));
    let mut added = SmallVec::<[(ServiceLimit, Spoken); 4]>::new();
    for state in states {
        let mut told = translation
            .limits
            .iter_mut()
            .zip(&translation.told)
            .filter(|(_, told)| told.policy == Some(state.policy))
            .peekable();
        if told.peek().is_some() {
            for (limit, told) in told {
                if limit.policy == state.rule.policy {
                    fill(limit, state, now);
                }
                tighten(limit, told.reset, state, now);
                if limit.policy == state.rule.policy {
                    say_who(limit, state);
                }
            }
        } else if is_worth_telling(state, tells) {
            let spoken = Spoken {
                policy: Some(state.policy),
                ..Spoken::default()
            };
            added.push((limit(state, now), spoken));
        }
    }
    for (limit, spoken) in added {
        translation.limits.push(limit);
        translation.told.push(spoken);
    }
    translation.binding = binding(&translation.limits);
    // The provider refused, and the meter knows better than the answer how long nothing goes: a penalty, a wait of our own.
    if translation.exhausted && !translation.wait_stands {
        let limit = translation.binding_limit();
        let reset = limit.filter(|limit| limit.is_exhausted());
        let reset = reset.and_then(|limit| limit.reset);
        translation.retry_after = translation.retry_after.max(reset.map(|secs| secs.max(1)));
    }
}

fn keep(translation: &mut Translation, keep: impl Fn(&ServiceLimit, &Spoken) -> bool) {
    let limits = std::mem::take(&mut translation.limits);
    let told = std::mem::take(&mut translation.told);
    for (limit, told) in limits.into_iter().zip(told) {
        if keep(&limit, &told) {
            translation.limits.push(limit);
            translation.told.push(told);
        }
    }
}

/// The provider itself has said that nothing is left: that is what a refusal of headroom's own is about.
fn is_used_up_by_its_word(state: &State) -> bool {
    let told = matches!(
        state.standing.cause,
        Cause::Told | Cause::Suspended | Cause::Probing
    );
    told && state.standing.remaining == Some(0)
}

fn is_worth_telling(state: &State, tells: bool) -> bool {
    let standing = &state.standing;
    match standing.cause {
        Cause::Documented => {
            // What stops calls is told, whoever else says something.
            let stops = Cause::Documented.is_enforced(&state.rule);
            state.counts && (stops || !tells) && standing.limit.is_some()
        }
        Cause::Configured | Cause::Plan | Cause::Share => state.counts && standing.limit.is_some(),
        // It may have told its limit only.
        Cause::Told if standing.limit.is_some() => state.counts && standing.remaining.is_some(),
        // The provider's last word stays good until its reset.
        _ => standing.remaining.is_some(),
    }
}

/// What an answer did not tell and the meter knows. A state under a name of the provider's own is not the meter's.
fn fill(limit: &mut ServiceLimit, state: &State, now: Now) {
    let standing = &state.standing;
    if limit.remaining.is_none()
        && is_worth_telling(state, false)
        && let Some(counted) = standing.remaining
    {
        let most = limit.limit.unwrap_or(counted);
        set_remaining(limit, counted.min(most), state, now);
    }
    // A documented quota below what is left is another account's.
    let fits = |quota: &u64| limit.remaining.is_some_and(|left| left <= *quota);
    if limit.limit.is_none() {
        limit.limit = standing.limit.filter(fits);
    }
}

/// What an answer told, and what the meter knows better.
fn tighten(limit: &mut ServiceLimit, reset_was_told: bool, state: &State, now: Now) {
    let standing = &state.standing;
    // A documented quota below what the provider says is left is another account's.
    let is_anothers = standing.cause == Cause::Documented
        && limit
            .remaining
            .is_some_and(|told| standing.limit.is_some_and(|limit| limit < told));
    if let (Some(told), Some(counted)) = (limit.remaining, standing.remaining)
        && counted < told
        && !is_anothers
    {
        set_remaining(limit, counted, state, now);
    }
    // The provider did not say when: from the meter's own count.
    let counts = matches!(state.rule.motion, Motion::Rolling(_) | Motion::Fixed(_));
    if !reset_was_told
        && (state.rule.end_is_unknown || (counts && standing.own > 0))
        && let Some(reset) = secs(state, now)
    {
        limit.reset = Some(reset);
        limit.source.estimated = is_estimated(state) || standing.used != standing.own;
    }
}

/// Who says the meter's numbers, the meter knows: what the provider has left was bounded by the user's own quota before.
fn say_who(limit: &mut ServiceLimit, state: &State) {
    let standing = &state.standing;
    let is_the_meters = limit.remaining.is_some() && limit.remaining == standing.remaining;
    let is_own = origin(state) == Origin::Own;
    if is_the_meters && limit.limit == standing.limit && is_own {
        limit.source.origin = Origin::Own;
        limit.source.estimated |= is_estimated(state);
    }
}

/// What is left, as the meter has it.
fn set_remaining(limit: &mut ServiceLimit, counted: u64, state: &State, now: Now) {
    limit.remaining = Some(counted);
    if matches!(state.standing.cause, Cause::Configured | Cause::Share) {
        // It is what is left of another quota than the provider's: one of the user's.
        let most = state.standing.limit;
        limit.limit = limit.limit.map_or(most, |limit| Some(limit.min(most?)));
    }
    if counted == 0 {
        limit.reset = limit.reset.max(secs(state, now));
    }
    limit.source.origin = origin(state);
    limit.source.estimated |= limit.source.origin == Origin::Own && is_estimated(state);
}

/// Who says what the meter says. A suspension is the provider's word until it ends; a count is from the next call on.
const fn origin(state: &State) -> Origin {
    let standing = &state.standing;
    match standing.cause {
        Cause::Suspended | Cause::Probing => Origin::Provider,
        Cause::Told if standing.fresh => Origin::Provider,
        _ => Origin::Own,
    }
}

/// The quota is documented for everyone, so that the account's may be another, or something of the window is not known.
fn is_estimated(state: &State) -> bool {
    let is_documented = state.rule.basis == Basis::Documented;
    // A cap is the user's own word.
    let is_sure = matches!(state.standing.cause, Cause::Told | Cause::Configured);
    state.rule.estimated || (is_documented && !is_sure)
}

/// A meter's own count as a limit.
#[must_use]
pub fn limit(state: &State, now: Now) -> ServiceLimit {
    let standing = &state.standing;
    let origin = origin(state);
    // When what others used comes back nobody has said.
    let rolls = matches!(state.rule.motion, Motion::Rolling(_));
    let is_guess = rolls && standing.used > standing.own;
    ServiceLimit {
        policy: std::sync::Arc::clone(&state.rule.policy),
        unit: state.rule.unit.clone(),
        limit: standing.limit,
        remaining: standing.remaining,
        reset: secs(state, now),
        window: state.rule.window_secs,
        source: Source {
            origin,
            estimated: is_guess
                || state.rule.end_is_unknown
                || (origin == Origin::Own && is_estimated(state)),
        },
    }
}

/// Seconds until all of the quota has come back, rounded up: at most, where nobody knows.
#[must_use]
pub fn whole_reset(state: &State, now: Now) -> u64 {
    let whole = match &state.rule.motion {
        Motion::Rolling(length) => length.ceil_secs(),
        Motion::Bucket { unit, whole } => {
            let limit = state.standing.limit.unwrap_or(1);
            unit.map_or(*whole, |unit| unit.times(limit)).ceil_secs()
        }
        _ => 0,
    };
    secs(state, now).unwrap_or(0).max(whole)
}

fn secs(state: &State, now: Now) -> Option<u64> {
    let reset = state.standing.reset?;
    Some(reset.since(now.steady).ceil_secs())
}
