//! What it costs to remember a call, and how much room the history takes: `cargo bench --bench history`, and with
//! `-- days 7` the file after so many days of ten million calls each, and how long reports of them take.
//!
//! A call of two policies, as the gateway records it. "Warm": its kind was seen since the sums were last taken away. "Cold": sums
//! are taken away after each 29 calls, as four times a second with ten million calls a day, so most kinds are new. "Taken away":
//! the same, on the thread that takes them; "written": on the thread that writes them, with all that it does to minutes
//! that are over.
//!
//! With `days` time runs faster: each call is drawn and added up here, and its minute's sums and events are handed to the store
//! in one go, not four times a second by a recorder. So the file has one part of the minute that is going on, not 240, and
//! its events are in fewer blocks, which makes them smaller; what is in the blocks of totals is the same.
//! With a folder behind the days the file is kept there, and with a file that is there already only the reports are made.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::collections::HashMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use headroom::admin::usage::report;
use headroom::advice::{Totals, advise};
use headroom::clock;
use headroom::history::poll::Poll;
use headroom::history::record::{Outcome, Record, Refuser, Spent, Who};
use headroom::history::{History, Settings};
use headroom::quota::Unit;
use headroom::state::State;
use headroom::state::history::{Chunk, EventRow, LEVELS, Series, SeriesRef, Snapshot, Sums};
use headroom::time::Nanos;
use http::HeaderMap;
use rustix::time::{ClockId, clock_gettime};
use smallvec::smallvec;

const ROUNDS: usize = 21;
const NOON_MS: i64 = 1_795_348_800_000;
const DAY_MS: i64 = 86_400_000;
/// Ten million.
const CALLS_A_DAY: u64 = 10_000_000;
/// Connections, consumers of each, endpoints of each.
const KINDS: [u64; 3] = [20, 10, 20];

/// Names that calls share, as in the gateway.
struct Names {
    connections: Vec<Arc<str>>,
    consumers: Vec<Arc<str>>,
    endpoints: Vec<String>,
    provider: Arc<str>,
    policies: [Arc<str>; 2],
    /// Sums of weights 1/1, 1/2, 1/3: some kinds are called often, most seldom.
    weights: Vec<f64>,
}

impl Names {
    fn new() -> Self {
        let [connections, consumers, endpoints] = KINDS;
        let many = |what: &str, count: u64| -> Vec<Arc<str>> {
            (0..count).map(|n| format!("{what}-{n}").into()).collect()
        };
        let mut sum = 0.0;
        let kinds = connections * consumers * endpoints;
        Self {
            connections: many("connection", connections),
            consumers: many("consumer", consumers),
            endpoints: (0..endpoints)
                .map(|n| format!("/api/v3/things-{n}/*/parts/*"))
                .collect(),
            provider: "provider".into(),
            policies: ["daily".into(), "ten-secondly".into()],
            weights: (1..=kinds)
                .map(|rank| {
                    sum += 1.0 / rank as f64;
                    sum
                })
                .collect(),
        }
    }

    /// One of many kinds, and one of a hundred lots, by chance.
    fn draw(&self, random: &mut u64) -> (usize, u64) {
        let point = next(random) as f64 / u64::MAX as f64 * self.weights.last().unwrap();
        let rank = self.weights.partition_point(|sum| *sum < point);
        // The often called are spread over connections and consumers.
        let kind = rank.min(self.weights.len() - 1) * 1_237 % self.weights.len();
        (kind, next(random) % 100)
    }

    fn record(&self, random: &mut u64, ended_ms: i64) -> Record {
        let (kind, lot) = self.draw(random);
        self.record_of(kind, lot, ended_ms)
    }

