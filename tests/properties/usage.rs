//! Reports against a list of all calls: each number is what counting one by one gives, in any zone, by anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use headroom::history::plan::Step;
use headroom::history::query::filter::Filter;
use headroom::history::query::{Answer, By, Key, Numbers, Question, Range, answer};
use headroom::history::record::{Outcome, Record, Refuser, Who};
use headroom::history::{History, Settings};
use headroom::state::State;
use headroom::time::Nanos;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const DAY: i64 = 86_400;

/// With hours that are none of UTC's, half hours, dates that begin at one o'clock or twice, and dates that were never.
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Oslo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/St_Johns",
    "America/Havana",
    "Africa/Cairo",
    "Pacific/Apia",
];

/// Beside days on which clocks are set.
const NOWS: [&str; 5] = [
    "2026-03-30T00:30:12.345Z",
    "2026-04-05T09:59:59.999Z",
    "2026-10-25T01:10:00Z",
    "2026-11-01T23:59:00.001Z",
    "2026-11-22T02:00:00Z",
];

/// One call, as the list has it.
#[derive(Debug, Clone)]
struct Call {
    at_ms: i64,
    consumer: &'static str,
    endpoint: &'static str,
    status: Option<u16>,
    refused_by: Option<Refuser>,
    is_broken: bool,
}

fn call() -> impl Strategy<Value = (i64, Call)> {
    // Most of it lately, the rest longer ago than minutes and hours are kept.
    let back_ms = prop_oneof![
        4 => 0..DAY * 1_000,
        3 => 0..8 * DAY * 1_000,
        2 => 0..60 * DAY * 1_000,
    ];
    let kind = select(vec![
        (Some(200), None, false),
        (Some(200), None, true),
        (Some(304), None, false),
        (Some(404), None, false),
        (Some(500), None, true),
        (Some(429), Some(Refuser::Headroom), false),
        (Some(429), Some(Refuser::Provider), false),
        (Some(503), Some(Refuser::Provider), true),
        (None, None, false),
        (None, Some(Refuser::Headroom), false),
    ]);
    let names = (
        select(vec!["reports", "billing", "anonymous"]),
        select(vec!["/a", "/b/*"]),
    );
    (back_ms, kind, names).prop_map(|(back_ms, kind, (consumer, endpoint))| {
        let (status, refused_by, is_broken) = kind;
        let call = Call {
            at_ms: 0,
            consumer,
            endpoint,
            status,
            refused_by,
            is_broken,
        };
        (back_ms, call)
    })
}

impl Call {
    fn record(&self) -> Record {
        Record {
            ended_ms: self.at_ms,
            connection: "crm".into(),
            provider: "hubspot".into(),
            consumer: Who::Named(self.consumer.into()),
            method: "GET",
            endpoint: self.endpoint.to_owned(),
            status: self.status,
            upstream_status: None,
            refused_by: self.refused_by,
            policy: None,
            spent: Default::default(),
            outcome: match (self.is_broken, self.status) {
                (true, _) => Outcome::Broken,
                (_, None) => Outcome::Left,
                _ => Outcome::Complete,
            },
            waited: Nanos(0),
            duration: Nanos::from_millis(12),
            upstream: Nanos::from_millis(11),
            overhead: Default::default(),
            bytes_in: 3,
            bytes_out: 512,
            poll: Default::default(),
        }
    }

    fn key(&self, by: By, zone: &TimeZone) -> String {
        let local = Timestamp::from_millisecond(self.at_ms)
            .unwrap()
            .to_zoned(zone.clone());
        let hours = if *zone == TimeZone::UTC { "Z" } else { "%:z" };
        match by {
            By::Consumer => self.consumer.to_owned(),
            By::Endpoint => self.endpoint.to_owned(),
            By::Status => self
                .status
                .map_or_else(String::new, |status| status.to_string()),
            By::RefusedBy => self.refused_by.map_or("", |who| who.as_str()).to_owned(),
            By::Step(Step::Day) => local.date().to_string(),
            By::Step(Step::Hour) => local
                .strftime(&format!("%Y-%m-%dT%H:00:00{hours}"))
                .to_string(),
            By::Step(Step::Minute) => local
                .strftime(&format!("%Y-%m-%dT%H:%M:00{hours}"))
                .to_string(),
            _ => unreachable!(),
        }
    }

