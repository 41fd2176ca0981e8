//! Numbers for who called what, and places for those numbers.

use std::sync::Arc;

use hashbrown::HashMap;
use rusqlite::{Transaction, params};

use super::{DAY, Series, floor};

/// Series that are known to be in the file.
pub(in crate::state) type Numbers = HashMap<Arc<Series>, Known>;

/// What the file says of one.
#[derive(Debug, Clone, Copy)]
pub(in crate::state) struct Known {
    number: i64,
    /// The last day on which it was used: its start in seconds since 1970.
    seen: i64,
}

/// The number of a series that is used at a moment.
pub(super) fn number(
    transaction: &Transaction<'_>,
    numbers: &mut Numbers,
    series: &Arc<Series>,
    moment: i64,
) -> rusqlite::Result<i64> {
    let day = floor(moment, DAY);
    if let Some(known) = numbers.get(series)
        && known.seen >= day
    {
        return Ok(known.number);
    }
    let known = transaction.query_row(
        "INSERT INTO series
            (connection, provider, consumer, method, endpoint, status, upstream_status, refused_by, policy, unit, seen)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT DO UPDATE SET seen = MAX(seen, excluded.seen) RETURNING id, seen",
        params![
            series.connection,
            series.provider,
            series.consumer,
            series.method,
            series.endpoint,
            series.status,
            series.upstream_status,
            series.refused_by,
            series.policy,
            series.unit,
            day,
        ],
        |row| {
            Ok(Known {
                number: row.get(0)?,
                seen: row.get(1)?,
            })
        },
    )?;
    numbers.insert(Arc::clone(series), known);
    Ok(known.number)
}

/// Places by the numbers of series, for whoever adds up millions of rows: one look into a vector.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// [`NONE`] where there is none.
    dense: Vec<u32>,
    /// Of numbers that are too high for that.
    sparse: HashMap<i64, u32>,
}

const NONE: u32 = u32::MAX;

/// Numbers rise from one. Below this they are looked up by themselves; a file may say anything.
const MOST_DENSE: usize = 1 << 22;

impl Places {
    /// Remembers the place of a number.
    pub fn set(&mut self, number: i64, place: usize) {
        let place = u32::try_from(place).unwrap_or(NONE);
        let Some(at) = dense(number) else {
            self.sparse.insert(number, place);
            return;
        };
        if self.dense.len() <= at {
            self.dense.resize(at + 1, NONE);
        }
        if let Some(entry) = self.dense.get_mut(at) {
            *entry = place;
        }
    }

    /// Where it is.
    #[inline(always)]
    #[must_use]
    pub fn get(&self, number: i64) -> Option<usize> {
        let place = match dense(number) {
            Some(at) => self.dense.get(at),
            None => self.sparse.get(&number),
        };
        let place = place.copied().filter(|place| *place != NONE)?;
        usize::try_from(place).ok()
    }
}

fn dense(number: i64) -> Option<usize> {
    usize::try_from(number).ok().filter(|at| *at < MOST_DENSE)
}

/// Takes out what nothing uses that is left.
pub(super) fn tidy(transaction: &Transaction<'_>, numbers: &mut Numbers) -> rusqlite::Result<()> {
    let gone = transaction.execute(
        "DELETE FROM series WHERE seen < (
            SELECT MIN(used) - ?1 FROM (
                SELECT MIN(start) AS used FROM fresh
                UNION ALL SELECT MIN(start) FROM blocks
                UNION ALL SELECT MIN(first_ms) / 1000 FROM events
            ))",
        [DAY],
    )?;
    if gone > 0 {
        numbers.clear();
    }
    Ok(())
}
