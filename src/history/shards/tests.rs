//! Sums are those of the calls, however often they are taken and whatever is forgotten in between.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::told::Books;
use super::*;
use crate::history::names::{MOST_ENDPOINTS, Names};
use crate::history::poll::Poll;
use crate::history::tally::Tally;
use crate::quota::Unit;
use crate::state::history::{Chunk, Series, Total};
use crate::time::Nanos;

const NOON_MS: i64 = 1_795_348_800_000;

/// A call by what it is of, and how much it was.
#[derive(Debug, Clone)]
struct Call {
    minute: i64,
    connection: u8,
    consumer: u16,
    endpoint: u16,
    status: u16,
    refused_by: Option<Refuser>,
    costs: Vec<u64>,
    bytes: u64,
}

impl Call {
    fn record(&self) -> Record {
        let spent = self.costs.iter().enumerate().map(|(policy, cost)| Spent {
            policy: format!("p{policy}").into(),
            unit: Unit::Requests,
            cost: *cost,
        });
        Record {
            ended_ms: NOON_MS + self.minute * 60_000 + 17,
            connection: format!("c{}", self.connection).into(),
            provider: "hubspot".into(),
            consumer: Who::Named(format!("u{}", self.consumer).into()),
            method: "GET",
            endpoint: format!("/e{}", self.endpoint),
            status: Some(self.status),
            upstream_status: None,
            refused_by: self.refused_by,
            policy: self.refused_by.map(|_| "p0".into()),
            spent: spent.collect(),
            outcome: Outcome::Complete,
            waited: Nanos(0),
            duration: Nanos::from_millis(12),
            upstream: Nanos::from_millis(11),
            overhead: None,
            bytes_in: 0,
            bytes_out: self.bytes,
            poll: Poll::default(),
        }
    }
}

/// What happens at a time.
#[derive(Debug, Clone)]
enum Step {
    Call(Call),
    Take,
    /// Names are those of another day.
    Renew,
}

fn step() -> impl Strategy<Value = Step> {
    let refused_by = prop_oneof![
        4 => Just(None),
        1 => Just(Some(Refuser::Headroom)),
        1 => Just(Some(Refuser::Provider)),
    ];
    let dimensions = (0..2_i64, 0..2_u8, 0..3_u16, 0..3_u16, 200..202_u16);
    let call = (dimensions, refused_by, vec(0..4_u64, 0..3), 0..1_000_u64).prop_map(
        |((minute, connection, consumer, endpoint, status), refused_by, costs, bytes)| {
            Step::Call(Call {
                minute,
                connection,
                consumer,
                endpoint,
                status,
                refused_by,
                costs,
                bytes,
            })
        },
    );
    prop_oneof![20 => call, 3 => Just(Step::Take), 1 => Just(Step::Renew)]
}

/// Everything that calls were moved to.
#[derive(Default)]
struct World {
    shards: Shards,
    told: Told,
    names: Names,
    chunk: Chunk,
    tally: Tally,
    next_event: i64,
    lost: u64,
}

impl World {
    fn take(&mut self) {
        let mut books = Books {
            names: &mut self.names,
            chunk: &mut self.chunk,
            tally: &mut self.tally,
            next_event: &mut self.next_event,
        };
        self.lost += self.shards.tell(&mut self.told, &mut books);
    }

    fn renew(&mut self) {
        self.take();
        self.names = Names::default();
        self.told.forget_names();
    }

    fn kinds(&self) -> usize {
        let shards = self.shards.shards.iter();
        shards.map(|shard| shard.lock().unwrap().kinds.len()).sum()
    }
}

/// By minute, connection, consumer, endpoint, status, who refused it, and policy.
type Sum = BTreeMap<(i64, String, String, String, u16, String, String), [u64; 5]>;

fn key(minute: i64, series: &Series) -> (i64, String, String, String, u16, String, String) {
    (
        minute,
        series.connection.to_string(),
        series.consumer.to_string(),
        series.endpoint.to_string(),
        series.status,
        series.refused_by.to_string(),
        series.policy.to_string(),
    )
}

/// The plainest way to add up.
fn expected(calls: &[Call]) -> Sum {
    let mut sums = Sum::new();
    let mut add = |key, values: [u64; 5]| {
        let sum = sums.entry(key).or_default();
        for (sum, value) in sum.iter_mut().zip(values) {
            *sum += value;
        }
    };
    for call in calls {
        let start = NOON_MS / 1_000 + call.minute * 60;
        let (connection, consumer) = (
            format!("c{}", call.connection),
            format!("u{}", call.consumer),
        );
        let refused = u64::from(call.refused_by == Some(Refuser::Headroom));
        let exhausted = u64::from(call.refused_by == Some(Refuser::Provider));
        let by = call.refused_by.map_or("", Refuser::as_str);
        let endpoint = format!("/e{}", call.endpoint);
        let names = (start, connection.clone(), consumer.clone(), endpoint);
        add(
            (
                names.0,
                names.1,
                names.2,
                names.3,
                call.status,
                by.into(),
                String::new(),
            ),
            [1, 0, refused, exhausted, call.bytes],
        );
        for (policy, cost) in call.costs.iter().enumerate() {
            // Only the one that was in the way has refused it.
            let is_it = u64::from(policy == 0);
            let policy = format!("p{policy}");
            let none = String::new;
            add(
                (
                    start,
                    connection.clone(),
                    consumer.clone(),
                    none(),
                    0,
                    none(),
                    policy,
                ),
                [1, *cost, refused * is_it, exhausted * is_it, 0],
            );
        }
    }
    sums
}

