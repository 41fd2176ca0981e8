//! The store: what is acknowledged survives whatever ends the process, and nothing is ever deleted but what has ended.

mod damage;
mod killed;
mod rolled;

use std::fs;
use std::path::Path;

use headroom::state::{
    LearnedKey, LearnedRow, Loaded, MeterKey, MeterRow, OpenError, State, WriteError,
};
use rusqlite::Connection;
use tempfile::TempDir;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const NOW_MS: i64 = 1_795_262_400_000;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn open(folder: &Path) -> (State, Loaded) {
    let (state, loaded) = State::open(folder, NOW_MS).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    (state, loaded)
}

/// Somebody else's connection.
fn connect(folder: &Path) -> Connection {
    Connection::open(folder.join("headroom.db")).unwrap()
}

fn meter(partition: &str, data: &str) -> MeterRow {
    MeterRow {
        account: "account".into(),
        policy: "hourly".into(),
        partition: partition.to_owned(),
        reserved: 3,
        ends_ms: NOW_MS,
        data: data.as_bytes().to_vec(),
    }
}

fn meter_key(partition: &str) -> MeterKey {
    MeterKey {
        account: "account".into(),
        policy: "hourly".into(),
        partition: partition.to_owned(),
    }
}

fn lesson(from: &str, to: &str, learned_ms: i64) -> LearnedRow {
    LearnedRow {
        account: "account".into(),
        scope: "route".to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        learned_ms,
    }
}

fn count(connection: &Connection) -> i64 {
    connection
        .query_row("SELECT count(*) FROM meters", [], |row| row.get(0))
        .unwrap()
}

#[tokio::test]
async fn what_is_written_is_there_at_the_next_opening() {
    let folder = folder();
    let (state, loaded) = open(folder.path());
    let salt = loaded.salt;
    assert_ne!(salt, [0; 16]);
    assert!(loaded.meters.is_empty() && loaded.learned.is_empty());

    let odd = MeterRow {
        account: "".into(),
        policy: "a 'quote', a \0 and \u{1F980}".into(),
        partition: String::new(),
        reserved: u64::MAX,
        ends_ms: i64::MAX,
        data: (0..=255).collect(),
    };
    let meters = vec![odd.clone(), meter("a", "1"), meter("b", "1")];
    let learned = vec![lesson("/a", "x", 2), lesson("/b", "x", 1)];
    state.write(meters, learned).await.unwrap();
    // Both a later row of the same key, and the other columns.
    let changed = MeterRow {
        reserved: 0,
        ends_ms: NOW_MS + 1,
        ..meter("a", "2")
    };
    let write = state.write(vec![changed.clone()], vec![lesson("/a", "y", 3)]);
    write.await.unwrap();
    state.close().unwrap();

    let (state, loaded) = open(folder.path());
    assert_eq!(loaded.meters, [odd, changed, meter("b", "1")]);
    assert_eq!(loaded.learned, [lesson("/b", "x", 1), lesson("/a", "y", 3)]);
    assert_eq!(loaded.salt, salt);

    let remove = state.remove(vec![meter_key("b")], vec![lesson_key("/b")]);
    remove.await.unwrap();
    state.close().unwrap();
    let (_state, loaded) = open(folder.path());
    assert_eq!(loaded.meters.len(), 2);
    assert_eq!(loaded.learned, [lesson("/a", "y", 3)]);
}

fn lesson_key(from: &str) -> LearnedKey {
    LearnedKey {
        account: "account".into(),
        scope: "route".to_owned(),
        from: from.to_owned(),
    }
}

#[test]
fn another_folder_has_another_salt() {
    let folders = [folder(), folder()];
    let salts = folders.each_ref().map(|folder| open(folder.path()).1.salt);
    assert_ne!(salts[0], salts[1]);
}

#[cfg(unix)]
#[test]
fn nobody_else_can_read_what_is_kept() {
    use std::os::unix::fs::PermissionsExt;

    let folder = folder();
    let path = folder.path().join("deep/state");
    let (state, _) = open(&path);
    state
        .write_blocking(vec![meter("a", "1")], Vec::new())
        .unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for name in [
        "headroom.db",
        "headroom.db-wal",
        "headroom.db-shm",
        "headroom.lock",
    ] {
        assert_eq!(mode(&path.join(name)), 0o600, "{name}");
    }
    state.close().unwrap();
    assert!(
        !path.join("headroom.db-wal").exists(),
        "not moved into the main file"
    );
}

