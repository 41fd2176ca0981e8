//! Rows that are not written anew, because those that are there are as good.

use proptest::collection::vec;
use proptest::prelude::*;

use super::ahead::later;
use super::*;
use crate::ledger::cell::AT_REST;
use crate::ledger::meter::{Standing, Taken};

const CALLER: Caller = Caller {
    id: 7,
    is_named: true,
};

/// What a process that is killed now leaves behind: the last row that was written.
struct Kept {
    snapshot: Snapshot,
    ahead: u64,
    /// Windows that were over then.
    turns: u32,
}

impl Kept {
    fn row(inner: &mut Inner, now: Now) -> Self {
        let ahead = inner.ahead();
        let snapshot = inner.meter.snapshot(&inner.rule, now);
        Self {
            snapshot,
            ahead,
            turns: inner.meter.turns(),
        }
    }

    /// What the next process makes of it.
    fn standing(&self, rule: &Rule, now: Now) -> Standing {
        Meter::restore(rule, &self.snapshot, self.ahead, now).standing(rule, now)
    }
}

/// What happens to one meter.
#[derive(Debug, Clone)]
enum Event {
    /// A call of this cost, and what becomes of it.
    Call(u64, End),
    /// The block after the next is counted before it is needed.
    Block,
    /// A round of writing what has changed.
    Flush,
    /// Nothing can be written in this round.
    FailedFlush,
    /// Time goes on, by milliseconds.
    Later(u64),
    /// The configuration is read again, and this is the quota.
    Quota(u64),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Silent,
    /// It was sent twice.
    Repeated,
    /// It was never sent.
    Unsent,
    /// The answer tells what it cost.
    Cost(u64),
    /// The answer tells what is left.
    Left(u64),
    /// The provider asks to wait.
    Refused,
}

fn event() -> impl Strategy<Value = Event> {
    // A block is 10.
    let cost = prop_oneof![4 => 0..4_u64, 1 => 0..25_u64];
    let end = prop_oneof![
        12 => Just(End::Silent),
        1 => Just(End::Repeated),
        1 => Just(End::Unsent),
        1 => (0..25_u64).prop_map(End::Cost),
    ];
    let word = prop_oneof![(500..6_000_u64).prop_map(End::Left), Just(End::Refused)];
    prop_oneof![
        12 => (cost, end).prop_map(|(cost, end)| Event::Call(cost, end)),
        // Rare: from then on the provider has had its say.
        1 => word.prop_map(|end| Event::Call(1, end)),
        2 => Just(Event::Block),
        6 => Just(Event::Flush),
        1 => Just(Event::FailedFlush),
        4 => prop_oneof![1..500_u64, 60_000..400_000_u64].prop_map(|later| Event::Later(10 * later)),
        1 => (6_400..12_800_u64).prop_map(Event::Quota),
    ]
}

/// As the store and a ticket do it; each row is there as soon as it is made.
fn happen(inner: &mut Inner, kept: &mut Option<Kept>, event: &Event, now: Now) {
    let rule = Arc::clone(&inner.rule);
    match *event {
        Event::Call(cost, end) => {
            if inner.meter.check(&rule, cost, CALLER, now).is_err() {
                return;
            }
            if !inner.meter.is_covered(cost) {
                let block = inner.meter.block(&rule, cost, now);
                inner.promise(block);
                *kept = Some(Kept::row(inner, now));
                let promise = inner.meter.promise(block);
                inner.meter.cover(promise);
            }
            let taken = inner.meter.take(&rule, cost, CALLER, now);
            answer(inner, &rule, &taken, end, now);
            inner.touch();
        }
        Event::Block => {
            let Some(block) = inner.meter.next_block(&rule, now) else {
                return;
            };
            inner.meter.hurry(now);
            inner.promise(block);
            *kept = Some(Kept::row(inner, now));
            let promise = inner.meter.promise(block);
            inner.meter.cover(promise);
            inner.touch();
        }
        Event::Flush | Event::FailedFlush => {
            if !inner.marks.has(Marks::DIRTY) {
                return;
            }
            inner.marks.take(Marks::DIRTY);
            if inner.relax(now) {
                inner.touch_again();
            }
            let row = Kept::row(inner, now);
            inner.say();
            if matches!(event, Event::Flush) {
                *kept = Some(row);
            } else {
                inner.touch_again();
            }
        }
        Event::Quota(quota) => {
            let mut rule = Rule::clone(&rule);
            rule.quota = Some(quota);
            rule.generation += 1;
            inner.put_rule(&Arc::new(rule), now);
            inner.touch();
        }
        Event::Later(_) => {}
    }
}

fn answer(inner: &mut Inner, rule: &Rule, taken: &Taken, end: End, now: Now) {
    let mut taken = *taken;
    let meter = &mut inner.meter;
    match end {
        End::Repeated => taken = meter.take_again(rule, &taken, now),
        End::Unsent => meter.refund(rule, &taken, now),
        End::Refused => {
            let refusal = Refusal {
                wait_secs: Some(900),
                random: 0,
            };
            meter.refused(rule, &refusal, now);
        }
        End::Silent | End::Cost(_) | End::Left(_) => {
            meter.arrived(rule, &taken, now);
            meter.opened(taken.probe);
        }
    }
    match end {
        End::Left(left) => {
            let told = Told {
                limit: None,
                remaining: Some(left),
                reset_secs: None,
            };
            meter.observe(rule, &told, taken.mark, now);
        }
        End::Cost(cost) => meter.charge(rule, &taken, cost, now),
        _ => {}
    }
    inner.finish(&taken);
}

