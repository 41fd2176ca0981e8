//! How many names there may be. Paths and credentials come from callers, who can make up any number of them.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};

use crate::state::history::{Series, SeriesRef};

/// Endpoints of one connection that are told apart.
pub const MOST_ENDPOINTS: usize = 200;
/// Callers without a key that are told apart.
pub const MOST_STRANGERS: usize = 200;
/// What the rest is called.
pub const OTHER: &str = "(other)";

/// So many series are made once. The same few thousand come again and again, and to make one takes longer than to count it.
const MOST_SERIES: usize = 32_768;

/// After so many looks in vain nothing is kept of what was counted: some minutes. Not sooner, because the store knows series by where
/// they are, and has to compare those that were made again.
const LONG_REST: u32 = 1_000;

/// The names there are.
#[derive(Debug, Default)]
pub(super) struct Names {
    endpoints: HashMap<Arc<str>, HashSet<Arc<str>>>,
    strangers: HashSet<Arc<str>>,
    /// Series that were counted, by the hash of their [`Label`].
    series: HashTable<(u64, SeriesRef)>,
    /// Of these series, but for their consumers.
    texts: HashSet<Arc<str>>,
    /// Looks in vain since the last call.
    rested: u32,
    hasher: DefaultHashBuilder,
}

/// A series that may not be made yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Label<'a> {
    pub(super) connection: &'a Arc<str>,
    pub(super) provider: &'a Arc<str>,
    pub(super) consumer: &'a Arc<str>,
    pub(super) method: &'a str,
    pub(super) endpoint: &'a str,
    pub(super) status: u16,
    pub(super) upstream_status: u16,
    pub(super) refused_by: &'a str,
    pub(super) policy: &'a str,
    pub(super) unit: &'a str,
}

impl<'a> Label<'a> {
    fn of(series: &'a Series) -> Self {
        Self {
            connection: &series.connection,
            provider: &series.provider,
            consumer: &series.consumer,
            method: &series.method,
            endpoint: &series.endpoint,
            status: series.status,
            upstream_status: series.upstream_status,
            refused_by: &series.refused_by,
            policy: &series.policy,
            unit: &series.unit,
        }
    }

    /// Texts that many have are those of all: whoever compares thousands of series reads them from the cache.
    fn series(self, texts: &mut HashSet<Arc<str>>) -> Series {
        let mut text = |text: &str| Arc::clone(texts.get_or_insert_with(text, |text| text.into()));
        Series {
            connection: text(self.connection),
            provider: text(self.provider),
            consumer: Arc::clone(self.consumer),
            method: text(self.method),
            endpoint: text(self.endpoint),
            status: self.status,
            upstream_status: self.upstream_status,
            refused_by: text(self.refused_by),
            policy: text(self.policy),
            unit: text(self.unit),
        }
    }
}

impl Names {
    /// Takes in what the store has.
    pub(super) fn know(&mut self, series: &Series) {
        self.endpoint(&series.connection, &series.endpoint);
        if is_stranger(&series.consumer) {
            self.stranger(&series.consumer);
        }
    }

    /// Nobody has called since this was looked at last. After a while what is only there to be quicker goes.
    pub(super) fn rest(&mut self) {
        self.rested = self.rested.saturating_add(1);
        if self.rested == LONG_REST {
            self.series = HashTable::new();
            self.texts = HashSet::new();
        }
    }

    /// The series as it is counted.
    pub(super) fn bounded(&mut self, label: Label<'_>) -> SeriesRef {
        self.rested = 0;
        let hash = self.hasher.hash_one(label);
        let is = |(other, series): &(u64, SeriesRef)| *other == hash && Label::of(series) == label;
        if let Some((_, series)) = self.series.find(hash, is) {
            return series.clone();
        }
        // Made-up endpoints are among them, before they are counted with the others.
        if self.texts.len() >= MOST_SERIES {
            self.texts.clear();
        }
        let mut series = label.series(&mut self.texts);
        let mut is_known = true;
        if !self.endpoint(&series.connection, &series.endpoint) {
            series.endpoint = OTHER.into();
            is_known = false;
        }
        if is_stranger(&series.consumer) && !self.stranger(&series.consumer) {
            series.consumer = OTHER.into();
            is_known = false;
        }
        let series = SeriesRef::from(series);
        // What is counted as another one is looked at again: there may be room for its name some day.
        if is_known {
            if self.series.len() >= MOST_SERIES {
                self.series.clear();
            }
            let entry = (hash, series.clone());
            self.series.insert_unique(hash, entry, |(hash, _)| *hash);
        }
        series
    }

    fn endpoint(&mut self, connection: &Arc<str>, endpoint: &Arc<str>) -> bool {
        if endpoint.is_empty() {
            return true;
        }
        let known = self.endpoints.entry(Arc::clone(connection)).or_default();
        has_or_takes(known, endpoint, MOST_ENDPOINTS)
    }

    fn stranger(&mut self, name: &Arc<str>) -> bool {
        has_or_takes(&mut self.strangers, name, MOST_STRANGERS)
    }
}

fn has_or_takes(known: &mut HashSet<Arc<str>>, name: &Arc<str>, most: usize) -> bool {
    if known.contains(name) {
        return true;
    }
    let room = known.len() < most;
    if room {
        known.insert(Arc::clone(name));
    }
    room
}

fn is_stranger(name: &str) -> bool {
    name.starts_with("credential:")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(names: &mut Names, consumer: &str, endpoint: &str, status: u16) -> SeriesRef {
        let connection = "crm".into();
        names.bounded(Label {
            connection: &connection,
            provider: &"hubspot".into(),
            consumer: &consumer.into(),
            method: "GET",
            endpoint,
            status,
            upstream_status: 0,
            refused_by: "",
            policy: "",
            unit: "",
        })
    }

    #[test]
    fn a_series_is_made_once_and_is_what_was_counted() {
        let mut names = Names::default();
        for round in 0..2 {
            // More than are kept, so that some are made again.
            for number in 0..MOST_SERIES + 100 {
                let consumer = format!("c{number}");
                let series = counted(&mut names, &consumer, "/a", 200);
                assert_eq!((&*series.consumer, &*series.endpoint), (&*consumer, "/a"));
                assert_eq!((&*series.connection, &*series.provider), ("crm", "hubspot"));
                let again = counted(&mut names, &consumer, "/a", 200);
                assert!(std::ptr::eq(&*series, &*again), "{round} {consumer}");
                assert!(names.series.len() <= MOST_SERIES);
            }
            for _ in 0..LONG_REST {
                assert!(!names.series.is_empty());
                names.rest();
            }
            assert!(names.series.is_empty() && names.texts.is_empty());
        }
        let other = counted(&mut names, "c1", "/a", 429);
        assert_eq!(other.status, 429);
    }

    #[test]
    fn a_name_that_is_one_too_many_is_counted_with_the_others() {
        let mut names = Names::default();
        for _ in 0..2 {
            for number in 0..2 * MOST_ENDPOINTS {
                let endpoint = format!("/{number}");
                let series = counted(&mut names, "credential:00000001", &endpoint, 200);
                let is_known = number < MOST_ENDPOINTS;
                assert_eq!(&*series.endpoint, if is_known { &endpoint } else { OTHER });
            }
        }
        for number in 0..2 * MOST_STRANGERS {
            let consumer = format!("credential:{number:08x}");
            let series = counted(&mut names, &consumer, "/1", 200);
            let is_known = number < MOST_STRANGERS;
            assert_eq!(&*series.consumer, if is_known { &consumer } else { OTHER });
        }
    }
}
