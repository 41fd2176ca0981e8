//! What a meter is held to: one policy on the terms of one connection, compiled once.

use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::lookout::Watch;
use super::time::Nanos;
use crate::adapter::reading::Quantity;
use crate::adapter::terms::Terms;
use crate::adapter::{Policy, WindowKind, WindowLength};
use crate::quota::{Mode, Unit};
use crate::translate::window;

/// A policy, as a connection is held to it.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The policy's name.
    pub policy: Arc<str>,
    /// What it counts.
    pub unit: Unit,
    /// How quota comes back.
    pub motion: Motion,
    /// The quota that is known without the provider's word.
    pub quota: Option<u64>,
    /// Why that quota is believed.
    pub basis: Basis,
    /// What the user wants done about it; `None`: the default for where the limit comes from.
    pub mode: Option<Mode>,
    /// The provider lets callers exceed it: only its refusals are taken seriously.
    pub soft: bool,
    /// Whether a call that the provider refused uses quota. Not documented: it may.
    pub rejected_counts: Option<bool>,
    /// How long the provider blocks after a violation.
    pub penalty: Option<Nanos>,
    /// Length of the window in seconds, as it is told.
    pub window_secs: Option<u64>,
    /// Calls are spread over the window.
    pub pace: bool,
    /// Something about the window is not documented, so times are estimates.
    pub estimated: bool,
    /// Its window ends by a calendar whose zone is not known, and no answer tells when. It is counted by UTC, and its end
    /// is told as late as it can be: a whole window from now.
    pub end_is_unknown: bool,
    /// It is stored: it has to survive a restart.
    pub kept: bool,
    /// The most that is counted ahead in the store, so that a crash never loses a count.
    pub block: u64,
    /// Who may have how much; `None`: nobody has more rights than others.
    pub shares: Option<Arc<Shares>>,
    /// Which reading of the configuration it is of: what a later one says holds for all meters, and for calls that wait.
    pub generation: u64,
    /// What is worth a warning; `None`: nothing.
    pub watch: Option<Arc<Watch>>,
}

/// What a count means. While it is the same, a count goes on under another rule, in this process and the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meaning {
    /// What is counted.
    pub unit: String,
    /// How it comes back.
    pub motion: String,
}

/// Why a quota is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The provider documents it for everyone.
    Documented,
    /// The provider documents it for the plan that the user configured.
    Plan,
    /// The user configured it.
    Configured,
}

/// How quota comes back.
#[derive(Debug, Clone)]
pub enum Motion {
    /// All at once, so long after the first request; `None`: only the provider knows how long.
    Fixed(Option<Nanos>),
    /// All at once, when the clock says so.
    Aligned {
        /// From one boundary to the next.
        length: WindowLength,
        /// Whose clock.
        zone: TimeZone,
    },
    /// Each request's own, so long after it.
    Rolling(Nanos),
    /// One unit after the other.
    Bucket {
        /// The time that one unit takes, where the provider says so.
        unit: Option<Nanos>,
        /// Else the whole limit comes back in this time.
        whole: Nanos,
    },
    /// With the end of the request. Only requests that have run for so long count.
    InFlight(Nanos),
}

/// Who may have how much of a quota. Parts are in millionths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares {
    /// The part that each of these callers is sure of.
    pub sure: Vec<(u64, u64)>,
    /// The part that only some may touch.
    pub reserve: u64,
    /// These.
    pub reserved_for: Vec<u64>,
    /// The most that each of these callers may use, in units.
    pub caps: Vec<(u64, u64)>,
}

impl Shares {
    /// Nobody has more rights than others.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sure.is_empty() && self.reserve == 0 && self.caps.is_empty()
    }

    /// This caller is among those who have some.
    pub(super) fn name(&self, caller: u64) -> bool {
        let holds = |parts: &[(u64, u64)]| parts.iter().any(|(holder, _)| *holder == caller);
        holds(&self.sure) || holds(&self.caps) || self.reserved_for.contains(&caller)
    }
}

/// What a connection wants beyond its terms.
#[derive(Debug, Clone)]
pub struct Wishes {
    /// What is done about the limits.
    pub mode: Option<Mode>,
    /// Calls are spread over the window.
    pub pace: bool,
    /// The most that is counted ahead in the store.
    pub block: u64,
    /// Who may have how much.
    pub shares: Arc<Shares>,
    /// Which reading of the configuration wants it, from 0.
    pub generation: u64,
    /// What is worth a warning, where the window is long enough.
    pub watch: Option<Arc<Watch>>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            mode: None,
            pace: false,
            block: 64,
            shares: Arc::default(),
            generation: 0,
            watch: None,
        }
    }
}

