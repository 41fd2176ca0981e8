//! What `GET /-/quota` tells of real calls, and how `headroom quota` and `headroom top` show it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use std::{fs, thread};

use headroom::consumer::{hash_key, to_hex};
use headroom::ledger::report::Report;

use crate::exchange::{OK, body, fields, status};
use crate::support::harness::PATIENCE;
use crate::support::program::{Program, headroom};
use crate::support::upstream::Upstream;

/// A quota that the provider tells nothing of, and one of which it documents something for everybody.
const ADAPTER: &str = r#"
name = "Stub"
docs = ["https://example.com"]

[policy.hourly]
limit = "X-Limit"
window = "1h"
kind = "fixed"
partition = ["account"]

[policy.folder]
quota = 1000
window = "1h"
kind = "fixed"
partition = ["{folder}"]
applies = { path = "/folders/{folder}/**" }
"#;

/// Two programs share an account that may be called ten times an hour.
fn config(upstream: &Upstream) -> String {
    let key = |name: &str| to_hex(&hash_key(&format!("hr_{name}")));
    format!(
        "providers = [\"adapters\"]\n\
         [connections.stub]\nbase_url = \"{}\"\nquotas = {{ hourly = 10 }}\n\
         [connections.other]\nprovider = \"stub\"\nbase_url = \"{}\"\n\
         [consumers.reports]\nkey_hash = \"{}\"\n\
         [consumers.billing]\nkey_hash = \"{}\"\n",
        upstream.base_url(),
        upstream.base_url(),
        key("reports"),
        key("billing"),
    )
}

fn start(folder: &Path, upstream: &Upstream) -> Program {
    fs::create_dir_all(folder.join("adapters")).unwrap();
    fs::write(folder.join("adapters/stub.toml"), ADAPTER).unwrap();
    Program::start(folder, &config(upstream))
}

async fn call(program: &Program, consumer: &str, target: &str) -> u16 {
    let key = format!("headroom-key: hr_{consumer}\r\n");
    status(&program.get(target, &key).await)
}

async fn report(program: &Program, query: &str) -> Report {
    let answer = program.get(&format!("/-/quota{query}"), "").await;
    assert_eq!(fields(&answer, "content-type"), ["application/json"]);
    assert_eq!(fields(&answer, "cache-control"), ["no-store"]);
    serde_json::from_str(body(&answer)).unwrap()
}

/// A report without what depends on the moment.
fn timeless(mut report: Report) -> String {
    for meter in &mut report.meters {
        let reset = meter.reset.unwrap();
        assert!((3_500..=3_600).contains(&reset), "{meter:?}");
        meter.reset = Some(3_600);
    }
    serde_json::to_string_pretty(&report).unwrap()
}

#[tokio::test]
async fn the_meters_tell_what_calls_used() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::answering(OK).await;
    let program = start(folder.path(), &upstream);
    assert_eq!(report(&program, "").await, Report::default());
    for (consumer, target) in [
        ("reports", "/stub/folders/b/1"),
        ("reports", "/stub/"),
        ("reports", "/stub/"),
        ("billing", "/stub/folders/a/1"),
        ("billing", "/other/"),
    ] {
        assert_eq!(call(&program, consumer, target).await, 200);
    }
    let all = report(&program, "").await;
    assert_eq!(all.total, 4);
    let names = |report: &Report| -> Vec<String> {
        let name = |meter: &headroom::ledger::report::MeterReport| {
            format!("{} {} {}", meter.connection, meter.policy, meter.partition)
        };
        report.meters.iter().map(name).collect()
    };
    let sorted = [
        "other hourly ",
        "stub folder folder=a",
        "stub folder folder=b",
        "stub hourly ",
    ];
    assert_eq!(names(&all), sorted);
    for (query, found) in [
        ("?connection=other", &sorted[..1]),
        ("?connection=stub&policy=folder", &sorted[1..3]),
        ("?consumer=reports", &sorted[2..]),
        ("?consumer=reports&policy=fo%6Cder", &sorted[2..3]),
        ("?connection=nobody", &[]),
        ("?", &sorted),
    ] {
        assert_eq!(names(&report(&program, query).await), found, "{query}");
    }
    let hourly = report(&program, "?connection=stub&policy=hourly").await;
    insta::assert_snapshot!(timeless(hourly), @r#"
    {
      "meters": [
        {
          "connection": "stub",
          "provider": "stub",
          "policy": "hourly",
          "partition": "",
          "unit": "requests",
          "limit": 10,
          "used": 4,
          "remaining": 6,
          "reset": 3600,
          "window": 3600,
          "source": "own",
          "mode": "enforce",
          "suspended": null,
          "in_flight": 0,
          "waiting": 0,
          "consumers": [
            {
              "consumer": "reports",
              "used": 3
            },
            {
              "consumer": "billing",
              "used": 1
            }
          ],
          "others": 0,
          "forecast": null
        }
      ],
      "total": 1
    }
    "#);
    // Nobody has said how many there may be: `null`, not a number.
    let unknown = &report(&program, "?connection=other").await.meters[0];
    assert_eq!((unknown.limit, unknown.remaining), (None, None));
}

