//! The one thread that writes: takes everything that waits, commits it once, answers all.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::OpenFlags;
use tokio::sync::oneshot;

use super::batch::{Batch, Changes, Waiter};
use super::store::Store;
use super::{MeterRow, WriteError, Written};

/// What the callers and the writer share.
pub(super) struct Shared {
    /// What those who read open, and how.
    place: Mutex<(PathBuf, OpenFlags)>,
    /// There is no file yet: what is written is in memory, and answered as if it were not.
    waits: AtomicBool,
    queue: Mutex<Queue>,
    bell: Condvar,
    health: Mutex<Health>,
    bytes: AtomicU64,
    files: AtomicU64,
}

#[derive(Default)]
struct Health {
    failure: Option<String>,
    /// The batch that was answered last.
    answered: u64,
}

#[derive(Default)]
struct Queue {
    next: Batch,
    /// Batches that were taken. The next one has the number after it.
    taken: u64,
    closed: bool,
    /// The writer waits for work.
    is_idle: bool,
}

impl Shared {
    /// For this store; `unkept` is why it is in memory, where it should not be.
    pub(super) fn new(store: &Store, unkept: Option<String>) -> Self {
        Self {
            place: Mutex::new((store.database(), store.flags())),
            waits: AtomicBool::new(unkept.is_some()),
            queue: Mutex::default(),
            bell: Condvar::default(),
            health: Mutex::new(Health {
                failure: unkept,
                answered: 0,
            }),
            bytes: AtomicU64::default(),
            files: AtomicU64::default(),
        }
    }

    /// What those who read open, and how.
    pub(super) fn database(&self) -> (PathBuf, OpenFlags) {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.clone()
    }

    /// There is no file yet.
    pub(super) fn waits(&self) -> bool {
        self.waits.load(Ordering::Acquire)
    }

    /// Why there is no file, for as long as there is none.
    pub(super) fn tell_unkept(&self, reason: String) {
        let mut health = self.health_now();
        if self.waits() {
            health.failure = Some(reason);
        }
    }

    /// From now on everything is written into this file.
    fn move_to(&self, store: &Store) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) =
            (store.database(), store.flags());
        let mut health = self.health_now();
        self.waits.store(false, Ordering::Release);
        health.set(None);
    }

    /// Held for moving some pointers only, so also a task may wait for it.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands changes over, and gives the number of their batch.
    pub(super) fn push(&self, changes: Changes, waiter: Waiter) -> u64 {
        let batch = self.place(|batch| batch.push(changes), None, || waiter);
        self.ring();
        batch
    }

    /// Hands a meter over that more come after: the writer is not woken for it. Where it comes into the batch `known`, that
    /// is waited for already.
    pub(super) fn put(&self, row: MeterRow, known: Option<u64>) -> Option<Written> {
        let mut new = None;
        let put = |batch: &mut Batch| batch.put(row);
        let batch = self.place(put, known, || {
            let (waiter, answer) = oneshot::channel();
            new = Some(answer);
            Waiter::Task(waiter)
        });
        new.map(|answer| Written { answer, batch })
    }

    fn place(
        &self,
        push: impl FnOnce(&mut Batch) -> bool,
        known: Option<u64>,
        waiter: impl FnOnce() -> Waiter,
    ) -> u64 {
        let mut queue = self.queue();
        let batch = queue.taken + 1;
        let error = if queue.closed {
            WriteError::Closed
        } else if !push(&mut queue.next) {
            WriteError::Full
        } else {
            // The writer takes what somebody waits for: whoever was refused room does not.
            if known != Some(batch) || queue.next.waiters.is_empty() {
                queue.next.waiters.push(waiter());
            }
            return batch;
        };
        drop(queue);
        // What hangs fails nowhere else.
        if error == WriteError::Full {
            self.health_now().set(Some(error.to_string()));
        }
        waiter().answer(Err(error));
        batch
    }

    /// Wakes the writer, if it waits. To wake one that does not takes a system call.
    pub(super) fn ring(&self) {
        if self.queue().is_idle {
            self.bell.notify_one();
        }
    }

    /// Takes nothing more; what waits is still written.
    pub(super) fn close(&self) {
        self.queue().closed = true;
        self.bell.notify_one();
    }

    /// Waits for work; `None` when nothing more can come.
    fn next(&self) -> Option<Batch> {
        let mut queue = self.queue();
        loop {
            if !queue.next.waiters.is_empty() {
                queue.taken += 1;
                return Some(std::mem::take(&mut queue.next));
            }
            if queue.closed {
                return None;
            }
            queue.is_idle = true;
            queue = self
                .bell
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
            queue.is_idle = false;
        }
    }

    /// What the file holds, as of the last batch.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn weigh(&self, store: &Store) {
        // A store that is away, or cannot be read, is as large as it was.
        if let Some(bytes) = store.size() {
            self.bytes.store(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    pub(super) fn health(&self) -> Option<String> {
        self.health_now().failure.clone()
    }

    fn health_now(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The writer has an answer for one more batch. What was not written says nothing of the disk.
    fn answered(&self, result: Option<&Result<(), String>>) {
        let mut health = self.health_now();
        health.answered += 1;
        if let Some(result) = result {
            health.set(result.as_ref().err().cloned());
        }
    }

    /// Somebody has waited for a batch for too long. The writer's next answer says how it is.
    pub(super) fn gave_up(&self, batch: u64) {
        let mut health = self.health_now();
        if health.answered < batch && health.failure.is_none() {
            health.set(Some(HANGS.to_owned()));
        }
    }
}

/// What is said of a store that neither writes nor fails.
const HANGS: &str = "the state is not written in time; counts are kept in memory meanwhile";

impl Health {
    fn set(&mut self, failure: Option<String>) {
        match (&self.failure, &failure) {
            (None, Some(failure)) => tracing::warn!("{failure}"),
            (Some(_), None) => tracing::info!("the state is written again"),
            _ => {}
        }
        self.failure = failure;
    }
}

/// Whatever ends the writer, nobody waits for it afterwards.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let left = {
            let mut queue = self.0.queue();
            queue.closed = true;
            std::mem::take(&mut queue.next)
        };
        for waiter in left.waiters {
            waiter.answer(Err(WriteError::Closed));
        }
    }
}

/// The life of the writing thread.
pub(super) fn run(mut store: Store, shared: &Shared) {
    let _ending = Ending(shared);
    shared.weigh(&store);
    while let Some(mut batch) = shared.next() {
        let waiters = std::mem::take(&mut batch.waiters);
        let later = batch.store.take();
        let result = (!batch.is_barrier()).then(|| store.commit(&batch));
        if let Some(news) = store.take_news() {
            tracing::warn!("{news}, and what is known is written into it.");
            shared.files.fetch_add(1, Ordering::Relaxed);
        }
        let unkept = shared.health().filter(|_| shared.waits());
        let result = match unkept {
            Some(reason) => {
                shared.answered(None);
                Err(WriteError::Unkept(reason.into()))
            }
            None => {
                shared.answered(result.as_ref());
                let result = result.unwrap_or(Ok(()));
                result.map_err(|reason| WriteError::Failed(reason.into()))
            }
        };
        if let Some(later) = later {
            store.close();
            store = later;
            shared.move_to(&store);
        }
        for waiter in waiters {
            waiter.answer(result.clone());
        }
        store.tidy();
        shared.weigh(&store);
    }
    store.close();
}
