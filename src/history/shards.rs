//! Where calls are added up, until somebody takes the sums away. Several, so that threads seldom meet.

use std::cell::Cell;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;

use super::names::{Label, Names, OTHER};
use super::record::{Outcome, Record, Refuser, Spent, Who, micros};
use super::tally::{Caller, Refusal, Tally, Timings};
use crate::state::history::{Chunk, EventRow, Series, Sums};

const SHARDS: usize = 8;

/// Kinds of calls that one shard tells apart at a time: then endpoints become one. Somebody makes up paths.
const MOST_KINDS: usize = 8_192;

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
    /// Empty, with the room of one that was taken away: what grows anew each time is copied each time.
    spare: Mutex<Option<Shard>>,
}

#[derive(Default)]
struct Shard {
    kinds: Vec<Kind>,
    /// Where each kind stands.
    places: HashTable<usize>,
    timed: Vec<Timed>,
    /// Where each connection stands in `timed`.
    clocks: HashTable<usize>,
    events: Vec<Event>,
    lost: u64,
}

/// A sum that is growing: of calls that differ in lengths and costs only. One look finds it, and with it all that a call
/// adds to, its policies and its connection's times too.
struct Kind {
    hash: u64,
    minute: i64,
    connection: Arc<str>,
    provider: Arc<str>,
    who: Who,
    method: &'static str,
    endpoint: String,
    status: u16,
    upstream_status: u16,
    refused_by: Option<Refuser>,
    /// What was in the way.
    policy: Option<Arc<str>>,
    /// With the sums of their costs.
    spent: SmallVec<[Spent; 2]>,
    sums: Sums,
    /// In the shard's `timed`.
    clock: usize,
}

/// How long the calls of a connection took.
struct Timed {
    hash: u64,
    connection: Arc<str>,
    provider: Arc<str>,
    timings: Timings,
}

/// A call, in short.
struct Event {
    /// In the shard's `kinds`.
    kind: usize,
    at_ms: i64,
    outcome: Outcome,
    /// Of the kind's policies, in their order.
    costs: SmallVec<[u64; 2]>,
    waited_us: u64,
    duration_us: u64,
    upstream_us: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// What tells kinds apart, without making anything.
#[derive(Hash, PartialEq)]
struct Key<'a> {
    minute: i64,
    connection: &'a str,
    provider: &'a str,
    who: &'a Who,
    method: &'a str,
    endpoint: &'a str,
    status: u16,
    upstream_status: u16,
    refused_by: Option<Refuser>,
    policy: Option<&'a str>,
}

impl<'a> Key<'a> {
    fn of(record: &'a Record, endpoint: &'a str) -> Self {
        Self {
            minute: minute(record),
            connection: &record.connection,
            provider: &record.provider,
            who: &record.consumer,
            method: record.method,
            endpoint,
            status: record.status.unwrap_or(0),
            upstream_status: record.upstream_status.unwrap_or(0),
            refused_by: record.refused_by,
            policy: record.policy.as_deref(),
        }
    }
}

/// The start of the minute in which the call ended, in seconds since 1970.
const fn minute(record: &Record) -> i64 {
    record.ended_ms.div_euclid(60_000) * 60
}

impl Shards {
    pub(super) fn record(&self, record: &Record) {
        let own = OWN.with(Cell::get) % SHARDS;
        let Some(shard) = self.shards.get(own) else {
            return;
        };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.record(&self.hasher, record);
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
        let mut is_idle = true;
        let mut last = None;
        for shard in &self.shards {
            let Some(mut taken) = self.swap(shard) else {
                continue;
            };
            is_idle = false;
            let told = taken.kinds.iter().map(|kind| Told {
                series: kind.tell(names, chunk, tally),
                spent: None,
            });
            let mut told: Vec<Told> = told.collect();
            for timed in taken.timed.drain(..) {
                tally.took(timed.connection, timed.provider, &timed.timings);
            }
            let kinds = &taken.kinds;
            let row = |event: Event| {
                let kind = kinds.get(event.kind)?;
                Some(told.get_mut(event.kind)?.row(kind, event, &mut last))
            };
            events.extend(taken.events.drain(..).filter_map(row));
            taken.kinds.clear();
            lost += taken.lost;
            self.keep(taken);
        }
        if is_idle {
            *self.spare() = None;
            names.rest();
        }
        events.sort_by_key(|event| event.at_ms);
        for event in &mut events {
            event.id = *next_event;
            *next_event += 1;
        }
        chunk.events.append(&mut events);
        lost
    }

