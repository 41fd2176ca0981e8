//! The window or the unit of a policy becomes another one, while the process runs and between two of them.

use headroom::ledger::meter::{Refusal, Told};

use super::*;

const NOW: Now = Now {
    steady: Steady(1 << 56),
    // Noon in UTC, on the 15th.
    wall_ms: 1_800_014_400_000,
};

const CALLER: Caller = Caller {
    id: 1,
    is_named: true,
};

fn later(millis: u64) -> Now {
    Now {
        steady: NOW.steady.after(Nanos::from_millis(millis)),
        wall_ms: NOW.wall_ms + i64::try_from(millis).unwrap(),
    }
}

/// Windows of which none is over within a minute of [`NOW`], and what they are called.
const WINDOWS: [&str; 8] = [
    "window = \"1h\"\nkind = \"fixed\"",
    "window = \"2h\"\nkind = \"fixed\"",
    "window = \"1h\"\nkind = \"rolling\"",
    "window = \"day\"\nkind = \"clock\"\ntime_zone = \"UTC\"",
    "window = \"month\"\nkind = \"clock\"\ntime_zone = \"Europe/Berlin\"",
    "window = \"15m\"\nkind = \"clock\"",
    "window = \"1h\"\nkind = \"bucket\"",
    "kind = \"bucket\"\nrefill = 0.01",
];

fn rule(window: &str, quota: u64) -> Rule {
    let source = format!(
        "name = \"Stub\"\ndocs = [\"https://example.com\"]\n[policy.all]\nquota = {quota}\n{window}\n"
    );
    let adapter = parse("stub", &source).unwrap();
    let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
    let wishes = Wishes {
        mode: Some(Mode::Enforce),
        ..Wishes::default()
    };
    Rule::new(&adapter.policies[0], 0, &terms, &wishes)
}

fn left(meter: &Meter, rule: &Rule, now: Now) -> u64 {
    meter.clone().standing(rule, now).remaining.unwrap()
}

/// A meter of which headroom used 5 and others 2.
fn used(rule: &Rule) -> Meter {
    let mut meter = Meter::default();
    let mut last = None;
    for _ in 0..5 {
        last = Some(meter.take(rule, 1, CALLER, NOW));
    }
    let taken = last.unwrap();
    let told = Told {
        limit: rule.quota,
        remaining: rule.quota.map(|quota| quota - 7),
        reset_secs: None,
    };
    meter.finish(4, false);
    meter.observe(rule, &told, taken.mark, NOW);
    meter.finish(1, false);
    assert_eq!(left(&meter, rule, NOW), rule.quota.unwrap() - 7);
    meter
}

/// The meter in the next process, a moment later.
fn restarted(meter: &Meter, old: &Rule, new: &Rule, ahead: u64) -> Meter {
    let snapshot = meter.clone().snapshot(old, NOW);
    let text = serde_json::to_string(&snapshot).unwrap();
    Meter::restore(new, &serde_json::from_str(&text).unwrap(), ahead, later(50))
}

#[test]
fn what_was_used_is_used_in_the_window_that_takes_the_place_of_another() {
    for before in WINDOWS {
        for after in WINDOWS {
            let (old, new) = (rule(before, 10), rule(after, 10));
            let meter = used(&old);
            let mut live = meter.clone();
            live.change(&old, &new, later(50));
            for (meter, least) in [(live, 3), (restarted(&meter, &old, &new, 2), 1)] {
                let name = format!("{before} → {after}");
                let now = later(100);
                assert_eq!(left(&meter, &new, now), least, "{name}");
                let standing = meter.clone().standing(&new, now);
                assert!(before == after || standing.own >= 5, "{name}");
                let users: Vec<_> = meter.users().map(|user| (user.who, user.used)).collect();
                assert!(users.contains(&(1, 5)), "{name} {users:?}");
                // It comes back, and no later than what is used now would.
                let whole = match after {
                    bucket if bucket.contains("refill") => 1_000,
                    month if month.contains("month") => 31 * 86_400,
                    _ => new.window_secs.unwrap(),
                };
                assert_eq!(left(&meter, &new, later(whole * 1_000 + 60)), 10, "{name}");
            }
        }
    }
}

