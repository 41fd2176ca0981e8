//! What was called, by whom, and what came of it: each call is one [`Record`], summed in memory and written in batches.
//!
//! Nothing here waits for a disk on behalf of a call. A call takes a lock that is held for the length of an addition
//! (`shards`); once in a while [`History::flush`] takes all sums away and hands them to [`crate::state`], which adds them
//! to totals by minute, quarter hour, hour and day, which cannot disagree. What cannot be
//! written stays here and is written later. No clock: times are arguments.

mod later;
pub mod names;
pub mod plan;
pub mod poll;
pub mod query;
pub mod record;
mod shards;
pub mod tally;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, broadcast};

use crate::state::history::{Chunk, EventRow, Retention, Series, Snapshot};
use crate::state::{OpenError, ReadError, State, WriteError, Written};
use later::EVENTS_WAITING;
use names::Names;
use poll::Polls;
use record::Record;
use shards::{Books, Shards, Told};
use tally::Tally;

/// What is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Single calls are kept for so long.
    pub keep_events: Duration,
    /// So many single calls at the most.
    pub max_events: u64,
    /// Totals by minute are kept for so long.
    pub keep_minutes: Duration,
    /// Totals by quarter hour and hour.
    pub keep_hours: Duration,
    /// Totals by day.
    pub keep_days: Duration,
    /// The file holds so many bytes at the most, about.
    pub max_bytes: u64,
}

const DAY: Duration = Duration::from_secs(86_400);
const DAY_MS: i64 = 86_400_000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep_events: DAY,
            max_events: 1_000_000,
            // The last 24 hours are counted by minutes at both ends, in any zone.
            keep_minutes: Duration::from_secs(36 * 3_600),
            keep_hours: DAY.saturating_mul(35),
            keep_days: DAY.saturating_mul(400),
            max_bytes: 900 << 20,
        }
    }
}

impl Settings {
    /// Memory is dearer than a disk, and what is in it ends with the process.
    #[must_use]
    fn in_memory(self) -> Self {
        Self {
            max_events: self.max_events.min(100_000),
            max_bytes: self.max_bytes.min(64 << 20),
            ..self
        }
    }
}

/// A minute is over so long after its end: what was called in it is written by then. What comes later costs one more look at
/// its blocks.
const GRACE: Duration = Duration::from_secs(5);

/// Batches of events that a slow reader of the live stream may be behind: some seconds.
const LIVE_BATCHES: usize = 16;

/// So many read at a time; the others wait for them.
const READERS: usize = 4;

/// How long a report waits for what was called last to be written.
const REPORT_PATIENCE: Duration = Duration::from_secs(2);

/// How long who asks for the sums of the process waits for somebody who reads.
const TALLY_PATIENCE: Duration = Duration::from_millis(100);

/// The recorder and its store.
pub struct History {
    shards: Shards,
    polls: Polls,
    state: State,
    settings: Settings,
    pending: Mutex<Pending>,
    /// Nobody, when the program is about to end.
    live: Lock<Option<broadcast::Sender<Arc<[EventRow]>>>>,
    /// Of all calls that were taken out of the shards.
    tally: Lock<Tally>,
    /// Rows that are not known to be written.
    waiting: AtomicU64,
    /// Events that were not kept one by one, because there were too many at a time.
    dropped: AtomicU64,
    trouble: Lock<Option<String>>,
    /// The store is not used, for this reason.
    unkept: Option<String>,
    /// For those who read at a time: each reading takes memory.
    seats: Semaphore,
}

/// What is not known to be written.
struct Pending {
    fresh: Chunk,
    /// What can be read, but is in no file, because the store cannot be opened yet.
    unkept: Chunk,
    /// Empty, with the room of what was written.
    spare: Option<Chunk>,
    sent: Option<(Arc<Chunk>, Written)>,
    names: Names,
    told: Told,
    next_event: i64,
    /// Since something was taken out the last time.
    has_grown: bool,
    last_retained_ms: i64,
    last_thorough_ms: i64,
}

impl History {
    /// A history that goes on where the store ended. Without a store, or with one whose history cannot be read, it is in
    /// memory, and ends with the process; [`Self::health`] tells why.
    ///
    /// # Errors
    /// There is not even memory for it.
    pub fn new(state: Option<State>, settings: Settings, now_ms: i64) -> Result<Self, OpenError> {
        let mut unkept = None;
        let kept = state.and_then(|state| match known(&state, now_ms) {
            Ok(known) => Some((state, known)),
            Err(error) => {
                unkept = Some(format!("{error}; it is kept in memory until a restart"));
                None
            }
        });
        let (state, (names, last), settings) = match kept {
            // Numbers of events go on rising when the store can be opened: no file has this many.
            Some((state, (names, _))) if state.is_without_store() => {
                (state, (names, now_ms.saturating_mul(1_000)), settings)
            }
            Some((state, known)) => (state, known, settings),
            None => {
                let state = State::in_memory(now_ms)?;
                (state, (Names::default(), 0), settings.in_memory())
            }
        };
        let (live, _) = broadcast::channel(LIVE_BATCHES);
        Ok(Self {
            shards: Shards::default(),
            polls: Polls::default(),
            state,
            settings,
            pending: Mutex::new(Pending {
                fresh: Chunk::default(),
                unkept: Chunk::default(),
                spare: None,
                sent: None,
                names,
                told: Told::default(),
                next_event: last + 1,
                has_grown: false,
                last_retained_ms: now_ms,
                // Some time after the start, when there is less to do.
                last_thorough_ms: now_ms.saturating_sub(DAY_MS - 3_600_000),
            }),
            live: Lock::new(Some(live)),
            tally: Lock::default(),
            waiting: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            trouble: Lock::default(),
            unkept,
            seats: Semaphore::new(READERS),
        })
    }

