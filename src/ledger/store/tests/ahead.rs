//! Blocks that are counted before they are needed.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::ledger::meter::Promise;

const CALLER: Caller = Caller {
    id: 1,
    is_named: false,
};

pub(super) fn later(now: Now, millis: u64) -> Now {
    Now {
        steady: now.steady.after(Nanos::from_millis(millis)),
        wall_ms: now.wall_ms + i64::try_from(millis).unwrap(),
    }
}

/// A call that finds its block counted; `None`: it would have to wait.
fn call(store: &Store, cell: &Arc<Cell>, told: Option<Told>, now: Now) -> Option<()> {
    let mut guard = cell.lock();
    let inner = &mut *guard;
    let rule = Arc::clone(&inner.rule);
    if !inner.meter.is_covered(1) {
        return None;
    }
    let taken = inner.meter.take(&rule, 1, CALLER, now);
    if let Some(told) = told {
        inner.meter.observe(&rule, &told, taken.mark, now);
    }
    inner.finish(&taken);
    store.count_on(cell, inner, now);
    Some(())
}

/// All that was handed over is there, and told.
fn committed(store: &Store) {
    let state = store.state.clone().unwrap();
    state.write_blocking(Vec::new(), Vec::new()).unwrap();
}

async fn first(store: &Store, cell: &Arc<Cell>, now: Now) {
    let one = std::iter::once((Arc::clone(cell), 1));
    store.count_ahead(one, now).await;
}

#[tokio::test]
async fn only_the_first_call_waits_for_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = meter(folder.path());
    first(&store, &cell, NOW).await;
    for number in 0..100 {
        call(&store, &cell, None, later(NOW, 1000 * number)).unwrap();
        committed(&store);
    }
    let used = cell.lock().meter.admitted();
    let ahead = cell.lock().meter.ahead();
    let row = stored(&store, folder.path());
    assert_eq!(
        (used, row.reserved),
        (100, ahead + counted_since(&row, used))
    );
    assert!((5..=10).contains(&ahead), "{ahead}");
}

/// What was let through since the row was made.
fn counted_since(row: &MeterRow, admitted: u64) -> u64 {
    let snapshot: serde_json::Value = serde_json::from_slice(&row.data).unwrap();
    admitted - snapshot["used"].as_u64().unwrap()
}

#[tokio::test]
async fn what_is_used_up_fast_is_counted_in_larger_blocks_until_it_is_quiet_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = meter(folder.path());
    first(&store, &cell, NOW).await;
    let mut now = NOW;
    let mut most = 0;
    for _ in 0..2_000 {
        now = later(now, 1);
        call(&store, &cell, None, now).unwrap();
        committed(&store);
        most = most.max(cell.lock().meter.ahead());
    }
    // A 64th of the quota: nobody would put right what is counted too much.
    assert_eq!(most, 100);
    // Where the provider tells what is left: sixteen times the configured block, and no more than an eighth of what is left.
    for (left, expected) in [(6_400, 160), (790, 100)] {
        let (limit, reset_secs) = (Some(6_400), Some(3_600));
        let (mut most, mut left) = (0, left);
        for number in 0..700 {
            now = later(now, 1);
            left = (left - 1).max(790);
            let remaining = Some(left);
            let told = Told {
                limit,
                remaining,
                reset_secs,
            };
            call(&store, &cell, Some(told), now).unwrap();
            committed(&store);
            if number > 350 {
                most = most.max(cell.lock().meter.ahead());
            }
        }
        assert!((expected - 5..=expected).contains(&most), "{most}");
    }
    let is_new = cell.lock().touch();
    assert!(is_new);
    store.touch(&cell);
    let mut rounds = 0;
    while cell.lock().marks.has(Marks::DIRTY) {
        now = later(now, 1_001);
        store.flush(now).await;
        rounds += 1;
    }
    assert!((2..=5).contains(&rounds), "{rounds}");
    assert!(cell.lock().meter.ahead() <= 10);
    assert!(stored(&store, folder.path()).reserved <= 10);
}

#[tokio::test]
async fn small_quotas_are_counted_call_by_call() {
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = meter(folder.path());
    let mut rule = (*cell.lock().rule).clone();
    rule.quota = Some(7 * 64 + 63);
    cell.lock().rule = Arc::new(rule);
    first(&store, &cell, NOW).await;
    for _ in 0..7 {
        call(&store, &cell, None, NOW).unwrap();
        committed(&store);
    }
    assert_eq!(call(&store, &cell, None, NOW), None);
    assert_eq!(stored(&store, folder.path()).reserved, 7);
}

