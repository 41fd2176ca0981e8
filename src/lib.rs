//! headroom: one endpoint in front of third-party APIs, and the same rate-limit headers on every answer.
//!
//! The layers only look down; `tests/layers.rs` holds the table of allowed arrows.
//!
//! 0. [`quota`] and [`diagnostic`] are pure values.
//! 1. [`document`] reads TOML with spans; [`adapter`] makes checked adapters of it.
//! 2. [`form`] knows every spelling of a number or a time, [`translate`] makes limits of an answer, [`emit`] makes
//!    standard headers of limits.
//! 3. [`config`] is what the user says, [`clock`] the only reader of the time, [`gateway`] the request path.
//! 4. [`simulate`] stands in for providers, [`cli`] wires everything; only it reads files and the environment.

pub mod adapter;
pub mod cli;
pub mod clock;
pub mod config;
pub mod diagnostic;
pub mod document;
pub mod emit;
pub mod form;
pub mod gateway;
pub mod quota;
pub mod recording;
pub mod rewrite;
pub mod translate;