impl Rule {
    /// The policy (the `index`-th of its adapter) on these terms.
    #[must_use]
    pub fn new(policy: &Policy, index: usize, terms: &Terms, wishes: &Wishes) -> Self {
        let account = terms.zone.as_ref();
        let zone = window::zone(policy, account);
        let nominal = match policy.window {
            Some(WindowLength::Seconds(secs)) => Some(secs),
            Some(WindowLength::Day) => Some(86_400),
            Some(WindowLength::Week) => Some(604_800),
            // The longest: quota never comes back before it does.
            Some(WindowLength::Month) => Some(2_678_400),
            None => None,
        };
        let length = nominal.map(Nanos::from_secs);
        let calendar = matches!(
            policy.window,
            Some(WindowLength::Day | WindowLength::Week | WindowLength::Month)
        );
        let aligned = |length| Motion::Aligned {
            length,
            zone: zone.clone().unwrap_or(TimeZone::UTC),
        };
        let motion = match (policy.kind, policy.window) {
            (Some(WindowKind::Concurrent), _) => {
                Motion::InFlight(Nanos::from_secs(policy.slower_than_secs.unwrap_or(0)))
            }
            (Some(WindowKind::Bucket), _) => {
                let unit = policy.refill.and_then(unit_of);
                match (unit, length) {
                    (None, None) => Motion::Fixed(None),
                    (unit, whole) => Motion::Bucket {
                        unit,
                        whole: whole.unwrap_or_default(),
                    },
                }
            }
            (Some(WindowKind::Rolling), _) => length.map_or(Motion::Fixed(None), Motion::Rolling),
            (Some(WindowKind::Clock | WindowKind::Lazy), Some(window)) => aligned(window),
            // A calendar day, week or month cannot begin with a request.
            (None, Some(window)) if calendar => aligned(window),
            // Nobody says how it moves, and no answer tells when it ends. A rolling window never lets more through than
            // any other of its length would.
            (None, Some(_)) if !tells_reset(policy) => {
                length.map_or(Motion::Fixed(None), Motion::Rolling)
            }
            _ => Motion::Fixed(length),
        };
        let basis = if terms.is_own(index) {
            Basis::Configured
        } else if terms.is_by_plan(index) {
            Basis::Plan
        } else {
            Basis::Documented
        };
        let in_unknown_zone = matches!(motion, Motion::Aligned { .. }) && zone.is_none();
        let estimated =
            (policy.kind.is_none() && policy.window.is_some() && !calendar) || in_unknown_zone;
        let mut rule = Self {
            kept: false,
            end_is_unknown: in_unknown_zone && !tells_reset(policy),
            policy: Arc::clone(&policy.name),
            unit: policy.unit.clone(),
            motion,
            quota: terms.quota(index),
            basis,
            mode: wishes.mode,
            soft: policy.soft,
            rejected_counts: policy.rejected_counts,
            penalty: policy.penalty_secs.map(Nanos::from_secs),
            window_secs: nominal.filter(|_| policy.kind != Some(WindowKind::Concurrent)),
            pace: wishes.pace,
            estimated,
            block: wishes.block.max(1),
            shares: (!wishes.shares.is_empty()).then(|| Arc::clone(&wishes.shares)),
            generation: wishes.generation,
            watch: None,
        };
        rule.kept = rule.is_long();
        let is_for = |watch: &Arc<Watch>| watch.is_for(&rule);
        rule.watch = wishes.watch.clone().filter(is_for);
        rule
    }

    /// What gives the numbers of its meters their meaning. A quota that is raised or lowered is no part of it, unless it is
    /// what the speed of a bucket is made of.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        let motion = match &self.motion {
            Motion::Fixed(Some(length)) => format!("fixed {}", length.0),
            Motion::Fixed(None) => "fixed".to_owned(),
            Motion::Aligned { length, zone } => match zone.iana_name() {
                Some(zone) => format!("aligned {length:?} {zone}"),
                None => format!("aligned {length:?} {zone:?}"),
            },
            Motion::Rolling(length) => format!("rolling {}", length.0),
            Motion::Bucket {
                unit: Some(unit), ..
            } => format!("bucket {}", unit.0),
            Motion::Bucket { unit: None, whole } => {
                format!("bucket {} {:?}", whole.0, self.quota)
            }
            Motion::InFlight(slow) => format!("in flight {}", slow.0),
        };
        Meaning {
            unit: self.unit.to_string(),
            motion,
        }
    }

    /// By how much the end of a window of the calendar can lie ahead, in milliseconds, where the clock was set back by up to
    /// a window: two windows, the longest there are.
    #[must_use]
    pub const fn longest_ms(&self) -> u64 {
        const HOUR: u64 = 3_600_000;
        match &self.motion {
            Motion::Aligned { length, .. } => match length {
                WindowLength::Seconds(secs) => secs.saturating_mul(2_000),
                WindowLength::Day => 50 * HOUR,
                WindowLength::Week => 338 * HOUR,
                WindowLength::Month => 1_490 * HOUR,
            },
            _ => 0,
        }
    }

    /// A minute is shorter than any outage that is worth the writing.
    fn is_long(&self) -> bool {
        match &self.motion {
            Motion::InFlight(_) => false,
            Motion::Bucket { unit, whole } => {
                let full = unit.map_or(*whole, |unit| unit.times(self.quota.unwrap_or(1)));
                full > Nanos::from_secs(60)
            }
            _ => self.window_secs.is_none_or(|secs| secs > 60),
        }
    }
}

/// Some answer tells when the window ends.
fn tells_reset(policy: &Policy) -> bool {
    policy
        .readings
        .iter()
        .any(|reading| reading.extract.quantities().contains(&Quantity::Reset))
}

/// The time that a bucket needs for one unit, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the quotient is positive and bounded before it is cast"
)]
fn unit_of(refill: f64) -> Option<Nanos> {
    let secs = 1.0 / refill;
    // A year for one unit is none.
    (refill > 0.0 && secs < 31_622_400.0).then(|| Nanos((secs * 1e9).ceil() as u64))
}
