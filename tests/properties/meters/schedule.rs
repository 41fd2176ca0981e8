//! Any schedule of calls, refunds and endings, on clocks that do what clocks do.

use headroom::adapter::WindowLength;
use headroom::ledger::meter::{Cause, Meter, Until};
use headroom::ledger::rule::{Motion, Rule};
use headroom::ledger::time::Nanos;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::sample::select;

use super::model::{Kind, Model, label};
use super::{Clock, Dice, MS, SEC, aligned, caller, each_schedule, lengths, quotas, rule};

/// Decisions of one test: ten tests make more than a million.
const CASES: u32 = 300;
const STEPS: usize = 400;
const TESTS: u32 = 10;
const _: () = assert!(CASES as usize * STEPS * TESTS as usize >= 1_200_000);

/// Saturdays before the clock goes on and back, ends of months and years, and any time.
fn beginnings() -> impl Strategy<Value = i64> {
    prop_oneof![
        // 2026-03-28, 2026-10-24, 2026-03-07, 2026-10-31: Europe and America, 18:00 UTC.
        select(vec![
            1_774_720_800_i64,
            1_792_864_800,
            1_772_906_400,
            1_793_469_600
        ]),
        // 2024-02-28, 2025-12-31, 2026-04-30.
        select(vec![1_709_143_200_i64, 1_767_204_000, 1_777_572_000]),
        // São Paulo 2018-11-03: midnight does not exist.
        Just(1_541_268_000_i64),
        1_500_000_000_i64..1_900_000_000,
    ]
    .prop_map(|secs| secs * 1_000)
}

struct Run {
    rule: Rule,
    meter: Meter,
    model: Model,
    clock: Clock,
    /// The length that matters, for steps of the clock.
    length: u64,
    quota: u64,
    exact: bool,
}

impl Run {
    fn new(motion: Motion, kind: Kind, quota: u64, length: u64, wall_ms: i64) -> Self {
        let exact = !matches!(kind, Kind::Rolling(_)) || quota <= 1_000;
        Self {
            rule: rule(motion, Some(quota)),
            meter: Meter::default(),
            model: Model::new(kind, quota),
            clock: Clock::at(wall_ms),
            length,
            quota,
            exact,
        }
    }

    fn pass(&mut self, dice: &mut Dice) {
        let part = dice.roll(1_000);
        let step = match dice.roll(8) {
            0 | 1 => 0,
            2 | 3 => self.length / self.quota / 500 * part,
            4 => self.length / 100_000 * part,
            5 => self.length / 10_000 * part,
            6 => part * MS,
            _ => match self.meter.standing(&self.rule, self.clock.now()).reset {
                Some(at) => at.0.saturating_sub(self.clock.steady),
                None => self.length / 1_000 * part,
            },
        };
        self.clock.pass(step);
    }

    /// Calls are given back, or end.
    fn give_back(&mut self, dice: &mut Dice) {
        let in_flight = matches!(self.model.kind, Kind::InFlight(_));
        let open = if in_flight {
            self.model.open_calls()
        } else {
            self.model.open()
        };
        if open.is_empty() || (!in_flight && !dice.one_in(3)) {
            return;
        }
        let index = open[usize::try_from(dice.roll(open.len() as u64)).unwrap()];
        let taken = self.model.requests[index].taken;
        if in_flight {
            self.model.release(index);
            self.meter.release(&self.rule, &taken);
        } else {
            self.model.refund(index, self.clock);
            self.meter.refund(&self.rule, &taken, self.clock.now());
        }
    }

    fn decide(&mut self, dice: &mut Dice) -> Result<(), TestCaseError> {
        let now = self.clock.now();
        self.model.see(self.clock);
        let cost = match dice.roll(8) {
            0 => 0,
            1 => 1 + dice.roll(20),
            2 => 1 + dice.roll(3),
            _ => 1,
        };
        let cost = if matches!(self.model.kind, Kind::InFlight(slow) if slow.0 > 0) {
            1
        } else {
            cost
        };
        let who = caller(1 + dice.roll(3));
        let used = self.model.used(self.clock);
        let left = self.quota.saturating_sub(used);
        let standing = self.meter.standing(&self.rule, now);
        let is_vague = matches!(self.model.kind, Kind::Bucket(_)) && self.model.refunded > 0;
        let said = standing.remaining.unwrap();
        prop_assert!(said <= left, "{said} left, in truth {left}");
        if self.exact && !is_vague {
            prop_assert_eq!(said, left);
        }
        if matches!(self.model.kind, Kind::Bucket(_)) {
            prop_assert!(said + self.model.refunded >= left);
        }
        let before = dice.one_in(8).then(|| self.meter.clone());
        let decision = self.meter.check(&self.rule, cost, who, now);
        let ask = cost.max(1);
        let fits = ask <= left;
        if let Err(obstacle) = decision {
            prop_assert_eq!(obstacle.cause, Cause::Configured);
            if self.exact && !is_vague {
                prop_assert!(!fits);
            } else if !self.exact {
                let late = self.length.div_ceil(1_000);
                prop_assert!(self.model.used_of(self.clock, late) + ask > self.quota);
            }
            self.keeps_its_word(cost, obstacle.until, dice)?;
        } else {
            prop_assert!(fits, "{ask} let through, {left} left");
        }
        if said == 0 && !matches!(self.model.kind, Kind::InFlight(_)) {
            self.keeps_its_word(1, Until::At(standing.reset.unwrap()), dice)?;
        }
        if decision.is_ok() {
            let taken = self.meter.take(&self.rule, cost, who, now);
            if let Some(mut unasked) = before {
                prop_assert_eq!(unasked.take(&self.rule, cost, who, now), taken);
                prop_assert_eq!(&unasked, &self.meter, "to ask changed something");
            }
            self.model.add(cost, taken, self.clock);
        }
        Ok(())
    }

