//! What is old goes, what is young stays, and reports are told.

use rusqlite::Connection;

use super::super::roll::tests::{database, put, series};
use super::super::{Chunk, EventRow, Series, Snapshot, write};
use super::*;
use crate::state::history::Remembered;

const NOON: i64 = 1_795_348_800;
const HOUR: i64 = 3_600;

fn retained(connection: &mut Connection, retention: &Retention) {
    let transaction = connection.transaction().unwrap();
    retain(&transaction, &mut Numbers::new(), retention).unwrap();
    transaction.commit().unwrap();
}

/// Events with these numbers, each a second after the one before.
fn put_calls(connection: &mut Connection, numbers: std::ops::RangeInclusive<i64>) {
    let events = numbers.map(|id| EventRow {
        id,
        at_ms: (NOON + id) * 1_000,
        series: series(200),
        outcome: "complete",
        policy: "".into(),
        spent: "[]".into(),
        waited_us: 0,
        duration_us: 0,
        upstream_us: 0,
        bytes_in: 0,
        bytes_out: 0,
    });
    let chunk = Chunk {
        events: events.collect(),
        ..Chunk::default()
    };
    let transaction = connection.transaction().unwrap();
    write(&transaction, &mut Numbers::new(), &chunk).unwrap();
    transaction.commit().unwrap();
}

fn kept(connection: &Connection) -> Vec<i64> {
    let mut kept = Vec::new();
    let all = Snapshot::new(connection, &Remembered::default()).events(i64::MAX, |event| {
        assert_eq!(event.at_ms, (NOON + event.id) * 1_000);
        kept.push(event.id);
        true
    });
    all.unwrap();
    kept.reverse();
    kept
}

#[test]
fn events_are_cut_to_the_number_that_is_kept() {
    let mut connection = database();
    put_calls(&mut connection, 1..=10);
    put_calls(&mut connection, 11..=11);
    put_calls(&mut connection, 12..=30);
    for (max_events, first) in [(u64::MAX, 1), (25, 6), (20, 11), (19, 12), (3, 28), (0, 30)] {
        let retention = Retention {
            max_events,
            ..Retention::of_everything()
        };
        retained(&mut connection, &retention);
        let expected: Vec<_> = (first..=30).collect();
        assert_eq!(kept(&connection), expected, "{max_events}");
    }
    assert_eq!(
        Snapshot::new(&connection, &Remembered::default()).last_event(),
        Ok(30)
    );
}

#[test]
fn old_events_go_with_their_block_and_the_last_stays() {
    let mut connection = database();
    put_calls(&mut connection, 1..=10);
    put_calls(&mut connection, 11..=20);
    let before = |moment: i64| Retention {
        events_before_ms: (NOON + moment) * 1_000,
        ..Retention::of_everything()
    };
    retained(&mut connection, &before(10));
    assert_eq!(kept(&connection).len(), 20);
    retained(&mut connection, &before(11));
    assert_eq!(kept(&connection), (11..=20).collect::<Vec<_>>());
    // A restart goes on counting from it.
    retained(&mut connection, &before(21));
    assert_eq!(kept(&connection), [20]);
}

#[test]
fn a_large_batch_is_several_blocks() {
    let mut connection = database();
    put_calls(&mut connection, 1..=10_000);
    let count = "SELECT COUNT(*) FROM events";
    let blocks: i64 = connection.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(blocks, 3);
    assert_eq!(kept(&connection).len(), 10_000);
    let mut page = Vec::new();
    let read = Snapshot::new(&connection, &Remembered::default()).events(5_001, |event| {
        page.push(event.id);
        page.len() < 3
    });
    read.unwrap();
    assert_eq!(page, [5_000, 4_999, 4_998]);
}

/// The starts of the blocks of a level, in hours from noon.
fn hours(connection: &Connection, level: i64) -> Vec<i64> {
    let mut hours = Vec::new();
    let all = Snapshot::new(connection, &Remembered::default()).blocks(
        level,
        i64::MIN,
        i64::MAX,
        |start, _, _| {
            hours.push((start - NOON) / HOUR);
        },
    );
    all.unwrap();
    hours
}

#[test]
fn old_totals_go_and_reports_know() {
    let mut connection = database();
    for hour in 0..4 {
        put(&mut connection, NOON + hour * HOUR, 200, 1);
        retained(&mut connection, &Retention::of_everything());
    }
    let mut retention = Retention::of_everything();
    retention.totals_before[0] = NOON + 2 * HOUR;
    retention.totals_before[2] = NOON + HOUR;
    retained(&mut connection, &retention);
    assert_eq!(hours(&connection, 60), [2, 3]);
    assert_eq!(hours(&connection, 900), [0, 1, 2, 3]);
    assert_eq!(hours(&connection, 3_600), [1, 2, 3]);
    let remembered = Remembered::default();
    let snapshot = Snapshot::new(&connection, &remembered);
    assert_eq!(snapshot.forgotten(60), Ok(Some(NOON + HOUR + 1)));
    assert_eq!(snapshot.forgotten(900), Ok(None));
    assert_eq!(snapshot.oldest(), Ok(Some(NOON - NOON.rem_euclid(86_400))));
}

#[test]
fn what_is_too_large_loses_the_shortest_totals_first_and_never_the_day_that_goes_on() {
    let mut connection = database();
    put_calls(&mut connection, 1..=64);
    for hour in 0..40 {
        put(&mut connection, NOON + hour * HOUR, 200, 1);
        retained(&mut connection, &Retention::of_everything());
    }
    let small = Retention {
        max_bytes: 0,
        ..Retention::of_everything()
    };
    retained(&mut connection, &small);
    // A sixteenth of each.
    assert_eq!(hours(&connection, 60).first(), Some(&3));
    assert_eq!(hours(&connection, 900).len(), 40);
    assert_eq!(kept(&connection).first(), Some(&5));
    for _ in 0..200 {
        retained(&mut connection, &small);
    }
    for level in LEVELS {
        assert!(!hours(&connection, level).is_empty(), "{level}");
    }
    assert_eq!(kept(&connection), [64]);
}

#[test]
fn names_go_when_nothing_uses_them() {
    let mut connection = database();
    let day = 86_400;
    put(&mut connection, NOON, 200, 1);
    put(&mut connection, NOON + day, 201, 1);
    put(&mut connection, NOON + 9 * day, 202, 1);
    for _ in 0..3 {
        retained(&mut connection, &Retention::of_everything());
    }
    let names = |connection: &Connection| {
        let remembered = Remembered::default();
        let dictionary = Snapshot::new(connection, &remembered).dictionary().unwrap();
        let series = dictionary.series().iter();
        series.map(|(_, series)| series.status).collect::<Vec<_>>()
    };
    let mut retention = Retention {
        thorough: true,
        ..Retention::of_everything()
    };
    retained(&mut connection, &retention);
    assert_eq!(names(&connection), [200, 201, 202]);
    retention.totals_before = [NOON + 5 * day; 4];
    retained(&mut connection, &retention);
    assert_eq!(names(&connection), [202]);
    let since = |moment| {
        Snapshot::new(&connection, &Remembered::default())
            .series_since(moment)
            .unwrap()
    };
    assert_eq!(since(NOON + 9 * day + HOUR), [Series::clone(&series(202))]);
    assert_eq!(since(NOON + 10 * day), []);
}
