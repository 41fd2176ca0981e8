//! Warnings, from the call that crosses a threshold to the receiver of a webhook. Time is tokio's virtual time, but where
//! the program itself runs.

mod program;

use std::future::pending;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headroom::adapter::Adapter;
use headroom::adapter::parse::parse;
use headroom::adapter::terms::Terms;
use headroom::clock;
use headroom::ledger::account::Account;
use headroom::ledger::lookout::Watch;
use headroom::ledger::meter::Caller;
use headroom::ledger::report::Filter;
use headroom::ledger::rule::{Shares, Wishes};
use headroom::ledger::ticket::{Ticket, states};
use headroom::ledger::{Demand, Item, Ledger};
use headroom::quota::Mode;
use headroom::state::{State, WarningRow};
use headroom::time::Nanos;
use headroom::translate::Translation;
use headroom::warn::{
    Attempt, Endpoint, EndpointUrl, Kind, Post, Refusal, Secrets, Warning, Warnings,
};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::support::translations::told;

/// What the receiver does with what it gets.
type Manner = fn(&Attempt, usize) -> Answer;

enum Answer {
    Ok,
    Fails,
    Gone,
    Hangs,
}

/// A receiver: what it got, and when.
#[derive(Clone)]
struct Receiver {
    got: Arc<Mutex<Vec<(Attempt, Duration)>>>,
    begun: tokio::time::Instant,
    manner: Manner,
}

impl Receiver {
    fn new(manner: Manner) -> Self {
        Self {
            got: Arc::default(),
            begun: clock::monotonic(),
            manner,
        }
    }

    fn got(&self) -> Vec<(Attempt, Duration)> {
        self.got.lock().unwrap().clone()
    }
}

impl Post for Receiver {
    async fn deliver(&self, attempt: Attempt) -> Result<(), Refusal> {
        let number = {
            let mut got = self.got.lock().unwrap();
            got.push((attempt.clone(), clock::monotonic() - self.begun));
            got.len()
        };
        let refusal = |is_gone| Refusal {
            reason: "a test".to_owned(),
            is_gone,
        };
        match (self.manner)(&attempt, number) {
            Answer::Ok => Ok(()),
            Answer::Fails => Err(refusal(false)),
            Answer::Gone => Err(refusal(true)),
            Answer::Hangs => pending().await,
        }
    }
}

struct House {
    ledger: Arc<Ledger>,
    account: Arc<Account>,
    adapter: Adapter,
    warnings: Arc<Warnings>,
    heard: broadcast::Receiver<Arc<Warning>>,
    task: JoinHandle<()>,
}

const SECOND: Duration = Duration::from_secs(1);
const TEN_AN_HOUR: &str = "[policy.hour]\nquota = 10\nwindow = \"1h\"\nkind = \"fixed\"\n";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn endpoint(url: &str) -> Endpoint {
    let url = EndpointUrl::parse(url).unwrap();
    Endpoint::new(url, Secrets::parse(SECRET).ok().unwrap())
}

impl House {
    async fn new(policies: &str) -> Self {
        Self::with(
            policies,
            Some(Mode::Enforce),
            Receiver::new(|_, _| Answer::Ok),
            None,
        )
        .await
    }

    async fn with(
        policies: &str,
        mode: Option<Mode>,
        receiver: Receiver,
        kept: Option<(State, Vec<WarningRow>)>,
    ) -> Self {
        Self::capped(policies, mode, receiver, kept, 1_000).await
    }

