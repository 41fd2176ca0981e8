//! Where meters live: they are found by key, made when they are first asked for, and forgotten when nothing is lost by it.

use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::cell::{Cell, Few, Marks, Shared};
use super::meter::Meter;
use super::time::Now;
use super::{Demand, Item, Ledger, rule};

impl Ledger {
    /// The call's meters, made where they are not there. `None`: the house is full.
    pub(super) fn cells(&self, demand: &Demand<'_>, now: Now) -> Option<Few<Arc<Cell>>> {
        let mut cells = Few::new();
        for (index, item) in demand.items.iter().enumerate() {
            let key = item.key;
            let cell = match self.cells.get(&key) {
                Some(cell) => cell,
                None => self.make(demand, index, item, now)?,
            };
            cells.push(cell);
        }
        Some(cells)
    }

    pub(super) fn make(
        &self,
        demand: &Demand<'_>,
        index: usize,
        item: &Item,
        now: Now,
    ) -> Option<Arc<Cell>> {
        if self.is_full(demand.is_resident) {
            return None;
        }
        let rule = demand.account.rules.get(item.policy)?;
        demand.account.keep_in(&self.store);
        Some(self.cells.get_with(item.key, || {
            self.count(demand.is_resident)
                .fetch_add(1, Ordering::Relaxed);
            let label = (demand.label)(index);
            let meter = self
                .store
                .take_kept(&demand.account.identity, rule, &label, now)
                .or_else(|| self.guess(item))
                .unwrap_or_default();
            Arc::new(Cell::new(
                demand.account,
                label,
                demand.is_resident,
                meter,
                rule,
            ))
        }))
    }

    /// What was used of a partition before it was known: all that may have been.
    fn guess(&self, item: &Item) -> Option<Meter> {
        if item.shared == item.key {
            return None;
        }
        let shared = self.cells.get(&item.shared)?;
        let inner = shared.lock();
        // What is in flight is not one of the new meter's.
        let counts = !matches!(inner.rule.motion, rule::Motion::InFlight(_));
        counts.then(|| inner.meter.copy_of_use())
    }

    /// Forgets meters that say nothing any more. To be called now and then.
    pub fn sweep(&self, now: Now) {
        self.store.prune(now);
        for (key, cell) in &self.cells {
            let mut inner = cell.lock();
            if !inner.is_over(now) {
                continue;
            }
            inner.marks.put(Marks::DEAD);
            self.cells.invalidate(&*key);
            self.count(inner.marks.has(Marks::RESIDENT))
                .fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many meters there are of its kind.
    pub(super) const fn count(&self, is_resident: bool) -> &AtomicUsize {
        if is_resident {
            &self.residents
        } else {
            &self.strangers
        }
    }

    pub(super) fn is_full(&self, is_resident: bool) -> bool {
        let most = if is_resident {
            self.settings.max_residents
        } else {
            self.settings.max_strangers
        };
        self.count(is_resident).load(Ordering::Relaxed) >= most
    }
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

    fn write_u128(&mut self, key: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "half of a hash is a hash")]
        let low = key as u64;
        self.0 = low;
    }
}
