//! What waits for the next commit: for each key only what was handed over last, so a busy meter waits once.

use std::hash::Hash;
use std::sync::{Arc, mpsc};

use hashbrown::HashMap;
use tokio::sync::oneshot;

use super::history::{Chunk, Retention};
use super::store::Store;
use super::warnings::{self, Rows, WarningRow};
use super::{KEPT_MS, LearnedKey, LearnedRow, MeterKey, MeterRow, WriteError};

/// More bytes than this do not wait: the disk does not keep up, and memory is not where they are safe.
const MOST: usize = 64 << 20;

/// What a key, its place in the map or a waiter takes beside its text, about.
const OVERHEAD: usize = 128;

/// A meter without its key.
pub(super) struct Meter {
    pub(super) reserved: u64,
    pub(super) ends_ms: i64,
    pub(super) data: Vec<u8>,
}

fn parted(row: MeterRow) -> (MeterKey, Meter) {
    let key = MeterKey {
        account: row.account,
        policy: row.policy,
        partition: row.partition,
    };
    let meter = Meter {
        reserved: row.reserved,
        ends_ms: row.ends_ms,
        data: row.data,
    };
    (key, meter)
}

/// A lesson without its key.
pub(super) struct Lesson {
    pub(super) to: String,
    pub(super) learned_ms: i64,
}

/// One caller's changes; `None` takes the row out.
#[derive(Default)]
pub(super) struct Changes {
    meters: Vec<(MeterKey, Option<Meter>)>,
    learned: Vec<(LearnedKey, Option<Lesson>)>,
    /// Meters that ended before go.
    ended: Option<i64>,
    chunk: Option<Arc<Chunk>>,
    retention: Option<Retention>,
    warnings: Vec<WarningRow>,
    store: Option<Store>,
}

impl Changes {
    pub(super) fn put(meters: Vec<MeterRow>, learned: Vec<LearnedRow>) -> Self {
        let meters = meters.into_iter().map(|row| {
            let (key, meter) = parted(row);
            (key, Some(meter))
        });
        let learned = learned.into_iter().map(|row| {
            let key = LearnedKey {
                account: row.account,
                scope: row.scope,
                from: row.from,
            };
            let lesson = Lesson {
                to: row.to,
                learned_ms: row.learned_ms,
            };
            (key, Some(lesson))
        });
        Self {
            meters: meters.collect(),
            learned: learned.collect(),
            ..Self::default()
        }
    }

    pub(super) fn remove(meters: Vec<MeterKey>, learned: Vec<LearnedKey>) -> Self {
        Self {
            meters: meters.into_iter().map(|key| (key, None)).collect(),
            learned: learned.into_iter().map(|key| (key, None)).collect(),
            ..Self::default()
        }
    }

    pub(super) fn warnings(rows: Vec<WarningRow>) -> Self {
        Self {
            warnings: rows,
            ..Self::default()
        }
    }

    pub(super) fn add(chunk: Arc<Chunk>) -> Self {
        Self {
            chunk: Some(chunk),
            ..Self::default()
        }
    }

    pub(super) fn retain(retention: Retention) -> Self {
        Self {
            retention: Some(retention),
            ..Self::default()
        }
    }

    pub(super) fn into_file(store: Store) -> Self {
        Self {
            store: Some(store),
            ..Self::default()
        }
    }

    pub(super) fn prune(now_ms: i64) -> Self {
        Self {
            ended: Some(now_ms.saturating_sub(KEPT_MS)),
            ..Self::default()
        }
    }
}

/// Who waits, and how.
pub(super) enum Waiter {
    Task(oneshot::Sender<Result<(), WriteError>>),
    Thread(mpsc::Sender<Result<(), WriteError>>),
    /// Nobody: this is done by the writing thread once it is committed, and never if it is not.
    Then(Box<dyn FnOnce() + Send>),
}

