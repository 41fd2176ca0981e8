//! headroom: one endpoint in front of third-party APIs, and the same rate-limit headers on every answer.
//!
//! The layers only look down; `tests/layers.rs` holds the table of allowed arrows. In reading order:
//!
//! 0. [`quota`] and [`diagnostic`] are pure values: what a policy is, what an answer says of it, what is wrong in a file.
//! 1. [`document`] reads TOML with spans against a shape; [`form`] knows every spelling of a number or a time, read and
//!    written; [`adapter`] makes checked adapters of files that people write by hand.
//! 2. [`translate`] makes limits of an answer, [`emit`] makes standard headers of limits, [`rewrite`] replaces an origin in
//!    a streaming JSON body, [`recording`] reads one response as text. All pure: no clock, no I/O.
//! 3. [`origin`] is where calls go, [`config`] what the user says, [`clock`] the only reader of the time, [`gateway`] the
//!    request path.
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
pub mod origin;
pub mod quota;
pub mod recording;
pub mod rewrite;
pub mod simulate;
pub mod translate;
