//! Whatever comes in whichever order, blocks of all levels hold the same, and nothing is lost or there twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use rusqlite::Connection;

use super::super::{BLOCKS, FORGOTTEN, TABLES, write};
use super::super::{Chunk, Numbers, Row, Series, SeriesRef, Snapshot, Sums};
use super::*;
use crate::state::history::Remembered;

const NOON: i64 = 1_795_348_800;

pub(in super::super) fn database() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    let meta = "CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;";
    for tables in [meta, TABLES, FORGOTTEN, BLOCKS] {
        connection.execute_batch(tables).unwrap();
    }
    connection
}

pub(in super::super) fn series(number: u16) -> SeriesRef {
    let name: Arc<str> = format!("/{number}").into();
    SeriesRef::from(Series {
        connection: "crm".into(),
        provider: "hubspot".into(),
        consumer: "reports".into(),
        method: "GET".into(),
        endpoint: name,
        status: number,
        upstream_status: 0,
        refused_by: "".into(),
        policy: "".into(),
        unit: "".into(),
    })
}

/// Calls of one series in one minute.
pub(in super::super) fn put(connection: &mut Connection, minute: i64, status: u16, calls: u64) {
    let sums = Sums {
        calls,
        bytes_out: calls * 1_000,
        ..Sums::default()
    };
    let chunk = Chunk {
        totals: [(minute, series(status), sums)].into_iter().collect(),
        ..Chunk::default()
    };
    let transaction = connection.transaction().unwrap();
    write(&transaction, &mut Numbers::new(), &chunk).unwrap();
    transaction.commit().unwrap();
}

fn roll_until(connection: &mut Connection, over: i64) {
    let transaction = connection.transaction().unwrap();
    roll(&transaction, over).unwrap();
    transaction.commit().unwrap();
}

/// Calls by start and status.
type Found = BTreeMap<(i64, u16), u64>;

fn collect(
    connection: &Connection,
    read: impl FnOnce(&Snapshot<'_>, &mut dyn FnMut(i64, i64, Row<'_>)),
) -> Found {
    let remembered = Remembered::default();
    let snapshot = Snapshot::new(connection, &remembered);
    let names: BTreeMap<_, _> = snapshot
        .dictionary()
        .unwrap()
        .series()
        .iter()
        .cloned()
        .collect();
    let mut found = Found::new();
    read(&snapshot, &mut |start, number, row| {
        let sums = row.values().sums();
        assert_eq!(sums.bytes_out, sums.calls * 1_000);
        *found.entry((start, names[&number].status)).or_default() += sums.calls;
    });
    found
}

fn blocks(connection: &Connection, level: i64) -> Found {
    let all = |snapshot: &Snapshot<'_>, each: &mut dyn FnMut(i64, i64, Row<'_>)| {
        snapshot.blocks(level, i64::MIN, i64::MAX, each).unwrap();
    };
    collect(connection, all)
}

fn fresh_ones(connection: &Connection) -> Found {
    let all = |snapshot: &Snapshot<'_>, each: &mut dyn FnMut(i64, i64, Row<'_>)| {
        snapshot.fresh(i64::MIN, i64::MAX, each).unwrap();
    };
    collect(connection, all)
}

/// The same by longer periods.
fn coarser(found: &Found, level: i64) -> Found {
    let mut coarse = Found::new();
    for ((start, status), calls) in found {
        *coarse.entry((floor(*start, level), *status)).or_default() += calls;
    }
    coarse
}

/// That everything that was put is there once.
fn check(connection: &Connection, put: &Found) {
    let minutes = blocks(connection, 60);
    for level in LEVELS {
        assert_eq!(
            blocks(connection, level),
            coarser(&minutes, level),
            "{level}"
        );
    }
    let rolled = Snapshot::new(connection, &Remembered::default())
        .rolled()
        .unwrap();
    assert!(minutes.keys().all(|(start, _)| start + 60 <= rolled));
    let mut all = minutes;
    for (key, calls) in fresh_ones(connection) {
        *all.entry(key).or_default() += calls;
    }
    assert_eq!(all, *put);
}

#[derive(Debug, Clone)]
enum Act {
    /// So many minutes from noon, a status, and calls.
    Put(i64, u16, u64),
    /// With the clock at so many seconds from noon.
    Roll(i64),
}

