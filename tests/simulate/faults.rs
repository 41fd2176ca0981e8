//! Providers that go wrong on purpose, behind the real gateway, over loopback: whatever the order of their answers, nobody
//! is told that more is left than there is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headroom::adapter::terms::Terms;
use headroom::clock;
use headroom::emit::Style;
use headroom::gateway::{Connection, Connections, Gateway, Listener, Reach, Settings};
use headroom::ledger::Ledger;
use headroom::ledger::account::Account as Counted;
use headroom::ledger::rule::Wishes;
use headroom::origin::Origin;
use headroom::simulate::fault::Faults;
use headroom::simulate::provider::{Account, Provider};
use headroom::simulate::server::{self, House};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::ADAPTERS;
use crate::support::harness::{Caller, books};
use crate::support::upstream::find;

/// A provider that is called through a gateway.
struct Stage {
    id: &'static str,
    house: Arc<House>,
    simulator: SocketAddr,
    gateway: SocketAddr,
    tasks: [JoinHandle<()>; 3],
}

impl Drop for Stage {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// An answer of the gateway.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// The standard header.
    remaining: Option<u64>,
    /// What was truly left when the provider's answer passed the witness.
    left: Option<u64>,
    /// Which of its requests the provider has answered.
    n: Option<u64>,
    text: String,
}

impl Stage {
    async fn new(case: &Case, faults: &str) -> Self {
        let Case {
            id, policy, quotas, ..
        } = *case;
        let adapter = ADAPTERS.iter().find(|adapter| adapter.id == id).unwrap();
        let mut account = Account::default();
        for (policy, quota) in quotas {
            account.quotas.insert((*policy).to_owned(), (*quota, None));
        }
        let now = clock::now();
        let provider = Provider::new(Arc::clone(adapter), &account, now).unwrap();
        let faults = Faults::parse(faults.split(',').filter(|word| !word.is_empty()), 3).unwrap();
        let house: Arc<House> = Arc::new(
            [provider]
                .into_iter()
                .collect::<House>()
                .with_faults(faults),
        );
        let (socket, simulator) = listen().await;
        let serving = server::serve(socket, Arc::clone(&house), std::future::pending());
        let simulating = tokio::spawn(serving);

        let (socket, witness) = listen().await;
        let witnessing = tokio::spawn(witness_all(
            socket,
            simulator,
            Arc::clone(&house),
            id,
            policy,
        ));
        let base = format!("http://{witness}/{id}");
        let terms = Terms::new(adapter, None, None, &Default::default()).unwrap();
        let wishes = |_: &str| Wishes::default();
        let connection = Connection {
            name: id.to_owned(),
            origin: Origin::parse(&base).unwrap(),
            access: Default::default(),
            identity: None,
            account: Arc::new(Counted::new(id, &base, adapter, &terms, &wishes, 1_000)),
            reach: Reach::Anywhere,
            configured: true,
            max_wait: Duration::from_secs(60),
            adapter: Arc::clone(adapter),
            terms,
            style: Style::default(),
        };
        let ledger = Arc::new(Ledger::new(Default::default(), None));
        let connections: Connections = [connection].into_iter().collect();
        let connections = Arc::new(connections);
        let gateway = Gateway::new(connections, books(ledger), Settings::default()).unwrap();
        let (socket, address) = listen().await;
        let listener = Listener {
            socket,
            connection: None,
        };
        let gateway = Arc::new(gateway).serve(vec![listener], std::future::pending());
        Self {
            id,
            house,
            simulator,
            gateway: address,
            tasks: [simulating, witnessing, tokio::spawn(gateway)],
        }
    }

    async fn call(&self, method: &str, path: &str) -> Answer {
        ask(self.gateway, method, &format!("/{}{path}", self.id)).await
    }
}

