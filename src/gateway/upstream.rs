//! The client side: everything that is known of reqwest is in this file and in `target`.
//!
//! What reqwest adds that cannot be taken off: `accept: */*` where the caller sent no `Accept`. It means the same
//! (RFC 9110, section 12.5.1).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Response};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, redirect, retry};
use url::Url;

use super::Settings;
use super::error::Problem;
use super::failure::{DnsError, Failure};
use super::tls;
use super::upload::{Progress, RequestBody};
use crate::clock;

/// The body of a provider's answer.
pub(super) type UpstreamBody = reqwest::Body;

/// A request, ready to go.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<RequestBody>,
    pub(super) progress: Option<Arc<Progress>>,
    /// Only what may be repeated goes out on a connection that has been idle for long.
    pub(super) connection: Freshness,
}

impl Outgoing {
    /// It is safe to send this again.
    pub(super) fn is_repeatable(&self) -> bool {
        self.connection == Freshness::Kept
    }

    /// Not on a connection that may be dead.
    pub(super) fn on_fresh_connection(self) -> Self {
        Self {
            connection: Freshness::Fresh,
            ..self
        }
    }
}

/// Which of the kept connections a request may go out on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Any. It may turn out to be dead, and then nobody knows whether the provider saw the request.
    Kept,
    /// One that was in use a moment ago, or a new one.
    Fresh,
}

/// How long a connection counts as fresh after its last use. Servers that close idle ones wait for longer.
const FRESH: Duration = Duration::from_secs(2);
/// Below the 60 s after which common servers close, so that headroom mostly closes first.
const KEPT: Duration = Duration::from_secs(50);

/// The connections to all providers.
pub(super) struct Upstream {
    kept: Client,
    fresh: Client,
    head_timeout: Duration,
}

impl Upstream {
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let tls = tls::client_config(&settings.extra_roots)?;
        let client = |pool_idle_timeout| {
            Client::builder()
                .tls_backend_preconfigured(alpn(tls.clone()))
                .dns_resolver(Arc::new(SystemResolver))
                .connect_timeout(settings.connect_timeout)
                .pool_idle_timeout(pool_idle_timeout)
                // One HTTP/2 connection carries all callers, so a dead one must be noticed.
                .http2_keep_alive_interval(Duration::from_secs(20))
                .http2_keep_alive_timeout(Duration::from_secs(10))
                // What a gateway must not do by itself.
                .no_proxy()
                .redirect(redirect::Policy::none())
                .retry(retry::never())
                .referer(false)
                .build()
                .map_err(|error| format!("the client side cannot be set up: {error}"))
        };
        Ok(Self {
            kept: client(KEPT)?,
            fresh: client(FRESH)?,
            head_timeout: settings.head_timeout,
        })
    }

    /// Sends a request, once, and waits for the head of its answer.
    pub(super) async fn send(&self, outgoing: Outgoing) -> Result<Response<UpstreamBody>, Problem> {
        let Outgoing {
            method,
            url,
            headers,
            body,
            progress,
            connection,
        } = outgoing;
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(reqwest::Body::wrap);
        let client = if connection == Freshness::Kept {
            &self.kept
        } else {
            &self.fresh
        };
        match self
            .head_in_time(client.execute(request), progress.as_deref())
            .await
        {
            Ok(answer) => Ok(answer.into()),
            Err(_) if progress.is_some_and(|progress| progress.is_broken()) => {
                Err(Problem::RequestBody)
            }
            Err(failure) => Err(Problem::Upstream(failure)),
        }
    }

    /// The time for the head starts anew with each piece of the request that the provider takes: an upload may be long.
    async fn head_in_time(
        &self,
        sending: impl Future<Output = reqwest::Result<reqwest::Response>>,
        progress: Option<&Progress>,
    ) -> Result<reqwest::Response, Failure> {
        let mut deadline = clock::monotonic() + self.head_timeout;
        tokio::pin!(sending);
        loop {
            match tokio::time::timeout_at(deadline, &mut sending).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => {
                    let failure = Failure::of(&error);
                    tracing::debug!(error = ?error.without_url(), "The provider could not be called.");
                    return Err(failure);
                }
                Err(_) => match progress.map(|progress| progress.last() + self.head_timeout) {
                    Some(later) if later > deadline => deadline = later,
                    _ => return Err(Failure::ResponseTimeout),
                },
            }
        }
    }
}

/// A TLS configuration of our own comes without the protocols that reqwest would offer.
fn alpn(mut tls: rustls::ClientConfig) -> rustls::ClientConfig {
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls
}

/// The system's resolver, with its errors marked as such.
struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map_err(DnsError)?;
            let addresses: Vec<SocketAddr> = found.collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