    /// Remembers a call. Never waits for a disk.
    pub fn record(&self, record: &Record) {
        self.shards.record(record);
    }

    /// What repeats what.
    #[must_use]
    pub const fn polls(&self) -> &Polls {
        &self.polls
    }

    /// Takes what was recorded, tells those who listen, and hands it to the store unless that is still busy with the last
    /// batch. To be called several times a second.
    pub async fn flush(&self, now_ms: i64) {
        let mut pending = self.pending.lock().await;
        self.collect(&mut pending);
        if let Some((chunk, mut written)) = pending.sent.take() {
            match now(&mut written).await {
                Some(result) => {
                    self.finish(&mut pending, &chunk, result);
                    pending.reuse(chunk);
                }
                None => pending.sent = Some((chunk, written)),
            }
        }
        if pending.sent.is_none() {
            self.send(&mut pending);
        }
        self.retain(&mut pending, now_ms);
    }

    /// Reads, after everything that was recorded until now is written.
    ///
    /// Where the store cannot write, what is there is read all the same, and lacks what waits.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Snapshot<'_>) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        // What cannot be written now is missing: `health` tells so to whoever shows the numbers.
        let settled = tokio::time::timeout(REPORT_PATIENCE, self.settle()).await;
        if settled.is_err() {
            self.tell_trouble(Some("the store does not answer".to_owned()));
        }
        // Never closed.
        let _seat = self.seats.acquire().await;
        let state = self.state.clone();
        tokio::task::spawn_blocking(move || state.read(read))
            .await
            .unwrap_or_else(|_| Err(ReadError::new("the reading broke off")))
            .inspect_err(|error| self.tell_trouble(Some(error.to_string())))
    }

    fn tell_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    async fn settle(&self) -> Result<(), WriteError> {
        let mut pending = self.pending.lock().await;
        self.collect(&mut pending);
        loop {
            if pending.sent.is_none() {
                self.send(&mut pending);
            }
            // Kept where it is while it is waited for: whoever asks may go away.
            let Some((chunk, written)) = &mut pending.sent else {
                return Ok(());
            };
            let result = written.await;
            let chunk = Arc::clone(chunk);
            pending.sent = None;
            self.finish(&mut pending, &chunk, result.clone());
            if !matches!(result, Err(WriteError::Unkept(_))) {
                result?;
            }
        }
    }

    /// The sums of all calls since the process began. Where the store hangs, those of a moment ago.
    pub async fn tally(&self) -> Tally {
        if let Ok(mut pending) = tokio::time::timeout(TALLY_PATIENCE, self.pending.lock()).await {
            self.collect(&mut pending);
        }
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.clone()
    }

    fn collect(&self, pending: &mut Pending) {
        let Pending {
            fresh,
            names,
            told,
            next_event,
            ..
        } = pending;
        let before = fresh.events.len();
        let lost = {
            let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
            let mut books = Books {
                names,
                chunk: fresh,
                tally: &mut tally,
                next_event,
            };
            self.shards.tell(told, &mut books)
        };
        let too_many = fresh.events.len().saturating_sub(EVENTS_WAITING);
        if let Some(new) = fresh.events.get(before..)
            && !new.is_empty()
            && let Some(live) = &*self.live.lock().unwrap_or_else(PoisonError::into_inner)
            && live.receiver_count() > 0
        {
            // Nobody may have stayed to listen.
            let _heard = live.send(new.into());
        }
        fresh.events.drain(..too_many);
        let dropped = lost + u64::try_from(too_many).unwrap_or(u64::MAX);
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
        let sent = pending.sent.as_ref().map_or(0, |(chunk, _)| chunk.rows());
        let waiting = sent + pending.fresh.rows();
        let waiting = u64::try_from(waiting).unwrap_or(u64::MAX);
        self.waiting.store(waiting, Ordering::Relaxed);
    }

    /// Hands over as much as one transaction should hold.
    fn send(&self, pending: &mut Pending) {
        self.reclaim(pending);
        if pending.fresh.is_empty() {
            // Nor does it take room.
            pending.fresh.shrink();
            pending.spare = None;
            return;
        }
        let spare = pending.spare.take().unwrap_or_default();
        let chunk = Arc::new(pending.fresh.part(spare));
        let written = self.state.add(Arc::clone(&chunk));
        pending.sent = Some((chunk, written));
        pending.has_grown = true;
    }

    /// Once a minute, and more often where much is written. Nobody has to wait for what is taken out.
    fn retain(&self, pending: &mut Pending, now_ms: i64) {
        let every_ms = if pending.has_grown { 1_000 } else { 60_000 };
        if now_ms.abs_diff(pending.last_retained_ms) < every_ms {
            return;
        }
        (pending.last_retained_ms, pending.has_grown) = (now_ms, false);
        let thorough = now_ms.abs_diff(pending.last_thorough_ms) > DAY_MS.unsigned_abs();
        if thorough {
            pending.last_thorough_ms = now_ms;
        }
        drop(self.state.retain(self.retention(now_ms, thorough)));
    }

    /// Forgets names that nobody has used for some days, so that there is room for others. To be called once a day.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn renew_names(self: &Arc<Self>, now_ms: i64) -> Result<(), ReadError> {
        let since = names_since(now_ms);
        let series = self
            .read(move |snapshot| snapshot.series_since(since))
            .await?;
        let mut pending = self.pending.lock().await;
        // What came meanwhile is in the way for a day at the most.
        pending.names = names_of(&series);
        pending.told.forget_names();
        Ok(())
    }

    fn retention(&self, now_ms: i64, thorough: bool) -> Retention {
        let settings = if self.state.is_without_store() {
            self.settings.in_memory()
        } else {
            self.settings
        };
        let before = |kept: Duration| {
            let secs = i64::try_from(kept.as_secs()).unwrap_or(i64::MAX);
            now_ms.div_euclid(1_000).saturating_sub(secs)
        };
        let hours = before(settings.keep_hours);
        Retention {
            over: before(GRACE),
            totals_before: [
                before(settings.keep_minutes),
                hours,
                hours,
                before(settings.keep_days),
            ],
            events_before_ms: before(settings.keep_events).saturating_mul(1_000),
            max_events: settings.max_events,
            max_bytes: settings.max_bytes,
            thorough,
        }
    }

    /// Each batch of calls, as they end.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<[EventRow]>> {
        let live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        // After the end a stream of nothing.
        let ended = || broadcast::channel(1).1;
        live.as_ref()
            .map_or_else(ended, broadcast::Sender::subscribe)
    }

    /// Lets go those who listen: a stream that never ends would hold up the end of the program.
    pub fn end_listening(&self) {
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Calls that are in the totals only, because there were too many at a time to keep each, since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Rows that wait to be written, as of the last look.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Bytes of the store's file that are in use, without its log.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.state.bytes()
    }

    /// Why the last batch could not be written; it waits.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let unkept = || self.unkept.clone();
        let failing = || self.state.health();
        trouble.clone().or_else(unkept).or_else(failing)
    }

    /// Writes the rest, for the end of the program. Blocks, but not for a disk that hangs.
    ///
    /// # Errors
    /// It cannot be written, and is lost.
    pub fn close(&self) -> Result<(), WriteError> {
        let mut pending = self.pending.blocking_lock();
        self.collect(&mut pending);
        if let Some((chunk, written)) = pending.sent.take() {
            let result = self.state.wait(written);
            if result == Err(WriteError::Hangs) {
                return result;
            }
            self.finish(&mut pending, &chunk, result);
        }
        self.reclaim(&mut pending);
        while !pending.fresh.is_empty() {
            self.state
                .add_blocking(Arc::new(pending.fresh.part(Chunk::default())))?;
        }
        match self.state.health() {
            Some(reason) if !pending.unkept.is_empty() => Err(WriteError::Unkept(reason.into())),
            _ => Ok(()),
        }
    }
}

/// The names in the store, and the number of its last event.
fn known(state: &State, now_ms: i64) -> Result<(Names, i64), ReadError> {
    let (series, last) = state.read(|snapshot| {
        let series = snapshot.series_since(names_since(now_ms))?;
        Ok((series, snapshot.last_event()?))
    })?;
    Ok((names_of(&series), last))
}

/// Names are known for so many days after their last call.
const NAMES_DAYS: i64 = 3;

/// The day since which names are known, in seconds since 1970.
const fn names_since(now_ms: i64) -> i64 {
    let secs = now_ms.div_euclid(1_000) - NAMES_DAYS * 86_400;
    secs - secs.rem_euclid(86_400)
}

fn names_of(series: &[Series]) -> Names {
    let mut names = Names::default();
    for series in series {
        names.know(series);
    }
    names
}

/// What a future has at this moment.
async fn now(written: &mut Written) -> Option<Result<(), WriteError>> {
    tokio::select! {
        biased;
        result = written => Some(result),
        () = std::future::ready(()) => None,
    }
}

#[cfg(test)]
mod tests;
