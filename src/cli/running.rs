//! A gateway that runs, asked over HTTP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use reqwest::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::cli::loaded::authorities;
use crate::cli::{Failure, healthcheck};
use crate::gateway::Trust;

/// Which gateway.
#[derive(Args)]
pub(in crate::cli) struct Address {
    /// Where the gateway is [default: http:// and the address of --listen]
    #[arg(long, value_name = "URL", env = "HEADROOM_URL")]
    url: Option<String>,
    /// Where the gateway listens
    #[arg(
        long,
        value_name = "ADDR",
        env = "HEADROOM_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    listen: SocketAddr,
    /// A PEM file with certificate authorities to trust beside the system's, for https
    #[arg(long, value_name = "FILE", env = "HEADROOM_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// The admin's key, or a consumer's: needed where the gateway is on another machine
    #[arg(long, value_name = "KEY", env = "HEADROOM_KEY", hide_env_values = true)]
    key: Option<String>,
}

/// No gateway needs longer for a page.
const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway that can be asked.
#[derive(Debug)]
pub(in crate::cli) struct Gateway {
    client: Client,
    /// As the user knows it.
    base: Url,
    /// What it wants to be shown.
    key: Option<HeaderValue>,
}

/// The part of a problem (RFC 9457) that is for people.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Gateway {
    pub(in crate::cli) fn new(address: &Address) -> Result<Self, Failure> {
        let given = address.url.clone().filter(|url| !url.is_empty());
        let text =
            given.unwrap_or_else(|| format!("http://{}", healthcheck::reachable(address.listen)));
        let wrong = |why: &str| {
            Failure::unreadable(format!(
                "headroom: `{}` is no address of a gateway: {why}; write --url http://127.0.0.1:8080",
                // What may carry a password is not repeated.
                if text.contains('@') { "--url" } else { &text }
            ))
        };
        let key = key_of(address)?;
        let base = Url::parse(&text).map_err(|error| wrong(&error.to_string()))?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err(Failure::unreadable(
                "headroom: the address of a gateway cannot carry a password: write the key with --key or HEADROOM_KEY",
            ));
        }
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("it is not HTTP"));
        }
        let failure = |error: &dyn std::fmt::Display| {
            Failure::unreadable(format!("headroom: no client: {error}"))
        };
        // Over http nobody shows a certificate, and the file may be of the gateway's own environment.
        let ca_file = address.ca_file.as_deref();
        let roots = match ca_file.filter(|_| base.scheme() == "https") {
            Some(path) => authorities(path)?,
            None => Vec::new(),
        };
        let trust = Trust::new(&roots).map_err(|error| failure(&error))?;
        let client = Client::builder()
            .tls_backend_preconfigured(trust.client_config().map_err(|error| failure(&error))?)
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .map_err(|error| failure(&error))?;
        Ok(Self { client, base, key })
    }

    /// The URL of a page below `/-/`, with parameters.
    pub(in crate::cli) fn page(&self, name: &str, parameters: &[(&str, &str)]) -> Url {
        let mut page = self.base.clone();
        page.set_path(&format!(
            "{}/-/{name}",
            self.base.path().trim_end_matches('/')
        ));
        page.set_query(None);
        if !parameters.is_empty() {
            page.query_pairs_mut().extend_pairs(parameters);
        }
        page
    }

    /// A page, as the gateway writes it.
    pub(in crate::cli) async fn text(&self, page: &Url) -> Result<String, Failure> {
        let nothing = |error: &reqwest::Error| {
            Failure::unreadable(format!(
                "headroom: nothing answers on {}: {}\n`headroom serve` starts the gateway; --url says where it is.",
                self.base,
                innermost(error)
            ))
        };
        let mut request = self.client.get(page.clone());
        if let Some(key) = &self.key {
            request = request.header(AUTHORIZATION, key.clone());
        }
        let response = request.send().await;
        let response = response.map_err(|error| nothing(&error))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| nothing(&error))?;
        if status == StatusCode::OK {
            return Ok(text);
        }
        let problem = serde_json::from_str::<Problem>(&text);
        let detail = problem.map_or_else(|_| "That is no headroom.".to_owned(), |one| one.detail);
        Err(Failure::unreadable(format!(
            "headroom: {page} answers {status}. {detail}"
        )))
    }

    /// A page, read.
    pub(in crate::cli) async fn document<T: DeserializeOwned>(
        &self,
        page: &Url,
    ) -> Result<T, Failure> {
        let text = self.text(page).await?;
        serde_json::from_str(&text).map_err(|error| {
            Failure::unreadable(format!(
                "headroom: the answer of {page} cannot be read: {error}"
            ))
        })
    }
}

/// As it is sent; what is wrong with it is told without it.
fn key_of(address: &Address) -> Result<Option<HeaderValue>, Failure> {
    let Some(key) = address.key.as_ref().filter(|key| !key.is_empty()) else {
        return Ok(None);
    };
    let value = HeaderValue::try_from(format!("Bearer {key}"));
    let mut value = value.map_err(|_| {
        Failure::unreadable("headroom: --key is no key: write what `headroom key new` has printed")
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Where a gateway is and who asks it; the key is not written out.
impl std::fmt::Debug for Address {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Address")
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}

/// What really went wrong stands at the end of the chain.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
