//! Adding totals up by what a question tells apart.

use super::MOST_ROWS;
use super::book::Book;
use crate::history::plan::Cell;
use crate::state::ReadError;
use crate::state::history::{Row, Snapshot, Sums, Values, scans};

/// How many, and how much. Each call is one of ok, failed, refused, exhausted and unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// All calls.
    pub calls: u64,
    /// The caller got the whole of an answer with a status below 400.
    pub ok: u64,
    /// A status from 400 on that is no refusal, or an answer that broke off.
    pub failed: u64,
    /// Refused by headroom.
    pub refused: u64,
    /// Refused by the provider for want of quota.
    pub exhausted: u64,
    /// The caller went away before an answer.
    pub unanswered: u64,
    /// Of a policy: what it counted.
    pub cost: u64,
    /// Calls that waited for quota.
    pub waited: u64,
    /// How long, in microseconds.
    pub waited_us: u64,
    /// From head to end, in microseconds.
    pub duration_us: u64,
    /// Of that, waiting for the provider's head, in microseconds.
    pub upstream_us: u64,
    /// From callers.
    pub bytes_in: u64,
    /// To callers.
    pub bytes_out: u64,
}

impl Numbers {
    /// Sums of calls that came out alike: refused, or none of them.
    fn add(&mut self, status: u16, sums: &Sums) {
        self.calls += sums.calls;
        self.refused += sums.refused;
        self.exhausted += sums.exhausted;
        // Refused first, because that is what was recorded of it.
        let rest = sums.calls.saturating_sub(sums.refused + sums.exhausted);
        match status {
            0 => self.unanswered += rest,
            100..=399 => {
                let broken = sums.broken.min(rest);
                self.failed += broken;
                self.ok += rest - broken;
            }
            _ => self.failed += rest,
        }
        self.cost = self.cost.saturating_add(sums.cost);
        self.waited += sums.waited;
        self.waited_us = self.waited_us.saturating_add(sums.waited_us);
        self.duration_us = self.duration_us.saturating_add(sums.duration_us);
        self.upstream_us = self.upstream_us.saturating_add(sums.upstream_us);
        self.bytes_in = self.bytes_in.saturating_add(sums.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(sums.bytes_out);
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        self.calls += other.calls;
        self.ok += other.ok;
        self.failed += other.failed;
        self.refused += other.refused;
        self.exhausted += other.exhausted;
        self.unanswered += other.unanswered;
        self.cost = self.cost.saturating_add(other.cost);
        self.waited += other.waited;
        self.waited_us = self.waited_us.saturating_add(other.waited_us);
        self.duration_us = self.duration_us.saturating_add(other.duration_us);
        self.upstream_us = self.upstream_us.saturating_add(other.upstream_us);
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
    }
}

/// What was counted of a cell and a group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    pub(super) cell: usize,
    pub(super) group: usize,
    pub(super) numbers: Numbers,
}

/// Adds up what is in these cells, of which each begins where the one before ends. In the order of cells and groups.
pub(super) fn tally(
    snapshot: &Snapshot<'_>,
    cells: &[Cell],
    book: &Book,
) -> Result<Vec<Counted>, ReadError> {
    let ranges = cells.iter().map(|cell| (cell.start, cell.end));
    let scans = scans(ranges, snapshot.rolled()?);
    let counter = || Counter::new(cells, book);
    let counters = snapshot.share(
        scans,
        [counter(), counter()],
        |counter, start, series, row| {
            counter.see(start, series, &row);
        },
    )?;
    // What is fresh comes in the order of time, too, from the first cell on.
    let mut fresh = counter();
    if let (Some(first), Some(last)) = (cells.first(), cells.last()) {
        let each = |start, series, row: Row<'_>| fresh.see(start, series, &row);
        snapshot.fresh(first.start, last.end, each)?;
    }
    let counters = counters.into_iter().chain([fresh]);
    let mut counted: Vec<Counted> = counters.flat_map(Counter::close).collect();
    // Each of the three is sorted, and this notices.
    counted.sort_by_key(|counted| (counted.cell, counted.group));
    counted.dedup_by(|next, kept| {
        let is_same = (next.cell, next.group) == (kept.cell, kept.group);
        if is_same {
            kept.numbers.add_all(&next.numbers);
        }
        is_same
    });
    Ok(counted)
}

/// Adds up one cell at a time: a place for each slot, and no search for it. Reports read a million rows.
struct Counter<'a> {
    cells: &'a [Cell],
    book: &'a Book,
    /// The cell that is counted.
    cell: usize,
    /// By slot; and whether there is something of it in this cell.
    sums: Vec<(bool, Values)>,
    /// Slots of which there is something in this cell.
    used: Vec<usize>,
    /// Of cells that are closed.
    counted: Vec<Counted>,
    /// Where each group was counted last.
    places: Vec<usize>,
}

impl<'a> Counter<'a> {
    fn new(cells: &'a [Cell], book: &'a Book) -> Self {
        Self {
            cells,
            book,
            cell: 0,
            sums: vec![(false, Values::default()); book.slots.len()],
            used: Vec::new(),
            counted: Vec::new(),
            places: vec![0; book.groups()],
        }
    }

    #[inline(always)]
    fn see(&mut self, start: i64, series: i64, row: &Row<'_>) {
        let Some(slot) = self.book.places.get(series) else {
            return;
        };
        while self
            .cells
            .get(self.cell)
            .is_some_and(|cell| cell.end <= start)
        {
            self.close_cell();
            self.cell += 1;
        }
        if let Some((is_used, sums)) = self.sums.get_mut(slot) {
            if !*is_used {
                *is_used = true;
                self.used.push(slot);
            }
            row.add_to(sums);
        }
    }

    /// Moves the sums of the cell to what was counted.
    fn close_cell(&mut self) {
        let group = |slot: &usize| self.book.slots.get(*slot).map(|slot| slot.group);
        self.used.sort_unstable_by_key(group);
        for slot in self.used.drain(..) {
            let (Some(sums), Some(slot)) = (self.sums.get_mut(slot), self.book.slots.get(slot))
            else {
                continue;
            };
            let (_, values) = std::mem::take(sums);
            let of_group = self.places.get_mut(slot.group);
            let Some(place) = of_group else { continue };
            let is_it =
                |counted: &&mut Counted| (counted.cell, counted.group) == (self.cell, slot.group);
            if let Some(counted) = self.counted.get_mut(*place).filter(is_it) {
                counted.numbers.add(slot.status, &values.sums());
            } else if self.counted.len() <= MOST_ROWS {
                // One more than may be: the answer is not given, and takes no more memory than one that is.
                *place = self.counted.len();
                let mut numbers = Numbers::default();
                numbers.add(slot.status, &values.sums());
                self.counted.push(Counted {
                    cell: self.cell,
                    group: slot.group,
                    numbers,
                });
            }
        }
    }

    fn close(mut self) -> Vec<Counted> {
        self.close_cell();
        self.counted
    }
}
