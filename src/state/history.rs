//! What was called, as rows: a dictionary of who called what, totals of it by minute, quarter hour, hour and day, and the
//! single calls of the last while. Plain values; what they mean is known elsewhere.

mod block;
mod bytes;
mod calls;
mod dictionary;
mod retention;
mod roll;
mod scan;
mod series;
mod snapshot;
mod totals;

use std::sync::Arc;

use rusqlite::{Transaction, params};

pub use block::{Row, Values};
pub use calls::EventLine;
pub use dictionary::{Dictionary, Places};
pub(super) use dictionary::{Numbers, RENEW, Remembered};
pub use retention::Retention;
pub(super) use retention::{retain, size};
pub use scan::{Scan, scans};
pub use series::{Series, SeriesRef};
pub use snapshot::Snapshot;
pub use totals::{Total, Totals};

use block::Writer;
use dictionary::number;
use retention::forget;

/// The first tables, of which `series` is left. A number that does not apply is 0, a name that does not apply is empty.
pub(super) const TABLES: &str = "
    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        connection TEXT NOT NULL,
        provider TEXT NOT NULL,
        consumer TEXT NOT NULL,
        method TEXT NOT NULL,
        endpoint TEXT NOT NULL,
        status INTEGER NOT NULL,
        upstream_status INTEGER NOT NULL,
        refused_by TEXT NOT NULL,
        policy TEXT NOT NULL,
        unit TEXT NOT NULL,
        UNIQUE (connection, provider, consumer, method, endpoint, status, upstream_status, refused_by, policy, unit)
    ) STRICT;
    CREATE TABLE totals (
        level INTEGER NOT NULL,
        start INTEGER NOT NULL,
        series INTEGER NOT NULL,
        calls INTEGER NOT NULL,
        cost INTEGER NOT NULL,
        refused INTEGER NOT NULL,
        exhausted INTEGER NOT NULL,
        broken INTEGER NOT NULL,
        waited INTEGER NOT NULL,
        waited_us INTEGER NOT NULL,
        duration_us INTEGER NOT NULL,
        upstream_us INTEGER NOT NULL,
        bytes_in INTEGER NOT NULL,
        bytes_out INTEGER NOT NULL,
        polls INTEGER NOT NULL,
        polls_gap_ms INTEGER NOT NULL,
        same INTEGER NOT NULL,
        revalidatable INTEGER NOT NULL,
        fresh INTEGER NOT NULL,
        PRIMARY KEY (level, start, series)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        series INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        policy TEXT NOT NULL,
        spent TEXT NOT NULL,
        waited_us INTEGER NOT NULL,
        duration_us INTEGER NOT NULL,
        upstream_us INTEGER NOT NULL,
        bytes_in INTEGER NOT NULL,
        bytes_out INTEGER NOT NULL
    ) STRICT;
";

/// Until when totals of each level were taken out: the later ones are all there.
pub(super) const FORGOTTEN: &str = "
    CREATE TABLE forgotten (
        level INTEGER PRIMARY KEY,
        until INTEGER NOT NULL
    ) STRICT;
";

/// Totals and events as blocks. Starts are seconds since 1970 in UTC, `level` is the length in seconds.
///
/// `fresh` has the sums of a minute as they came, `blocks` all sums of a period once its minutes are over (`rolled` in `meta`
/// says until when), `events` what was written together. `seen` is the day on which a series was used last. headroom was
/// not released with the tables that this takes out.
pub(super) const BLOCKS: &str = "
    DROP TABLE totals;
    DROP TABLE events;
    DELETE FROM forgotten;
    DELETE FROM series;
    ALTER TABLE series ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE fresh (
        start INTEGER NOT NULL,
        part INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (start, part)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE blocks (
        level INTEGER NOT NULL,
        start INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (level, start)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE events (
        first INTEGER PRIMARY KEY,
        last INTEGER NOT NULL,
        first_ms INTEGER NOT NULL,
        last_ms INTEGER NOT NULL,
        data BLOB NOT NULL
    ) STRICT;
";

/// The lengths of totals, in seconds. A quarter hour is there for zones that are not whole hours from UTC.
pub const LEVELS: [i64; 4] = [60, 900, 3_600, DAY];

const DAY: i64 = 86_400;

/// When the period of this length began that a moment is in.
const fn floor(moment: i64, level: i64) -> i64 {
    moment.saturating_sub(moment.rem_euclid(level))
}

macro_rules! sums {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        /// What is summed of calls.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Sums {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl Sums {
            /// How many there are.
            const COUNT: usize = [$(stringify!($name)),+].len();

            /// Adds another sum.
            pub const fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)+
            }

            const fn values(&self) -> [u64; Self::COUNT] {
                [$(self.$name),+]
            }

            const fn from_values([$($name),+]: [u64; Self::COUNT]) -> Self {
                Self { $($name),+ }
            }
        }
    };
}

