//! What is known of kinds whose sums were taken: what reports call them, and where they are counted.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{Event, Kind, SHARDS, Shards, Sum, are_alike};
use crate::history::names::{Label, Names};
use crate::history::record::{Refuser, Spent};
use crate::history::tally::{Caller, Places, Refusal, Tally};
use crate::state::history::{Chunk, EventRow, SeriesRef, Sums};

/// Where the calls go that are taken.
pub(in crate::history) struct Books<'a> {
    pub(in crate::history) names: &'a mut Names,
    pub(in crate::history) chunk: &'a mut Chunk,
    pub(in crate::history) tally: &'a mut Tally,
    /// The number of the next event.
    pub(in crate::history) next_event: &'a mut i64,
}

/// What is known of the kinds of each shard.
#[derive(Default)]
pub(in crate::history) struct Told([Kinds; SHARDS]);

/// By the numbers that a shard has given them.
#[derive(Default)]
struct Kinds {
    kinds: Vec<Known>,
    connections: Vec<(Arc<str>, Arc<str>)>,
}

struct Known {
    kind: Arc<Kind>,
    /// Not yet, when nothing was told of it since names were forgotten.
    called: Option<Called>,
    /// What the last event of it has used, as JSON: the next one's is mostly the same.
    spent: Option<(SmallVec<[u64; 2]>, Arc<str>)>,
}

/// What a kind is called, and where it is counted: all that is looked at again and again.
struct Called {
    minute: i64,
    series: SeriesRef,
    /// Of its policies, in their order.
    policies: SmallVec<[SeriesRef; 2]>,
    places: Places,
    is_refused: bool,
    /// The policy that was in the way; empty: none.
    policy: Arc<str>,
}

impl Shards {
    /// Moves everything into the books; tells how many calls were not kept one by one.
    pub(in crate::history) fn tell(&self, told: &mut Told, books: &mut Books<'_>) -> u64 {
        let mut lost = 0;
        let mut events = Vec::new();
        let mut is_idle = true;
        let mut last = None;
        for (shard, known) in self.shards.iter().zip(&mut told.0) {
            let Some(mut counted) = self.take(shard) else {
                *known = Kinds::default();
                continue;
            };
            is_idle = false;
            for kind in counted.begun.drain(..) {
                known.begin(kind);
            }
            for sum in &counted.sums {
                known.tell(sum, books);
            }
            for (connection, timings) in &counted.timed {
                if let Some((connection, provider)) = known.connections.get(*connection) {
                    let key = (Arc::clone(connection), Arc::clone(provider));
                    books.tally.took(key, timings);
                }
            }
            let row = |event| known.row(event, &mut last);
            events.extend(counted.events.iter().filter_map(row));
            lost += counted.lost;
            if counted.is_last {
                *known = Kinds::default();
            }
            self.keep(counted);
        }
        if is_idle {
            *self.spare() = None;
            books.names.rest();
        }
        events.sort_by_key(|event| event.at_ms);
        for event in &mut events {
            event.id = *books.next_event;
            *books.next_event += 1;
        }
        books.chunk.events.append(&mut events);
        lost
    }
}

impl Told {
    /// To be called where there are other names than before.
    pub(in crate::history) fn forget_names(&mut self) {
        for known in self.0.iter_mut().flat_map(|kinds| &mut kinds.kinds) {
            known.called = None;
        }
    }
}

impl Kinds {
    fn begin(&mut self, kind: Arc<Kind>) {
        if self.connections.len() == kind.of {
            let names = (Arc::clone(&kind.connection), Arc::clone(&kind.provider));
            self.connections.push(names);
        }
        self.kinds.push(Known {
            kind,
            called: None,
            spent: None,
        });
    }

