//! All integration tests in one binary: one link instead of ten.

mod catalog;
mod support;
mod translation;
