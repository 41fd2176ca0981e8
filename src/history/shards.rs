//! Where calls are added up, until somebody takes the sums away. Several, so that threads seldom meet.

use std::cell::Cell;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::names::{Names, OTHER};
use super::record::{Record, Spent, Who, micros};
use super::tally::{Caller, Refusal, Tally, Timings};
use crate::state::history::{Chunk, EventRow, Series, Sums};

const SHARDS: usize = 8;

/// Kinds of calls that one shard tells apart at a time: then endpoints become one. Somebody makes up paths.
const MOST_KINDS: usize = 4_096;

/// Calls that one shard keeps one by one at a time.
const MOST_EVENTS: usize = 8_192;

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The shard of this thread.
    static OWN: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed));
}

#[derive(Default)]
pub(super) struct Shards {
    shards: [Mutex<Shard>; SHARDS],
    hasher: DefaultHashBuilder,
}

#[derive(Default)]
struct Shard {
    kinds: HashTable<Kind>,
    timed: HashTable<Timed>,
    refused: HashTable<Refused>,
    events: Vec<Event>,
    lost: u64,
}

/// A sum that is growing.
struct Kind {
    minute: i64,
    series: Arc<Series>,
    who: Who,
    sums: Sums,
}

/// How long the calls of a connection took.
struct Timed {
    connection: Arc<str>,
    provider: Arc<str>,
    timings: Timings,
}

/// Calls of somebody that had no quota.
struct Refused {
    connection: Arc<str>,
    provider: Arc<str>,
    who: Who,
    refusal: Refusal,
    count: u64,
}

/// A call, in short.
struct Event {
    series: Arc<Series>,
    record: Record,
}

/// What tells kinds apart, without making anything.
#[derive(Hash)]
struct Key<'a> {
    minute: i64,
    connection: &'a str,
    who: &'a Who,
    method: &'a str,
    endpoint: &'a str,
    status: u16,
    upstream_status: u16,
    refused_by: &'a str,
    policy: &'a str,
    unit: &'a str,
}

impl<'a> Key<'a> {
    fn of_call(record: &'a Record, endpoint: &'a str) -> Self {
        Self {
            minute: minute(record),
            connection: &record.connection,
            who: &record.consumer,
            method: record.method,
            endpoint,
            status: record.status.unwrap_or(0),
            upstream_status: record.upstream_status.unwrap_or(0),
            refused_by: record.refused_by.map_or("", |refuser| refuser.as_str()),
            policy: "",
            unit: "",
        }
    }

    fn of_policy(record: &'a Record, spent: &'a Spent) -> Self {
        Self {
            minute: minute(record),
            connection: &record.connection,
            who: &record.consumer,
            method: "",
            endpoint: "",
            status: 0,
            upstream_status: 0,
            refused_by: "",
            policy: &spent.policy,
            unit: spent.unit.as_str(),
        }
    }

    fn is(&self, kind: &Kind) -> bool {
        let series = &*kind.series;
        self.minute == kind.minute
            && *self.who == kind.who
            && self.status == series.status
            && self.upstream_status == series.upstream_status
            && self.connection == &*series.connection
            && self.method == &*series.method
            && self.endpoint == &*series.endpoint
            && self.refused_by == &*series.refused_by
            && self.policy == &*series.policy
            && self.unit == &*series.unit
    }

    fn series(&self, record: &Record) -> Series {
        Series {
            connection: Arc::clone(&record.connection),
            provider: Arc::clone(&record.provider),
            consumer: record.consumer.name(),
            method: self.method.into(),
            endpoint: self.endpoint.into(),
            status: self.status,
            upstream_status: self.upstream_status,
            refused_by: self.refused_by.into(),
            policy: self.policy.into(),
            unit: self.unit.into(),
        }
    }
}

/// The start of the minute in which the call ended, in seconds since 1970.
const fn minute(record: &Record) -> i64 {
    record.ended_ms.div_euclid(60_000) * 60
}

