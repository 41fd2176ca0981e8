//! Logs: to stderr, for people.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Starts the log. `HEADROOM_LOG` chooses what is told (`debug`, `headroom=debug`); `info` if it is not there.
pub(super) fn start() {
    let wanted = std::env::var("HEADROOM_LOG").unwrap_or_default();
    // Targets, not `EnvFilter`: that brings an engine for patterns in field values which makes every pattern of every
    // adapter twice as slow to compile.
    let chosen = wanted.parse::<Targets>();
    let is_unreadable = chosen.is_err() && !wanted.is_empty();
    let info = Targets::new().with_default(LevelFilter::INFO);
    let filter = match chosen {
        Ok(chosen) if !wanted.is_empty() => chosen,
        _ => info,
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(super::colour())
        .with_target(false);
    // A second start (in tests) changes nothing.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .try_init();
    if is_unreadable {
        tracing::warn!(
            "HEADROOM_LOG={wanted:?} cannot be read; write a level, or target=level, as in headroom=debug"
        );
    }
}
