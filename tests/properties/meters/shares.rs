//! Who is sure of a share gets it, whoever else calls.

use std::sync::Arc;

use headroom::adapter::WindowLength;
use headroom::ledger::meter::Meter;
use headroom::ledger::rule::{Motion, Shares};
use headroom::ledger::time::Nanos;
use proptest::prelude::*;

use super::{Clock, SEC, aligned, caller, each_schedule, rule};

const WINDOW: u64 = 3_600 * SEC;

#[test]
fn a_flood_never_takes_what_another_is_sure_of() {
    let parts = (0_u64..=40, 0_u64..=40, 0_u64..=20);
    let settings = (any::<bool>(), 1_u64..=1_000, parts, 1_u64..=100);
    each_schedule(
        400,
        300,
        settings,
        |(is_fixed, quota, (first, second, reserve), cap), steps| {
            let motion = if is_fixed {
                Motion::Fixed(Some(Nanos(WINDOW)))
            } else {
                aligned(WindowLength::Seconds(3_600), "UTC")
            };
            let mut rule = rule(motion, Some(quota));
            let (first, second, reserve) = (first * 10_000, second * 10_000, reserve * 10_000);
            rule.shares = Some(Arc::new(Shares {
                sure: vec![(1, first), (2, second)],
                reserve,
                reserved_for: vec![4],
                caps: vec![(5, cap)],
            }));
            let sure = [0, quota * first / 1_000_000, quota * second / 1_000_000];
            let kept = quota * reserve / 1_000_000;
            let (mut meter, mut clock) = (Meter::default(), Clock::at(0));
            let begun = clock.steady;
            let mut used = [0_u64; 7];
            let mut safe = sure;
            for mut dice in steps {
                let dice = &mut dice;
                if dice.one_in(4) {
                    clock.pass(dice.roll(1_000) * (WINDOW / 20_000));
                }
                let over = clock.steady - begun;
                if over >= WINDOW {
                    break;
                }
                // Number 3 floods.
                let who = if dice.one_in(2) { 3 } else { dice.roll(6) + 1 };
                let cost = 1 + dice.roll(4) * dice.roll(2);
                let index = usize::try_from(who).unwrap();
                let decision = meter.check(&rule, cost, caller(who), clock.now());
                // What is lent by time is lent for good; what a holder takes itself is its own.
                for (safe, sure) in safe.iter_mut().zip(sure) {
                    let unlent = u128::from(sure) * u128::from(WINDOW - over) / u128::from(WINDOW);
                    *safe = (*safe).min(u64::try_from(unlent).unwrap());
                }
                if safe.get(index).is_some_and(|safe| cost <= *safe) {
                    prop_assert!(
                        decision.is_ok(),
                        "{who} did not get its share: {decision:?}"
                    );
                }
                if decision.is_ok() {
                    if let Some(safe) = safe.get_mut(index) {
                        *safe = safe.saturating_sub(cost);
                    }
                    let _ = meter.take(&rule, cost, caller(who), clock.now());
                    used[index] += cost;
                }
                let all: u64 = used.iter().sum();
                prop_assert!(all <= quota);
                prop_assert!(used[5] <= cap);
                prop_assert!(all - used[4] <= quota - kept, "the reserve was touched");
            }
            Ok(())
        },
    );
}

#[test]
fn what_nobody_uses_is_lent_in_the_end() {
    each_schedule(200, 1, (1_u64..=500, 0_u64..=100), |(quota, part), _| {
        let rolling = Motion::Rolling(Nanos(WINDOW));
        for motion in [Motion::Fixed(Some(Nanos(WINDOW))), rolling] {
            let is_fixed = matches!(motion, Motion::Fixed(_));
            let mut rule = rule(motion, Some(quota));
            rule.shares = Some(Arc::new(Shares {
                sure: vec![(1, part * 10_000)],
                ..Shares::default()
            }));
            let (mut meter, mut clock) = (Meter::default(), Clock::at(0));
            // The window is opened by the smallest call there can be.
            let _ = meter.take(&rule, 1, caller(2), clock.now());
            clock.pass(if is_fixed { WINDOW - 1 } else { WINDOW });
            let mut calls = u64::from(is_fixed);
            while calls <= quota && meter.check(&rule, 1, caller(2), clock.now()).is_ok() {
                let _ = meter.take(&rule, 1, caller(2), clock.now());
                calls += 1;
            }
            // Of a share the last unit is kept until the window ends.
            let most = if is_fixed {
                quota - u64::from(part * quota >= 100)
            } else {
                quota
            };
            prop_assert_eq!(calls.max(1), most.max(1));
        }
        Ok(())
    });
}