#[test]
fn what_comes_back_does_not_come_back_before_its_time() {
    let (fixed, rolling) = (rule(WINDOWS[0], 10), rule(WINDOWS[2], 10));
    let mut meter = used(&fixed);
    let half = later(1_800_000);
    meter.change(&fixed, &rolling, half);
    // Where in the old window the calls lay nobody knows.
    assert_eq!(left(&meter, &rolling, later(5_399_999)), 3);
    assert_eq!(left(&meter, &rolling, later(5_400_000)), 10);
}

#[test]
fn a_quota_that_is_raised_or_lowered_keeps_the_count() {
    for window in WINDOWS {
        for quota in [8, 100] {
            let (old, new) = (rule(window, 10), rule(window, quota));
            let mut meter = Meter::default();
            for _ in 0..5 {
                let taken = meter.take(&old, 1, CALLER, NOW);
                meter.finish(taken.cost, false);
            }
            let again = restarted(&meter, &old, &new, 0);
            assert_eq!(left(&again, &new, later(100)), quota - 5, "{window}");
            meter.change(&old, &new, later(50));
            assert_eq!(left(&meter, &new, later(100)), quota - 5, "{window}");
            // All of it comes back when it would have.
            if new.window_secs == Some(3_600) && !window.contains("bucket") {
                assert_eq!(left(&meter, &new, later(3_599_990)), quota - 5, "{window}");
                assert_eq!(left(&meter, &new, later(3_600_000)), quota, "{window}");
            }
        }
    }
}

#[test]
fn of_another_unit_nothing_is_known_but_what_the_provider_asked_to_wait() {
    for before in WINDOWS {
        for after in WINDOWS {
            let (old, new) = (rule(before, 10), rule(after, 1_000));
            let new = Rule {
                unit: headroom::quota::Unit::Other("tokens".into()),
                ..new
            };
            let mut meter = used(&old);
            let refusal = Refusal {
                wait_secs: Some(120),
                random: 0,
            };
            meter.refused(&old, &refusal, NOW);
            let again = restarted(&meter, &old, &new, 3);
            meter.change(&old, &new, later(50));
            for mut meter in [meter, again] {
                let name = format!("{before} → {after}");
                let obstacle = meter.check(&new, 1, CALLER, later(119_000)).err().unwrap();
                assert_eq!(obstacle.cause, Cause::Suspended, "{name}");
                let standing = meter.standing(&new, later(121_000));
                assert_eq!(standing.remaining, Some(1_000), "{name}");
                assert_eq!(standing.limit, Some(1_000), "{name}");
            }
        }
    }
}

#[test]
fn a_call_of_before_gives_nothing_back_and_its_answer_says_nothing() {
    for before in WINDOWS {
        for after in WINDOWS.into_iter().filter(|after| *after != before) {
            let (old, new) = (rule(before, 10), rule(after, 10));
            let mut meter = Meter::default();
            let taken = meter.take(&old, 4, CALLER, NOW);
            meter.change(&old, &new, NOW);
            let name = format!("{before} → {after}");
            let now = later(100);
            meter.arrived(&new, &taken, now);
            let told = Told {
                limit: Some(90),
                remaining: Some(80),
                reset_secs: Some(1),
            };
            meter.observe(&new, &told, taken.mark, now);
            meter.refund(&new, &taken, now);
            meter.release(&new, &taken);
            meter.finish(taken.cost, taken.probe);
            assert_eq!(left(&meter, &new, now), 6, "{name}");
            assert_eq!(meter.in_flight(), 0);
            // What comes after the change is believed again.
            let taken = meter.take(&new, 1, CALLER, now);
            assert_eq!(left(&meter, &new, now), 5, "{name}");
            meter.refund(&new, &taken, now);
            assert_eq!(left(&meter, &new, now), 6, "{name}");
        }
    }
}

