//! What a meter's use becomes, look by look.

use super::*;

const THRESHOLDS: &[u8] = &[80, 95, 100];

/// So many seconds after the beginning.
fn at(secs: u64) -> Now {
    Now {
        steady: Steady(1 << 56).after(Nanos::from_secs(secs)),
        wall_ms: 1_800_000_000_000 + i64::try_from(secs).unwrap() * 1_000,
    }
}

/// A fixed window of an hour, which begins with the test and is over each hour.
fn fixed(percent: u8, secs: u64) -> View<'static> {
    let window = u32::try_from(secs / 3_600).unwrap();
    View {
        percent: Some(percent),
        thresholds: THRESHOLDS,
        window: Some(window),
        ends: Some(at(u64::from(window + 1) * 3_600).steady),
        pace: None,
    }
}

/// A rolling window of an hour.
fn rolling(percent: u8, secs: u64) -> View<'static> {
    View {
        window: None,
        ends: Some(at(secs + 3_600).steady),
        ..fixed(percent, secs)
    }
}

/// What is told at these looks: each at so many seconds, at so many per cent.
fn told(view: fn(u8, u64) -> View<'static>, looks: &[(u64, u8)]) -> Vec<(u64, Finding)> {
    let mut episode = Episode::default();
    let look = |(secs, percent): &(u64, u8)| {
        let finding = episode.crossing(&view(*percent, *secs), at(*secs))?;
        Some((*secs, finding))
    };
    looks.iter().filter_map(look).collect()
}

use Finding::{Crossed, Recovered};

#[test]
fn each_threshold_is_told_once_in_a_window_and_its_end_once() {
    let looks = [
        (0, 79),
        (1, 80),
        (2, 81),
        (3, 95),
        (4, 99),
        (5, 100),
        (6, 100),
        (3_599, 100),
        (3_600, 0),
        (3_601, 0),
        (3_700, 79),
        (3_701, 80),
        (7_200, 0),
    ];
    let expected = [
        (1, Crossed(80)),
        (3, Crossed(95)),
        (5, Crossed(100)),
        (3_600, Recovered),
        (3_701, Crossed(80)),
        (7_200, Recovered),
    ];
    assert_eq!(told(fixed, &looks), expected);
}

#[test]
fn what_is_jumped_over_is_not_told() {
    assert_eq!(told(fixed, &[(0, 10), (1, 97)]), [(1, Crossed(95))]);
}

#[test]
fn who_hovers_is_told_once_in_a_window() {
    let looks: Vec<(u64, u8)> = (0..3_600)
        .map(|secs| (secs, 78 + u8::try_from(secs % 4).unwrap()))
        .collect();
    assert_eq!(told(fixed, &looks), [(2, Crossed(80))]);
    assert_eq!(told(rolling, &looks), [(2, Crossed(80))]);
    // About two thresholds at once.
    let looks: Vec<(u64, u8)> = (0..3_600)
        .map(|secs| (secs, [94, 96, 88, 79][usize::try_from(secs % 4).unwrap()]))
        .collect();
    assert_eq!(told(fixed, &looks), [(0, Crossed(80)), (1, Crossed(95))]);
}

#[test]
fn who_falls_far_has_recovered_and_may_cross_again() {
    let looks = [(0, 85), (1, 71), (2, 70), (3, 75), (4, 80), (5, 40)];
    let expected = [
        (0, Crossed(80)),
        (2, Recovered),
        (4, Crossed(80)),
        (5, Recovered),
    ];
    assert_eq!(told(rolling, &looks), expected);
    // A higher threshold is crossed again one window later.
    let looks = [
        (0, 96),
        (1, 85),
        (2, 96),
        (3_600, 85),
        (3_601, 96),
        (3_602, 70),
    ];
    let expected = [(0, Crossed(95)), (3_601, Crossed(95)), (3_602, Recovered)];
    assert_eq!(told(rolling, &looks), expected);
}

#[test]
fn a_rolling_window_below_its_threshold_has_recovered_one_window_later() {
    let looks = [(0, 80), (1, 79), (3_599, 79), (3_600, 79), (3_601, 79)];
    assert_eq!(
        told(rolling, &looks),
        [(0, Crossed(80)), (3_600, Recovered)]
    );
}

#[test]
fn a_window_that_is_used_up_again_at_the_next_look_is_told_anew() {
    let looks = [(3_599, 100), (3_600, 80), (3_601, 81)];
    assert_eq!(
        told(fixed, &looks),
        [(3_599, Crossed(100)), (3_600, Crossed(80))]
    );
}