    /// What a shard has, if it has something.
    fn swap(&self, shard: &Mutex<Shard>) -> Option<Shard> {
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.kinds.is_empty() && shard.lost == 0 {
            // Nor has it room for long: who stops to call leaves nothing behind.
            *shard = Shard::default();
            return None;
        }
        let spare = self.spare().take().unwrap_or_default();
        // Held for a swap only.
        Some(std::mem::replace(&mut *shard, spare))
    }

    fn spare(&self) -> MutexGuard<'_, Option<Shard>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its room serves again, unless it was hardly used.
    fn keep(&self, mut emptied: Shard) {
        let used = emptied.places.len();
        if used * 4 < emptied.kinds.capacity() {
            return;
        }
        emptied.places.clear();
        emptied.clocks.clear();
        emptied.lost = 0;
        *self.spare() = Some(emptied);
    }
}

impl Shard {
    fn record(&mut self, hasher: &DefaultHashBuilder, record: &Record) {
        if self.kinds.len() >= MOST_KINDS && record.endpoint != OTHER {
            let mut record = record.clone();
            OTHER.clone_into(&mut record.endpoint);
            return self.record(hasher, &record);
        }
        let hash = hasher.hash_one(Key::of(record, &record.endpoint));
        let (kinds, is) = (&self.kinds, |kind: &Kind| kind.is(hash, record));
        let found = self.places.find(hash, |at| kinds.get(*at).is_some_and(is));
        let at = found
            .copied()
            .unwrap_or_else(|| self.begin(hasher, hash, record));
        let Some(kind) = self.kinds.get_mut(at) else {
            return;
        };
        kind.sums.add(&record.sums());
        for (sum, spent) in kind.spent.iter_mut().zip(&record.spent) {
            sum.cost = sum.cost.saturating_add(spent.cost);
        }
        if let Some(timed) = self.timed.get_mut(kind.clock) {
            timed.timings.see(record);
        }
        if self.events.len() < MOST_EVENTS {
            self.events.push(Event {
                kind: at,
                at_ms: record.ended_ms,
                outcome: record.outcome,
                costs: record.spent.iter().map(|spent| spent.cost).collect(),
                waited_us: micros(record.waited),
                duration_us: micros(record.duration),
                upstream_us: micros(record.upstream),
                bytes_in: record.bytes_in,
                bytes_out: record.bytes_out,
            });
        } else {
            self.lost += 1;
        }
    }

    /// A new kind, of which nothing is counted yet.
    fn begin(&mut self, hasher: &DefaultHashBuilder, hash: u64, record: &Record) -> usize {
        let nothing = |spent: &Spent| Spent {
            cost: 0,
            ..spent.clone()
        };
        let at = self.kinds.len();
        let kind = Kind {
            hash,
            minute: minute(record),
            connection: Arc::clone(&record.connection),
            provider: Arc::clone(&record.provider),
            who: record.consumer.clone(),
            method: record.method,
            endpoint: record.endpoint.clone(),
            status: record.status.unwrap_or(0),
            upstream_status: record.upstream_status.unwrap_or(0),
            refused_by: record.refused_by,
            policy: record.policy.clone(),
            spent: record.spent.iter().map(nothing).collect(),
            sums: Sums::default(),
            clock: self.clock(hasher, record),
        };
        self.kinds.push(kind);
        let kinds = &self.kinds;
        let rehash = |at: &usize| kinds.get(*at).map_or(0, |kind| kind.hash);
        self.places.insert_unique(hash, at, rehash);
        at
    }

    /// Where the times of the call's connection are.
    fn clock(&mut self, hasher: &DefaultHashBuilder, record: &Record) -> usize {
        let hash = hasher.hash_one((&*record.connection, &*record.provider));
        let timed = &self.timed;
        let is = |at: &usize| {
            timed.get(*at).is_some_and(|timed| {
                timed.connection == record.connection && timed.provider == record.provider
            })
        };
        if let Some(at) = self.clocks.find(hash, is) {
            return *at;
        }
        let at = self.timed.len();
        self.timed.push(Timed {
            hash,
            connection: Arc::clone(&record.connection),
            provider: Arc::clone(&record.provider),
            timings: Timings::default(),
        });
        let timed = &self.timed;
        let rehash = |at: &usize| timed.get(*at).map_or(0, |timed| timed.hash);
        self.clocks.insert_unique(hash, at, rehash);
        at
    }
}

impl Kind {
    fn is(&self, hash: u64, record: &Record) -> bool {
        self.hash == hash
            && self.key() == Key::of(record, &record.endpoint)
            && self.spent.len() == record.spent.len()
            && self
                .spent
                .iter()
                .zip(&record.spent)
                .all(|(own, other)| own.policy == other.policy && own.unit == other.unit)
    }

