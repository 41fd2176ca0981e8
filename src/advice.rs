//! What the history and the meters advise: calls that could be saved, calls that never succeed, and who uses up what others
//! need. Pure: totals and meters in, sentences with their numbers out.

mod busy;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::ledger::report::{MeterReport, NAMELESS};
use crate::state::ReadError;
use crate::state::history::{Places, Row, Scan, Series, Snapshot, Sums, Values, scans};
use busy::{Busy, Counter, Pairs};
use words::{interval, number, percent};

/// The totals that advice is made of, in seconds: fine enough for a spike, coarse enough to be quick.
pub const LEVEL: i64 = 900;

/// Fewer calls than this are no pattern.
const FEW: u64 = 20;

/// Advice of one kind is given so often at the most.
const MOST: usize = 20;

/// One piece of advice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Advice {
    /// What it is about.
    pub kind: Kind,
    /// The connection.
    pub connection: String,
    /// Whose calls they are; empty: several callers'.
    pub consumer: String,
    /// The template of the path, where it is about one.
    pub endpoint: Option<String>,
    /// The policy, where it is about one.
    pub policy: Option<String>,
    /// How many calls it is about.
    pub calls: u64,
    /// How many of them would not have been needed; `null`: that is not what it is about.
    pub saved: Option<u64>,
    /// One sentence, or two.
    pub text: String,
    /// Its numbers.
    pub numbers: Value,
}

/// What advice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The same GET got the same answer again and again.
    IdenticalPolls,
    /// Answers had validators that the calls did not use.
    Revalidate,
    /// Answers said for how long they are fresh, and were asked for before that.
    Cache,
    /// No call of the kind succeeded.
    AlwaysFails,
    /// Far more calls than usual.
    Spike,
    /// One caller has used nearly everything that others share.
    Starving,
}

/// The totals of a while, as far as advice needs them.
#[derive(Debug, Default)]
pub struct Totals {
    /// By what was called, each once.
    series: Vec<(Series, Sums)>,
    /// By connection, when most was called.
    busy: BTreeMap<Arc<str>, Busy>,
    /// How long the while is, in seconds.
    length: u64,
}

impl Totals {
    /// Reads those of a range, in seconds since 1970: from its start until before its end.
    ///
    /// # Errors
    /// The history cannot be read.
    pub fn read(snapshot: &Snapshot<'_>, from: i64, to: i64) -> Result<Self, ReadError> {
        let dictionary = snapshot.dictionary()?;
        let series = dictionary.series().iter();
        let calls: Vec<_> = series
            .filter(|(_, series)| series.policy.is_empty())
            .collect();
        let mut places = Places::default();
        for (place, (number, _)) in calls.iter().enumerate() {
            places.set(*number, place);
        }
        let mut sums = vec![Values::default(); calls.len()];
        let pairs = Pairs::new(calls.iter().map(|(_, series)| series));
        // By quarter hour, the calls alone; all that is known of them, by the longest blocks that there are.
        let quarters = Scan {
            level: LEVEL,
            from,
            to,
        };
        let counters = [Counter::new(&pairs), Counter::new(&pairs)];
        let [mut counter, other] =
            snapshot.share([quarters], counters, |counter, start, number, row| {
                if let Some(place) = places.get(number) {
                    counter.see(start, place, row.calls());
                }
            })?;
        let mut add = |number, row: &Row<'_>| {
            let place = places.get(number)?;
            row.add_to(sums.get_mut(place)?);
            Some(place)
        };
        for Scan { level, from, to } in scans([(from, to)], snapshot.rolled()?) {
            snapshot.blocks(level, from, to, |_, number, row| {
                add(number, &row);
            })?;
        }
        snapshot.fresh(from, to, |start, number, row| {
            if let Some(place) = add(number, &row) {
                counter.see(start, place, row.calls());
            }
        })?;
        let mut totals = Self {
            series: Vec::new(),
            busy: pairs.busy([counter, other]),
            length: u64::try_from(to.saturating_sub(from)).unwrap_or(0),
        };
        for ((_, series), values) in calls.into_iter().zip(sums) {
            if values != Values::default() {
                totals.series.push((series.clone(), values.sums()));
            }
        }
        Ok(totals)
    }
}

/// Who calls what: what advice about calls is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Habit {
    connection: Arc<str>,
    consumer: Arc<str>,
    method: Arc<str>,
    endpoint: Arc<str>,
}

/// What came of it.
#[derive(Debug, Default)]
struct Outcomes {
    sums: Sums,
    /// Calls by the status that the provider gave, without those that a quota was in the way of.
    statuses: BTreeMap<u16, u64>,
}

