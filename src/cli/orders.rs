//! Signals that stop a program.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, or the SIGTERM of a supervisor. Listened to from when it is made: a signal between two looks is not lost.
pub(super) struct Orders {
    signals: [Option<Signal>; 2],
}

impl Orders {
    pub(super) fn new() -> Self {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        Self {
            signals: kinds.map(|kind| signal(kind).ok()),
        }
    }

    pub(super) async fn next(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            () = next_of(interrupt) => {}
            () = next_of(terminate) => {}
        }
    }
}

/// The next signal; never, where the system lets nobody listen to it.
pub(super) async fn next_of(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
