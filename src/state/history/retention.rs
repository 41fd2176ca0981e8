//! What is taken out of the history, and what reports have to know of that.

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::dictionary::{self, Numbers};
use super::roll::roll;
use super::{LEVELS, calls, put_events};
use crate::state::kept::Kept as _;

/// What is kept for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Minutes that ended by then are over (seconds since 1970), and become blocks.
    pub over: i64,
    /// Totals of these levels that start before these moments go (seconds since 1970).
    pub totals_before: [i64; LEVELS.len()],
    /// Events from before go (Unix milliseconds).
    pub events_before_ms: i64,
    /// So many events stay at the most.
    pub max_events: u64,
    /// When the file holds more bytes than this, the oldest events and the shortest totals go first.
    pub max_bytes: u64,
    /// Entries of the dictionary that nothing uses any more go too.
    pub thorough: bool,
}

#[cfg(test)]
impl Retention {
    /// Nothing goes, and all minutes are over.
    pub(crate) const fn of_everything() -> Self {
        Self {
            over: i64::MAX,
            totals_before: [i64::MIN; LEVELS.len()],
            events_before_ms: i64::MIN,
            max_events: u64::MAX,
            max_bytes: u64::MAX,
            thorough: false,
        }
    }
}

/// So many blocks of a level go in one transaction, and so many of events: calls may wait for the next one.
const MOST_BLOCKS: i64 = 32;
const MOST_EVENT_BLOCKS: i64 = 1_000;

/// Makes blocks of what is over, and takes out what is not to be kept, or a part of it.
pub(in crate::state) fn retain(
    transaction: &Transaction<'_>,
    numbers: &mut Numbers,
    retention: &Retention,
) -> rusqlite::Result<()> {
    roll(transaction, retention.over)?;
    retain_events(transaction, retention)?;
    for (level, before) in LEVELS.into_iter().zip(retention.totals_before) {
        remove_totals(transaction, level, before)?;
    }
    if size(transaction)? > retention.max_bytes {
        shrink(transaction)?;
    }
    if retention.thorough {
        dictionary::tidy(transaction, numbers)?;
    }
    Ok(())
}

/// Takes out the oldest of what there is.
fn shrink(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    if let Some((first, last)) = ends_of_events(transaction)? {
        cut(transaction, first + (last - first) / 16 + 1, last)?;
    }
    // The day that is still going on is told from the shortest ones: something of each stays.
    for level in LEVELS {
        let end = |order| {
            let query =
                format!("SELECT start FROM blocks WHERE level = ?1 ORDER BY start {order} LIMIT 1");
            let start = transaction.query_row(&query, [level], |row| row.get::<_, i64>(0));
            start.optional()
        };
        if let (Some(oldest), Some(newest)) = (end("ASC")?, end("DESC")?)
            && newest - oldest > level
        {
            return remove_totals(transaction, level, oldest + (newest - oldest) / 16 + 1);
        }
    }
    Ok(())
}

fn retain_events(transaction: &Transaction<'_>, retention: &Retention) -> rusqlite::Result<()> {
    let Some((_, last)) = ends_of_events(transaction)? else {
        return Ok(());
    };
    let most = i64::try_from(retention.max_events).unwrap_or(i64::MAX);
    // Numbers and times rise together, so the old ones stand first.
    let young: Option<i64> = transaction
        .query_row(
            "SELECT first FROM events WHERE last_ms >= ?1 ORDER BY first LIMIT 1",
            [retention.events_before_ms],
            |row| row.get(0),
        )
        .optional()?;
    let keep = last.saturating_sub(most).saturating_add(1);
    cut(transaction, keep.max(young.unwrap_or(last)), last)
}

/// The numbers of the first event and of the last.
fn ends_of_events(transaction: &Transaction<'_>) -> rusqlite::Result<Option<(i64, i64)>> {
    let ends =
        "SELECT MIN(first), (SELECT last FROM events ORDER BY first DESC LIMIT 1) FROM events";
    transaction.query_row(ends, [], |row| {
        let (first, last): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
        Ok(first.zip(last))
    })
}

/// Takes out the events before a number. The last one stays: a restart goes on counting from it.
fn cut(transaction: &Transaction<'_>, keep: i64, last: i64) -> rusqlite::Result<()> {
    let keep = keep.min(last);
    transaction.execute(
        "DELETE FROM events WHERE first IN (
            SELECT first FROM events WHERE first < ?1 AND last < ?1 ORDER BY first LIMIT ?2)",
        [keep, MOST_EVENT_BLOCKS],
    )?;
    // The one that is cut through.
    let through: Option<(i64, Vec<u8>)> = transaction
        .query_row(
            "SELECT first, data FROM events WHERE first < ?1 AND last >= ?1",
            [keep],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    // One that is damaged goes as a whole, later. Until then those who read it are told.
    if let Some((first, data)) = through
        && let Ok(calls) = calls::decode(&data)
    {
        transaction.execute("DELETE FROM events WHERE first = ?1", [first])?;
        let kept: Vec<_> = calls.into_iter().filter(|call| call.id >= keep).collect();
        put_events(transaction, &kept)?;
    }
    Ok(())
}

fn remove_totals(transaction: &Transaction<'_>, level: i64, before: i64) -> rusqlite::Result<()> {
    // A table without row numbers has no shorter way to say "the first so many".
    let bound: Option<i64> = transaction.query_row(
        "SELECT MAX(start) FROM (SELECT start FROM blocks WHERE level = ?1 AND start < ?2 ORDER BY start LIMIT ?3)",
        [level, before, MOST_BLOCKS],
        |row| row.get(0),
    )?;
    let Some(bound) = bound else { return Ok(()) };
    transaction.execute(
        "DELETE FROM blocks WHERE level = ?1 AND start <= ?2",
        [level, bound],
    )?;
    forget(transaction, level, bound.saturating_add(1))
}

/// A report must know where totals are whole: what is not there may never have been, or be gone.
pub(super) fn forget(
    transaction: &Transaction<'_>,
    level: i64,
    until: i64,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO forgotten (level, until) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET until = MAX(until, excluded.until)",
        [level, until],
    )?;
    Ok(())
}

/// The bytes that are in use.
pub(in crate::state) fn size(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |pragma| connection.row(pragma, [], |row| row.get::<_, i64>(0));
    let pages = pragma("PRAGMA page_count")? - pragma("PRAGMA freelist_count")?;
    Ok(u64::try_from(pages * pragma("PRAGMA page_size")?).unwrap_or(0))
}

#[cfg(test)]
mod tests;