impl Waiter {
    /// Nobody has to wait any more: a caller that went away is no mistake.
    pub(super) fn answer(self, result: Result<(), WriteError>) {
        match self {
            Self::Task(waiter) => {
                let _gone = waiter.send(result);
            }
            Self::Thread(waiter) => {
                let _gone = waiter.send(result);
            }
            Self::Then(then) => {
                if result.is_ok() {
                    then();
                }
            }
        }
    }
}

/// Everything that the next transaction holds.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) meters: HashMap<MeterKey, Option<Meter>>,
    pub(super) learned: HashMap<LearnedKey, Option<Lesson>>,
    pub(super) ended: Option<i64>,
    /// Sums are added, so each one counts.
    pub(super) chunks: Vec<Arc<Chunk>>,
    pub(super) retention: Option<Retention>,
    pub(super) warnings: Rows,
    /// Where everything is written after this batch.
    pub(super) store: Option<Store>,
    pub(super) waiters: Vec<Waiter>,
    bytes: usize,
}

impl Batch {
    /// Takes changes in, if there is room for them.
    pub(super) fn push(&mut self, changes: Changes) -> bool {
        let chunk = changes.chunk.as_ref().map_or(0, |chunk| chunk.weight());
        let extra = chunk + warnings::weight(&changes.warnings, OVERHEAD);
        let bytes = OVERHEAD + extra + weights(&changes.meters) + weights(&changes.learned);
        if self.bytes.saturating_add(bytes) > MOST {
            return false;
        }
        self.bytes += OVERHEAD + extra;
        for (key, meter) in changes.meters {
            self.bytes = place(&mut self.meters, key, meter, self.bytes);
        }
        for (key, lesson) in changes.learned {
            self.bytes = place(&mut self.learned, key, lesson, self.bytes);
        }
        self.ended = self.ended.max(changes.ended);
        self.chunks.extend(changes.chunk);
        self.retention = changes.retention.or(self.retention);
        warnings::collect(&mut self.warnings, changes.warnings);
        self.store = changes.store.or(self.store.take());
        true
    }

    /// Takes a meter in, if there is room for it.
    pub(super) fn put(&mut self, row: MeterRow) -> bool {
        let (key, meter) = parted(row);
        let bytes = OVERHEAD + key.weight() + meter.weight();
        let has_room = self.bytes.saturating_add(bytes) <= MOST;
        if has_room {
            self.bytes = place(&mut self.meters, key, Some(meter), self.bytes);
        }
        has_room
    }

    /// Whether nothing would be written.
    pub(super) fn is_barrier(&self) -> bool {
        self.meters.is_empty()
            && self.learned.is_empty()
            && self.ended.is_none()
            && self.warnings.is_empty()
            && self.chunks.is_empty()
            && self.retention.is_none()
    }
}

/// Puts a row in its place, and counts what all weigh then.
fn place<Key: Hash + Eq + Weight, Row: Weight>(
    rows: &mut HashMap<Key, Option<Row>>,
    key: Key,
    row: Option<Row>,
    bytes: usize,
) -> usize {
    let weight = |row: &Option<Row>| row.as_ref().map_or(0, Weight::weight);
    let key_weight = OVERHEAD + key.weight();
    let bytes = bytes + weight(&row);
    match rows.insert(key, row) {
        None => bytes + key_weight,
        Some(old) => bytes - weight(&old),
    }
}

/// The bytes that a key or a row holds.
trait Weight {
    fn weight(&self) -> usize;
}

impl Weight for MeterKey {
    fn weight(&self) -> usize {
        self.account.len() + self.policy.len() + self.partition.len()
    }
}

impl Weight for Meter {
    fn weight(&self) -> usize {
        self.data.len()
    }
}

impl Weight for LearnedKey {
    fn weight(&self) -> usize {
        self.account.len() + self.scope.len() + self.from.len()
    }
}

impl Weight for Lesson {
    fn weight(&self) -> usize {
        self.to.len()
    }
}

fn weights<Key: Weight, Row: Weight>(rows: &[(Key, Option<Row>)]) -> usize {
    rows.iter()
        .map(|(key, row)| OVERHEAD + key.weight() + row.as_ref().map_or(0, Weight::weight))
        .sum()
}