/// The commits in the log: its frames with a size (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
fn commits(folder: &Path) -> usize {
    let log = fs::read(folder.join("headroom.db-wal")).unwrap();
    let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let frame = 24 + number(8) as usize;
    (32..log.len())
        .step_by(frame)
        .filter(|at| number(at + 4) > 0)
        .count()
}

#[tokio::test]
async fn what_waits_is_committed_in_one_transaction() {
    let folder = folder();
    let (state, _) = open(folder.path());
    let first = state.write(vec![meter("0", "1")], Vec::new());
    first.await.unwrap();
    let before = commits(folder.path());
    // Nothing can be committed while somebody else writes, so all but what the writer took at once waits.
    let other = connect(folder.path());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writes: Vec<_> = (0..1_000)
        .map(|one| state.write(vec![meter(&one.to_string(), "1")], Vec::new()))
        .collect();
    other.execute_batch("ROLLBACK").unwrap();
    for write in writes {
        write.await.unwrap();
    }
    let commits = commits(folder.path()) - before;
    assert!((1..=2).contains(&commits), "{commits} commits");
    assert_eq!(count(&other), 1_000);
}

#[tokio::test]
async fn the_last_change_of_a_row_counts() {
    let folder = folder();
    let (state, _) = open(folder.path());
    let other = connect(folder.path());
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let put = |partition: &str, data: &str| {
        drop(state.write(
            vec![meter(partition, data)],
            vec![lesson(partition, data, 1)],
        ));
    };
    let remove = |partition: &str| {
        drop(state.remove(vec![meter_key(partition)], vec![lesson_key(partition)]));
    };
    for round in 0..100 {
        put("put", &round.to_string());
        put("removed", "1");
        remove("removed");
        remove("put again");
        put("put again", "1");
    }
    other.execute_batch("ROLLBACK").unwrap();
    // What was dropped is written all the same, in order, before this.
    state.write(Vec::new(), Vec::new()).await.unwrap();
    state.close().unwrap();
    let (_state, loaded) = open(folder.path());
    assert_eq!(loaded.meters, [meter("put", "99"), meter("put again", "1")]);
    assert_eq!(
        loaded.learned,
        [lesson("put", "99", 1), lesson("put again", "1", 1)]
    );
}

#[tokio::test]
async fn the_log_does_not_grow_for_ever() {
    let folder = folder();
    let (state, _) = open(folder.path());
    let large = "some bytes ".repeat(20_000);
    for _ in 0..100 {
        let write = state.write(vec![meter("a", &large)], Vec::new());
        write.await.unwrap();
    }
    // 22 MB were written.
    let log = fs::metadata(folder.path().join("headroom.db-wal")).unwrap();
    assert!(log.len() < 6 << 20, "{} bytes", log.len());
}

#[tokio::test]
async fn others_read_while_it_is_written() {
    let folder = folder();
    let (state, _) = open(folder.path());
    state
        .write(vec![meter("0", "1")], Vec::new())
        .await
        .unwrap();
    let reader = connect(folder.path());
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(count(&reader), 1);
    for one in 1..50 {
        state
            .write(vec![meter(&one.to_string(), "1")], Vec::new())
            .await
            .unwrap();
    }
    // The reader's own moment.
    assert_eq!(count(&reader), 1);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(count(&reader), 50);
    // It does not hold up the end either, and takes nothing away.
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(count(&reader), 50);
    state
        .write(vec![meter("50", "1")], Vec::new())
        .await
        .unwrap();
    state.close().unwrap();
    assert_eq!(open(folder.path()).1.meters.len(), 51);
}

#[tokio::test]
async fn what_ended_a_day_ago_goes() {
    let folder = folder();
    let ends = |partition: &str, ends_ms: i64| MeterRow {
        ends_ms,
        ..meter(partition, "1")
    };
    let (state, _) = open(folder.path());
    let rows = vec![
        ends("ended", NOW_MS - DAY_MS - 1),
        ends("just now", NOW_MS - DAY_MS),
        ends("runs", NOW_MS + 2 * DAY_MS),
    ];
    state.write(rows, vec![lesson("/a", "x", 0)]).await.unwrap();
    state.close().unwrap();

    let (state, loaded) = open(folder.path());
    let kept: Vec<_> = loaded.meters.iter().map(|row| &*row.partition).collect();
    assert_eq!(kept, ["just now", "runs"]);
    assert_eq!(loaded.learned.len(), 1, "lessons have no end");

    state.prune(NOW_MS + 1).await.unwrap();
    let left =
        connect(folder.path()).query_row("SELECT group_concat(partition) FROM meters", [], |row| {
            row.get(0)
        });
    assert_eq!(left, Ok("runs".to_owned()));
    // A clock at its ends.
    state.prune(i64::MIN).await.unwrap();
    assert_eq!(count(&connect(folder.path())), 1);
    state.close().unwrap();
    State::open(folder.path(), i64::MIN)
        .unwrap()
        .0
        .close()
        .unwrap();
}

