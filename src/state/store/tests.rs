//! What a full disk does. The largest number of pages stands in for the disk.

use super::*;
use crate::state::{MeterKey, State, WriteError};

fn row(partition: usize) -> MeterRow {
    MeterRow {
        account: "account".into(),
        policy: "policy".into(),
        partition: partition.to_string(),
        reserved: 1,
        ends_ms: 1_000,
        data: vec![7; 1_000],
    }
}

fn key(partition: usize) -> MeterKey {
    let MeterRow {
        account,
        policy,
        partition,
        ..
    } = row(partition);
    MeterKey {
        account,
        policy,
        partition,
    }
}

impl Store {
    /// From now on the disk is full when the file has so many pages.
    pub(in crate::state) fn limit(&self, pages: u32) {
        let connection = self.connection.as_ref().unwrap();
        connection
            .pragma_update(None, "max_page_count", pages)
            .unwrap();
    }

    /// From now on whoever has the file is waited for as for a disk that hangs.
    pub(in crate::state) fn hang(&self) {
        let connection = self.connection.as_ref().unwrap();
        connection.busy_timeout(Duration::from_secs(3_600)).unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(Folder::lock(folder.path()).unwrap(), [1; SALT], 0).unwrap();
    store.limit(40);
    let state = State::start(store).unwrap();

    let mut written = 0;
    let error = loop {
        match state.write(vec![row(written)], Vec::new()).await {
            Ok(()) if written < 1_000 => written += 1,
            Ok(()) => panic!("a full disk takes everything"),
            Err(error) => break error,
        }
    };
    assert!(written > 10, "{written}");
    let WriteError::Failed(reason) = error else {
        panic!("{error}");
    };
    assert!(
        reason.ends_with("headroom.db` cannot be used: database or disk is full"),
        "{reason}"
    );
    assert_eq!(state.health().as_deref(), Some(&*reason));
    // Still full, and nothing worse.
    let again = state.write(vec![row(written)], Vec::new()).await;
    assert_eq!(again, Err(WriteError::Failed(reason)));

    let removed: Vec<_> = (0..10).map(key).collect();
    state.remove(removed, Vec::new()).await.unwrap();
    assert_eq!(state.health(), None);
    state.write(vec![row(written)], Vec::new()).await.unwrap();
    state.close().unwrap();

    let (_state, loaded) = State::open(folder.path(), 0).unwrap();
    assert_eq!(loaded.meters.len(), written + 1 - 10);
    assert!(loaded.warnings.is_empty());
}

/// The version before totals and events were blocks.
#[test]
fn a_file_of_rows_opens_and_goes_on_with_blocks() {
    const ROWS: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let old = Connection::open(folder.path().join("headroom.db")).unwrap();
    for step in &STEPS[..ROWS] {
        old.execute_batch(step).unwrap();
    }
    old.pragma_update(None, "user_version", 4).unwrap();
    old.execute_batch(
        "INSERT INTO series VALUES (1, 'crm', 'hubspot', 'reports', 'GET', '/a', 200, 0, '', '', '');
         INSERT INTO totals VALUES (60, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
         INSERT INTO events VALUES (7, 0, 1, 'complete', '', '[]', 0, 0, 0, 0, 0);
         INSERT INTO forgotten VALUES (60, 60);
         INSERT INTO learned VALUES ('account', 'scope', 'from', 'to', 1);",
    )
    .unwrap();
    drop(old);

    let (state, loaded) = State::open(folder.path(), 0).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.learned.len(), 1);
    let looked = state.read(|snapshot| {
        let mut found = 0;
        for level in history::LEVELS {
            snapshot.totals(level, i64::MIN, i64::MAX, |_, _, _| found += 1)?;
        }
        Ok((found, snapshot.last_event()?, snapshot.forgotten(60)?))
    });
    assert_eq!(looked, Ok((0, 0, None)));
    let dictionary = state.read(|snapshot| snapshot.dictionary()).unwrap();
    assert_eq!(dictionary.series(), []);
}
