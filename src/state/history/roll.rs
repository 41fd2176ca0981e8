//! Minutes that are over become blocks, five at a time.
//!
//! Blocks of each level hold the same: the sums of a minute come out of `fresh` and into the blocks of its minute, quarter
//! hour, hour and day in one transaction. Also a minute that comes late, because clocks were set or a disk was full.

use hashbrown::HashMap;

use rusqlite::{OptionalExtension, Transaction, params};

use super::block::{Block, Values, Writer, merge};
use super::bytes::Damaged;
use super::retention::forget;
use super::{LEVELS, floor};
use crate::state::kept::Kept as _;

/// So long are minutes that become blocks together: each time the blocks of the hour and the day are written anew. It goes
/// into each level but the shortest.
const TOGETHER: i64 = 300;

/// With so many sums it is enough for one transaction: others wait for it. Of one minute all are taken.
const ENOUGH: usize = 10_000;

/// Sums by the number of their series.
type Group = HashMap<i64, Values>;

/// When it began, and its sums.
type Minute = (i64, Group);

/// Takes the oldest minutes, as soon as the last of those that go together ended by this moment (seconds since 1970). Whoever
/// calls this once a minute keeps up.
pub(super) fn roll(transaction: &Transaction<'_>, over: i64) -> rusqlite::Result<()> {
    let oldest = "SELECT MIN(start) FROM fresh";
    let oldest: Option<i64> = transaction.row(oldest, [], |row| row.get(0))?;
    let Some(first) = oldest else { return Ok(()) };
    let last = floor(first, TOGETHER).saturating_add(TOGETHER);
    if over < last {
        return Ok(());
    }
    let (minutes, end) = fresh(transaction, first, last)?;
    for level in LEVELS {
        // In the order of time, and so are the periods.
        let period = |minute: &Minute| floor(minute.0, level);
        for minutes in minutes.chunk_by(|a, b| period(a) == period(b)) {
            let start = minutes.first().map_or(first, period);
            add(transaction, level, start, &sum(minutes))?;
        }
    }
    transaction.run("DELETE FROM fresh WHERE start < ?1", [end])?;
    transaction.run(
        "INSERT INTO meta (name, value) VALUES ('rolled', ?1)
         ON CONFLICT DO UPDATE SET value = MAX(value, excluded.value)",
        [end],
    )?;
    Ok(())
}

/// Minutes from the first until before `last`, or as many as are enough; with the moment until which all are there.
fn fresh(
    transaction: &Transaction<'_>,
    first: i64,
    last: i64,
) -> rusqlite::Result<(Vec<Minute>, i64)> {
    let mut statement = transaction.prepare_cached(
        "SELECT start, data FROM fresh WHERE start >= ?1 AND start < ?2 ORDER BY start",
    )?;
    let mut rows = statement.query([first, last])?;
    let mut minutes: Vec<Minute> = Vec::new();
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let start = row.get(0)?;
        if minutes.last().is_none_or(|(last, _)| *last != start) {
            if count >= ENOUGH {
                return Ok((minutes, start));
            }
            minutes.push((start, Group::new()));
        }
        let Some((_, group)) = minutes.last_mut() else {
            continue;
        };
        match gather(row.get_ref(1)?.as_blob()?, group) {
            Ok(sums) => count += sums,
            // There is no second copy.
            Err(damaged) => {
                for level in LEVELS {
                    lose(transaction, level, start, damaged)?;
                }
            }
        }
    }
    Ok((minutes, last))
}

/// All of a block or nothing of it.
fn gather(data: &[u8], group: &mut Group) -> Result<usize, Damaged> {
    let block = Block::open(data)?;
    let rows = block.rows().collect::<Result<Vec<_>, _>>()?;
    for (number, row) in &rows {
        row.add_to(group.entry(*number).or_default());
    }
    Ok(rows.len())
}

/// All of some minutes, by the numbers of their series.
fn sum(minutes: &[Minute]) -> Vec<(i64, Values)> {
    let mut all = Group::new();
    for (number, values) in minutes.iter().flat_map(|(_, group)| group) {
        all.entry(*number).or_default().add(values);
    }
    let mut all: Vec<_> = all.into_iter().collect();
    all.sort_unstable_by_key(|(number, _)| *number);
    all
}

/// Adds sums to a block, and makes it where there is none.
fn add(
    transaction: &Transaction<'_>,
    level: i64,
    start: i64,
    sums: &[(i64, Values)],
) -> rusqlite::Result<()> {
    let old = "SELECT data FROM blocks WHERE level = ?1 AND start = ?2";
    let old: Option<Vec<u8>> = transaction
        .row(old, [level, start], |row| row.get(0))
        .optional()?;
    let data = match merge(old.as_deref(), sums) {
        Ok(data) => data,
        Err(damaged) => {
            lose(transaction, level, start, damaged)?;
            let mut anew = Writer::default();
            for (number, values) in sums {
                anew.push(*number, values);
            }
            anew.finish()
        }
    };
    transaction.run(
        "INSERT INTO blocks (level, start, data) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET data = excluded.data",
        params![level, start, data],
    )?;
    Ok(())
}

/// Bytes on the disk have changed: totals until then are not told any more, because they would be too low.
fn lose(
    transaction: &Transaction<'_>,
    level: i64,
    start: i64,
    damaged: Damaged,
) -> rusqlite::Result<()> {
    tracing::warn!(level, start, "Totals of the history are lost: {damaged}.");
    forget(transaction, level, start + 1)
}

#[cfg(test)]
pub(super) mod tests;
