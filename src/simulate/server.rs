//! Simulated providers on a socket: each at `/<id>/…` and at `<id>.localhost`, an only one also at the root. Time only
//! through [`crate::clock`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::fault::{self, Faults, Mischief};
use super::provider::{self, Budgets, Provider, Reply, Verdict};
use crate::adapter::{Call, REQUEST_BODY_LIMIT};
use crate::clock;
use crate::diagnostic::closest;
use crate::fields::Fields;

/// The header of a request that says how long it shall run, in seconds: for limits on requests at a time.
pub const DELAY: &str = "simulate-delay";

/// The longest delay, in seconds.
const LONGEST_DELAY_SECS: f64 = 60.0;

/// How long calls in flight may go on after the order to stop.
const DRAIN: Duration = Duration::from_secs(2);

/// A pause after a connection that could not be accepted, most likely for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Providers by their ids.
#[derive(Debug, Default)]
pub struct House {
    guests: BTreeMap<String, Guest>,
    faults: Faults,
}

/// A provider with its books.
#[derive(Debug)]
struct Guest {
    provider: Provider,
    books: Mutex<Books>,
    /// The latest request whose answer has gone.
    answered: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Books {
    budgets: Budgets,
    requests: u64,
}

impl FromIterator<Provider> for House {
    fn from_iter<I: IntoIterator<Item = Provider>>(providers: I) -> Self {
        let guest = |provider: Provider| {
            let id = provider.adapter().id.clone();
            let guest = Guest {
                provider,
                books: Mutex::default(),
                answered: watch::Sender::new(0),
            };
            (id, guest)
        };
        Self {
            guests: providers.into_iter().map(guest).collect(),
            faults: Faults::default(),
        }
    }
}

impl House {
    /// The providers, sorted by id.
    pub fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.guests.values().map(|guest| &guest.provider)
    }

    /// The same providers, going wrong.
    #[must_use]
    pub fn with_faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// What goes wrong.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What is truly left of a provider's policy to the one who has used most of it, whatever its answers say. `None`:
    /// there is no such provider, or it does not enforce such a policy.
    #[must_use]
    pub fn left(&self, id: &str, policy: &str) -> Option<u64> {
        let guest = self.guests.get(id)?;
        let mut books = guest.books();
        let budgets = &mut books.budgets;
        guest.provider.left(budgets, policy, clock::moment())
    }

    /// How many requests a provider has seen.
    #[must_use]
    pub fn requests(&self, id: &str) -> u64 {
        self.guests
            .get(id)
            .map_or(0, |guest| guest.books().requests)
    }

    /// Whom a request is for, and the path behind the mount.
    fn find<'h, 'p>(&'h self, host: &str, path: &'p str) -> Option<(&'h Guest, &'p str)> {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let by_host = name
            .strip_suffix(".localhost")
            .and_then(|id| self.guests.get(&id.to_ascii_lowercase()));
        if let Some(guest) = by_host {
            return Some((guest, path));
        }
        let rest = path.strip_prefix('/').unwrap_or(path);
        let (first, _) = rest.split_once('/').unwrap_or((rest, ""));
        if let Some(guest) = self.guests.get(first) {
            let behind = rest.get(first.len()..).unwrap_or("");
            return Some((guest, if behind.is_empty() { "/" } else { behind }));
        }
        let mut guests = self.guests.values();
        let only = guests.next().filter(|_| guests.next().is_none())?;
        Some((only, path))
    }

    fn unknown(&self, path: &str) -> Response<Full<Bytes>> {
        let name = path.trim_start_matches('/').split('/').next().unwrap_or("");
        let ids: Vec<&str> = self.guests.keys().map(String::as_str).collect();
        let hint = closest(name, ids.iter().copied())
            .map_or_else(String::new, |near| format!(" Did you mean `/{near}/`?"));
        let body = json!({
            "simulated": true,
            "message": format!("no provider is simulated at `/{name}/`.{hint}"),
            "providers": ids,
        });
        let mut response = Response::new(Full::from(format!("{body}\n")));
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

/// The answer to a request never comes.
#[derive(Debug)]
struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

/// Serves until `shutdown` is ready, then lets the calls in flight end for a moment.
pub async fn serve(
    listener: TcpListener,
    house: Arc<House>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let server = auto::Builder::new(TokioExecutor::new());
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let stream = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            },
        };
        // Answers are small and somebody waits for them. A socket that refuses is about to fail anyway.
        let _ = stream.set_nodelay(true);
        let house = Arc::clone(&house);
        let service = service_fn(move |request| {
            let house = Arc::clone(&house);
            // An error ends the connection, or the stream, without an answer.
            async move { answer(&house, request).await }
        });
        let conversation = server
            .serve_connection(TokioIo::new(stream), service)
            .into_owned();
        let conversation = graceful.watch(conversation);
        tokio::spawn(async move {
            // How a caller leaves is its own business.
            let _ = conversation.await;
        });
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(DRAIN) => {}
    }
}

async fn answer(
    house: &House,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Dropped> {
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
        return Ok(house.unknown(head.uri.path()));
    };
    let headers = Fields::from(&head.headers);
    let request = provider::Request {
        call: Call {
            method: &head.method,
            path: Some(path),
            headers: Some(&headers),
            body: Some(&beginning),
        },
        query: head.uri.query(),
    };
    let (n, mischief, reply) = guest
        .reply(&request, delay(&head.headers), &house.faults)
        .await;
    if let Some(late) = mischief.late {
        tokio::time::sleep(late).await;
    }
    if let Some((number, patience)) = mischief.behind {
        let mut answered = guest.answered.subscribe();
        let overtaken = answered.wait_for(|latest| *latest >= number);
        // Where nobody comes to overtake, it goes after a while.
        let _ = tokio::time::timeout(patience, overtaken).await;
    }
    guest.answered.send_if_modified(|latest| {
        let is_later = n > *latest;
        *latest = n.max(*latest);
        is_later
    });
    if mischief.drop {
        return Err(Dropped);
    }
    Ok(response(reply))
}

impl Guest {
    /// Counts a request, lets it run, and writes the answer: its number, what goes wrong with it, and its words.
    async fn reply(
        &self,
        request: &provider::Request<'_>,
        runs: Duration,
        faults: &Faults,
    ) -> (u64, Mischief, Reply) {
        let now = clock::moment();
        let (mut permit, mischief, n) = {
            let mut books = self.books();
            books.requests += 1;
            let n = books.requests;
            let mischief = faults.of(&self.provider.adapter().id, n);
            if mischief.others {
                let verdict = self.provider.admit(&mut books.budgets, request, now);
                self.provider.finish(&mut books.budgets, &verdict);
            }
            let verdict = self.provider.admit(&mut books.budgets, request, now);
            let permit = Permit {
                guest: self,
                verdict,
            };
            (permit, mischief, n)
        };
        let verdict = &mut permit.verdict;
        // A refusal is refused at its moment, and by words that callers know it by.
        if verdict.refused.is_some() {
            let reply = self.provider.reply(request, verdict, n, now.wall());
            return (n, mischief, reply);
        }
        let mut now = now;
        if !runs.is_zero() {
            tokio::time::sleep(runs).await;
            now = clock::moment();
        }
        if mischief.mute {
            verdict.states.clear();
        }
        if let Some(random) = mischief.lie {
            fault::lie(&mut verdict.states, random);
        }
        let reply = self.provider.reply(request, verdict, n, now.wall());
        (n, mischief, reply)
    }
}

fn response(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(reply.body));
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
