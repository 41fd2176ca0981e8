//! Each kind of advice is given where it is due, with its numbers, and nowhere else.

use super::*;
use crate::ledger::report::ConsumerReport;

fn series(consumer: &str, endpoint: &str, status: u16) -> Series {
    Series {
        connection: "crm".into(),
        provider: "hubspot".into(),
        consumer: consumer.into(),
        method: "GET".into(),
        endpoint: endpoint.into(),
        status,
        upstream_status: 0,
        refused_by: "".into(),
        policy: "".into(),
        unit: "".into(),
    }
}

fn add(totals: &mut Totals, series: Series, sums: &Sums) {
    let known = totals.series.iter_mut().find(|(known, _)| *known == series);
    match known {
        Some((_, known)) => known.add(sums),
        None => totals.series.push((series, *sums)),
    }
}

fn of(sums: Sums, status: u16) -> Vec<Advice> {
    let mut totals = Totals::default();
    add(
        &mut totals,
        series("reports", "/v3/companies", status),
        &sums,
    );
    advise(&totals, &[])
}

#[test]
fn identical_polls_say_what_a_longer_interval_saves() {
    // A day of one call each 30 s; the answer changed 30 times.
    let sums = Sums {
        calls: 2_880,
        polls: 2_879,
        same: 2_849,
        polls_gap_ms: 86_370_000,
        ..Sums::default()
    };
    let [advice] = &of(sums, 200)[..] else {
        panic!("one piece of advice");
    };
    // A change each 46 min or so: every 15 min.
    assert_eq!(advice.saved, Some(2_879 - 96));
    assert_eq!(
        advice.text,
        "`reports` called `GET /v3/companies` of `crm` 2,880 times, the same request about every 30 s; \
         2,849 of 2,879 repetitions (98 %) got the same answer again. Every 15 min would have saved about 2,783 calls."
    );
}

#[test]
fn polls_that_bring_something_new_are_left_alone() {
    for same in [0, 100, 700] {
        let sums = Sums {
            calls: 1_000,
            polls: 999,
            same,
            polls_gap_ms: 999 * 30_000,
            ..Sums::default()
        };
        assert_eq!(of(sums, 200), []);
    }
}

/// What was watched for ten minutes says nothing of four hours, however many there were of it.
#[test]
fn different_requests_are_not_one_that_was_watched_for_long() {
    let twice = Sums {
        calls: 2_000,
        polls: 1_000,
        same: 1_000,
        polls_gap_ms: 1_000 * 600_000,
        ..Sums::default()
    };
    assert_eq!(of(twice, 200), []);
    // Their first calls were before the while: no request was watched for longer than that.
    let mut totals = Totals {
        length: 1_200,
        ..Totals::default()
    };
    let sums = Sums {
        calls: 2_000,
        polls: 2_000,
        same: 2_000,
        ..twice
    };
    let sums = Sums {
        polls_gap_ms: 2_000 * 600_000,
        ..sums
    };
    add(&mut totals, series("reports", "/v3/companies", 200), &sums);
    assert_eq!(advise(&totals, &[]), []);
}

/// A hundred requests, each called each 30 s for an hour, and one more time: none can do with fewer than are left.
#[test]
fn what_is_saved_holds_for_each_request() {
    let sums = Sums {
        calls: 100 * 122,
        polls: 100 * 121,
        same: 100 * 121,
        polls_gap_ms: 100 * 121 * 30_000,
        ..Sums::default()
    };
    let [advice] = &of(sums, 200)[..] else {
        panic!("one piece of advice");
    };
    // Half of 60.5 min: every 30 min, and so three more of each, not 2.02.
    assert_eq!(advice.numbers["better_interval_ms"], 1_800_000);
    let saved = advice.saved.unwrap();
    let bounds = 100 * (121 - 4)..=100 * (121 - 3);
    assert!(bounds.contains(&saved), "{saved}");
}

#[test]
fn what_is_saved_is_never_more_than_there_was() {
    for gap in [1, 7, 999, 30_000, 3_600_000] {
        for polls in [20, 100, 5_000] {
            for changes in [0, 1, polls / 5] {
                let sums = Sums {
                    calls: polls + 1,
                    polls,
                    same: polls - changes,
                    polls_gap_ms: polls * gap,
                    ..Sums::default()
                };
                for advice in of(sums, 200) {
                    assert!(advice.saved.unwrap() <= polls, "{advice:?}");
                }
            }
        }
    }
}

#[test]
fn calls_that_never_succeed_are_named_and_refusals_are_not_failures() {
    let sums = Sums {
        calls: 50,
        ..Sums::default()
    };
    let [advice] = &of(sums, 404)[..] else {
        panic!("one piece of advice");
    };
    assert_eq!(advice.kind, Kind::AlwaysFails);
    assert_eq!(advice.saved, Some(50));
    assert!(of(sums, 200).is_empty());
    let mut totals = Totals::default();
    let refused = Series {
        refused_by: "headroom".into(),
        ..series("reports", "/v3/companies", 429)
    };
    add(&mut totals, refused, &sums);
    assert_eq!(advise(&totals, &[]), []);
    // One that succeeded is enough.
    add(&mut totals, series("reports", "/v3/companies", 404), &sums);
    add(
        &mut totals,
        series("reports", "/v3/companies", 200),
        &Sums {
            calls: 1,
            ..Sums::default()
        },
    );
    assert_eq!(advise(&totals, &[]), []);
}

