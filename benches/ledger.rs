//! One decision beside the bare `moka` lookup that it stands on, in the same run: `cargo bench --bench ledger`.
//!
//! Then what a million meters and ten thousand waiting calls take of memory.
//!
//! The floor is `get`, as anybody would call it. The ledger finds its meters without `get`'s log of reads (`slot`), so a
//! decision can cost less than the floor.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "support/ratio.rs"]
mod ratio;

use std::hash::BuildHasherDefault;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use headroom::adapter::parse::parse;
use headroom::adapter::terms::Terms;
use headroom::clock;
use headroom::ledger::account::Account;
use headroom::ledger::meter::{Caller, Meter};
use headroom::ledger::rule::{Rule, Wishes};
use headroom::ledger::{Demand, Item, KeyHasher, Ledger, Settings};
use headroom::quota::Mode;
use headroom::time::{Nanos, Now};
use moka::sync::Cache;
use ratio::{ROUNDS, median, ratio, took};
use smallvec::smallvec;

const MILLION: u128 = 1_000_000;
const CALLER: Caller = Caller {
    id: 1,
    is_named: false,
};

struct Bench {
    ledger: Arc<Ledger>,
    account: Arc<Account>,
    moka: Cache<u128, Arc<u64>, BuildHasherDefault<KeyHasher>>,
    now: Now,
}

/// Keys are hashes, so neighbours lie far apart.
const fn key(number: u128) -> u128 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

impl Bench {
    fn new(policy: &str) -> Self {
        let source = format!("name = \"Stub\"\ndocs = [\"https://example.com\"]\n{policy}");
        let adapter = parse("stub", &source).unwrap();
        let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
        let wishes = |_: &str| Wishes {
            mode: Some(Mode::Enforce),
            ..Wishes::default()
        };
        let settings = Settings {
            max_strangers: 2_000_000,
            max_residents: 2_000_000,
        };
        let account = Account::new("stub", "http://stub", &adapter, &terms, &wishes, 20_000);
        Self {
            ledger: Arc::new(Ledger::new(settings, None)),
            account: Arc::new(account),
            moka: Cache::builder().build_with_hasher(BuildHasherDefault::default()),
            now: clock::moment(),
        }
    }

    fn demand(&self, number: u128) -> Demand<'_> {
        Demand {
            account: &self.account,
            items: smallvec![Item {
                policy: 0,
                key: key(number),
                shared: key(number),
                cost: 1,
            }],
            label: &|_| String::new(),
            caller: CALLER,
            is_resident: true,
            urgency: 3,
            patience: None,
            mode_patience: Duration::ZERO,
        }
    }

    /// The decision alone: what the call gives back when it ends is forgotten.
    fn decide(&self, number: u128) {
        let demand = self.demand(number);
        let attempt = self.ledger.try_admit(&demand, None, self.now);
        std::mem::forget(black_box(attempt));
    }

    /// With the giving back of a call that never got an answer.
    fn decide_and_end(&self, number: u128) {
        let demand = self.demand(number);
        drop(black_box(self.ledger.try_admit(&demand, None, self.now)));
    }

    fn look_up(&self, number: u128) {
        black_box(self.moka.get(&key(number)));
    }
}

/// Nanoseconds for one of `count` calls.
fn time(count: u128, call: impl FnMut(u128)) -> f64 {
    took(|| (0..count).for_each(call)).as_secs_f64() * 1e9 / count as f64
}

/// Both for so many calls.
fn ratio_of(name: &str, wanted: &str, count: u128, floor: impl Fn(u128), own: impl Fn(u128)) {
    let (floor, own) = (|| time(count, &floor), || time(count, &own));
    ratio(name, &format!("wanted {wanted}"), floor, own);
}

/// Resident memory of this process in bytes.
fn resident() -> f64 {
    let pages: f64 = std::fs::read_to_string("/proc/self/statm")
        .unwrap()
        .split(' ')
        .nth(1)
        .unwrap()
        .parse()
        .unwrap();
    pages * 4_096.0
}

const FIXED: &str = "[policy.day]\nquota = 1000000000000\nwindow = \"1m\"\nkind = \"fixed\"\n";

