//! Headroom's own pages: health, readiness, the meters, and the dashboard at `/-/`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use axum::{Extension, Router};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode, Uri};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::House;
use super::body::Body;
use super::error::{METHODS, Problem};
use super::heads::{Reply, RequestHead};
use super::route::Entrance;
use super::{door, fields};
use crate::admin::{self, Misasked, Unavailable, Viewer, dashboard};
use crate::fields::Fields;
use crate::ledger::report::{Filter, Report};
use crate::{clock, consumer};

/// The router of headroom's own pages. Calls to providers never pass it.
pub(super) struct Pages {
    service: TowerToHyperService<Router>,
    house: Arc<House>,
}

impl Pages {
    pub(super) fn new(house: Arc<House>, secret: (u64, u64)) -> Self {
        let router = Router::new()
            .route("/", get(leads_to_pages))
            .route("/-", get(leads_to_pages))
            .route("/-/", get(overview))
            .route("/-/healthz", get(async || "ok\n"))
            .route("/-/readyz", get(readiness))
            .route("/-/quota", get(quota))
            .fallback(async || StatusCode::NOT_FOUND)
            .with_state(Arc::clone(&house))
            .merge(admin::router(
                house.books.clone(),
                house.traces.clone(),
                secret,
            ));
        Self {
            service: TowerToHyperService::new(router),
            house,
        }
    }

    /// Answers a request for a page.
    pub(super) async fn answer(
        &self,
        head: &RequestHead,
        entrance: &Entrance,
        pseudonym: &str,
    ) -> Reply<Body> {
        let mut reply = self.page(head, entrance, pseudonym).await;
        protect(&mut reply.headers);
        reply
    }

    async fn page(&self, head: &RequestHead, entrance: &Entrance, pseudonym: &str) -> Reply<Body> {
        let refuse = |problem: Problem| problem.response(None, pseudonym, |_, _| {});
        if head.uri.path() == "*" || fields::forwards_left(&head.method, &head.headers) == Some(0) {
            let mut headers = Fields::new();
            headers.append(ALLOW, HeaderValue::from_static(METHODS));
            return Reply::new(StatusCode::OK, headers, Body::Empty);
        }
        let mut request = head.to_request(axum::body::Body::empty());
        match door::viewer(head, entrance, &*self.house.catalogue()) {
            Ok(viewer) => request.extensions_mut().insert(viewer),
            Err(problem) => return refuse(problem),
        };
        let Ok(mut response) = self.service.call(request).await;
        if let Some(Misasked(detail)) = response.extensions_mut().remove() {
            return refuse(Problem::Parameter(detail));
        }
        if let Some(Unavailable(detail)) = response.extensions_mut().remove() {
            return refuse(Problem::PageUnavailable(detail));
        }
        match response.status() {
            StatusCode::NOT_FOUND => refuse(Problem::NoPage),
            StatusCode::METHOD_NOT_ALLOWED => refuse(Problem::PageMethod),
            _ => Reply::from(response.map(Body::Page)),
        }
    }
}

/// What browsers must not do with a page, whatever it is: guess what it is, show it within another, tell others where it was,
/// keep it. A page that says more exactly what it is for has said so.
fn protect(headers: &mut Fields) {
    const POLICY: &str =
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (CACHE_CONTROL, "no-store"),
    ] {
        if !headers.contains_key(&name) {
            headers.append(name, HeaderValue::from_static(value));
        }
    }
}

async fn leads_to_pages() -> Redirect {
    Redirect::temporary("/-/")
}

async fn readiness(
    State(house): State<Arc<House>>,
    Extension(viewer): Extension<Viewer>,
) -> impl IntoResponse {
    if house.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    // Counts that cannot be stored are counts all the same: traffic goes on, and whoever watches is told.
    let mut told = "ready\n".to_owned();
    let (state, history) = (house.books.ledger.health(), house.books.history.health());
    // Neither do files with mistakes stop anything: what ran before them goes on.
    let configuration = house.books.reloads.trouble();
    for (what, trouble, in_short) in [
        ("state", state, "not written"),
        ("history", history, "not written"),
        ("configuration", configuration, "not read again"),
    ] {
        if let Some(trouble) = trouble {
            // The reason names files.
            let trouble = match viewer {
                Viewer::Operator => trouble,
                _ => in_short.to_owned(),
            };
            told.push_str(&format!("{what}: {trouble}\n"));
        }
    }
    (StatusCode::OK, told)
}

/// The meters, as JSON: `?connection=`, `?consumer=` and `?policy=` choose among them. What is left is told as it is for the
/// consumer that is named, or whose key came with the request; to a consumer nothing else is told.
async fn quota(
    State(house): State<Arc<House>>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
) -> Response<axum::body::Body> {
    let only = match viewer {
        Viewer::Operator => None,
        Viewer::Consumer(name) => Some(name),
        Viewer::Stranger => return StatusCode::NOT_FOUND.into_response(),
    };
    let filter = match filter(uri.query().unwrap_or_default(), only.as_deref()) {
        Ok(filter) => filter,
        Err(detail) => return Misasked(detail).response(),
    };
    // Who has used something before a restart has a number in the store, and its name only in the configuration.
    for name in house.catalogue().consumers().names() {
        house
            .books
            .ledger
            .name(consumer::number(name), || Arc::clone(name));
    }
    // There may be a million meters: calls do not wait for whoever counts them.
    let counting = tokio::task::spawn_blocking(move || {
        let report = house.books.ledger.report(&filter, clock::moment());
        match only {
            None => serde_json::to_string(&report).ok(),
            Some(only) => own(report, &only).map(|report| report.to_string()),
        }
    });
    match counting.await.ok().flatten() {
        Some(json) => {
            let headers = [
                (CONTENT_TYPE, "application/json"),
                (CACHE_CONTROL, "no-store"),
            ];
            (headers, json + "\n").into_response()
        }
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What a consumer is told: its own part of each meter that it used, and what is left of it, which the answers to its calls
/// say too. Of others, nothing.
fn own(mut report: Report, name: &str) -> Option<serde_json::Value> {
    for meter in &mut report.meters {
        meter.consumers.retain(|one| one.consumer == name);
        meter.used = meter.consumers.iter().map(|one| one.used).sum();
    }
    let mut report = serde_json::to_value(&report).ok()?;
    for meter in report.get_mut("meters")?.as_array_mut()? {
        let meter = meter.as_object_mut()?;
        for of_all in ["in_flight", "waiting", "others", "forecast"] {
            meter.shift_remove(of_all);
        }
    }
    Some(report)
}

/// What a query asks for; only of one consumer, where nobody else's numbers may be told.
fn filter(query: &str, only: Option<&str>) -> Result<Filter, String> {
    let mut filter = Filter::default();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let place = match &*name {
            "connection" => &mut filter.connection,
            "consumer" => &mut filter.consumer,
            "policy" => &mut filter.policy,
            _ => {
                return Err(format!(
                    "There is no parameter `{name}`: `connection`, `consumer` and `policy` choose among the meters."
                ));
            }
        };
        if place.replace(value.into_owned()).is_some() {
            return Err(format!("The parameter `{name}` is there twice."));
        }
    }
    if let Some(only) = only {
        let asked = filter.consumer.replace(only.to_owned());
        if asked.is_some_and(|asked| asked != only) {
            return Err(format!(
                "This key shows what `{only}` used alone: leave `consumer` out."
            ));
        }
    }
    Ok(filter)
}

async fn overview(State(house): State<Arc<House>>) -> impl IntoResponse {
    dashboard::page(&house.catalogue().names())
}
