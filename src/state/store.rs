//! The database: its tables, what is read at opening, and one transaction for a batch.

mod mend;
mod prune;
#[cfg(test)]
mod tests;
mod trouble;

use std::path::PathBuf;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row, Statement, Transaction, TransactionBehavior, params};

pub(super) use mend::{newer, salt_of};

use prune::Pruning;
use trouble::{Trouble, is_passing};

use super::batch::Batch;
use super::folder::Folder;
use super::history::{self, Numbers};
use super::kept::{self, Kept as _};
use super::seal::Seal;
use super::warnings;
use super::{KEPT_MS, LearnedRow, Loaded, MeterRow, OpenError, SALT};

/// From each version of the file to the next; `user_version` says how many were done. Steps are only ever added.
const STEPS: &[&str] = &[
    "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
    CREATE TABLE meters (
        account TEXT NOT NULL,
        policy TEXT NOT NULL,
        partition TEXT NOT NULL,
        reserved INTEGER NOT NULL,
        ends_ms INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (account, policy, partition)
    ) STRICT;
    CREATE TABLE learned (
        account TEXT NOT NULL,
        scope TEXT NOT NULL,
        source TEXT NOT NULL,
        target TEXT NOT NULL,
        learned_ms INTEGER NOT NULL,
        PRIMARY KEY (account, scope, source)
    ) STRICT;
",
    history::TABLES,
    warnings::TABLES,
    history::FORGOTTEN,
    history::BLOCKS,
];

/// The tables that are read whole at opening, so they are also checked whole. The history will be too long for that.
const CHECKED: [&str; 4] = ["meta", "meters", "learned", "warnings"];

/// How long to wait for somebody who writes by hand; callers wait as long.
const PATIENCE: Duration = Duration::from_secs(2);

/// So many pages go into the log before it is moved into the main file. SQLite would do it by itself, but within a commit:
/// whoever waits for that would wait for the disk.
const LOG_PAGES: i64 = 1_000;

/// The log's size is cut back to this after somebody who read for long let it grow.
const LOG_BYTES: i64 = 8 << 20;

