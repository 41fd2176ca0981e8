//! Which meters are worth a warning. That a quota is used up to a step is noticed on the request path, by one comparison
//! with what the meter remembers; what is to be told of it is somebody else's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use smallvec::SmallVec;
use tokio::sync::Notify;

use super::Ledger;
use super::cell::{Cell, Inner, Marks, Shared};
use super::meter::{Cause, Standing};
use super::report::{self, Forecast};
use super::rule::{Basis, Motion, Rule};
use super::tell;
use super::ticket::State;
use super::time::{Nanos, Now, Steady};
use crate::quota::ServiceLimit;

/// From so many per cent on a forecast is made: less says nothing of a pace.
pub const FORECAST_FROM: u8 = 20;

/// More meters than this do not wait to be looked at. Who finds no place tries again with the next call.
const MOST: usize = 10_000;

/// As many thresholds as a meter can remember.
pub const MOST_THRESHOLDS: usize = 6;

/// What is looked for in the meters of a connection, and who is told.
#[derive(Debug)]
pub struct Watch {
    /// Per cent of a quota, rising, each from 1 to 100.
    thresholds: SmallVec<[u8; 4]>,
    /// The same, and where forecasts begin.
    steps: SmallVec<[u8; 8]>,
    forecast: bool,
    /// Shorter windows are not looked at: to use one up is normal traffic.
    least: Nanos,
    bell: Arc<Bell>,
}

impl Watch {
    /// Looks for these thresholds (in per cent) and, where `forecast` says so, for a pace that is too fast. `None`: there is
    /// nothing to look for.
    #[must_use]
    pub fn new(
        thresholds: &[u8],
        forecast: bool,
        least: Nanos,
        bell: &Arc<Bell>,
    ) -> Option<Arc<Self>> {
        let mut own: SmallVec<[u8; 4]> =
            thresholds.iter().map(|one| (*one).clamp(1, 100)).collect();
        own.sort_unstable();
        own.dedup();
        own.truncate(MOST_THRESHOLDS);
        let mut steps: SmallVec<[u8; 8]> = own.iter().copied().collect();
        steps.extend(forecast.then_some(FORECAST_FROM));
        steps.sort_unstable();
        steps.dedup();
        (!steps.is_empty()).then(|| {
            Arc::new(Self {
                thresholds: own,
                steps,
                forecast,
                least,
                bell: Arc::clone(bell),
            })
        })
    }

    /// The thresholds, rising.
    #[must_use]
    pub fn thresholds(&self) -> &[u8] {
        &self.thresholds
    }

    /// Whether a pace that is too fast is told.
    #[must_use]
    pub const fn forecasts(&self) -> bool {
        self.forecast
    }

    /// Whether meters that are held to this rule are looked at.
    pub(super) fn is_for(&self, rule: &Rule) -> bool {
        match &rule.motion {
            Motion::InFlight(_) => false,
            Motion::Bucket { .. } => span(rule, rule.quota).is_none_or(|full| full >= self.least),
            _ => rule
                .window_secs
                .is_none_or(|secs| Nanos::from_secs(secs) >= self.least),
        }
    }

    /// How many steps so much of a quota has taken.
    fn step(&self, percent: u8) -> u8 {
        let taken = self.steps.iter().take_while(|step| **step <= percent);
        u8::try_from(taken.count()).unwrap_or(u8::MAX)
    }
}

/// The meters that took a step, until somebody looks at them.
#[derive(Debug, Default)]
pub struct Bell {
    seen: Mutex<Vec<Sight>>,
    rung: Notify,
}

impl Bell {
    /// Takes what was seen.
    #[must_use]
    pub fn take(&self) -> Vec<Sight> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *seen)
    }

    /// Ready when something was seen.
    pub async fn rung(&self) {
        self.rung.notified().await;
    }

    /// Wakes who waits for it, with nothing to see.
    pub fn ring(&self) {
        self.rung.notify_one();
    }

    /// Whether there was a place.
    fn put(&self, sight: impl FnOnce() -> Sight) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MOST {
            return false;
        }
        seen.push(sight());
        drop(seen);
        self.ring();
        true
    }
}

/// Numbers what was seen.
static SEEN: AtomicU64 = AtomicU64::new(0);

/// A meter at one moment.
#[derive(Debug)]
pub struct Sight {
    /// Of one meter a later sight has a higher number: it is given under the meter's lock.
    pub number: u64,
    /// Whose it is.
    pub cell: Arc<Cell>,
    /// What is looked for; `None`: nothing any more.
    pub watch: Option<Arc<Watch>>,
    /// What of the quota is used, rounded down, at most 100; `None`: nobody knows, or it is no quota to warn of.
    pub percent: Option<u8>,
    /// Used in the window, as far as that is known.
    pub used: u64,
    /// The state as it is told elsewhere.
    pub limit: ServiceLimit,
    /// How many windows are over; `None`: its quota does not come back all at once.
    pub window: Option<u32>,
    /// When the window is over that this moment belongs to: its end, or else a whole window from now.
    pub ends: Option<Steady>,
    /// When it runs out, if that is before its reset.
    pub forecast: Option<Forecast>,
    /// It was forgotten: there may be another one in its place.
    pub is_forgotten: bool,
}

