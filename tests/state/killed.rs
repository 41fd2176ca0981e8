//! `kill -9` in the middle of writing: a child writes and tells what was acknowledged, until it is killed.

#![cfg(unix)]

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::{io, thread};

use super::*;

const FOLDER: &str = "HEADROOM_TEST_STATE_FOLDER";
const CALLERS: usize = 4;

/// The child's part; nothing where no folder is given.
#[test]
fn writes_until_it_is_killed() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let (state, loaded) = open(Path::new(&folder));
    let from = loaded.meters.iter().map(last).max().unwrap_or(0);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let state = &state;
            scope.spawn(move || {
                for number in from + 1.. {
                    // Rows of this caller and one of its own, which is there only with the others.
                    let mut rows = vec![row(&format!("caller {caller}"), number)];
                    rows.push(row(&format!("caller {caller}, {}", number % 50), number));
                    state.write_blocking(rows, Vec::new()).unwrap();
                    let line = format!("acknowledged {caller} {number}\n");
                    io::stderr().lock().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

fn row(partition: &str, number: u64) -> MeterRow {
    MeterRow {
        reserved: number,
        // Long enough for the log to be moved into the main file now and then.
        ..meter(partition, &format!("{number} ").repeat(400))
    }
}

fn last(row: &MeterRow) -> u64 {
    row.reserved
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let folder = folder();
    let mut salt = None;
    // Each time a little later, also behind a checkpoint.
    for lines in [1, 40, 333, 1_500] {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "state::killed::writes_until_it_is_killed",
                "--nocapture",
            ])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut acknowledged = BTreeMap::new();
        let mut read = |line: io::Result<String>| {
            let line = line.unwrap();
            if let Some(line) = line.strip_prefix("acknowledged ") {
                let (caller, number) = line.split_once(' ').unwrap();
                acknowledged.insert(caller.to_owned(), number.parse::<u64>().unwrap());
            }
        };
        output.by_ref().take(lines).for_each(&mut read);
        child.kill().unwrap();
        // What it told before it died.
        output.for_each(&mut read);
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "it ended by itself: {status}");
        assert!(!acknowledged.is_empty());

        let (state, loaded) = open(folder.path());
        assert_eq!(*salt.get_or_insert(loaded.salt), loaded.salt);
        let rows: BTreeMap<_, _> = loaded
            .meters
            .iter()
            .map(|row| (&*row.partition, row))
            .collect();
        for (caller, number) in acknowledged {
            let stored = rows[&*format!("caller {caller}")];
            assert!(
                stored.reserved >= number,
                "{caller}: {number} is lost, {}",
                stored.reserved
            );
            // Whole transactions only.
            let number = stored.reserved;
            let partition = format!("caller {caller}, {}", number % 50);
            assert_eq!(rows[&*partition], &row(&partition, number));
            assert_eq!(stored, &row(&format!("caller {caller}"), number));
        }
        state.close().unwrap();
    }
}