sums! {
    /// Calls.
    calls,
    /// What a policy counted of them, in its unit.
    cost,
    /// Refused by headroom for want of quota.
    refused,
    /// Refused by the provider for want of quota.
    exhausted,
    /// The answer did not reach the caller whole.
    broken,
    /// Calls that waited for quota.
    waited,
    /// How long they waited, in microseconds.
    waited_us,
    /// From the request's head to the answer's end, in microseconds.
    duration_us,
    /// Of that, from sending the request to the head of the provider's answer, in microseconds.
    upstream_us,
    /// Bytes of bodies from callers.
    bytes_in,
    /// Bytes of bodies to callers.
    bytes_out,
    /// Repetitions of a GET that the same credential had made before.
    polls,
    /// The time since the call that each repeated, in milliseconds.
    polls_gap_ms,
    /// Repetitions that got the same answer again.
    same,
    /// Of those, the ones whose answer had a validator that the call did not use.
    revalidatable,
    /// Repetitions within the time for which the answer before called itself fresh.
    fresh,
}

/// One call. Its dimensions are those of its series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Later calls have higher numbers.
    pub id: i64,
    /// When it ended, in Unix milliseconds.
    pub at_ms: i64,
    /// What it was.
    pub series: SeriesRef,
    /// How it ended: `complete`, `broken` or `left`.
    pub outcome: &'static str,
    /// The policy that was in its way; empty: none.
    pub policy: Arc<str>,
    /// What it used, as JSON.
    pub spent: Arc<str>,
    /// See [`Sums`].
    pub waited_us: u64,
    /// See [`Sums`].
    pub duration_us: u64,
    /// See [`Sums`].
    pub upstream_us: u64,
    /// See [`Sums`].
    pub bytes_in: u64,
    /// See [`Sums`].
    pub bytes_out: u64,
}

/// What is added in one go.
#[derive(Debug, Default)]
pub struct Chunk {
    /// By minute, or longer times if they waited for long.
    pub totals: Totals,
    /// In the order of their numbers.
    pub events: Vec<EventRow>,
    /// For each level, until when there may be no totals of it, because those that waited were folded (seconds since 1970).
    pub coarse: [Option<i64>; LEVELS.len()],
}

/// So many totals go in one transaction: others wait for it.
const PART: usize = 50_000;

impl Chunk {
    /// Nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.totals.is_empty() && self.events.is_empty()
    }

    /// How many rows it has.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.totals.len() + self.events.len()
    }

    /// Takes out as much as one transaction should hold, and has the room of `spare` for what comes, if that is all.
    #[must_use]
    pub fn part(&mut self, spare: Self) -> Self {
        if self.totals.len() <= PART {
            return std::mem::replace(self, spare);
        }
        Self {
            totals: self.totals.take(PART),
            events: std::mem::take(&mut self.events),
            coarse: self.coarse,
        }
    }

    /// Gives back room that is hardly used.
    pub fn shrink(&mut self) {
        self.totals.shrink();
        if is_roomy(&self.events) {
            self.events.shrink_to_fit();
        }
    }

    /// Takes out everything, but keeps its room.
    pub fn clear(&mut self) {
        self.totals.clear();
        self.events.clear();
        self.coarse = Default::default();
    }

    /// Makes totals of longer lengths of those that start before a moment (seconds since 1970), so that fewer wait. Reports
    /// are told that of that time there is nothing shorter.
    pub fn fold(&mut self, level: i64, before: i64) {
        let before = before - before.rem_euclid(level);
        self.totals.fold(level, before);
        for (until, shorter) in self.coarse.iter_mut().zip(LEVELS) {
            if shorter < level {
                *until = (*until).max(Some(before));
            }
        }
    }

    /// Adds what was taken out of it.
    pub fn put_back(&mut self, part: &Self) {
        for Total {
            start,
            series,
            sums,
        } in &part.totals
        {
            self.totals.add(*start, series.clone(), *sums);
        }
        for (until, other) in self.coarse.iter_mut().zip(part.coarse) {
            *until = (*until).max(other);
        }
    }

    /// About how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        self.rows() * 256
    }
}

