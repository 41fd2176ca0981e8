//! What must survive a restart and `kill -9`: one SQLite file in a folder of its own.
//!
//! Knows nothing of meters: rows are plain values. Callers hand rows over and wait until they are committed; one thread
//! writes, and commits everything that waits in one transaction, so a thousand callers cost one commit. No clock: times
//! are arguments, in Unix milliseconds.
//!
//! `headroom.lock` beside the file keeps a second headroom out; anybody may read the file while headroom runs.

mod batch;
mod error;
mod folder;
pub mod history;
mod kept;
mod later;
mod seal;
mod store;
mod warnings;
mod writer;

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::crypto::GetRandomFailed;
use tokio::sync::oneshot;

pub use error::{OpenError, ReadError, WriteError};
pub use later::Opened;
pub use warnings::WarningRow;

use batch::{Changes, Waiter};
use folder::Folder;
use history::{Chunk, Remembered, Retention, Snapshot};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use store::Store;
use writer::Shared;

/// What a meter of one account's policy says. A later row of the same account, policy and partition takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterRow {
    /// Whose quota it is.
    pub account: Arc<str>,
    /// Which policy counts.
    pub policy: Arc<str>,
    /// Which part of the policy, where it has parts.
    pub partition: String,
    /// What is set aside for calls that are on their way.
    pub reserved: u64,
    /// When nothing of it matters any more.
    pub ends_ms: i64,
    /// The meter itself, opaque here.
    pub data: Vec<u8>,
}

/// What an answer taught. A later row of the same account, scope and origin (`from`) takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearnedRow {
    /// Whose answer it was.
    pub account: String,
    /// What it is about.
    pub scope: String,
    /// What was known.
    pub from: String,
    /// What it stands for.
    pub to: String,
    /// When it was learned.
    pub learned_ms: i64,
}

/// Which meter: what identifies a [`MeterRow`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MeterKey {
    /// Whose quota it is.
    pub account: Arc<str>,
    /// Which policy counts.
    pub policy: Arc<str>,
    /// Which part of the policy.
    pub partition: String,
}

/// Which lesson: what identifies a [`LearnedRow`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LearnedKey {
    /// Whose answer it was.
    pub account: String,
    /// What it is about.
    pub scope: String,
    /// What was known.
    pub from: String,
}

/// What an earlier headroom left.
#[derive(Debug)]
pub struct Loaded {
    /// Every meter that had not ended a day before, by its key.
    pub meters: Vec<MeterRow>,
    /// Every lesson, oldest first.
    pub learned: Vec<LearnedRow>,
    /// What warnings remember.
    pub told: Vec<WarningRow>,
    /// Random, made with the file and kept for as long as the file is.
    pub salt: [u8; SALT],
    /// What people should know: a broken file that was moved aside, a file system without write-ahead log.
    pub warnings: Vec<String>,
}

/// The salt's length, in bytes.
const SALT: usize = 16;

/// How long a reader waits for a lock; with a log there is none.
const READ_PATIENCE: Duration = Duration::from_secs(2);

/// How long the end of the program waits for a disk that may hang for ever.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// How long a meter is kept after it ended: a clock that was set wrong is seldom wrong by more.
const KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// The open store. Cheap to clone; when the last clone goes, what was handed over is still written.
#[derive(Clone)]
pub struct State {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    writer: Mutex<Option<Writer>>,
    /// How long a thread waits that has nothing else to do,
    patience: Duration,
    /// and that it has waited so long once: the disk hangs, and the next one need not find that out again.
    hangs: AtomicBool,
    remembered: Remembered,
}

/// The writing thread.
struct Writer {
    thread: JoinHandle<()>,
    /// Its other end is gone when the thread has ended.
    ended: mpsc::Receiver<()>,
}

impl State {
    /// Opens the store in `folder` and makes both where there are none. Blocks: reads what is there, and writes once to
    /// prove that writing works.
    ///
    /// A file that is broken is moved aside and a new one begun; [`Loaded::warnings`] tells of it.
    ///
    /// # Errors
    ///
    /// The folder is another headroom's, cannot be written, its disk is full, or a newer headroom made the file.
    pub fn open(folder: &Path, now_ms: i64) -> Result<(Self, Loaded), OpenError> {
        let (store, loaded) = Store::open(Folder::lock(folder)?, random()?, now_ms)?;
        Ok((Self::start(store)?, loaded))
    }

    /// A store in memory: nothing survives the process.
    ///
    /// # Errors
    ///
    /// There is no thread to be had, or no randomness.
    pub fn in_memory(now_ms: i64) -> Result<Self, OpenError> {
        let name = u128::from_le_bytes(random()?);
        let (store, _empty) = Store::open(Folder::in_memory(name), random()?, now_ms)?;
        Self::start(store)
    }

