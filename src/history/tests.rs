//! Sums, bounds and repetitions.

use super::record::{Outcome, Refuser, Spent, Who};
use super::*;
use crate::state::history::{LEVELS, Series, SeriesRef, Sums};
use crate::state::{MeterKey, MeterRow};
use crate::time::Nanos;

const NOON_MS: i64 = 1_795_348_800_000;

fn record(endpoint: &str, ended_ms: i64) -> Record {
    Record {
        ended_ms,
        connection: "crm".into(),
        provider: "hubspot".into(),
        consumer: Who::Named("reports".into()),
        method: "GET",
        endpoint: endpoint.to_owned(),
        status: Some(200),
        upstream_status: None,
        refused_by: None,
        policy: None,
        spent: [Spent {
            policy: "daily".into(),
            unit: crate::quota::Unit::Requests,
            cost: 1,
        }]
        .into_iter()
        .collect(),
        outcome: Outcome::Complete,
        waited: Nanos(0),
        duration: Nanos::from_millis(12),
        upstream: Nanos::from_millis(11),
        overhead: Some(Nanos::from_millis(1)),
        bytes_in: 0,
        bytes_out: 512,
        poll: poll::Poll::default(),
    }
}

fn history() -> Arc<History> {
    Arc::new(History::new(None, Settings::default(), NOON_MS).unwrap())
}

/// All totals of a level, by start.
async fn totals(history: &Arc<History>, level: i64) -> Vec<(i64, Series, Sums)> {
    let read = move |snapshot: &Snapshot<'_>| {
        let dictionary = snapshot.dictionary()?;
        let names = dictionary.series().iter().cloned();
        let names: std::collections::HashMap<_, _> = names.collect();
        let mut found: std::collections::BTreeMap<_, Sums> = Default::default();
        snapshot.totals(level, i64::MIN, i64::MAX, |start, series, sums| {
            let key = (start, names[&series].clone());
            found.entry(key).or_default().add(sums);
        })?;
        let found = found.into_iter();
        Ok(found
            .map(|((start, series), sums)| (start, series, sums))
            .collect())
    };
    history.read(read).await.unwrap()
}

#[tokio::test]
async fn each_call_is_in_every_level_once() {
    let history = history();
    for minute in 0..120 {
        history.record(&record("/a", NOON_MS + minute * 60_000));
        if minute % 7 == 0 {
            history.flush(NOON_MS).await;
        }
    }
    for (level, count) in LEVELS.into_iter().zip([120, 8, 2, 1]) {
        let (policies, calls): (Vec<_>, Vec<_>) = totals(&history, level)
            .await
            .into_iter()
            .partition(|(_, series, _)| !series.policy.is_empty());
        assert_eq!(calls.len(), count, "{level}");
        assert_eq!(
            calls.iter().map(|(_, _, sums)| sums.calls).sum::<u64>(),
            120
        );
        let bytes: u64 = calls.iter().map(|(_, _, sums)| sums.bytes_out).sum();
        assert_eq!(bytes, 120 * 512);
        let cost: u64 = policies.iter().map(|(_, _, sums)| sums.cost).sum();
        assert_eq!(cost, 120);
    }
}

#[tokio::test]
async fn made_up_names_are_bounded_and_their_calls_are_not() {
    let history = history();
    for number in 0..10_000 {
        let mut one = record(&format!("/made-up-{number}"), NOON_MS);
        one.consumer = Who::Credential(number << 32);
        history.record(&one);
        if number % 1_000 == 0 {
            history.flush(NOON_MS).await;
        }
    }
    let calls: Vec<_> = totals(&history, 60)
        .await
        .into_iter()
        .filter(|(_, series, _)| series.policy.is_empty())
        .collect();
    assert_eq!(
        calls.iter().map(|(_, _, sums)| sums.calls).sum::<u64>(),
        10_000
    );
    let distinct = |name: fn(&Series) -> &Arc<str>| {
        let names: std::collections::BTreeSet<_> =
            calls.iter().map(|(_, series, _)| name(series)).collect();
        names.len()
    };
    assert!(distinct(|series| &series.endpoint) <= names::MOST_ENDPOINTS + 1);
    assert!(distinct(|series| &series.consumer) <= names::MOST_STRANGERS + 1);
}

