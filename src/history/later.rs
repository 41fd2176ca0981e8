//! What is not written, and is written later.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{History, Pending};
use crate::state::WriteError;
use crate::state::history::Chunk;

/// Events that wait for a disk at the most; the oldest go. Totals wait without end, and become longer ones.
pub(super) const EVENTS_WAITING: usize = 50_000;

/// Totals that wait for a disk until those of an hour ago and more are folded.
const TOTALS_WAITING: usize = 200_000;

impl Pending {
    /// The room of what is written serves again, if nobody has it any more.
    pub(super) fn reuse(&mut self, chunk: Arc<Chunk>) {
        self.spare = Arc::into_inner(chunk).map(|mut chunk| {
            chunk.shrink();
            chunk.clear();
            chunk
        });
    }
}

impl History {
    /// What was not written is written with what comes next. While that lasts, totals of an hour and more ago become longer
    /// ones where there are too many.
    pub(super) fn finish(
        &self,
        pending: &mut Pending,
        chunk: &Chunk,
        result: Result<(), WriteError>,
    ) {
        let trouble = match result {
            Ok(()) => None,
            Err(WriteError::Unkept(_)) => {
                // The store says why.
                self.keep(&mut pending.unkept, chunk, usize::MAX);
                None
            }
            Err(error) => {
                self.keep(&mut pending.fresh, chunk, 0);
                Some(error.to_string())
            }
        };
        self.tell_trouble(trouble);
    }

    /// Puts what was not written to what is written later, its events in this place.
    fn keep(&self, later: &mut Chunk, chunk: &Chunk, place: usize) {
        later.put_back(chunk);
        for level in [3_600, 86_400] {
            if later.totals.len() > TOTALS_WAITING {
                later.totals.merge();
            }
            if later.totals.len() > TOTALS_WAITING {
                let newest = later.totals.iter().map(|total| total.start).max();
                later.fold(level, newest.unwrap_or(0));
            }
        }
        let place = place.min(later.events.len());
        let events = chunk.events.iter().cloned();
        later.events.splice(place..place, events);
        let too_many = later.events.len().saturating_sub(EVENTS_WAITING);
        later.events.drain(..too_many);
        let dropped = u64::try_from(too_many).unwrap_or(u64::MAX);
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
    }

    /// What there was no file for is written when there is one.
    pub(super) fn reclaim(&self, pending: &mut Pending) {
        if !self.state.is_without_store() && !pending.unkept.is_empty() {
            let unkept = std::mem::take(&mut pending.unkept);
            self.keep(&mut pending.fresh, &unkept, 0);
        }
    }
}
