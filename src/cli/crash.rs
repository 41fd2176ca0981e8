//! What is told of a panic: where it was, not what it says. Its message may have been made of a call, and so of a secret.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{self, PanicHookInfo};

use super::tell;

/// From now on every thread's panic is told in these words. A panic in a call ends that call's connection and nothing else.
pub(super) fn watch() {
    panic::set_hook(Box::new(|info| {
        let report = report(info);
        if tracing::enabled!(tracing::Level::ERROR) {
            tracing::error!("{report}");
        } else {
            tell(&report);
        }
    }));
}

fn report(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map_or_else(
        || "a place that is not known".to_owned(),
        |place| format!("{}:{}", place.file(), place.line()),
    );
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let words = words(info.payload());
    let mut report = format!(
        "headroom has come upon a mistake of its own (a panic at {place}, thread {thread}): {words}"
    );
    // Names of functions and lines of source: as ever, for who asks with RUST_BACKTRACE.
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        report.push_str(&format!("\n{trace}"));
    }
    report
}

/// What was written in the source has no data in it; everything else is a `String`.
fn words(payload: &(dyn Any + Send)) -> &str {
    let written: Option<&&'static str> = payload.downcast_ref();
    written.map_or(
        "its message is not shown, for it may be made of data",
        |words| words,
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_panic_tells_where_and_no_data() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&told);
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| all.lock().unwrap().push(report(info))));
        let run = |job: fn(String)| {
            // Known here alone.
            let secret = ["pl4n", "ted"].concat();
            let thread = std::thread::Builder::new().name("some-thread".to_owned());
            thread
                .spawn(move || job(secret))
                .unwrap()
                .join()
                .unwrap_err();
        };
        run(|secret| panic!("no room for {secret}"));
        run(|secret| assert_eq!(secret, "something else"));
        run(|secret| {
            let number = "x".parse::<u8>().map_err(|_| secret);
            number.unwrap();
        });
        run(|secret| std::panic::panic_any(secret));
        run(|secret| assert!(secret.is_empty(), "a sentence of the source"));
        panic::set_hook(before);

        let told = told.lock().unwrap();
        assert_eq!(told.len(), 5);
        for report in &*told {
            assert!(!report.contains("pl4nted"), "{report}");
            assert!(
                report.contains("crash.rs:") || report.contains("thread some-thread"),
                "{report}"
            );
        }
        assert!(told[4].contains("a sentence of the source"), "{told:?}");
    }
}