    /// A store whose disk hangs for as long as somebody else has the file, and that is waited for no longer than this.
    #[cfg(test)]
    pub(crate) fn on_a_hanging_disk(folder: &Path, patience: Duration) -> (Self, Loaded) {
        let folder = Folder::lock(folder).unwrap();
        let (store, loaded) = Store::open(folder, random().unwrap(), 0).unwrap();
        store.hang();
        (Self::start_with(store, patience, None).unwrap(), loaded)
    }

    /// A store on a disk that is full when the file has so many pages.
    #[cfg(test)]
    pub(crate) fn on_a_small_disk(folder: &Path, pages: u32) -> (Self, Loaded) {
        let folder = Folder::lock(folder).unwrap();
        let (store, loaded) = Store::open(folder, random().unwrap(), 0).unwrap();
        store.limit(pages);
        (Self::start(store).unwrap(), loaded)
    }

    fn start(store: Store) -> Result<Self, OpenError> {
        Self::start_with(store, END_PATIENCE, None)
    }

    fn start_with(
        store: Store,
        patience: Duration,
        unkept: Option<String>,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared::new(&store, unkept));
        let work = Arc::clone(&shared);
        let (lives, ended) = mpsc::channel();
        let run = move || {
            writer::run(store, &work);
            drop(lives);
        };
        let thread = thread::Builder::new()
            .name("headroom-state".to_owned())
            .spawn(run)
            .map_err(OpenError::Thread)?;
        let handle = Arc::new(Handle {
            shared,
            writer: Mutex::new(Some(Writer { thread, ended })),
            patience,
            hangs: AtomicBool::new(false),
            remembered: Remembered::default(),
        });
        Ok(Self { handle })
    }

    /// Hands rows over, in the order of the calls, without waiting. What is returned is ready once they are committed,
    /// together with everything that was handed over before; dropping it takes nothing back. Without any row it is a
    /// mere barrier.
    pub fn write(&self, meters: Vec<MeterRow>, learned: Vec<LearnedRow>) -> Written {
        self.later(Changes::put(meters, learned))
    }

    /// The same, where nobody waits: `then` is called by the thread that writes once they are committed, and dropped if they
    /// never are.
    pub fn write_then(&self, meters: Vec<MeterRow>, then: impl FnOnce() + Send + 'static) {
        let changes = Changes::put(meters, Vec::new());
        let waiter = Waiter::Then(Box::new(then));
        self.handle.shared.push(changes, waiter);
    }

    /// The same, and blocks until it is done: for the end of the program, where no runtime is left. A disk that hangs is
    /// not waited for.
    ///
    /// # Errors
    ///
    /// The rows are not stored, or nobody knows.
    pub fn write_blocking(
        &self,
        meters: Vec<MeterRow>,
        learned: Vec<LearnedRow>,
    ) -> Result<(), WriteError> {
        let (waiter, answer) = mpsc::channel();
        let changes = Changes::put(meters, learned);
        self.handle.shared.push(changes, Waiter::Thread(waiter));
        self.handle.hear(&answer)
    }

    /// Blocks until a write is committed, as [`State::write_blocking`] does.
    ///
    /// # Errors
    ///
    /// The rows are not stored, or nobody knows.
    pub fn wait(&self, mut written: Written) -> Result<(), WriteError> {
        // What is handed over later is answered later.
        let later = self.write_blocking(Vec::new(), Vec::new());
        let unknown = Err(later.err().unwrap_or(WriteError::Closed));
        written.answer.try_recv().unwrap_or(unknown)
    }

    /// Takes rows out, in order with the writes.
    pub fn remove(&self, meters: Vec<MeterKey>, learned: Vec<LearnedKey>) -> Written {
        self.later(Changes::remove(meters, learned))
    }

    /// Hands over what warnings remember, in order with the writes, all of it in one transaction.
    pub fn write_warnings(&self, rows: Vec<WarningRow>) -> Written {
        self.later(Changes::warnings(rows))
    }

    /// Takes out the meters that ended more than a day before `now_ms`: some at once, the others with each later write, where
    /// there are many. [`State::open`] takes out all; whoever runs for long calls this now and then.
    pub fn prune(&self, now_ms: i64) -> Written {
        self.later(Changes::prune(now_ms))
    }

    /// Adds to the history, in order with the writes.
    pub fn add(&self, chunk: Arc<Chunk>) -> Written {
        self.later(Changes::add(chunk))
    }

    /// The same, and blocks until it is done, as [`State::write_blocking`] does.
    ///
    /// # Errors
    ///
    /// It is not stored, or nobody knows.
    pub fn add_blocking(&self, chunk: Arc<Chunk>) -> Result<(), WriteError> {
        let (waiter, answer) = mpsc::channel();
        let waiter = Waiter::Thread(waiter);
        self.handle.shared.push(Changes::add(chunk), waiter);
        self.handle.hear(&answer)
    }

    /// Takes out of the history what is not to be kept; a part of it where it is much. To be called now and then.
    pub fn retain(&self, retention: Retention) -> Written {
        self.later(Changes::retain(retention))
    }

    /// Reads the history, while others write. Blocks.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or `read` fails.
    pub fn read<T>(
        &self,
        read: impl FnOnce(&Snapshot<'_>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        // One for each reading: opening takes a moment, and whoever put another file in its place is believed.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let (database, more) = self.handle.shared.database();
        let flags = (flags | more).difference(OpenFlags::SQLITE_OPEN_CREATE);
        let mut connection = Connection::open_with_flags(database, flags)?;
        connection.busy_timeout(READ_PATIENCE)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        read(&Snapshot::new(&transaction, &self.handle.remembered))
    }

    /// Hands over many rows one by one, each with what its order depends on in hand.
    pub fn writes(&self) -> Writes<'_> {
        Writes {
            state: self,
            written: Vec::new(),
        }
    }

    fn later(&self, changes: Changes) -> Written {
        let (waiter, answer) = oneshot::channel();
        let batch = self.handle.shared.push(changes, Waiter::Task(waiter));
        Written { answer, batch }
    }

    /// Somebody has given up waiting for this write: a disk may hang without failing. Until the store answers, [`State::health`]
    /// says so. What was handed over stays handed over.
    pub fn gave_up(&self, written: &Written) {
        self.handle.shared.gave_up(written.batch);
    }

    /// How often a new file was begun, because somebody took the one before away: nothing that was written is in it.
    #[must_use]
    pub fn files(&self) -> u64 {
        self.handle.shared.files()
    }

    /// Why the last write failed, or that it takes too long ([`State::gave_up`]); `None` when it worked.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        self.handle.shared.health()
    }

    /// Bytes of the file that are in use, as of the last write; without its log.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.handle.shared.bytes()
    }

    /// Writes what waits, moves it into the main file and gives the folder free. Blocks. The other clones' writes fail
    /// from here on. A disk that hangs is not waited for; its thread ends with the process.
    ///
    /// # Errors
    ///
    /// The last write failed, or has not ended.
    pub fn close(self) -> Result<(), WriteError> {
        self.handle.shared.close();
        // Held while joining: a second closer waits for the same end.
        let mut writer = self
            .handle
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(Writer { thread, ended }) = writer.take() {
            if ended.recv_timeout(self.handle.patience()) == Err(RecvTimeoutError::Timeout) {
                *writer = Some(Writer { thread, ended });
                return Err(self.handle.gave_up());
            }
            if thread.join().is_err() {
                return Err(WriteError::Closed);
            }
        }
        match self.health() {
            None => Ok(()),
            Some(failure) => Err(WriteError::Failed(failure.into())),
        }
    }
}

