//! The program itself at its edges: file descriptors, memory, and `[limits]` as they are written.

use std::fs;
use std::time::Duration;

use crate::exchange::OK;
use crate::exchange::status;
use crate::support::faulty::{Act, playing};
use crate::support::frames::{HEADERS, block, frame, opening};
use crate::support::harness::Caller;
use crate::support::program::{Program, stub};
use crate::support::upstream::Upstream;

const POLICY: &str = "[policy.stub]\nquota = 1000000\nwindow = \"1h\"\n";

/// A line of `/proc/PID/status` in KiB.
fn memory(program: &Program) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The time of the processor that it has used, in hundredths of a second.
fn work(program: &Program) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", program.id())).unwrap();
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    fields
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum()
}

#[tokio::test]
async fn without_file_descriptors_accepting_slows_down_and_goes_on_later() {
    const MOST: usize = 64;
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = stub(&upstream, POLICY, "");
    let program = Program::with_descriptors(folder.path(), &config, MOST);
    let mut callers = Vec::new();
    for _ in 0..2 * MOST {
        callers.push(Caller::connect(program.address()).await);
    }
    program.wait_for_line("Accepting failed");
    let before = work(&program);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let used = work(&program) - before;
    assert!(used < 25, "{used} hundredths of a second in one");
    drop(callers);
    let answer = program.get("/stub/", "").await;
    assert_eq!(status(&answer), 200, "{answer}");
}

#[tokio::test]
async fn a_hostile_message_costs_at_most_ten_times_what_a_head_may_have() {
    const CALLERS: u64 = 60;
    const LIMIT: usize = 64 * 1024;
    let upstream = playing(vec![Act::ReadHead, Act::Stall]).await;
    let (folder, config) = stub(&upstream, POLICY, "");
    let program = Program::start(folder.path(), &config);
    let start = "GET /stub/ HTTP/1.1\r\nHost: a\r\n";
    let many: String = (0..500)
        .map(|one| format!("x{one}: {}\r\n", "v".repeat(100)))
        .collect();
    let open = block(&[(":method", "GET"), ("x", &"v".repeat(15_000))]);
    let blocks = frame(9, 0, 1, &block(&[("x", &"v".repeat(15_000))])).repeat(3);
    let messages = [
        (
            "a head without end",
            format!("{start}x: {}", "v".repeat(2 * LIMIT - 100)).into_bytes(),
        ),
        ("many fields", format!("{start}{many}\r\n").into_bytes()),
        (
            "one large field",
            format!("{start}x: {}\r\n\r\n", "v".repeat(LIMIT - 1_000)).into_bytes(),
        ),
        (
            "a long target",
            format!(
                "GET /stub/{} HTTP/1.1\r\nHost: a\r\n\r\n",
                "v".repeat(LIMIT - 1_000)
            )
            .into_bytes(),
        ),
        (
            "a body whose end is far away",
            format!(
                "POST /stub/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n{}",
                "v".repeat(LIMIT)
            )
            .into_bytes(),
        ),
        (
            "an HTTP/2 head without end",
            [opening(), frame(HEADERS, 0, 1, &open), blocks].concat(),
        ),
    ];
    // What is there only once is there now.
    for (_, message) in &messages {
        let mut caller = Caller::connect(program.address()).await;
        caller.write(message).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (name, message) in messages {
        let before = memory(&program);
        let mut callers = Vec::new();
        for _ in 0..CALLERS {
            let mut caller = Caller::connect(program.address()).await;
            caller.write(&message).await;
            callers.push(caller);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let each = memory(&program).saturating_sub(before) / CALLERS;
        assert!(each <= 10 * (LIMIT as u64 / 1024), "{name}: {each} KiB");
    }
    assert_eq!(status(&program.get("/-/healthz", "").await), 200);
}

#[tokio::test]
async fn limits_are_what_the_file_says() {
    let upstream = Upstream::answering(OK).await;
    let limits = "[limits]\nheader_bytes = 8192\nbody_bytes = 10\nhead_timeout = \"1s\"\n";
    let (folder, config) = stub(&upstream, POLICY, limits);
    let program = Program::start(folder.path(), &config);
    let mut slow = Caller::connect(program.address()).await;
    slow.write("GET /stub/ HTTP/1.1\r\n").await;
    assert_eq!(slow.rest().await, "");
    let field = format!("x: {}\r\n", "v".repeat(9_000));
    assert_eq!(status(&program.get("/stub/", &field).await), 431);
    let mut caller = Caller::connect(program.address()).await;
    caller.write("POST /stub/ HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nConnection: close\r\n\r\n0123456789a").await;
    assert_eq!(status(&caller.rest().await), 413);
    fs::write(
        folder.path().join("headroom.toml"),
        config.replace("8192", "9000"),
    )
    .unwrap();
    program.wait_for_line("`limits`");
}
