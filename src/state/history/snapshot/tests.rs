//! Two threads read what one does.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::state::State;
use crate::state::history::{Chunk, Retention, Row, Scan, Series, Sums};

const NOON: i64 = 1_795_348_800;
const MINUTES: i64 = 200;

/// Three series in each of some minutes, all of them in blocks.
fn filled(folder: &Path) -> State {
    let (state, _) = State::open(folder, 0).unwrap();
    let mut chunk = Chunk::default();
    for minute in 0..MINUTES {
        for status in 200..203 {
            let empty: Arc<str> = "".into();
            let series = Series {
                connection: "crm".into(),
                provider: Arc::clone(&empty),
                consumer: Arc::clone(&empty),
                method: Arc::clone(&empty),
                endpoint: Arc::clone(&empty),
                refused_by: Arc::clone(&empty),
                policy: Arc::clone(&empty),
                unit: empty,
                status,
                upstream_status: 0,
            };
            let sums = Sums {
                calls: u64::try_from(minute).unwrap() * 1_000 + u64::from(status),
                ..Sums::default()
            };
            chunk.totals.add(NOON + minute * 60, series.into(), sums);
        }
    }
    state.add_blocking(Arc::new(chunk)).unwrap();
    for _ in 0..MINUTES {
        let retention = Retention {
            over: NOON + MINUTES * 60,
            ..Retention::of_everything()
        };
        state.wait(state.retain(retention)).unwrap();
    }
    state
}

type Found = BTreeMap<(i64, i64), u64>;

fn see(found: &mut Found, start: i64, series: i64, row: Row<'_>) {
    assert_eq!(found.insert((start, series), row.calls()), None);
}

const ALL: Scan = Scan {
    level: 60,
    from: NOON,
    to: NOON + MINUTES * 60,
};

#[test]
fn each_block_is_read_by_one_of_two() {
    let folder = tempfile::tempdir().unwrap();
    let state = filled(folder.path());
    let read = state.read(|snapshot| {
        assert_eq!(snapshot.rolled()?, ALL.to);
        let mut alone = Found::new();
        snapshot.blocks(ALL.level, ALL.from, ALL.to, |start, series, row| {
            see(&mut alone, start, series, row);
        })?;
        let halves = [
            Scan {
                to: NOON + 600,
                ..ALL
            },
            Scan {
                from: NOON + 600,
                ..ALL
            },
        ];
        Ok((
            alone,
            snapshot.share(halves, [Found::new(), Found::new()], see)?,
        ))
    });
    let (alone, [mine, other]) = read.unwrap();
    assert_eq!(alone.len(), usize::try_from(MINUTES).unwrap() * 3);
    // The first waits for nobody, and whoever helps gets what is ahead.
    assert!(!other.is_empty());
    let both = [mine.len(), other.len()].iter().sum::<usize>();
    assert_eq!(both, alone.len());
    assert_eq!(mine.into_iter().chain(other).collect::<Found>(), alone);
}

#[test]
fn a_damaged_block_is_told_whoever_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = filled(folder.path());
    let file = rusqlite::Connection::open(folder.path().join("headroom.db")).unwrap();
    for minute in [0, 1, 2, 3, 4, 5, MINUTES - 1] {
        let start = NOON + minute * 60;
        let damage = |data: &[u8]| {
            let update = "UPDATE blocks SET data = ?1 WHERE level = 60 AND start = ?2";
            assert_eq!(file.execute(update, (data, start)).unwrap(), 1);
        };
        let query = "SELECT data FROM blocks WHERE level = 60 AND start = ?1";
        let good: Vec<u8> = file.query_row(query, [start], |row| row.get(0)).unwrap();
        damage(&[9]);
        let read = state.read(|snapshot| snapshot.share([ALL], [Found::new(), Found::new()], see));
        let error = read.unwrap_err().to_string();
        assert!(error.contains("damaged"), "{minute}: {error}");
        damage(&good);
    }
    let read = state.read(|snapshot| snapshot.share([ALL], [Found::new(), Found::new()], see));
    assert!(read.is_ok());
}
