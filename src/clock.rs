//! The only place that reads the clock. Everything else gets the time as an argument.

use jiff::Timestamp;
use tokio::time::Instant;

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
