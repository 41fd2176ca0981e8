//! What became of reading the files: whoever watches has to see that what is written is not what runs.

use std::sync::{Mutex, PoisonError};

/// The last reading of the configuration, and the last one that was put in place.
#[derive(Debug)]
pub struct Reloads(Mutex<Last>);

#[derive(Debug)]
struct Last {
    succeeded_ms: i64,
    trouble: Option<String>,
}

impl Reloads {
    /// What was read at the start, in milliseconds since 1970, has no mistakes: else nothing would run.
    #[must_use]
    pub fn new(now_ms: i64) -> Self {
        Self(Mutex::new(Last {
            succeeded_ms: now_ms,
            trouble: None,
        }))
    }

    /// What was read is in place since then.
    pub fn succeeded(&self, now_ms: i64) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.succeeded_ms = now_ms;
        last.trouble = None;
    }

    /// What was read cannot be put in place, for this reason: one line, for the operator.
    pub fn failed(&self, trouble: String) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.trouble = Some(trouble);
    }

    /// Why the last reading came to nothing; `None`: it did not.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.trouble.clone()
    }

    /// When something was put in place for the last time, in milliseconds since 1970.
    #[must_use]
    pub fn succeeded_ms(&self) -> i64 {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.succeeded_ms
    }
}
