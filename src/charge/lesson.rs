//! What answers teach of partitions that no path names: which organization a workspace belongs to.

use http::StatusCode;

use crate::adapter::{Adapter, Call};

/// One thing learned: where the path has `value` for `from`, the call counts against `learned` of `partition`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson<'a> {
    /// What is known now, without braces: `organization`.
    pub partition: &'a str,
    /// What the path has instead: `workspace`.
    pub from: &'a str,
    /// Its value.
    pub value: String,
    /// What belongs to it.
    pub learned: String,
}

/// Whether the answer to this call may teach something, so that its body is worth reading.
#[must_use]
pub fn may_teach(adapter: &Adapter, call: &Call<'_>, status: StatusCode) -> bool {
    let _ = (adapter, call, status);
    false
}

/// What an answer teaches. Its body has to be whole; whatever is not as the adapter says teaches nothing.
#[must_use]
pub fn lessons<'a>(adapter: &'a Adapter, call: &Call<'_>, body: &[u8]) -> Vec<Lesson<'a>> {
    let _ = (adapter, call, body);
    Vec::new()
}
