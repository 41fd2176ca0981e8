//! What the demo has heard of each provider. Answers in, text out; no I/O.

use http::HeaderName;

use super::caller::Exchange;
use super::stage::Scene;
use crate::emit::{RATELIMIT_LIMIT, RATELIMIT_REMAINING, RATELIMIT_RESET};

/// The last answer of one provider.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    /// The three headers, as they were written.
    pub(super) limit: String,
    pub(super) left: String,
    pub(super) reset: String,
    pub(super) calls: u64,
    pub(super) refused: u64,
    id: &'static str,
    status: u16,
}

impl Row {
    pub(super) fn new(scene: &Scene, exchange: &Exchange) -> Self {
        let mut row = Self {
            name: scene.name.clone(),
            limit: String::new(),
            left: String::new(),
            reset: String::new(),
            calls: 0,
            refused: 0,
            id: scene.id,
            status: 0,
        };
        row.update(exchange);
        row
    }

    /// Takes an answer in.
    pub(super) fn update(&mut self, exchange: &Exchange) {
        let shown = |name: &HeaderName| exchange.get(name).unwrap_or("unknown").to_owned();
        self.limit = shown(&RATELIMIT_LIMIT);
        self.left = shown(&RATELIMIT_REMAINING);
        self.reset = shown(&RATELIMIT_RESET);
        self.calls += 1;
        self.refused += u64::from(!exchange.status.is_success());
        self.status = exchange.status.as_u16();
    }

    /// One line where nothing can be drawn over.
    pub(super) fn line(&self) -> String {
        format!(
            "{:<16} {}  ratelimit-limit: {}  ratelimit-remaining: {}  ratelimit-reset: {}\n",
            self.id, self.status, self.limit, self.left, self.reset
        )
    }
}
