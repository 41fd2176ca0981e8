//! Simulated providers on a socket: each at `/<id>/…` and at `<id>.localhost`, an only one also at the root. Time only
//! through [`crate::clock`].

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::serve::ListenerExt;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::net::TcpListener;

use super::provider::{self, Budgets, Provider, Reply, Verdict};
use crate::adapter::{Call, REQUEST_BODY_LIMIT};
use crate::clock;
use crate::diagnostic::closest;

/// The header of a request that says how long it shall run, in seconds: for limits on requests at a time.
pub const DELAY: &str = "simulate-delay";

/// The longest delay, in seconds.
const LONGEST_DELAY_SECS: f64 = 60.0;

/// How long calls in flight may go on after the order to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// Providers by their ids.
#[derive(Debug, Default)]
pub struct House(BTreeMap<String, Guest>);

/// A provider with its books.
#[derive(Debug)]
struct Guest {
    provider: Provider,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    budgets: Budgets,
    requests: u64,
}

impl FromIterator<Provider> for House {
    fn from_iter<I: IntoIterator<Item = Provider>>(providers: I) -> Self {
        let guest = |provider: Provider| {
            let books = Mutex::default();
            (provider.adapter().id.clone(), Guest { provider, books })
        };
        Self(providers.into_iter().map(guest).collect())
    }
}

impl House {
    /// The providers, sorted by id.
    pub fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.0.values().map(|guest| &guest.provider)
    }

    /// Whom a request is for, and the path behind the mount.
    fn find<'h, 'p>(&'h self, host: &str, path: &'p str) -> Option<(&'h Guest, &'p str)> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let by_host = name
            .strip_suffix(".localhost")
            .and_then(|id| self.0.get(&id.to_ascii_lowercase()));
        if let Some(guest) = by_host {
            return Some((guest, path));
        }
        let rest = path.strip_prefix('/').unwrap_or(path);
        let (first, _) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some(guest) = self.0.get(first) {
            let behind = rest.get(first.len()..).unwrap_or("");
            return Some((guest, if behind.is_empty() { "/" } else { behind }));
        }
        let mut guests = self.0.values();
        let only = guests.next().filter(|_| guests.next().is_none())?;
        Some((only, path))
    }

    fn unknown(&self, path: &str) -> Response<Body> {
        let name = path.trim_start_matches('/').split('/').next().unwrap_or("");
        let ids: Vec<&str> = self.0.keys().map(String::as_str).collect();
        let hint = closest(name, ids.iter().copied())
            .map_or_else(String::new, |near| format!(" Did you mean `/{near}/`?"));
        let body = json!({
            "simulated": true,
            "message": format!("no provider is simulated at `/{name}/`.{hint}"),
            "providers": ids,
        });
        let mut response = Response::new(Body::from(format!("{body}\n")));
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl Guest {
    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic elsewhere leaves counts that are still counts.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives back what a request holds when it ends, also when its caller has gone.
struct Permit<'g> {
    guest: &'g Guest,
    verdict: Verdict,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut books = self.guest.books();
        self.guest
            .provider
            .finish(&mut books.budgets, &self.verdict);
    }
}

/// Serves until `shutdown` is ready, then lets the calls in flight end for a moment.
///
/// # Errors
/// The socket fails.
pub async fn serve(
    listener: TcpListener,
    house: Arc<House>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new().fallback(answer).with_state(house);
    let listener = listener.tap_io(|stream| {
        // Answers are small and somebody waits for them. A socket that refuses is about to fail anyway.
        let _ = stream.set_nodelay(true);
    });
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        // Nobody listens any more when serving has failed.
        let _ = stop.send(true);
    });
    let drained = async {
        if stopped.wait_for(|stopped| *stopped).await.is_err() {
            // Serving has ended by itself.
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = serving => result,
        () = drained => Ok(()),
    }
}

async fn answer(State(house): State<Arc<House>>, request: Request<Body>) -> Response<Body> {
    let (head, mut body) = request.into_parts();
    // A body that is not read would cost the caller its connection. Conditions look at its beginning.
    let mut beginning = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let room = REQUEST_BODY_LIMIT.saturating_sub(beginning.len());
        if let Ok(data) = frame.into_data() {
            beginning.extend(data.into_iter().take(room));
        }
    }
    let host = head.uri.host().or_else(|| {
        let host = head.headers.get(HOST)?;
        host.to_str().ok()
    });
    let Some((guest, path)) = house.find(host.unwrap_or(""), head.uri.path()) else {
        return house.unknown(head.uri.path());
    };
    let delay = delay(&head.headers);
    let request = provider::Request {
        call: Call {
            method: &head.method,
            path: Some(path),
            headers: Some(&head.headers),
            body: Some(&beginning),
        },
        query: head.uri.query(),
        runs_secs: delay.as_secs(),
    };
    let (permit, n) = {
        let mut books = guest.books();
        books.requests += 1;
        let verdict = guest
            .provider
            .admit(&mut books.budgets, &request, clock::now());
        (Permit { guest, verdict }, books.requests)
    };
    if permit.verdict.refused.is_none() && !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let reply = guest
        .provider
        .reply(&request, &permit.verdict, n, clock::now());
    drop(permit);
    response(reply)
}

fn response(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response
}

/// How long the request shall run.
fn delay(headers: &http::HeaderMap) -> Duration {
    headers
        .get(DELAY)
        .and_then(|value| value.to_str().ok()?.trim().parse::<f64>().ok())
        .filter(|secs| *secs > 0.0)
        .map_or(Duration::ZERO, |secs| {
            Duration::from_secs_f64(secs.min(LONGEST_DELAY_SECS))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::catalog::Catalog;
    use crate::simulate::provider::Account;

    fn house(ids: &[&str]) -> House {
        let catalog = Catalog::default();
        ids.iter()
            .map(|id| {
                let adapter = catalog.get(id).unwrap();
                Provider::new(adapter, &Account::default(), clock::now()).unwrap()
            })
            .collect()
    }

    fn found<'p>(house: &House, host: &str, path: &'p str) -> Option<(String, &'p str)> {
        let (guest, path) = house.find(host, path)?;
        Some((guest.provider.adapter().id.clone(), path))
    }

    #[test]
    fn several_providers_are_found_by_path_and_by_host() {
        let house = house(&["toggl", "hubspot"]);
        let toggl = |path| Some(("toggl".to_owned(), path));
        assert_eq!(
            found(&house, "127.0.0.1:1", "/toggl/api/v9/me"),
            toggl("/api/v9/me")
        );
        assert_eq!(found(&house, "127.0.0.1:1", "/toggl"), toggl("/"));
        assert_eq!(
            found(&house, "Toggl.localhost:1", "/toggl/x"),
            toggl("/toggl/x")
        );
        assert_eq!(found(&house, "toggl.localhost", "/api"), toggl("/api"));
        assert_eq!(found(&house, "127.0.0.1:1", "/togg/api"), None);
        assert_eq!(found(&house, "127.0.0.1:1", "/"), None);
    }

    #[test]
    fn an_only_provider_is_also_at_the_root() {
        let house = house(&["toggl"]);
        let toggl = |path| Some(("toggl".to_owned(), path));
        assert_eq!(
            found(&house, "127.0.0.1:1", "/api/v9/me"),
            toggl("/api/v9/me")
        );
        assert_eq!(
            found(&house, "127.0.0.1:1", "/toggl/api/v9/me"),
            toggl("/api/v9/me")
        );
        assert_eq!(found(&house, "", "/"), toggl("/"));
    }
}
