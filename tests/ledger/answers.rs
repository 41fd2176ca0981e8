//! What answers tell of a call, and what the meters make of it.

use headroom::ledger::tell;
use headroom::ledger::ticket::State;

use super::*;

const TOKENS: &str = "[policy.tokens]\nunit = \"tokens\"\nquota = 100\nwindow = \"60s\"\n\
    kind = \"fixed\"\ncost = \"x-cost\"\n";

/// A call of so much of each policy: 0 is known by its answer.
async fn ask(house: &House, costs: &[u64], caller: u64) -> Result<Ticket, Refused> {
    let items = costs.iter().enumerate();
    let demand = Demand {
        account: &house.account,
        items: items
            .map(|(policy, cost)| Item {
                policy,
                key: house.account.key(policy, 1),
                shared: house.account.key(policy, 1),
                cost: *cost,
            })
            .collect(),
        label: &|_| String::new(),
        caller: Caller {
            id: caller,
            is_named: true,
        },
        is_resident: false,
        urgency: 3,
        patience: None,
        mode_patience: Duration::ZERO,
    };
    house.ledger.admit(&demand, clock::moment).await
}

fn answer(house: &House, ticket: &mut Ticket, translation: &Translation) -> State {
    let states = ticket.answered(&house.adapter, translation, 7, clock::moment());
    states.into_iter().next().unwrap()
}

