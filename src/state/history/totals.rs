//! Sums that wait to be written.

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::{SeriesRef, Sums, is_roomy};

/// With so many rows more than there were after the last look, those of one series and time become one.
const MANY: usize = 32_768;

/// Sums by the start of their time and their series, in the order in which they came: to find the place of each takes longer
/// than to keep it, and the store sorts them anyway. There may be several of one.
#[derive(Debug, Default)]
pub struct Totals {
    rows: Vec<Total>,
    /// How many there were after the last look.
    merged: usize,
}

/// One of them.
#[derive(Debug)]
pub struct Total {
    /// Of its time, in seconds since 1970.
    pub start: i64,
    /// What it is of.
    pub series: SeriesRef,
    /// The sum.
    pub sums: Sums,
}

impl Totals {
    /// Adds to what there is of this series and time.
    pub fn add(&mut self, start: i64, series: SeriesRef, sums: Sums) {
        self.rows.push(Total {
            start,
            series,
            sums,
        });
        if self.rows.len() >= MANY + 2 * self.merged {
            self.merge();
        }
    }

    /// Makes one row of those of one series and time.
    pub fn merge(&mut self) {
        let mut places: HashMap<(i64, SeriesRef), usize> = HashMap::with_capacity(self.rows.len());
        let mut rows: Vec<Total> = Vec::with_capacity(self.rows.len());
        for row in self.rows.drain(..) {
            match places.entry((row.start, row.series.clone())) {
                Entry::Vacant(place) => {
                    place.insert(rows.len());
                    rows.push(row);
                }
                Entry::Occupied(place) => {
                    if let Some(known) = rows.get_mut(*place.get()) {
                        known.sums.add(&row.sums);
                    }
                }
            }
        }
        self.merged = rows.len();
        self.rows = rows;
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Total> {
        self.rows.iter()
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes out so many of the last at the most.
    pub(super) fn take(&mut self, most: usize) -> Self {
        let kept = self.rows.len().saturating_sub(most);
        let rows = self.rows.split_off(kept);
        self.merged = self.merged.min(kept);
        Self { rows, merged: 0 }
    }

    /// Moves those that start before a moment to the start of a longer time.
    pub(super) fn fold(&mut self, level: i64, before: i64) {
        for row in &mut self.rows {
            if row.start < before {
                row.start -= row.start.rem_euclid(level);
            }
        }
        self.merge();
    }

    /// Gives back room that is hardly used.
    pub(super) fn shrink(&mut self) {
        if is_roomy(&self.rows) {
            self.rows.shrink_to_fit();
        }
    }

    /// Takes out all of them, but keeps their room.
    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.merged = 0;
    }
}

impl FromIterator<(i64, SeriesRef, Sums)> for Totals {
    fn from_iter<I: IntoIterator<Item = (i64, SeriesRef, Sums)>>(rows: I) -> Self {
        let mut totals = Self::default();
        for (start, series, sums) in rows {
            totals.add(start, series, sums);
        }
        totals
    }
}

impl<'a> IntoIterator for &'a Totals {
    type Item = &'a Total;
    type IntoIter = std::slice::Iter<'a, Total>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::history::roll::tests::series;

    const NOON: i64 = 1_795_348_800;

    #[test]
    fn what_waits_for_long_has_a_row_for_each_series_and_time() {
        let all = [200, 201, 202].map(series);
        let mut totals = Totals::default();
        let mut rows = 0;
        for round in 0..40_000_u64 {
            for (number, series) in all.iter().enumerate() {
                let start = NOON + i64::try_from(number).unwrap() * 60;
                let sums = Sums {
                    calls: round,
                    ..Sums::default()
                };
                totals.add(start, series.clone(), sums);
                rows = rows.max(totals.len());
            }
        }
        assert!(rows < MANY + 10, "{rows}");
        totals.merge();
        let calls = totals.iter().map(|total| (total.start, total.sums.calls));
        let expected = (0..40_000).sum::<u64>();
        let expected = [0, 60, 120].map(|after| (NOON + after, expected));
        assert_eq!(calls.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn room_that_is_used_stays() {
        let mut totals = Totals::default();
        for status in 0..1_000 {
            totals.add(NOON, series(status), Sums::default());
        }
        let room = totals.rows.capacity();
        totals.shrink();
        totals.clear();
        assert!(totals.is_empty() && totals.rows.capacity() == room);
        totals.add(NOON, series(1), Sums::default());
        totals.shrink();
        assert!(totals.len() == 1 && totals.rows.capacity() < 100);
    }
}
