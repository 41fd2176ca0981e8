//! Rows of a meter that arrive while others of it are on their way.

mod ahead;
mod said;

use std::pin::pin;

use tokio::time::timeout;

use super::*;
use crate::adapter::parse::parse;
use crate::adapter::terms::Terms;
use crate::ledger::account::Account;
use crate::ledger::meter::{Caller, Refusal, Told};
use crate::ledger::rule::Wishes;
use crate::ledger::time::Steady;
use crate::state::WriteError;

const NOW: Now = Now {
    steady: Steady(1 << 56),
    wall_ms: 1_800_000_000_000,
};

/// A meter of an hour, in a ledger with a store in this folder.
fn meter(folder: &std::path::Path) -> (Arc<Store>, Arc<Cell>) {
    meter_of(folder, "1h")
}

fn meter_of(folder: &std::path::Path, window: &str) -> (Arc<Store>, Arc<Cell>) {
    meter_with(folder, &format!("window = \"{window}\"\nkind = \"fixed\""))
}

/// A meter of a window of this kind.
fn meter_with(folder: &std::path::Path, kind: &str) -> (Arc<Store>, Arc<Cell>) {
    let stub = r#"
        name = "Stub"
        docs = ["https://example.com"]
        base_url = "https://example.com"

        [policy.hourly]
        quota = 6400
        "#;
    let adapter = parse("stub", &format!("{stub}{kind}")).unwrap();
    let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
    let wishes = |_: &str| Wishes {
        block: 10,
        ..Wishes::default()
    };
    let account = Account::new("a", "https://b", &adapter, &terms, &wishes, 1);
    let account = Arc::new(account);
    let rule = Arc::clone(&account.rules[0]);
    let (store, _) = Store::new(Some(State::open(folder, NOW.wall_ms).unwrap()));
    let store = Arc::new(store);
    let label = String::new();
    let cell = Cell::new(&account, label, true, Meter::default(), &rule);
    (store, Arc::new(cell))
}

/// What the store has of the only meter, as a killed process would leave it.
fn stored(store: &Store, folder: &std::path::Path) -> MeterRow {
    store.state.clone().unwrap().close().unwrap();
    let (state, mut loaded) = State::open(folder, NOW.wall_ms).unwrap();
    state.close().unwrap();
    assert_eq!(loaded.meters.len(), 1);
    loaded.meters.remove(0)
}

#[tokio::test]
async fn what_is_counted_ahead_is_not_taken_back_while_it_is_on_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = meter(folder.path());
    {
        let one = std::iter::once((Arc::clone(&cell), 1));
        let mut ahead = pin!(store.count_ahead(one, NOW));
        // Handed over, and as a rule nobody has heard yet that it is there.
        let is_there = tokio::select! {
            biased;
            () = &mut ahead => true,
            () = std::future::ready(()) => false,
        };
        store.touch(&cell);
        store.flush(NOW).await;
        if !is_there {
            ahead.await;
        }
    }
    let mut inner = cell.lock();
    assert!(inner.meter.is_covered(10));
    for _ in 0..10 {
        let rule = Arc::clone(&inner.rule);
        let caller = Caller {
            id: 1,
            is_named: false,
        };
        inner.meter.take(&rule, 1, caller, NOW);
    }
    drop(inner);
    assert_eq!(stored(&store, folder.path()).reserved, 10);
}

#[tokio::test]
async fn who_goes_away_while_it_is_counted_ahead_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = meter(folder.path());
    let one = || std::iter::once((Arc::clone(&cell), 1));
    tokio::select! {
        biased;
        () = store.count_ahead(one(), NOW) => {}
        () = std::future::ready(()) => {}
    }
    store.count_ahead(one(), NOW).await;
    assert!(cell.lock().meter.is_covered(10));
    assert_eq!(stored(&store, folder.path()).reserved, 10);
}

#[tokio::test]
async fn a_meter_that_was_forgotten_does_not_write_over_the_one_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let (store, old) = meter(folder.path());
    let account = Arc::clone(&old.account);
    let rule = Arc::clone(&old.lock().rule);
    let label = String::new();
    let new = Cell::new(&account, label, true, Meter::default(), &rule);
    store
        .count_ahead(std::iter::once((Arc::new(new), 1)), NOW)
        .await;
    old.lock().marks.put(Marks::DEAD);
    store.touch(&old);
    store.flush(NOW).await;
    assert_eq!(stored(&store, folder.path()).reserved, 10);
}