#[tokio::test]
async fn many_that_ended_go_some_with_each_commit() {
    let folder = folder();
    let (state, _) = open(folder.path());
    // Those that stay are before those that go: whoever begins anew each time does not come to them.
    let rows = (0..9_000).map(|n| MeterRow {
        ends_ms: NOW_MS + i64::from(n < 8_000),
        // In the order of their keys.
        ..meter(&format!("{n:04}"), "1")
    });
    state.write(rows.collect(), Vec::new()).await.unwrap();
    let mut left = Vec::new();
    for n in 0..12 {
        state.prune(NOW_MS + DAY_MS + 1).await.unwrap();
        let busy = MeterRow {
            ends_ms: NOW_MS + 1,
            ..meter("0000", &n.to_string())
        };
        state.write(vec![busy], Vec::new()).await.unwrap();
        left.push(count(&connect(folder.path())));
    }
    // Those that stay are looked at in the first four steps, and then two hundred go with each.
    assert_eq!(left[..4], [9_000, 9_000, 8_600, 8_200]);
    assert_eq!(left[4..], [8_000; 8]);
    let ended = connect(folder.path()).query_row(
        "SELECT count(*) FROM meters WHERE ends_ms = ?1",
        [NOW_MS],
        |row| row.get(0),
    );
    assert_eq!(ended, Ok(0));
    state.close().unwrap();
}

#[tokio::test]
async fn a_failing_write_is_told_and_the_next_one_tried() {
    let folder = folder();
    let (state, _) = open(folder.path());
    state
        .write(vec![meter("before", "1")], Vec::new())
        .await
        .unwrap();
    let other = connect(folder.path());
    other
        .execute_batch(
            "CREATE TRIGGER broken BEFORE INSERT ON meters BEGIN SELECT RAISE(ABORT, 'worn out'); END",
        )
        .unwrap();
    let error = state
        .write(vec![meter("lost", "1")], Vec::new())
        .await
        .unwrap_err();
    let WriteError::Failed(reason) = &error else {
        panic!("{error}");
    };
    assert!(
        reason.ends_with("headroom.db` cannot be used: worn out"),
        "{reason}"
    );
    assert_eq!(state.health().as_deref(), Some(&**reason));
    let blocking = state.clone();
    let blocking = move || blocking.write_blocking(vec![meter("lost", "1")], Vec::new());
    assert_eq!(
        tokio::task::spawn_blocking(blocking).await.unwrap(),
        Err(error)
    );
    // That nothing had to be written does not make the disk whole.
    state.write(Vec::new(), Vec::new()).await.unwrap();
    assert!(state.health().is_some());

    other.execute_batch("DROP TRIGGER broken").unwrap();
    state
        .write(vec![meter("after", "1")], Vec::new())
        .await
        .unwrap();
    assert_eq!(state.health(), None);
    state.close().unwrap();
    assert_eq!(
        open(folder.path()).1.meters,
        [meter("after", "1"), meter("before", "1")]
    );
}

#[tokio::test]
async fn what_cannot_be_taken_out_keeps_nothing_else_from_being_written() {
    let folder = folder();
    let (state, _) = open(folder.path());
    state
        .write(vec![meter("ended", "1")], Vec::new())
        .await
        .unwrap();
    let other = connect(folder.path());
    other
        .execute_batch(
            "CREATE TRIGGER broken BEFORE DELETE ON meters BEGIN SELECT RAISE(ABORT, 'worn out'); END",
        )
        .unwrap();
    let later = NOW_MS + 10 * DAY_MS;
    state.prune(later).await.unwrap_err();
    state
        .write(vec![meter("next", "1")], Vec::new())
        .await
        .unwrap();
    assert_eq!(count(&other), 2);
    other.execute_batch("DROP TRIGGER broken").unwrap();
    state.prune(later).await.unwrap();
    assert_eq!(count(&other), 0);
    state.close().unwrap();
}

#[tokio::test]
async fn a_table_that_is_gone_is_found_again() {
    let folder = folder();
    let (state, _) = open(folder.path());
    let other = connect(folder.path());
    other
        .execute_batch("ALTER TABLE meters RENAME TO hidden")
        .unwrap();
    let row = || vec![meter("a", "1")];
    for _ in 0..2 {
        let error = state.write(row(), Vec::new()).await.unwrap_err();
        assert!(error.to_string().contains("no such table"), "{error}");
        assert_eq!(state.files(), 0);
    }
    other
        .execute_batch("ALTER TABLE hidden RENAME TO meters")
        .unwrap();
    // On a new connection. Without one it does not look after its file, so what is there now may know less.
    for _ in 0..2 {
        state.write(row(), Vec::new()).await.unwrap();
        assert_eq!((state.files(), state.health()), (1, None));
    }
    assert_eq!(count(&other), 1);
}

