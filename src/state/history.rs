//! What was called, as rows: a dictionary of who called what, totals of it by minute, quarter hour, hour and day, and the
//! single calls of the last while. Plain values; what they mean is known elsewhere.

mod snapshot;

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Row, Transaction, params, params_from_iter};

pub use snapshot::{EventLine, Snapshot};

/// The tables. A number that does not apply is 0, a name that does not apply is empty. Starts of totals are seconds since
/// 1970 in UTC, `level` is the length in seconds.
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

/// The lengths of totals, in seconds. A quarter hour is there for zones that are not whole hours from UTC.
pub const LEVELS: [i64; 4] = [60, 900, 3_600, 86_400];

/// Who called what, and what came of it; or whose quota was used by whom, when `policy` is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series {
    /// The connection.
    pub connection: Arc<str>,
    /// The adapter's id.
    pub provider: Arc<str>,
    /// The consumer's name, or the hash of a credential.
    pub consumer: Arc<str>,
    /// The method; empty for a policy.
    pub method: Arc<str>,
    /// The template of the path; empty for a policy.
    pub endpoint: Arc<str>,
    /// The status that the caller got; 0: none, it went away before.
    pub status: u16,
    /// The provider's status where the caller got another one; 0: the same, or none.
    pub upstream_status: u16,
    /// `headroom` or `provider` where a quota was in the way; else empty.
    pub refused_by: Arc<str>,
    /// The policy; empty for calls.
    pub policy: Arc<str>,
    /// What the policy counts; empty for calls.
    pub unit: Arc<str>,
}

macro_rules! sums {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        /// What is summed of calls.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Sums {
            $($(#[$doc])+ pub $name: u64,)+
        }

        impl Sums {
            /// The columns, in their order.
            const COLUMNS: &[&str] = &[$(stringify!($name)),+];

            /// Adds another sum.
            pub const fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.saturating_add(other.$name);)+
            }

            fn values(&self) -> [u64; Self::COLUMNS.len()] {
                [$(self.$name),+]
            }

            fn read(row: &Row<'_>, mut column: usize) -> rusqlite::Result<Self> {
                let mut next = || {
                    let value: i64 = row.get(column)?;
                    column += 1;
                    Ok::<_, rusqlite::Error>(u64::try_from(value).unwrap_or(0))
                };
                Ok(Self { $($name: next()?),+ })
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
    pub series: Arc<Series>,
    /// How it ended: `complete`, `broken` or `left`.
    pub outcome: &'static str,
    /// The policy that was in its way; empty: none.
    pub policy: Arc<str>,
    /// What it used, as JSON.
    pub spent: String,
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
    /// By the start of a minute (seconds since 1970) and series.
    pub totals: HashMap<(i64, Arc<Series>), Sums>,
    /// In the order of their numbers.
    pub events: Vec<EventRow>,
}

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

    /// About how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        self.rows() * 256
    }
}

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

/// Numbers of series that are known to be in the file.
pub(super) type Numbers = HashMap<Arc<Series>, i64>;

/// Adds a chunk.
pub(super) fn write(
    transaction: &Transaction<'_>,
    numbers: &mut Numbers,
    chunk: &Chunk,
) -> rusqlite::Result<()> {
    if !chunk.totals.is_empty() {
        let mut add = transaction.prepare(&add_query())?;
        for ((minute, series), sums) in &chunk.totals {
            let number = number(transaction, numbers, series)?;
            for level in LEVELS {
                let start = minute - minute.rem_euclid(level);
                let keys = [level, start, number];
                let values = sums.values().map(signed);
                add.execute(params_from_iter(keys.into_iter().chain(values)))?;
            }
        }
    }
    if !chunk.events.is_empty() {
        let mut put = transaction.prepare(
            "INSERT OR REPLACE INTO events
                (id, at_ms, series, outcome, policy, spent, waited_us, duration_us, upstream_us, bytes_in, bytes_out)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?;
        for event in &chunk.events {
            put.execute(params![
                event.id,
                event.at_ms,
                number(transaction, numbers, &event.series)?,
                event.outcome,
                event.policy,
                event.spent,
                signed(event.waited_us),
                signed(event.duration_us),
                signed(event.upstream_us),
                signed(event.bytes_in),
                signed(event.bytes_out),
            ])?;
        }
    }
    Ok(())
}

fn add_query() -> String {
    let columns = Sums::COLUMNS.join(", ");
    let places: Vec<String> = (1..=3 + Sums::COLUMNS.len())
        .map(|place| format!("?{place}"))
        .collect();
    let sums: Vec<String> = Sums::COLUMNS
        .iter()
        .map(|column| format!("{column} = {column} + excluded.{column}"))
        .collect();
    format!(
        "INSERT INTO totals (level, start, series, {columns}) VALUES ({}) ON CONFLICT DO UPDATE SET {}",
        places.join(", "),
        sums.join(", ")
    )
}

/// SQLite has no unsigned numbers.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn number(
    transaction: &Transaction<'_>,
    numbers: &mut Numbers,
    series: &Arc<Series>,
) -> rusqlite::Result<i64> {
    if let Some(number) = numbers.get(series) {
        return Ok(*number);
    }
    let keys = params![
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
    ];
    transaction.execute(
        "INSERT INTO series
            (connection, provider, consumer, method, endpoint, status, upstream_status, refused_by, policy, unit)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
        keys,
    )?;
    let number = transaction.query_row(
        "SELECT id FROM series WHERE connection = ?1 AND provider = ?2 AND consumer = ?3 AND method = ?4
            AND endpoint = ?5 AND status = ?6 AND upstream_status = ?7 AND refused_by = ?8 AND policy = ?9 AND unit = ?10",
        keys,
        |row| row.get(0),
    )?;
    numbers.insert(Arc::clone(series), number);
    Ok(number)
}

/// So many rows go in one transaction: calls may wait for the next one.
const MOST_AT_ONCE: i64 = 20_000;

/// Takes out what is not to be kept, or a part of it.
pub(super) fn retain(
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
    // Numbers and times rise together, so the old ones stand first.
    transaction.execute(
        "DELETE FROM events WHERE id IN (
            SELECT id FROM events
            WHERE id < COALESCE((SELECT id FROM events WHERE at_ms >= ?1 ORDER BY id LIMIT 1), ?3)
            ORDER BY id LIMIT ?2)",
        [retention.events_before_ms, MOST_AT_ONCE, i64::MAX],
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
            "DELETE FROM series WHERE id NOT IN (SELECT series FROM totals UNION SELECT series FROM events)",
            [],
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
    // A report must know where totals are whole: what is not there may never have been, or be gone.
    transaction.execute(
        "INSERT INTO forgotten (level, until) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET until = MAX(until, excluded.until)",
        [level, bound.saturating_add(1)],
    )?;
    Ok(())
}

/// The bytes that are in use.
pub(super) fn size(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok(u64::try_from(pages * pragma("page_size")?).unwrap_or(0))
}
