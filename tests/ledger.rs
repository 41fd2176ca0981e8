//! Calls that ask the ledger: admission over several meters, waiting, probes, and what is given back. Time is tokio's
//! virtual time.

use std::sync::Arc;
use std::time::Duration;

use headroom::adapter::parse::parse;
use headroom::adapter::terms::Terms;
use headroom::clock;
use headroom::ledger::account::Account;
use headroom::ledger::meter::{Caller, Cause, Meter, Until};
use headroom::ledger::report::Filter;
use headroom::ledger::rule::{Rule, Shares, Wishes};
use headroom::ledger::ticket::Ticket;
use headroom::ledger::{Demand, Item, Ledger, Refused, Settings};
use headroom::quota::Mode;
use headroom::time::{Nanos, Now, Steady};
use headroom::translate::{Spoken, Translation};

use crate::support::translations::told;

mod answers;
mod change;
mod ending;
mod finding;
mod forgetting;
mod joining;
mod many;
mod reload;
mod rows;

struct House {
    ledger: Arc<Ledger>,
    account: Arc<Account>,
    adapter: headroom::adapter::Adapter,
}

const SECOND: Duration = Duration::from_secs(1);

impl House {
    fn new(policies: &str) -> Self {
        Self::with(policies, Wishes::default(), Settings::default())
    }

    fn with(policies: &str, wishes: Wishes, settings: Settings) -> Self {
        let source = format!("name = \"Stub\"\ndocs = [\"https://example.com\"]\n{policies}");
        let adapter = parse("stub", &source).unwrap();
        let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
        let wishes = |_: &str| Wishes {
            mode: wishes.mode.or(Some(Mode::Enforce)),
            ..wishes.clone()
        };
        let account = Account::new("stub", "http://stub", &adapter, &terms, &wishes, 10_000);
        Self {
            ledger: Arc::new(Ledger::new(settings, None)),
            account: Arc::new(account),
            adapter,
        }
    }

    async fn call(&self, call: Call) -> Result<Ticket, Refused> {
        let items = call.costs.iter().enumerate();
        let demand = Demand {
            account: &self.account,
            items: items
                .filter(|(_, cost)| **cost > 0)
                .map(|(policy, cost)| Item {
                    policy,
                    key: self.account.key(policy, call.partition),
                    shared: self.account.key(policy, call.partition),
                    cost: *cost,
                })
                .collect(),
            label: &|_| String::new(),
            caller: Caller {
                id: call.caller,
                is_named: true,
            },
            is_resident: false,
            urgency: call.urgency,
            patience: call.patience,
            mode_patience: call.mode_patience,
        };
        self.ledger.admit(&demand, clock::moment).await
    }

    fn answered(&self, ticket: &mut Ticket, translation: &Translation) {
        ticket.answered(&self.adapter, translation, 7, clock::moment());
    }

    fn used(&self, policy: &str) -> u64 {
        let filter = Filter {
            policy: Some(policy.to_owned()),
            ..Filter::default()
        };
        let report = self.ledger.report(&filter, clock::moment());
        report.meters.iter().map(|meter| meter.used).sum()
    }
}

#[derive(Clone, Copy)]
struct Call {
    costs: [u64; 2],
    partition: u128,
    caller: u64,
    urgency: u8,
    patience: Option<Duration>,
    mode_patience: Duration,
}

const CALL: Call = Call {
    costs: [1, 0],
    partition: 1,
    caller: 1,
    urgency: 3,
    patience: None,
    mode_patience: Duration::ZERO,
};

fn waiting(secs: u64) -> Call {
    Call {
        patience: Some(SECOND * u32::try_from(secs).unwrap()),
        ..CALL
    }
}

const TWO_A_MINUTE: &str = "[policy.minute]\nquota = 2\nwindow = \"60s\"\nkind = \"fixed\"\n";

