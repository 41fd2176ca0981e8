//! All integration tests in one binary: one link instead of ten.

mod catalog;
mod exchange;
mod support;
mod translation;
