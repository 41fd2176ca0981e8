//! What is taken out of the history, and what reports have to know of that.

use rusqlite::{Connection, Transaction};

use super::{LEVELS, Numbers, signed};

/// What is kept for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Totals of these levels that start before these moments go (seconds since 1970).
    pub totals_before: [i64; LEVELS.len()],
    /// Events from before go (Unix milliseconds).
    pub events_before_ms: i64,
    /// So many events stay at the most.
    pub max_events: u64,
    /// When the file holds more bytes than this, the oldest events and the shortest totals go first.
    pub max_bytes: u64,
    /// Entries of the dictionary that nothing uses any more go too, which takes a look at everything.
    pub thorough: bool,
}

/// So many rows go in one transaction: calls may wait for the next one.
const MOST_AT_ONCE: i64 = 20_000;

/// Takes out what is not to be kept, or a part of it.
pub(in crate::state) fn retain(
    transaction: &Transaction<'_>,
    numbers: &mut Numbers,
    retention: &Retention,
) -> rusqlite::Result<()> {
    let last: Option<i64> =
        transaction.query_row("SELECT MAX(id) FROM events", [], |row| row.get(0))?;
    let most = signed(retention.max_events);
    transaction.execute(
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id <= ?1 ORDER BY id LIMIT ?2)",
        [last.unwrap_or(0).saturating_sub(most), MOST_AT_ONCE],
    )?;
    // Numbers and times rise together, so the old ones stand first. The last one stays: a restart goes on counting from it.
    transaction.execute(
        "DELETE FROM events WHERE id IN (
            SELECT id FROM events
            WHERE id < COALESCE((SELECT id FROM events WHERE at_ms >= ?1 ORDER BY id LIMIT 1), ?3)
            ORDER BY id LIMIT ?2)",
        [
            retention.events_before_ms,
            MOST_AT_ONCE,
            last.unwrap_or(i64::MAX),
        ],
    )?;
    for (level, before) in LEVELS.into_iter().zip(retention.totals_before) {
        remove_totals(transaction, level, before)?;
    }
    if size(transaction)? > retention.max_bytes {
        transaction.execute(
            "DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT ?1)",
            [MOST_AT_ONCE],
        )?;
        // The day that is still going on is told from the shortest ones: something of each stays.
        for level in LEVELS {
            let oldest: Option<i64> = transaction.query_row(
                "SELECT MIN(start) FROM totals WHERE level = ?1",
                [level],
                |row| row.get(0),
            )?;
            let newest: Option<i64> = transaction.query_row(
                "SELECT MAX(start) FROM totals WHERE level = ?1",
                [level],
                |row| row.get(0),
            )?;
            if let (Some(oldest), Some(newest)) = (oldest, newest)
                && newest - oldest > level
            {
                remove_totals(transaction, level, oldest + (newest - oldest) / 16 + 1)?;
                break;
            }
        }
    }
    if retention.thorough {
        let gone = transaction.execute(
            // Totals by day are kept for the longest.
            "DELETE FROM series WHERE id NOT IN (SELECT series FROM totals WHERE level = ?1)",
            [LEVELS[LEVELS.len() - 1]],
        )?;
        if gone > 0 {
            numbers.clear();
        }
    }
    Ok(())
}

fn remove_totals(transaction: &Transaction<'_>, level: i64, before: i64) -> rusqlite::Result<()> {
    // A table without row numbers has no shorter way to say "the first so many".
    let bound: Option<i64> = transaction.query_row(
        "SELECT MAX(start) FROM (SELECT start FROM totals WHERE level = ?1 AND start < ?2 ORDER BY start LIMIT ?3)",
        [level, before, MOST_AT_ONCE],
        |row| row.get(0),
    )?;
    let Some(bound) = bound else { return Ok(()) };
    transaction.execute(
        "DELETE FROM totals WHERE level = ?1 AND start <= ?2",
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
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok(u64::try_from(pages * pragma("page_size")?).unwrap_or(0))
}
