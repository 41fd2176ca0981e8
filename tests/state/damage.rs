//! Files and folders that cannot be used: told, moved aside, never deleted.

use std::time::Duration;

use super::*;

/// A database with something in it, closed.
fn filled() -> TempDir {
    let folder = folder();
    let (state, _) = open(folder.path());
    let rows = (0..500)
        .map(|one| meter(&one.to_string(), "some data"))
        .collect();
    state.write_blocking(rows, Vec::new()).unwrap();
    state.close().unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Opens what is broken: the bytes stand aside, and a new database works.
fn is_moved_aside(folder: &Path) {
    let path = folder.join("headroom.db");
    let bytes = fs::read(&path).unwrap();
    let (state, loaded) = State::open(folder, NOW_MS).unwrap();
    let [warning] = &*loaded.warnings else {
        panic!("{:?}", loaded.warnings);
    };
    assert!(warning.contains("headroom.db` was broken ("), "{warning}");
    assert!(warning.ends_with("`; a new one is begun"), "{warning}");
    let aside = folder.join(format!("headroom.db.broken-{NOW_MS}"));
    assert!(warning.contains(&*aside.to_string_lossy()), "{warning}");
    assert_eq!(fs::read(aside).unwrap(), bytes);
    assert!(loaded.meters.is_empty());
    state
        .write_blocking(vec![meter("a", "1")], Vec::new())
        .unwrap();
    state.close().unwrap();
    assert_eq!(open(folder).1.meters, [meter("a", "1")]);
}

#[test]
fn a_file_that_is_no_database_is_moved_aside() {
    let folder = folder();
    fs::write(
        folder.path().join("headroom.db"),
        "a text, long enough ".repeat(100),
    )
    .unwrap();
    is_moved_aside(folder.path());
}

#[test]
fn a_database_with_a_hole_is_moved_aside() {
    let folder = filled();
    let path = folder.path().join("headroom.db");
    let mut bytes = fs::read(&path).unwrap();
    // All but the header and the schema.
    bytes[4_096..].fill(0x55);
    fs::write(&path, bytes).unwrap();
    is_moved_aside(folder.path());
}

#[test]
fn a_database_cut_short_is_moved_aside() {
    let folder = filled();
    let path = folder.path().join("headroom.db");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    is_moved_aside(folder.path());
}

#[test]
fn the_log_goes_with_its_file_and_nothing_is_overwritten() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("headroom.db"), "no database".repeat(100)).unwrap();
    fs::write(at("headroom.db-wal"), "no log").unwrap();
    fs::write(
        at(&format!("headroom.db.broken-{NOW_MS}")),
        "an earlier one",
    )
    .unwrap();
    let (state, loaded) = State::open(folder.path(), NOW_MS).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    state.close().unwrap();
    let earlier = format!("headroom.db.broken-{NOW_MS}");
    let aside = format!("headroom.db.broken-{}", NOW_MS + 1);
    let log = format!("{aside}-wal");
    let index = format!("{aside}-shm");
    assert_eq!(
        names(folder.path()),
        [
            "headroom.db",
            &earlier,
            &aside,
            &index,
            &log,
            "headroom.lock"
        ]
    );
    assert_eq!(fs::read_to_string(at(&earlier)).unwrap(), "an earlier one");
    assert_eq!(fs::read_to_string(at(&log)).unwrap(), "no log");
}

#[test]
fn an_empty_file_is_a_new_one() {
    let folder = folder();
    fs::write(folder.path().join("headroom.db"), "").unwrap();
    open(folder.path());
}

#[test]
fn a_newer_file_is_not_touched() {
    let folder = filled();
    let version: i64 = connect(folder.path())
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    connect(folder.path())
        .execute_batch("PRAGMA user_version = 999")
        .unwrap();
    let path = folder.path().join("headroom.db");
    let bytes = fs::read(&path).unwrap();
    let error = State::open(folder.path(), NOW_MS).unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { found: 999, .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("headroom.db` is of a newer headroom (version 999, "),
        "{text}"
    );
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(
        !names(folder.path())
            .iter()
            .any(|name| name.contains("broken"))
    );
    // The lock is free again.
    connect(folder.path())
        .execute_batch(&format!("PRAGMA user_version = {version}"))
        .unwrap();
    assert_eq!(open(folder.path()).1.meters.len(), 500);
}