    fn record_of(&self, kind: usize, lot: u64, ended_ms: i64) -> Record {
        let [_, consumers, endpoints] = KINDS.map(|count| usize::try_from(count).unwrap());
        let (connection, rest) = (
            kind / (consumers * endpoints),
            kind % (consumers * endpoints),
        );
        let (status, refused_by) = match lot {
            0 => (429, Some(Refuser::Headroom)),
            1 => (404, None),
            2 => (500, None),
            _ => (200, None),
        };
        let spent = |index: usize| Spent {
            policy: Arc::clone(&self.policies[index]),
            unit: Unit::Requests,
            cost: 1,
        };
        Record {
            ended_ms,
            connection: Arc::clone(&self.connections[connection]),
            provider: Arc::clone(&self.provider),
            consumer: Who::Named(Arc::clone(&self.consumers[rest / endpoints])),
            method: "GET",
            endpoint: self.endpoints[rest % endpoints].clone(),
            status: Some(status),
            upstream_status: None,
            refused_by,
            policy: refused_by.map(|_| Arc::clone(&self.policies[0])),
            spent: match refused_by {
                Some(_) => smallvec![],
                None => smallvec![spent(0), spent(1)],
            },
            outcome: Outcome::Complete,
            waited: Nanos(0),
            duration: Nanos(80_000_000 + lot * 1_000_000),
            upstream: Nanos(80_000_000),
            overhead: Some(Nanos(150_000 + lot * 1_000)),
            bytes_in: 0,
            bytes_out: 2_000 + lot,
            poll: Poll::default(),
        }
    }
}

/// xorshift: the same numbers in each run.
const fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Nanoseconds for recording each of these; making them is not in it.
fn time(history: &History, records: Vec<Record>) -> f64 {
    let count = records.len() as f64;
    let begun = worked();
    for record in records {
        history.record(&black_box(record));
    }
    (worked() - begun) / count
}

/// Nanoseconds that this thread was on a processor: a busy machine does not move it much.
fn worked() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split(' ').next().unwrap().parse().unwrap()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let names = Names::new();
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == "days");
    if let Some((at, days)) = at.and_then(|at| Some((at, arguments.get(at + 1)?))) {
        let folder = arguments.get(at + 2).map(PathBuf::from);
        return runtime.block_on(fill(&names, days.parse().unwrap(), folder.as_deref()));
    }
    let mut random = 0x9e37_79b9_7f4a_7c15;
    let history = History::new(None, Settings::default(), NOON_MS).unwrap();
    let mut one = names.record(&mut random, NOON_MS);
    while one.spent.is_empty() {
        one = names.record(&mut random, NOON_MS);
    }
    let rounds = |records: &mut dyn FnMut() -> Vec<Record>, repeats: usize| {
        let times = (0..ROUNDS).map(|_| {
            let times = (0..repeats).map(|_| {
                let took = time(&history, records());
                runtime.block_on(history.flush(NOON_MS));
                took
            });
            times.sum::<f64>() / repeats as f64
        });
        median(times.collect())
    };
    let warm = rounds(&mut || vec![one.clone(); 8_000], 1);
    println!("{:<44} {warm:>7.0} ns  (wanted < 2000)", "a call, warm");
    let cold = rounds(
        &mut || {
            let records = (0..29).map(|_| names.record(&mut random, NOON_MS));
            records.collect()
        },
        200,
    );
    println!("{:<44} {cold:>7.0} ns  (wanted < 2000)", "a call, cold");
    let both = (0..ROUNDS).map(|_| {
        let times = std::thread::scope(|scope| {
            let work = || time(&history, vec![one.clone(); 8_000]);
            let threads = [scope.spawn(work), scope.spawn(work)];
            threads.map(|thread| thread.join().unwrap())
        });
        runtime.block_on(history.flush(NOON_MS));
        times[0].max(times[1])
    });
    let both = median(both.collect());
    println!(
        "{:<44} {both:>7.0} ns  (wanted < 2000)",
        "a call, warm, at two threads"
    );
    runtime.block_on(flushes(&names));
    println!(
        "{:<44} {:>7} bytes",
        "the record of a call",
        size_of::<Record>()
    );
}

/// What it costs to take the sums of 29 calls away and to write them, a call, on a file: four times a second, for some
/// minutes of ten million calls a day.
async fn flushes(names: &Names) {
    const FLUSHES: u32 = 4 * 60 * 10;
    const CALLS: u32 = 29;
    let folder = tempfile::tempdir().unwrap();
    let (state, _) = State::open(folder.path(), NOON_MS).unwrap();
    let history = History::new(Some(state), Settings::default(), NOON_MS).unwrap();
    let history = Arc::new(history);
    let mut random = 0x9e37_79b9_7f4a_7c15;
    let mut taken = 0.0;
    let mut written = 0.0;
    for flush in 0..FLUSHES * 2 {
        // The first half knows no names yet.
        if flush == FLUSHES {
            (taken, written) = (0.0, written_by());
        }
        let now_ms = NOON_MS + i64::from(flush) * 250;
        for _ in 0..CALLS {
            history.record(&names.record(&mut random, now_ms));
        }
        let begun = worked();
        history.flush(now_ms).await;
        taken += worked() - begun;
        history.read(|_| Ok(())).await.unwrap();
    }
    let calls = f64::from(FLUSHES * CALLS);
    println!(
        "{:<44} {:>7.0} ns",
        "a call, taken away with 28 others",
        taken / calls
    );
    let written = (written_by() - written) / calls;
    println!("{:<44} {written:>7.0} ns", "a call, written with 28 others");
}

