//! Numbers for who called what, and places for those numbers.

use std::sync::{Arc, Mutex, PoisonError};

use hashbrown::{HashMap, HashSet};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{DAY, Series, SeriesRef, floor};
use crate::state::ReadError;
use crate::state::kept::Kept as _;

/// Says that numbers may stand for others than before, or are of another file: what somebody remembers of them is void.
pub(in crate::state) const RENEW: &str = "
    INSERT INTO meta (name, value) VALUES ('dictionary', random())
    ON CONFLICT DO UPDATE SET value = excluded.value";

/// Series that are known to be in the file.
pub(in crate::state) type Numbers = HashMap<SeriesRef, Known>;

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
    series: &SeriesRef,
    moment: i64,
) -> rusqlite::Result<i64> {
    let day = floor(moment, DAY);
    if let Some(known) = numbers.get(series)
        && known.seen >= day
    {
        return Ok(known.number);
    }
    let known = transaction.row(
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
    numbers.insert(series.clone(), known);
    Ok(known.number)
}

/// A dictionary as it was read, in the order of its numbers.
#[derive(Debug, Default)]
pub struct Dictionary {
    /// Which dictionary it is ([`RENEW`]).
    mark: i64,
    series: Vec<(i64, Series)>,
}

impl Dictionary {
    /// Each number with what it stands for.
    #[must_use]
    pub fn series(&self) -> &[(i64, Series)] {
        &self.series
    }
}

/// The dictionary as it was read last: reading all of it takes most of the time of a short report.
#[derive(Debug, Default)]
pub(in crate::state) struct Remembered(Mutex<Arc<Dictionary>>);

impl Remembered {
    /// Of what is remembered only what is new has to be read, unless it is of another dictionary.
    pub(super) fn read(&self, connection: &Connection) -> Result<Arc<Dictionary>, ReadError> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = "SELECT value FROM meta WHERE name = 'dictionary'";
        let mark = connection
            .query_row(mark, [], |row| row.get(0))
            .optional()?;
        let Some(mark) = mark else {
            return Ok(Arc::new(Dictionary {
                mark: 0,
                series: read(connection, 0, &mut Texts::default())?,
            }));
        };
        let known = Arc::clone(&lock());
        let mut texts = Texts::default();
        let mut series = Vec::new();
        if known.mark == mark
            && let Some((last, _)) = known.series.last()
        {
            // From the last that is known: a snapshot from before it was read has not even that, and a file that somebody has
            // put there may have another one.
            let new = read(connection, last - 1, &mut texts)?;
            match new.split_first() {
                Some((first, [])) if Some(first) == known.series.last() => return Ok(known),
                Some((first, more)) if Some(first) == known.series.last() => {
                    series.clone_from(&known.series);
                    series.extend_from_slice(more);
                }
                _ => {}
            }
        }
        if series.is_empty() {
            series = read(connection, 0, &mut texts)?;
        }
        let read = Arc::new(Dictionary { mark, series });
        *lock() = Arc::clone(&read);
        Ok(read)
    }
}

/// What has a higher number than this.
fn read(
    connection: &Connection,
    above: i64,
    texts: &mut Texts,
) -> Result<Vec<(i64, Series)>, ReadError> {
    let query = format!("SELECT {COLUMNS}, id FROM series WHERE id > ?1 ORDER BY id");
    let mut statement = connection.prepare(&query)?;
    let rows = statement.query_map([above], |row| Ok((row.get(10)?, read_series(row, texts)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// What was used on the day of this moment (seconds since 1970) or later.
pub(super) fn since(connection: &Connection, moment: i64) -> Result<Vec<Series>, ReadError> {
    let query = format!("SELECT {COLUMNS} FROM series WHERE seen >= ?1");
    let mut statement = connection.prepare(&query)?;
    let mut texts = Texts::default();
    let read = |row: &Row<'_>| read_series(row, &mut texts);
    let rows = statement.query_map([floor(moment, DAY)], read)?;
    Ok(rows.collect::<Result<_, _>>()?)
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
    let gone = transaction.run(
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
        // What is gone may leave its number to another one.
        transaction.execute_batch(RENEW)?;
    }
    Ok(())
}

const COLUMNS: &str = "connection, provider, consumer, method, endpoint, status, upstream_status, refused_by, policy, unit";

/// Texts that were read: most series share theirs with others.
type Texts = HashSet<Arc<str>>;

fn read_series(row: &Row<'_>, texts: &mut Texts) -> rusqlite::Result<Series> {
    let mut text = |column| {
        let text = row.get_ref(column)?.as_str()?;
        let found = texts.get_or_insert_with(text, |text| Arc::from(text));
        Ok::<_, rusqlite::Error>(Arc::clone(found))
    };
    Ok(Series {
        connection: text(0)?,
        provider: text(1)?,
        consumer: text(2)?,
        method: text(3)?,
        endpoint: text(4)?,
        refused_by: text(7)?,
        policy: text(8)?,
        unit: text(9)?,
        status: row.get(5)?,
        upstream_status: row.get(6)?,
    })
}

#[cfg(test)]
mod tests;
