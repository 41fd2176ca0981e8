//! Headroom's own count: a meter for each policy and partition, corrected by what providers say. No clock, no network:
//! time and randomness are arguments.
//!
//! [`meter`] is the pure machine, [`rule`] what it is held to, [`time`] the two clocks. `moka` holds the meters and decides
//! nothing.

pub mod meter;
pub mod rule;
pub mod time;
