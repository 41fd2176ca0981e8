//! Headroom's own pages: health, readiness, the meters, and the dashboard at `/-/`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::House;
use super::body::Body;
use super::error::{METHODS, Problem};
use super::fields;
use super::keys;
use crate::admin::{self, Misasked, Unavailable, dashboard};
use crate::ledger::report::Filter;
use crate::{clock, consumer};

/// The router of headroom's own pages. Calls to providers never pass it.
pub(super) struct Pages {
    service: TowerToHyperService<Router>,
}

impl Pages {
    pub(super) fn new(house: Arc<House>) -> Self {
        let router = Router::new()
            .route("/", get(leads_to_pages))
            .route("/-", get(leads_to_pages))
            .route("/-/", get(overview))
            .route("/-/healthz", get(async || "ok\n"))
            .route("/-/readyz", get(readiness))
            .route("/-/quota", get(quota))
            .fallback(async || StatusCode::NOT_FOUND)
            .with_state(Arc::clone(&house))
            .merge(admin::router(house.books.clone(), house.traces.clone()));
        Self {
            service: TowerToHyperService::new(router),
        }
    }

    /// Answers a request for a page.
    pub(super) async fn answer(&self, head: Parts, pseudonym: &str) -> Response<Body> {
        if fields::forwards_left(&head.method, &head.headers) == Some(0) {
            let mut response = Response::new(Body::Empty);
            let headers = response.headers_mut();
            headers.insert(ALLOW, HeaderValue::from_static(METHODS));
            return response;
        }
        let request = Request::from_parts(head, axum::body::Body::empty());
        let Ok(mut response) = self.service.call(request).await;
        if let Some(Misasked(detail)) = response.extensions_mut().remove() {
            return Problem::Parameter(detail).response(None, pseudonym, |_, _| {});
        }
        if let Some(Unavailable(detail)) = response.extensions_mut().remove() {
            return Problem::PageUnavailable(detail).response(None, pseudonym, |_, _| {});
        }
        match response.status() {
            StatusCode::NOT_FOUND => Problem::NoPage.response(None, pseudonym, |_, _| {}),
            StatusCode::METHOD_NOT_ALLOWED => {
                Problem::PageMethod.response(None, pseudonym, |_, _| {})
            }
            _ => response.map(Body::Page),
        }
    }
}

async fn leads_to_pages() -> Redirect {
    Redirect::temporary("/-/")
}

async fn readiness(State(house): State<Arc<House>>) -> impl IntoResponse {
    if house.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    // Counts that cannot be stored are counts all the same: traffic goes on, and whoever watches is told.
    let mut told = "ready\n".to_owned();
    let (state, history) = (house.books.ledger.health(), house.books.history.health());
    for (what, trouble) in [("state", state), ("history", history)] {
        if let Some(trouble) = trouble {
            told.push_str(&format!("{what}: {trouble}\n"));
        }
    }
    (StatusCode::OK, told)
}

/// The meters, as JSON: `?connection=`, `?consumer=` and `?policy=` choose among them. What is left is told as it is for the
/// consumer that is named, else for the one whose key came with the request.
async fn quota(
    State(house): State<Arc<House>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<axum::body::Body> {
    let mut filter = match filter(uri.query().unwrap_or_default()) {
        Ok(filter) => filter,
        Err(detail) => return Misasked(detail).response(),
    };
    let catalogue = house.catalogue();
    if filter.consumer.is_none() {
        let key = keys::of_page(&headers);
        let asks = key.and_then(|key| catalogue.consumers().by_key(&key));
        filter.left_for = asks.map(|consumer| consumer.name.to_string());
    }
    // Who has used something before a restart has a number in the store, and its name only in the configuration.
    for name in catalogue.consumers().names() {
        house
            .books
            .ledger
            .name(consumer::number(name), || Arc::clone(name));
    }
    // There may be a million meters: calls do not wait for whoever counts them.
    let counting = tokio::task::spawn_blocking(move || {
        let report = house.books.ledger.report(&filter, clock::moment());
        serde_json::to_string(&report).ok()
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

/// What a query asks for.
fn filter(query: &str) -> Result<Filter, String> {
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
    Ok(filter)
}

async fn overview(State(house): State<Arc<House>>) -> impl IntoResponse {
    dashboard::page(&house.catalogue().names())
}