    fn key(&self) -> Key<'_> {
        Key {
            minute: self.minute,
            connection: &self.connection,
            provider: &self.provider,
            who: &self.who,
            method: self.method,
            endpoint: &self.endpoint,
            status: self.status,
            upstream_status: self.upstream_status,
            refused_by: self.refused_by,
            policy: self.policy.as_deref(),
        }
    }

    /// Adds what was counted to totals and tally; gives what its calls are called.
    fn tell(&self, names: &mut Names, chunk: &mut Chunk, tally: &mut Tally) -> Arc<Series> {
        let consumer = self.who.name();
        let mut add = |label: Label<'_>, sums: &Sums| {
            let series = names.bounded(label);
            let key = (self.minute, Arc::clone(&series));
            chunk.totals.entry(key).or_default().add(sums);
            series
        };
        let label = Label {
            connection: &self.connection,
            provider: &self.provider,
            consumer: &consumer,
            method: self.method,
            endpoint: &self.endpoint,
            status: self.status,
            upstream_status: self.upstream_status,
            refused_by: self.refused_by.map_or("", Refuser::as_str),
            policy: "",
            unit: "",
        };
        let series = add(label, &self.sums);
        for spent in &self.spent {
            let of_policy = Label {
                method: "",
                endpoint: "",
                status: 0,
                upstream_status: 0,
                refused_by: "",
                policy: &spent.policy,
                unit: spent.unit.as_str(),
                ..label
            };
            add(of_policy, &self.spent_sums(spent));
        }
        tally.calls(&series, &self.sums);
        if let Some(by) = self.refused_by {
            let caller = Caller::of(&series);
            let policy = self.policy.clone();
            tally.refused(caller, Refusal { by, policy }, self.sums.calls);
        }
        series
    }

    /// What its calls add to the totals of a policy.
    fn spent_sums(&self, spent: &Spent) -> Sums {
        let in_the_way = self.policy.as_ref() == Some(&spent.policy);
        let refused_by = self.refused_by.filter(|_| in_the_way);
        let refused = |by| {
            if refused_by == Some(by) {
                self.sums.calls
            } else {
                0
            }
        };
        Sums {
            calls: self.sums.calls,
            // Calls that were not sent used nothing.
            cost: spent.cost,
            refused: refused(Refuser::Headroom),
            exhausted: refused(Refuser::Provider),
            ..Sums::default()
        }
    }
}

/// What is known of a kind whose sums were told.
struct Told {
    series: Arc<Series>,
    /// What the last event of it has used, as JSON: the next one's is mostly the same.
    spent: Option<(SmallVec<[u64; 2]>, Arc<str>)>,
}

impl Told {
    /// Its number is known later.
    fn row(&mut self, kind: &Kind, event: Event, last: &mut Option<Written>) -> EventRow {
        let spent = match &self.spent {
            Some((costs, spent)) if *costs == event.costs => Arc::clone(spent),
            _ => {
                let spent = match last {
                    Some(last) if last.is_of(&kind.spent, &event.costs) => Arc::clone(&last.json),
                    last => Arc::clone(&last.insert(Written::new(&kind.spent, &event.costs)).json),
                };
                self.spent = Some((event.costs, Arc::clone(&spent)));
                spent
            }
        };
        EventRow {
            id: 0,
            at_ms: event.at_ms,
            series: Arc::clone(&self.series),
            outcome: event.outcome.as_str(),
            policy: kind.policy.clone().unwrap_or_default(),
            spent,
            waited_us: event.waited_us,
            duration_us: event.duration_us,
            upstream_us: event.upstream_us,
            bytes_in: event.bytes_in,
            bytes_out: event.bytes_out,
        }
    }
}

/// What a call has used, as JSON. Of many kinds it is the same.
struct Written {
    spent: SmallVec<[Spent; 2]>,
    costs: SmallVec<[u64; 2]>,
    json: Arc<str>,
}

impl Written {
    fn new(spent: &SmallVec<[Spent; 2]>, costs: &SmallVec<[u64; 2]>) -> Self {
        let rows = spent.iter().zip(costs).map(|(spent, cost)| {
            serde_json::json!({ "policy": &*spent.policy, "unit": spent.unit.as_str(), "cost": cost })
        });
        let json = serde_json::Value::Array(rows.collect()).to_string();
        Self {
            spent: spent.clone(),
            costs: costs.clone(),
            json: json.into(),
        }
    }

    fn is_of(&self, spent: &[Spent], costs: &SmallVec<[u64; 2]>) -> bool {
        let is =
            |(own, other): (&Spent, &Spent)| own.policy == other.policy && own.unit == other.unit;
        self.costs == *costs
            && self.spent.len() == spent.len()
            && self.spent.iter().zip(spent).all(is)
    }
}