impl Handle {
    fn patience(&self) -> Duration {
        if self.hangs.load(Ordering::Relaxed) {
            Duration::ZERO
        } else {
            self.patience
        }
    }

    fn gave_up(&self) -> WriteError {
        self.hangs.store(true, Ordering::Relaxed);
        WriteError::Hangs
    }

    /// Waits for the writer's answer.
    fn hear(&self, answer: &mpsc::Receiver<Result<(), WriteError>>) -> Result<(), WriteError> {
        match answer.recv_timeout(self.patience()) {
            Ok(result) => result,
            Err(RecvTimeoutError::Disconnected) => Err(WriteError::Closed),
            Err(RecvTimeoutError::Timeout) => Err(self.gave_up()),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("State").finish_non_exhaustive()
    }
}

/// Ready once a write is committed: from then on `kill -9` does not lose it.
#[derive(Debug)]
pub struct Written {
    answer: oneshot::Receiver<Result<(), WriteError>>,
    /// What it was handed over with.
    batch: u64,
}

impl Future for Written {
    type Output = Result<(), WriteError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.answer)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(WriteError::Closed)))
    }
}

/// Rows that are handed over one by one, and written together as far as nobody hurries: a batch is waited for once.
#[must_use = "the writing begins with `finish`"]
pub struct Writes<'a> {
    state: &'a State,
    written: Vec<Written>,
}

impl Writes<'_> {
    /// Hands a row over, as [`State::write`] does.
    pub fn put(&mut self, row: MeterRow) {
        let last = self.written.last().map(|written| written.batch);
        let shared = &self.state.handle.shared;
        self.written.extend(shared.put(row, last));
    }

    /// What is ready once everything is committed.
    #[must_use]
    pub fn finish(self) -> Vec<Written> {
        self.state.handle.shared.ring();
        self.written
    }
}

/// From the randomness that TLS stands on already: no crate for sixteen bytes.
fn random() -> Result<[u8; SALT], OpenError> {
    let mut salt = [0; SALT];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut salt)
        .map_err(|GetRandomFailed| OpenError::NoRandomness)?;
    Ok(salt)
}