/// Notices that a meter took a step. On the request path, under the meter's lock.
pub(super) fn notice(cell: &Arc<Cell>, inner: &mut Inner, standing: &Standing, now: Now) {
    let Inner {
        meter, rule, marks, ..
    } = &mut *inner;
    let Some(watch) = &rule.watch else {
        return;
    };
    // What a caller is told may be less than what is left for all.
    let standing = if rule.shares.is_none() {
        *standing
    } else {
        meter.standing(rule, now)
    };
    let Some(percent) = percent(rule, watch, &standing, now) else {
        return;
    };
    let step = watch.step(percent);
    if step == 0 {
        return;
    }
    let turns = meter.turns();
    if marks.is_step_seen(step, turns) {
        return;
    }
    let watch = Arc::clone(watch);
    if watch.bell.put(|| sight(cell, inner, standing, now)) {
        inner.marks.see_step(step, turns);
    }
}

/// A meter now.
#[must_use]
pub fn look(cell: &Arc<Cell>, now: Now) -> Sight {
    let mut inner = cell.lock();
    let Inner { meter, rule, .. } = &mut *inner;
    let standing = meter.standing(rule, now);
    sight(cell, &inner, standing, now)
}

/// From now on only what is above so many per cent is a step, until the window is over.
pub fn remember(sight: &Sight, percent: u8) {
    let mut inner = sight.cell.lock();
    let step = inner
        .rule
        .watch
        .as_ref()
        .map_or(0, |watch| watch.step(percent));
    let turns = sight.window.unwrap_or_else(|| inner.meter.turns());
    inner.marks.see_step(step, turns);
}

impl Ledger {
    /// Every meter that has taken a step, and those that are wanted all the same. For the beginning: it goes through all
    /// meters.
    #[must_use]
    pub fn steps(&self, is_wanted: impl Fn(&Sight) -> bool, now: Now) -> Vec<Sight> {
        let mut found = Vec::new();
        for (_, cell) in &self.cells {
            let mut inner = cell.lock();
            let Inner { meter, rule, .. } = &mut *inner;
            let Some(watch) = rule.watch.clone() else {
                continue;
            };
            let standing = meter.standing(rule, now);
            let sight = sight(&cell, &inner, standing, now);
            drop(inner);
            let step = watch.step(sight.percent.unwrap_or(0));
            if step > 0 || is_wanted(&sight) {
                found.push(sight);
            }
        }
        found
    }
}

fn sight(cell: &Arc<Cell>, inner: &Inner, standing: Standing, now: Now) -> Sight {
    let rule = &inner.rule;
    let turns_over = matches!(rule.motion, Motion::Fixed(_) | Motion::Aligned { .. });
    let ends = if turns_over {
        standing.reset
    } else {
        span(rule, standing.limit).map(|window| now.steady.after(window))
    };
    let state = State {
        policy: 0,
        rule: Arc::clone(rule),
        standing,
        counts: true,
    };
    Sight {
        number: SEEN.fetch_add(1, Ordering::Relaxed),
        cell: Arc::clone(cell),
        watch: rule.watch.clone(),
        percent: rule
            .watch
            .as_ref()
            .and_then(|watch| percent(rule, watch, &standing, now)),
        used: standing.used,
        limit: tell::limit(&state, now),
        window: turns_over.then(|| inner.meter.turns()),
        ends,
        forecast: report::forecast(rule, &standing, now),
        is_forgotten: inner.marks.has(Marks::DEAD),
    }
}

/// What of a quota is used, in per cent and rounded down. `None`: nobody knows, or it is none to warn of:
///
/// - a quota that is only documented for everyone, and only observed: the account may well have another one;
/// - a window that nobody describes and that is over soon;
/// - a refusal that is over soon says nothing of the quota, while a long one says that it is used up.
fn percent(rule: &Rule, watch: &Watch, standing: &Standing, now: Now) -> Option<u8> {
    if let Some(until) = standing.suspended
        && until.since(now.steady) >= watch.least
    {
        return Some(100);
    }
    let is_documented = match standing.cause {
        Cause::Documented => true,
        Cause::Suspended => rule.basis == Basis::Documented && standing.limit == rule.quota,
        _ => false,
    };
    if is_documented && !Cause::Documented.is_enforced(rule) {
        return None;
    }
    let is_over_soon = |reset: Steady| reset.since(now.steady) < watch.least;
    if rule.window_secs.is_none()
        && matches!(rule.motion, Motion::Fixed(_))
        && standing.reset.is_some_and(is_over_soon)
    {
        return None;
    }
    let remaining = standing.remaining.filter(|_| standing.suspended.is_none());
    let Some(limit) = standing.limit else {
        // Without a limit only an end is known.
        return remaining.map(|left| if left == 0 { 100 } else { 0 });
    };
    let used = remaining.map_or(standing.used, |left| limit.saturating_sub(left));
    if used >= limit {
        return Some(100);
    }
    let percent = match used.checked_mul(100) {
        Some(hundredfold) => hundredfold / limit,
        None => used / (limit / 100),
    };
    Some(u8::try_from(percent).unwrap_or(99).min(99))
}

/// In what time a quota comes back whole; `None`: nobody says.
fn span(rule: &Rule, limit: Option<u64>) -> Option<Nanos> {
    match &rule.motion {
        Motion::Bucket {
            unit: Some(unit), ..
        } => Some(unit.times(limit?)),
        Motion::Bucket { unit: None, whole } => Some(*whole),
        _ => rule.window_secs.map(Nanos::from_secs),
    }
}