proptest! {
    #[test]
    fn sums_are_those_of_the_calls(steps in vec(step(), 0..200)) {
        let mut world = World::default();
        let mut calls = Vec::new();
        for step in steps {
            match step {
                Step::Call(call) => {
                    world.shards.record(&call.record());
                    calls.push(call);
                }
                Step::Take => world.take(),
                Step::Renew => world.renew(),
            }
        }
        world.take();
        world.chunk.totals.merge();
        let totals = world.chunk.totals.iter().map(|Total { start, series, sums }| {
            let values = [sums.calls, sums.cost, sums.refused, sums.exhausted, sums.bytes_out];
            (key(*start, series), values)
        });
        prop_assert_eq!(totals.collect::<Sum>(), expected(&calls));

        let mut requests: BTreeMap<(String, String, u16), u64> = BTreeMap::new();
        let mut refusals = 0;
        for call in &calls {
            let caller = (format!("c{}", call.connection), format!("u{}", call.consumer));
            *requests.entry((caller.0, caller.1, call.status)).or_default() += 1;
            refusals += u64::from(call.refused_by.is_some());
        }
        let counted = world.tally.requests.iter().map(|((caller, status), count)| {
            ((caller.connection.to_string(), caller.consumer.to_string(), *status), *count)
        });
        prop_assert_eq!(counted.collect::<BTreeMap<_, _>>(), requests);
        prop_assert_eq!(world.tally.refusals.values().sum::<u64>(), refusals);
        for ((connection, _), timings) in &world.tally.timings {
            let of_it = calls.iter().filter(|call| format!("c{}", call.connection) == **connection);
            prop_assert_eq!(timings.duration.count(), of_it.count() as u64);
        }

        // One by one they are what they were, each once; those of one take in the order of time.
        prop_assert_eq!(world.lost, 0);
        let ids = world.chunk.events.iter().map(|event| event.id);
        prop_assert!(ids.eq(0..i64::try_from(calls.len()).unwrap()));
        let one = |call: &Call| {
            let spent = call.costs.iter().enumerate().map(|(policy, cost)| {
                serde_json::json!({ "policy": format!("p{policy}"), "unit": "requests", "cost": cost })
            });
            let names = format!("c{} u{} /e{}", call.connection, call.consumer, call.endpoint);
            let spent = serde_json::Value::Array(spent.collect()).to_string();
            (call.minute, names, call.status, call.bytes, spent)
        };
        let mut expected: Vec<_> = calls.iter().map(one).collect();
        let mut events: Vec<_> = world.chunk.events.iter().map(|event| {
            let series = &event.series;
            let names = format!("{} {} {}", series.connection, series.consumer, series.endpoint);
            let minute = (event.at_ms - NOON_MS).div_euclid(60_000);
            (minute, names, series.status, event.bytes_out, event.spent.to_string())
        }).collect();
        expected.sort();
        events.sort();
        prop_assert_eq!(events, expected);

        // Who stops to call leaves nothing behind.
        world.take();
        prop_assert_eq!(world.kinds(), 0);
    }
}

fn call(consumer: u16, endpoint: u16, minute: i64) -> Call {
    Call {
        minute,
        connection: 0,
        consumer,
        endpoint,
        status: 200,
        refused_by: None,
        costs: vec![1],
        bytes: 0,
    }
}

#[test]
fn a_minute_s_kinds_are_made_once() {
    let mut world = World::default();
    for round in 0..5 {
        for consumer in 0..10_000 {
            world.shards.record(&call(consumer, 0, 0).record());
            if consumer % 5_000 == 0 {
                world.take();
            }
        }
        assert_eq!(world.kinds(), 10_000, "{round}");
    }
    world.take();
    world.shards.record(&call(0, 0, 1).record());
    world.take();
    assert_eq!(world.kinds(), 0);
    assert!(world.lost == 0 && world.next_event == 50_001);
    world.chunk.totals.merge();
    assert_eq!(world.chunk.totals.len(), 2 * 10_000 + 2);
}

#[test]
fn somebody_who_makes_up_paths_gets_no_more_than_the_room_there_is() {
    let mut world = World::default();
    let mut calls = 0;
    for consumer in 0..20 {
        for endpoint in 0..5_000 {
            world.shards.record(&call(consumer, endpoint, 0).record());
            calls += 1;
        }
        // One of each caller's is that of the others.
        assert!(world.kinds() <= MOST_KINDS + 20);
    }
    assert!(world.kinds() > MOST_KINDS);
    world.take();
    assert_eq!(world.kinds(), 0);
    let of_calls = world.chunk.totals.iter();
    let of_calls = of_calls.filter(|total| total.series.policy.is_empty());
    let (mut sum, mut endpoints) = (0, std::collections::BTreeSet::new());
    for Total { series, sums, .. } in of_calls {
        sum += sums.calls;
        endpoints.insert(&*series.endpoint);
    }
    assert_eq!(sum, calls);
    assert!(endpoints.len() <= MOST_ENDPOINTS + 1 && endpoints.contains(OTHER));
    let kept = u64::try_from(world.chunk.events.len()).unwrap();
    assert_eq!(kept + world.lost, calls);
}
