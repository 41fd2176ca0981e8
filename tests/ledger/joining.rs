//! A store comes to light while its meters count already: both counts go together, and never is more left than either knew.

use headroom::ledger::meter::{Refusal, Told};

use super::*;

const NOW: Now = Now {
    steady: Steady(1 << 56),
    // Noon in UTC, on the 15th.
    wall_ms: 1_800_014_400_000,
};

/// Windows of which none is over within an hour of [`NOW`].
const WINDOWS: [&str; 4] = [
    "window = \"3h\"\nkind = \"fixed\"",
    "window = \"3h\"\nkind = \"rolling\"",
    "window = \"day\"\nkind = \"clock\"\ntime_zone = \"UTC\"",
    "window = \"300h\"\nkind = \"bucket\"",
];

fn after(minutes: u64) -> Now {
    let millis = minutes * 60_000;
    Now {
        steady: NOW.steady.after(Nanos::from_millis(millis)),
        wall_ms: NOW.wall_ms + i64::try_from(millis).unwrap(),
    }
}

fn rule(window: &str) -> Rule {
    let source = format!(
        "name = \"Stub\"\ndocs = [\"https://example.com\"]\n[policy.all]\nquota = 100\n{window}\n"
    );
    let adapter = parse("stub", &source).unwrap();
    let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
    let wishes = Wishes {
        mode: Some(Mode::Enforce),
        ..Wishes::default()
    };
    Rule::new(&adapter.policies[0], 0, &terms, &wishes)
}

fn caller(id: u64) -> Caller {
    Caller { id, is_named: true }
}

fn used(rule: &Rule, by: u64, calls: u64, now: Now) -> Meter {
    let mut meter = Meter::default();
    for _ in 0..calls {
        let taken = meter.take(rule, 1, caller(by), now);
        meter.finish(1, taken.probe);
    }
    meter
}

/// As an earlier process has stored it, with so many counted ahead.
fn stored(rule: &Rule, mut meter: Meter, ahead: u64, made: Now, now: Now) -> Meter {
    Meter::restore(rule, &meter.snapshot(rule, made), ahead, now)
}

fn left(meter: &Meter, rule: &Rule, now: Now) -> Option<u64> {
    meter.clone().standing(rule, now).remaining
}

#[test]
fn what_both_have_used_is_used() {
    for window in WINDOWS {
        let rule = rule(window);
        let before = stored(&rule, used(&rule, 1, 30, NOW), 2, NOW, after(10));
        let mut meter = used(&rule, 2, 5, after(10));
        meter.join(&rule, before, after(10));
        assert_eq!(left(&meter, &rule, after(10)), Some(63), "{window}");
        // It is counted on from there, to the end and no further.
        for _ in 0..63 {
            meter.check(&rule, 1, caller(2), after(10)).unwrap();
            meter.take(&rule, 1, caller(2), after(10));
        }
        assert!(meter.check(&rule, 1, caller(2), after(10)).is_err());
    }
}

#[test]
fn a_meter_that_has_nothing_learns_all() {
    for window in WINDOWS {
        let rule = rule(window);
        let before = || stored(&rule, used(&rule, 1, 30, NOW), 2, NOW, after(10));
        let mut meter = Meter::default();
        meter.join(&rule, before(), after(10));
        for minutes in [10, 30, 59] {
            let now = after(minutes);
            let (joined, alone) = (left(&meter, &rule, now), left(&before(), &rule, now));
            assert_eq!(joined, alone, "{window} {minutes}");
        }
    }
}

#[test]
fn a_window_ends_with_the_later_one() {
    let rule = rule(WINDOWS[0]);
    let before = stored(&rule, used(&rule, 1, 30, NOW), 0, NOW, after(60));
    let mut meter = used(&rule, 2, 5, after(60));
    meter.join(&rule, before, after(60));
    // Three hours after the first, nobody knows whether the second was in a window of its own.
    assert_eq!(left(&meter, &rule, after(181)), Some(65));
    assert_eq!(left(&meter, &rule, after(241)), Some(100));
}

#[test]
fn each_call_of_a_rolling_window_comes_back_in_its_time() {
    let rule = rule(WINDOWS[1]);
    let before = stored(&rule, used(&rule, 1, 30, NOW), 0, NOW, after(60));
    let mut meter = used(&rule, 2, 5, after(60));
    meter.join(&rule, before, after(60));
    assert_eq!(left(&meter, &rule, after(181)), Some(95));
    assert_eq!(left(&meter, &rule, after(241)), Some(100));
}

#[test]
fn who_used_what_is_known_of_both() {
    let rule = rule(WINDOWS[2]);
    let before = stored(&rule, used(&rule, 1, 30, NOW), 0, NOW, NOW);
    let mut meter = used(&rule, 1, 5, NOW);
    meter.take(&rule, 1, caller(2), NOW);
    meter.join(&rule, before, NOW);
    let mut users: Vec<_> = meter.users().map(|user| (user.who, user.used)).collect();
    users.sort_unstable();
    assert_eq!(users, [(1, 35), (2, 1)]);
    assert_eq!(meter.standing(&rule, NOW).own, 36);
}

#[test]
fn what_the_provider_has_counted_is_not_counted_twice() {
    let rule = rule(WINDOWS[2]);
    let before = stored(&rule, used(&rule, 1, 30, NOW), 0, NOW, NOW);
    let mut meter = Meter::default();
    let taken = meter.take(&rule, 1, caller(1), NOW);
    let told = Told {
        limit: Some(100),
        remaining: Some(60),
        ..Told::default()
    };
    meter.observe(&rule, &told, taken.mark, NOW);
    meter.finish(1, false);
    meter.join(&rule, before, NOW);
    assert_eq!(left(&meter, &rule, NOW), Some(60));
}

#[test]
fn a_suspension_is_not_forgotten() {
    for window in WINDOWS {
        let rule = rule(window);
        let mut before = Meter::default();
        let refusal = Refusal {
            wait_secs: Some(1_800),
            random: 0,
        };
        before.refused(&rule, &refusal, NOW);
        let before = stored(&rule, before, 0, NOW, after(10));
        let mut meter = used(&rule, 2, 5, after(10));
        meter.join(&rule, before, after(10));
        assert!(meter.check(&rule, 1, caller(2), after(29)).is_err());
        assert!(meter.check(&rule, 1, caller(2), after(31)).is_ok());
    }
}