async fn listen() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn ask(address: SocketAddr, method: &str, target: &str) -> Answer {
    let mut caller = Caller::connect(address).await;
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    caller.write(request).await;
    let text = caller.rest().await;
    let number = |before: &str| {
        let (_, rest) = text.split_once(before)?;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    Answer {
        status: number("HTTP/1.1 ").unwrap_or(0) as u16,
        remaining: number("\r\nratelimit-remaining: "),
        left: number("\r\nx-left: "),
        n: number("\"n\":"),
        text: text.clone(),
    }
}

/// Stands between the gateway and the provider, and writes into each answer what is truly left of the policy at the moment
/// when it passes: the gateway cannot have told anything of that answer before.
async fn witness_all(
    socket: TcpListener,
    simulator: SocketAddr,
    house: Arc<House>,
    id: &'static str,
    policy: &'static str,
) {
    loop {
        let (caller, _) = socket.accept().await.unwrap();
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            let provider = TcpStream::connect(simulator).await?;
            let (mut requests, mut caller) = caller.into_split();
            let (mut provider, mut sent) = provider.into_split();
            let forth =
                tokio::spawn(async move { tokio::io::copy(&mut requests, &mut sent).await });
            let mut bytes = vec![0; 65_536];
            loop {
                let read = provider.read(&mut bytes).await?;
                if read == 0 {
                    break;
                }
                let read = &bytes[..read];
                // Answers are small and written at once.
                if let Some(end) = find(read, b"\r\n").filter(|_| read.starts_with(b"HTTP/1.1 ")) {
                    let left = house.left(id, policy).unwrap();
                    let (status, rest) = read.split_at(end);
                    let answer = [status, format!("\r\nx-left: {left}").as_bytes(), rest].concat();
                    caller.write_all(&answer).await?;
                } else {
                    caller.write_all(read).await?;
                }
            }
            forth.abort();
            std::io::Result::Ok(())
        });
    }
}

/// A policy whose state is told, with the calls that it counts, one unit each.
struct Case {
    id: &'static str,
    policy: &'static str,
    quotas: &'static [(&'static str, u64)],
    path: &'static str,
    tells_reset: bool,
}

const QUOTA: u64 = 60;

/// Calls after a refusal.
const CALLS_AFTER: u64 = 20;

/// Calls at the same time.
const CALLS: usize = 200;

const CASES: [Case; 3] = [
    // Tells what is left and when it comes back, begins with the first request.
    Case {
        id: "toggl",
        policy: "organization",
        quotas: &[("organization", QUOTA), ("burst", 1_000_000)],
        path: "/api/v9/organizations/1/users",
        tells_reset: true,
    },
    // Tells limit, what is left, what is used, and when.
    Case {
        id: "github",
        policy: "core",
        quotas: &[("core", QUOTA)],
        path: "/repos/a/b/issues",
        tells_reset: true,
    },
    // Tells used/limit, and never when.
    Case {
        id: "salesforce",
        policy: "daily",
        quotas: &[("daily", QUOTA)],
        path: "/services/data/v60.0/sobjects/Account",
        tells_reset: false,
    },
];

