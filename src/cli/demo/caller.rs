//! Calls through the gateway, over a socket, as any program would make them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName};
use http::{HeaderMap, StatusCode};
use reqwest::Client;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use sfv::{BareItem, Item, List, ListEntry, Parser};

use super::stage::Scene;
use crate::cli::Failure;
use crate::emit::{
    HEADROOM_SOURCE, HEADROOM_UPSTREAM_STATUS, RATELIMIT, RATELIMIT_LIMIT, RATELIMIT_POLICY,
    RATELIMIT_REMAINING, RATELIMIT_RESET,
};

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
const EVERYDAY: [HeaderName; 5] = [
    http::header::CONTENT_TYPE,
    http::header::CONTENT_LENGTH,
    http::header::DATE,
    http::header::VIA,
    http::header::CONNECTION,
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
        let failure = |error: reqwest::Error| {
            Failure::unreadable(format!("headroom: the call to {url} failed: {error}"))
        };
        let request = self.client.get(&url).header(AUTHORIZATION, credential);
        let response = request.send().await.map_err(failure)?;
        let status = response.status();
        let headers = response.headers().clone();
        // A body that is not read costs the connection.
        response.bytes().await.map_err(failure)?;
        Ok(Exchange::new(status, &headers))
    }
}

/// An answer, taken apart into what the provider said and what headroom made of it. The gateway leaves native headers as
/// they are, so both stand in the same answer.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) status: StatusCode,
    pub(super) native_status: StatusCode,
    pub(super) native: Vec<(String, String)>,
    pub(super) standard: Vec<(String, String)>,
    /// The limits, as a client reads them from the standard headers, the binding one first.
    pub(super) gauges: Vec<Gauge>,
}

/// One limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Gauge {
    pub(super) policy: String,
    pub(super) quota: Option<u64>,
    pub(super) left: Option<u64>,
    pub(super) reset: Option<u64>,
    pub(super) window: Option<u64>,
    /// The unit, where it is not requests.
    pub(super) unit: Option<String>,
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
            gauges: gauges(headers),
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

/// The structured fields, joined by the policies' names.
fn gauges(headers: &HeaderMap) -> Vec<Gauge> {
    let mut all: Vec<Gauge> = Vec::new();
    for field in [&RATELIMIT_POLICY, &RATELIMIT] {
        for item in items(headers, field) {
            let Some(name) = item
                .bare_item
                .as_string()
                .map(|name| name.as_str().to_owned())
            else {
                continue;
            };
            let number = |key: &str| {
                let value = item.params.get(key).and_then(BareItem::as_integer)?;
                u64::try_from(i64::from(value)).ok()
            };
            let position = all.iter().position(|gauge| gauge.policy == name);
            let position = position.unwrap_or_else(|| {
                all.push(Gauge {
                    policy: name,
                    ..Gauge::default()
                });
                all.len() - 1
            });
            let Some(gauge) = all.get_mut(position) else {
                continue;
            };
            gauge.quota = number("q").or(gauge.quota);
            gauge.window = number("w").or(gauge.window);
            gauge.left = number("r").or(gauge.left);
            gauge.reset = number("t").or(gauge.reset);
            let unit = item.params.get("qu").and_then(BareItem::as_string);
            if let Some(unit) = unit {
                gauge.unit = Some(unit.as_str().to_owned());
            }
        }
    }
    all
}

fn items(headers: &HeaderMap, field: &HeaderName) -> Vec<Item> {
    let value = headers.get(field).map(http::HeaderValue::as_bytes);
    let list = value.and_then(|value| Parser::new(value).parse::<List>().ok());
    list.into_iter()
        .flatten()
        .filter_map(|entry| match entry {
            ListEntry::Item(item) => Some(item),
            ListEntry::InnerList(_) => None,
        })
        .collect()
}
