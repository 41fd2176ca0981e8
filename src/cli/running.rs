//! A gateway that runs, asked over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use http::StatusCode;
use reqwest::Client;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::cli::{Failure, healthcheck};
use crate::gateway::client_config;

/// Which gateway.
#[derive(Debug, Args)]
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
}

/// No gateway needs longer for a page.
const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway that can be asked.
#[derive(Debug)]
pub(in crate::cli) struct Gateway {
    client: Client,
    /// As the user knows it.
    base: Url,
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
                "headroom: `{text}` is no address of a gateway: {why}; write --url http://127.0.0.1:8080"
            ))
        };
        let base = Url::parse(&text).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("it is not HTTP"));
        }
        let failure = |error: &dyn std::fmt::Display| {
            Failure::unreadable(format!("headroom: no client: {error}"))
        };
        let client = Client::builder()
            .tls_backend_preconfigured(client_config(&[]).map_err(|error| failure(&error))?)
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .map_err(|error| failure(&error))?;
        Ok(Self { client, base })
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
        let response = self.client.get(page.clone()).send().await;
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

/// What really went wrong stands at the end of the chain.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
