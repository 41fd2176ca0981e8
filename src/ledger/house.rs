//! Where meters live: they are found by key, made when they are first asked for, and forgotten when nothing is lost by it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};

use super::cell::{Cell, Few, Marks, Shared};
use super::meter::Meter;
use super::roll::{self, Part, Roll};
use super::slot::{Search, Slot};
use super::time::Now;
use super::{Demand, Item, Ledger, rule};

impl Ledger {
    /// The meter with this key.
    pub(super) fn find(&self, key: u128) -> Option<Arc<Cell>> {
        Search::new(key).among(&self.cells)
    }

    /// Puts a meter in its place.
    pub(super) fn put(&self, roll: &mut Roll, key: u128, cell: Cell) -> Arc<Cell> {
        let cell = Arc::new(cell);
        self.cells.insert(Slot::new(key, &cell), Arc::clone(&cell));
        roll.add(Slot::new(key, &cell));
        cell
    }

    /// Whoever has it makes meters alone.
    pub(super) fn roll(&self) -> MutexGuard<'_, Roll> {
        roll::lock(&self.roll)
    }

    /// The call's meters, made where they are not there. `None`: the house is full.
    pub(super) fn cells(&self, demand: &Demand<'_>, now: Now) -> Option<Few<Arc<Cell>>> {
        let mut cells = Few::new();
        for (index, item) in demand.items.iter().enumerate() {
            let cell = match self.find(item.key) {
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
        // Two calls that come first make one meter.
        let mut roll = self.roll();
        if let Some(cell) = self.find(item.key) {
            return Some(cell);
        }
        demand.account.keep_in(&self.store);
        self.count(demand.is_resident)
            .fetch_add(1, Ordering::Relaxed);
        let label = (demand.label)(index);
        let meter = self
            .store
            .take_kept(&demand.account.identity, rule, &label, now)
            .or_else(|| self.guess(item))
            .unwrap_or_default();
        let cell = Cell::new(demand.account, label, demand.is_resident, meter, rule);
        Some(self.put(&mut roll, item.key, cell))
    }

    /// What was used of a partition before it was known: all that may have been.
    fn guess(&self, item: &Item) -> Option<Meter> {
        if item.shared == item.key {
            return None;
        }
        let shared = self.find(item.shared)?;
        let inner = shared.lock();
        // What is in flight is not one of the new meter's.
        let counts = !matches!(inner.rule.motion, rule::Motion::InFlight(_));
        counts.then(|| inner.meter.copy_of_use())
    }

    /// Forgets meters that say nothing any more, and has those written of which the store could know more. To be called now
    /// and then.
    pub fn sweep(&self, now: Now) {
        let mut part = 0;
        while let Some(next) = self.sweep_part(part, now) {
            part = next;
        }
    }

    /// A step of [`Ledger::sweep`] over some hundred meters, beginning with part 0. Returns the part that comes next; `None`
    /// when none is left.
    pub fn sweep_part(&self, part: usize, now: Now) -> Option<usize> {
        if part == 0 {
            self.store.prune(now);
        }
        let next =
            Part::take(&self.roll, part).map(|part| part.retain(|slot| self.stays(slot, now)));
        if next.is_none() {
            // A search leaves moka's own housekeeping undone.
            self.cells.run_pending_tasks();
        }
        next
    }

    /// Whether there is something to be lost with a meter; else it is forgotten.
    fn stays(&self, slot: &Slot, now: Now) -> bool {
        let Some(cell) = slot.meter() else {
            return false;
        };
        let mut inner = cell.lock();
        // Where its row says that more may have been used than was, that is put right before it is forgotten.
        let is_over = inner.is_over(now);
        let is_corrected = is_over && self.store.is_there() && inner.give_back();
        if is_over && !is_corrected {
            inner.marks.put(Marks::DEAD);
            self.cells.invalidate(slot);
            self.count(inner.marks.has(Marks::RESIDENT))
                .fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let is_new = (is_corrected || inner.is_to_be_told()) && inner.touch_again();
        drop(inner);
        if is_new {
            self.store.touch(&cell);
        }
        true
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
