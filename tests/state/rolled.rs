//! `kill -9` while minutes become blocks: totals of each length hold the same, and nothing acknowledged is missing or twice.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use headroom::state::history::{Chunk, LEVELS, Retention, Series, SeriesRef, Sums};

use super::*;

const FOLDER: &str = "HEADROOM_TEST_ROLLED_FOLDER";
const NOON: i64 = 1_795_348_800;

/// Sums of the call with this number: a minute of its own, and one of two that all share.
fn chunk(number: i64) -> Chunk {
    let series = |endpoint: &str| {
        SeriesRef::from(Series {
            connection: "crm".into(),
            provider: "hubspot".into(),
            consumer: "reports".into(),
            method: "GET".into(),
            endpoint: endpoint.into(),
            status: 200,
            upstream_status: 0,
            refused_by: "".into(),
            policy: "".into(),
            unit: "".into(),
        })
    };
    let one = Sums {
        calls: 1,
        ..Sums::default()
    };
    let own = (NOON + number * 60, series("/own"), one);
    let late = (NOON + number % 2 * 60, series("/late"), one);
    Chunk {
        totals: [own, late].into_iter().collect(),
        ..Chunk::default()
    }
}

/// Nothing goes; everything that is over becomes blocks.
fn retention(over: i64) -> Retention {
    Retention {
        over,
        totals_before: [i64::MIN; LEVELS.len()],
        events_before_ms: i64::MIN,
        max_events: u64::MAX,
        max_bytes: u64::MAX,
        thorough: false,
    }
}

/// The child's part; nothing where no folder is given.
#[test]
fn rolls_until_it_is_killed() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let (state, _) = open(Path::new(&folder));
    let written = calls(&state, 60).values().sum::<u64>() / 2;
    for number in i64::try_from(written).unwrap().. {
        state.add_blocking(Arc::new(chunk(number))).unwrap();
        drop(state.retain(retention(NOON + number * 60)));
        let line = format!("acknowledged {number}\n");
        std::io::stderr().lock().write_all(line.as_bytes()).unwrap();
    }
}

/// Calls by the start of their period of a level.
fn calls(state: &State, level: i64) -> BTreeMap<i64, u64> {
    let mut found = BTreeMap::new();
    let all = state.read(|snapshot| {
        snapshot.totals(level, i64::MIN, i64::MAX, |start, _, sums| {
            *found.entry(start).or_default() += sums.calls;
        })
    });
    all.unwrap();
    found
}

#[test]
fn a_kill_between_minutes_and_blocks_leaves_all_levels_alike() {
    let folder = folder();
    for lines in [12, 40, 150] {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "state::rolled::rolls_until_it_is_killed",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stderr.take().unwrap()).lines();
        let numbers = output.map_while(Result::ok).filter_map(|line| {
            let number = line.strip_prefix("acknowledged ")?;
            number.parse::<i64>().ok()
        });
        let mut numbers = numbers.fuse();
        let mut last = numbers.by_ref().take(lines).last().unwrap();
        child.kill().unwrap();
        // What it told before it died.
        last = numbers.last().unwrap_or(last);
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "it ended by itself: {status}");

        let (state, _) = open(folder.path());
        let minutes = calls(&state, 60);
        let written = i64::try_from(minutes.values().sum::<u64>()).unwrap() / 2;
        assert!(written > last, "{last} is lost: {written}");
        let mut expected = BTreeMap::new();
        for number in 0..written {
            for total in &chunk(number).totals {
                *expected.entry(total.start).or_default() += 1;
            }
        }
        assert_eq!(minutes, expected);
        for level in LEVELS {
            let mut longer = BTreeMap::new();
            for (start, calls) in &expected {
                *longer.entry(start - start.rem_euclid(level)).or_default() += calls;
            }
            assert_eq!(calls(&state, level), longer, "{level}");
        }
        let rolled = state.read(|snapshot| snapshot.rolled()).unwrap();
        assert!(rolled > NOON, "nothing became a block");
        state.close().unwrap();
    }
}