fn main() {
    let bench = Bench::new(FIXED);
    bench.moka.insert(key(0), Arc::new(0));
    ratio_of(
        "one meter, hot",
        "<= 1.3",
        20_000,
        |_| bench.look_up(0),
        |_| bench.decide(0),
    );
    ratio_of(
        "one meter, hot, until the call's end",
        "no more than told",
        20_000,
        |_| bench.look_up(0),
        |_| bench.decide_and_end(0),
    );

    let source = format!("name = \"Stub\"\ndocs = [\"https://example.com\"]\n{FIXED}");
    let adapter = parse("stub", &source).unwrap();
    let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
    let rule = Rule::new(&adapter.policies[0], 0, &terms, &Wishes::default());
    let meter = std::cell::RefCell::new(Meter::default());
    let arithmetic = (0..ROUNDS).map(|_| {
        time(100_000, |number| {
            let mut meter = meter.borrow_mut();
            let step = Nanos(u64::try_from(number).unwrap());
            let now = Now {
                steady: bench.now.steady.after(step),
                ..bench.now
            };
            let fits = meter.check(&rule, 1, CALLER, now).is_ok();
            black_box(fits);
            black_box(meter.take(&rule, 1, CALLER, now));
        })
    });
    println!(
        "{:<44} {:>7.0} ns  (wanted <= 60)",
        "the arithmetic alone",
        median(arithmetic.collect())
    );
    println!("{:<44} {:>7} bytes", "a meter", size_of::<Meter>());

    let before = resident();
    for number in 0..MILLION {
        bench.moka.insert(key(number), Arc::new(0));
    }
    bench.moka.run_pending_tasks();
    let bare = resident() - before;
    let before = resident();
    for number in 0..MILLION {
        bench.decide(number);
    }
    let own = resident() - before;
    println!(
        "{:<44} moka {:>4.0} B  own {:>4.0} B  more {:>4.0} B  (wanted <= 120)",
        "a million meters, each",
        bare / 1e6,
        own / 1e6,
        (own - bare) / 1e6
    );
    // Steps through all keys, without order.
    let spread = |number: u128| number.wrapping_mul(7_368_787) % MILLION;
    ratio_of(
        "uniform over a million meters",
        "<= 1.3",
        50_000,
        |number| bench.look_up(spread(number)),
        |number| bench.decide(spread(number)),
    );

    side_by_side("two threads", "wanted >= 1.7", &|number| {
        bench.decide(spread(number))
    });
    side_by_side(
        "two threads, moka's lookup alone",
        "for comparison",
        &|number| {
            bench.look_up(spread(number));
        },
    );
    waiting();
}

/// How much more two threads do than one.
fn side_by_side(name: &str, wanted: &str, call: &(impl Fn(u128) + Sync)) {
    let (mut ones, mut twos) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ones.push(time(100_000, call));
        let both = std::thread::scope(|scope| {
            let half = |offset: u128| move || time(100_000, |number| call(number + offset));
            let threads = [scope.spawn(half(0)), scope.spawn(half(500_000))];
            threads.map(|thread| thread.join().unwrap())
        });
        twos.push(both[0].max(both[1]));
    }
    let times = 2.0 * median(ones) / median(twos);
    println!("{name:<44} {times:>5.2} times one  ({wanted})");
}

/// Ten thousand calls that wait for one meter.
fn waiting() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bench = Arc::new(Bench::new(
        "[policy.hour]\nquota = 1\nwindow = \"1m\"\nkind = \"fixed\"\n",
    ));
    runtime.block_on(async {
        bench.decide(0);
        let before = resident();
        for _ in 0..10_000 {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move {
                let demand = Demand {
                    patience: Some(Duration::from_secs(3_600_000)),
                    ..bench.demand(0)
                };
                black_box(bench.ledger.admit(&demand, || bench.now).await.is_ok());
            });
        }
        while bench.account.waiting() < 10_000 {
            tokio::task::yield_now().await;
        }
        println!(
            "{:<44} {:>5.1} MiB for {} of them  (wanted <= 20)",
            "calls that wait",
            (resident() - before) / 1_048_576.0,
            bench.account.waiting()
        );
    });
}
