//! The README's examples are run: every `console` block whose command is headroom's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::{env, fs, thread};

use headroom::admin::usage::report;
use headroom::history::History;
use headroom::history::record::{Outcome, Record, Refuser, Who};
use headroom::ledger::report::{ConsumerReport, Forecast, MeterReport, Report};
use headroom::time::Nanos;
use http::{HeaderMap, Uri};
use http_body_util::BodyExt;
use jiff::Timestamp;

#[test]
fn examples_print_what_the_readme_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_headroom"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        env::var("PATH").unwrap()
    );
    let gateway = a_gateway_with_meters();
    let mut examples = 0;
    for block in readme.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        let (command, expected) = block.split_once('\n').unwrap();
        let command = command.strip_prefix("$ ").unwrap();
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(root)
            .env("PATH", &path)
            .env("HEADROOM_URL", format!("http://{gateway}"))
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            expected,
            "{command}"
        );
        examples += 1;
    }
    assert!(examples >= 4, "the README has lost its examples");
}

/// The meters of the README's examples, at a moment that does not pass.
fn meters() -> Report {
    let user = |consumer: &str, used| ConsumerReport {
        consumer: consumer.to_owned(),
        used,
    };
    let daily = MeterReport {
        connection: "crm".to_owned(),
        provider: "hubspot".to_owned(),
        policy: "daily".to_owned(),
        partition: String::new(),
        unit: "requests".to_owned(),
        limit: Some(625_000),
        used: 418_204,
        remaining: Some(206_796),
        reset: Some(32_400),
        window: Some(86_400),
        source: "provider".to_owned(),
        mode: "enforce".to_owned(),
        suspended: None,
        in_flight: 0,
        waiting: 0,
        consumers: vec![user("reports", 300_118), user("billing", 98_300)],
        others: 19_786,
        forecast: Some(Forecast {
            runs_out_in: 26_702,
            runs_out_at: "2026-03-02T19:25:02Z".to_owned(),
        }),
    };
    let short = MeterReport {
        policy: "ten-secondly".to_owned(),
        partition: "credential=9f86d081884c7d65".to_owned(),
        limit: Some(190),
        used: 171,
        remaining: Some(19),
        reset: Some(4),
        window: Some(10),
        consumers: vec![user("reports", 171)],
        others: 0,
        forecast: None,
        ..daily.clone()
    };
    let time = MeterReport {
        connection: "time".to_owned(),
        provider: "toggl".to_owned(),
        policy: "organization".to_owned(),
        partition: "credential=60303ae22b998861/organization=7".to_owned(),
        limit: Some(240),
        used: 240,
        remaining: Some(0),
        reset: Some(900),
        window: Some(3_600),
        mode: "wait".to_owned(),
        suspended: Some(900),
        waiting: 3,
        consumers: vec![user("billing", 200)],
        others: 40,
        forecast: None,
        ..daily.clone()
    };
    let meters = vec![daily, short, time];
    Report {
        total: meters.len(),
        meters,
    }
}

/// Answers everybody with these meters, as long as the test runs.
fn a_gateway_with_meters() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let meters = serde_json::to_string(&meters()).unwrap();
    let history = calls();
    thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.unwrap();
            // The head of a question without a body comes in one piece.
            let mut head = [0; 4_096];
            let length = stream.read(&mut head).unwrap();
            let head = String::from_utf8_lossy(&head[..length]);
            let target: Uri = head.split(' ').nth(1).unwrap().parse().unwrap();
            let text = match target.path() {
                "/-/quota" => meters.clone(),
                _ => usage(&history, &target),
            };
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                text.len()
            )
            .unwrap();
        }
    });
    address
}

/// The moment of the README's examples.
const NOW: &str = "2026-03-02T12:00:00Z";

/// A week of calls.
fn calls() -> Arc<History> {
    let now_ms = NOW.parse::<Timestamp>().unwrap().as_millisecond();
    let history = History::new(None, Default::default(), now_ms).unwrap();
    let hour = 3_600_000;
    for back in 0..150 {
        for (connection, consumer, every, calls) in [
            ("crm", "reports", 1, 40),
            ("crm", "billing", 3, 25),
            ("time", "billing", 2, 9),
            ("time", "anonymous", 31, 2),
        ] {
            if back % every != 0 {
                continue;
            }
            for number in 0..calls {
                let (status, refused_by) = match number % 29 {
                    7 => (404, None),
                    21 if connection == "time" || back % 5 == 0 => (429, Some(Refuser::Headroom)),
                    _ => (200, None),
                };
                history.record(&Record {
                    ended_ms: now_ms - back * hour - (number + 1) * 1_000,
                    connection: connection.into(),
                    provider: "example".into(),
                    consumer: match consumer {
                        "anonymous" => Who::Anonymous,
                        name => Who::Named(name.into()),
                    },
                    method: "GET",
                    endpoint: "/v3/contacts/*".to_owned(),
                    status: Some(status),
                    upstream_status: None,
                    refused_by,
                    policy: None,
                    spent: Default::default(),
                    outcome: Outcome::Complete,
                    waited: Nanos(0),
                    duration: Nanos::from_millis(12),
                    upstream: Nanos::from_millis(11),
                    overhead: Default::default(),
                    bytes_in: 0,
                    bytes_out: 512,
                    poll: Default::default(),
                });
            }
        }
    }
    Arc::new(history)
}

/// What the page answers at that moment.
fn usage(history: &Arc<History>, target: &Uri) -> String {
    let now_ms = NOW.parse::<Timestamp>().unwrap().as_millisecond();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let accept_json = HeaderMap::new();
    let page = async {
        let answer = report(history, target, &accept_json, now_ms).await;
        answer.into_body().collect().await.unwrap().to_bytes()
    };
    String::from_utf8(runtime.block_on(page).to_vec()).unwrap()
}

/// The configurations that the README shows are such as headroom takes.
#[test]
fn the_configurations_of_the_readme_have_no_mistakes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let blocks = readme.split("```toml\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap());
    let whole: Vec<&str> = blocks
        .filter(|block| block.contains("[connections."))
        .collect();
    assert!(whole.len() >= 2, "the README has lost its configurations");
    for block in whole {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("my-providers")).unwrap();
        let file = folder.path().join("headroom.toml");
        fs::write(&file, block).unwrap();
        let references = block.split("${").skip(1);
        let names = references.map(|rest| rest.split(['}', ':']).next().unwrap());
        let output = Command::new(env!("CARGO_BIN_EXE_headroom"))
            .arg("check")
            .arg(&file)
            .envs(names.map(|name| (name, "example")))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}
