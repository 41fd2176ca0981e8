//! Headroom's own pages about its work, below `/-/`: what they show comes from the ledger and the history. Nothing here knows
//! of the gateway, which hands requests over.

mod advice;
pub mod dashboard;
mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::get;

use crate::clock;
use crate::history::History;
use crate::ledger::Ledger;

/// What the pages look at.
#[derive(Clone)]
pub struct Admin {
    /// The meters.
    pub ledger: Arc<Ledger>,
    /// What was called.
    pub history: Arc<History>,
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

/// The pages.
pub fn router(admin: Admin) -> Router {
    // Looked at here, as the process starts, for whoever asks since when it runs.
    clock::started();
    Router::new()
        .merge(dashboard::routes())
        .route("/-/advice", get(advice::page))
        .route("/-/metrics", get(metrics::page))
        .route("/-/grafana.json", get(metrics::grafana))
        .with_state(admin)
}