/// What there is to advise, the most saved first.
#[must_use]
pub fn advise(totals: &Totals, meters: &[MeterReport]) -> Vec<Advice> {
    let mut habits: HashMap<Habit, Outcomes> = HashMap::new();
    for (series, sums) in &totals.series {
        let habit = Habit {
            connection: Arc::clone(&series.connection),
            consumer: Arc::clone(&series.consumer),
            method: Arc::clone(&series.method),
            endpoint: Arc::clone(&series.endpoint),
        };
        let outcomes = habits.entry(habit).or_default();
        outcomes.sums.add(sums);
        if series.refused_by.is_empty() {
            *outcomes.statuses.entry(series.status).or_default() += sums.calls;
        }
    }
    let mut habits: Vec<_> = habits.into_iter().collect();
    habits.sort_unstable_by(|(habit, _), (other, _)| habit.cmp(other));
    let mut advice = Vec::new();
    for (habit, outcomes) in &habits {
        advice.extend(identical_polls(habit, &outcomes.sums, totals.length));
        advice.extend(revalidate(habit, &outcomes.sums));
        advice.extend(cache(habit, &outcomes.sums));
        advice.extend(always_fails(habit, outcomes));
    }
    advice.extend(
        totals
            .busy
            .iter()
            .filter_map(|(connection, busy)| busy.spike(connection)),
    );
    advice.extend(meters.iter().filter_map(starving));
    // Stable: of what saves as much, the order above.
    advice.sort_by_key(|one| std::cmp::Reverse((one.saved.unwrap_or(0), one.calls)));
    let mut given: BTreeMap<Kind, usize> = BTreeMap::new();
    advice.retain(|one| {
        let given = given.entry(one.kind).or_default();
        *given += 1;
        *given <= MOST
    });
    advice
}

impl Habit {
    fn advice(
        &self,
        kind: Kind,
        calls: u64,
        saved: Option<u64>,
        text: String,
        numbers: Value,
    ) -> Advice {
        Advice {
            kind,
            connection: self.connection.to_string(),
            consumer: self.consumer.to_string(),
            endpoint: Some(self.endpoint.to_string()),
            policy: None,
            calls,
            saved,
            text,
            numbers,
        }
    }

    /// `reports called GET /v3/contacts of crm`.
    fn subject(&self) -> String {
        let Self {
            connection,
            consumer,
            method,
            endpoint,
        } = self;
        format!("`{consumer}` called `{method} {endpoint}` of `{connection}`")
    }
}

/// The intervals that people choose, in seconds.
const INTERVALS: [u64; 12] = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 14_400];

/// Most repetitions brought nothing new: an interval of half the time between changes sees each soon enough.
///
/// The sums are of all requests of the habit, which may be different ones: what was watched is not one for as long as all
/// of them together. So what is saved is an estimate, and is told as one.
fn identical_polls(habit: &Habit, sums: &Sums, length: u64) -> Option<Advice> {
    let Sums {
        calls,
        polls,
        same,
        polls_gap_ms,
        ..
    } = *sums;
    if polls < FEW || same * 5 < polls * 4 {
        return None;
    }
    let every_ms = polls_gap_ms / polls;
    let changes = polls - same;
    // Each has a first call that repeats nothing, unless that was before; and none was watched for longer than the while.
    let by_first_calls = calls.saturating_sub(polls);
    let by_time = match length.saturating_mul(1_000) {
        0 => 1,
        length_ms => polls_gap_ms.div_ceil(length_ms),
    };
    let requests = by_first_calls.max(by_time).max(1);
    let between_changes_ms = polls_gap_ms / (changes + requests);
    let wanted = INTERVALS
        .iter()
        .rev()
        .map(|secs| secs * 1_000)
        .find(|interval| *interval <= between_changes_ms / 2)?;
    if wanted < every_ms * 2 {
        return None;
    }
    // As many calls as fit into the same time, of each request: where its time is not a multiple, there is one more.
    let needed = polls_gap_ms.div_ceil(wanted) + (requests - 1);
    let saved = polls.checked_sub(needed).filter(|saved| *saved > 0)?;
    let text = format!(
        "{} {} times, the same request about every {}; {} of {} repetitions ({}) got the same answer again. Every {} would have saved about {} calls.",
        habit.subject(),
        number(calls),
        interval(every_ms),
        number(same),
        number(polls),
        percent(same, polls),
        interval(wanted),
        number(saved),
    );
    let numbers = json!({
        "repetitions": polls,
        "same": same,
        "interval_ms": every_ms,
        "better_interval_ms": wanted,
    });
    Some(habit.advice(Kind::IdenticalPolls, calls, Some(saved), text, numbers))
}

