//! The threads that serve callers, and which of them serves whom.
//!
//! A caller's connection, its calls and the connections to providers that they go out on are all driven by one thread with a
//! runtime of its own, so no call waits for another thread to be woken: that is a third of what a call costs otherwise
//! (PERFORMANCE.md). The caller is given to the thread that has the fewest.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// Those who serve.
pub(super) struct Crew {
    workers: Vec<Handle>,
    /// Callers of each.
    callers: Arc<[AtomicUsize]>,
}

/// A caller's place with its worker; free again when this is dropped.
pub(super) struct Seat {
    /// The worker's number.
    pub(super) worker: usize,
    callers: Arc<[AtomicUsize]>,
}

impl Crew {
    /// Of these runtimes; of none: everything is done where callers are accepted.
    pub(super) fn new(workers: Vec<Handle>) -> Self {
        let callers = (0..workers.len().max(1)).map(|_| AtomicUsize::new(0));
        Self {
            callers: callers.collect(),
            workers,
        }
    }

    /// A place with the worker that has the fewest callers.
    pub(super) fn seat(&self) -> Seat {
        let count = |callers: &AtomicUsize| callers.load(Ordering::Relaxed);
        let callers = self.callers.iter().enumerate();
        let fewest = callers.min_by_key(|(_, callers)| count(callers));
        let worker = fewest.map_or(0, |(worker, _)| worker);
        if let Some(callers) = self.callers.get(worker) {
            callers.fetch_add(1, Ordering::Relaxed);
        }
        Seat {
            worker,
            callers: Arc::clone(&self.callers),
        }
    }

    /// Has the caller served by the worker of its seat.
    pub(super) fn spawn<F>(
        &self,
        all: &mut JoinSet<()>,
        stream: TcpStream,
        seat: Seat,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(worker) = self.workers.get(seat.worker) else {
            all.spawn(async move {
                serve(stream).await;
                drop(seat);
            });
            return;
        };
        // From the runtime that has accepted it to the one that serves it.
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return lost(&error),
        };
        let serving = async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(stream).await,
                Err(error) => lost(&error),
            }
            drop(seat);
        };
        all.spawn_on(serving, worker);
    }
}

fn lost(error: &std::io::Error) {
    tracing::warn!(error = %error, "A caller could not be handed to the thread that was to serve it.");
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(callers) = self.callers.get(self.worker) {
            callers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn callers_go_to_whom_has_the_fewest() {
        let crew = Crew::new(vec![Handle::current(); 3]);
        let mut seats: Vec<Seat> = (0..6).map(|_| crew.seat()).collect();
        let workers: Vec<_> = seats.iter().map(|seat| seat.worker).collect();
        assert_eq!(workers, [0, 1, 2, 0, 1, 2]);
        seats.retain(|seat| seat.worker != 1);
        assert_eq!([crew.seat(), crew.seat()].map(|seat| seat.worker), [1, 1]);
        let alone = Crew::new(Vec::new());
        assert_eq!([alone.seat(), alone.seat()].map(|seat| seat.worker), [0, 0]);
    }
}