/// Nanoseconds that the thread of the store was on a processor.
fn written_by() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let worked = tasks.filter_map(|task| {
        let task = task.unwrap().path();
        let name = std::fs::read_to_string(task.join("comm")).ok()?;
        let told = std::fs::read_to_string(task.join("schedstat")).ok()?;
        let worked = || told.split(' ').next().unwrap().parse::<f64>().unwrap();
        (name.trim() == "headroom-state").then(worked)
    });
    worked.sum()
}

/// Bytes of a file with its log.
fn bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// What the calls of a kind and lot are counted as: the record's own, without making it each time.
struct Kind {
    series: SeriesRef,
    sums: Sums,
    outcome: Outcome,
    policy: Arc<str>,
    spent: &'static str,
    /// Where the sums of what it spent go.
    policies: Vec<usize>,
}

/// All kinds and lots, and behind them the policies of each caller.
struct Kinds {
    kinds: Vec<Kind>,
    policies: Vec<SeriesRef>,
}

const LOTS: usize = 100;

impl Kinds {
    fn new(names: &Names) -> Self {
        let mut kinds = Vec::new();
        let mut policies: Vec<SeriesRef> = Vec::new();
        let mut known: HashMap<Series, SeriesRef> = HashMap::new();
        let mut places: HashMap<Series, usize> = HashMap::new();
        for kind in 0..names.weights.len() {
            for lot in 0..LOTS as u64 {
                let record = names.record_of(kind, lot, 0);
                let calls = Series {
                    connection: Arc::clone(&record.connection),
                    provider: Arc::clone(&record.provider),
                    consumer: record.consumer.name(),
                    method: record.method.into(),
                    endpoint: record.endpoint.as_str().into(),
                    status: record.status.unwrap(),
                    upstream_status: 0,
                    refused_by: record.refused_by.map_or("", Refuser::as_str).into(),
                    policy: "".into(),
                    unit: "".into(),
                };
                let of_policy = |spent: &Spent| Series {
                    method: "".into(),
                    endpoint: "".into(),
                    status: 0,
                    refused_by: "".into(),
                    policy: Arc::clone(&spent.policy),
                    unit: spent.unit.as_str().into(),
                    ..calls.clone()
                };
                let places = record.spent.iter().map(of_policy).map(|series| {
                    *places.entry(series.clone()).or_insert_with(|| {
                        policies.push(series.into());
                        policies.len() - 1
                    })
                });
                let policies = places.collect();
                let series = known.entry(calls.clone()).or_insert_with(|| calls.into());
                kinds.push(Kind {
                    series: series.clone(),
                    sums: record.sums(),
                    outcome: record.outcome,
                    policy: record.policy.clone().unwrap_or_default(),
                    spent: if record.spent.is_empty() { "[]" } else { SPENT },
                    policies,
                });
            }
        }
        Self { kinds, policies }
    }

