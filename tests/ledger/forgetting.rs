//! What the ledger forgets, and what it does not.

use headroom::ledger::meter::Refusal;
use headroom::state::{MeterRow, State};

use super::*;

/// A provider that never says when its quota comes back.
const ENDLESS: &str = "[policy.all]\nquota = 9\n";

fn refused_for(secs: u64) -> Translation {
    Translation {
        exhausted: true,
        told_wait: Some(secs),
        ..Translation::default()
    }
}

#[tokio::test(start_paused = true)]
async fn one_call_tries_after_a_suspension_also_when_nobody_asked_for_a_while() {
    let house = House::new(TWO_A_MINUTE);
    let mut ticket = house.call(CALL).await.ok().unwrap();
    house.answered(&mut ticket, &refused_for(120));
    drop(ticket);
    tokio::time::sleep(SECOND * 300).await;
    house.ledger.sweep(clock::moment());
    let probe = house.call(CALL).await.ok().unwrap();
    let refused = house.call(CALL).await.err().unwrap();
    assert_eq!(refused.obstacle.cause, Cause::Probing);
    drop((probe, refused));
    // Long after it nobody remembers.
    tokio::time::sleep(SECOND * 3_600).await;
    house.ledger.sweep(clock::moment());
    assert!(
        house
            .ledger
            .report(&Filter::default(), clock::moment())
            .meters
            .is_empty()
    );
}

#[tokio::test(start_paused = true)]
async fn a_count_that_nothing_ends_is_forgotten_an_hour_after_its_last_call() {
    let house = House::new(ENDLESS);
    let meters = || {
        house
            .ledger
            .report(&Filter::default(), clock::moment())
            .total
    };
    drop(house.call(CALL).await.ok().unwrap());
    for _ in 0..2 {
        for _ in 0..100 {
            tokio::time::sleep(SECOND * 30).await;
            house.ledger.sweep(clock::moment());
        }
        assert_eq!(meters(), 1);
        drop(house.call(CALL).await.ok().unwrap());
    }
    let on_its_way = house.call(CALL).await.ok().unwrap();
    let sweep = || (0..130).for_each(|_| house.ledger.sweep(clock::moment()));
    sweep();
    assert_eq!(meters(), 1);
    drop(on_its_way);
    sweep();
    assert_eq!(meters(), 0);
}

#[tokio::test(start_paused = true)]
async fn where_two_policies_are_in_the_way_the_first_is_told() {
    let house = House::new(
        "[policy.a]\nquota = 1\nwindow = \"60s\"\nkind = \"fixed\"\n\
         [policy.b]\nquota = 1\nwindow = \"60s\"\nkind = \"fixed\"\n",
    );
    for partition in 0..50 {
        let both = Call {
            costs: [1, 1],
            partition,
            ..CALL
        };
        let _ticket = house.call(both).await.ok().unwrap();
        assert_eq!(house.call(both).await.err().unwrap().policy, Some(0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_meter_is_not_forgotten_under_a_call_that_costs_what_its_answer_tells() {
    let house = House::new("[policy.tokens]\nquota = 9\nwindow = \"60s\"\nunit = \"tokens\"\n");
    let item = Item {
        policy: 0,
        key: 1,
        shared: 1,
        cost: 0,
    };
    let demand = Demand {
        account: &house.account,
        items: [item].into_iter().collect(),
        label: &|_| String::new(),
        caller: Caller {
            id: 1,
            is_named: true,
        },
        is_resident: false,
        urgency: 3,
        patience: None,
        mode_patience: Duration::ZERO,
    };
    let admit = || house.ledger.admit(&demand, clock::moment);
    let mut ticket = admit().await.ok().unwrap();
    house.ledger.sweep(clock::moment());
    house.answered(&mut ticket, &refused_for(120));
    let refused = admit().await.err().unwrap();
    assert_eq!(refused.obstacle.cause, Cause::Suspended);
}

fn rule(policies: &str) -> Rule {
    let source = format!("name = \"Stub\"\ndocs = [\"https://example.com\"]\n{policies}");
    let adapter = parse("stub", &source).unwrap();
    let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
    Rule::new(&adapter.policies[0], 0, &terms, &Wishes::default())
}

#[test]
fn a_rolling_window_of_very_many_calls_is_remembered_in_little() {
    let rule = rule("[policy.hour]\nquota = 1000000\nwindow = \"1h\"\nkind = \"rolling\"\n");
    let mut meter = Meter::default();
    let mut now = Now {
        steady: Steady(1 << 56),
        wall_ms: 1_800_000_000_000,
    };
    let mut used = 0;
    for id in 1..100_000 {
        now.steady = now.steady.after(Nanos::from_millis(30));
        let caller = Caller {
            id,
            is_named: false,
        };
        let taken = meter.take(&rule, 1, caller, now);
        used += 2;
        // Somebody else uses as much.
        let told = headroom::ledger::meter::Told {
            limit: Some(1_000_000),
            remaining: Some(1_000_000 - used),
            ..Default::default()
        };
        meter.observe(&rule, &told, taken.mark, now);
        meter.finish(1, taken.probe);
    }
    assert!(meter.standing(&rule, now).used >= used);
    let stored = serde_json::to_vec(&meter.snapshot(&rule, now)).unwrap();
    assert!(stored.len() < 200_000, "{} bytes", stored.len());
}

#[test]
fn a_row_is_kept_for_as_long_as_it_matters() {
    let now = Now {
        steady: Steady(1 << 56),
        wall_ms: 1_800_000_000_000,
    };
    let until = |policies: &str, suspended: Option<u64>| {
        let rule = rule(policies);
        let mut meter = Meter::default();
        if suspended.is_some() {
            let refusal = Refusal {
                wait_secs: suspended,
                random: 0,
            };
            meter.refused(&rule, &refusal, now);
        }
        meter
            .matters_until(&rule, now)
            .since(now.steady)
            .ceil_secs()
            / 86_400
    };
    let month = "[policy.month]\nquota = 9\nwindow = \"month\"\n";
    assert_eq!(until(TWO_A_MINUTE, None), 1);
    assert_eq!(until(TWO_A_MINUTE, Some(20 * 86_400)), 20);
    assert_eq!(until(month, None), 31);
    assert_eq!(until(ENDLESS, None), 1);
}

#[tokio::test]
async fn no_more_meters_are_taken_over_than_there_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::new("[policy.hour]\nquota = 9\nwindow = \"1h\"\nkind = \"fixed\"\n");
    let now = clock::moment();
    let rule = &house.account.rules[0];
    let snapshot = Meter::default().snapshot(rule, now);
    let rows = (0..5).map(|partition| MeterRow {
        account: Arc::clone(&house.account.identity),
        policy: Arc::clone(&rule.policy),
        partition: partition.to_string(),
        reserved: 1,
        ends_ms: now.wall_ms + 3_600_000,
        data: serde_json::to_vec(&snapshot).unwrap(),
    });
    let (state, _) = State::open(folder.path(), now.wall_ms).unwrap();
    state.write(rows.collect(), Vec::new()).await.unwrap();
    state.close().unwrap();
    let settings = Settings {
        max_strangers: 2,
        max_residents: 4,
    };
    let opened = State::open(folder.path(), now.wall_ms).unwrap();
    let ledger = Ledger::new(settings, Some(opened));
    let total = || ledger.report(&Filter::default(), now).total;
    ledger.adopt(&house.account, (1, 2), false, now);
    assert_eq!(total(), 2);
    // Of the others nothing is lost.
    ledger.adopt(&house.account, (1, 2), true, now);
    assert_eq!(total(), 5);
}