    fn at(self, at_ms: i64) -> Self {
        Self { at_ms, ..self }
    }

    fn is_within(&self, from: i64, to: i64) -> bool {
        (from * 1_000..to * 1_000).contains(&self.at_ms)
    }
}

fn spelled(key: &Key) -> String {
    match key {
        Key::None => String::new(),
        Key::Number(number) => number.to_string(),
        Key::Text(text) => text.to_string(),
    }
}

/// Calls, ok, failed, refused, exhausted, unanswered, bytes.
fn numbers(numbers: &Numbers) -> [u64; 7] {
    assert_eq!(
        numbers.ok + numbers.failed + numbers.refused + numbers.exhausted + numbers.unanswered,
        numbers.calls,
        "each call is one of these"
    );
    [
        numbers.calls,
        numbers.ok,
        numbers.failed,
        numbers.refused,
        numbers.exhausted,
        numbers.unanswered,
        numbers.bytes_out,
    ]
}

fn naive(call: &Call) -> [u64; 7] {
    let kind = match (call.refused_by, call.status, call.is_broken) {
        (Some(Refuser::Headroom), ..) => 3,
        (Some(Refuser::Provider), ..) => 4,
        (_, None, _) => 5,
        (_, Some(100..=399), false) => 1,
        _ => 2,
    };
    let mut numbers = [1, 0, 0, 0, 0, 0, 512];
    numbers[kind] = 1;
    numbers
}

/// What happens to the store while calls come in: how often minutes that are over are looked for, with the clock so long
/// before the end, and whether headroom is started again.
#[derive(Debug, Clone)]
struct Spell {
    looks: i64,
    back_ms: i64,
    restarts: bool,
}

fn spell() -> impl Strategy<Value = Spell> {
    let back_ms = prop_oneof![
        3 => Just(0),
        2 => 0..DAY * 1_000,
        1 => 0..60 * DAY * 1_000,
    ];
    (0..8_i64, back_ms, prop::bool::weighted(0.2)).prop_map(|(looks, back_ms, restarts)| Spell {
        looks,
        back_ms,
        restarts,
    })
}

fn report(
    calls: &[Call],
    spells: &[Spell],
    question: &Question,
    now_ms: i64,
) -> Result<Answer, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let kept = spells.iter().any(|spell| spell.restarts);
        let state = kept.then(|| State::open(folder.path(), now_ms).unwrap().0);
        let history = History::new(state.clone(), Settings::default(), now_ms);
        (state, Arc::new(history.unwrap()))
    };
    let (mut state, mut history) = open();
    let share = calls.len().div_ceil(spells.len());
    for (calls, spell) in calls.chunks(share).zip(spells) {
        for call in calls {
            history.record(&call.record());
        }
        runtime.block_on(async {
            for look in 0..spell.looks {
                // Looks are a second apart at the least. What is too old goes, too.
                history.flush(now_ms - spell.back_ms - look * 1_000).await;
                // Until it is written.
                history.record(&OUTSIDER.at(now_ms).record());
                history.read(|_| Ok(())).await.unwrap();
            }
        });
        if spell.restarts {
            history.close().unwrap();
            drop(history);
            state.take().unwrap().close().unwrap();
            (state, history) = open();
        }
    }
    let asked = question.clone();
    let answer = history.read(move |snapshot| answer(snapshot, &asked, now_ms));
    runtime.block_on(answer).unwrap()
}

