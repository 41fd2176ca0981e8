//! Threads that serve callers, as many as there are processors. Each has a runtime of its own (`gateway::crew` says why).

use std::io;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// They end when this is dropped, with whatever they are at.
pub(super) struct Workers(Vec<Worker>);

struct Worker {
    runtime: Handle,
    /// Only gone while this is dropped.
    end: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Workers {
    /// Starts so many.
    ///
    /// # Errors
    ///
    /// The system has no room for them.
    pub(super) fn start(count: usize) -> io::Result<Self> {
        (0..count)
            .map(Worker::start)
            .collect::<io::Result<_>>()
            .map(Self)
    }

    /// Where tasks of theirs are spawned.
    pub(super) fn runtimes(&self) -> Vec<Handle> {
        self.0.iter().map(|worker| worker.runtime.clone()).collect()
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name(format!("headroom-{number}"));
        let thread = thread.spawn(move || {
            // Nothing is ever sent: the other end is dropped.
            let _ended = runtime.block_on(ended);
            // The lookup of a name cannot be cut, and nobody waits for it any more.
            runtime.shutdown_background();
        })?;
        Ok(Self {
            runtime: handle,
            end: Some((end, thread)),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some((end, thread)) = self.end.take() {
            drop(end);
            if thread.join().is_err() {
                tracing::error!("A thread that served callers broke off.");
            }
        }
    }
}
