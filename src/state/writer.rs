//! The one thread that writes: takes everything that waits, commits it once, answers all.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::WriteError;
use super::batch::{Batch, Changes, Waiter};
use super::store::Store;

/// What the callers and the writer share.
#[derive(Default)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    bell: Condvar,
    health: Mutex<Option<String>>,
}

#[derive(Default)]
struct Queue {
    next: Batch,
    closed: bool,
}

impl Shared {
    /// Held for moving some pointers only, so also a task may wait for it.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, changes: Changes, waiter: Waiter) {
        let refused = {
            let mut queue = self.queue();
            if queue.closed {
                Err((waiter, WriteError::Closed))
            } else {
                let pushed = queue.next.push(changes, waiter);
                pushed.map_err(|waiter| (waiter, WriteError::Full))
            }
        };
        match refused {
            Ok(()) => self.bell.notify_one(),
            Err((waiter, error)) => {
                // What hangs fails nowhere else.
                if error == WriteError::Full {
                    self.set_health(Some(error.to_string()));
                }
                waiter.answer(Err(error));
            }
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
                return Some(std::mem::take(&mut queue.next));
            }
            if queue.closed {
                return None;
            }
            queue = self
                .bell
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(super) fn health(&self) -> Option<String> {
        self.health
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_health(&self, health: Option<String>) {
        let mut place = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*place, &health) {
            (None, Some(failure)) => tracing::warn!("{failure}"),
            (Some(_), None) => tracing::info!("the state is written again"),
            _ => {}
        }
        *place = health;
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
    while let Some(mut batch) = shared.next() {
        let waiters = std::mem::take(&mut batch.waiters);
        // A barrier says nothing of the disk.
        let result = if batch.is_barrier() {
            Ok(())
        } else {
            let result = store.commit(&batch);
            shared.set_health(result.as_ref().err().cloned());
            result.map_err(|reason| WriteError::Failed(reason.into()))
        };
        for waiter in waiters {
            waiter.answer(result.clone());
        }
        store.tidy();
    }
    store.close();
}
