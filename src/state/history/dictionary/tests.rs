//! What is remembered is what is there.

use super::super::roll::tests::{database, put};
use super::*;

const NOON: i64 = 1_795_348_800;

fn statuses(remembered: &Remembered, connection: &Connection) -> Vec<u16> {
    let dictionary = remembered.read(connection).unwrap();
    let afresh = Remembered::default().read(connection).unwrap();
    assert_eq!(dictionary.series(), afresh.series());
    let series = dictionary.series().iter();
    series.map(|(_, series)| series.status).collect()
}

fn marked() -> Connection {
    let connection = database();
    connection.execute_batch(RENEW).unwrap();
    connection
}

/// With two series that are remembered.
fn two() -> (Connection, Remembered) {
    let mut connection = marked();
    let remembered = Remembered::default();
    put(&mut connection, NOON, 200, 1);
    put(&mut connection, NOON, 201, 1);
    assert_eq!(statuses(&remembered, &connection), [200, 201]);
    (connection, remembered)
}

#[test]
fn what_is_new_comes_behind_what_is_remembered() {
    let mut connection = marked();
    let remembered = Remembered::default();
    assert!(statuses(&remembered, &connection).is_empty());
    put(&mut connection, NOON, 200, 1);
    assert_eq!(statuses(&remembered, &connection), [200]);
    let known = remembered.read(&connection).unwrap();
    assert!(Arc::ptr_eq(&known, &remembered.read(&connection).unwrap()));
    put(&mut connection, NOON, 201, 1);
    put(&mut connection, NOON, 202, 1);
    assert_eq!(statuses(&remembered, &connection), [200, 201, 202]);
}

#[test]
fn a_number_that_stands_for_another_one_is_read_again() {
    let (connection, remembered) = two();
    // As if it were forgotten for want of calls, and its number were given to the next.
    connection
        .execute("DELETE FROM series WHERE status = 200", [])
        .unwrap();
    connection
        .execute(
            "UPDATE series SET id = 1, status = 299 WHERE status = 201",
            [],
        )
        .unwrap();
    connection.execute_batch(RENEW).unwrap();
    assert_eq!(statuses(&remembered, &connection), [299]);
}

#[test]
fn another_file_is_another_dictionary() {
    let remembered = Remembered::default();
    let (mut first, mut second, mut unmarked) = (marked(), marked(), database());
    for (connection, status) in [(&mut first, 200), (&mut second, 300), (&mut unmarked, 400)] {
        put(connection, NOON, status, 1);
        put(connection, NOON, 404, 1);
    }
    assert_eq!(statuses(&remembered, &first), [200, 404]);
    assert_eq!(statuses(&remembered, &second), [300, 404]);
    assert_eq!(statuses(&remembered, &unmarked), [400, 404]);
    assert_eq!(statuses(&remembered, &first), [200, 404]);
}

#[test]
fn an_older_copy_has_what_it_had() {
    let (mut connection, remembered) = two();
    // A snapshot from before, or a copy that somebody has put back; then another series has the number.
    connection
        .execute("DELETE FROM series WHERE status = 201", [])
        .unwrap();
    assert_eq!(statuses(&remembered, &connection), [200]);
    put(&mut connection, NOON, 202, 1);
    assert_eq!(statuses(&remembered, &connection), [200, 202]);
}
