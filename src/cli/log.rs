//! Logs: to stderr, for people.

use tracing_subscriber::EnvFilter;

/// Starts the log. `HEADROOM_LOG` chooses what is told (`debug`, `headroom=debug`); `info` if it is not there.
pub(super) fn start() {
    let filter = EnvFilter::try_from_env("HEADROOM_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = super::colour();
    // A second start (in tests) changes nothing.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .try_init();
}