#[tokio::test]
async fn what_could_not_be_written_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = meter(folder.path());
    let touch = || {
        let is_new = cell.lock().touch();
        assert!(is_new);
        store.touch(&cell);
    };
    touch();
    store.flush(NOW).await;
    assert!(!cell.lock().marks.has(Marks::DIRTY) && store.dirty.lock().unwrap().is_empty());
    // A store that takes nothing, as one whose disk is full.
    store.state.clone().unwrap().close().unwrap();
    touch();
    for _ in 0..3 {
        store.flush(NOW).await;
        assert!(cell.lock().marks.has(Marks::DIRTY));
        assert_eq!(store.dirty.lock().unwrap().len(), 1);
    }
}

/// Somebody who has the file for themselves: writes neither work nor fail, until they give up.
fn hold(folder: &std::path::Path) -> rusqlite::Connection {
    let other = rusqlite::Connection::open(folder.join("headroom.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    other
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_holds_no_call_and_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = meter(folder.path());
    let one = || std::iter::once((Arc::clone(&cell), 1));
    let other = hold(folder.path());
    // The clock goes on by itself while nothing happens; the store waits on the true one.
    let moment = Duration::from_millis(2);
    let ahead = store.count_ahead(one(), NOW);
    timeout(PATIENCE + moment, ahead).await.unwrap();
    assert!(cell.lock().meter.is_covered(10));
    let health = store.health().unwrap();
    assert!(health.contains("in time"), "{health}");
    // Nobody else waits for the same.
    let ahead = store.count_ahead(one(), NOW);
    timeout(Duration::ZERO, ahead).await.unwrap();
    // The round goes on too, and forgets nothing.
    let is_new = cell.lock().touch();
    assert!(is_new);
    store.touch(&cell);
    let flush = store.flush(NOW);
    timeout(LONG_PATIENCE + moment, flush).await.unwrap();
    assert!(cell.lock().marks.has(Marks::DIRTY));
    assert!(store.health().is_some());

    other.execute_batch("ROLLBACK").unwrap();
    let state = store.state.clone().unwrap();
    state.write_blocking(Vec::new(), Vec::new()).unwrap();
    assert_eq!(store.health(), None);
    // What it waits for now really happens.
    tokio::time::resume();
    store.flush(NOW).await;
    assert!(!cell.lock().marks.has(Marks::DIRTY));
    assert_eq!(stored(&store, folder.path()).reserved, 10);
}

/// The provider asks to wait for 15 minutes, and the store has it at once.
fn suspended(store: &Store, cell: &Arc<Cell>) {
    let mut guard = cell.lock();
    let inner = &mut *guard;
    let refusal = Refusal {
        wait_secs: Some(900),
        random: 0,
    };
    inner.meter.refused(&inner.rule, &refusal, NOW);
    store.keep(cell, inner, NOW);
}

/// The probe, 15 minutes later: the provider is open.
fn opened(store: &Store, cell: &Arc<Cell>) -> Now {
    let now = Now {
        steady: NOW.steady.after(Nanos::from_secs(901)),
        wall_ms: NOW.wall_ms + 901_000,
    };
    let mut inner = cell.lock();
    let rule = Arc::clone(&inner.rule);
    let caller = Caller {
        id: 1,
        is_named: false,
    };
    let taken = inner.meter.take(&rule, 1, caller, now);
    assert!(taken.probe);
    inner.meter.opened(taken.probe);
    inner.finish(&taken);
    let is_new = inner.touch();
    drop(inner);
    if is_new {
        store.touch(cell);
    }
    now
}

/// The state of the meter in the next process, whose clock was set back into the suspension.
fn is_held_again(row: &MeterRow, rule: &Rule) -> bool {
    let snapshot = serde_json::from_slice::<Snapshot>(&row.data).unwrap();
    Meter::restore(rule, &snapshot, row.reserved, NOW).is_held()
}

#[tokio::test]
async fn a_suspension_of_a_short_window_that_is_over_is_over_in_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = meter_of(folder.path(), "1s");
    let rule = Arc::clone(&cell.lock().rule);
    suspended(&store, &cell);
    let now = opened(&store, &cell);
    store.flush(now).await;
    let row = stored(&store, folder.path());
    assert!(!is_held_again(&row, &rule));
    // It is as short as it was: nothing of it is written any more.
    assert!(!cell.lock().touch());
}

#[tokio::test]
async fn a_stored_suspension_of_a_short_window_is_over_in_the_store_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = meter_of(folder.path(), "1s");
    let rule = Arc::clone(&cell.lock().rule);
    suspended(&store, &cell);
    let row = stored(&store, folder.path());
    assert!(is_held_again(&row, &rule));
    let loaded = State::open(folder.path(), NOW.wall_ms).unwrap();
    let (store, _) = Store::new(Some(loaded));
    let meter = store.take_kept(&cell.account.identity, &rule, "", NOW);
    let label = String::new();
    let cell = Arc::new(Cell::new(&cell.account, label, true, meter.unwrap(), &rule));
    let now = opened(&store, &cell);
    store.flush(now).await;
    let row = stored(&store, folder.path());
    assert!(!is_held_again(&row, &rule));
}