#[tokio::test]
async fn events_have_rising_numbers_and_go_in_time() {
    let settings = Settings {
        max_events: 10,
        ..Settings::default()
    };
    let history = Arc::new(History::new(None, settings, NOON_MS).unwrap());
    let mut heard = history.listen();
    for number in 0..30 {
        let mut one = record("/a", NOON_MS + number);
        one.refused_by = Some(Refuser::Headroom);
        history.record(&one);
    }
    history.flush(NOON_MS).await;
    assert_eq!(heard.recv().await.unwrap().len(), 30);
    let numbers = |snapshot: &Snapshot<'_>| {
        let mut numbers = Vec::new();
        snapshot.events(i64::MAX, |event| {
            numbers.push(event.id);
            true
        })?;
        Ok(numbers)
    };
    history.read(|_| Ok(())).await.unwrap();
    history.flush(NOON_MS + 60_000).await;
    // Nobody waits for what is taken out; it is in order with other writes.
    history.state.prune(NOON_MS).await.unwrap();
    let kept = history.read(numbers).await.unwrap();
    assert_eq!(kept, (21..=30).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_waits_is_written_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let (state, _) = State::on_a_small_disk(folder.path(), 80);
    let meter = |partition: usize| MeterRow {
        account: "account".into(),
        policy: "policy".into(),
        partition: partition.to_string(),
        reserved: 1,
        ends_ms: NOON_MS,
        data: vec![7; 1_000],
    };
    let mut filled = 0;
    while state.write(vec![meter(filled)], Vec::new()).await.is_ok() {
        filled += 1;
    }
    let history = History::new(Some(state.clone()), Settings::default(), NOON_MS);
    let history = Arc::new(history.unwrap());
    let calls = 500;
    for number in 0..calls {
        // Nobody waits, whatever the disk does.
        history.record(&record(
            &format!("/{}", number % 50),
            NOON_MS + number * 1_000,
        ));
        if number % 10 == 0 {
            history.flush(NOON_MS).await;
            tokio::task::yield_now().await;
        }
    }
    // What is there can be read.
    history.read(|_| Ok(())).await.unwrap();
    let told = history.health().unwrap();
    assert!(told.contains("database or disk is full"), "{told}");

    let room = (0..filled).map(|partition| MeterKey {
        account: "account".into(),
        policy: "policy".into(),
        partition: partition.to_string(),
    });
    state.remove(room.collect(), Vec::new()).await.unwrap();
    let found = totals(&history, 86_400).await;
    let calls_of = |has_policy: bool| {
        let of_kind = found
            .iter()
            .filter(|(_, series, _)| series.policy.is_empty() != has_policy);
        of_kind.map(|(_, _, sums)| sums.calls).sum::<u64>()
    };
    assert_eq!((calls_of(false), calls_of(true)), (500, 500));
    let mut kept = 0;
    let counted = history.read(move |snapshot| {
        snapshot.events(i64::MAX, |_| {
            kept += 1;
            true
        })?;
        Ok(kept)
    });
    assert_eq!(counted.await.unwrap(), 500);
    assert_eq!(history.health(), None);
}

#[test]
fn repetitions_are_seen_and_nothing_else_is() {
    let polls = poll::Polls::default();
    let seen = |target: u64, answer: u64, at_ms| poll::Seen {
        target: target.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        answer: answer.wrapping_mul(0x9E37_79B9_7F4A_7C15),
        at_ms,
        fresh_until_ms: at_ms + 1_000,
        has_validator: true,
        is_conditional: false,
    };
    assert_eq!(polls.see(&seen(1, 1, 5_000)), poll::Poll::default());
    assert_eq!(
        polls.see(&seen(1, 1, 5_500)),
        poll::Poll {
            repeats: true,
            gap_ms: 500,
            same: true,
            revalidatable: true,
            fresh: true,
        }
    );
    let other = polls.see(&seen(1, 2, 9_000));
    assert!(other.repeats && !other.same && !other.fresh && !other.revalidatable);
    assert_eq!(polls.see(&seen(2, 2, 9_000)), poll::Poll::default());
}