    /// Some calls of one minute.
    fn minute(
        &self,
        names: &Names,
        random: &mut u64,
        start_ms: i64,
        calls: u64,
        last: &mut i64,
    ) -> Chunk {
        let mut chunk = Chunk::default();
        let mut sums: HashMap<SeriesRef, Sums> = HashMap::new();
        for call in 0..calls {
            let (kind, lot) = names.draw(random);
            let kind = &self.kinds[kind * LOTS + usize::try_from(lot).unwrap()];
            let mut add = |series: &SeriesRef, one: &Sums| {
                sums.entry(series.clone()).or_default().add(one);
            };
            add(&kind.series, &kind.sums);
            for place in &kind.policies {
                let one = Sums {
                    calls: 1,
                    cost: 1,
                    ..Sums::default()
                };
                add(&self.policies[*place], &one);
            }
            *last += 1;
            chunk.events.push(EventRow {
                id: *last,
                at_ms: start_ms + i64::try_from(call * 60_000 / calls).unwrap(),
                series: kind.series.clone(),
                outcome: kind.outcome.as_str(),
                policy: Arc::clone(&kind.policy),
                spent: kind.spent.into(),
                waited_us: kind.sums.waited_us,
                duration_us: kind.sums.duration_us,
                upstream_us: kind.sums.upstream_us,
                bytes_in: kind.sums.bytes_in,
                bytes_out: kind.sums.bytes_out,
            });
        }
        chunk.totals = sums
            .into_iter()
            .map(|(series, sums)| (start_ms / 1_000, series, sums))
            .collect();
        chunk
    }
}

const SPENT: &str = "[{\"policy\":\"daily\",\"unit\":\"requests\",\"cost\":1},{\"policy\":\"ten-secondly\",\"unit\":\"requests\",\"cost\":1}]";

/// Days of calls, in compressed time.
async fn fill(names: &Names, days: i64, kept: Option<&Path>) {
    const STEP_MS: i64 = 60_000;
    let fresh = tempfile::tempdir().unwrap();
    let folder = kept.unwrap_or(fresh.path());
    let is_there = folder.join("headroom.db").exists();
    let (state, _) = State::open(folder, NOON_MS).unwrap();
    let history = History::new(Some(state.clone()), Settings::default(), NOON_MS).unwrap();
    let history = Arc::new(history);
    if is_there {
        return reports(&history, NOON_MS + days * DAY_MS).await;
    }
    let kinds = Kinds::new(names);
    let mut random = 0x9e37_79b9_7f4a_7c15;
    let calls = CALLS_A_DAY / u64::try_from(DAY_MS / STEP_MS).unwrap() + 1;
    let (mut most, mut last) = (0, 0);
    for day in 0..days {
        let (begun, before) = (clock::monotonic(), written_by());
        for step in 0..DAY_MS / STEP_MS {
            let start = NOON_MS + day * DAY_MS + step * STEP_MS;
            let chunk = kinds.minute(names, &mut random, start, calls, &mut last);
            state.add(Arc::new(chunk)).await.unwrap();
            // As it is called at the end of the minute: the one before is over, and what is old goes.
            history.flush(start + STEP_MS).await;
            if step % 60 == 0 {
                most = most.max(bytes(folder));
            }
        }
        most = most.max(bytes(folder));
        let took = clock::monotonic().duration_since(begun).as_secs_f64();
        println!(
            "after day {}: {:>6.1} MiB in use, {:>6.1} MiB of files, at most {:>6.1} MiB (wanted < 1024), {last} calls, {took:.0} s of work, {:.0} ns a call of writing",
            day + 1,
            mib(history.bytes()),
            mib(bytes(folder)),
            mib(most),
            (written_by() - before) / CALLS_A_DAY as f64,
        );
        reports(&history, NOON_MS + (day + 1) * DAY_MS).await;
    }
    blocks(folder, days);
    assert!(history.health().is_none());
    let counted = history.read(|snapshot| {
        let names: HashMap<_, _> = snapshot.dictionary()?.series().iter().cloned().collect();
        let mut calls = 0;
        snapshot.totals(86_400, i64::MIN, i64::MAX, |_, series, sums| {
            if names[&series].policy.is_empty() {
                calls += sums.calls;
            }
        })?;
        Ok(calls)
    });
    assert_eq!(counted.await.unwrap(), u64::try_from(last).unwrap());
    // Its threads have nothing left to do.
    tokio::time::sleep(Duration::ZERO).await;
}

const QUESTIONS: [&str; 16] = [
    "by=connection&last=24h",
    "by=connection&last=7d",
    "by=consumer,day&last=7d",
    "by=consumer,day&last=7d&tz=Europe/Oslo",
    "by=consumer,day&last=7d&tz=Asia/Kolkata",
    "by=consumer,day&last=7d&tz=Asia/Kathmandu",
    "by=hour&last=7d",
    "by=connection,hour&last=7d",
    "by=connection,hour&last=7d&tz=Asia/Kolkata",
    "by=connection,hour&last=7d&tz=Asia/Kathmandu",
    "by=consumer,connection,hour&last=7d",
    "by=connection,endpoint,status&last=7d",
    "by=connection,consumer,method,endpoint,status,hour&last=7d&connection=connection-1",
    "by=policy,consumer,day&last=7d",
    "by=minute&last=24h",
    "by=minute&last=7d",
];

