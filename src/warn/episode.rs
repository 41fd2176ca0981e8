//! When a meter is told of: a pure machine of what it said, without a clock.
//!
//! An episode begins where a quota is used up to its lowest threshold, and ends where it falls below. In between each
//! threshold is told once in a window. A meter that hovers about a threshold must not be told of again and again, so before
//! the window is over (for windows that roll and buckets: until one window later) it has recovered only where it is ten
//! points below the lowest. What was jumped over is not told: of 80 and 95 only 95.
//!
//! A forecast is told once in a window, when the quota was to run out before its reset for a while: at each look, with a
//! tenth of the time to spare, for a fiftieth of the window, but at least a minute and at most a quarter of an hour. Below
//! 20 per cent nobody knows a pace; in windows of less than ten minutes there is no time to do anything about it.

use serde::{Deserialize, Serialize};

use crate::ledger::lookout::FORECAST_FROM;
use crate::time::{Nanos, Now, Steady};

/// So far below a threshold a meter no longer hovers about it.
const POINTS: u8 = 10;

/// The shortest window that forecasts are made of.
const SHORTEST: Nanos = Nanos::from_secs(600);

/// What a meter says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// Used, in per cent.
    pub(super) percent: Option<u8>,
    /// Rising.
    pub(super) thresholds: &'a [u8],
    /// How many windows are over; `None`: its quota does not come back all at once.
    pub(super) window: Option<u32>,
    /// When this window is over, or one window from now.
    pub(super) ends: Option<Steady>,
    /// Where it runs out before its reset.
    pub(super) pace: Option<Pace>,
}

/// A pace that is too fast.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) runs_out: Nanos,
    pub(super) reset: Nanos,
    pub(super) window: Nanos,
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    Crossed(u8),
    Recovered,
}

/// What was told of a meter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Episode {
    /// The highest threshold that was told and still stands; 0: none.
    pub(super) warned: u8,
    /// When what was told is over for certain.
    until: Option<Steady>,
    /// Until then no forecast is told again.
    forecast_until: Option<Steady>,
    /// In which window it was told.
    window: Option<u32>,
    /// Since when it is to run out too early.
    early_since: Option<Steady>,
}

/// What outlives the process, on the wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    warned: u8,
    until_ms: Option<i64>,
    forecast_until_ms: Option<i64>,
}

impl Episode {
    /// What is to be stored.
    pub(super) fn stored(&self, now: Now) -> Stored {
        Stored {
            warned: self.warned,
            until_ms: self.until.map(|until| now.wall_at(until)),
            forecast_until_ms: self.forecast_until.map(|until| now.wall_at(until)),
        }
    }

    /// An episode of an earlier process. What was over is over now.
    pub(super) fn restore(stored: &Stored, now: Now) -> Self {
        Self {
            warned: stored.warned,
            until: stored.until_ms.map(|until| now.steady_at(until)),
            forecast_until: stored.forecast_until_ms.map(|until| now.steady_at(until)),
            ..Self::default()
        }
    }

    /// Goes on with the meter that it was told of: `window` is the meter's own count of now.
    pub(super) fn resume(&mut self, window: Option<u32>, now: Now) {
        // Another window than this one, if that of the episode is over.
        let is_over = self.is_over(now);
        self.window = window.map(|window| window.wrapping_sub(u32::from(is_over)));
    }

    /// Whether the window that was told of has turned.
    pub(super) fn is_over(&self, now: Now) -> bool {
        self.until.is_some_and(|until| until <= now.steady)
    }

    /// A threshold was told of, and it is known when that is over.
    pub(super) const fn has_end(&self) -> bool {
        self.warned != 0 && self.until.is_some()
    }

    /// There is nothing to remember.
    pub(super) fn is_idle(&self, now: Now) -> bool {
        let is_over = |until: Steady| until <= now.steady;
        self.warned == 0 && self.forecast_until.is_none_or(is_over)
    }

    /// Whether there is something else to store.
    pub(super) fn is_changed(&self, before: &Self) -> bool {
        // The other fields are of this process alone.
        let stored = |one: &Self| (one.warned, one.until, one.forecast_until);
        stored(self) != stored(before)
    }

    /// There is something to remember beyond the process.
    pub(super) const fn is_kept(&self) -> bool {
        self.warned != 0 || self.forecast_until.is_some()
    }

    /// What the meter's use is to be told of.
    pub(super) fn crossing(&mut self, view: &View<'_>, now: Now) -> Option<Finding> {
        let has_turned = self.warned != 0 && view.window != self.window;
        let is_over = has_turned || self.is_over(now);
        let percent = match view.percent {
            Some(percent) => percent,
            None if is_over => 0,
            None => return None,
        };
        let taken = view.thresholds.iter().rev();
        let reached = taken.copied().find(|one| *one <= percent).unwrap_or(0);
        if reached > self.warned || (has_turned && reached > 0) {
            self.warned = reached;
            self.window = view.window;
            self.until = view.ends;
            return Some(Finding::Crossed(reached));
        }
        let lowest = view.thresholds.first().copied().unwrap_or(0);
        let hovers = !is_over && percent > 0 && percent.saturating_add(POINTS) > lowest;
        let stands = match reached {
            0 if hovers => self.warned,
            0 => 0,
            // A higher one may be crossed again in the next window.
            lower if is_over => lower,
            _ => self.warned,
        };
        let was = std::mem::replace(&mut self.warned, stands);
        if was != 0 && stands == 0 {
            self.until = None;
            return Some(Finding::Recovered);
        }
        None
    }

    /// Whether it is to be told that the quota runs out too early.
    pub(super) fn forecast(&mut self, view: &View<'_>, now: Now) -> bool {
        let is_worth = view
            .percent
            .is_some_and(|percent| (FORECAST_FROM..100).contains(&percent));
        let pace = view.pace.filter(|pace| {
            is_worth
                && pace.window >= SHORTEST
                && pace.runs_out.0 <= pace.reset.0 - pace.reset.0 / 10
        });
        let Some(pace) = pace else {
            self.early_since = None;
            return false;
        };
        if self.forecast_until.is_some_and(|until| now.steady < until) {
            return false;
        }
        let since = *self.early_since.get_or_insert(now.steady);
        let patience = (pace.window.0 / 50).clamp(Nanos::from_secs(60).0, Nanos::from_secs(900).0);
        if now.steady.since(since).0 < patience {
            return false;
        }
        self.forecast_until = Some(now.steady.after(pace.reset));
        true
    }
}

#[cfg(test)]
mod tests;
