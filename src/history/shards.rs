//! Where calls are added up, until somebody takes the sums away. Several, so that threads seldom meet.
//!
//! A shard knows the kinds of calls of a minute by their numbers, and so does who takes the sums away ([`told`]): what is
//! taken are sums of those that were called since, not the kinds. Thousands of callers would have each of theirs made anew
//! several times a second.

mod told;

use std::cell::Cell;
use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashSet, HashTable};
use indexmap::IndexMap;
use smallvec::SmallVec;

pub(super) use told::{Books, Told};

use super::names::OTHER;
use super::record::{Outcome, Record, Refuser, Spent, Who, micros};
use super::tally::Timings;
use crate::state::history::Sums;

const SHARDS: usize = 8;

/// Kinds of calls that one shard tells apart at a time: then endpoints become one. Somebody makes up paths.
const MOST_KINDS: usize = 32_768;

/// With more than this it begins anew when its sums are taken.
const MANY_KINDS: usize = MOST_KINDS / 2;

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
    spare: Mutex<Option<Counted>>,
}

/// A minute's kinds, and what was counted since it was taken last.
#[derive(Default)]
struct Shard {
    kinds: HashTable<Place>,
    /// The minute of the first kind.
    minute: Option<i64>,
    /// There are kinds of another minute.
    is_over: bool,
    /// By their names and their adapters'.
    connections: IndexMap<(Arc<str>, Arc<str>), Connection, DefaultHashBuilder>,
    /// How often it was taken.
    period: u64,
    counted: Counted,
}

/// What calls of one connection share.
#[derive(Default)]
struct Connection {
    /// Where its times are counted.
    slot: Slot,
    /// What many kinds have in common is read from the cache.
    endpoints: HashSet<Arc<str>>,
    spent: Vec<Arc<[Spent]>>,
}

struct Place {
    hash: u64,
    kind: Arc<Kind>,
    slot: Slot,
}

/// Where something is counted, once it was met in a period.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// From this period on there is nothing.
    until: u64,
    at: usize,
}

/// What a shard has counted in a period.
#[derive(Default)]
struct Counted {
    /// Kinds that are new.
    begun: Vec<Arc<Kind>>,
    sums: Vec<Sum>,
    /// How long calls took, with the number of their connection.
    timed: Vec<(usize, Timings)>,
    events: Vec<Event>,
    lost: u64,
    /// Numbers of kinds begin anew after it.
    is_last: bool,
}

/// What calls have in common that differ in lengths and costs only. One look finds it, and with it all that a call adds to,
/// its policies and its connection's times too.
struct Kind {
    /// Among those of its shard.
    number: usize,
    minute: i64,
    connection: Arc<str>,
    provider: Arc<str>,
    who: Who,
    method: &'static str,
    endpoint: Arc<str>,
    status: u16,
    upstream_status: u16,
    refused_by: Option<Refuser>,
    /// What was in the way.
    policy: Option<Arc<str>>,
    /// Of a call; what it costs does not matter.
    spent: Arc<[Spent]>,
    /// The number of its connection.
    of: usize,
}

/// A sum that is growing.
struct Sum {
    /// The kind's number.
    kind: usize,
    sums: Sums,
    /// Of the kind's policies, in their order.
    costs: SmallVec<[u64; 2]>,
}

/// A call, in short.
struct Event {
    /// The kind's number.
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

/// What tells kinds apart, without making anything. Names are compared by where they are before they are read.
#[derive(Hash, PartialEq)]
struct Key<'a> {
    minute: i64,
    connection: &'a Arc<str>,
    provider: &'a Arc<str>,
    who: &'a Who,
    method: &'a str,
    endpoint: &'a str,
    status: u16,
    upstream_status: u16,
    refused_by: Option<Refuser>,
    policy: Option<&'a Arc<str>>,
}

impl<'a> Key<'a> {
    fn of(record: &'a Record) -> Self {
        Self {
            minute: minute(record),
            connection: &record.connection,
            provider: &record.provider,
            who: &record.consumer,
            method: record.method,
            endpoint: &record.endpoint,
            status: record.status.unwrap_or(0),
            upstream_status: record.upstream_status.unwrap_or(0),
            refused_by: record.refused_by,
            policy: record.policy.as_ref(),
        }
    }
}

fn connection(record: &Record) -> (Arc<str>, Arc<str>) {
    (Arc::clone(&record.connection), Arc::clone(&record.provider))
}