#[tokio::test]
async fn a_store_that_fails_makes_nobody_forget_to_count() {
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = meter(folder.path());
    first(&store, &cell, NOW).await;
    store.state.clone().unwrap().close().unwrap();
    for _ in 0..10 {
        call(&store, &cell, None, NOW).unwrap();
    }
    // The block that was handed over in vain was not taken for counted.
    assert_eq!(call(&store, &cell, None, NOW), None);
    first(&store, &cell, NOW).await;
    call(&store, &cell, None, NOW).unwrap();
}

/// What can happen to a meter and its store.
#[derive(Debug, Clone)]
enum Event {
    /// So many calls.
    Calls(u8),
    /// The provider's word comes with the next calls; or not.
    Told(Option<u16>),
    /// The store is asked for a block, and somebody waits for it.
    Wait,
    /// The store has committed the next row that was handed over, and says so,
    Commit,
    /// or does not say so yet,
    CommitSilently,
    /// or says so now of the oldest of those.
    Say,
    /// A round of writing what has changed.
    Flush,
    /// Time goes on.
    Later(u16),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (1..40_u8).prop_map(Event::Calls),
        1 => proptest::option::of(500..6_400_u16).prop_map(Event::Told),
        2 => Just(Event::Wait),
        3 => Just(Event::Commit),
        1 => Just(Event::CommitSilently),
        1 => Just(Event::Say),
        2 => Just(Event::Flush),
        3 => prop_oneof![1..100_u16, 900..3_000_u16].prop_map(Event::Later),
    ]
}

/// The store as a queue: what of all that was ever let through each row has counted, and who is told of it.
#[derive(Default)]
struct Model {
    on_its_way: VecDeque<(u64, Option<Promise>)>,
    silent: VecDeque<Promise>,
    counted: u64,
}

impl Model {
    fn hand_over(&mut self, inner: &mut Inner, promise: Option<Promise>, now: Now) {
        let ahead = inner.ahead();
        // As a row does.
        let _row = inner.meter.snapshot(&inner.rule, now);
        self.on_its_way
            .push_back((inner.meter.admitted() + ahead, promise));
    }

    fn commit(&mut self) -> Option<Promise> {
        let (counted, promise) = self.on_its_way.pop_front()?;
        self.counted = counted;
        promise
    }
}

proptest! {
    /// Whenever the process is killed, the store has counted every call that was let through.
    #[test]
    fn no_call_goes_that_the_store_has_not_counted(events in vec(event(), 1..200)) {
        let folder = tempfile::tempdir().unwrap();
        let (_, cell) = meter(folder.path());
        let mut inner = cell.lock();
        let rule = Arc::clone(&inner.rule);
        let (mut model, mut now, mut told) = (Model::default(), NOW, None);
        for event in events {
            match event {
                Event::Calls(calls) => {
                    for _ in 0..calls {
                        if !inner.meter.is_covered(1) || inner.meter.check(&rule, 1, CALLER, now).is_err() {
                            break;
                        }
                        let taken = inner.meter.take(&rule, 1, CALLER, now);
                        if let Some(left) = told {
                            let told = Told { limit: Some(6_400), remaining: Some(left), reset_secs: Some(3_600) };
                            inner.meter.observe(&rule, &told, taken.mark, now);
                        }
                        inner.finish(&taken);
                        // As `Store::count_on` does.
                        if let Some(block) = inner.meter.next_block(&rule, now) && !inner.is_promised() {
                            inner.meter.hurry(now);
                            inner.promise(block);
                            let promise = inner.meter.promise(block);
                            model.hand_over(&mut inner, Some(promise), now);
                        }
                        prop_assert!(model.counted >= inner.meter.admitted());
                    }
                }
                Event::Told(left) => told = left.map(u64::from),
                Event::Wait => {
                    let block = inner.meter.block(&rule, 1, now);
                    inner.promise(block);
                    let promise = inner.meter.promise(block);
                    model.hand_over(&mut inner, Some(promise), now);
                }
                Event::Commit => {
                    if let Some(promise) = model.commit() {
                        inner.meter.cover(promise);
                    }
                }
                Event::CommitSilently => {
                    let silent = model.commit();
                    model.silent.extend(silent);
                }
                Event::Say => {
                    if let Some(promise) = model.silent.pop_front() {
                        inner.meter.cover(promise);
                    }
                }
                Event::Flush => {
                    inner.relax(now);
                    model.hand_over(&mut inner, None, now);
                }
                Event::Later(millis) => now = later(now, u64::from(millis)),
            }
            // A window is an hour: rows of the same one.
            prop_assert!(model.counted >= inner.meter.admitted(), "{} of {}", model.counted, inner.meter.admitted());
        }
    }
}
