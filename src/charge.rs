//! What a call uses of a provider's policies: which of them count it, what it costs, and whose budget it is. Pure: no clock,
//! no I/O; what answers have taught is the caller's to remember.
//!
//! [`charges`] is the hot path. [`label`] spells a partition for people and for storage, out of the same walk that makes its
//! key ([`partition`]), so the two cannot disagree. [`lesson`] reads what a partition is learned from.

mod endpoint;
pub mod lesson;
pub mod partition;

use smallvec::SmallVec;

use crate::adapter::condition::RequestCondition;
use crate::adapter::{Adapter, Call, Policy, WindowKind};
use crate::quota::Unit;
use crate::translate::Matches;
pub use lesson::{Lesson, lessons, may_teach};
pub use partition::{Account, Learned, Partition, Unknown, key_of, label};

/// The template of a path, percent-encoded and without query: identifiers and what may be secret are `*`.
#[must_use]
pub fn endpoint(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    endpoint::template(path, &mut |piece| {
        // It is ASCII: whatever is not has become a star.
        text.push_str(str::from_utf8(piece).unwrap_or("*"));
    });
    text
}

/// What one call uses of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The policy, as an index into the adapter's.
    pub policy: usize,
    /// How much of it.
    pub cost: Cost,
    /// Whose budget it is.
    pub partition: Partition,
}

/// How much a call uses of a policy, in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// So much.
    Known(u64),
    /// Nobody knows before the answer, whose reading of the cost or of the state may tell.
    Told,
}

impl Cost {
    /// What is counted before the answer.
    #[must_use]
    pub const fn before_answer(self) -> u64 {
        match self {
            Self::Known(cost) => cost,
            Self::Told => 0,
        }
    }
}

/// What a call uses of the policies of an adapter, in their order. A policy that does not count the call is not among them.
#[must_use]
pub fn charges(
    adapter: &Adapter,
    call: &Call<'_>,
    who: &Account<'_>,
    learned: &Learned<'_>,
) -> SmallVec<[Charge; 4]> {
    let matches = Matches::new(adapter, call);
    let free = adapter
        .uncounted
        .iter()
        .any(|condition| condition.holds(call) == Some(true));
    let mut charges: SmallVec<[Charge; 4]> = SmallVec::new();
    for (index, policy) in adapter.policies.iter().enumerate() {
        // "Uncounted" is about quotas that are used up. A request in flight occupies its place whatever it asks for.
        if (free && policy.kind != Some(WindowKind::Concurrent)) || !matches.counts(index) {
            continue;
        }
        let cost = cost(policy, call);
        if cost == Cost::Known(0) {
            continue;
        }
        // Most policies of a provider have one partition: it is hashed once.
        let known = charges.iter().find(|charge| {
            let other = adapter.policies.get(charge.policy);
            other.is_some_and(|other| partition::is_shared(policy, other))
        });
        let partition = match known {
            Some(charge) => charge.partition.clone(),
            None => partition::find(adapter, policy, call, who, learned),
        };
        charges.push(Charge {
            policy: index,
            cost,
            partition,
        });
    }
    charges
}

/// What a call costs. Where it depends on what is not known of the call, the dearest of what may fit.
pub(crate) fn cost(policy: &Policy, call: &Call<'_>) -> Cost {
    if policy.weights.is_empty() {
        return if counts_calls(&policy.unit) {
            Cost::Known(1)
        } else {
            Cost::Told
        };
    }
    let mut dearest = 0;
    for (condition, cost) in &policy.weights {
        match condition.holds(call) {
            Some(true) => return Cost::Known(dearest.max(*cost)),
            Some(false) => {}
            None => dearest = dearest.max(*cost),
        }
    }
    Cost::Known(dearest.max(1))
}

/// Whether a unit counts calls: each is one of it. The others measure what a call did, which its answer tells, if anything.
fn counts_calls(unit: &Unit) -> bool {
    match unit {
        Unit::Requests | Unit::ConcurrentRequests => true,
        Unit::Other(name) => {
            !matches!(&**name, "tokens" | "points" | "credits" | "percent")
                && !name.ends_with("-seconds")
        }
    }
}

/// Whether what this call uses depends on its body: then the body's beginning, up to
/// [`crate::adapter::REQUEST_BODY_LIMIT`] bytes, is to be read before the call is charged.
#[must_use]
pub fn needs_request_body(adapter: &Adapter, call: &Call<'_>) -> bool {
    let looks = |condition: &RequestCondition| {
        condition.needs_body() && condition.holds_before_body(call) != Some(false)
    };
    adapter.looks_at_request_bodies
        && (adapter.uncounted.iter().any(looks)
            || adapter
                .policies
                .iter()
                .flat_map(Policy::request_conditions)
                .any(looks))
}

#[cfg(test)]
mod tests;
