//! The only place that reads the clock. Everything else gets the time as an argument.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::time::{Nanos, Now, Steady};

/// Where the steady clock of meters begins: far enough from zero that what a store has kept of earlier processes lies before
/// it.
const BEGINNING: Steady = Steady(1 << 56);

/// When somebody first looked at the clock: on the steady one, and on the wall in milliseconds since 1970.
static STARTED: OnceLock<(Instant, i64)> = OnceLock::new();

/// The time of day, for what providers and people count in.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The runtime's own steady clock, for timeouts. Tests can pause it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// This moment on both clocks, for meters.
#[must_use]
pub fn moment() -> Now {
    let (instant, wall_ms) = (monotonic(), wall_ms());
    let (started, _) = *STARTED.get_or_init(|| (instant, wall_ms));
    Now {
        steady: steady_at(instant, started),
        wall_ms,
    }
}

/// This moment on the steady clock alone, for how long something took.
#[must_use]
pub fn steady() -> Steady {
    let instant = monotonic();
    let (started, _) = *STARTED.get_or_init(|| (instant, wall_ms()));
    steady_at(instant, started)
}

fn steady_at(instant: Instant, started: Instant) -> Steady {
    BEGINNING.after(Nanos::from(instant.saturating_duration_since(started)))
}

/// The time of day in milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
fn wall_ms() -> i64 {
    let since = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()),
        Err(before) => i64::try_from(before.duration().as_millis()).map(|ms| -ms),
    };
    since.unwrap_or(i64::MAX)
}

/// When the process first looked at the clock, which it does as it starts.
pub fn started() -> Now {
    let (_, wall_ms) = *STARTED.get_or_init(|| (monotonic(), wall_ms()));
    Now {
        steady: BEGINNING,
        wall_ms,
    }
}

/// The system's own steady clock in microseconds, which supervisors compare with theirs (sd_notify(3), `MONOTONIC_USEC`).
#[must_use]
pub fn monotonic_usec() -> i64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec
        .saturating_mul(1_000_000)
        .saturating_add(time.tv_nsec / 1_000)
}

/// A random number, for spreading waits. Not for secrets.
#[must_use]
pub fn random() -> u64 {
    RandomState::new().hash_one(0)
}