#[tokio::test]
async fn no_more_waits_than_fits() {
    let folder = folder();
    let (state, _) = open(folder.path());
    let large = MeterRow {
        data: vec![0; 64 << 20],
        ..meter("a", "")
    };
    let error = state.write(vec![large], Vec::new()).await.unwrap_err();
    assert_eq!(error, WriteError::Full);
    // A disk that hangs is told of, until something is written again.
    assert_eq!(state.health(), Some(WriteError::Full.to_string()));
    state
        .write(vec![meter("a", "1")], Vec::new())
        .await
        .unwrap();
    assert_eq!(state.health(), None);
}

#[tokio::test]
async fn rows_that_are_handed_over_one_by_one_are_waited_for_by_batch() {
    let folder = folder();
    let (state, _) = open(folder.path());
    let hand_over = |rows: Vec<MeterRow>| {
        let mut writes = state.writes();
        rows.into_iter().for_each(|row| writes.put(row));
        writes.finish()
    };
    assert_eq!(hand_over(Vec::new()).len(), 0);
    let rows = |data: &str| (0..500).map(|n| meter(&format!("{n:03}"), data)).collect();
    for round in 0..20 {
        let earlier = hand_over(rows("earlier"));
        let other = state.write(vec![meter("000", "between")], Vec::new());
        let later = hand_over(rows(&round.to_string()));
        assert!(earlier.len() + later.len() < 100);
        for written in earlier.into_iter().chain([other]).chain(later) {
            written.await.unwrap();
        }
    }
    // One that there is no room for is told of, and those around it are written.
    let large = MeterRow {
        data: vec![0; 64 << 20],
        ..meter("large", "")
    };
    for place in [1, 0, 2] {
        let mut rows = vec![meter("a", "1"), meter("b", "1")];
        rows.insert(place, large.clone());
        let mut results = Vec::new();
        for written in hand_over(rows) {
            results.push(written.await);
        }
        results.sort_by_key(Result::is_ok);
        let (refused, written) = results.split_first().unwrap();
        assert_eq!(refused, &Err(WriteError::Full));
        assert!(!written.is_empty() && written.iter().all(Result::is_ok));
    }
    let clone = state.clone();
    state.close().unwrap();
    let mut writes = clone.writes();
    writes.put(meter("c", "1"));
    let [refused] = writes.finish().try_into().unwrap();
    assert_eq!(refused.await, Err(WriteError::Closed));
    let (_state, loaded) = open(folder.path());
    let mut expected: Vec<MeterRow> = rows("19");
    expected.extend([meter("a", "1"), meter("b", "1")]);
    assert_eq!(loaded.meters, expected);
}

#[tokio::test]
async fn a_closed_state_refuses() {
    let folder = folder();
    let (state, _) = open(folder.path());
    let clone = state.clone();
    let write = state.write(vec![meter("a", "1")], Vec::new());
    state.close().unwrap();
    write.await.unwrap();
    let error = clone
        .write(vec![meter("b", "1")], Vec::new())
        .await
        .unwrap_err();
    assert_eq!(error, WriteError::Closed);
    let refused = std::thread::scope(|scope| {
        let write = || clone.write_blocking(vec![meter("b", "1")], Vec::new());
        scope.spawn(write).join().unwrap()
    });
    assert_eq!(refused, Err(WriteError::Closed));
    assert_eq!(open(folder.path()).1.meters, [meter("a", "1")]);
    clone.close().unwrap();
}

#[tokio::test]
async fn what_was_handed_over_is_written_though_nobody_closes() {
    let folder = folder();
    let (state, _) = open(folder.path());
    let write = state.write(vec![meter("a", "1")], Vec::new());
    drop(state);
    write.await.unwrap();
    assert_eq!(count(&connect(folder.path())), 1);
}

#[test]
fn a_second_headroom_is_kept_out() {
    let folder = folder();
    let (state, _) = open(folder.path());
    let error = State::open(folder.path(), NOW_MS).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("` is in use by another headroom"),
        "{error}"
    );
    state
        .write_blocking(vec![meter("a", "1")], Vec::new())
        .unwrap();
    state.close().unwrap();
    assert_eq!(open(folder.path()).1.meters.len(), 1);
}
