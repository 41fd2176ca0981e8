//! What was told, as numbers for metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::warning::{Kind, Warning};

/// Numbers since the start. Labels are those of the configuration and the catalogue, so they are bounded.
#[derive(Debug, Default)]
pub struct Counters {
    raised: Mutex<BTreeMap<Raised, u64>>,
    /// Webhooks that were taken by their receivers.
    pub delivered: AtomicU64,
    /// Attempts that failed.
    pub failed: AtomicU64,
    /// Webhooks that were tried for the last time.
    pub given_up: AtomicU64,
    /// Webhooks that were dropped because too many waited or their receiver is no longer there.
    pub dropped: AtomicU64,
    /// Webhooks that wait now.
    pub waiting: AtomicU64,
}

/// Which warnings a number counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Raised {
    /// What they were about.
    pub kind: Kind,
    /// The connection.
    pub connection: String,
    /// The adapter's id.
    pub provider: String,
    /// The policy.
    pub policy: String,
    /// Per cent.
    pub threshold: Option<u8>,
}

impl Counters {
    /// How many warnings there were of each kind.
    #[must_use]
    pub fn raised(&self) -> BTreeMap<Raised, u64> {
        self.lock().clone()
    }

    pub(super) fn count(&self, warning: &Warning) {
        let data = &warning.data;
        let raised = Raised {
            kind: warning.kind,
            connection: data.connection.clone(),
            provider: data.provider.clone(),
            policy: data.policy.clone(),
            threshold: data.threshold,
        };
        *self.lock().entry(raised).or_default() += 1;
    }

    pub(super) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Raised, u64>> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
