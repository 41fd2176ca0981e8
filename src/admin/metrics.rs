//! `GET /-/metrics`: the numbers of this process for Prometheus and whoever reads its formats. Nothing is counted for it on
//! the request path: the sums are the history's, what is left is the ledger's.

mod classic;
mod families;
mod text;

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, VARY};
use http::{HeaderMap, StatusCode};

use super::{Books, Reloads};
use crate::clock;
use crate::history::tally::Tally;
use crate::ledger::report::Report;
use crate::time::Now;
use crate::trace::Counters;
use crate::warn::Warnings;

/// Meters that are told one by one: those nearest to having nothing left.
const MOST_METERS: usize = 1_000;

/// The format of OpenMetrics, and Prometheus' own from before.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All that one answer tells.
#[derive(Debug)]
struct Numbers {
    tally: Tally,
    meters: Report,
    stores: [(&'static str, bool); 2],
    bytes: u64,
    dropped: u64,
    waiting: u64,
    warnings: Arc<Warnings>,
    reloads: Arc<Reloads>,
    /// Spans that were exported, and that were dropped.
    spans: Option<[u64; 2]>,
    started: Now,
    now: Now,
}

/// The page.
pub(super) async fn page(
    State(books): State<Books>,
    headers: HeaderMap,
    traces: Option<Arc<Counters>>,
) -> Response {
    let tally = books.history.tally().await;
    let is_openmetrics = wants_openmetrics(&headers);
    // There may be a million meters: calls do not wait for whoever counts them.
    let counting = tokio::task::spawn_blocking(move || {
        let now = clock::moment();
        let numbers = Numbers {
            tally,
            meters: once(books.ledger.tightest(MOST_METERS, now)),
            stores: [
                ("history", books.history.health().is_none()),
                ("state", books.ledger.health().is_none()),
            ],
            bytes: books.history.bytes(),
            dropped: books.history.dropped(),
            waiting: books.history.waiting(),
            warnings: Arc::clone(&books.warnings),
            reloads: Arc::clone(&books.reloads),
            spans: traces.map(|traces| [traces.exported(), traces.dropped()]),
            started: clock::started(),
            now,
        };
        let text = families::write(numbers)?;
        Ok::<_, std::fmt::Error>(if is_openmetrics {
            text
        } else {
            classic::of(&text)
        })
    });
    match counting.await {
        Ok(Ok(text)) => {
            let kind = if is_openmetrics { OPENMETRICS } else { CLASSIC };
            let headers = [
                (CONTENT_TYPE, kind),
                (CACHE_CONTROL, "no-store"),
                (VARY, "accept"),
            ];
            (headers, text).into_response()
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Each name once: a series that is there twice makes readers throw the whole page away. Of two meters that cannot be told
/// apart the one that is nearer to having nothing left is told.
fn once(mut report: Report) -> Report {
    let mut told = HashSet::new();
    report.meters.retain(|meter| {
        told.insert(families::meter_labels(meter).map(|(_, value)| value.to_owned()))
    });
    report
}

/// A dashboard for Grafana, to be imported there.
pub(super) async fn grafana() -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, include_str!("grafana.json"))
}

/// Whoever knows the newer format names it; all others get the older.
fn wants_openmetrics(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_it = parts
                .next()
                .is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"));
            is_it && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_series_is_there_twice() {
        let meter = |partition: &str, used: u64| {
            serde_json::json!({
                "connection": "crm", "provider": "hubspot", "policy": "daily", "partition": partition,
                "unit": "requests", "limit": 10, "used": used, "remaining": 10 - used, "reset": null, "window": null,
                "source": "own", "mode": "enforce", "suspended": null, "in_flight": 0, "waiting": 0,
                "consumers": [], "others": 0, "forecast": null,
            })
        };
        let meters = [meter("", 9), meter("", 3), meter("key", 2)];
        let report = serde_json::json!({ "meters": meters, "total": 3 });
        let report = once(serde_json::from_value(report).unwrap());
        let used: Vec<_> = report.meters.iter().map(|meter| meter.used).collect();
        assert_eq!((used, report.total), (vec![9, 2], 3));
    }
}
