//! All integration tests in one binary: one link instead of ten.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

mod answers;
mod catalog;
mod charge;
mod cli;
mod clients;
mod concurrency;
mod configuration;
mod dashboard;
mod demo;
mod edges;
mod exchange;
mod fuzzed;
mod generic;
mod guard;
mod history;
mod keys;
mod layers;
mod ledger;
mod metrics;
mod modes;
mod oauth;
mod properties;
mod quota;
mod readme;
mod refusal;
mod rejected;
mod restart;
mod running;
mod secrets;
mod simulate;
mod state;
mod support;
mod told;
mod tracing;
mod translation;
mod waiting;
mod warn;
