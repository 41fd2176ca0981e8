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
    pub(super) ends_ms: Option<i64>,
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

/// What was told of a meter. The fields that are stored are those that outlive the process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Episode {
    /// The highest threshold that was told and still stands; 0: none.
    pub(super) warned: u8,
    /// When what was told is over for certain, on the wall clock.
    until_ms: Option<i64>,
    /// Until then no forecast is told again.
    forecast_until_ms: Option<i64>,
    /// In which window it was told.
    #[serde(skip)]
    window: Option<u32>,
    /// Since when it is to run out too early.
    #[serde(skip)]
    early_since: Option<Steady>,
}

impl Episode {
    /// Goes on with an episode of an earlier process: `window` is the meter's own count of now.
    pub(super) fn resume(&mut self, window: Option<u32>, now: Now) {
        let is_over = self.until_ms.is_some_and(|until| until <= now.wall_ms);
        // Another window than this one, if that of the episode is over.
        self.window = window.map(|window| window.wrapping_sub(u32::from(is_over)));
    }

    /// Whether the window that was told of has turned.
    pub(super) fn is_over(&self, now: Now) -> bool {
        self.until_ms.is_some_and(|until| until <= now.wall_ms)
    }

    /// There is nothing to remember.
    pub(super) fn is_idle(&self, now: Now) -> bool {
        self.warned == 0
            && self
                .forecast_until_ms
                .is_none_or(|until| until <= now.wall_ms)
    }

    /// Whether there is something else to store.
    pub(super) fn is_changed(&self, before: &Self) -> bool {
        // The other fields are of this process alone.
        let stored = |one: &Self| (one.warned, one.until_ms, one.forecast_until_ms);
        stored(self) != stored(before)
    }

    /// There is something to remember beyond the process.
    pub(super) const fn is_kept(&self) -> bool {
        self.warned != 0 || self.forecast_until_ms.is_some()
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
            self.until_ms = view.ends_ms;
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
            self.until_ms = None;
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
        if self
            .forecast_until_ms
            .is_some_and(|until| now.wall_ms < until)
        {
            return false;
        }
        let since = *self.early_since.get_or_insert(now.steady);
        let patience = (pace.window.0 / 50).clamp(Nanos::from_secs(60).0, Nanos::from_secs(900).0);
        if now.steady.since(since).0 < patience {
            return false;
        }
        self.forecast_until_ms = Some(now.wall_at(now.steady.after(pace.reset)));
        true
    }
}

#[cfg(test)]
mod tests;
