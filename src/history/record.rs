//! What is remembered of one call. Never a token, a query or a body.

use std::sync::Arc;

use smallvec::SmallVec;

use super::poll::Poll;
use crate::quota::Unit;
use crate::state::history::Sums;
use crate::time::Nanos;

/// One call, however it ended.
#[derive(Debug, Clone)]
pub struct Record {
    /// When it ended, in Unix milliseconds.
    pub ended_ms: i64,
    /// The connection's name.
    pub connection: Arc<str>,
    /// The adapter's id.
    pub provider: Arc<str>,
    /// Who called.
    pub consumer: Who,
    /// The method; one that is not registered is `OTHER`.
    pub method: &'static str,
    /// The template of the path, without identifiers.
    pub endpoint: String,
    /// What the caller got; `None`: it went away before.
    pub status: Option<u16>,
    /// The provider's status, where the caller got another one.
    pub upstream_status: Option<u16>,
    /// Whose word it was that there was no quota.
    pub refused_by: Option<Refuser>,
    /// The policy that was in the way.
    pub policy: Option<Arc<str>>,
    /// What it used of which policies.
    pub spent: SmallVec<[Spent; 2]>,
    /// How the answer ended.
    pub outcome: Outcome,
    /// How long it was held for its quota.
    pub waited: Nanos,
    /// From the request's head to the answer's end.
    pub duration: Nanos,
    /// From sending to the head of the provider's answer.
    pub upstream: Nanos,
    /// What headroom itself added until it had an answer's head to hand over: without the provider, the wait for quota, and
    /// what was read ahead of either body. `None`: there was no answer, or it cannot be told apart.
    pub overhead: Option<Nanos>,
    /// Bytes of the request's body.
    pub bytes_in: u64,
    /// Bytes of the answer's body.
    pub bytes_out: u64,
    /// Whether it repeated another one.
    pub poll: Poll,
}

/// Who called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Who {
    /// A consumer of the configuration.
    Named(Arc<str>),
    /// The owner of a credential, by its keyed hash.
    Credential(u64),
    /// Nobody said.
    Anonymous,
}

impl Who {
    /// As it stands in reports.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        match self {
            Self::Named(name) => Arc::clone(name),
            // Half of it tells callers apart.
            Self::Credential(hash) => format!("credential:{:08x}", hash >> 32).into(),
            Self::Anonymous => "anonymous".into(),
        }
    }
}

/// Whose word it was that there was no quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refuser {
    /// The call was not sent.
    Headroom,
    /// The provider refused it.
    Provider,
}

impl Refuser {
    /// As it stands in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Headroom => "headroom",
            Self::Provider => "provider",
        }
    }
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The caller has it whole.
    Complete,
    /// It broke off, at the provider or on its way from there.
    Broken,
    /// The caller went away before there was one, or in the middle of it.
    Left,
}

impl Outcome {
    /// As it stands in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Broken => "broken",
            Self::Left => "left",
        }
    }
}

/// What a call used of one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// The policy.
    pub policy: Arc<str>,
    /// What it counts.
    pub unit: Unit,
    /// How much.
    pub cost: u64,
}

impl Spent {
    /// Whether both are of one policy, whatever they cost.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.policy == other.policy && self.unit == other.unit
    }
}

impl Record {
    /// What it adds to the totals of its kind.
    #[must_use]
    pub fn sums(&self) -> Sums {
        Sums {
            calls: 1,
            refused: u64::from(self.refused_by == Some(Refuser::Headroom)),
            exhausted: u64::from(self.refused_by == Some(Refuser::Provider)),
            // The sums do not tell whose fault it was that the caller has not the whole answer; events do.
            broken: u64::from(self.status.is_some() && self.outcome != Outcome::Complete),
            waited: u64::from(self.waited.0 > 0),
            waited_us: micros(self.waited),
            duration_us: micros(self.duration),
            upstream_us: micros(self.upstream),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            polls: u64::from(self.poll.repeats),
            polls_gap_ms: self.poll.gap_ms,
            same: u64::from(self.poll.same),
            revalidatable: u64::from(self.poll.revalidatable),
            fresh: u64::from(self.poll.fresh),
            ..Sums::default()
        }
    }
}

pub(super) const fn micros(length: Nanos) -> u64 {
    length.0 / 1_000
}
