//! Forgets meters that ended long ago, some with each commit: a million of them take half a second to look through, longer to
//! take out, and calls wait for what is committed.

use rusqlite::Connection;

use crate::state::kept::Kept as _;

/// So many rows are looked at within a commit: half a millisecond.
const STEP: i64 = 2_000;
/// So many of them go at the most: each has a place of its own in the index of keys, so that 2,000 write 6 MiB.
const MOST: usize = 200;

/// Nobody waits yet.
pub(super) const ALL: &str = "DELETE FROM meters WHERE ends_ms < ?1";

const LAST: &str = "SELECT max(rowid), count(*) FROM (SELECT rowid FROM meters WHERE rowid > ?1 ORDER BY rowid LIMIT ?2)";
const PRUNE: &str = "DELETE FROM meters WHERE rowid IN \
    (SELECT rowid FROM meters WHERE rowid > ?1 AND rowid <= ?2 AND ends_ms < ?3 ORDER BY rowid LIMIT ?4)";

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pruning {
    /// What ended before goes.
    before_ms: i64,
    /// The number of the last row that was looked at.
    seen: i64,
}

impl Pruning {
    /// What is to be done after somebody has asked again. A round goes on to its end: begun anew each time, it would not come to
    /// the rows behind.
    pub(super) fn asked(round: Option<Self>, before_ms: Option<i64>) -> Option<Self> {
        let Some(before_ms) = before_ms else {
            return round;
        };
        let seen = round.map_or(i64::MIN, |round| round.seen);
        Some(Self { before_ms, seen })
    }

    /// Looks at the next rows. Returns what is left to do.
    pub(super) fn step(self, connection: &Connection) -> rusqlite::Result<Option<Self>> {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (last, rows): (Option<i64>, i64) = connection.row(LAST, [self.seen, STEP], read)?;
        let Some(last) = last else {
            return Ok(None);
        };
        let most = i64::try_from(MOST).unwrap_or(i64::MAX);
        let gone = connection.run(PRUNE, [self.seen, last, self.before_ms, most])?;
        if gone == MOST {
            // Those that are left of these are looked at again.
            return Ok(Some(self));
        }
        Ok((rows == STEP).then_some(Self { seen: last, ..self }))
    }
}
