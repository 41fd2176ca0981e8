//! What each worker has of its own of what all calls take along. Two threads that count references in one place wait for each
//! other, at each call and for longer than what they count takes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::connection::Catalogue;
use super::fields::Via;
use crate::history::History;

/// A reference whose count is this worker's own.
pub(super) type Own<T> = Arc<Arc<T>>;

/// One worker's.
pub(super) struct Local {
    pub(super) via: Via,
    pub(super) history: Own<History>,
    /// Held for the length of a clone, by this worker and by who puts another one in place.
    catalogue: Mutex<Own<dyn Catalogue>>,
}

/// All of them.
pub(super) struct Locals {
    first: Local,
    others: Box<[Local]>,
}

impl Locals {
    /// For so many workers. `None`: the pseudonym cannot be written.
    pub(super) fn new(
        workers: usize,
        pseudonym: &str,
        history: &Arc<History>,
        catalogue: &Arc<dyn Catalogue>,
    ) -> Option<Self> {
        let local = || {
            Some(Local {
                via: Via::new(pseudonym)?,
                history: Arc::new(Arc::clone(history)),
                catalogue: Mutex::new(Arc::new(Arc::clone(catalogue))),
            })
        };
        let others: Option<Box<[Local]>> = (1..workers).map(|_| local()).collect();
        Some(Self {
            first: local()?,
            others: others?,
        })
    }

    /// The worker's with this number.
    pub(super) fn of(&self, worker: usize) -> &Local {
        let other = worker.checked_sub(1);
        let other = other.and_then(|other| self.others.get(other));
        other.unwrap_or(&self.first)
    }

    /// Calls from now on see this one.
    pub(super) fn replace(&self, catalogue: &Arc<dyn Catalogue>) {
        for local in self.others.iter().chain([&self.first]) {
            *local.lock() = Arc::new(Arc::clone(catalogue));
        }
    }
}

impl Local {
    pub(super) fn catalogue(&self) -> Own<dyn Catalogue> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Own<dyn Catalogue>> {
        self.catalogue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
