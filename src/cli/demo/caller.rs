//! Calls through the gateway, over a socket, as any program would make them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, StatusCode};
use reqwest::{Client, RequestBuilder};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use super::stage::Scene;
use crate::cli::Failure;
use crate::clock;
use crate::emit::{
    HEADROOM_SOURCE, HEADROOM_UPSTREAM_STATUS, RATELIMIT, RATELIMIT_LIMIT, RATELIMIT_POLICY,
    RATELIMIT_REMAINING, RATELIMIT_RESET,
};
use crate::gateway::preferences::PREFER;
use crate::ledger::report::Report;
use crate::simulate::server::DELAY;

/// What headroom writes on an answer of its own (RFC 9209).
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// What headroom writes, in the order to show it.
const STANDARD: [HeaderName; 8] = [
    http::header::RETRY_AFTER,
    RATELIMIT_LIMIT,
    RATELIMIT_REMAINING,
    RATELIMIT_RESET,
    RATELIMIT_POLICY,
    RATELIMIT,
    HEADROOM_SOURCE,
    HEADROOM_UPSTREAM_STATUS,
];

/// What stands on every answer and tells nothing of limits.
const EVERYDAY: [HeaderName; 7] = [
    http::header::CONTENT_TYPE,
    http::header::CONTENT_LENGTH,
    http::header::DATE,
    http::header::VIA,
    http::header::CONNECTION,
    http::header::CACHE_CONTROL,
    PROXY_STATUS,
];

/// The prefix of native headers whose names headroom itself writes.
const KEPT: &str = "headroom-upstream-";

/// A program that calls.
pub(super) struct Caller {
    client: Client,
    gateway: SocketAddr,
}

impl Caller {
    pub(super) fn new(gateway: SocketAddr) -> Result<Self, Failure> {
        let failure = |error: &dyn std::fmt::Display| {
            Failure::unreadable(format!("headroom: no client: {error}"))
        };
        // Nothing is trusted, because nothing here is called by TLS.
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| failure(&error))?
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .map_err(|error| failure(&error))?;
        Ok(Self { client, gateway })
    }

    /// One call with this credential.
    pub(super) async fn get(&self, scene: &Scene, credential: &str) -> Result<Exchange, Failure> {
        let url = format!("http://{}/{}{}", self.gateway, scene.id, scene.path);
        self.send(self.client.get(&url).header(AUTHORIZATION, credential))
            .await
    }

    /// The same call past the gateway, as another program of the same account would make it.
    pub(super) async fn get_past(&self, scene: &Scene, credential: &str) -> Result<(), Failure> {
        let url = format!("{}{}", scene.origin, scene.path);
        let request = self.client.get(&url).header(AUTHORIZATION, credential);
        self.send(request).await.map(|_| ())
    }

    /// A call that runs for so many seconds, and may be held as long as `wait` says. Tells how long it took.
    pub(super) async fn get_patiently(
        &self,
        scene: &Scene,
        credential: &str,
        runs_secs: u64,
        wait: &str,
    ) -> Result<(Exchange, Duration), Failure> {
        let begun = clock::monotonic();
        let url = format!("http://{}/{}{}", self.gateway, scene.id, scene.path);
        let request = self.client.get(&url).header(AUTHORIZATION, credential);
        let request = request.header(DELAY, runs_secs).header(PREFER, wait);
        let exchange = self.send(request).await?;
        Ok((exchange, clock::monotonic() - begun))
    }

    /// The gateway's meters.
    pub(super) async fn meters(&self) -> Result<Report, Failure> {
        let url = format!("http://{}/-/quota", self.gateway);
        let response = self.client.get(&url).send().await.map_err(failed)?;
        let text = response.text().await.map_err(failed)?;
        serde_json::from_str(&text)
            .map_err(|error| Failure::unreadable(format!("headroom: {url}: {error}")))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Exchange, Failure> {
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let headers = response.headers().clone();
        // A body that is not read costs the connection.
        response.bytes().await.map_err(failed)?;
        Ok(Exchange::new(status, &headers))
    }
}

fn failed(error: reqwest::Error) -> Failure {
    Failure::unreadable(format!("headroom: a call of the demo failed: {error}"))
}

/// An answer, taken apart into what the provider said and what headroom made of it. The gateway leaves native headers as
/// they are, so both stand in the same answer.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) status: StatusCode,
    pub(super) native_status: StatusCode,
    pub(super) native: Vec<(String, String)>,
    pub(super) standard: Vec<(String, String)>,
    /// Headroom itself has answered: the provider has never seen the call.
    pub(super) is_own: bool,
}

impl Exchange {
    fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName| {
            let value = headers.get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let standard = STANDARD
            .iter()
            .filter_map(|name| Some((name.to_string(), text(name)?)))
            .collect();
        let native = headers
            .keys()
            .filter(|name| !STANDARD.contains(name) && !EVERYDAY.contains(name))
            .filter_map(|name| {
                let shown = name.as_str();
                let native = shown.strip_prefix(KEPT).unwrap_or(shown);
                Some((native.to_owned(), text(name)?))
            })
            .collect();
        let native_status = text(&HEADROOM_UPSTREAM_STATUS)
            .and_then(|code| StatusCode::from_bytes(code.as_bytes()).ok())
            .unwrap_or(status);
        Self {
            status,
            native_status,
            native,
            standard,
            is_own: headers.contains_key(&PROXY_STATUS),
        }
    }

    /// A standard header.
    pub(super) fn get(&self, name: &HeaderName) -> Option<&str> {
        self.standard
            .iter()
            .find(|(known, _)| known == name.as_str())
            .map(|(_, value)| value.as_str())
    }

    /// The provider tells nothing of its limits.
    pub(super) const fn is_silent(&self) -> bool {
        self.native.is_empty()
    }
}