const PUT_METER: &str = "
    INSERT INTO meters (account, policy, partition, reserved, ends_ms, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT DO UPDATE SET reserved = excluded.reserved, ends_ms = excluded.ends_ms, data = excluded.data";
const REMOVE_METER: &str =
    "DELETE FROM meters WHERE account = ?1 AND policy = ?2 AND partition = ?3";
const PUT_LESSON: &str = "
    INSERT INTO learned (account, scope, source, target, learned_ms) VALUES (?1, ?2, ?3, ?4, ?5)
    ON CONFLICT DO UPDATE SET target = excluded.target, learned_ms = excluded.learned_ms";
const REMOVE_LESSON: &str = "DELETE FROM learned WHERE account = ?1 AND scope = ?2 AND source = ?3";

/// The database in its locked folder.
pub(super) struct Store {
    /// Taken away when it may be at fault; the next batch opens another. Before the folder: closed before the lock goes.
    connection: Option<Connection>,
    /// The file that the connection has open. After it, see [`Seal`].
    seal: Seal,
    /// It is written with each commit, not only when the log is moved into it.
    has_no_log: bool,
    salt: [u8; SALT],
    /// Of the file that the connection has open.
    numbers: Numbers,
    /// What ended long ago, and is not yet forgotten.
    pruning: Option<Pruning>,
    /// It is another file than before, and why.
    news: Option<String>,
    /// Something was written since a broken file was moved aside. One that is broken at once is no better than its successor.
    is_proven: bool,
    /// A moment ago, for names.
    now_ms: i64,
    folder: Folder,
}

/// A database that was opened.
struct Opened {
    connection: Connection,
    seal: Seal,
    has_no_log: bool,
    loaded: Loaded,
}

impl Store {
    /// Opens or makes the database; `salt` is that of a new one.
    pub(super) fn open(
        folder: Folder,
        salt: [u8; SALT],
        now_ms: i64,
    ) -> Result<(Self, Loaded), OpenError> {
        let fail = |trouble: Trouble| trouble.into_error(&folder);
        let mut warning = None;
        let mut opened = open(&folder, salt, Some(now_ms));
        if let Err(Trouble::Broken(reason)) = opened {
            let aside = folder.move_aside(now_ms)?;
            warning = Some(format!(
                "`{}` was broken ({reason}) and is now `{}`; a new one is begun",
                folder.database().display(),
                aside.display()
            ));
            opened = open(&folder, salt, Some(now_ms));
        }
        let mut opened = opened.map_err(fail)?;
        opened.loaded.warnings.splice(0..0, warning);
        let store = Self {
            connection: Some(opened.connection),
            seal: opened.seal,
            has_no_log: opened.has_no_log,
            salt: opened.loaded.salt,
            numbers: Numbers::new(),
            pruning: None,
            news: None,
            is_proven: true,
            now_ms,
            folder,
        };
        Ok((store, opened.loaded))
    }

    /// Why it writes into another file since the last time that somebody asked: what was written before is not in it.
    pub(super) fn take_news(&mut self) -> Option<String> {
        self.connection.as_ref()?;
        self.news.take()
    }

    /// Where the database is, as SQLite names it.
    pub(super) fn database(&self) -> PathBuf {
        self.folder.database()
    }

    /// How it is opened.
    pub(super) fn flags(&self) -> OpenFlags {
        self.folder.flags()
    }

    /// Writes a batch in one transaction.
    ///
    /// With `synchronous=NORMAL` and a write-ahead log the commit is a write to the log without an fsync: the process may
    /// be killed at once and nothing is lost, because the bytes are the operating system's. Only a crash of the whole
    /// machine can take the last commits back, and even that leaves a sound file.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(), String> {
        self.try_commit(batch)
            .map_err(|trouble| trouble.into_error(&self.folder).to_string())
    }

    fn try_commit(&mut self, batch: &Batch) -> Result<(), Trouble> {
        if let Some(ended) = batch.ended {
            self.now_ms = ended.saturating_add(KEPT_MS);
        }
        match self.commit_once(batch) {
            Err(Trouble::Broken(reason)) if self.is_proven && !self.folder.is_memory() => {
                self.move_aside(&reason)?;
                self.commit_once(batch)
            }
            result => result,
        }
    }

    fn commit_once(&mut self, batch: &Batch) -> Result<(), Trouble> {
        self.look_after()?;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let opened = open(&self.folder, self.salt, None)?;
                if opened.loaded.salt != self.salt {
                    // Rows of this run would not fit to those of that file.
                    let reason = "another file took its place; start headroom again".to_owned();
                    return Err(Trouble::Failed(reason));
                }
                self.seal = opened.seal;
                self.has_no_log = opened.has_no_log;
                self.numbers.clear();
                // Nobody has looked after it meanwhile.
                let reason =
                    || "The state's file was closed after an error and is open again".to_owned();
                self.news.get_or_insert_with(reason);
                none.insert(opened.connection)
            }
        };
        let pruning = Pruning::asked(self.pruning, batch.ended);
        let result = write(connection, &mut self.numbers, batch, pruning);
        match &result {
            Ok(left) => {
                self.pruning = *left;
                self.is_proven = true;
            }
            Err(error) => {
                // It may be the cause, and what others wait for goes before: whoever prunes asks again.
                self.pruning = None;
                // Those that were given in it were not.
                self.numbers.clear();
                if !is_passing(error) {
                    self.connection = None;
                }
            }
        }
        if self.has_no_log {
            self.seal.renew();
        }
        result?;
        Ok(())
    }

    /// Moves the log into the main file when it has grown, which waits for the disk: to be called when nobody waits.
    pub(super) fn tidy(&mut self) {
        if let Some(connection) = &self.connection
            && matches!(log_pages(connection), Ok(LOG_PAGES..))
        {
            // The log is as good a place; the next time tries again.
            let _in_the_log = checkpoint(connection);
            self.seal.renew();
        }
    }

    /// The bytes of the file that are in use.
    pub(super) fn size(&self) -> Option<u64> {
        history::size(self.connection.as_ref()?).ok()
    }

    /// Moves the log into the main file and closes.
    pub(super) fn close(self) {
        if let Some(connection) = self.connection {
            // Closing does this too, but only where nobody else reads. The log itself is as good a place.
            let _in_the_log = checkpoint(&connection);
            let _closed = connection.close();
        }
    }
}

