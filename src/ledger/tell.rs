//! Meters as limits: what an answer's headers say where the provider says nothing, or less than headroom knows.

use smallvec::SmallVec;

use super::meter::Cause;
use super::ticket::State;
use super::time::Now;
use crate::adapter::Adapter;
use crate::ledger::rule::Motion;
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
            .map(|(limit, told)| (limit, told.reset))
            .peekable();
        if told.peek().is_some() {
            for (limit, reset_was_told) in told {
                tighten(limit, reset_was_told, state, now);
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
        Cause::Configured | Cause::Plan => state.counts && standing.limit.is_some(),
        // The provider's last word stays good until its reset.
        _ => standing.remaining.is_some(),
    }
}

/// What an answer told, and what the meter knows beside it.
fn tighten(limit: &mut ServiceLimit, reset_was_told: bool, state: &State, now: Now) {
    let standing = &state.standing;
    if let (Some(told), Some(counted)) = (limit.remaining, standing.remaining)
        && counted < told
    {
        limit.remaining = Some(counted);
        if counted == 0 {
            limit.reset = limit.reset.max(secs(state, now));
        }
    }
    // The provider did not say when: from the meter's own count.
    let counts = matches!(state.rule.motion, Motion::Rolling(_) | Motion::Fixed(_));
    if !reset_was_told
        && counts
        && standing.own > 0
        && let Some(reset) = secs(state, now)
    {
        limit.reset = Some(reset);
        limit.source.estimated = state.rule.estimated || standing.used != standing.own;
    }
}

/// A meter's own count as a limit.
#[must_use]
pub fn limit(state: &State, now: Now) -> ServiceLimit {
    let standing = &state.standing;
    // A suspension is the provider's word until it ends; a count is from the next call on.
    let provider = match standing.cause {
        Cause::Suspended | Cause::Probing => true,
        Cause::Told => standing.fresh,
        _ => false,
    };
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
            origin: if provider {
                Origin::Provider
            } else {
                Origin::Own
            },
            estimated: is_guess || (!provider && state.rule.estimated),
        },
    }
}

fn secs(state: &State, now: Now) -> Option<u64> {
    let reset = state.standing.reset?;
    Some(reset.since(now.steady).ceil_secs())
}
