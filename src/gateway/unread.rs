//! Answers over HTTP/2 of which a caller takes nothing. Its socket does not show that: what is full is the window of one call
//! (RFC 9113, section 5.2), and that hyper asks for no more is all that can be seen of it.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::body::Shelf;

/// What was handed over last of each answer of a connection, as far as nobody has asked for more.
#[derive(Default)]
pub(super) struct Unread {
    /// By the address of the shelf, which is taken out before it is gone.
    offered: HashMap<usize, (Instant, Weak<Shelf>)>,
    /// Not after the first of them.
    since: Option<Instant>,
}

fn key(shelf: &Arc<Shelf>) -> usize {
    Arc::as_ptr(shelf).addr()
}

impl Unread {
    pub(super) fn offer(&mut self, shelf: &Arc<Shelf>, now: Instant) {
        self.offered
            .insert(key(shelf), (now, Arc::downgrade(shelf)));
        self.since.get_or_insert(now);
    }

    pub(super) fn take(&mut self, shelf: &Arc<Shelf>) {
        self.offered.remove(&key(shelf));
        if self.offered.is_empty() {
            self.since = None;
        }
    }

    /// Nothing was offered before, and left.
    pub(super) const fn since(&self) -> Option<Instant> {
        self.since
    }

    /// Those that have been left for so long; they are forgotten here.
    pub(super) fn overdue(&mut self, now: Instant, patience: Duration) -> Vec<Arc<Shelf>> {
        let is_overdue = |since: Instant| since + patience <= now;
        let overdue = self
            .offered
            .values()
            .filter(|(since, _)| is_overdue(*since))
            .filter_map(|(_, shelf)| shelf.upgrade())
            .collect();
        self.offered.retain(|_, (since, _)| !is_overdue(*since));
        self.since = self.offered.values().map(|(since, _)| *since).min();
        overdue
    }
}