/// How much of the log is not in the main file.
fn log_pages(connection: &Connection) -> rusqlite::Result<i64> {
    connection.row("PRAGMA wal_checkpoint(NOOP)", [], |row| {
        Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?)
    })
}

/// Moves of the log what no reader holds back.
fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// The version of a file after all steps.
fn version() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// How many steps a file of this version has behind it; `None`: a newer headroom's.
fn steps_done(version: i64) -> Option<usize> {
    let done = usize::try_from(version).ok()?;
    (done <= STEPS.len()).then_some(done)
}

/// Opens the file and brings it up to date. `now_ms` at the first opening only: then everything is read, too.
fn open(folder: &Folder, salt: [u8; SALT], now_ms: Option<i64>) -> Result<Opened, Trouble> {
    // Before the connection, and so dropped after it.
    let file = folder.make_database()?;
    // No mutex: one thread has the connection.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(folder.database(), flags | folder.flags())?;
    connection.busy_timeout(PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(kept::MOST);
    // Until it is known that the file is sound and ours, closing it must not alter it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = steps_done(found).ok_or(Trouble::Newer(found))?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    // A container's root may be read-only, with no place for temporary files.
    connection.pragma_update(None, "temp_store", "MEMORY")?;

    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if done < STEPS.len() {
        for step in &STEPS[done..] {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", version())?;
    }
    transaction.execute(
        "INSERT INTO meta (name, value) VALUES ('salt', ?1) ON CONFLICT DO NOTHING",
        params![salt],
    )?;
    transaction.execute_batch(history::RENEW)?;
    let salt = "SELECT value FROM meta WHERE name = 'salt'";
    let mut loaded = Loaded {
        meters: Vec::new(),
        learned: Vec::new(),
        told: Vec::new(),
        salt: transaction.query_row(salt, [], |row| row.get(0))?,
        warnings: Vec::new(),
    };
    if let Some(now_ms) = now_ms {
        load(&transaction, now_ms, &mut loaded)?;
    }
    transaction.commit()?;

    // Only now: this alters the file for good.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    let has_no_log = mode != "wal" && !folder.is_memory();
    if has_no_log {
        loaded.warnings.push(format!(
            "the file system of `{}` cannot share memory: each write takes longer, and who reads holds it up",
            folder.database().display()
        ));
    }
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    // `Store::tidy` does it. The pragma answers with the number.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    Ok(Opened {
        connection,
        seal: Seal::of(file),
        has_no_log,
        loaded,
    })
}

