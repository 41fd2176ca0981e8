//! Headroom's own pages about its work, below `/-/`: what they show comes from the ledger and the history. Nothing here knows
//! of the gateway, which hands requests over.

mod advice;
pub mod dashboard;
mod events;
mod live;
mod metrics;
mod numbering;
mod parameters;
mod reloads;
pub mod usage;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::clock;
use crate::history::History;
use crate::ledger::Ledger;
use crate::state::ReadError;
use crate::trace::Counters;
use crate::warn::Warnings;

pub use reloads::Reloads;

/// What a gateway counts, remembers and warns of: what the pages look at.
#[derive(Clone)]
pub struct Books {
    /// The meters.
    pub ledger: Arc<Ledger>,
    /// What was called.
    pub history: Arc<History>,
    /// What was warned of.
    pub warnings: Arc<Warnings>,
    /// What became of reading the files.
    pub reloads: Arc<Reloads>,
}

/// Who looks at a page; in the extensions of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewer {
    /// Whoever runs headroom: everything.
    Operator,
    /// A consumer: its own numbers and nobody else's.
    Consumer(Arc<str>),
    /// Anybody: what is open to all, without particulars.
    Stranger,
}

impl Viewer {
    /// The consumer whose numbers these must be, where not all are told.
    fn only(&self) -> Option<&str> {
        match self {
            Self::Operator => None,
            Self::Consumer(name) => Some(name),
            // No consumer has this name; who shows no key has no numbers.
            Self::Stranger => Some(""),
        }
    }
}

/// A page was asked for something that it does not know; in the extensions of its answer, for whoever writes problems.
#[derive(Debug, Clone)]
pub struct Misasked(pub String);

impl Misasked {
    /// The answer that carries it.
    #[must_use]
    pub fn response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

/// A page cannot be made now; in the extensions of its answer, as [`Misasked`].
#[derive(Debug, Clone)]
pub struct Unavailable(pub String);

impl Unavailable {
    /// Because of this.
    fn because(error: &ReadError) -> Self {
        let reason = error.to_string();
        let mut letters = reason.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        Self(first.into_iter().chain(letters).chain(['.']).collect())
    }

    /// The answer that carries it.
    #[must_use]
    pub fn response(self) -> Response {
        let mut response = Response::default();
        response.extensions_mut().insert(self);
        response
    }
}

/// The pages, and what became of spans where calls are traced. `secret` is what credentials are hashed with.
pub fn router(books: Books, traces: Option<Arc<Counters>>, secret: (u64, u64)) -> Router {
    // Looked at here, as the process starts, for whoever asks since when it runs.
    clock::started();
    Router::new()
        .route("/-/usage", get(usage::page))
        .route("/-/advice", get(advice::page))
        .route(
            "/-/metrics",
            get(async move |books, headers| metrics::page(books, headers, traces).await),
        )
        .route("/-/grafana.json", get(metrics::grafana))
        .with_state(books.clone())
        .merge(dashboard::routes())
        .merge(events::router(books, secret))
}

/// Microseconds as milliseconds: whole ones without a point, exact to 2^53 microseconds, which are 285 years.
#[expect(
    clippy::cast_precision_loss,
    reason = "what is beyond is rounded to what a number of JSON can hold"
)]
fn millis(micros: u64) -> serde_json::Value {
    if micros.is_multiple_of(1_000) {
        return (micros / 1_000).into();
    }
    (micros as f64 / 1_000.0).into()
}

/// A page that is read once, as text of this type.
fn text(content_type: &'static str, text: String) -> Response {
    let headers = [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}
