//! The README's examples are run: every `console` block whose command is headroom's.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::{env, fs, thread};

use headroom::ledger::report::{ConsumerReport, Forecast, MeterReport, Report};

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
    let json = serde_json::to_string(&meters()).unwrap();
    thread::spawn(move || {
        for stream in socket.incoming() {
            let mut stream = stream.unwrap();
            // The head of a question without a body comes in one piece.
            let _ = stream.read(&mut [0; 4_096]).unwrap();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{json}",
                json.len()
            )
            .unwrap();
        }
    });
    address
}

/// The configuration that the README shows is one that headroom takes.
#[test]
fn the_configuration_of_the_readme_has_no_mistakes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("my-providers")).unwrap();
    let file = folder.path().join("headroom.toml");
    let block = readme.split("```toml\n").nth(1).unwrap();
    fs::write(&file, block.split("```").next().unwrap()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_headroom"))
        .arg("check")
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