#[test]
fn what_is_in_flight_stays_so_whichever_calls_count() {
    let all = rule("unit = \"concurrent-requests\"\nkind = \"concurrent\"", 3);
    let slow = rule(
        "unit = \"concurrent-requests\"\nkind = \"concurrent\"\nslower_than = \"5s\"",
        3,
    );
    let mut meter = Meter::default();
    let mut calls: Vec<_> = (0..2).map(|_| meter.take(&all, 1, CALLER, NOW)).collect();
    meter.change(&all, &slow, later(1_000));
    calls.push(meter.take(&slow, 1, CALLER, later(2_000)));
    // When the first two began is not known any more.
    assert_eq!(left(&meter, &slow, later(2_000)), 1);
    assert_eq!(left(&meter, &slow, later(8_000)), 0);
    meter.change(&slow, &all, later(9_000));
    assert_eq!(left(&meter, &all, later(9_000)), 0);
    meter.change(&all, &slow, later(9_000));
    for (done, taken) in calls.iter().enumerate() {
        meter.release(&slow, taken);
        assert_eq!(left(&meter, &slow, later(20_000)), 1 + done as u64);
    }
}

#[test]
fn a_permit_of_before_frees_no_place() {
    let window = rule(WINDOWS[2], 3);
    let flight = rule("unit = \"concurrent-requests\"\nkind = \"concurrent\"", 3);
    let mut meter = Meter::default();
    let before = meter.take(&window, 1, CALLER, NOW);
    let change = |meter: &mut Meter, from, to| meter.change(from, to, NOW);
    change(&mut meter, &window, &flight);
    let first = meter.take(&flight, 1, CALLER, NOW);
    meter.release(&flight, &before);
    assert_eq!(left(&meter, &flight, NOW), 2);
    change(&mut meter, &flight, &window);
    change(&mut meter, &window, &flight);
    let second = meter.take(&flight, 1, CALLER, NOW);
    meter.release(&flight, &first);
    assert_eq!(left(&meter, &flight, NOW), 2);
    meter.release(&flight, &second);
    assert_eq!(left(&meter, &flight, NOW), 3);
}

#[test]
fn what_was_stored_before_the_new_window_began_is_over() {
    let (old, new) = (rule(WINDOWS[4], 10), rule(WINDOWS[2], 10));
    let snapshot = used(&old).snapshot(&old, NOW);
    let at = |secs: u64| {
        let meter = Meter::restore(&new, &snapshot, 2, later(secs * 1_000));
        left(&meter, &new, later(secs * 1_000))
    };
    assert_eq!(at(3_599), 1);
    assert_eq!(at(3_600), 10);
    let day = rule(WINDOWS[3], 10);
    let at = |secs: u64| {
        let meter = Meter::restore(&day, &snapshot, 2, later(secs * 1_000));
        left(&meter, &day, later(secs * 1_000))
    };
    let to_midnight = 86_400 - u64::try_from(NOW.wall_ms / 1_000 % 86_400).unwrap();
    assert_eq!(at(to_midnight - 1), 1);
    assert_eq!(at(to_midnight), 10);
}

#[test]
fn what_was_counted_ahead_may_have_been_used_since() {
    let (old, new) = (rule(WINDOWS[1], 10), rule(WINDOWS[2], 10));
    let mut meter = Meter::default();
    for _ in 0..5 {
        let _taken = meter.take(&old, 1, CALLER, NOW);
    }
    let snapshot = meter.snapshot(&old, NOW);
    let left_at = |ahead: u64, secs: u64| {
        let now = later(secs * 1_000);
        left(&Meter::restore(&new, &snapshot, ahead, now), &new, now)
    };
    // Until the end of the window that it was counted for, and that of the new one after it.
    let ends = 7_200;
    for (ahead, secs, expected) in [
        (2, 3_600, 3),
        (2, ends, 3),
        (2, ends + 3_599, 3),
        (2, ends + 3_601, 10),
        (0, 3_599, 5),
        (0, 3_600, 10),
    ] {
        assert_eq!(left_at(ahead, secs), expected, "{ahead} {secs}");
    }
}
