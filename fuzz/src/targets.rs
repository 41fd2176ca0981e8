//! What is fuzzed. Each target takes any bytes, and panics where headroom breaks a promise.
//!
//! `fuzz/run` feeds them by libFuzzer, and `tests/fuzzed.rs` with what was found before (`fuzz/found/`).

mod adapter;
mod answer;
mod config;
pub(crate) mod emitted;
mod request;
mod rewrite;
mod translate;
mod wire;

/// Takes an input.
pub(crate) type Target = fn(&[u8]);

/// All of them, by name.
pub(crate) const TARGETS: [(&str, Target); 6] = [
    ("adapter", adapter::run),
    ("answer", answer::run),
    ("config", config::run),
    ("request", request::run),
    ("rewrite", rewrite::run),
    ("translate", translate::run),
];