#[tokio::test]
async fn sums_of_the_process_are_exact_and_their_rows_bounded() {
    let history = history();
    let mut before = 0;
    for number in 0..40_000_u64 {
        let mut one = record("/a", NOON_MS);
        one.consumer = Who::Named(format!("program-{}", number % 8_000).into());
        one.duration = Nanos(number * 10_000);
        one.overhead = (number % 2 == 0).then_some(Nanos(number * 100));
        if number % 4 == 0 {
            one.refused_by = Some(Refuser::Headroom);
            one.policy = Some("daily".into());
        }
        history.record(&one);
        if number % 1_000 == 0 {
            history.flush(NOON_MS).await;
        }
        if number % 5_000 == 0 {
            let all = history.tally().await.requests.values().sum::<u64>();
            assert_eq!(all, number + 1);
            assert!(all > before);
            before = all;
        }
    }
    let tally = history.tally().await;
    assert_eq!(tally.requests.values().sum::<u64>(), 40_000);
    assert_eq!(tally.refusals.values().sum::<u64>(), 10_000);
    let bytes: u64 = tally.callers.values().map(|sums| sums.bytes_out).sum();
    assert_eq!(bytes, 40_000 * 512);
    for rows in [tally.requests.len(), tally.callers.len()] {
        assert_eq!(rows, 4_001);
    }
    let others = tally.callers.iter();
    let others = others.filter(|(caller, _)| &*caller.consumer == names::OTHER);
    let calls: u64 = others.map(|(_, sums)| sums.calls).sum();
    assert_eq!(calls, 20_000);
    let [timings] = tally.timings.values().collect::<Vec<_>>()[..] else {
        panic!("one connection")
    };
    assert_eq!(timings.duration.count(), 40_000);
    assert_eq!(timings.overhead.count(), 20_000);
    // 0 to 399,990 us by 10: up to 5 ms there are 501.
    assert_eq!(timings.duration.counts[0], 501);
    assert_eq!(timings.duration.counts[6], 14_999);
    assert_eq!(
        timings.duration.sum_us,
        (0..40_000).map(|n| n * 10).sum::<u64>()
    );
}

#[test]
fn a_class_holds_what_is_not_longer_than_its_end() {
    let mut timings = tally::Timings::default();
    let mut one = record("/a", NOON_MS);
    for (length, class) in [(5_000, 0), (5_001, 1), (60_000_000, 12), (60_000_001, 13)] {
        one.duration = Nanos(length * 1_000);
        let before = timings.duration.counts[class];
        timings.see(&one);
        assert_eq!(timings.duration.counts[class], before + 1, "{length}");
    }
}

#[tokio::test]
async fn a_cost_out_of_all_bounds_does_not_stop_the_writing() {
    let history = history();
    for _ in 0..3 {
        let mut one = record("/a", NOON_MS);
        one.spent[0].cost = u64::MAX;
        history.record(&one);
        history.read(|_| Ok(())).await.unwrap();
    }
    let found = totals(&history, 86_400).await;
    let costs: Vec<_> = found.iter().map(|(_, _, sums)| sums.cost).collect();
    assert!(costs.contains(&u64::MAX), "{costs:?}");
    assert_eq!(history.health(), None);
}

