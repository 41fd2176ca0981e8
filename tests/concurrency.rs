//! Every interleaving that shuttle comes up with: the decision over several meters is all or nothing, never beyond a quota,
//! and no two calls wait for each other.

use std::ops::Deref;
use std::sync::Arc;

use headroom::adapter::parse::parse;
use headroom::adapter::terms::Terms;
use headroom::ledger::cell::{Inner, Outcome, Shared, Want, decide};
use headroom::ledger::meter::{Caller, Meter};
use headroom::ledger::rule::{Rule, Wishes};
use headroom::quota::Mode;
use headroom::time::{Now, Steady};
use shuttle::sync::{Mutex, MutexGuard};
use shuttle::thread;

struct Meters {
    cells: [Locked; 3],
    rules: Vec<Arc<Rule>>,
}

struct Locked(Mutex<Inner>);

impl Shared for Locked {
    type Guard<'a> = MutexGuard<'a, Inner>;

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

/// A cell of the house, as `decide` takes it.
struct Of(Arc<Meters>, usize);

impl Deref for Of {
    type Target = Locked;

    fn deref(&self) -> &Locked {
        &self.0.cells[self.1]
    }
}

const NOW: Now = Now {
    steady: Steady(1 << 40),
    wall_ms: 1_795_262_400_000,
};
const CALLER: Caller = Caller {
    id: 1,
    is_named: false,
};
const QUOTAS: [u64; 3] = [4, 3, 2];

fn meters() -> Arc<Meters> {
    let policies = "name = \"Stub\"\ndocs = [\"https://example.com\"]\n\
        [policy.a]\nquota = 4\nwindow = \"1h\"\nkind = \"fixed\"\n\
        [policy.b]\nquota = 3\nwindow = \"1h\"\nkind = \"rolling\"\n\
        [policy.c]\nunit = \"concurrent-requests\"\nquota = 2\nkind = \"concurrent\"\n";
    let adapter = parse("stub", policies).unwrap();
    let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
    let wishes = Wishes {
        mode: Some(Mode::Enforce),
        ..Wishes::default()
    };
    let rules: Vec<Arc<Rule>> = adapter
        .policies
        .iter()
        .enumerate()
        .map(|(index, policy)| {
            let mut rule = Rule::new(policy, index, &terms, &wishes);
            rule.kept = false;
            Arc::new(rule)
        })
        .collect();
    let cell = |index: usize| {
        let inner = Inner::new(Meter::default(), Arc::clone(&rules[index]));
        Locked(Mutex::new(inner))
    };
    Arc::new(Meters {
        cells: [cell(0), cell(1), cell(2)],
        rules,
    })
}

/// One call that wants one of each of these meters, and gives its permit back.
fn call(meters: &Arc<Meters>, wanted: &[usize]) -> bool {
    let cells: Vec<Of> = wanted
        .iter()
        .map(|index| Of(Arc::clone(meters), *index))
        .collect();
    let wants: Vec<Want<'_>> = wanted
        .iter()
        .map(|index| Want {
            rule: &meters.rules[*index],
            cost: 1,
        })
        .collect();
    let Outcome::Admitted(taken) = decide(&cells, &wants, CALLER, None, NOW) else {
        return false;
    };
    assert_eq!(taken.len(), wanted.len());
    thread::yield_now();
    for (index, taken) in wanted.iter().zip(&taken) {
        let mut inner = meters.cells[*index].lock();
        let standing = inner.meter.standing(&meters.rules[*index], NOW);
        assert!(standing.used <= QUOTAS[*index], "{index}: {standing:?}");
        inner.meter.finish(taken.cost, taken.probe);
        inner.meter.release(&meters.rules[*index], taken);
    }
    true
}

fn calls_side_by_side() {
    let meters = meters();
    // In different orders, so that locks taken in the order of the call would wait for each other.
    let kinds: [&'static [usize]; 5] = [&[0, 1], &[1, 0], &[2, 1, 0], &[0, 2], &[1, 2]];
    let threads: Vec<_> = kinds
        .into_iter()
        .map(|kind| {
            let meters = Arc::clone(&meters);
            thread::spawn(move || (kind, call(&meters, kind), call(&meters, kind)))
        })
        .collect();
    let mut used = [0; 3];
    for thread in threads {
        let (kind, first, second) = thread.join().unwrap();
        for index in kind {
            used[*index] += u64::from(first) + u64::from(second);
        }
    }
    for (index, cell) in meters.cells.iter().enumerate() {
        let mut inner = cell.lock();
        let standing = inner.meter.standing(&meters.rules[index], NOW);
        // A call that one meter refused used nothing of the others; a permit is nobody's once its call is over.
        let expected = if index == 2 { 0 } else { used[index] };
        assert_eq!(standing.used, expected, "meter {index}");
        assert!(expected <= QUOTAS[index]);
    }
}

#[test]
fn no_interleaving_goes_beyond_a_quota_or_waits_for_ever() {
    shuttle::check_random(calls_side_by_side, 1_000);
    shuttle::check_pct(calls_side_by_side, 300, 3);
}
