//! Calls at a fixed rate, however slowly they are answered: `headroom-load PORT PATH RATE CONNECTIONS SECONDS [FIELD...]`.
//!
//! Each call has a moment when it is due. The next free connection takes the next call, and latency counts from that moment, so a
//! proxy that stalls cannot hide the queue that it makes. Standard library only. Answers need a `content-length`.

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

/// What one connection has seen.
#[derive(Default)]
struct Seen {
    latencies: Vec<Duration>,
    errors: u64,
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
    let plan = Plan {
        port: port.parse().map_err(|_| usage())?,
        request: request.into_bytes(),
        step: Duration::from_secs(1) / number(rate)?.max(1),
        calls: u64::from(number(rate)?) * u64::from(number(seconds)?),
        // All connections are open by then.
        begun: Instant::now() + Duration::from_millis(200),
        next: AtomicU64::new(0),
    };
    let mut all = Seen::default();
    thread::scope(|scope| {
        let running: Vec<_> = (0..number(connections)?)
            .map(|_| scope.spawn(|| calls(&plan)))
            .collect();
        for one in running {
            let seen = one
                .join()
                .map_err(|_| Error::other("a thread panicked"))??;
            all.latencies.extend(seen.latencies);
            all.errors += seen.errors;
        }
        Ok::<_, Error>(())
    })?;
    all.latencies.sort_unstable();
    let at = |share: f64| {
        let place = (all.latencies.len() as f64 * share) as usize;
        let latency = all.latencies.get(place).copied().unwrap_or_default();
        latency.as_secs_f64() * 1e6
    };
    println!(
        r#"{{"done": {}, "errors": {}, "p50": {:.1}, "p99": {:.1}}}"#,
        all.latencies.len(),
        all.errors,
        at(0.5),
        at(0.99)
    );
    Ok(())
}

/// One connection takes calls until none is left. One that is broken is opened again.
fn calls(plan: &Plan) -> Result<Seen> {
    let mut seen = Seen::default();
    let mut connection = connect(plan.port)?;
    let mut buffer = Vec::new();
    loop {
        let call = plan.next.fetch_add(1, Ordering::Relaxed);
        if call >= plan.calls {
            return Ok(seen);
        }
        let due = plan.begun + plan.step * u32::try_from(call).map_err(Error::other)?;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        match exchange(&mut connection, &plan.request, &mut buffer) {
            Ok(true) => seen.latencies.push(due.elapsed()),
            Ok(false) => seen.errors += 1,
            Err(_) => {
                seen.errors += 1;
                connection = connect(plan.port)?;
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
