//! What a newcomer sees first, by the program itself: `headroom demo --once` and `headroom simulate`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use headroom::clock;

fn headroom() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headroom"));
    command.env_remove("HEADROOM_PROVIDERS");
    command
}

#[test]
fn the_demo_ends_by_itself_and_shows_all_five() {
    let started = clock::now();
    let output = headroom().args(["demo", "--once"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let took = clock::now().duration_since(started);
    assert!(took.as_secs() < 5, "{took:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for shown in [
        // The native words, and the standard ones for the same answer.
        "x-toggl-quota-remaining: 29",
        "ratelimit: \"organization\";r=29;t=3600",
        "sforce-limit-info: api-usage=1/15000",
        "ratelimit-limit: 15000;w=86400",
        "x-hubspot-ratelimit-daily: 250000",
        "ratelimit-limit: 100;w=10, 250000;w=86400",
        "ratelimit-limit: 2500;w=86400, 3",
        "Appenate",
        "TrueContext",
        // Counted, where the provider tells nothing.
        "ratelimit-remaining: 2499",
        "headroom-source: own;estimated",
        // Toggl used up by somebody else, and headroom's own refusal after that.
        "402 Payment Required              429 Too Many Requests",
        "retry-after: 3600",
        "headroom-upstream-status: 402",
        "(it is not asked)                 429 Too Many Requests",
        "29 outside headroom",
        // The meters of all five.
        "2,499 of 2,500",
        "2,495 of 2,500",
        "249,999 of 250,000",
        "14,999 of 15,000",
        "0 of 30",
        "/-/",
    ] {
        assert!(text.contains(shown), "{shown} is missing in\n{text}");
    }
    assert!(!text.contains('\x1b'), "no colour into a pipe\n{text}");
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{widest:?}\n{text}");
    // Four calls at once where three may run, each for a second: one has waited, and none was refused.
    let lines = text.lines().filter_map(|line| {
        let secs = line.strip_prefix("  200 OK  after ")?.strip_suffix(" s")?;
        secs.parse::<f64>().ok()
    });
    let held: Vec<f64> = lines.collect();
    assert_eq!(held.len(), 4, "{text}");
    assert!(held[2] < 2.0 && held[3] >= 2.0, "{held:?}");
}

#[test]
fn the_demo_finds_another_port() {
    // Whoever has it already, it is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:8080");
    let output = headroom().args(["demo", "--once"]).output().unwrap();
    drop(taken);
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("127.0.0.1:8080 is taken"), "{told}");
}

/// A simulator that ends with the test.
struct Simulator {
    child: Child,
    address: String,
}

impl Simulator {
    fn start(arguments: &[&str]) -> Self {
        let mut child = headroom()
            .arg("simulate")
            .args(arguments)
            .args(["--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first.split("http://").nth(1).unwrap();
        let address = address.split('/').next().unwrap().to_owned();
        // The rest is read, so that the simulator can go on writing.
        std::thread::spawn(move || lines.count());
        Self { child, address }
    }

    fn get(&self, path: &str, host: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_simulated_provider_refuses_in_its_own_dress() {
    let simulator = Simulator::start(&["toggl", "--quota", "organization=1"]);
    let path = "/api/v9/organizations/1/users";
    let first = simulator.get(path, "127.0.0.1");
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n"), "{first}");
    assert!(first.contains("x-toggl-quota-remaining: 0\r\n"), "{first}");
    assert!(first.contains(r#""simulated":true"#), "{first}");
    let second = simulator.get(&format!("/toggl{path}"), "127.0.0.1");
    assert!(
        second.starts_with("HTTP/1.1 402 Payment Required\r\n"),
        "{second}"
    );
    let third = simulator.get(path, "toggl.localhost");
    assert!(third.contains("x-toggl-quota-resets-in: "), "{third}");
}

#[test]
fn requests_at_a_time_are_limited_while_they_run() {
    let simulator = Simulator::start(&["truecontext"]);
    let long = || {
        let mut stream = TcpStream::connect(&simulator.address).unwrap();
        write!(
            stream,
            "GET / HTTP/1.1\r\nhost: x\r\nsimulate-delay: 30\r\n\r\n"
        )
        .unwrap();
        stream
    };
    // Three are allowed. One more, because a look from below may have taken the place of one on a busy machine.
    let running = [long(), long(), long(), long()];
    // Until three have come in.
    let refused = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        simulator.get("/", "x").starts_with("HTTP/1.1 429 ")
    });
    assert!(refused);
    drop(running);
    let served = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        simulator.get("/", "x").starts_with("HTTP/1.1 200 ")
    });
    assert!(served, "who has gone holds nothing");
}

#[test]
fn mistakes_of_the_command_line_are_told() {
    for (arguments, told) in [
        (vec!["togl"], "Did you mean `toggl`?"),
        (vec!["toggl", "--plan", "startr"], "Did you mean `starter`?"),
        (
            vec!["toggl", "--quota", "organization"],
            "write ID.POLICY=N",
        ),
        (
            vec!["toggl", "--quota", "x.y=1"],
            "not one of the simulated",
        ),
        (
            vec!["toggl", "--quota", "organisation=1"],
            "Did you mean `organization`?",
        ),
    ] {
        let output = headroom()
            .arg("simulate")
            .args(&arguments)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(told), "{arguments:?}: {text}");
    }
}