/// Tables of somebody else's are no damage.
#[test]
fn a_strange_database_is_not_touched() {
    let folder = folder();
    let path = folder.path().join("headroom.db");
    connect(folder.path())
        .execute_batch("CREATE TABLE meters (a)")
        .unwrap();
    let bytes = fs::read(&path).unwrap();
    let error = State::open(folder.path(), NOW_MS).unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error}");
    assert!(error.to_string().contains("already exists"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_told() {
    use std::os::unix::fs::PermissionsExt;

    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let mut path = folder.path();
    if fs::write(path.join("probe"), "").is_ok() {
        // Root may write everywhere but here.
        path = Path::new("/sys");
    }
    let error = State::open(path, NOW_MS).unwrap_err();
    assert!(matches!(error, OpenError::Folder { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("headroom.lock` cannot be used: "),
        "{error}"
    );
}

#[test]
fn a_folder_that_is_a_file_is_told() {
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, "mine").unwrap();
    let error = State::open(&path, NOW_MS).unwrap_err();
    assert!(matches!(error, OpenError::Folder { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

/// Writing on into a file that is nowhere would acknowledge what the next start does not find.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_taken_away_is_begun_anew() {
    let folder = filled();
    let (state, loaded) = open(folder.path());
    let path = folder.path().join("headroom.db");
    let taken = folder.path().join("taken.db");
    state
        .write(vec![meter("in the log", "1")], Vec::new())
        .await
        .unwrap();
    fs::rename(&path, &taken).unwrap();
    state
        .write(vec![meter("a", "1")], Vec::new())
        .await
        .unwrap();
    state.close().unwrap();
    let (state, again) = open(folder.path());
    assert_eq!(again.meters, [meter("a", "1")]);
    assert_eq!(again.salt, loaded.salt);
    assert_eq!(count(&Connection::open(taken).unwrap()), 501);

    // Another headroom's file is not this one's, and this one's log not that file's.
    state
        .write(vec![meter("in the log", "1")], Vec::new())
        .await
        .unwrap();
    let other = filled();
    fs::rename(other.path().join("headroom.db"), &path).unwrap();
    let error = state
        .write(vec![meter("b", "1")], Vec::new())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("another file took its place"),
        "{error}"
    );
    assert_eq!(count(&connect(folder.path())), 500);

    fs::remove_dir_all(folder.path()).unwrap();
    state
        .write(vec![meter("b", "1")], Vec::new())
        .await
        .unwrap_err();
    assert!(state.health().is_some());
}

/// What was written in place of the file's bytes, while headroom has it open.
#[cfg(unix)]
async fn is_moved_aside_while_running(overwrite: impl Fn(&Path)) {
    let folder = filled();
    let (state, loaded) = open(folder.path());
    let path = folder.path().join("headroom.db");
    state
        .write(vec![meter("in the log", "1")], Vec::new())
        .await
        .unwrap();
    overwrite(&path);
    let bytes = fs::read(&path).unwrap();
    let later = state.prune(NOW_MS + 60_000);
    later.await.unwrap();
    assert_eq!((state.files(), state.health()), (1, None));
    let aside = format!("headroom.db.broken-{}", NOW_MS + 60_000);
    assert_eq!(fs::read(folder.path().join(aside)).unwrap(), bytes);
    state
        .write(vec![meter("a", "1")], Vec::new())
        .await
        .unwrap();
    assert_eq!(state.files(), 1);
    state.close().unwrap();
    let (_state, again) = open(folder.path());
    assert_eq!(again.meters, [meter("a", "1")]);
    assert_eq!(again.salt, loaded.salt);
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_overwritten_in_place_is_moved_aside() {
    is_moved_aside_while_running(|path| {
        fs::write(path, "a text, long enough ".repeat(9_000)).unwrap();
    })
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_is_cut_in_place_is_moved_aside() {
    for part in [0, 2] {
        is_moved_aside_while_running(|path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            let length = file.metadata().unwrap().len();
            file.set_len(length.checked_div(part).unwrap_or(0)).unwrap();
        })
        .await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn another_headrooms_bytes_in_place_are_moved_aside() {
    let other = filled();
    is_moved_aside_while_running(|path| {
        let opened = fs::metadata(path).unwrap().modified().unwrap();
        fs::copy(other.path().join("headroom.db"), path).unwrap();
        // It has the same header and length. Clocks of file systems are coarse, and this test is fast.
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_modified(opened + Duration::from_secs(1)).unwrap();
    })
    .await;
}

/// What headroom would do itself is no damage.
#[tokio::test]
async fn a_log_that_somebody_else_empties_is_no_damage() {
    let folder = filled();
    let (state, _) = open(folder.path());
    let rows = (0..500).map(|one| meter(&format!("more {one}"), "1"));
    state.write(rows.collect(), Vec::new()).await.unwrap();
    connect(folder.path())
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    state
        .write(vec![meter("a", "1")], Vec::new())
        .await
        .unwrap();
    assert_eq!(state.health(), None);
    state.close().unwrap();
    assert_eq!(open(folder.path()).1.meters.len(), 1_001);
    let names = names(folder.path());
    assert!(!names.iter().any(|name| name.contains("broken")));
}

#[tokio::test]
async fn a_store_that_is_opened_later_gets_nothing_before_it_is_taken_over() {
    let folder = filled();
    let (first, before) = open(folder.path());
    let error = State::open(folder.path(), NOW_MS).unwrap_err();
    let (state, loaded) = State::without_store(folder.path(), &error, NOW_MS).unwrap();
    // What is hashed is the same to both.
    assert_eq!(loaded.salt, before.salt);
    let salt = loaded.salt;
    let write = |partition: &str| state.write(vec![meter(partition, "1")], Vec::new());
    let unkept = write("early").await.unwrap_err();
    assert!(matches!(unkept, WriteError::Unkept(_)), "{unkept}");
    let text =
        "is in use by another headroom; what is counted is kept in memory until it can be opened";
    assert!(state.health().unwrap().ends_with(text));
    let error = state.open_again(folder.path(), salt, NOW_MS).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    first.close().unwrap();

    let (opened, loaded) = state.open_again(folder.path(), salt, NOW_MS).unwrap();
    assert_eq!(loaded.meters.len(), 500);
    let unkept = write("between").await.unwrap_err();
    assert!(matches!(unkept, WriteError::Unkept(_)), "{unkept}");
    // It may be in one batch with what comes before, and is not part of it.
    let between = write("between");
    state.go_on_in(opened).await.unwrap_err();
    between.await.unwrap_err();
    assert!(!state.is_without_store());
    assert_eq!(state.health(), None);
    write("late").await.unwrap();
    state.close().unwrap();
    let found = open(folder.path()).1.meters;
    let new = |row: &&MeterRow| row.partition.parse::<u32>().is_err();
    let new: Vec<_> = found.iter().filter(new).collect();
    assert_eq!((found.len(), new), (501, vec![&meter("late", "1")]));
}
