//! Calls at a fixed rate, however slowly they are answered: `headroom-load PORT PATH RATE CONNECTIONS SECONDS [FIELD...]`.
//!
//! Each call has a moment when it is due. The next free connection takes the next call, and latency counts from that moment, so a
//! proxy that stalls cannot hide the queue that it makes. Standard library only. Answers need a `content-length`.
//!
//! Every connection is open and has had a call before the first line is written, `begun`, and open still when the last one is, the
//! result: whoever looks at a proxy between the two sees calls and nothing else.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measuring tool: it reads the clock, and its result is a line of JSON"
)]

use std::io::{Error, Read, Result, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

struct Plan {
    port: u16,
    request: Vec<u8>,
    /// Between two calls.
    step: Duration,
    calls: u64,
    begun: Instant,
    next: AtomicU64,
}

/// What one connection has seen, and the connection, which stays open.
struct Seen {
    latencies: Vec<Duration>,
    errors: u64,
    connection: TcpStream,
}

fn main() -> Result<()> {
    let usage = || Error::other("headroom-load PORT PATH RATE CONNECTIONS SECONDS [FIELD...]");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, path, rate, connections, seconds, fields @ ..] = arguments.as_slice() else {
        return Err(usage());
    };
    let number = |text: &str| text.parse::<u32>().map_err(|_| usage());
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n");
    for field in fields {
        request.push_str(&format!("{field}\r\n"));
    }
    request.push_str("\r\n");
    // Threads wake when they are told to, not up to 50 µs later; where that cannot be set, latencies are that much longer.
    std::fs::write("/proc/self/timerslack_ns", "1").ok();
    let (port, request) = (port.parse().map_err(|_| usage())?, request.into_bytes());
    let opened = (0..number(connections)?)
        .map(|_| {
            let mut connection = connect(port)?;
            let is_answered = exchange(&mut connection, &request, &mut Vec::new())?;
            let refused =
                || Error::other("the first call of a connection was not answered with 200");
            is_answered.then_some(connection).ok_or_else(refused)
        })
        .collect::<Result<Vec<_>>>()?;
    let plan = Plan {
        port,
        request,
        step: Duration::from_secs(1) / number(rate)?.max(1),
        calls: u64::from(number(rate)?) * u64::from(number(seconds)?),
        // All threads are there by then.
        begun: Instant::now() + Duration::from_millis(200),
        next: AtomicU64::new(0),
    };
    println!("begun");
    let seen = thread::scope(|scope| {
        let running: Vec<_> = opened
            .into_iter()
            .map(|connection| scope.spawn(|| calls(&plan, connection)))
            .collect();
        running
            .into_iter()
            .map(|one| one.join().map_err(|_| Error::other("a thread panicked"))?)
            .collect::<Result<Vec<_>>>()
    })?;
    let mut latencies: Vec<_> = seen
        .iter()
        .flat_map(|one| &one.latencies)
        .copied()
        .collect();
    let errors: u64 = seen.iter().map(|one| one.errors).sum();
    latencies.sort_unstable();
    let at = |share: f64| {
        let place = (latencies.len() as f64 * share) as usize;
        let latency = latencies.get(place).copied().unwrap_or_default();
        latency.as_secs_f64() * 1e6
    };
    println!(
        r#"{{"done": {}, "errors": {}, "p50": {:.1}, "p99": {:.1}}}"#,
        latencies.len(),
        errors,
        at(0.5),
        at(0.99)
    );
    // Whoever reads that has time to look.
    thread::sleep(Duration::from_millis(100));
    drop(seen);
    Ok(())
}

/// One connection takes calls until none is left. One that is broken is opened again.
fn calls(plan: &Plan, connection: TcpStream) -> Result<Seen> {
    let mut seen = Seen {
        latencies: Vec::new(),
        errors: 0,
        connection,
    };
    let mut buffer = Vec::new();
    loop {
        let call = plan.next.fetch_add(1, Ordering::Relaxed);
        if call >= plan.calls {
            return Ok(seen);
        }
        let due = plan.begun + plan.step * u32::try_from(call).map_err(Error::other)?;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        match exchange(&mut seen.connection, &plan.request, &mut buffer) {
            Ok(true) => seen.latencies.push(due.elapsed()),
            Ok(false) => seen.errors += 1,
            Err(_) => {
                seen.errors += 1;
                seen.connection = connect(plan.port)?;
            }
        }
    }
}

fn connect(port: u16) -> Result<TcpStream> {
    let connection = TcpStream::connect(("127.0.0.1", port))?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(connection)
}

/// One call; whether its answer is a 200.
fn exchange(connection: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> Result<bool> {
    connection.write_all(request)?;
    buffer.clear();
    let mut piece = [0; 16_384];
    let mut whole = usize::MAX;
    while buffer.len() < whole {
        let count = connection.read(&mut piece)?;
        if count == 0 {
            return Err(Error::other("closed"));
        }
        buffer.extend(piece.iter().take(count));
        if whole == usize::MAX
            && let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n")
        {
            let (head, _) = buffer.split_at(end);
            whole = end + 4 + length(head).ok_or_else(|| Error::other("no content-length"))?;
        }
    }
    Ok(buffer.starts_with(b"HTTP/1.1 200 "))
}

/// The `content-length` of a head.
fn length(head: &[u8]) -> Option<usize> {
    let head = std::str::from_utf8(head).ok()?;
    head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse().ok())?
    })
}