/// Whether both are of the same policies, whatever they cost.
fn are_alike(one: &[Spent], other: &[Spent]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| one.is_alike(other))
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

    /// What a shard has counted, if it has counted something.
    fn take(&self, shard: &Mutex<Shard>) -> Option<Counted> {
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = shard.counted.events.is_empty();
        if !is_idle && !shard.is_over && shard.kinds.len() <= MANY_KINDS {
            shard.period += 1;
            let spare = self.spare().take().unwrap_or_default();
            return Some(std::mem::replace(&mut shard.counted, spare));
        }
        // Nor does it know kinds or have room for long: who stops to call leaves nothing behind.
        let old = std::mem::take(&mut *shard);
        // Nobody waits while they are let go.
        drop(shard);
        let Shard { counted, .. } = old;
        let is_last = true;
        (!is_idle).then_some(Counted { is_last, ..counted })
    }

    fn spare(&self) -> MutexGuard<'_, Option<Counted>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room of what is told serves again, unless it was hardly used.
    fn keep(&self, mut told: Counted) {
        if told.events.len() * 4 < told.events.capacity() {
            return;
        }
        told.begun.clear();
        told.sums.clear();
        told.timed.clear();
        told.events.clear();
        (told.lost, told.is_last) = (0, false);
        *self.spare() = Some(told);
    }
}

impl Shard {
    fn record(&mut self, hasher: &DefaultHashBuilder, record: &Record) {
        if self.kinds.len() >= MOST_KINDS && record.endpoint != OTHER {
            let mut record = record.clone();
            OTHER.clone_into(&mut record.endpoint);
            return self.record(hasher, &record);
        }
        let (period, number) = (self.period, self.kinds.len());
        let hash = hasher.hash_one(Key::of(record));
        let is = |place: &Place| place.hash == hash && place.kind.is(record);
        let place = match self.kinds.entry(hash, is, |place| place.hash) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => {
                let connection = self.connections.entry(connection(record));
                let of = connection.index();
                let kind = connection.or_default().kind(record);
                let kind = Arc::new(Kind { number, of, ..kind });
                self.is_over |= *self.minute.get_or_insert(kind.minute) != kind.minute;
                self.counted.begun.push(Arc::clone(&kind));
                let slot = Slot::default();
                free.insert(Place { hash, kind, slot }).into_mut()
            }
        };
        let Counted {
            sums,
            timed,
            events,
            lost,
            ..
        } = &mut self.counted;
        let kind = &*place.kind;
        if let Some(sum) = place.slot.of(period, sums, || Sum::of(kind)) {
            sum.add(record);
        }
        let begin = || (kind.of, Timings::default());
        if let Some((_, connection)) = self.connections.get_index_mut(kind.of)
            && let Some((_, timings)) = connection.slot.of(period, timed, begin)
        {
            timings.see(record);
        }
        if events.len() < MOST_EVENTS {
            events.push(Event::new(kind.number, record));
        } else {
            *lost += 1;
        }
    }
}

impl Slot {
    /// What is counted there in this period; nothing yet, if it is the first time.
    fn of<'a, T>(
        &mut self,
        period: u64,
        all: &'a mut Vec<T>,
        begin: impl FnOnce() -> T,
    ) -> Option<&'a mut T> {
        if self.until <= period {
            (self.until, self.at) = (period + 1, all.len());
            all.push(begin());
        }
        all.get_mut(self.at)
    }
}

impl Connection {
    /// What a call is of; without numbers.
    fn kind(&mut self, record: &Record) -> Kind {
        let endpoint = record.endpoint.as_str();
        let endpoint = self
            .endpoints
            .get_or_insert_with(endpoint, |text| text.into());
        let known = self
            .spent
            .iter()
            .find(|known| are_alike(known, &record.spent));
        let spent = known.map_or_else(|| record.spent.as_slice().into(), Arc::clone);
        if known.is_none() {
            self.spent.push(Arc::clone(&spent));
        }
        Kind {
            number: 0,
            of: 0,
            minute: minute(record),
            connection: Arc::clone(&record.connection),
            provider: Arc::clone(&record.provider),
            who: record.consumer.clone(),
            method: record.method,
            endpoint: Arc::clone(endpoint),
            status: record.status.unwrap_or(0),
            upstream_status: record.upstream_status.unwrap_or(0),
            refused_by: record.refused_by,
            policy: record.policy.clone(),
            spent,
        }
    }
}

impl Kind {
    fn is(&self, record: &Record) -> bool {
        self.key() == Key::of(record) && are_alike(&self.spent, &record.spent)
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
            policy: self.policy.as_ref(),
        }
    }
}

impl Sum {
    /// Nothing is counted yet.
    fn of(kind: &Kind) -> Self {
        Self {
            kind: kind.number,
            sums: Sums::default(),
            costs: kind.spent.iter().map(|_| 0).collect(),
        }
    }

    fn add(&mut self, record: &Record) {
        self.sums.add(&record.sums());
        for (sum, spent) in self.costs.iter_mut().zip(&record.spent) {
            *sum = sum.saturating_add(spent.cost);
        }
    }
}

impl Event {
    fn new(kind: usize, record: &Record) -> Self {
        Self {
            kind,
            at_ms: record.ended_ms,
            outcome: record.outcome,
            costs: record.spent.iter().map(|spent| spent.cost).collect(),
            waited_us: micros(record.waited),
            duration_us: micros(record.duration),
            upstream_us: micros(record.upstream),
            bytes_in: record.bytes_in,
            bytes_out: record.bytes_out,
        }
    }
}

#[cfg(test)]
mod tests;