fn act() -> impl Strategy<Value = Act> {
    let minute = prop_oneof![4 => 0..40_i64, 1 => -3_000..3_000_i64, 1 => -50_000..50_000_i64];
    let clock = prop_oneof![4 => 0..4_000_i64, 1 => -200_000..200_000_i64, 1 => Just(4_000_000)];
    prop_oneof![
        3 => (minute, 200..204_u16, 1..50_u64).prop_map(|(minute, status, calls)| Act::Put(minute, status, calls)),
        2 => clock.prop_map(Act::Roll),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn levels_hold_the_same_in_whichever_order_minutes_come(acts in vec(act(), 1..40)) {
        let mut connection = database();
        let mut expected = Found::new();
        for act in acts {
            match act {
                Act::Put(minute, status, calls) => {
                    let minute = NOON + minute * 60;
                    put(&mut connection, minute, status, calls);
                    *expected.entry((minute, status)).or_default() += calls;
                }
                Act::Roll(clock) => roll_until(&mut connection, NOON + clock),
            }
            check(&connection, &expected);
        }
    }
}

#[test]
fn minutes_are_rolled_when_five_are_over_and_not_before() {
    let mut connection = database();
    put(&mut connection, NOON, 200, 3);
    put(&mut connection, NOON, 200, 4);
    put(&mut connection, NOON + 240, 201, 6);
    put(&mut connection, NOON + 300, 200, 5);
    roll_until(&mut connection, NOON + 299);
    assert_eq!(blocks(&connection, 60), Found::new());
    roll_until(&mut connection, NOON + 300);
    assert_eq!(
        blocks(&connection, 60),
        Found::from([((NOON, 200), 7), ((NOON + 240, 201), 6)])
    );
    assert_eq!(
        fresh_ones(&connection),
        Found::from([((NOON + 300, 200), 5)])
    );
    assert_eq!(
        Snapshot::new(&connection, &Remembered::default()).rolled(),
        Ok(NOON + 300)
    );
}

#[test]
fn empty_time_takes_one_step() {
    let mut connection = database();
    let later = NOON + 400 * 86_400;
    put(&mut connection, NOON, 200, 1);
    put(&mut connection, later, 200, 2);
    roll_until(&mut connection, later + 900);
    roll_until(&mut connection, later + 900);
    assert_eq!(fresh_ones(&connection), Found::new());
    assert_eq!(
        blocks(&connection, 60),
        Found::from([((NOON, 200), 1), ((later, 200), 2)])
    );
}

#[test]
fn a_late_minute_is_added_to_its_blocks() {
    let mut connection = database();
    for (minute, calls) in [(0, 1), (120, 2), (60, 4), (0, 8), (-86_400, 16)] {
        put(&mut connection, NOON + minute, 200, calls);
        roll_until(&mut connection, NOON + 900);
    }
    let of = |level| blocks(&connection, level).into_values().collect::<Vec<_>>();
    assert_eq!(of(60), [16, 9, 4, 2]);
    assert_eq!(of(86_400), [16, 15]);
}

#[test]
fn a_clock_that_was_set_goes_on_from_where_it_is() {
    let mut connection = database();
    let mut expected = Found::new();
    // Four hours back, then six days ahead, then as it was.
    for (hour, clock) in [
        (0, 0),
        (-4, -4),
        (-3, -3),
        (144, 144),
        (1, 1),
        (2, 2),
        (145, 145),
    ] {
        let minute = NOON + hour * 3_600;
        put(&mut connection, minute, 200, 1);
        expected.insert((minute, 200), 1);
        for _ in 0..3 {
            roll_until(&mut connection, NOON + clock * 3_600 + 320);
            check(&connection, &expected);
        }
    }
    assert_eq!(fresh_ones(&connection), Found::new());
}

#[test]
fn many_sums_are_rolled_in_several_steps() {
    let mut connection = database();
    let mut chunk = Chunk::default();
    for minute in 0..4 {
        for number in 0..6_000_u16 {
            let sums = Sums {
                calls: 1,
                bytes_out: 1_000,
                ..Sums::default()
            };
            chunk.totals.add(NOON + minute * 60, series(number), sums);
        }
    }
    let transaction = connection.transaction().unwrap();
    write(&transaction, &mut Numbers::new(), &chunk).unwrap();
    transaction.commit().unwrap();
    let left = |connection: &Connection| fresh_ones(connection).len();
    for expected in [12_000, 0] {
        roll_until(&mut connection, NOON + 900);
        assert_eq!(left(&connection), expected);
    }
    assert_eq!(blocks(&connection, 86_400).len(), 6_000);
    assert!(
        blocks(&connection, 86_400)
            .values()
            .all(|calls| *calls == 4)
    );
}

#[test]
fn totals_that_cannot_be_read_stop_nothing_and_are_not_told_any_more() {
    let mut connection = database();
    put(&mut connection, NOON, 200, 1);
    roll_until(&mut connection, NOON + 300);
    let damage = "UPDATE blocks SET data = x'01ff' WHERE level = 86400";
    connection.execute(damage, []).unwrap();
    let remembered = Remembered::default();
    let snapshot = Snapshot::new(&connection, &remembered);
    assert!(
        snapshot
            .totals(86_400, i64::MIN, i64::MAX, |_, _, _| {})
            .is_err()
    );
    put(&mut connection, NOON + 60, 200, 2);
    roll_until(&mut connection, NOON + 300);
    assert_eq!(blocks(&connection, 3_600), Found::from([((NOON, 200), 3)]));
    let remembered = Remembered::default();
    let snapshot = Snapshot::new(&connection, &remembered);
    let day = floor(NOON, 86_400);
    assert_eq!(snapshot.forgotten(86_400), Ok(Some(day + 1)));
    assert_eq!(snapshot.forgotten(3_600), Ok(None));

    put(&mut connection, NOON + 120, 200, 4);
    connection
        .execute("UPDATE fresh SET data = x'01ff'", [])
        .unwrap();
    roll_until(&mut connection, NOON + 300);
    assert_eq!(fresh_ones(&connection), Found::new());
    let remembered = Remembered::default();
    let snapshot = Snapshot::new(&connection, &remembered);
    assert_eq!(snapshot.forgotten(3_600), Ok(Some(NOON + 121)));
}