impl Shards {
    pub(super) fn record(&self, record: Record) {
        let own = OWN.with(Cell::get) % SHARDS;
        let Some(shard) = self.shards.get(own) else {
            return;
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoint = if shard.kinds.len() < MOST_KINDS {
            &record.endpoint
        } else {
            OTHER
        };
        let key = Key::of_call(&record, endpoint);
        let series = shard.add(&self.hasher, &key, &record, &record.sums());
        for spent in &record.spent {
            let key = Key::of_policy(&record, spent);
            shard.add(&self.hasher, &key, &record, &record.spent_sums(spent));
        }
        shard.time(&self.hasher, &record);
        shard.refuse(&self.hasher, &record);
        if shard.events.len() < MOST_EVENTS {
            shard.events.push(Event { series, record });
        } else {
            shard.lost += 1;
        }
    }

    /// Moves everything into a chunk, and adds it to the tally; tells how many calls were not kept one by one.
    pub(super) fn take(
        &self,
        names: &mut Names,
        chunk: &mut Chunk,
        next_event: &mut i64,
        tally: &mut Tally,
    ) -> u64 {
        let mut lost = 0;
        let mut events = Vec::new();
        for shard in &self.shards {
            // Held for a swap only.
            let taken = std::mem::take(&mut *shard.lock().unwrap_or_else(PoisonError::into_inner));
            for kind in taken.kinds {
                let key = (kind.minute, names.bounded(&kind.series));
                tally.calls(&key.1, &kind.sums);
                chunk.totals.entry(key).or_default().add(&kind.sums);
            }
            for timed in taken.timed {
                tally.took(timed.connection, timed.provider, &timed.timings);
            }
            for refused in taken.refused {
                let caller = Caller {
                    consumer: names.consumer(&refused.who),
                    connection: refused.connection,
                    provider: refused.provider,
                };
                tally.refused(caller, refused.refusal, refused.count);
            }
            events.extend(taken.events);
            lost += taken.lost;
        }
        events.sort_by_key(|event| event.record.ended_ms);
        for event in events {
            chunk.events.push(event.row(names, *next_event));
            *next_event += 1;
        }
        lost
    }
}

impl Shard {
    fn add(
        &mut self,
        hasher: &DefaultHashBuilder,
        key: &Key<'_>,
        record: &Record,
        sums: &Sums,
    ) -> Arc<Series> {
        let hash = hasher.hash_one(key);
        if let Some(kind) = self.kinds.find_mut(hash, |kind| key.is(kind)) {
            kind.sums.add(sums);
            return Arc::clone(&kind.series);
        }
        let series = Arc::new(key.series(record));
        let kind = Kind {
            minute: key.minute,
            series: Arc::clone(&series),
            who: record.consumer.clone(),
            sums: *sums,
        };
        let rehash = |kind: &Kind| hasher.hash_one(kind.key());
        self.kinds.insert_unique(hash, kind, rehash);
        series
    }

    fn time(&mut self, hasher: &DefaultHashBuilder, record: &Record) {
        let key = |timed: &Timed| hasher.hash_one((&*timed.connection, &*timed.provider));
        let hash = hasher.hash_one((&*record.connection, &*record.provider));
        let is = |timed: &Timed| {
            timed.connection == record.connection && timed.provider == record.provider
        };
        let timed = self.timed.entry(hash, is, key).or_insert_with(|| Timed {
            connection: Arc::clone(&record.connection),
            provider: Arc::clone(&record.provider),
            timings: Timings::default(),
        });
        timed.into_mut().timings.see(record);
    }

    fn refuse(&mut self, hasher: &DefaultHashBuilder, record: &Record) {
        let Some(by) = record.refused_by else { return };
        let key = |refused: &Refused| {
            let Refusal { by, policy } = &refused.refusal;
            hasher.hash_one((&*refused.connection, &refused.who, by, policy))
        };
        let hash = hasher.hash_one((&*record.connection, &record.consumer, by, &record.policy));
        let is = |refused: &Refused| {
            refused.refusal.by == by
                && refused.refusal.policy == record.policy
                && refused.who == record.consumer
                && refused.connection == record.connection
                && refused.provider == record.provider
        };
        let new = || Refused {
            connection: Arc::clone(&record.connection),
            provider: Arc::clone(&record.provider),
            who: record.consumer.clone(),
            refusal: Refusal {
                by,
                policy: record.policy.clone(),
            },
            count: 0,
        };
        let entry = self.refused.entry(hash, is, key);
        entry.or_insert_with(new).into_mut().count += 1;
    }
}

impl Kind {
    fn key(&self) -> Key<'_> {
        let series = &*self.series;
        Key {
            minute: self.minute,
            connection: &series.connection,
            who: &self.who,
            method: &series.method,
            endpoint: &series.endpoint,
            status: series.status,
            upstream_status: series.upstream_status,
            refused_by: &series.refused_by,
            policy: &series.policy,
            unit: &series.unit,
        }
    }
}

impl Event {
    fn row(self, names: &mut Names, id: i64) -> EventRow {
        let Self { series, record } = self;
        EventRow {
            id,
            at_ms: record.ended_ms,
            series: names.bounded(&series),
            outcome: record.outcome.as_str(),
            policy: record.policy.unwrap_or_default(),
            spent: spent(&record.spent),
            waited_us: micros(record.waited),
            duration_us: micros(record.duration),
            upstream_us: micros(record.upstream),
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
        }
    }
}

/// As JSON.
fn spent(spent: &[Spent]) -> String {
    let rows = spent.iter().map(|spent| {
        serde_json::json!({ "policy": &*spent.policy, "unit": spent.unit.as_str(), "cost": spent.cost })
    });
    serde_json::Value::Array(rows.collect()).to_string()
}
