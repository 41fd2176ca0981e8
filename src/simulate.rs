//! Stands in for providers: enforces what they document and answers in their own words, so that a client can be tried
//! against a limit without burning a real quota.
//!
//! In reading order: `budgets` counts with the meters of the ledger, [`native`] writes headers and bodies that the
//! translator reads back, [`refusal`] finds the dress of an exhausted quota, [`provider`] puts the three together without a
//! clock or a socket, [`fault`] says what goes wrong on purpose, [`server`] listens. `draft`, `json` and `example` are the
//! tools of [`native`]. Nothing is invented: what an adapter does not know is not sent.

mod budgets;
mod draft;
mod example;
pub mod fault;
mod json;
pub mod native;
pub mod provider;
pub mod refusal;
pub mod server;
