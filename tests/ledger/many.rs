//! Many meters: those that a report shows, and those that are taken over from an earlier process.

use headroom::charge::key_of;
use headroom::ledger::report::Report;
use headroom::state::State;

use super::*;

const HOURLY: &str = "[policy.hourly]\nquota = 9\nwindow = \"1h\"\nkind = \"fixed\"\n";
const SECRET: (u64, u64) = (1, 2);

fn label(number: u32) -> String {
    format!("part={number:05}")
}

/// A call of a stranger that uses one of this partition.
async fn use_one(house: &House, number: u32) {
    let key = house.account.key(0, key_of(&label(number), SECRET));
    let item = Item {
        policy: 0,
        key,
        shared: key,
        cost: 1,
    };
    let demand = Demand {
        account: &house.account,
        items: [item].into_iter().collect(),
        label: &|_| label(number),
        caller: Caller {
            id: 1,
            is_named: true,
        },
        is_resident: false,
        urgency: 3,
        patience: None,
        mode_patience: Duration::ZERO,
    };
    drop(
        house
            .ledger
            .admit(&demand, clock::moment)
            .await
            .ok()
            .unwrap(),
    );
}

fn report(house: &House) -> Report {
    house.ledger.report(&Filter::default(), clock::moment())
}

#[tokio::test(start_paused = true)]
async fn a_report_shows_the_first_of_very_many_in_order() {
    let house = House::new(HOURLY);
    let all = 10_050;
    for number in 0..all {
        // In no order; 7919 is prime.
        use_one(&house, number * 7_919 % all).await;
    }
    let report = report(&house);
    assert_eq!(report.total, all as usize);
    let shown: Vec<_> = report
        .meters
        .iter()
        .map(|meter| &*meter.partition)
        .collect();
    let first: Vec<_> = (0..10_000).map(label).collect();
    assert_eq!(shown, first);
}

#[tokio::test]
async fn what_finds_no_room_at_the_start_is_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let house = |max_residents| {
        let settings = Settings {
            max_residents,
            ..Settings::default()
        };
        let kept = State::open(folder.path(), clock::now().as_millisecond()).unwrap();
        House {
            ledger: Arc::new(Ledger::new(settings, Some(kept))),
            ..House::new(HOURLY)
        }
    };
    let before = house(0);
    for number in 0..5 {
        use_one(&before, number).await;
    }
    before.ledger.close(clock::moment());
    let after = house(3);
    assert_eq!(after.ledger.kept_connections(), ["stub"]);
    after
        .ledger
        .adopt(&after.account, SECRET, true, clock::moment());
    assert_eq!(report(&after).total, 3);
    for number in 0..5 {
        use_one(&after, number).await;
    }
    let used: Vec<_> = report(&after)
        .meters
        .iter()
        .map(|meter| meter.used)
        .collect();
    assert_eq!(used, [2; 5]);
    after.ledger.close(clock::moment());
}

#[tokio::test(start_paused = true)]
async fn those_nearest_to_having_nothing_left_come_first() {
    let house = House::new(HOURLY);
    for number in 0..20 {
        for _ in 0..=number % 5 {
            use_one(&house, number).await;
        }
    }
    let report = house.ledger.tightest(6, clock::moment());
    assert_eq!(report.total, 20);
    let told: Vec<_> = report
        .meters
        .iter()
        .map(|meter| (meter.remaining, &*meter.partition))
        .collect();
    let expected = [(4, 4), (4, 9), (4, 14), (4, 19), (5, 3), (5, 8)];
    let expected = expected.map(|(left, number)| (Some(left), label(number)));
    assert_eq!(
        told,
        expected
            .iter()
            .map(|(left, label)| (*left, &**label))
            .collect::<Vec<_>>()
    );
}

/// After a reload that sends a connection elsewhere, meters of the account before live on for a while.
#[tokio::test(start_paused = true)]
async fn the_meters_of_an_earlier_account_are_not_told_as_the_present_ones() {
    let house = House::new(HOURLY);
    let account = |origin: &str, generation| {
        let source = format!("name = \"Stub\"\ndocs = [\"https://example.com\"]\n{HOURLY}");
        let adapter = parse("stub", &source).unwrap();
        let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
        let wishes = |_: &str| Wishes {
            generation,
            ..Wishes::default()
        };
        let account = Account::new("stub", origin, &adapter, &terms, &wishes, 10);
        House {
            ledger: Arc::clone(&house.ledger),
            account: Arc::new(account),
            adapter,
        }
    };
    let (before, after) = (account("http://before", 0), account("http://after", 1));
    for _ in 0..3 {
        use_one(&before, 7).await;
    }
    let told = || {
        let now = clock::moment();
        let tightest = house.ledger.tightest(10, now);
        assert_eq!(house.ledger.report(&Filter::default(), now), tightest);
        let used: Vec<_> = tightest.meters.iter().map(|meter| meter.used).collect();
        (tightest.total, used)
    };
    assert_eq!(told(), (1, vec![3]));
    use_one(&after, 7).await;
    assert_eq!(told(), (1, vec![1]));
    // And back again, by a still later configuration.
    let back = account("http://before", 2);
    use_one(&back, 7).await;
    assert_eq!(told(), (1, vec![4]));
    // And away from there, and nobody has called it since.
    house
        .ledger
        .leave([Arc::clone(&back.account.identity)].into_iter().collect());
    assert_eq!(told(), (0, vec![]));
}