/// An answer that tells what its call cost of the first policy.
fn cost(cost: u64) -> Translation {
    Translation {
        costs: [(0, cost)].into_iter().collect(),
        ..Translation::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_cost_that_only_the_answer_tells_is_counted() {
    for kind in ["fixed", "rolling", "bucket"] {
        let house = House::new(&TOKENS.replace("fixed", kind));
        for (told, left) in [(30, 70), (0, 70), (60, 10), (45, 0)] {
            let mut ticket = ask(&house, &[0], 1).await.ok().unwrap();
            let state = answer(&house, &mut ticket, &cost(told));
            assert_eq!(state.standing.remaining, Some(left), "{kind}");
            assert!(state.counts, "{kind}");
        }
        // More was used than there is, because nobody knew it before; now nothing goes.
        let refused = ask(&house, &[0], 1).await.err().unwrap();
        assert_eq!(refused.obstacle.cause, Cause::Documented, "{kind}");
        // The window is over, or as much has flowed in.
        tokio::time::sleep(SECOND * 81).await;
        assert!(ask(&house, &[0], 1).await.is_ok(), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_is_a_better_word_than_what_a_call_cost() {
    let house = House::new(TOKENS);
    let mut ticket = ask(&house, &[0], 1).await.ok().unwrap();
    let both = Translation {
        costs: [(0, 30)].into_iter().collect(),
        ..told("tokens", Some(100), Some(40), Some(60), false)
    };
    let state = answer(&house, &mut ticket, &both);
    assert_eq!(state.standing.remaining, Some(40));
    // An answer that was overtaken does not know of a later call that has told its cost.
    let mut early = ask(&house, &[0], 1).await.ok().unwrap();
    let mut late = ask(&house, &[0], 1).await.ok().unwrap();
    answer(&house, &mut late, &cost(30));
    let old = told("tokens", Some(100), Some(40), Some(60), false);
    let state = answer(&house, &mut early, &old);
    assert_eq!(state.standing.remaining, Some(10));
}

#[tokio::test(start_paused = true)]
async fn a_cost_that_was_only_assumed_is_put_right() {
    let house = House::new(TOKENS);
    for (assumed, told, left) in [(5, 30, 70), (50, 10, 60), (10, 10, 50), (20, 0, 50)] {
        let mut ticket = ask(&house, &[assumed], 1).await.ok().unwrap();
        let state = answer(&house, &mut ticket, &cost(told));
        assert_eq!(state.standing.remaining, Some(left), "{assumed} {told}");
    }
    let filter = Filter::default();
    let report = house.ledger.report(&filter, clock::moment());
    assert_eq!((report.meters[0].used, report.meters[0].in_flight), (50, 0));
}

/// What a caller is told, after this answer.
fn completed(house: &House, ticket: &mut Ticket, mut translation: Translation) -> Translation {
    let now = clock::moment();
    let states = ticket.answered(&house.adapter, &translation, 7, now);
    tell::complete(&mut translation, &house.adapter, &states, now);
    translation
}

const HOUR: &str = "[policy.hour]\nwindow = \"1h\"\nkind = \"fixed\"\nremaining = \"x-left\"\n";

#[tokio::test(start_paused = true)]
async fn what_headroom_has_counted_is_not_said_to_be_the_providers_word() {
    let house = House::new(HOUR);
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(ask(&house, &[1], 1).await.ok().unwrap());
    }
    // It answers the first, and two more are on their way.
    for (call, left, source) in [(0, 7, "own"), (1, 7, "own"), (2, 7, "provider")] {
        let answer = told("hour", Some(10), Some(9 - call), Some(3_600), false);
        let index = usize::try_from(call).unwrap();
        let answer = completed(&house, &mut calls[index], answer);
        assert_eq!(answer.limits[0].remaining, Some(left), "{call}");
        assert_eq!(answer.limits[0].source.as_str(), source, "{call}");
        let report = house.ledger.report(&Filter::default(), clock::moment());
        assert_eq!(report.meters[0].remaining, Some(left), "{call}");
        assert_eq!(report.meters[0].source, source, "{call}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_the_meter_believes_is_not_taken_for_the_providers_word() {
    let house = House::new(HOUR);
    let mut first = ask(&house, &[1], 1).await.ok().unwrap();
    completed(
        &house,
        &mut first,
        told("hour", Some(10), Some(5), Some(3_600), false),
    );
    let _on_its_way = ask(&house, &[1], 1).await.ok().unwrap();
    let mut last = ask(&house, &[1], 1).await.ok().unwrap();
    // The one that is on its way may come after it.
    let answer = completed(
        &house,
        &mut last,
        told("hour", Some(10), Some(4), Some(3_600), false),
    );
    assert_eq!(answer.limits[0].remaining, Some(3));
    assert_eq!(answer.limits[0].source.as_str(), "own");
    let report = house.ledger.report(&Filter::default(), clock::moment());
    assert_eq!(report.meters[0].source, "own");
}

#[tokio::test(start_paused = true)]
async fn half_of_the_numbers_are_completed_from_the_count() {
    let house = House::new(HOUR);
    let mut numbers = Vec::new();
    for (limit, remaining) in [
        (Some(10), None),
        (None, Some(8)),
        (Some(10), Some(3)),
        (Some(10), None),
        (None, None),
    ] {
        let mut ticket = ask(&house, &[1], 1).await.ok().unwrap();
        let answer = told("hour", limit, remaining, Some(3_600), false);
        let answer = completed(&house, &mut ticket, answer);
        let limit = &answer.limits[0];
        numbers.push((limit.limit, limit.remaining, limit.source.as_str()));
    }
    assert_eq!(
        numbers,
        [
            (Some(10), Some(9), "own"),
            (Some(10), Some(8), "provider"),
            (Some(10), Some(3), "provider"),
            (Some(10), Some(2), "own"),
            (Some(10), Some(1), "own"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_of_a_limit_where_nobody_knows_what_calls_cost() {
    let house = House::new(&TOKENS.replace("quota = 100\n", ""));
    let mut ticket = ask(&house, &[0], 1).await.ok().unwrap();
    let answer = told("tokens", Some(500), None, Some(60), false);
    let answer = completed(&house, &mut ticket, answer);
    assert_eq!(answer.limits[0].remaining, None);
    assert_eq!(answer.limits[0].source.as_str(), "provider");
    // Nor does the next call know more.
    let mut ticket = ask(&house, &[0], 1).await.ok().unwrap();
    let answer = completed(&house, &mut ticket, Translation::default());
    assert!(answer.limits.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_documented_quota_is_not_put_beside_more_than_it() {
    let house = House::new(&format!("{HOUR}quota = 10\n"));
    let mut ticket = ask(&house, &[1], 1).await.ok().unwrap();
    let answer = told("hour", None, Some(400), Some(60), false);
    let answer = completed(&house, &mut ticket, answer);
    assert_eq!(answer.limits[0].limit, None);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_call_is_given_back_wherever_rejected_calls_do_not_count() {
    let policy = |name: &str, rejected: &str| {
        format!("[policy.{name}]\nquota = 9\nwindow = \"60s\"\nkind = \"fixed\"\n{rejected}\n")
    };
    let house = House::new(&format!(
        "{}{}{}",
        policy("refuses", "rejected = \"uncounted\""),
        policy("other", "rejected = \"uncounted\""),
        policy("counts", "rejected = \"counted\""),
    ));
    let mut ticket = ask(&house, &[1, 1, 1], 1).await.ok().unwrap();
    let mut refusal = told("refuses", None, Some(0), None, true);
    // That nothing is left is concluded from the refusal.
    refusal.told[0].remaining = false;
    house.answered(&mut ticket, &refusal);
    let used = ["refuses", "other", "counts"].map(|policy| house.used(policy));
    assert_eq!(used, [0, 0, 1]);
}
