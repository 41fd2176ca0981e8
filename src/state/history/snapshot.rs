//! Reading the history, while others write it.

use rusqlite::{Connection, Row};

use super::{Series, Sums, size};
use crate::state::ReadError;

/// What one reading sees: everything that was written before it began, and nothing later.
pub struct Snapshot<'a> {
    connection: &'a Connection,
}

impl<'a> Snapshot<'a> {
    pub(in crate::state) const fn new(connection: &'a Connection) -> Self {
        Self { connection }
    }

    /// The dictionary.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn series(&self) -> Result<Vec<(i64, Series)>, ReadError> {
        let query = format!("SELECT {COLUMNS}, id FROM series");
        let mut statement = self.connection.prepare(&query)?;
        let rows = statement.query_map([], |row| Ok((row.get(10)?, read_series(row)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What has a total by day that starts at this moment (seconds since 1970) or later.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn series_since(&self, start: i64) -> Result<Vec<Series>, ReadError> {
        let query = format!(
            "SELECT {COLUMNS} FROM series WHERE id IN (SELECT series FROM totals WHERE level = 86400 AND start >= ?1)"
        );
        let mut statement = self.connection.prepare(&query)?;
        let rows = statement.query_map([start], read_series)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Each total of a level that starts from `from` until before `to` (seconds since 1970), in the order of time: start, series, sums.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn totals(
        &self,
        level: i64,
        from: i64,
        to: i64,
        mut each: impl FnMut(i64, i64, &Sums),
    ) -> Result<(), ReadError> {
        let query = format!(
            "SELECT start, series, {} FROM totals WHERE level = ?1 AND start >= ?2 AND start < ?3 ORDER BY start",
            Sums::COLUMNS.join(", ")
        );
        let mut statement = self.connection.prepare(&query)?;
        let mut rows = statement.query([level, from, to])?;
        while let Some(row) = rows.next()? {
            each(row.get(0)?, row.get(1)?, &Sums::read(row, 2)?);
        }
        Ok(())
    }

    /// The start of the oldest total of a level.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn oldest(&self, level: i64) -> Result<Option<i64>, ReadError> {
        let query = "SELECT MIN(start) FROM totals WHERE level = ?1";
        Ok(self
            .connection
            .query_row(query, [level], |row| row.get(0))?)
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
    /// The file cannot be read.
    pub fn events(
        &self,
        before: i64,
        each: impl FnMut(EventLine) -> bool,
    ) -> Result<(), ReadError> {
        self.events_of(before, |_| true, each)
    }

    /// The same, and only events of the series of which `wants` is true.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn events_of(
        &self,
        before: i64,
        wants: impl Fn(i64) -> bool,
        mut each: impl FnMut(EventLine) -> bool,
    ) -> Result<(), ReadError> {
        let mut statement = self.connection.prepare(
            "SELECT id, at_ms, series, outcome, policy, spent, waited_us, duration_us, upstream_us, bytes_in, bytes_out
             FROM events WHERE id < ?1 ORDER BY id DESC",
        )?;
        let mut rows = statement.query([before])?;
        while let Some(row) = rows.next()? {
            let unsigned = |column: usize| {
                row.get::<_, i64>(column)
                    .map(|value| u64::try_from(value).unwrap_or(0))
            };
            let series = row.get(2)?;
            if !wants(series) {
                continue;
            }
            let event = EventLine {
                id: row.get(0)?,
                at_ms: row.get(1)?,
                series,
                outcome: row.get(3)?,
                policy: row.get(4)?,
                spent: row.get(5)?,
                waited_us: unsigned(6)?,
                duration_us: unsigned(7)?,
                upstream_us: unsigned(8)?,
                bytes_in: unsigned(9)?,
                bytes_out: unsigned(10)?,
            };
            if !each(event) {
                break;
            }
        }
        Ok(())
    }

    /// The highest number of an event; 0: there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn last_event(&self) -> Result<i64, ReadError> {
        let query = "SELECT COALESCE(MAX(id), 0) FROM events";
        Ok(self.connection.query_row(query, [], |row| row.get(0))?)
    }

    /// The bytes of the file that are in use.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn size(&self) -> Result<u64, ReadError> {
        Ok(size(self.connection)?)
    }
}

const COLUMNS: &str = "connection, provider, consumer, method, endpoint, status, upstream_status, refused_by, policy, unit";

fn read_series(row: &Row<'_>) -> rusqlite::Result<Series> {
    Ok(Series {
        connection: row.get(0)?,
        provider: row.get(1)?,
        consumer: row.get(2)?,
        method: row.get(3)?,
        endpoint: row.get(4)?,
        status: row.get(5)?,
        upstream_status: row.get(6)?,
        refused_by: row.get(7)?,
        policy: row.get(8)?,
        unit: row.get(9)?,
    })
}

/// An event as it is stored: what it was is a number of the dictionary. For its fields see [`super::EventRow`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "those of EventRow")]
pub struct EventLine {
    pub id: i64,
    pub at_ms: i64,
    pub series: i64,
    pub outcome: String,
    pub policy: String,
    pub spent: String,
    pub waited_us: u64,
    pub duration_us: u64,
    pub upstream_us: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}
