//! The only place that reads the clock. Everything else gets the time as an argument.

use jiff::Timestamp;

/// The time by the wall clock.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