/// Many callers at once, and the gateway in front of a provider that is late, drops, and changes the order. What the
/// gateway tells is compared with what the provider truly had left when its answer passed the witness, or, where none came,
/// when the call was made: nothing comes back in this time, so there is never more than that later.
async fn storm(case: &Case, method: &'static str, faults: &str) {
    let stage = Arc::new(Stage::new(case, faults).await);
    let calls = (0..CALLS).map(|number| {
        let stage = Arc::clone(&stage);
        let (path, policy) = (case.path, case.policy);
        tokio::spawn(async move {
            // Not all in the same instant, so that answers meet calls that have not gone yet.
            tokio::time::sleep(Duration::from_millis(3 * number as u64)).await;
            let before = stage.house.left(stage.id, policy).unwrap();
            (before, stage.call(method, path).await)
        })
    });
    let calls: Vec<_> = calls.collect();
    let mut served = 0;
    let mut told = 0;
    for call in calls {
        let (before, answer) = call.await.unwrap();
        let Some(remaining) = answer.remaining else {
            continue;
        };
        told += 1;
        served += u64::from(answer.status == 200);
        let truth = answer.left.unwrap_or(before);
        assert!(
            remaining <= truth,
            "{} {method} {faults}: told {remaining}, and {truth} are left\n{}",
            case.id,
            answer.text
        );
    }
    assert!(told > 0 && served > 0 && served <= QUOTA, "{told} {served}");
    // Answers that never came make the gateway a little more careful than it has to be, and not much.
    let left = stage.house.left(case.id, case.policy).unwrap();
    assert!(left <= QUOTA / 4, "{} {faults}: {left} are left", case.id);
    let after = stage.call(method, case.path).await;
    assert!(after.remaining <= Some(left), "{}", after.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_more_than_there_is() {
    for case in &CASES {
        for faults in [
            "",
            "late=100ms@30%",
            "drop=20%",
            "reorder=100ms",
            "reorder=100ms,late=150ms@20%,drop=10%",
        ] {
            storm(case, "POST", faults).await;
        }
    }
}

/// What is safe to repeat is sent again when its connection ended; the provider counts it twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_more_where_calls_are_repeated() {
    for case in &CASES {
        storm(case, "GET", "drop=40%").await;
        storm(case, "GET", "reorder=100ms,late=150ms@20%,drop=20%").await;
    }
}

/// A provider that lies is believed until it refuses; then nobody troubles it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_that_refuses_is_left_in_peace() {
    for case in &CASES {
        for faults in ["lie=100%", "lie=50%,reorder=10ms,late=20ms@20%,drop=5%"] {
            let stage = Stage::new(case, faults).await;
            let mut last = None;
            // A lie may make the gateway careful before its time, and the provider is then not asked at all.
            for _ in 0..4 * QUOTA {
                let answer = stage.call("POST", case.path).await;
                if answer.status == 429 {
                    last = Some(answer);
                    break;
                }
            }
            let last = last.unwrap_or_else(|| panic!("{} {faults}: nobody refuses", case.id));
            assert_eq!(last.remaining, Some(0), "{}", last.text);
            let asked = stage.house.requests(case.id);
            for _ in 0..CALLS_AFTER {
                let answer = stage.call("POST", case.path).await;
                assert_eq!(answer.status, 429, "{} {faults}: {}", case.id, answer.text);
            }
            // Who does not say when is asked now and then, after random waits that become longer.
            let probes = if case.tells_reset { 0 } else { CALLS_AFTER / 2 };
            let more = stage.house.requests(case.id) - asked;
            assert!(more <= probes, "{} {faults}: asked {more} times", case.id);
        }
    }
}

/// Each fault by itself, without a gateway.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_are_what_they_say() {
    let case = &CASES[0];
    let path = format!("/{}{}", case.id, case.path);
    let stage = |faults| Stage::new(case, faults);
    let left = |answer: &Answer| -> Option<u64> {
        let (_, rest) = answer.text.split_once("\r\nx-toggl-quota-remaining: ")?;
        rest.split("\r\n").next()?.parse().ok()
    };

    let late = stage("late=300ms@100%").await;
    let begun = clock::monotonic();
    let first = tokio::spawn({
        let (address, path) = (late.simulator, path.clone());
        async move { ask(address, "GET", &path).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(late.house.left(case.id, case.policy), Some(QUOTA - 1));
    assert_eq!(left(&first.await.unwrap()), Some(QUOTA - 1));
    assert!(clock::monotonic() - begun >= Duration::from_millis(300));

    let dropped = stage("drop=100%").await;
    let answer = ask(dropped.simulator, "GET", &path).await;
    assert_eq!(answer.text, "");
    assert_eq!(dropped.house.left(case.id, case.policy), Some(QUOTA - 1));

    let mute = stage("mute=100%").await;
    let answer = ask(mute.simulator, "GET", &path).await;
    assert_eq!((answer.status, left(&answer)), (200, None));
    assert_eq!(mute.house.left(case.id, case.policy), Some(QUOTA - 1));

    let others = stage("others=100%").await;
    let answer = ask(others.simulator, "GET", &path).await;
    assert_eq!(left(&answer), Some(QUOTA - 2));

    let liar = stage("lie=100%").await;
    for _ in 0..10 {
        let answer = ask(liar.simulator, "GET", &path).await;
        assert_ne!(left(&answer), liar.house.left(case.id, case.policy));
    }

    let reorder = stage("reorder=300ms@50%").await;
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (address, path) = (reorder.simulator, path.clone());
            tokio::spawn(async move {
                let answer = ask(address, "GET", &path).await;
                (clock::monotonic(), answer.n)
            })
        })
        .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    answers.sort();
    let numbers: Vec<u64> = answers.iter().filter_map(|(_, n)| *n).collect();
    assert!(!numbers.is_sorted(), "{numbers:?}");
}