/// The same, but for who used it, and for clocks of different grain.
fn alike(one: &Standing, other: &Standing) -> bool {
    let reset = |standing: &Standing| standing.reset.map(|at| at.0 / 1_000_000);
    let apart = match (reset(one), reset(other)) {
        (Some(one), Some(other)) => one.abs_diff(other),
        (one, other) => u64::from(one != other) * u64::MAX,
    };
    let told = |standing: &Standing| Standing {
        reset: None,
        suspended: standing.suspended.map(|_| NOW.steady),
        ..*standing
    };
    apart <= 2 && told(one) == told(other)
}

/// Kinds of windows, as adapters write them.
const KINDS: [&str; 5] = [
    "window = \"1h\"\nkind = \"fixed\"",
    "window = \"day\"\nkind = \"clock\"\ntime_zone = \"Europe/Berlin\"",
    "kind = \"fixed\"",
    "window = \"1h\"\nkind = \"rolling\"",
    "window = \"1h\"\nkind = \"bucket\"",
];

proptest! {
    /// Whenever nothing of a meter waits to be written, a process that is killed leaves as much behind as if the row had
    /// been made just now.
    #[test]
    fn what_is_not_written_is_said_by_the_row_that_is_there(
        kind in 0..KINDS.len(),
        events in vec(event(), 1..80),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let (_, cell) = meter_with(folder.path(), KINDS[kind]);
        let mut inner = cell.lock();
        let (mut kept, mut now) = (None, NOW);
        for event in events {
            if let Event::Later(millis) = event {
                now = later(now, millis);
            }
            happen(&mut inner, &mut kept, &event, now);
            if inner.marks.has(Marks::DIRTY) {
                continue;
            }
            if let Some(kept) = &kept {
                let rule = Arc::clone(&inner.rule);
                if inner.meter.standing(&rule, now).used == 0 && inner.meter.turns() != kept.turns {
                    // The window that it speaks of is over.
                    continue;
                }
                // A little later: what ends at this very millisecond is not what is asked for.
                let then = later(now, 5);
                let found = kept.standing(&rule, then);
                let fresh = Kept::row(&mut inner, now).standing(&rule, then);
                prop_assert!(alike(&found, &fresh), "{event:?}: {found:?} is not {fresh:?}");
            }
        }
    }
}

/// A call that finds its block counted, and is answered.
fn call(store: &Store, cell: &Arc<Cell>, now: Now) {
    let mut inner = cell.lock();
    let rule = Arc::clone(&inner.rule);
    assert!(inner.meter.is_covered(1));
    let taken = inner.meter.take(&rule, 1, CALLER, now);
    inner.finish(&taken);
    let is_new = inner.touch();
    drop(inner);
    if is_new {
        store.touch(cell);
    }
}

/// A meter that has let a call through: its row is of before the window began, so it waits to be written.
async fn called(folder: &std::path::Path) -> (Arc<Store>, Arc<Cell>) {
    let (store, cell) = meter(folder);
    let one = std::iter::once((Arc::clone(&cell), 1));
    store.count_ahead(one, NOW).await;
    call(&store, &cell, NOW);
    assert_eq!(waiting(&store), 1);
    (store, cell)
}

/// How many meters wait to be written.
fn waiting(store: &Store) -> usize {
    store.dirty.lock().unwrap().len()
}

#[tokio::test]
async fn calls_of_a_block_that_is_counted_write_nothing_until_it_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = called(folder.path()).await;
    store.flush(NOW).await;
    for _ in 0..4 {
        call(&store, &cell, NOW);
        assert_eq!(waiting(&store), 0);
    }
    // After so many sweeps without a call.
    for sweeps in 1..AT_REST + 5 {
        let mut inner = cell.lock();
        assert!(!inner.is_over(NOW));
        assert_eq!(inner.is_to_be_told(), sweeps >= AT_REST);
    }
    assert!(cell.lock().touch_again());
    store.touch(&cell);
    store.flush(NOW).await;
    let row = stored(&store, folder.path());
    let data: serde_json::Value = serde_json::from_slice(&row.data).unwrap();
    assert_eq!((&data["used"], row.reserved), (&5.into(), 5));
    // Who has called is told as well.
    assert_eq!(data["who"], serde_json::json!([[7, 5]]));
    // And once.
    let mut inner = cell.lock();
    assert!(!inner.is_over(NOW));
    assert!(!inner.is_to_be_told());
}

#[tokio::test]
async fn what_was_said_in_vain_is_said_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, cell) = called(folder.path()).await;
    store.state.clone().unwrap().close().unwrap();
    store.flush(NOW).await;
    assert_eq!(waiting(&store), 1);
    assert!(cell.lock().marks.has(Marks::DIRTY));
}
