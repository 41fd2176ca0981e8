//! One program for all targets: `HEADROOM_FUZZ` names one. See `run`.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

// By path, because `tests/fuzzed.rs` takes the same file in.
#[path = "targets.rs"]
mod targets;

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    let name = std::env::var("HEADROOM_FUZZ").unwrap_or_default();
    let found = targets::TARGETS.iter().find(|(known, _)| *known == name);
    let Some((_, target)) = found else {
        let known = targets::TARGETS.map(|(known, _)| known).join(", ");
        eprintln!("HEADROOM_FUZZ names no target. There are {known}.");
        std::process::exit(2);
    };
    *target
});

fuzz_target!(|data: &[u8]| TARGET(data));