#[tokio::test]
async fn questions_that_are_not_understood_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::answering(OK).await;
    let program = start(folder.path(), &upstream);
    for (query, told) in [
        ("?conection=stub", "There is no parameter `conection`"),
        (
            "?policy=a&policy=b",
            "The parameter `policy` is there twice",
        ),
    ] {
        let answer = program.get(&format!("/-/quota{query}"), "").await;
        assert_eq!(status(&answer), 400, "{answer}");
        assert_eq!(
            fields(&answer, "content-type"),
            ["application/problem+json"]
        );
        assert!(answer.contains(told), "{answer}");
        assert!(answer.contains("\"code\":\"bad-parameter\""), "{answer}");
    }
    for (method, expected) in [("HEAD", 200), ("POST", 405)] {
        let mut caller = crate::support::harness::Caller::connect(program.address()).await;
        caller
            .write(format!(
                "{method} /-/quota HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ))
            .await;
        let answer = caller.rest().await;
        assert_eq!(status(&answer), expected, "{answer}");
        assert!(method != "HEAD" || body(&answer).is_empty(), "{answer}");
    }
}

#[tokio::test]
async fn names_are_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::answering(OK).await;
    let program = start(folder.path(), &upstream);
    assert_eq!(call(&program, "reports", "/stub/").await, 200);
    assert!(program.terminate().success());
    let program = start(folder.path(), &upstream);
    // The meter is there again with the next call, whoever makes it.
    assert_eq!(call(&program, "billing", "/stub/").await, 200);
    let report = report(&program, "?consumer=reports").await;
    let users = &report.meters[0].consumers;
    let users: Vec<_> = users
        .iter()
        .map(|user| (&*user.consumer, user.used))
        .collect();
    assert_eq!(users, [("billing", 1), ("reports", 1)]);
}

#[tokio::test]
async fn a_store_that_fails_is_told_and_stops_no_call() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::answering(OK).await;
    let program = start(folder.path(), &upstream);
    assert_eq!(call(&program, "reports", "/stub/").await, 200);
    assert_eq!(body(&program.get("/-/readyz", "").await), "ready\n");
    let store = folder.path().join("home/headroom/headroom.db");
    let store = rusqlite::Connection::open(store).unwrap();
    store.execute_batch("DROP TABLE meters").unwrap();
    let mut told = String::new();
    for _ in 0..PATIENCE.as_millis() / 50 {
        assert_eq!(call(&program, "reports", "/other/").await, 200);
        let answer = program.get("/-/readyz", "").await;
        assert_eq!(status(&answer), 200);
        told = body(&answer).to_owned();
        if told.contains("state: ") {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert!(told.starts_with("ready\nstate: "), "{told}");
}

/// The program is waited for while the provider answers, so one thread is not enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_meters_in_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::answering(OK).await;
    let program = start(folder.path(), &upstream);
    let url = format!("http://{}", program.address());
    let run = |arguments: &[&str]| {
        let output = headroom(folder.path()).args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, stdout, stderr) = run(&["quota", "--url", &url]);
    assert_eq!((code, &*stdout), (Some(0), ""), "{stderr}");
    assert!(stderr.contains("nothing is counted yet"), "{stderr}");
    for target in ["/stub/", "/stub/folders/a/1", "/other/"] {
        assert_eq!(call(&program, "reports", target).await, 200);
    }
    let (code, bars, stderr) = run(&["quota", "--url", &url]);
    assert_eq!((code, &*stderr), (Some(0), ""));
    assert!(bars.contains("8 of 10"), "{bars}");
    assert!(bars.contains("2 used · reports 2"), "{bars}");
    assert!(!bars.contains('\x1b'), "no colour into a pipe: {bars}");
    assert!(
        bars.lines().all(|line| line.chars().count() <= 80),
        "{bars}"
    );
    // Where it listens can also be said as to `headroom serve`.
    let address = program.address().to_string();
    let (_, one, _) = run(&["quota", "--listen", &address, "--connection", "other"]);
    assert!(one.contains("other") && !one.contains("stub"), "{one}");
    let (code, json, _) = run(&["quota", "--url", &url, "--json", "--policy", "folder"]);
    let parsed: Report = serde_json::from_str(&json).unwrap();
    assert_eq!((code, parsed.meters.len()), (Some(0), 1));
    // What has the least left is on top; into a pipe it is one round.
    let (code, top, _) = run(&["top", "--url", &url]);
    assert_eq!(code, Some(0));
    let first = top.lines().nth(1).unwrap();
    assert!(
        first.contains("hourly") && first.contains("8 of 10"),
        "{top}"
    );
    // A reader that goes away ends what has no end.
    let mut watch = headroom(folder.path());
    watch.args(["quota", "--watch", "--url", &url]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("8 of 10")));
    drop(lines);
    assert!(watch.wait().unwrap().success());
    // Nothing answers, or something else does.
    program.kill();
    for command in ["quota", "top"] {
        let (code, stdout, stderr) = run(&[command, "--url", &url]);
        assert_eq!((code, &*stdout), (Some(2), ""));
        assert!(stderr.contains("nothing answers on"), "{stderr}");
    }
    let (code, _, stderr) = run(&["quota", "--url", &upstream.base_url()]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("cannot be read"), "{stderr}");
    let (code, _, stderr) = run(&["quota", "--url", "localhost:1"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("no address of a gateway"), "{stderr}");
}
