//! Moments on two clocks. Lengths of time are measured on the steady one, which nobody sets; calendars are read off the
//! wall clock, which NTP and people set. Both come in as arguments.

use jiff::Timestamp;

/// Nanoseconds on a clock that only goes forward, from some beginning of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Steady(pub u64);

impl Steady {
    /// So much later. The end of time stands still.
    #[must_use]
    pub const fn after(self, length: Nanos) -> Self {
        Self(self.0.saturating_add(length.0))
    }

    /// How long until this moment; nothing when it is over.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub u64);

impl Nanos {
    /// So many seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// So many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// In seconds, rounded up: who waits so long has waited enough.
    #[must_use]
    pub const fn ceil_secs(self) -> u64 {
        self.0.div_ceil(1_000_000_000)
    }

    /// So many times the length.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }
}

impl From<Nanos> for std::time::Duration {
    fn from(length: Nanos) -> Self {
        Self::from_nanos(length.0)
    }
}

impl From<std::time::Duration> for Nanos {
    fn from(length: std::time::Duration) -> Self {
        Self(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// This moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For lengths of time.
    pub steady: Steady,
    /// For calendars, in milliseconds since 1970.
    pub wall_ms: i64,
}

impl Now {
    /// The wall clock's time.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        Timestamp::from_millisecond(self.wall_ms).unwrap_or_default()
    }

    /// When the steady clock will be where the wall clock shows this, if nobody sets it.
    #[must_use]
    pub fn steady_at(&self, wall_ms: i64) -> Steady {
        let ahead = u64::try_from(wall_ms.saturating_sub(self.wall_ms)).unwrap_or(0);
        self.steady.after(Nanos::from_millis(ahead))
    }

    /// What the wall clock will show then, rounded up.
    #[must_use]
    pub fn wall_at(&self, steady: Steady) -> i64 {
        let ahead = steady.since(self.steady).0.div_ceil(1_000_000);
        self.wall_ms
            .saturating_add(i64::try_from(ahead).unwrap_or(i64::MAX))
    }
}