    /// The caller may use no more than `cap`.
    async fn capped(
        policies: &str,
        mode: Option<Mode>,
        receiver: Receiver,
        kept: Option<(State, Vec<WarningRow>)>,
        cap: u64,
    ) -> Self {
        let endpoints = vec![endpoint("https://hooks.example.com/a")];
        let warnings = Warnings::new(endpoints);
        let heard = warnings.listen();
        let least = Nanos::from_secs(60);
        let watch = Watch::new(&[80, 95, 100], true, least, warnings.bell());
        let shares = Arc::new(Shares {
            caps: vec![(1, cap)],
            ..Shares::default()
        });
        let source = format!("name = \"Stub\"\ndocs = [\"https://example.com\"]\n{policies}");
        let adapter = parse("stub", &source).unwrap();
        let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
        let wishes = |_: &str| Wishes {
            mode,
            shares: Arc::clone(&shares),
            watch: watch.clone(),
            ..Wishes::default()
        };
        let account = Account::new("stub", "http://stub", &adapter, &terms, &wishes, 100);
        let ledger = Arc::new(Ledger::new(Default::default(), None));
        let run = Arc::clone(&warnings).run(Arc::clone(&ledger), kept, receiver);
        let task = tokio::spawn(run);
        // It looks at what there is first.
        tokio::time::sleep(SECOND / 2).await;
        Self {
            ledger,
            account: Arc::new(account),
            adapter,
            warnings,
            heard,
            task,
        }
    }

    async fn admit(&self) -> Option<Ticket> {
        let caller = Caller {
            id: 1,
            is_named: true,
        };
        let demand = Demand {
            account: &self.account,
            items: [Item {
                policy: 0,
                key: self.account.key(0, 1),
                shared: self.account.key(0, 1),
                cost: 1,
            }]
            .into_iter()
            .collect(),
            label: &|_| "project=7".to_owned(),
            caller,
            is_resident: true,
            urgency: 3,
            patience: None,
            mode_patience: Duration::ZERO,
        };
        match self.ledger.admit(&demand, clock::moment).await {
            Ok(ticket) => Some(ticket),
            Err(refused) => {
                // As the gateway does for the refusal's own headers.
                let cells = refused.cells.iter().map(|(policy, cell)| (*policy, cell));
                states(cells, caller, clock::moment());
                None
            }
        }
    }

    async fn answered(&self, translation: &Translation) {
        if let Some(mut ticket) = self.admit().await {
            ticket.answered(&self.adapter, translation, 7, clock::moment());
        }
    }

    /// So many calls, each with its answer.
    async fn calls(&self, count: u32) {
        for _ in 0..count {
            self.answered(&Translation::default()).await;
        }
    }

    /// What was told since the last time, after the task had its turn.
    async fn told(&mut self) -> Vec<(Kind, Option<u8>)> {
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let mut told = Vec::new();
        while let Ok(warning) = self.heard.try_recv() {
            told.push((warning.kind, warning.data.threshold));
        }
        told
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.task.abort();
    }
}

use Kind::{Forecast, Recovered, Threshold};

#[tokio::test(start_paused = true)]
async fn a_crossing_is_told_once_and_its_end_also_when_nobody_calls() {
    let mut house = House::new(TEN_AN_HOUR).await;
    house.calls(7).await;
    assert_eq!(house.told().await, []);
    house.calls(1).await;
    assert_eq!(house.told().await, [(Threshold, Some(80))]);
    house.calls(1).await;
    assert_eq!(house.told().await, []);
    house.calls(5).await;
    assert_eq!(house.told().await, [(Threshold, Some(100))]);
    tokio::time::sleep(SECOND * 1_800).await;
    house.calls(5).await;
    assert_eq!(house.told().await, []);
    tokio::time::sleep(SECOND * 1_800).await;
    assert_eq!(house.told().await, [(Recovered, Some(80))]);
    tokio::time::sleep(SECOND * 7_200).await;
    assert_eq!(house.told().await, []);
    // The next window is another one.
    house.calls(10).await;
    assert_eq!(
        house.told().await,
        [(Threshold, Some(80)), (Threshold, Some(100))]
    );
}