#[test]
fn what_waits_for_long_is_folded_and_stays_whole() {
    let mut chunk = Chunk::default();
    let series = |number: i64| {
        SeriesRef::from(Series {
            endpoint: format!("/{number}").into(),
            connection: "crm".into(),
            provider: "hubspot".into(),
            consumer: "reports".into(),
            method: "GET".into(),
            status: 200,
            upstream_status: 0,
            refused_by: "".into(),
            policy: "".into(),
            unit: "".into(),
        })
    };
    let begin = NOON_MS / 1_000;
    let one = Sums {
        calls: 1,
        ..Sums::default()
    };
    for minute in 0..600 {
        for number in 0..200 {
            chunk.totals.add(begin + minute * 60, series(number), one);
        }
    }
    let calls = |chunk: &Chunk| {
        chunk
            .totals
            .iter()
            .map(|total| total.sums.calls)
            .sum::<u64>()
    };
    let last = begin + 599 * 60;
    chunk.fold(3_600, last);
    assert_eq!(calls(&chunk), 120_000);
    // Nine hours, and the minutes of the last.
    assert_eq!(chunk.totals.len(), 200 * (9 + 60));
    let ninth = begin + 9 * 3_600;
    assert_eq!(chunk.coarse, [Some(ninth), Some(ninth), None, None]);
    // Nothing is lost by being handed over in parts, or by coming back.
    let mut parts = Vec::new();
    for number in 0..60_000 {
        chunk.totals.add(last, series(number), one);
    }
    let whole = calls(&chunk);
    while !chunk.is_empty() {
        parts.push(chunk.part(Chunk::default()));
    }
    assert_eq!(parts.iter().map(calls).sum::<u64>(), whole);
    assert!(parts.len() > 1 && parts.iter().all(|part| part.rows() <= 50_000));
    parts.iter().for_each(|part| chunk.put_back(part));
    assert_eq!(calls(&chunk), whole);
    assert_eq!(chunk.coarse, [Some(ninth), Some(ninth), None, None]);
}

#[tokio::test]
async fn names_that_nobody_uses_make_room() {
    let history = history();
    let stranger = |number: u64, ended_ms| {
        let mut one = record("/a", ended_ms);
        one.consumer = Who::Credential(number << 32);
        one
    };
    for number in 0..names::MOST_STRANGERS as u64 {
        history.record(&stranger(number, NOON_MS));
    }
    history.flush(NOON_MS).await;
    let later = NOON_MS + 5 * 86_400_000;
    let newcomer = stranger(1_000_000, later).consumer.name();
    let names = || async {
        let found = totals(&history, 60).await;
        let names = found.into_iter().map(|(_, series, _)| series.consumer);
        names.collect::<std::collections::BTreeSet<_>>()
    };
    history.record(&stranger(1_000_000, later));
    assert!(!names().await.contains(&newcomer));
    history.renew_names(later).await.unwrap();
    history.record(&stranger(1_000_000, later));
    assert!(names().await.contains(&newcomer));
}

#[test]
fn the_end_writes_what_was_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let (state, _) = State::open(folder.path(), NOON_MS).unwrap();
    let history = History::new(Some(state.clone()), Settings::default(), NOON_MS).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for _ in 0..10 {
        history.record(&record("/a", NOON_MS));
        runtime.block_on(history.flush(NOON_MS));
        history.record(&record("/a", NOON_MS));
    }
    history.close().unwrap();
    let mut calls = 0;
    let count = |snapshot: &Snapshot<'_>| {
        snapshot.totals(86_400, i64::MIN, i64::MAX, |_, _, sums| {
            calls += sums.calls;
        })
    };
    state.read(count).unwrap();
    // Each call is there twice: as itself, and for the policy that counted it.
    assert_eq!(calls, 40);
}

#[test]
fn memory_keeps_less_than_a_file() {
    let of = |state, settings| History::new(state, settings, NOON_MS).unwrap().settings;
    let bounds = |settings: Settings| (settings.max_events, settings.max_bytes);
    let settings = Settings::default();
    assert_eq!(bounds(of(None, settings)), (100_000, 64 << 20));
    let small = Settings {
        max_events: 5,
        max_bytes: 16 << 20,
        ..settings
    };
    assert_eq!(of(None, small), small);
    let kept = State::in_memory(NOON_MS).unwrap();
    assert_eq!(of(Some(kept), settings), settings);
}
