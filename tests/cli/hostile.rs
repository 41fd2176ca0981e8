//! Whatever stands on stdin: an answer or a complaint, in bounded time and space, never a panic.

use std::time::Duration;

use super::run_in;
use headroom::clock::monotonic;

/// Headers that one of the translations below reads.
const READ: [&str; 7] = [
    "X-RateLimit-Remaining",
    "X-RateLimit-Limit",
    "X-RateLimit-Reset",
    "Retry-After",
    "X-App-Usage",
    "X-Toggl-Quota-Remaining",
    "RateLimit",
];

const GARBLED: &str = "X-Toggl-Quota-Remaining: x\r\nRetry-After: soon\r\nSforce-Limit-Info: x\r\n\
    X-App-Usage: x\r\nRateLimit-Limit: x\r\n";

const INVALID: &[u8] = b"X-RateLimit-Remaining: \xff\xfe\nRateLimit: \xc3\x28\n\
    X-Toggl-Quota-Remaining: \xe9\nSforce-Limit-Info: \xf0\x9f\n\n\xff";

const BEYOND: &[u8] = b"X-RateLimit-Limit: 99999999999999999999999999999999999999\n\
    X-RateLimit-Remaining: -99999999999999999999999999999999999999\n\
    X-RateLimit-Reset: 1e999\nRetry-After: -0.000000001\n\
    X-Toggl-Quota-Remaining: 340282366920938463463374607431768211456\n\
    X-Toggl-Quota-Resets-In: 170141183460469231731687303715884105727\n\n";

fn inputs() -> Vec<(&'static str, Vec<u8>)> {
    let head = b"HTTP/1.1 429 Too Many Requests\r\n".to_vec();
    let with = |rest: &[u8]| [head.as_slice(), rest].concat();
    let lines = |count: usize, line: &dyn Fn(usize) -> String| {
        with((0..count).map(line).collect::<String>().as_bytes())
    };
    let mut noise = 1_u32;
    let binary: Vec<u8> = std::iter::repeat_with(|| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (noise >> 24) as u8
    })
    .take(100_000)
    .collect();
    let mebibyte = "9".repeat(1 << 20);
    vec![
        ("empty", Vec::new()),
        ("one newline", b"\n".to_vec()),
        ("no status line", b"X-RateLimit-Remaining: 1\n\n".to_vec()),
        ("a status line alone", b"HTTP/1.1 200".to_vec()),
        ("a status of four digits", b"HTTP/1.1 2000 OK\n\n".to_vec()),
        ("a status beyond", b"HTTP/1.1 999 Odd\n\n".to_vec()),
        ("an endless status line", vec![b'H'; 1 << 20]),
        ("binary", binary.clone()),
        ("a binary head", with(&binary)),
        (
            "a binary body",
            with(&[b"\r\n".as_slice(), &binary].concat()),
        ),
        (
            "NUL bytes",
            with(b"X-RateLimit-Remaining: \0\0\nX-\0: 1\n\0\n\n\0"),
        ),
        ("invalid UTF-8", with(INVALID)),
        (
            "10,000 headers",
            lines(10_000, &|n| format!("X-Header-{n}: {n}\r\n")),
        ),
        (
            "100,000 headers",
            lines(100_000, &|n| format!("X-Header-{n}: {n}\r\n")),
        ),
        (
            "10,000 policies",
            lines(10_000, &|n| format!("X-RateLimit-Limit-{n}: {n}\r\n")),
        ),
        (
            "10,000 lines of one header",
            lines(10_000, &|n| format!("X-RateLimit-Remaining: {n}\r\n")),
        ),
        (
            "10,000 lists",
            lines(10_000, &|n| {
                let list: String = (0..40).map(|k| format!(", {n}{k};w={k}1")).collect();
                format!("RateLimit-Limit: {n}{list}\r\n")
            }),
        ),
        (
            "a long label",
            lines(1, &|_| {
                format!("X-RateLimit-Limit-{}: x\r\n", "n".repeat(60_000))
            }),
        ),
        (
            "10,000 garbled lines",
            lines(10_000, &|n| {
                format!("X-RateLimit-Remaining: x{n}\r\n{GARBLED}")
            }),
        ),
        (
            "10,000 lines that are no headers",
            lines(10_000, &|n| format!("no header {n}\r\n")),
        ),
        (
            "10,000 folded lines",
            lines(10_000, &|n| format!(" {n}\r\n")),
        ),
        (
            "a folded header that grows",
            lines(20_000, &|n| {
                if n == 0 {
                    "X-RateLimit-Limit: 1\r\n".into()
                } else {
                    " 1234567890\r\n".into()
                }
            }),
        ),
        (
            "a value of 1 MiB",
            with(
                READ.map(|name| format!("{name}: {mebibyte}\n"))
                    .concat()
                    .as_bytes(),
            ),
        ),
        (
            "a name of 1 MiB",
            with(format!("{}: 1\n\n", "n".repeat(1 << 20)).as_bytes()),
        ),
        (
            "deep JSON",
            with(
                format!(
                    "Content-Type: application/json\nX-App-Usage: {}\n\n{}",
                    "[".repeat(30_000),
                    "[".repeat(200_000)
                )
                .as_bytes(),
            ),
        ),
        (
            "a body of 8 MiB",
            with(format!("\n{}", "a".repeat(8 << 20)).as_bytes()),
        ),
        ("numbers beyond all", with(BEYOND)),
    ]
}

/// What cannot be read is said on stderr, what can be read is on stdout.
fn survives(arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    for (name, input) in inputs() {
        let started = monotonic();
        let ran = run_in(folder.path(), arguments, &input);
        let took = monotonic().duration_since(started);
        let place = format!("{name} for {arguments:?}");
        assert!(
            matches!(ran.code, 0 | 2),
            "{place}: exit code {}\n{}",
            ran.code,
            ran.stderr
        );
        assert!(!ran.stderr.contains("panicked"), "{place}: {}", ran.stderr);
        assert!(took < Duration::from_secs(10), "{place}: {took:?}");
        let told = ran.stderr.len() + ran.stdout.len();
        assert!(
            told < 64 * 1024,
            "{place}: {told} bytes, {:.500}",
            ran.stderr
        );
        assert_eq!(
            ran.stdout.is_empty(),
            ran.code == 2,
            "{place}: {}",
            ran.stderr
        );
    }
}

#[test]
fn nothing_on_stdin_makes_the_generic_translation_panic() {
    survives(&["translate", "generic"]);
    survives(&["translate", "generic", "--json"]);
}

/// One with plain headers, one with a pattern, one with JSON in headers and bodies, one with structured fields.
#[test]
fn nothing_on_stdin_makes_an_adapter_panic() {
    for provider in ["toggl", "salesforce", "meta-graph", "klaviyo"] {
        survives(&["translate", provider]);
    }
}

#[test]
fn what_is_no_response_is_said() {
    let folder = tempfile::tempdir().unwrap();
    for (input, told) in [
        ("", "there is no status line"),
        ("# now: 2026-11-21T12:00:00Z\n", "there is no status line"),
        ("X-RateLimit-Remaining: 1\n", "is not a status line"),
        ("HTTP/1.1 2000\n", "is not a status line"),
    ] {
        let ran = run_in(folder.path(), &["translate", "generic"], input.as_bytes());
        assert_eq!(ran.code, 2, "{input}");
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
        assert!(ran.stderr.contains("HTTP/1.1 200 OK"), "{}", ran.stderr);
    }
}