/// A call that makes the history write, and that no question is about.
const OUTSIDER: Call = Call {
    at_ms: 0,
    consumer: "outsider",
    endpoint: "/outside",
    status: Some(200),
    refused_by: None,
    is_broken: false,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn each_report_is_what_counting_one_by_one_gives(
        calls in prop::collection::vec(call(), 1..80),
        spells in prop::collection::vec(spell(), 1..6),
        now in select(NOWS.to_vec()),
        zone in select(ZONES.to_vec()),
        columns in subsequence(vec![By::Consumer, By::Endpoint, By::Status, By::RefusedBy], 0..=3),
        step in select(vec![None, Some(Step::Minute), Some(Step::Hour), Some(Step::Day), Some(Step::Day)]),
        only in select(vec![None, Some("reports")]),
        range in prop_oneof![
            (1..2_000_u32).prop_map(Range::Minutes),
            (1..12_u32).prop_map(Range::Dates),
            (0..40 * DAY, 60..30 * DAY).prop_map(|(from, length)| Range::Between(-from - length, Some(-from))),
        ],
    ) {
        let now_ms = now.parse::<Timestamp>().unwrap().as_millisecond();
        let calls: Vec<_> = calls.into_iter().map(|(back, call)| Call { at_ms: now_ms - back, ..call }).collect();
        let zone = TimeZone::get(zone).unwrap();
        let mut by = columns;
        by.extend(step.map(By::Step));
        if by.is_empty() {
            by.push(By::Consumer);
        }
        let mut filter = Filter { consumer: vec!["reports".into(), "billing".into(), "anonymous".into()], ..Filter::default() };
        if let Some(only) = only {
            filter.consumer = vec![only.to_owned()];
        }
        let now_secs = now_ms / 1_000;
        let range = match range {
            Range::Between(from, to) => Range::Between(now_secs + from, to.map(|to| now_secs + to)),
            other => other,
        };
        let question = Question { by: by.clone(), filter, range, zone: zone.clone() };
        // Of what is too old for its rows there is no answer at all, which the unit tests look at.
        let Ok(told) = report(&calls, &spells, &question, now_ms) else {
            let is_old = matches!(range, Range::Between(from, _) if from < now_secs - 2 * DAY);
            prop_assert!(is_old && step.is_some(), "no answer to {question:?}");
            return Ok(());
        };

        // The range is that of the question, or the notes say why not.
        let asked = match range {
            Range::Minutes(minutes) => Some((told.to - i64::from(minutes) * 60, told.to)),
            Range::Between(from, Some(to)) => Some((from, to)),
            _ => None,
        };
        if let Some(asked) = asked && asked != (told.from, told.to) {
            prop_assert!(!told.notes.is_empty(), "{told:?}");
        }
        if let Range::Dates(dates) = range && dates <= 2 {
            let today = Timestamp::from_second(told.to - 1).unwrap().to_zoned(zone.clone()).date();
            let first = if dates == 2 { today.yesterday().unwrap() } else { today };
            let midnight = first.to_zoned(zone.clone()).unwrap().timestamp().as_second();
            // Minutes are kept for a day and a half: of what is older no rows by minute are told, and that is told.
            let is_cut = step == Some(Step::Minute) && told.from > midnight && !told.notes.is_empty();
            prop_assert!(told.from == midnight || is_cut, "{told:?}");
        }

        let wanted: Vec<_> = calls.iter().filter(|call| only.is_none_or(|only| call.consumer == only)).collect();
        let mut expected: BTreeMap<Vec<String>, [u64; 7]> = BTreeMap::new();
        let mut total = [0; 7];
        for call in wanted.iter().filter(|call| call.is_within(told.from, told.to)) {
            let keys = by.iter().map(|by| call.key(*by, &zone)).collect();
            let sums = expected.entry(keys).or_default();
            for (at, number) in naive(call).into_iter().enumerate() {
                sums[at] += number;
                total[at] += number;
            }
        }
        let found: BTreeMap<Vec<String>, [u64; 7]> = told.rows.iter()
            .map(|row| (row.keys(&question.by).iter().map(spelled).collect(), numbers(&row.numbers)))
            .collect();
        prop_assert_eq!(found.len(), told.rows.len(), "a row is there twice: {:?}", &told.rows);
        prop_assert_eq!(found, expected, "{:?}", &question);
        prop_assert_eq!(numbers(&told.totals), total);

        // Both famous reports, reconciled to the call.
        let Some(overlap) = told.last_24h else {
            prop_assert!(step != Some(Step::Day) || matches!(range, Range::Between(..)));
            return Ok(());
        };
        let last = |from, to| wanted.iter().filter(|call| call.is_within(from, to)).count() as u64;
        prop_assert_eq!(overlap.to - overlap.from, DAY);
        prop_assert_eq!(overlap.calls, last(overlap.from, overlap.to));
        prop_assert_eq!(overlap.days.iter().map(|day| day.within).sum::<u64>(), overlap.calls);
        for day in &overlap.days {
            let of_day = |call: &&&Call| call.key(By::Step(Step::Day), &zone) == day.day && call.is_within(i64::MIN / 1_000, overlap.to);
            prop_assert_eq!(day.calls, wanted.iter().filter(of_day).count() as u64);
            prop_assert_eq!(day.before + day.within, day.calls);
        }
    }
}