    /// Who waits exactly so long may go, and one millisecond less is not enough.
    fn keeps_its_word(
        &self,
        cost: u64,
        until: Until,
        dice: &mut Dice,
    ) -> Result<(), TestCaseError> {
        match until {
            Until::Never => prop_assert!(cost > self.quota),
            Until::Released => prop_assert!(matches!(self.model.kind, Kind::InFlight(_))),
            // Copies are dear where logs are long.
            Until::At(_) if self.quota > 100 && !dice.one_in(16) => {}
            Until::At(at) => {
                prop_assert!(at > self.clock.now().steady);
                prop_assert!(super::admits(
                    &self.meter,
                    &self.rule,
                    cost,
                    self.clock.until(at)
                ));
                if let Some(early) = self.clock.just_before(at) {
                    prop_assert!(!super::admits(&self.meter, &self.rule, cost, early));
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, mut dice: Dice) -> Result<(), TestCaseError> {
        let dice = &mut dice;
        self.pass(dice);
        if dice.one_in(3) {
            self.model.see(self.clock);
            self.give_back(dice);
        }
        self.decide(dice)
    }
}

fn run(mut run: Run, steps: Vec<Dice>) -> Result<(), TestCaseError> {
    for dice in steps {
        run.step(dice)?;
    }
    Ok(())
}

#[test]
fn a_fixed_window_lets_its_quota_through_and_no_more() {
    each_schedule(
        CASES,
        STEPS,
        (quotas(), lengths()),
        |(quota, length), steps| {
            let motion = Motion::Fixed(Some(length));
            run(
                Run::new(motion, Kind::Fixed(length), quota, length.0, 0),
                steps,
            )
        },
    );
}

#[test]
fn a_rolling_window_of_a_small_quota_is_exact() {
    each_schedule(
        CASES,
        STEPS,
        (quotas(), lengths()),
        |(quota, length), steps| {
            let motion = Motion::Rolling(length);
            run(
                Run::new(motion, Kind::Rolling(length), quota, length.0, 0),
                steps,
            )
        },
    );
}

#[test]
fn a_rolling_window_of_a_large_quota_is_late_by_a_thousandth_and_never_early() {
    each_schedule(
        CASES,
        STEPS,
        (1_001_u64..=5_000, lengths()),
        |(quota, length), steps| {
            let motion = Motion::Rolling(length);
            let mut large = Run::new(motion, Kind::Rolling(length), quota, length.0, 0);
            // Most of it is used by calls that nobody looks at, close together.
            for call in 0..300 {
                let cost = quota / 300;
                let taken =
                    large
                        .meter
                        .take(&large.rule, cost, caller(call % 3 + 1), large.clock.now());
                large.model.add(cost, taken, large.clock);
                large.clock.pass(length.0 / 5_000);
            }
            run(large, steps)
        },
    );
}

#[test]
fn a_bucket_lets_through_what_it_was_given() {
    let settings = (quotas(), lengths());
    each_schedule(CASES, STEPS, settings, |(quota, length), steps| {
        let unit = Nanos(length.0.div_ceil(quota));
        let motion = Motion::Bucket {
            unit: Some(unit),
            whole: Nanos(0),
        };
        run(
            Run::new(motion, Kind::Bucket(unit), quota, unit.0 * quota, 0),
            steps,
        )
    });
}

#[test]
fn a_bucket_that_fills_in_a_window_lets_through_what_it_was_given() {
    let settings = (quotas(), lengths());
    each_schedule(CASES, STEPS, settings, |(quota, length), steps| {
        let unit = Nanos(length.0.div_ceil(quota));
        let motion = Motion::Bucket {
            unit: None,
            whole: length,
        };
        run(
            Run::new(motion, Kind::Bucket(unit), quota, unit.0 * quota, 0),
            steps,
        )
    });
}

#[test]
fn no_more_are_in_flight_than_may_be() {
    each_schedule(CASES, STEPS, quotas(), |quota, steps| {
        let motion = Motion::InFlight(Nanos(0));
        run(
            Run::new(motion, Kind::InFlight(Nanos(0)), quota, SEC, 0),
            steps,
        )
    });
}

#[test]
fn nothing_begins_while_too_many_slow_ones_are_in_flight() {
    each_schedule(
        CASES,
        STEPS,
        (1_u64..=12, 1_u64..20),
        |(quota, slow), steps| {
            let slow = Nanos::from_secs(slow);
            run(
                Run::new(
                    Motion::InFlight(slow),
                    Kind::InFlight(slow),
                    quota,
                    slow.0,
                    0,
                ),
                steps,
            )
        },
    );
}

/// A window of the calendar, its zone and its nominal length.
type Calendar = (WindowLength, &'static str, u64);

fn days() -> impl Strategy<Value = Calendar> {
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Sao_Paulo",
        "Asia/Kathmandu",
        "Australia/Lord_Howe",
    ];
    (
        select(vec![
            (WindowLength::Day, 86_400),
            (WindowLength::Week, 604_800),
            (WindowLength::Month, 2_678_400),
        ]),
        select(zones.to_vec()),
    )
        .prop_map(|((length, secs), zone)| (length, zone, secs))
}

fn clock_faces() -> impl Strategy<Value = Calendar> {
    select(vec![60_u64, 900, 3_600, 1, 7])
        .prop_map(|secs| (WindowLength::Seconds(secs), "UTC", secs))
}

fn calendar((length, zone, secs): Calendar, quota: u64, wall_ms: i64) -> Run {
    let kind = Kind::Aligned(length, TimeZone::get(zone).unwrap());
    Run::new(aligned(length, zone), kind, quota, secs * SEC, wall_ms)
}

/// The clock is set now and then, never by more than a window from the truth.
fn with_steps_of_the_clock(mut calendar: Run, steps: Vec<Dice>) -> Result<(), TestCaseError> {
    let most = i64::try_from(calendar.length / 2).unwrap();
    let mut wrong_by = 0_i64;
    for mut dice in steps {
        if dice.one_in(12) {
            let wanted = i64::try_from(dice.roll(2_001)).unwrap() - 1_000;
            let wanted = most / 1_000 * wanted;
            calendar.clock.wall += wanted - wrong_by;
            wrong_by = wanted;
            if dice.one_in(2) {
                // Somebody only looks.
                calendar.model.see(calendar.clock);
                let _ = calendar
                    .meter
                    .standing(&calendar.rule, calendar.clock.now());
            }
        }
        calendar.step(dice)?;
    }
    Ok(())
}

#[test]
fn a_window_of_the_clock_is_neither_lost_nor_granted_twice_when_the_clock_is_set() {
    let settings = (clock_faces(), quotas(), beginnings());
    each_schedule(CASES, STEPS, settings, |(face, quota, wall), steps| {
        with_steps_of_the_clock(calendar(face, quota, wall), steps)
    });
}

#[test]
fn a_window_of_the_calendar_is_neither_lost_nor_granted_twice_when_the_clock_is_set() {
    let settings = (days(), quotas(), beginnings());
    each_schedule(CASES, STEPS, settings, |(day, quota, wall), steps| {
        with_steps_of_the_clock(calendar(day, quota, wall), steps)
    });
}

#[test]
fn however_wrong_the_clock_was_nobody_waits_for_more_than_two_windows() {
    let settings = (prop_oneof![days(), clock_faces()], 1_u64..=12, beginnings());
    each_schedule(CASES, STEPS, settings, |(face, quota, wall), steps| {
        let (length, zone, secs) = face;
        let mut calendar = calendar(face, quota, wall);
        let zone = TimeZone::get(zone).unwrap();
        let (mut windows, mut admitted, mut shown) = (1, 0, None);
        for mut dice in steps {
            calendar.pass(&mut dice);
            if dice.one_in(20) {
                let years = i64::try_from(dice.roll(1_000)).unwrap() - 500;
                let wall = calendar.clock.wall + years * 40_000_000_000_000;
                calendar.clock.wall = wall.clamp(0, 4_000_000_000_000_000_000);
            }
            let face = label(length, &zone, calendar.clock);
            if shown.is_some_and(|shown| face > shown) {
                windows += 1;
            }
            shown = Some(face);
            let now = calendar.clock.now();
            match calendar.meter.check(&calendar.rule, 1, caller(1), now) {
                Ok(()) => {
                    let _ = calendar.meter.take(&calendar.rule, 1, caller(1), now);
                    admitted += 1;
                }
                Err(obstacle) => {
                    let Until::At(at) = obstacle.until else {
                        return Err(TestCaseError::fail("no time"));
                    };
                    let wait = at.since(now.steady).0;
                    prop_assert!(wait <= (2 * secs + 7_200) * SEC, "{wait}");
                }
            }
            // Each window that the clock came to by going forward gives its quota once.
            prop_assert!(admitted <= windows * quota);
        }
        Ok(())
    });
}