#[test]
fn while_nobody_knows_nothing_is_told() {
    let mut episode = Episode::default();
    let unknown = |secs| View {
        percent: None,
        ..fixed(0, secs)
    };
    assert_eq!(episode.crossing(&unknown(0), at(0)), None);
    assert_eq!(episode.crossing(&fixed(80, 1), at(1)), Some(Crossed(80)));
    assert_eq!(episode.crossing(&unknown(2), at(2)), None);
    // That the window is over is known.
    let over = episode.crossing(&unknown(3_600), at(3_600));
    assert_eq!(over, Some(Recovered));
}

#[test]
fn lowest_thresholds_recover_too() {
    let mut episode = Episode::default();
    let view = |percent| View {
        thresholds: &[1, 5],
        ..fixed(percent, 0)
    };
    assert_eq!(episode.crossing(&view(5), at(0)), Some(Crossed(5)));
    assert_eq!(episode.crossing(&view(1), at(0)), None);
    assert_eq!(episode.crossing(&view(0), at(0)), Some(Recovered));
}

#[test]
fn an_episode_goes_on_in_the_next_process() {
    let resumed = |secs: u64, percent: u8| {
        let mut episode = Episode::default();
        episode.crossing(&fixed(95, 10), at(10));
        let stored = serde_json::to_vec(&episode.stored(at(10))).unwrap();
        let stored = serde_json::from_slice(&stored).unwrap();
        let mut episode = Episode::restore(&stored, at(secs));
        // Meters count their windows from 0 in each process.
        episode.resume(Some(0), at(secs));
        let view = View {
            window: Some(0),
            ..fixed(percent, secs)
        };
        episode.crossing(&view, at(secs))
    };
    assert_eq!(resumed(20, 96), None);
    assert_eq!(resumed(20, 94), None);
    assert_eq!(resumed(20, 100), Some(Crossed(100)));
    // The window turned while nobody ran.
    assert_eq!(resumed(3_700, 10), Some(Recovered));
    assert_eq!(resumed(3_700, 85), Some(Crossed(80)));
}

/// A fixed window of a day that runs out this early.
fn pace(percent: u8, secs: u64, runs_out: u64) -> View<'static> {
    let day = 86_400;
    View {
        ends: Some(at(86_400).steady),
        pace: Some(Pace {
            runs_out: Nanos::from_secs(runs_out),
            reset: Nanos::from_secs(day - secs % day),
            window: Nanos::from_secs(day),
        }),
        ..fixed(percent, 0)
    }
}

/// When a forecast is told, at looks that are 15 seconds apart.
fn forecasts(until: u64, view: impl Fn(u64) -> View<'static>) -> Vec<u64> {
    let mut episode = Episode::default();
    let looks = (0..until).step_by(15);
    looks
        .filter(|secs| episode.forecast(&view(*secs), at(*secs)))
        .collect()
}

#[test]
fn a_pace_that_stays_too_fast_is_told_once_in_a_window() {
    let told = forecasts(86_400, |secs| pace(30, secs, 3_600));
    assert_eq!(told, [900]);
    // The next window is another one.
    let told = forecasts(100_000, |secs| pace(30, secs, 3_600));
    assert_eq!(told, [900, 87_300]);
}

#[test]
fn a_pace_that_is_too_fast_for_a_moment_is_not_told() {
    let told = forecasts(40_000, |secs| {
        let is_fast = secs % 900 < 800;
        let pace = pace(30, secs, 3_600);
        View {
            pace: pace.pace.filter(|_| is_fast),
            ..pace
        }
    });
    assert_eq!(told, [0; 0]);
}

#[test]
fn what_runs_out_just_before_its_reset_is_not_told() {
    let told = |part: u64| forecasts(40_000, |secs| pace(30, secs, (86_400 - secs) * part / 100));
    assert_eq!(told(91), [0; 0]);
    assert_eq!(told(90), [900]);
}

#[test]
fn below_a_fifth_and_at_the_end_there_is_no_forecast() {
    for (percent, is_told) in [(19, false), (20, true), (99, true), (100, false)] {
        let told = forecasts(2_000, |secs| pace(percent, secs, 60));
        assert_eq!(!told.is_empty(), is_told, "{percent}");
    }
}

#[test]
fn short_windows_have_no_forecast() {
    for (window, is_told) in [(599, false), (600, true)] {
        let told = forecasts(300, |_| View {
            pace: Some(Pace {
                runs_out: Nanos::from_secs(1),
                reset: Nanos::from_secs(window),
                window: Nanos::from_secs(window),
            }),
            ..fixed(50, 0)
        });
        assert_eq!(!told.is_empty(), is_told, "{window}");
    }
}
