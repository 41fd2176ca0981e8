//! After a refusal nothing goes until the provider said so; then one call finds out.

use headroom::ledger::meter::{Cause, Meter, Refusal, Taken, Told, Until};
use headroom::ledger::rule::Motion;
use headroom::ledger::time::{Nanos, Steady};
use proptest::prelude::*;

use super::{Clock, MS, SEC, caller, each_schedule, rule};

fn refusal(wait_secs: Option<u64>, random: u64) -> Refusal {
    Refusal { wait_secs, random }
}

#[test]
fn nothing_goes_before_its_time_then_one_call_and_when_it_opened_all() {
    each_schedule(300, 200, 1_u64..100, |wait, steps| {
        let rule = rule(
            Motion::Fixed(Some(Nanos::from_secs(3_600))),
            Some(1_000_000),
        );
        let (mut meter, mut clock) = (Meter::default(), Clock::at(0));
        let mut calls: Vec<Taken> = Vec::new();
        let mut probes: Vec<Taken> = Vec::new();
        // Until when nothing goes; over when a probe opened it.
        let mut held: Option<u64> = None;
        for mut dice in steps {
            let dice = &mut dice;
            clock
                .pass([0, 0, MS, SEC, wait * SEC, 5 * SEC][usize::try_from(dice.roll(6)).unwrap()]);
            let now = clock.now();
            match dice.roll(6) {
                0..3 => {
                    let decision = meter.check(&rule, 1, caller(1), now);
                    match held {
                        None => prop_assert!(decision.is_ok()),
                        Some(until) if now.steady.0 < until => {
                            let obstacle = decision.unwrap_err();
                            prop_assert_eq!(obstacle.cause, Cause::Suspended);
                            prop_assert_eq!(obstacle.until, Until::At(Steady(until)));
                            prop_assert_eq!(meter.standing(&rule, now).reset, Some(Steady(until)));
                        }
                        Some(_) if probes.is_empty() => prop_assert!(decision.is_ok()),
                        Some(_) => {
                            let obstacle = decision.unwrap_err();
                            prop_assert_eq!(obstacle.cause, Cause::Probing);
                            prop_assert_eq!(obstacle.until, Until::Released);
                        }
                    }
                    if decision.is_ok() {
                        let taken = meter.take(&rule, 1, caller(1), now);
                        prop_assert_eq!(taken.probe, held.is_some());
                        if taken.probe {
                            probes.push(taken)
                        } else {
                            calls.push(taken)
                        }
                    }
                }
                3 => {
                    let Some(taken) = probes.pop() else { continue };
                    match dice.roll(3) {
                        0 => {
                            meter.opened(true);
                            held = None;
                        }
                        1 => {
                            meter.refused(&rule, &refusal(Some(wait), 0), now);
                            held = Some(now.steady.0 + wait * SEC);
                        }
                        // It is lost: another one finds out.
                        _ => {}
                    }
                    meter.finish(1, taken.probe);
                }
                // An old call is answered late, and by its answer there is room.
                4 => {
                    let Some(taken) = calls.pop() else { continue };
                    let told = Told {
                        limit: Some(1_000_000),
                        remaining: Some(500_000),
                        ..Told::default()
                    };
                    meter.observe(&rule, &told, taken.mark, now);
                    meter.opened(false);
                    meter.finish(1, false);
                }
                _ => {
                    let Some(_) = calls.pop() else { continue };
                    meter.refused(&rule, &refusal(Some(wait), 0), now);
                    let until = now.steady.0 + wait * SEC;
                    held = Some(held.map_or(until, |held| held.max(until)));
                    meter.finish(1, false);
                }
            }
        }
        Ok(())
    });
}

#[test]
fn waits_of_our_own_double_up_to_a_minute_and_are_spread_over_all_of_it() {
    each_schedule(300, 20, any::<u64>(), |burst, steps| {
        let rule = rule(Motion::Fixed(None), None);
        let (mut meter, mut clock) = (Meter::default(), Clock::at(0));
        let mut bound = SEC;
        for dice in steps {
            // All that went out together are refused together.
            for extra in 0..=burst % 5 {
                let random = dice.0.wrapping_add(extra * 7);
                meter.refused(&rule, &refusal(None, random), clock.now());
            }
            let suspended = meter.standing(&rule, clock.now()).suspended.unwrap();
            let wait = suspended.0 - clock.steady;
            prop_assert_eq!(wait, 1 + dice.0 % bound);
            bound = (2 * bound).min(64 * SEC);
            clock = clock.until(suspended);
            let taken = meter.take(&rule, 1, caller(1), clock.now());
            prop_assert!(taken.probe);
            meter.finish(1, true);
        }
        Ok(())
    });
}

#[test]
fn a_penalty_is_waited_for_even_if_the_provider_asked_for_less() {
    let mut rule = rule(Motion::Fixed(Some(Nanos::from_secs(60))), Some(10));
    rule.penalty = Some(Nanos::from_secs(600));
    let (mut meter, clock) = (Meter::default(), Clock::at(0));
    meter.refused(&rule, &refusal(Some(5), 0), clock.now());
    let almost = clock.later(600 * SEC - MS);
    assert!(meter.check(&rule, 1, caller(1), almost.now()).is_err());
    assert!(
        meter
            .check(&rule, 1, caller(1), clock.later(600 * SEC).now())
            .is_ok()
    );
}
