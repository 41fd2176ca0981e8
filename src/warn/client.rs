//! The client that delivers webhooks.

use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, USER_AGENT};
use reqwest::Client as Http;

use super::Attempt;
use crate::outbound;

/// For the whole exchange. The specification recommends 15 to 30 seconds.
pub const TIMEOUT: Duration = Duration::from_secs(15);

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Why a letter was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// For people, without the URL.
    pub reason: String,
    /// The receiver wants nothing any more (410).
    pub is_gone: bool,
}

/// Takes letters to their receivers.
pub trait Post: Send + Sync + 'static {
    /// Delivers one.
    ///
    /// # Errors
    /// It was not taken.
    fn deliver(&self, attempt: Attempt) -> impl Future<Output = Result<(), Refusal>> + Send;
}

/// Over HTTP.
#[derive(Debug, Clone)]
pub struct Client(Http);

impl Client {
    /// A client with this idea of whom to trust.
    ///
    /// # Errors
    /// It cannot be set up; the reason is for people.
    pub fn new(tls: rustls::ClientConfig, timeout: Duration) -> Result<Self, String> {
        outbound::builder(tls)
            .timeout(timeout)
            .build()
            .map(Self)
            .map_err(|error| format!("webhooks cannot be set up: {error}"))
    }
}

impl Post for Client {
    async fn deliver(&self, attempt: Attempt) -> Result<(), Refusal> {
        let Attempt {
            endpoint,
            id,
            timestamp,
            body,
        } = attempt;
        let signature = endpoint.sign(&id, timestamp, &body);
        let request = self
            .0
            .post(endpoint.url().clone())
            .header(ID, &*id)
            .header(TIMESTAMP, timestamp)
            .header(SIGNATURE, signature)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("headroom/", env!("CARGO_PKG_VERSION")))
            .body(body.as_bytes().to_vec());
        match request.send().await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => Err(Refusal {
                reason: format!("it answers {}", answer.status()),
                is_gone: answer.status() == StatusCode::GONE,
            }),
            Err(error) => Err(Refusal {
                reason: reason(error),
                is_gone: false,
            }),
        }
    }
}

/// In words, the innermost cause; never the URL, which may be a secret.
fn reason(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return "it does not answer in time".to_owned();
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    format!("it cannot be reached: {cause}")
}