/// Checks and reads what is there.
fn load(transaction: &Transaction<'_>, now_ms: i64, loaded: &mut Loaded) -> Result<(), Trouble> {
    for table in CHECKED {
        let check = format!("PRAGMA quick_check('{table}')");
        let found: String = transaction.query_row(&check, [], |row| row.get(0))?;
        if found != "ok" {
            return Err(Trouble::Broken(found));
        }
    }
    // Always written, so that a full disk shows now and not at the first call.
    transaction.execute(
        "INSERT INTO meta (name, value) VALUES ('opened_ms', ?1)
         ON CONFLICT DO UPDATE SET value = excluded.value",
        [now_ms],
    )?;
    transaction.execute(prune::ALL, [now_ms.saturating_sub(KEPT_MS)])?;
    loaded.salt =
        transaction.query_row("SELECT value FROM meta WHERE name = 'salt'", [], |row| {
            row.get(0)
        })?;
    loaded.meters = all(
        transaction,
        "SELECT account, policy, partition, reserved, ends_ms, data FROM meters
         ORDER BY account, policy, partition",
        |row| {
            Ok(MeterRow {
                account: row.get(0)?,
                policy: row.get(1)?,
                partition: row.get(2)?,
                reserved: row.get::<_, i64>(3)?.cast_unsigned(),
                ends_ms: row.get(4)?,
                data: row.get(5)?,
            })
        },
    )?;
    loaded.learned = all(
        transaction,
        "SELECT account, scope, source, target, learned_ms FROM learned
         ORDER BY learned_ms, account, scope, source",
        |row| {
            Ok(LearnedRow {
                account: row.get(0)?,
                scope: row.get(1)?,
                from: row.get(2)?,
                to: row.get(3)?,
                learned_ms: row.get(4)?,
            })
        },
    )?;
    loaded.told = warnings::load(transaction)?;
    Ok(())
}

fn all<T>(
    transaction: &Transaction<'_>,
    query: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    transaction.prepare(query)?.query_map([], read)?.collect()
}

/// Returns what is left to be forgotten.
fn write(
    connection: &mut Connection,
    numbers: &mut Numbers,
    batch: &Batch,
    pruning: Option<Pruning>,
) -> rusqlite::Result<Option<Pruning>> {
    // The write lock at once: one that begins as a reader could find itself outdated and fail without waiting.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let put = batch
        .meters
        .iter()
        .filter_map(|(key, meter)| Some((key, meter.as_ref()?)));
    // In the order of their keys, neighbours are found in the same pages: a third less time where there are many.
    let mut put: Vec<_> = put.collect();
    put.sort_unstable_by_key(|(key, _)| *key);
    each(&transaction, PUT_METER, put, |statement, (key, meter)| {
        statement.execute(params![
            key.account,
            key.policy,
            key.partition,
            // Bit for bit: SQLite has no unsigned numbers.
            meter.reserved.cast_signed(),
            meter.ends_ms,
            meter.data
        ])
    })?;
    let removed = batch.meters.iter().filter(|(_, meter)| meter.is_none());
    each(
        &transaction,
        REMOVE_METER,
        removed,
        |statement, (key, _)| statement.execute(params![key.account, key.policy, key.partition]),
    )?;
    let put = batch
        .learned
        .iter()
        .filter_map(|(key, lesson)| Some((key, lesson.as_ref()?)));
    each(&transaction, PUT_LESSON, put, |statement, (key, lesson)| {
        statement.execute(params![
            key.account,
            key.scope,
            key.from,
            lesson.to,
            lesson.learned_ms
        ])
    })?;
    let removed = batch.learned.iter().filter(|(_, lesson)| lesson.is_none());
    each(
        &transaction,
        REMOVE_LESSON,
        removed,
        |statement, (key, _)| statement.execute(params![key.account, key.scope, key.from]),
    )?;
    let pruning = match pruning {
        Some(pruning) => pruning.step(&transaction)?,
        None => None,
    };
    for chunk in &batch.chunks {
        history::write(&transaction, numbers, chunk)?;
    }
    if let Some(retention) = &batch.retention {
        history::retain(&transaction, numbers, retention)?;
    }
    warnings::write(&transaction, &batch.warnings)?;
    transaction.commit()?;
    Ok(pruning)
}

/// Runs a statement for each row; prepares it only where there is one.
fn each<T>(
    transaction: &Transaction<'_>,
    query: &str,
    rows: impl IntoIterator<Item = T>,
    mut run: impl FnMut(&mut Statement<'_>, T) -> rusqlite::Result<usize>,
) -> rusqlite::Result<()> {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let mut statement = transaction.prepare_cached(query)?;
    for row in rows {
        run(&mut statement, row)?;
    }
    Ok(())
}