#[tokio::test(start_paused = true)]
async fn a_call_that_one_policy_refuses_uses_nothing_of_the_others() {
    let house = House::new(
        "[policy.minute]\nquota = 100\nwindow = \"60s\"\nkind = \"fixed\"\n\
         [policy.hour]\nquota = 3\nwindow = \"1h\"\nkind = \"fixed\"\n",
    );
    let both = Call {
        costs: [1, 1],
        ..CALL
    };
    for _ in 0..3 {
        house.call(both).await.ok().unwrap();
    }
    for _ in 0..5 {
        let refused = house.call(both).await.err().unwrap();
        assert_eq!(refused.policy, Some(1));
        assert_eq!(refused.obstacle.cause, Cause::Documented);
    }
    assert_eq!((house.used("minute"), house.used("hour")), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_until_its_quota_allows_it_and_no_longer() {
    let house = House::new(TWO_A_MINUTE);
    let begun = clock::monotonic();
    for _ in 0..2 {
        house.call(CALL).await.ok().unwrap();
    }
    tokio::time::sleep(SECOND * 10).await;
    house.call(waiting(50)).await.ok().unwrap();
    let waited = clock::monotonic() - begun;
    assert!(
        waited >= SECOND * 60 && waited < SECOND * 60 + Duration::from_millis(5),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_be_in_vain_is_refused_at_once() {
    let house = House::new(TWO_A_MINUTE);
    for _ in 0..2 {
        house.call(CALL).await.ok().unwrap();
    }
    let begun = clock::monotonic();
    let refused = house.call(waiting(59)).await.err().unwrap();
    assert_eq!(clock::monotonic(), begun);
    assert!(matches!(refused.obstacle.until, Until::At(_)));
    let never = Call {
        costs: [3, 0],
        ..waiting(600)
    };
    let refused = house.call(never).await.err().unwrap();
    assert_eq!(refused.obstacle.until, Until::Never);
    assert_eq!(clock::monotonic(), begun);
}

/// Runs calls side by side, and tells in which order they went.
async fn order(house: &Arc<House>, calls: Vec<(&'static str, Call)>) -> Vec<&'static str> {
    let (gone, mut order) = tokio::sync::mpsc::unbounded_channel();
    for (name, call) in calls {
        let (house, gone) = (Arc::clone(house), gone.clone());
        tokio::spawn(async move {
            if house.call(call).await.is_ok() {
                gone.send(name).unwrap();
            }
        });
        tokio::task::yield_now().await;
    }
    drop(gone);
    let mut names = Vec::new();
    while let Some(name) = order.recv().await {
        names.push(name);
    }
    names
}

const ONE_A_SECOND: &str =
    "[policy.second]\nquota = 1\nwindow = \"1s\"\nkind = \"bucket\"\nrefill = 1\n";

#[tokio::test(start_paused = true)]
async fn who_came_first_goes_first_unless_another_is_more_urgent() {
    let house = Arc::new(House::new(ONE_A_SECOND));
    house.call(CALL).await.ok().unwrap();
    let urgent = Call {
        urgency: 0,
        ..waiting(60)
    };
    let late = Call {
        urgency: 7,
        ..waiting(60)
    };
    let calls = vec![
        ("late", late),
        ("first", waiting(60)),
        ("second", waiting(60)),
        ("urgent", urgent),
        ("third", waiting(60)),
    ];
    let names = order(&house, calls).await;
    assert_eq!(names, ["urgent", "first", "second", "third", "late"]);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_much_does_not_keep_others_waiting() {
    let house = Arc::new(House::new(ONE_A_SECOND));
    house.call(CALL).await.ok().unwrap();
    let of = |caller| Call {
        caller,
        ..waiting(60)
    };
    let calls = vec![
        ("a1", of(1)),
        ("a2", of(1)),
        ("a3", of(1)),
        ("a4", of(1)),
        ("b1", of(2)),
        ("b2", of(2)),
    ];
    let names = order(&house, calls).await;
    assert_eq!(names, ["a1", "b1", "a2", "b2", "a3", "a4"]);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_leaves_the_queue_at_once() {
    let house = Arc::new(House::new(ONE_A_SECOND));
    house.call(CALL).await.ok().unwrap();
    let gone = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.call(waiting(60)).await.is_ok() }
    });
    tokio::task::yield_now().await;
    let begun = clock::monotonic();
    let next = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.call(waiting(60)).await.is_ok() }
    });
    tokio::task::yield_now().await;
    assert_eq!(house.account.waiting(), 2);
    gone.abort();
    assert!(gone.await.is_err());
    assert_eq!(house.account.waiting(), 1);
    assert!(next.await.unwrap());
    assert!(clock::monotonic() - begun < SECOND + Duration::from_millis(5));
    assert_eq!(house.account.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_wait_does_not_overtake_those_who_do() {
    let house = Arc::new(House::new(TWO_A_MINUTE));
    for _ in 0..2 {
        house.call(CALL).await.ok().unwrap();
    }
    let dear = Call {
        costs: [2, 0],
        ..waiting(120)
    };
    let waits = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.call(dear).await.is_ok() }
    });
    // The window turns now, and the one who waits has not been woken yet.
    tokio::time::advance(SECOND * 60).await;
    assert!(waits.await.unwrap());
    assert!(house.call(CALL).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_wake_in_order_and_only_as_many_as_may_go() {
    let quota = "[policy.minute]\nquota = 2500\nwindow = \"60s\"\nkind = \"fixed\"\n";
    let house = Arc::new(House::new(quota));
    for _ in 0..2_500 {
        house.call(CALL).await.ok().unwrap();
    }
    let (gone, mut order) = tokio::sync::mpsc::unbounded_channel();
    let begun = clock::monotonic();
    for number in 0..10_000_u64 {
        let (house, gone) = (Arc::clone(&house), gone.clone());
        tokio::spawn(async move {
            house.call(waiting(600)).await.ok().unwrap();
            gone.send((number, clock::monotonic() - begun)).unwrap();
        });
    }
    drop(gone);
    for number in 0..10_000_u64 {
        let (who, at) = order.recv().await.unwrap();
        assert_eq!(who, number);
        let window = SECOND * 60 * u32::try_from(number / 2_500 + 1).unwrap();
        assert!(at >= window && at < window + SECOND, "{number} {at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_permit_is_free_when_its_call_has_ended_and_the_next_one_goes() {
    let house = Arc::new(House::new(
        "[policy.flight]\nunit = \"concurrent-requests\"\nquota = 2\nkind = \"concurrent\"\n",
    ));
    let first = house.call(CALL).await.ok().unwrap();
    let second = house.call(CALL).await.ok().unwrap();
    let refused = house.call(CALL).await.err().unwrap();
    assert_eq!(refused.obstacle.until, Until::Released);
    let next = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.call(waiting(5)).await.is_ok() }
    });
    tokio::time::sleep(SECOND).await;
    assert!(!next.is_finished());
    drop(first);
    assert!(next.await.unwrap());
    drop(second);
    assert_eq!(house.used("flight"), 0);
}

fn exhausted(reset: u64) -> Translation {
    told("minute", Some(2), Some(0), Some(reset), true)
}

#[tokio::test(start_paused = true)]
async fn a_refusal_stops_every_caller_until_then_and_one_probe_finds_out() {
    let house = Arc::new(House::new(TWO_A_MINUTE));
    let mut ticket = house.call(CALL).await.ok().unwrap();
    house.answered(&mut ticket, &exhausted(30));
    let refused = house.call(CALL).await.err().unwrap();
    assert_eq!(refused.obstacle.cause, Cause::Suspended);
    tokio::time::sleep(SECOND * 30).await;
    let mut probe = house.call(CALL).await.ok().unwrap();
    let refused = house.call(CALL).await.err().unwrap();
    assert_eq!(refused.obstacle.cause, Cause::Probing);
    // Those who wait go as soon as the probe has found out that they may.
    let next = tokio::spawn({
        let house = Arc::clone(&house);
        async move { house.call(waiting(5)).await.is_ok() }
    });
    tokio::task::yield_now().await;
    assert!(!next.is_finished());
    house.answered(
        &mut probe,
        &told("minute", Some(2), Some(1), Some(60), false),
    );
    assert!(next.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_gets_no_answer_lets_another_one_try() {
    let house = House::new(TWO_A_MINUTE);
    let mut ticket = house.call(CALL).await.ok().unwrap();
    house.answered(&mut ticket, &exhausted(30));
    tokio::time::sleep(SECOND * 30).await;
    let probe = house.call(CALL).await.ok().unwrap();
    assert!(house.call(CALL).await.is_err());
    drop(probe);
    assert!(house.call(CALL).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_full_house_refuses_the_stranger_and_forgets_nobody() {
    let settings = Settings {
        max_strangers: 3,
        max_residents: 3,
    };
    let house = House::with(TWO_A_MINUTE, Wishes::default(), settings);
    let of = |partition| Call { partition, ..CALL };
    for partition in 0..3 {
        house.call(of(partition)).await.ok().unwrap();
    }
    for partition in 3..1_000 {
        let refused = house.call(of(partition)).await.err().unwrap();
        assert_eq!(refused.policy, None);
    }
    assert_eq!(house.used("minute"), 3);
    // When their windows are over, there is room again.
    tokio::time::sleep(SECOND * 61).await;
    house.ledger.sweep(clock::moment());
    house.call(of(5_000)).await.ok().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pace_spreads_calls_over_the_window() {
    let wishes = Wishes {
        pace: true,
        ..Wishes::default()
    };
    let quota = "[policy.minute]\nquota = 6\nwindow = \"60s\"\nkind = \"fixed\"\n";
    let house = House::with(quota, wishes, Settings::default());
    let begun = clock::monotonic();
    for number in 0..6_u32 {
        house.call(waiting(600)).await.ok().unwrap();
        let at = clock::monotonic() - begun;
        let slot = SECOND * 10 * number;
        assert!(at >= slot && at < slot + SECOND, "{number}: {at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_one_consumer_leaves_the_others_their_share() {
    let shares = Shares {
        sure: vec![(2, 300_000)],
        ..Shares::default()
    };
    let wishes = Wishes {
        shares: Arc::new(shares),
        ..Wishes::default()
    };
    let quota = "[policy.minute]\nquota = 10\nwindow = \"60s\"\nkind = \"fixed\"\n";
    let house = House::with(quota, wishes, Settings::default());
    let mut flood = 0;
    while house.call(CALL).await.is_ok() {
        flood += 1;
    }
    assert_eq!(flood, 7);
    let sure = Call { caller: 2, ..CALL };
    for _ in 0..3 {
        house.call(sure).await.ok().unwrap();
    }
    assert!(house.call(sure).await.is_err());
}

#[test]
fn a_day_is_not_granted_twice_when_the_clock_jumps_over_midnight_and_back() {
    let source = "name = \"Stub\"\ndocs = [\"https://example.com\"]\n[policy.day]\nquota = 2\n\
        window = \"day\"\nkind = \"clock\"\ntime_zone = \"UTC\"\n";
    let adapter = parse("stub", source).unwrap();
    let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
    let wishes = Wishes {
        mode: Some(Mode::Enforce),
        ..Wishes::default()
    };
    let rule = Rule::new(&adapter.policies[0], 0, &terms, &wishes);
    let mut meter = Meter::default();
    let at = |steady_secs: u64, wall: &str| Now {
        steady: Steady(1 << 50).after(Nanos::from_secs(steady_secs)),
        wall_ms: wall.parse::<jiff::Timestamp>().unwrap().as_millisecond(),
    };
    let caller = Caller {
        id: 1,
        is_named: false,
    };
    let noon = at(0, "2026-11-21T12:00:00Z");
    for _ in 0..2 {
        assert!(meter.check(&rule, 1, caller, noon).is_ok());
        let _ = meter.take(&rule, 1, caller, noon);
    }
    // A wrong clock, somebody looks, and the clock is right again.
    assert_eq!(meter.standing(&rule, at(5, "2026-11-22T00:00:05Z")).used, 0);
    assert!(
        meter
            .check(&rule, 1, caller, at(10, "2026-11-21T12:00:10Z"))
            .is_err()
    );
    // The next day is a new one all the same.
    assert!(
        meter
            .check(&rule, 1, caller, at(50_000, "2026-11-22T01:53:20Z"))
            .is_ok()
    );
}

#[test]
fn translations_of_the_tests_are_consistent() {
    let translation = exhausted(5);
    assert_eq!(translation.limits.len(), translation.told.len());
    assert_eq!(
        translation.told[0],
        Spoken {
            policy: Some(0),
            limit: true,
            remaining: true,
            reset: true,
            unbounded: (Some(2), Some(0)),
        }
    );
}