#[tokio::test]
async fn an_open_row_that_could_not_be_written_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = meter_of(folder.path(), "1s");
    suspended(&store, &cell);
    store.state.clone().unwrap().close().unwrap();
    let now = opened(&store, &cell);
    for _ in 0..3 {
        store.flush(now).await;
        assert_eq!(store.dirty.lock().unwrap().len(), 1);
    }
}

#[test]
fn a_disk_that_hangs_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (_, cell) = meter(folder.path());
    let folder = tempfile::tempdir().unwrap();
    let moment = Duration::from_millis(10);
    let hanging = State::on_a_hanging_disk(folder.path(), moment);
    let state = hanging.0.clone();
    let (store, _) = Store::new(Some(hanging));
    let other = hold(folder.path());
    let row = std::iter::once;
    store.close(row(Arc::clone(&cell)), NOW);
    let written = state.write(Vec::new(), Vec::new());
    assert_eq!(state.wait(written), Err(WriteError::Hangs));
    assert_eq!(state.clone().close(), Err(WriteError::Hangs));

    // Where it only took long, nothing is lost.
    other.execute_batch("ROLLBACK").unwrap();
    drop((store, state));
    let loaded = std::iter::repeat_with(|| State::open(folder.path(), NOW.wall_ms));
    let (_, loaded) = loaded.flatten().next().unwrap();
    assert_eq!(loaded.meters.len(), 1);
}

/// Calls one after the other, each of which is told that the window is over. How many of them waited for the store.
async fn waits(store: &Arc<Store>, cell: &Arc<Cell>, told: &Told, calls: usize) -> usize {
    let rule = Arc::clone(&cell.lock().rule);
    let caller = Caller {
        id: 1,
        is_named: false,
    };
    let mut waits = 0;
    for _ in 0..calls {
        let is_covered = {
            let mut inner = cell.lock();
            inner.meter.check(&rule, 1, caller, NOW).unwrap();
            inner.meter.is_covered(1)
        };
        if !is_covered {
            waits += 1;
            store
                .count_ahead(std::iter::once((Arc::clone(cell), 1)), NOW)
                .await;
        }
        let mut inner = cell.lock();
        assert!(inner.meter.is_covered(1));
        let taken = inner.meter.take(&rule, 1, caller, NOW);
        inner.meter.observe(&rule, told, taken.mark, NOW);
        inner.finish(&taken);
    }
    waits
}

#[tokio::test]
async fn a_new_window_is_waited_for_only_where_nobody_would_put_its_count_right() {
    let over = |remaining| Told {
        limit: Some(6400),
        remaining,
        reset_secs: Some(0),
    };
    // Without what is left the next answer corrects nothing: each window is in the store before its first call.
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = meter(folder.path());
    assert_eq!(waits(&store, &cell, &over(None), 50).await, 50);
    // The first window is not known to be corrected; then a block is waited for after each ten calls.
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = meter(folder.path());
    assert_eq!(waits(&store, &cell, &over(Some(6000)), 50).await, 5);
    // What was let through is in the store with the next flush, and what is left of the block is counted ahead.
    let is_new = cell.lock().touch();
    assert!(is_new);
    store.touch(&cell);
    store.flush(NOW).await;
    let ahead = cell.lock().meter.ahead();
    assert_eq!(stored(&store, folder.path()).reserved, ahead);
}
