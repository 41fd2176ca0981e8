//! When a connection was called most: the quarter hours of a while, and the one that stands out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::json;

use super::words::{number, time};
use super::{Advice, FEW, Kind, LEVEL};
use crate::state::history::Series;

/// How a connection was called, by quarter hours in which it was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Busy {
    /// How many there were.
    pub(super) quarters: u64,
    /// Calls in all of them.
    pub(super) calls: u64,
    /// The one with the most calls: its start in seconds since 1970, and who called how often.
    pub(super) peak: (i64, Callers),
}

/// Calls by caller, by their names.
pub(super) type Callers = Vec<(Arc<str>, u64)>;

/// Who calls which connection.
pub(super) struct Pairs {
    /// The connection and the consumer, in this order.
    pairs: Vec<(Arc<str>, Arc<str>)>,
    /// Which pair each series is of.
    of: Vec<usize>,
}

impl Pairs {
    pub(super) fn new<'a>(series: impl Iterator<Item = &'a Series> + Clone) -> Self {
        let pair = |series: &'a Series| (&series.connection, &series.consumer);
        let mut pairs: Vec<_> = series.clone().map(pair).collect();
        pairs.sort_unstable();
        pairs.dedup();
        let places: HashMap<_, _> = pairs
            .iter()
            .enumerate()
            .map(|(at, pair)| (*pair, at))
            .collect();
        let of = series.filter_map(|series| places.get(&pair(series)).copied());
        Self {
            of: of.collect(),
            pairs: (pairs.into_iter())
                .map(|(connection, consumer)| (Arc::clone(connection), Arc::clone(consumer)))
                .collect(),
        }
    }

    /// What was counted, by connection.
    pub(super) fn busy<'a>(
        &'a self,
        counters: impl IntoIterator<Item = Counter<'a>>,
    ) -> BTreeMap<Arc<str>, Busy> {
        let mut counted: Vec<_> = counters.into_iter().flat_map(Counter::close).collect();
        let connection = |pair: usize| self.pairs.get(pair).map(|(connection, _)| connection);
        // Pairs of one connection follow each other.
        counted.sort_by_key(|(start, pair, _)| (*start, *pair));
        let mut busy: BTreeMap<Arc<str>, Busy> = BTreeMap::new();
        let quarters = counted.chunk_by(|(start, pair, _), (next, other, _)| {
            start == next && connection(*pair) == connection(*other)
        });
        for quarter in quarters {
            let Some((start, pair, _)) = quarter.first() else {
                continue;
            };
            let Some(name) = connection(*pair) else {
                continue;
            };
            let calls = quarter.iter().map(|(.., calls)| calls).sum();
            match busy.get_mut(name) {
                Some(busy) => busy.add(*start, calls, || self.callers(quarter)),
                None => {
                    let mut first = Busy::default();
                    first.add(*start, calls, || self.callers(quarter));
                    busy.insert(Arc::clone(name), first);
                }
            }
        }
        busy
    }

    fn callers(&self, quarter: &[(i64, usize, u64)]) -> Callers {
        let same = quarter.chunk_by(|(_, pair, _), (_, other, _)| pair == other);
        let callers = same.filter_map(|parts| {
            let (_, consumer) = self.pairs.get(parts.first()?.1)?;
            let calls = parts.iter().map(|(.., calls)| calls).sum();
            Some((Arc::clone(consumer), calls))
        });
        callers.collect()
    }
}

/// Adds up one quarter hour at a time.
pub(super) struct Counter<'a> {
    pairs: &'a Pairs,
    start: i64,
    /// Of this quarter hour, by pair.
    sums: Vec<u64>,
    /// Of those before: start, pair, calls.
    counted: Vec<(i64, usize, u64)>,
}

impl<'a> Counter<'a> {
    pub(super) fn new(pairs: &'a Pairs) -> Self {
        Self {
            pairs,
            start: i64::MIN,
            sums: vec![0; pairs.pairs.len()],
            counted: Vec::new(),
        }
    }

    /// Calls of a series (by its place among those that the pairs were made of) that began at a moment. What belongs to one
    /// quarter hour should come together.
    #[inline]
    pub(super) fn see(&mut self, start: i64, place: usize, calls: u64) {
        let start = start - start.rem_euclid(LEVEL);
        if start != self.start {
            self.close_quarter();
            self.start = start;
        }
        let pair = self.pairs.of.get(place);
        if let Some(sum) = pair.and_then(|pair| self.sums.get_mut(*pair)) {
            *sum += calls;
        }
    }

    fn close_quarter(&mut self) {
        for (pair, calls) in self.sums.iter_mut().enumerate() {
            if *calls > 0 {
                self.counted.push((self.start, pair, std::mem::take(calls)));
            }
        }
    }

    fn close(mut self) -> Vec<(i64, usize, u64)> {
        self.close_quarter();
        self.counted
    }
}

impl Busy {
    pub(super) fn add(&mut self, start: i64, calls: u64, callers: impl FnOnce() -> Callers) {
        self.quarters += 1;
        self.calls += calls;
        // Of those that are alike, the last.
        if calls >= self.highest() {
            self.peak = (start, callers());
        }
    }

    fn highest(&self) -> u64 {
        let (_, callers) = &self.peak;
        callers.iter().map(|(_, calls)| calls).sum()
    }

    /// A quarter hour with ten times the calls of the others that had any.
    pub(super) fn spike(&self, connection: &str) -> Option<Advice> {
        let (start, callers) = &self.peak;
        let peak = self.highest();
        let others = self.quarters.checked_sub(1)?;
        let rest = self.calls - peak;
        // A pattern has a few quarter hours to stand out from.
        if others < 4 || peak < 5 * FEW || peak * others < 10 * rest {
            return None;
        }
        let mean = rest.div_ceil(others);
        let (who, most) = callers.iter().max_by_key(|(_, calls)| *calls)?;
        let text = format!(
            "`{connection}` got {} calls in the quarter hour from {}, and {} in a usual one; {} of them were `{who}`'s.",
            number(peak),
            time(*start),
            number(mean),
            number(*most),
        );
        Some(Advice {
            kind: Kind::Spike,
            connection: connection.to_string(),
            consumer: who.to_string(),
            endpoint: None,
            policy: None,
            calls: peak,
            saved: None,
            text,
            numbers: json!({ "at": time(*start), "calls": peak, "usual": mean, "by_consumer": most }),
        })
    }
}
