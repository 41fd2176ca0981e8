//! Promises of the meters.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{Decision, Meter, Motion, Rule};
use crate::adapter::WindowLength;

fn rule(quota: u64, motion: Motion) -> Rule {
    Rule {
        quota,
        motion,
        penalty: None,
        rejected_counts: false,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Each kind with the same length of a minute.
fn motions() -> Vec<Motion> {
    let minute = SignedDuration::from_secs(60);
    vec![
        Motion::Fixed(minute),
        Motion::Aligned {
            length: WindowLength::Seconds(60),
            zone: TimeZone::UTC,
        },
        Motion::Rolling(minute),
        Motion::Bucket(SignedDuration::from_secs(6)),
    ]
}

#[test]
fn a_fixed_window_begins_with_the_first_request() {
    let rule = rule(2, Motion::Fixed(SignedDuration::from_hours(1)));
    let now = at("2026-11-21T12:34:56Z");
    let (meter, first) = rule.take(Meter::default(), 1, now);
    let Decision::Admitted(standing) = first else {
        panic!("{first:?}")
    };
    assert_eq!(standing.remaining, 1);
    assert_eq!(standing.reset, Some(at("2026-11-21T13:34:56Z")));
    let (meter, _) = rule.take(meter, 1, at("2026-11-21T13:34:55Z"));
    let (meter, third) = rule.take(meter, 1, at("2026-11-21T13:34:55Z"));
    assert!(
        matches!(third, Decision::Refused(_, Some(wait)) if wait == at("2026-11-21T13:34:56Z"))
    );
    let (_, fourth) = rule.take(meter, 1, at("2026-11-21T13:34:56Z"));
    assert!(matches!(fourth, Decision::Admitted(standing) if standing.remaining == 1));
}

#[test]
fn a_day_ends_at_midnight_of_its_zone() {
    let zone = TimeZone::get("Europe/Oslo").unwrap();
    let rule = rule(
        2500,
        Motion::Aligned {
            length: WindowLength::Day,
            zone,
        },
    );
    let (_, decision) = rule.take(Meter::default(), 1, at("2026-11-21T12:00:00Z"));
    let Decision::Admitted(standing) = decision else {
        panic!("{decision:?}")
    };
    assert_eq!(standing.remaining, 2499);
    assert_eq!(standing.reset, Some(at("2026-11-21T23:00:00Z")));
}

#[test]
fn a_bucket_gives_back_unit_by_unit_and_says_when_it_is_full() {
    let rule = rule(40, Motion::Bucket(SignedDuration::from_millis(500)));
    let now = at("2026-11-21T12:00:00Z");
    let (meter, _) = rule.take(Meter::default(), 40, now);
    let (meter, refused) = rule.take(meter, 1, now);
    let Decision::Refused(standing, wait) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(standing.remaining, 0);
    assert_eq!(standing.reset, Some(at("2026-11-21T12:00:20Z")));
    assert_eq!(wait, Some(at("2026-11-21T12:00:00.5Z")));
    let (_, standing) = rule.look(meter, at("2026-11-21T12:00:01Z"));
    assert_eq!(standing.remaining, 2);
}

#[test]
fn in_flight_comes_back_with_the_end_of_the_request() {
    let rule = rule(3, Motion::InFlight);
    let now = at("2026-11-21T12:00:00Z");
    let mut meter = Meter::default();
    for _ in 0..3 {
        meter = rule.take(meter, 1, now).0;
    }
    let (meter, refused) = rule.take(meter, 1, now);
    assert!(matches!(refused, Decision::Refused(_, None)));
    let (_, again) = rule.take(rule.give_back(meter, 1), 1, now);
    assert!(matches!(again, Decision::Admitted(standing) if standing.remaining == 0));
}

#[test]
fn a_penalty_refuses_everything_for_its_time() {
    let mut rule = rule(5, Motion::Fixed(SignedDuration::from_secs(1)));
    rule.penalty = Some(SignedDuration::from_secs(30));
    let now = at("2026-11-21T12:00:00Z");
    let (meter, _) = rule.take(Meter::default(), 5, now);
    let (meter, refused) = rule.take(meter, 1, now);
    assert!(
        matches!(refused, Decision::Refused(_, Some(wait)) if wait == at("2026-11-21T12:00:30Z"))
    );
    let (meter, refused) = rule.take(meter, 1, at("2026-11-21T12:00:29Z"));
    assert!(matches!(refused, Decision::Refused(standing, _) if standing.remaining == 0));
    let (_, admitted) = rule.take(meter, 1, at("2026-11-21T12:00:30Z"));
    assert!(matches!(admitted, Decision::Admitted(_)));
}

proptest! {
    #[test]
    fn waiting_as_told_is_enough_and_less_is_not(
        quota in 1_u64..12,
        kind in 0_usize..4,
        steps in proptest::collection::vec((0_i64..30_000, 1_u64..3), 1..60),
    ) {
        let rule = rule(quota, motions().swap_remove(kind));
        let mut now = at("2026-11-21T12:00:07.25Z");
        let mut meter = Meter::default();
        for (pause, cost) in steps {
            now = now.checked_add(SignedDuration::from_millis(pause)).unwrap();
            let (next, decision) = rule.take(meter, cost, now);
            meter = next;
            let Decision::Refused(_, wait) = decision else { continue };
            let Some(wait) = wait else {
                prop_assert!(cost > quota, "only what never fits has no end");
                continue;
            };
            let early = wait.checked_sub(SignedDuration::from_nanos(1)).unwrap();
            prop_assert!(wait > now);
            prop_assert!(matches!(rule.take(meter.clone(), cost, early).1, Decision::Refused(..)));
            prop_assert!(matches!(rule.take(meter.clone(), cost, wait).1, Decision::Admitted(_)));
        }
    }

    #[test]
    fn no_window_admits_more_than_its_quota(
        quota in 1_u64..12,
        steps in proptest::collection::vec(0_i64..20_000, 1..80),
    ) {
        let rule = rule(quota, Motion::Rolling(SignedDuration::from_secs(60)));
        let mut now = at("2026-11-21T12:00:00Z");
        let mut meter = Meter::default();
        let mut admitted: Vec<Timestamp> = Vec::new();
        for pause in steps {
            now = now.checked_add(SignedDuration::from_millis(pause)).unwrap();
            let (next, decision) = rule.take(meter, 1, now);
            meter = next;
            if matches!(decision, Decision::Admitted(_)) {
                admitted.push(now);
            }
            let recent = admitted.iter().filter(|then| now.duration_since(**then) < SignedDuration::from_secs(60));
            prop_assert!(recent.count() as u64 <= quota);
        }
    }

    #[test]
    fn a_large_rolling_quota_is_never_given_back_early(
        steps in proptest::collection::vec((0_i64..40_000, 1_u64..400), 1..60),
    ) {
        let length = SignedDuration::from_hours(1);
        let rule = rule(5_000, Motion::Rolling(length));
        let mut now = at("2026-11-21T12:00:00Z");
        let mut meter = Meter::default();
        let mut used: Vec<(Timestamp, u64)> = Vec::new();
        for (pause, cost) in steps {
            now = now.checked_add(SignedDuration::from_millis(pause)).unwrap();
            let (next, decision) = rule.take(meter, cost, now);
            meter = next;
            if matches!(decision, Decision::Admitted(_)) {
                used.push((now, cost));
            }
            let recent: u64 = used.iter().filter(|(then, _)| now.duration_since(*then) < length).map(|(_, cost)| cost).sum();
            prop_assert!(recent <= 5_000);
        }
    }
}
