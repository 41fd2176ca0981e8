//! How a meter is found.
//!
//! `moka`'s `get` writes each read into a log that all threads share, for choosing what to evict. Nothing is ever evicted
//! here, and the log makes up half of the time of a `get` and lets two threads wait for each other. `contains_key` writes no
//! log, but does not hand out the value. So the key knows its meter, and whoever compares keys remembers what it came across.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, Weak};

use moka::Equivalent;
use moka::sync::Cache;

use super::cell::Cell;

/// Meters, by key.
pub(super) type Cells = Cache<Slot, Arc<Cell>, BuildHasherDefault<KeyHasher>>;

/// A key, and the meter that it is of. The cache's value is what keeps the meter alive: keys that were removed stay in the
/// table for a while.
pub(super) struct Slot {
    /// In halves: alignment would cost a million meters 8 bytes each.
    key: [u64; 2],
    cell: Weak<Cell>,
}

impl Slot {
    pub(super) fn new(key: u128, cell: &Arc<Cell>) -> Self {
        Self {
            key: halves(key),
            cell: Arc::downgrade(cell),
        }
    }

    /// The meter, if it was not forgotten.
    pub(super) fn meter(&self) -> Option<Arc<Cell>> {
        self.cell.upgrade()
    }

    /// A slot without a meter.
    #[cfg(test)]
    pub(super) const fn vacant(key: u128) -> Self {
        Self {
            key: halves(key),
            cell: Weak::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn key(&self) -> u128 {
        let [low, high] = self.key;
        u128::from(high) << 64 | u128::from(low)
    }
}

impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Slot {}

impl Hash for Slot {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [low, _] = self.key;
        state.write_u64(low);
    }
}

/// A key that is looked for, and the meter that was found with it.
pub(super) struct Search {
    key: [u64; 2],
    found: std::cell::Cell<Option<Arc<Cell>>>,
}

impl Search {
    pub(super) const fn new(key: u128) -> Self {
        Self {
            key: halves(key),
            found: std::cell::Cell::new(None),
        }
    }

    /// The meter. What was only come across is not in the cache any more, or not its newest.
    pub(super) fn among(self, cells: &Cells) -> Option<Arc<Cell>> {
        let is_there = cells.contains_key(&self);
        self.found.into_inner().filter(|_| is_there)
    }
}

impl Equivalent<Slot> for Search {
    fn equivalent(&self, slot: &Slot) -> bool {
        let is_it = self.key == slot.key;
        if is_it {
            self.found.set(slot.cell.upgrade());
        }
        is_it
    }
}

impl Hash for Search {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [low, _] = self.key;
        state.write_u64(low);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the other half follows")]
const fn halves(key: u128) -> [u64; 2] {
    [key as u64, (key >> 64) as u64]
}

/// Keys are hashes already.
#[derive(Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn write_u128(&mut self, key: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
        let low = key as u64;
        self.0 = low;
    }
}
