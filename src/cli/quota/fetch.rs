//! The meters of a running gateway, over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use http::StatusCode;
use reqwest::Client;
use serde::Deserialize;
use url::Url;

use crate::cli::{Failure, healthcheck};
use crate::gateway::client_config;
use crate::ledger::report::Report;

/// Which gateway, and which of its meters.
#[derive(Debug, Args)]
pub(in crate::cli) struct Question {
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
    /// Only meters of this connection
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// Only meters of which this consumer used something
    #[arg(long, value_name = "NAME")]
    consumer: Option<String>,
    /// Only meters of this policy
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
}

/// No gateway needs longer for its meters.
const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway that can be asked.
#[derive(Debug)]
pub(in crate::cli) struct Gateway {
    client: Client,
    /// As the user knows it.
    base: Url,
    meters: Url,
}

/// The part of a problem (RFC 9457) that is for people.
#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Gateway {
    pub(in crate::cli) fn new(question: &Question) -> Result<Self, Failure> {
        let given = question.url.clone().filter(|url| !url.is_empty());
        let text =
            given.unwrap_or_else(|| format!("http://{}", healthcheck::reachable(question.listen)));
        let wrong = |why: &str| {
            Failure::unreadable(format!(
                "headroom: `{text}` is no address of a gateway: {why}; write --url http://127.0.0.1:8080"
            ))
        };
        let base = Url::parse(&text).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("it is not HTTP"));
        }
        let mut meters = base.clone();
        meters.set_path(&format!("{}/-/quota", base.path().trim_end_matches('/')));
        meters.set_query(None);
        for (name, value) in [
            ("connection", &question.connection),
            ("consumer", &question.consumer),
            ("policy", &question.policy),
        ] {
            if let Some(value) = value {
                meters.query_pairs_mut().append_pair(name, value);
            }
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
        Ok(Self {
            client,
            base,
            meters,
        })
    }

    /// The meters, as the gateway writes them.
    pub(in crate::cli) async fn json(&self) -> Result<String, Failure> {
        let nothing = |error: &reqwest::Error| {
            Failure::unreadable(format!(
                "headroom: nothing answers on {}: {}\n`headroom serve` starts the gateway; --url says where it is.",
                self.base,
                innermost(error)
            ))
        };
        let response = self.client.get(self.meters.clone()).send().await;
        let response = response.map_err(|error| nothing(&error))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| nothing(&error))?;
        if status == StatusCode::OK {
            return Ok(text);
        }
        let problem = serde_json::from_str::<Problem>(&text);
        let detail = problem.map_or_else(|_| "That is no headroom.".to_owned(), |one| one.detail);
        Err(Failure::unreadable(format!(
            "headroom: {} answers {status}. {detail}",
            self.meters
        )))
    }

    /// The meters.
    pub(in crate::cli) async fn report(&self) -> Result<Report, Failure> {
        let text = self.json().await?;
        serde_json::from_str(&text).map_err(|error| {
            Failure::unreadable(format!(
                "headroom: the answer of {} cannot be read: {error}",
                self.meters
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
