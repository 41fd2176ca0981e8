//! Reading the history, while others write it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, Statement, ToSql};

use super::block::{Block, Row};
use super::calls::{self, EventLine};
use super::dictionary::{self, Dictionary, Remembered};
use super::{DAY, Scan, Series, Sums, floor, size};
use crate::state::ReadError;

/// What one reading sees: everything that was written before it began, and nothing later.
pub struct Snapshot<'a> {
    connection: &'a Connection,
    remembered: &'a Remembered,
}

impl<'a> Snapshot<'a> {
    pub(in crate::state) const fn new(
        connection: &'a Connection,
        remembered: &'a Remembered,
    ) -> Self {
        Self {
            connection,
            remembered,
        }
    }

    /// The dictionary.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn dictionary(&self) -> Result<Arc<Dictionary>, ReadError> {
        self.remembered.read(self.connection)
    }

    /// What was called on the day of this moment (seconds since 1970) or later.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn series_since(&self, moment: i64) -> Result<Vec<Series>, ReadError> {
        dictionary::since(self.connection, moment)
    }

    /// Until when blocks may hold something (seconds since 1970): what is later is fresh, all of it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn rolled(&self) -> Result<i64, ReadError> {
        let query = "SELECT value FROM meta WHERE name = 'rolled'";
        let rolled = self.connection.query_row(query, [], |row| row.get(0));
        Ok(rolled.optional()?.unwrap_or(i64::MIN))
    }

    /// The blocks of a level that start from `from` until before `to` (seconds since 1970), in the order of time: start,
    /// series, sums. Blocks of all levels hold the same; what is fresh is in none.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn blocks(
        &self,
        level: i64,
        from: i64,
        to: i64,
        each: impl FnMut(i64, i64, Row<'_>),
    ) -> Result<(), ReadError> {
        let mut statement = self.connection.prepare(BLOCKS)?;
        read(&mut statement, [level, from, to], each)
    }

    /// The same for several scans, whose blocks two threads share: `see` adds a row (start, series, sums) to what one of them
    /// has. Each gets its blocks in the order of the scans.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn share<T: Send>(
        &self,
        scans: impl IntoIterator<Item = Scan>,
        [mut mine, mut other]: [T; 2],
        see: impl Fn(&mut T, i64, i64, Row<'_>) + Sync,
    ) -> Result<[T; 2], ReadError> {
        let waiting = AtomicUsize::new(0);
        let (send, blocks) = mpsc::channel::<(i64, Vec<u8>)>();
        thread::scope(|scope| {
            let (see, waiting) = (&see, &waiting);
            let help = move || {
                for (start, data) in blocks {
                    waiting.fetch_sub(1, Ordering::Relaxed);
                    unpack(start, &data, |start, series, row| {
                        see(&mut other, start, series, row);
                    })?;
                }
                Ok::<_, ReadError>(other)
            };
            let helper = thread::Builder::new().name("headroom-report".to_owned());
            let helper = helper
                .spawn_scoped(scope, help)
                .map_err(|error| ReadError::new(format!("there is no thread for it: {error}")))?;
            // Blocks of one level are about as long: a few ahead keep both busy, and neither has many left at the end.
            let mut statement = self.connection.prepare(BLOCKS)?;
            for Scan { level, from, to } in scans {
                each_block(&mut statement, [level, from, to], |start, data| {
                    if waiting.load(Ordering::Relaxed) < AHEAD {
                        waiting.fetch_add(1, Ordering::Relaxed);
                        // Who has given up tells why when it is joined.
                        if send.send((start, data.to_vec())).is_ok() {
                            return Ok(());
                        }
                    }
                    unpack(start, data, |start, series, row| {
                        see(&mut mine, start, series, row);
                    })
                })?;
            }
            drop(send);
            let other = helper.join();
            let other = other.map_err(|_| ReadError::new("the reading broke off".to_owned()))??;
            Ok([mine, other])
        })
    }

    /// What is not in blocks yet, by minute, from `from` until before `to` (seconds since 1970), in the order of time: start,
    /// series, sums. A minute comes in several parts.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn fresh(
        &self,
        from: i64,
        to: i64,
        each: impl FnMut(i64, i64, Row<'_>),
    ) -> Result<(), ReadError> {
        let mut statement = self.connection.prepare(
            "SELECT start, data FROM fresh WHERE start >= ?1 AND start < ?2 ORDER BY start",
        )?;
        read(&mut statement, [from, to], each)
    }

    /// Each total of a level that starts from `from` until before `to` (seconds since 1970): start, series, sums. One may
    /// come in several parts, of which those that are fresh come last.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn totals(
        &self,
        level: i64,
        from: i64,
        to: i64,
        mut each: impl FnMut(i64, i64, &Sums),
    ) -> Result<(), ReadError> {
        self.blocks(level, from, to, |start, series, row| {
            each(start, series, &row.values().sums());
        })?;
        let ceil = |moment: i64| floor(moment.saturating_add(level - 1), level);
        self.fresh(ceil(from), ceil(to), |start, series, row| {
            each(floor(start, level), series, &row.values().sums());
        })
    }

    /// The start of the oldest day of which there is something.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn oldest(&self) -> Result<Option<i64>, ReadError> {
        let query = "SELECT MIN(start) FROM (
            SELECT MIN(start) AS start FROM blocks WHERE level = ?1 UNION ALL SELECT MIN(start) FROM fresh)";
        let oldest: Option<i64> = self.connection.query_row(query, [DAY], |row| row.get(0))?;
        Ok(oldest.map(|start| floor(start, DAY)))
    }

    /// Totals of a level that start before this moment were taken out; later ones are all there. `None`: none ever was.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn forgotten(&self, level: i64) -> Result<Option<i64>, ReadError> {
        let query = "SELECT MAX(until) FROM forgotten WHERE level = ?1";
        Ok(self
            .connection
            .query_row(query, [level], |row| row.get(0))?)
    }

    /// Events with numbers below `before`, the latest first, until `each` has enough: it says whether to go on.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn events(
        &self,
        before: i64,
        each: impl FnMut(&EventLine<'_>) -> bool,
    ) -> Result<(), ReadError> {
        self.events_of(before, |_| true, each)
    }

    /// The same, and only events of the series of which `wants` is true.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged.
    pub fn events_of(
        &self,
        before: i64,
        wants: impl Fn(i64) -> bool,
        mut each: impl FnMut(&EventLine<'_>) -> bool,
    ) -> Result<(), ReadError> {
        let mut statement = self
            .connection
            .prepare("SELECT data FROM events WHERE first < ?1 ORDER BY first DESC")?;
        let mut blocks = statement.query([before])?;
        while let Some(row) = blocks.next()? {
            let calls = calls::decode(blob(row, 0)?)?;
            let wanted = |call: &&EventLine<'_>| call.id < before && wants(call.series);
            for call in calls.iter().rev().filter(wanted) {
                if !each(call) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The highest number of an event; 0: there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last_event(&self) -> Result<i64, ReadError> {
        let query = "SELECT last FROM events ORDER BY first DESC LIMIT 1";
        let last = self.connection.query_row(query, [], |row| row.get(0));
        Ok(last.optional()?.unwrap_or(0))
    }

    /// The bytes of the file that are in use.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn size(&self) -> Result<u64, ReadError> {
        Ok(size(self.connection)?)
    }
}

const BLOCKS: &str =
    "SELECT start, data FROM blocks WHERE level = ?1 AND start >= ?2 AND start < ?3 ORDER BY start";

/// So many blocks wait for the thread that helps.
const AHEAD: usize = 3;

/// Each row of the blocks that a question finds.
fn read<const N: usize>(
    statement: &mut Statement<'_>,
    parameters: [impl ToSql; N],
    mut each: impl FnMut(i64, i64, Row<'_>),
) -> Result<(), ReadError> {
    each_block(statement, parameters, |start, data| {
        unpack(start, data, &mut each)
    })
}

/// Each block that a question finds: its start, and its bytes.
fn each_block<const N: usize>(
    statement: &mut Statement<'_>,
    parameters: [impl ToSql; N],
    mut each: impl FnMut(i64, &[u8]) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut found = statement.query(rusqlite::params_from_iter(parameters))?;
    while let Some(row) = found.next()? {
        each(row.get(0)?, blob(row, 1)?)?;
    }
    Ok(())
}

/// Each row of a block.
#[inline]
fn unpack(
    start: i64,
    data: &[u8],
    mut each: impl FnMut(i64, i64, Row<'_>),
) -> Result<(), ReadError> {
    let block = Block::open(data)?;
    for row in block.rows() {
        let (series, row) = row?;
        each(start, series, row);
    }
    Ok(())
}

fn blob<'row>(row: &'row SqlRow<'_>, column: usize) -> Result<&'row [u8], ReadError> {
    let bytes = row.get_ref(column)?.as_blob();
    bytes.map_err(|error| ReadError::new(error.to_string()))
}

#[cfg(test)]
mod tests;