/// Most of its room is not used.
fn is_roomy<T>(rows: &Vec<T>) -> bool {
    rows.len() < rows.capacity() / 4
}

/// Adds a chunk.
pub(super) fn write(
    transaction: &Transaction<'_>,
    numbers: &mut Numbers,
    chunk: &Chunk,
) -> rusqlite::Result<()> {
    put_totals(transaction, numbers, chunk)?;
    for (level, until) in LEVELS.into_iter().zip(chunk.coarse) {
        if let Some(until) = until {
            forget(transaction, level, until)?;
        }
    }
    let mut lines = Vec::with_capacity(chunk.events.len());
    for event in &chunk.events {
        let moment = event.at_ms.div_euclid(1_000);
        let series = number(transaction, numbers, &event.series, moment)?;
        lines.push(EventLine {
            id: event.id,
            at_ms: event.at_ms,
            series,
            outcome: event.outcome,
            policy: &event.policy,
            spent: &event.spent,
            waited_us: event.waited_us,
            duration_us: event.duration_us,
            upstream_us: event.upstream_us,
            bytes_in: event.bytes_in,
            bytes_out: event.bytes_out,
        });
    }
    put_events(transaction, &lines)
}

/// One row for each minute.
fn put_totals(
    transaction: &Transaction<'_>,
    numbers: &mut Numbers,
    chunk: &Chunk,
) -> rusqlite::Result<()> {
    if chunk.totals.is_empty() {
        return Ok(());
    }
    let mut rows: Vec<(i64, i64, &Sums)> = Vec::with_capacity(chunk.totals.len());
    for total in &chunk.totals {
        let number = number(transaction, numbers, &total.series, total.start)?;
        rows.push((total.start, number, &total.sums));
    }
    rows.sort_unstable_by_key(|(start, number, _)| (*start, *number));
    let mut put = transaction.prepare_cached(
        "INSERT INTO fresh (start, part, data)
         VALUES (?1, (SELECT COALESCE(MAX(part), 0) + 1 FROM fresh WHERE start = ?1), ?2)",
    )?;
    for of_minute in rows.chunk_by(|(a, ..), (b, ..)| a == b) {
        let mut block = Writer::default();
        for of_series in of_minute.chunk_by(|(_, a, _), (_, b, _)| a == b) {
            let mut all = Sums::default();
            for (_, _, sums) in of_series {
                all.add(sums);
            }
            if let Some((_, number, _)) = of_series.first() {
                block.push(*number, &Values::from(&all));
            }
        }
        let start = of_minute.first().map(|(start, ..)| *start);
        put.execute(params![start, block.finish()])?;
    }
    Ok(())
}

/// In the order of their numbers.
fn put_events(transaction: &Transaction<'_>, lines: &[EventLine<'_>]) -> rusqlite::Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let mut put = transaction.prepare_cached(
        "INSERT OR REPLACE INTO events (first, last, first_ms, last_ms, data) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for lines in lines.chunks(calls::MOST) {
        let times = || lines.iter().map(|line| line.at_ms);
        put.execute(params![
            lines.first().map(|line| line.id),
            lines.last().map(|line| line.id),
            times().min(),
            times().max(),
            calls::encode(lines),
        ])?;
    }
    Ok(())
}