/// How long reports take. The clock of these calls: the last one was a moment ago.
async fn reports(history: &Arc<History>, now_ms: i64) {
    for question in QUESTIONS {
        let uri = format!("/-/usage?{question}").parse().unwrap();
        let mut bytes = 0;
        let times = timed(async || {
            let answer = report(history, &uri, &HeaderMap::new(), now_ms).await;
            assert!(answer.status().is_success());
            let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
            bytes = body.unwrap().len();
        });
        told(question, times.await, bytes);
    }
    let now = now_ms / 1_000;
    for days in [1, 7] {
        let times = timed(async || {
            let read =
                move |snapshot: &Snapshot<'_>| Totals::read(snapshot, now - days * 86_400, now);
            let totals = history.read(read).await.unwrap();
            black_box(advise(&totals, &[]));
        });
        told(&format!("advice?last={days}d"), times.await, 0);
    }
}

/// Medians of five: milliseconds that passed, and that processors worked.
async fn timed(mut run: impl AsyncFnMut()) -> (f64, f64) {
    let (mut passed, mut spent) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        // Threads that have ended meanwhile count, too.
        let worked = || {
            let time = clock_gettime(ClockId::ProcessCPUTime);
            time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
        };
        let (begun, before) = (clock::monotonic(), worked());
        run().await;
        passed.push(clock::monotonic().duration_since(begun).as_secs_f64() * 1e3);
        spent.push(worked() - before);
    }
    (median(passed), median(spent))
}

fn told(question: &str, (ms, spent): (f64, f64), bytes: usize) {
    let verdict = if ms < 100.0 { "PASS" } else { "over" };
    let kib = bytes / 1_024;
    println!(
        "  {question:<84} {ms:>6.1} ms, {spent:>6.1} ms of processor, {kib:>6} KiB  (wanted < 100: {verdict})"
    );
}

/// What blocks there are, how large they are, and what as many as are kept would be.
fn blocks(folder: &Path, days: i64) {
    let file = rusqlite::Connection::open(folder.join("headroom.db")).unwrap();
    let row = |table: &str, condition: &str| -> (i64, i64) {
        let query =
            format!("SELECT COUNT(*), COALESCE(SUM(LENGTH(data)), 0) FROM {table} {condition}");
        file.query_row(&query, [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    };
    let settings = Settings::default();
    let kept = [
        settings.keep_minutes,
        settings.keep_hours,
        settings.keep_hours,
        settings.keep_days,
    ];
    let mut projected = 0.0;
    println!("measured after {days} days:");
    for (level, kept) in LEVELS.into_iter().zip(kept) {
        let (count, bytes) = row("blocks", &format!("WHERE level = {level}"));
        // The first and the last day are half days, from noon.
        let full = days as f64 * DAY_MS as f64 / 1e3 / level as f64;
        let each = bytes as f64 / full.min(count as f64);
        let number = kept.as_secs() as f64 / level as f64;
        let whole = each * number * page_loss(each);
        projected += whole;
        println!(
            "  {count:>6} blocks of {level:>5} s, {each:>8.0} bytes each; kept for {:>3} days: {number:>6} of them, {:>6.1} MiB",
            kept.as_secs() as f64 / 86_400.0,
            whole / 1_048_576.0
        );
    }
    let (count, bytes) = row("events", "");
    let (parts, fresh) = row("fresh", "");
    projected += (bytes + fresh) as f64;
    println!(
        "  {count:>6} blocks of events, {:.1} MiB; {parts} parts of fresh minutes, {fresh} bytes",
        bytes as f64 / 1_048_576.0
    );
    println!(
        "projected from that for {} days: {:.0} MiB (wanted < 1024, and max_size {:.0})",
        settings.keep_days.as_secs() / 86_400,
        projected / 1_048_576.0,
        mib(settings.max_bytes)
    );
}

/// The last page of a block is half empty, and each has some bytes of its own.
fn page_loss(bytes: f64) -> f64 {
    (bytes + 2_048.0) / bytes * 4_096.0 / 4_092.0
}