    /// Adds what was counted to totals and tally.
    fn tell(&mut self, sum: &Sum, books: &mut Books<'_>) {
        let Some(Known { kind, called, .. }) = self.kinds.get_mut(sum.kind) else {
            return;
        };
        let called = called.get_or_insert_with(|| kind.called(books.names, books.tally));
        let calls = sum.sums.calls;
        let totals = &mut books.chunk.totals;
        totals.add(called.minute, called.series.clone(), sum.sums);
        for (number, (series, cost)) in called.policies.iter().zip(&sum.costs).enumerate() {
            let mut sums = Sums {
                calls,
                // Calls that were not sent used nothing.
                cost: *cost,
                ..Sums::default()
            };
            if called.is_refused {
                (sums.refused, sums.exhausted) = kind.refusals(number, calls);
            }
            totals.add(called.minute, series.clone(), sums);
        }
        books.tally.calls(called.places, &sum.sums);
        if let Some(by) = kind.refused_by.filter(|_| called.is_refused) {
            let caller = Caller::of(&called.series);
            let policy = kind.policy.clone();
            let refusal = Refusal { by, policy };
            books.tally.refused(caller, refusal, calls);
        }
    }

    /// Its number is known later.
    fn row(&mut self, event: &Event, last: &mut Option<Written>) -> Option<EventRow> {
        let known = self.kinds.get_mut(event.kind)?;
        let called = known.called.as_ref()?;
        let spent = match &known.spent {
            Some((costs, spent)) if *costs == event.costs => Arc::clone(spent),
            _ => {
                let kind = &known.kind;
                let spent = match last {
                    Some(last) if last.is_of(&kind.spent, &event.costs) => Arc::clone(&last.json),
                    last => Arc::clone(&last.insert(Written::new(&kind.spent, &event.costs)).json),
                };
                known.spent = Some((event.costs.clone(), Arc::clone(&spent)));
                spent
            }
        };
        Some(EventRow {
            id: 0,
            at_ms: event.at_ms,
            series: called.series.clone(),
            outcome: event.outcome.as_str(),
            policy: Arc::clone(&called.policy),
            spent,
            waited_us: event.waited_us,
            duration_us: event.duration_us,
            upstream_us: event.upstream_us,
            bytes_in: event.bytes_in,
            bytes_out: event.bytes_out,
        })
    }
}

impl Kind {
    fn called(&self, names: &mut Names, tally: &mut Tally) -> Called {
        let consumer = self.who.name();
        let label = Label {
            connection: &self.connection,
            provider: &self.provider,
            consumer: &consumer,
            method: self.method,
            endpoint: &self.endpoint,
            status: self.status,
            upstream_status: self.upstream_status,
            refused_by: self.refused_by.map_or("", Refuser::as_str),
            policy: "",
            unit: "",
        };
        let series = names.bounded(label);
        let of_policy = |spent: &Spent| {
            names.bounded(Label {
                method: "",
                endpoint: "",
                status: 0,
                upstream_status: 0,
                refused_by: "",
                policy: &spent.policy,
                unit: spent.unit.as_str(),
                ..label
            })
        };
        Called {
            minute: self.minute,
            is_refused: self.refused_by.is_some(),
            policy: self.policy.clone().unwrap_or_default(),
            policies: self.spent.iter().map(of_policy).collect(),
            places: tally.places(&series),
            series,
        }
    }

    /// How many of its calls headroom has refused for want of a policy's quota, and how many the provider.
    fn refusals(&self, policy: usize, calls: u64) -> (u64, u64) {
        let spent = self.spent.get(policy);
        let is_in_the_way = spent.is_some_and(|spent| self.policy.as_ref() == Some(&spent.policy));
        match self.refused_by.filter(|_| is_in_the_way) {
            None => (0, 0),
            Some(Refuser::Headroom) => (calls, 0),
            Some(Refuser::Provider) => (0, calls),
        }
    }
}

/// What a call has used, as JSON. Of many kinds it is the same.
struct Written {
    spent: Arc<[Spent]>,
    costs: SmallVec<[u64; 2]>,
    json: Arc<str>,
}

impl Written {
    fn new(spent: &Arc<[Spent]>, costs: &SmallVec<[u64; 2]>) -> Self {
        let rows = spent.iter().zip(costs).map(|(spent, cost)| {
            serde_json::json!({ "policy": &*spent.policy, "unit": spent.unit.as_str(), "cost": cost })
        });
        let json = serde_json::Value::Array(rows.collect()).to_string();
        Self {
            spent: Arc::clone(spent),
            costs: costs.clone(),
            json: json.into(),
        }
    }

    fn is_of(&self, spent: &[Spent], costs: &SmallVec<[u64; 2]>) -> bool {
        self.costs == *costs && are_alike(&self.spent, spent)
    }
}