#[test]
fn validators_and_freshness_that_nobody_uses() {
    let sums = Sums {
        calls: 100,
        polls: 90,
        same: 40,
        polls_gap_ms: 90,
        revalidatable: 40,
        fresh: 30,
        ..Sums::default()
    };
    let kinds: Vec<_> = of(sums, 200)
        .iter()
        .map(|advice| (advice.kind, advice.saved))
        .collect();
    assert_eq!(kinds, [(Kind::Cache, Some(30)), (Kind::Revalidate, None)]);
}

#[test]
fn a_spike_stands_out_from_several_quarter_hours() {
    let mut totals = Totals::default();
    let busy = totals.busy.entry("crm".into()).or_default();
    for quarter in 0..10 {
        let calls = if quarter == 7 { 3_000 } else { 30 };
        let start = 1_795_348_800 + quarter * LEVEL;
        busy.add(start, calls, || vec![("sync".into(), calls)]);
    }
    let [advice] = &advise(&totals, &[])[..] else {
        panic!("one piece of advice");
    };
    assert_eq!((advice.kind, advice.calls), (Kind::Spike, 3_000));
    assert_eq!(advice.numbers["at"], "2026-11-22T13:45:00Z");
    for busy in totals.busy.values_mut() {
        busy.calls = 10 * 3_000;
    }
    assert_eq!(advise(&totals, &[]), []);
}

#[test]
fn who_uses_up_what_others_share() {
    let user = |consumer: &str, used| ConsumerReport {
        consumer: consumer.to_owned(),
        used,
    };
    let meter = MeterReport {
        connection: "sf".to_owned(),
        provider: "salesforce".to_owned(),
        policy: "daily".to_owned(),
        partition: String::new(),
        unit: "requests".to_owned(),
        limit: Some(5_000),
        used: 4_700,
        remaining: Some(300),
        reset: Some(3_600),
        window: Some(86_400),
        source: "provider".to_owned(),
        mode: "enforce".to_owned(),
        suspended: None,
        in_flight: 0,
        waiting: 0,
        consumers: vec![user("reports", 4_600), user("sync", 100)],
        others: 0,
        forecast: None,
    };
    let [advice] = &advise(&Totals::default(), std::slice::from_ref(&meter))[..] else {
        panic!("one piece of advice");
    };
    assert_eq!(
        advice.text,
        "`reports` has used 4,600 of the 5,000 requests of `sf` (`daily`); `sync`, who share it, have 300 left."
    );
    // Nobody knows how many those without a name are.
    let nameless = |first: &str, second: &str| {
        let meter = MeterReport {
            consumers: vec![user(first, 4_600), user(second, 100)],
            ..meter.clone()
        };
        let [advice] = &advise(&Totals::default(), &[meter])[..] else {
            panic!("one piece of advice");
        };
        (advice.consumer.clone(), advice.text.clone())
    };
    assert_eq!(
        nameless(NAMELESS, "sync"),
        (
            String::new(),
            "Callers without a name have together used 4,600 of the 5,000 requests of `sf` (`daily`); `sync`, who share it, have 300 left.".to_owned()
        )
    );
    assert_eq!(
        nameless("reports", NAMELESS),
        (
            "reports".to_owned(),
            "`reports` has used 4,600 of the 5,000 requests of `sf` (`daily`); callers without a name, who share it, have 300 left.".to_owned()
        )
    );
    let alone = MeterReport {
        consumers: vec![user("reports", 4_700)],
        ..meter.clone()
    };
    let plenty = MeterReport {
        remaining: Some(2_000),
        ..meter
    };
    assert_eq!(advise(&Totals::default(), &[alone, plenty]), []);
}

/// Whether minutes became blocks or not, the totals are the same.
#[test]
fn totals_are_read_from_blocks_and_from_what_is_fresh() {
    use crate::state::State;
    use crate::state::history::{Chunk, Retention};

    const NOON: i64 = 1_795_348_800;
    let state = State::in_memory(0).unwrap();
    let mut expected = Totals {
        length: 7_200,
        ..Totals::default()
    };
    let mut quarters: BTreeMap<i64, BTreeMap<Arc<str>, u64>> = BTreeMap::new();
    let mut chunk = Chunk::default();
    for minute in 0..90_u16 {
        let series = series(
            ["reports", "billing"][usize::from(minute % 2)],
            "/a",
            200 + minute % 3,
        );
        let sums = Sums {
            calls: u64::from(minute) + 1,
            polls: 1,
            ..Sums::default()
        };
        let start = NOON + i64::from(minute) * 60;
        let callers = quarters.entry(start - start.rem_euclid(LEVEL)).or_default();
        *callers.entry(Arc::clone(&series.consumer)).or_default() += sums.calls;
        add(&mut expected, series.clone(), &sums);
        let policy = Series {
            policy: "daily".into(),
            ..series.clone()
        };
        for series in [series, policy] {
            chunk.totals.add(start, series.into(), sums);
        }
    }
    let busy = expected.busy.entry("crm".into()).or_default();
    for (start, callers) in quarters {
        let calls = callers.values().sum();
        busy.add(start, calls, || callers.into_iter().collect());
    }
    state.add_blocking(Arc::new(chunk)).unwrap();
    // Nothing, something and all of it.
    for over in [0, 7 * 60, 3_000, 7_200] {
        for _ in 0..7 {
            let retention = Retention {
                over: NOON + over,
                ..Retention::of_everything()
            };
            state.wait(state.retain(retention)).unwrap();
        }
        let read = state.read(|snapshot| Totals::read(snapshot, NOON, NOON + 7_200));
        let mut read = read.unwrap();
        for totals in [&mut read, &mut expected] {
            totals.series.sort_by(|(one, _), (other, _)| one.cmp(other));
        }
        assert_eq!(read.series, expected.series, "{over}");
        assert_eq!(read.busy, expected.busy, "{over}");
        assert_eq!(read.length, expected.length);
    }
}
