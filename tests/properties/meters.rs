//! Meters against a naive model that keeps every request in a list: a second mind about what each kind of window means.

mod model;
mod provider;
mod restart;
mod schedule;
mod shares;
mod suspension;

use std::sync::Arc;

use headroom::adapter::WindowLength;
use headroom::ledger::meter::{Caller, Meter};
use headroom::ledger::rule::{Basis, Motion, Rule};
use headroom::ledger::time::{Nanos, Now, Steady};
use headroom::quota::{Mode, Unit};
use jiff::tz::TimeZone;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const MS: u64 = 1_000_000;
const SEC: u64 = 1_000 * MS;

/// Both clocks. The steady one only goes on; the wall clock goes with it and can be set.
#[derive(Debug, Clone, Copy)]
struct Clock {
    steady: u64,
    wall: i64,
}

impl Clock {
    /// Where the process's clock begins, at a time of day in milliseconds.
    fn at(wall_ms: i64) -> Self {
        Self {
            steady: 1 << 56,
            wall: wall_ms * 1_000_000,
        }
    }

    fn now(self) -> Now {
        Now {
            steady: Steady(self.steady),
            wall_ms: self.wall.div_euclid(1_000_000),
        }
    }

    fn pass(&mut self, nanos: u64) {
        self.steady += nanos;
        self.wall += i64::try_from(nanos).unwrap();
    }

    /// So much later, without a step of the clock.
    fn later(mut self, nanos: u64) -> Self {
        self.pass(nanos);
        self
    }

    /// One millisecond before that.
    fn just_before(self, moment: Steady) -> Option<Self> {
        let wait = moment.0.checked_sub(self.steady)?.checked_sub(MS)?;
        Some(self.later(wait))
    }

    fn until(self, moment: Steady) -> Self {
        self.later(moment.0.saturating_sub(self.steady))
    }
}

/// A rule that the user configured, so that it is enforced.
fn rule(motion: Motion, quota: Option<u64>) -> Rule {
    let window_secs = match &motion {
        Motion::Fixed(length) => length.map(|length| length.0.div_ceil(SEC)),
        Motion::Rolling(length) => Some(length.0.div_ceil(SEC)),
        Motion::Aligned { length, .. } => Some(match length {
            WindowLength::Seconds(secs) => *secs,
            WindowLength::Day => 86_400,
            WindowLength::Week => 604_800,
            WindowLength::Month => 2_678_400,
        }),
        _ => None,
    };
    Rule {
        policy: Arc::from("requests"),
        unit: Unit::Requests,
        motion,
        quota,
        basis: Basis::Configured,
        mode: Some(Mode::Enforce),
        soft: false,
        rejected_counts: None,
        penalty: None,
        window_secs,
        pace: false,
        estimated: false,
        end_is_unknown: false,
        kept: true,
        block: 64,
        shares: None,
        generation: 0,
        watch: None,
    }
}

fn aligned(length: WindowLength, zone: &str) -> Motion {
    let zone = TimeZone::get(zone).unwrap();
    Motion::Aligned { length, zone }
}

fn caller(id: u64) -> Caller {
    let is_named = true;
    Caller { id, is_named }
}

/// What would happen if nobody did anything until then.
fn admits(meter: &Meter, rule: &Rule, cost: u64, clock: Clock) -> bool {
    let mut copy = meter.clone();
    copy.check(rule, cost, caller(1), clock.now()).is_ok()
}

/// Small numbers out of one drawn number, the same each time.
#[derive(Clone, Copy)]
struct Dice(u64);

impl std::fmt::Debug for Dice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // On one line, also where a list of them is printed at length.
        f.write_str(&self.0.to_string())
    }
}

impl Dice {
    /// Below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        let face = self.0 % sides;
        self.0 = (self.0 / sides).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (self.0 >> 29);
        face
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.roll(chances) == chances - 1
    }
}

/// So many schedules of so many steps, each drawn as one number: cheap to draw, and proptest still shrinks them.
fn each_schedule<S: Strategy>(
    cases: u32,
    steps: usize,
    setting: S,
    test: impl Fn(S::Value, Vec<Dice>) -> Result<(), TestCaseError>,
) {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4_000,
        max_shrink_time: 20_000,
        ..Config::default()
    };
    // About `steps`: a vector of exactly so many could not shrink.
    let steps = vec(any::<u64>().prop_map(Dice), 1..2 * steps);
    // The same schedules in each run, so that a failure is the change's; other ones with HEADROOM_EXPLORE=1, for hours if need
    // be.
    let mut runner = if std::env::var_os("HEADROOM_EXPLORE").is_some() {
        TestRunner::new(config)
    } else {
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        TestRunner::new_with_rng(config, rng)
    };
    let outcome = runner.run(&(setting, steps), |(setting, steps)| test(setting, steps));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Quotas: many small ones.
fn quotas() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 1_u64..=12, 2 => 13_u64..=200, 1 => 201_u64..=1_000]
}

fn lengths() -> impl Strategy<Value = Nanos> {
    prop_oneof![
        Just(Nanos::from_secs(1)),
        Just(Nanos::from_secs(60)),
        Just(Nanos::from_secs(3_600)),
        (1_u64..100_000).prop_map(Nanos::from_millis),
    ]
}

#[test]
fn a_meter_that_was_told_nothing_is_small() {
    assert!(size_of::<Meter>() <= 80);
}