/// What a conditional request costs at the provider nobody knows here: it is still a call.
fn revalidate(habit: &Habit, sums: &Sums) -> Option<Advice> {
    let (calls, could) = (sums.calls, sums.revalidatable);
    if could < FEW {
        return None;
    }
    let text = format!(
        "{} {} times; {} answers came again unchanged with an `ETag` or `Last-Modified` that was not used. With `If-None-Match` or `If-Modified-Since` they would have been 304 without a body, which some providers do not count.",
        habit.subject(),
        number(calls),
        number(could),
    );
    let numbers = json!({ "revalidatable": could });
    Some(habit.advice(Kind::Revalidate, calls, None, text, numbers))
}

fn cache(habit: &Habit, sums: &Sums) -> Option<Advice> {
    let (calls, fresh) = (sums.calls, sums.fresh);
    if fresh < FEW {
        return None;
    }
    let text = format!(
        "{} {} times; {} of these calls asked again for an answer that had called itself fresh for longer (`Cache-Control: max-age`). A cache in front of them would have saved those.",
        habit.subject(),
        number(calls),
        number(fresh),
    );
    let numbers = json!({ "fresh": fresh });
    Some(habit.advice(Kind::Cache, calls, Some(fresh), text, numbers))
}

fn always_fails(habit: &Habit, outcomes: &Outcomes) -> Option<Advice> {
    let answered = outcomes.statuses.iter().filter(|(status, _)| **status > 0);
    let calls: u64 = answered.clone().map(|(_, calls)| calls).sum();
    let failed = answered.clone().all(|(status, _)| *status >= 400);
    if calls < FEW || !failed {
        return None;
    }
    let (status, most) = answered.max_by_key(|(_, calls)| **calls)?;
    let text = format!(
        "{} {} times and not one call succeeded; {} of the answers were {status}.",
        habit.subject(),
        number(calls),
        percent(*most, calls),
    );
    let numbers = json!({ "status": status, "with_status": most });
    Some(habit.advice(Kind::AlwaysFails, calls, Some(calls), text, numbers))
}

/// One of several, or those without a name together, has used most of what is nearly used up.
fn starving(meter: &MeterReport) -> Option<Advice> {
    let (limit, remaining) = (meter.limit?, meter.remaining?);
    // Those without a name are one entry there, though nobody knows how many they are.
    let first = meter.consumers.first()?;
    let is_nameless = first.consumer == NAMELESS;
    let shared = meter.consumers.len() > 1 || meter.others > 0;
    // Concurrency comes back with each answer, short windows before anybody reads this.
    let lasts = meter.window.is_some_and(|secs| secs >= 3_600);
    // Two that use the same are no offender and victim.
    let is_most = first.used.saturating_mul(3) >= meter.used.saturating_mul(2);
    if !shared || !lasts || remaining.saturating_mul(5) > limit || !is_most {
        return None;
    }
    let victims: Vec<String> = meter
        .consumers
        .iter()
        .skip(1)
        .take(3)
        .map(|user| match &*user.consumer {
            NAMELESS => "callers without a name".to_owned(),
            name => format!("`{name}`"),
        })
        .chain((meter.others > 0).then(|| "callers outside headroom".to_owned()))
        .collect();
    let ends = match &meter.forecast {
        Some(forecast) if remaining > 0 => {
            format!(" At this pace nothing is left at {}.", forecast.runs_out_at)
        }
        _ => String::new(),
    };
    let who = if is_nameless {
        "Callers without a name have together".to_owned()
    } else {
        format!("`{}` has", first.consumer)
    };
    let text = format!(
        "{who} used {} of the {} {} of `{}` (`{}`); {}, who share it, have {} left.{ends}",
        number(first.used),
        number(limit),
        meter.unit,
        meter.connection,
        meter.policy,
        victims.join(", "),
        number(remaining),
    );
    Some(Advice {
        kind: Kind::Starving,
        connection: meter.connection.clone(),
        consumer: if is_nameless {
            String::new()
        } else {
            first.consumer.clone()
        },
        endpoint: None,
        policy: Some(meter.policy.clone()),
        calls: first.used,
        saved: None,
        text,
        numbers: json!({
            "limit": limit,
            "remaining": remaining,
            "used_by_first": first.used,
            "used": meter.used,
            "reset": meter.reset,
        }),
    })
}

#[cfg(test)]
mod tests;