/// The task looks once a second; a window can turn and fill up in between.
#[tokio::test(start_paused = true)]
async fn a_window_that_fills_up_at_once_is_told_anew() {
    let mut house = House::new(TEN_AN_HOUR).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    house.calls(10).await;
    house.told().await;
    tokio::time::sleep(SECOND * 3_600 - Duration::from_millis(1_099)).await;
    house.calls(8).await;
    let expected = [(Recovered, Some(80)), (Threshold, Some(80))];
    assert_eq!(house.told().await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_warning_holds_the_numbers_of_its_moment() {
    let mut house = House::new(TEN_AN_HOUR).await;
    house.calls(8).await;
    let warning = house.heard.recv().await.unwrap();
    let data = &warning.data;
    assert_eq!((&*data.connection, &*data.provider), ("stub", "stub"));
    assert_eq!((&*data.policy, &*data.partition), ("hour", "project=7"));
    assert_eq!(&*data.unit, "requests");
    assert_eq!(
        (data.limit, data.used, data.remaining),
        (Some(10), Some(8), Some(2))
    );
    assert_eq!(data.source, "own;estimated");
    let at: jiff::Timestamp = warning.timestamp.parse().unwrap();
    let reset: jiff::Timestamp = data.reset_at.as_ref().unwrap().parse().unwrap();
    let secs = reset.as_second() - at.as_second();
    assert!((3_599..=3_601).contains(&secs), "{secs}");
    let json = serde_json::to_value(&*warning).unwrap();
    assert_eq!(json["type"], "quota.threshold");
    assert_eq!(json["data"]["threshold"], 80);
    assert!(json["data"].get("runs_out_at").is_none());
}

#[tokio::test(start_paused = true)]
async fn only_quotas_that_are_known_and_long_are_warned_of() {
    let short = TEN_AN_HOUR.replace("1h", "59s");
    let minute = TEN_AN_HOUR.replace("1h", "60s");
    let concurrent =
        "[policy.at-once]\nquota = 1\nkind = \"concurrent\"\nunit = \"concurrent-requests\"\n";
    // Ten in a bucket that is full again after 50 seconds, or after 100.
    let bucket = |refill: &str| {
        format!("[policy.bucket]\nquota = 10\nrefill = {refill}\nkind = \"bucket\"\n")
    };
    let (quick, slow) = (bucket("0.2"), bucket("0.1"));
    for (policies, mode, warns) in [
        (TEN_AN_HOUR, Some(Mode::Enforce), true),
        (TEN_AN_HOUR, Some(Mode::Observe), false),
        // Documented for everyone, and so only observed.
        (TEN_AN_HOUR, None, false),
        (&*minute, Some(Mode::Enforce), true),
        (&*short, Some(Mode::Enforce), false),
        (concurrent, Some(Mode::Enforce), false),
        (&*slow, Some(Mode::Enforce), true),
        (&*quick, Some(Mode::Enforce), false),
    ] {
        let mut house = House::with(policies, mode, Receiver::new(|_, _| Answer::Ok), None).await;
        house.calls(10).await;
        assert_eq!(!house.told().await.is_empty(), warns, "{policies} {mode:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_says_is_warned_of_whatever_is_documented() {
    let mut house = House::with(TEN_AN_HOUR, None, Receiver::new(|_, _| Answer::Ok), None).await;
    let said = told("hour", Some(1_000), Some(150), Some(1_800), false);
    house.answered(&said).await;
    assert_eq!(house.told().await, [(Threshold, Some(80))]);
    // It says nothing of the window, but that it is over in a moment.
    let nameless = "[policy.hour]\n";
    for (reset, warns) in [(59, false), (1_800, true)] {
        let mut house = House::with(nameless, None, Receiver::new(|_, _| Answer::Ok), None).await;
        let said = told("hour", Some(1_000), Some(150), Some(reset), false);
        house.answered(&said).await;
        assert_eq!(!house.told().await.is_empty(), warns, "{reset}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_long_says_that_a_quota_is_used_up_and_a_short_one_does_not() {
    for (secs, warns) in [(30, false), (600, true)] {
        let mut house =
            House::with(TEN_AN_HOUR, None, Receiver::new(|_, _| Answer::Ok), None).await;
        let refusal = Translation {
            exhausted: true,
            told_wait: Some(secs),
            ..Translation::default()
        };
        house.answered(&refusal).await;
        let expected = [(Threshold, Some(100))];
        let told = house.told().await;
        assert_eq!(told, &expected[..usize::from(warns)], "{secs}");
    }
}

/// What is left for it is another number than what is left.
#[tokio::test(start_paused = true)]
async fn a_caller_that_has_used_its_own_part_up_is_no_warning() {
    let receiver = Receiver::new(|_, _| Answer::Ok);
    let mode = Some(Mode::Enforce);
    let mut house = House::capped(TEN_AN_HOUR, mode, receiver, None, 3).await;
    house.calls(5).await;
    assert_eq!(house.told().await, []);
    assert_eq!(
        house
            .ledger
            .report(&Filter::default(), clock::moment())
            .meters[0]
            .used,
        3
    );
}

/// The call that used the last of it was never answered.
#[tokio::test(start_paused = true)]
async fn a_quota_that_unanswered_calls_used_up_is_told_at_the_first_refusal() {
    let mut house = House::new(TEN_AN_HOUR).await;
    for _ in 0..10 {
        drop(house.admit().await.unwrap());
    }
    assert_eq!(house.told().await, []);
    assert!(house.admit().await.is_none());
    assert_eq!(house.told().await, [(Threshold, Some(100))]);
}

#[tokio::test(start_paused = true)]
async fn a_pace_that_is_too_fast_is_told_once() {
    let mut house = House::new(&TEN_AN_HOUR.replace("quota = 10", "quota = 100")).await;
    house.calls(25).await;
    // A minute for 25 of 100 would last for four; then nobody calls, and the pace slows down.
    let mut told = Vec::new();
    for _ in 0..12 {
        tokio::time::sleep(SECOND * 15).await;
        told.extend(house.told().await);
    }
    assert_eq!(told, [(Forecast, None)]);
    tokio::time::sleep(SECOND * 3_600).await;
    assert_eq!(house.told().await, []);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_is_tried_again_until_it_is_taken() {
    let receiver = Receiver::new(|_, number| match number {
        1 | 2 => Answer::Fails,
        _ => Answer::Ok,
    });
    let house = House::with(TEN_AN_HOUR, Some(Mode::Enforce), receiver.clone(), None).await;
    let mut crossings = endpoint("https://hooks.example.com/b");
    crossings.events = vec![Threshold, Recovered];
    house.warnings.replace(vec![crossings]);
    house.calls(8).await;
    tokio::time::sleep(SECOND * 100_000).await;
    // Beside it the end of the window.
    let got: Vec<_> = receiver.got();
    let ids: Vec<_> = got.iter().map(|(attempt, _)| &attempt.id).collect();
    assert_eq!(got.len(), 4, "{ids:?}");
    assert!(ids[..3].iter().all(|id| *id == ids[0]) && ids[3] != ids[0]);
    assert!(
        got[..3]
            .iter()
            .all(|(attempt, _)| attempt.body == got[0].0.body)
    );
    let pauses = [got[1].1 - got[0].1, got[2].1 - got[1].1];
    for (pause, least) in pauses.into_iter().zip([5, 300]) {
        let least = SECOND * least;
        assert!(
            pause >= least && pause <= least * 6 / 5 + SECOND,
            "{pause:?}"
        );
    }
    let counters = house.warnings.counters();
    let count = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
    assert_eq!(count(&counters.delivered), 2);
    assert_eq!(count(&counters.failed), 2);
    assert_eq!(count(&counters.waiting), 0);
    let raised: Vec<_> = counters.raised().into_iter().collect();
    let kinds: Vec<_> = raised
        .iter()
        .map(|(one, count)| (one.kind, one.threshold, *count))
        .collect();
    let expected = [
        (Threshold, Some(80), 1),
        (Recovered, Some(80), 1),
        (Forecast, None, 1),
    ];
    assert_eq!(kinds, expected);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_blocks_nobody() {
    let receiver = Receiver::new(|attempt, _| {
        if attempt.endpoint.origin().contains("slow") {
            Answer::Hangs
        } else {
            Answer::Ok
        }
    });
    let mut house = House::with(TEN_AN_HOUR, Some(Mode::Enforce), receiver.clone(), None).await;
    house.warnings.replace(vec![
        endpoint("https://slow.example.com"),
        endpoint("https://quick.example.com"),
    ]);
    for _ in 0..5 {
        house.calls(10).await;
        assert_eq!(house.told().await.len(), 2);
        tokio::time::sleep(SECOND * 3_600).await;
        assert_eq!(house.told().await, [(Recovered, Some(80))]);
    }
    let got = receiver.got();
    let at = |host: &str| {
        let of = |one: &&(Attempt, Duration)| one.0.endpoint.origin().contains(host);
        got.iter().filter(of).count()
    };
    assert_eq!((at("quick"), at("slow")), (15, 4));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_is_gone_gets_nothing_more_until_it_is_configured_again() {
    let receiver = Receiver::new(|_, number| {
        if number == 1 {
            Answer::Gone
        } else {
            Answer::Ok
        }
    });
    let house = House::with(TEN_AN_HOUR, Some(Mode::Enforce), receiver.clone(), None).await;
    house.calls(8).await;
    tokio::time::sleep(SECOND * 4_000).await;
    house.calls(8).await;
    tokio::time::sleep(SECOND * 1_000).await;
    assert_eq!(receiver.got().len(), 1);
    house
        .warnings
        .replace(vec![endpoint("https://hooks.example.com/a")]);
    house.calls(2).await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(receiver.got().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_is_told_what_it_wants() {
    let receiver = Receiver::new(|_, _| Answer::Ok);
    let house = House::with(TEN_AN_HOUR, Some(Mode::Enforce), receiver.clone(), None).await;
    let mut recoveries = endpoint("https://recoveries.example.com");
    recoveries.events = vec![Recovered];
    let mut others = endpoint("https://others.example.com");
    others.connections = Some(vec!["other".to_owned()]);
    let mut own = endpoint("https://own.example.com");
    own.connections = Some(vec!["stub".to_owned()]);
    house.warnings.replace(vec![recoveries, others, own]);
    house.calls(10).await;
    tokio::time::sleep(SECOND * 4_000).await;
    let got = receiver.got();
    let hosts: Vec<_> = got.iter().map(|(one, _)| one.endpoint.origin()).collect();
    let count = |host: &str| hosts.iter().filter(|one| one.contains(host)).count();
    assert_eq!(
        (count("recoveries"), count("others"), count("own")),
        (1, 0, 3),
        "{hosts:?}"
    );
}

/// What a killed process leaves in the store.
#[tokio::test]
async fn a_webhook_that_was_not_delivered_is_delivered_by_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::new(|_, _| Answer::Hangs);
    let (state, loaded) = State::open(folder.path(), clock::now().as_millisecond()).unwrap();
    assert!(loaded.told.is_empty());
    let house = House::with(
        TEN_AN_HOUR,
        Some(Mode::Enforce),
        receiver.clone(),
        Some((state.clone(), Vec::new())),
    )
    .await;
    house.calls(8).await;
    while receiver.got().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(house);
    state.close().unwrap();

    let (state, loaded) = State::open(folder.path(), clock::now().as_millisecond()).unwrap();
    let kinds: Vec<_> = loaded.told.iter().map(|row| &*row.kind).collect();
    assert_eq!(kinds, ["episode", "letter"]);
    let next = Receiver::new(|_, _| Answer::Ok);
    let kept = Some((state.clone(), loaded.told));
    let house = House::with(TEN_AN_HOUR, Some(Mode::Enforce), next.clone(), kept).await;
    while house.warnings.counters().delivered.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (before, after) = (receiver.got(), next.got());
    assert_eq!(before[0].0.id, after[0].0.id);
    assert_eq!(before[0].0.body, after[0].0.body);
    // Taken, it goes from the store. The meter is not there any more, and its window is not over: that is remembered.
    let mut heard = house.warnings.listen();
    rows_become(&state, folder.path(), &["episode"]).await;
    pass(59 * 60 * SECOND).await;
    rows_become(&state, folder.path(), &["episode"]).await;
    assert!(heard.try_recv().is_err());
    pass(2 * 60 * SECOND).await;
    rows_become(&state, folder.path(), &[]).await;
    let told = heard.try_recv().unwrap();
    assert_eq!(told.kind, Kind::Recovered);
    assert_eq!(next.got().len(), 2);
}

#[tokio::test]
async fn what_warnings_remember_is_written_into_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::new(|_, _| Answer::Hangs);
    let now_ms = clock::now().as_millisecond();
    let (state, _) = State::open(folder.path(), now_ms).unwrap();
    let kept = Some((state.clone(), Vec::new()));
    let house = House::with(TEN_AN_HOUR, Some(Mode::Enforce), receiver, kept).await;
    house.calls(8).await;
    rows_become(&state, folder.path(), &["episode", "letter"]).await;
    std::fs::rename(
        folder.path().join("headroom.db"),
        folder.path().join("away"),
    )
    .unwrap();
    state.prune(now_ms).await.unwrap();
    assert_eq!(state.files(), 1);
    rows_become(&state, folder.path(), &["episode", "letter"]).await;
}

/// So much time passes at once, where it goes on by itself otherwise.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Waits until the store has rows of these kinds.
async fn rows_become(state: &State, folder: &std::path::Path, kinds: &[&str]) {
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        state.write(Vec::new(), Vec::new()).await.unwrap();
        let database = rusqlite::Connection::open(folder.join("headroom.db")).unwrap();
        let mut query = database
            .prepare("SELECT kind FROM warnings ORDER BY kind")
            .unwrap();
        let rows = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
        if rows.map(Result::unwrap).eq(kinds.iter().copied()) {
            break;
        }
    }
}

/// Real threads hold the store up, while the time of warnings goes on.
#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_silences_nothing_and_knows_all_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let (state, loaded) = State::open(folder.path(), clock::now().as_millisecond()).unwrap();
    let receiver = Receiver::new(|_, number| match number {
        1 => Answer::Fails,
        _ => Answer::Ok,
    });
    let kept = Some((state.clone(), loaded.told));
    let mut house = House::with(TEN_AN_HOUR, Some(Mode::Enforce), receiver.clone(), kept).await;
    let other = rusqlite::Connection::open(folder.path().join("headroom.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    house.calls(8).await;
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(house.told().await, [(Threshold, Some(80))]);
    assert_eq!(receiver.got().len(), 1);
    // The next try, and the next warning.
    tokio::time::sleep(SECOND * 8).await;
    assert_eq!(receiver.got().len(), 2);
    house.calls(2).await;
    assert_eq!(house.told().await, [(Threshold, Some(100))]);
    assert_eq!(receiver.got().len(), 3);

    other.execute_batch("ROLLBACK").unwrap();
    loop {
        tokio::time::sleep(SECOND).await;
        state.write(Vec::new(), Vec::new()).await.unwrap();
        let mut rows = other.prepare("SELECT kind FROM warnings").unwrap();
        let kinds = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let kinds: Vec<_> = kinds.map(Result::unwrap).collect();
        if kinds == ["episode"] {
            break;
        }
    }
}
