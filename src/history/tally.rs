//! Sums of all calls since the process began, for those who ask again and again and compare: they only rise.

use std::hash::Hash;
use std::sync::Arc;

use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;

use super::names::OTHER;
use super::record::{Record, Refuser, micros};
use crate::state::history::{Series, Sums};

/// Upper ends of the classes by which whole calls and the provider's part of them are told apart, in microseconds.
pub const DURATIONS: [u64; 13] = [
    5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

/// The same for what headroom adds.
pub const OVERHEADS: [u64; 13] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000,
];

/// Callers and what they got, told apart; then callers become one. Somebody makes up credentials.
const MOST: usize = 4_000;

/// A count of lengths of time, by class. The last class has no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Histogram {
    /// How many were in each class.
    pub counts: [u64; DURATIONS.len() + 1],
    /// All together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    fn see(&mut self, ends: &[u64; DURATIONS.len()], length_us: u64) {
        // Few enough that looking at each is quicker than searching.
        let class = ends.iter().filter(|end| length_us > **end).count();
        if let Some(count) = self.counts.get_mut(class) {
            *count += 1;
        }
        self.sum_us = self.sum_us.saturating_add(length_us);
    }

    fn add(&mut self, other: &Self) {
        for (count, other) in self.counts.iter_mut().zip(other.counts) {
            *count += other;
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// How long the calls of one connection took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// From the request's head to the answer's end, by [`DURATIONS`].
    pub duration: Histogram,
    /// From sending to the head of the provider's answer, by [`DURATIONS`]; of the calls that have one.
    pub upstream: Histogram,
    /// What headroom added, by [`OVERHEADS`]; of the calls that got an answer.
    pub overhead: Histogram,
}

impl Timings {
    pub(super) fn see(&mut self, record: &Record) {
        self.duration.see(&DURATIONS, micros(record.duration));
        if record.upstream.0 > 0 {
            self.upstream.see(&DURATIONS, micros(record.upstream));
        }
        if let Some(overhead) = record.overhead {
            self.overhead.see(&OVERHEADS, micros(overhead));
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.duration.add(&other.duration);
        self.upstream.add(&other.upstream);
        self.overhead.add(&other.overhead);
    }
}

/// Whose calls.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Caller {
    /// The connection.
    pub connection: Arc<str>,
    /// The adapter's id.
    pub provider: Arc<str>,
    /// Who called, as in reports.
    pub consumer: Arc<str>,
}

impl Caller {
    pub(super) fn of(series: &Series) -> Self {
        Self {
            connection: Arc::clone(&series.connection),
            provider: Arc::clone(&series.provider),
            consumer: Arc::clone(&series.consumer),
        }
    }

    fn other(self) -> Self {
        Self {
            consumer: OTHER.into(),
            ..self
        }
    }
}

/// Who had no quota for a call, and which quota it was.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Refusal {
    /// Whose word it was.
    pub by: Refuser,
    /// The policy, where one is known.
    pub policy: Option<Arc<str>>,
}

/// Rows in the order in which they came. None goes, so that each is found again by its place.
pub type Rows<K, V> = IndexMap<K, V, DefaultHashBuilder>;

/// The sums.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// By caller and the status that it got; 0: it went away before.
    pub requests: Rows<(Caller, u16), u64>,
    /// By caller.
    pub callers: Rows<Caller, Sums>,
    /// Calls without quota.
    pub refusals: Rows<(Caller, Refusal), u64>,
    /// By connection and adapter.
    pub timings: Rows<(Arc<str>, Arc<str>), Timings>,
}

/// Where the calls of one kind are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    request: usize,
    caller: usize,
}

impl Tally {
    /// Where such calls are counted from now on.
    pub(super) fn places(&mut self, series: &Series) -> Places {
        let caller = Caller::of(series);
        let key = (caller.clone(), series.status);
        let other = |(caller, status): (Caller, u16)| (caller.other(), status);
        Places {
            request: place(&mut self.requests, key, other),
            caller: place(&mut self.callers, caller, Caller::other),
        }
    }

    /// Adds calls.
    pub(super) fn calls(&mut self, places: Places, sums: &Sums) {
        if let Some((_, count)) = self.requests.get_index_mut(places.request) {
            *count += sums.calls;
        }
        if let Some((_, of_caller)) = self.callers.get_index_mut(places.caller) {
            of_caller.add(sums);
        }
    }

    pub(super) fn refused(&mut self, caller: Caller, refusal: Refusal, count: u64) {
        let other = |(caller, refusal): (Caller, Refusal)| (caller.other(), refusal);
        let place = place(&mut self.refusals, (caller, refusal), other);
        if let Some((_, sum)) = self.refusals.get_index_mut(place) {
            *sum += count;
        }
    }

    pub(super) fn took(&mut self, key: (Arc<str>, Arc<str>), timings: &Timings) {
        self.timings.entry(key).or_default().add(timings);
    }
}

/// The row of a key, or that of the others where there are too many.
fn place<K: Eq + Hash, V: Default>(
    rows: &mut Rows<K, V>,
    key: K,
    other: impl FnOnce(K) -> K,
) -> usize {
    let key = if rows.len() < MOST || rows.contains_key(&key) {
        key
    } else {
        other(key)
    };
    let entry = rows.entry(key);
    let place = entry.index();
    entry.or_default();
    place
}
