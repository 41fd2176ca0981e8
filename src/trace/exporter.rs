//! Takes spans to a collector, in batches.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::StatusCode;
use http::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::Client;
use tokio::sync::{mpsc, oneshot};
use url::Url;

use super::{Counters, Traced, otlp};
use crate::outbound;

/// Calls in one batch at the most.
const BATCH: usize = 256;
/// A batch that is not full goes after so long.
const EVERY: Duration = Duration::from_secs(1);
/// For one exchange with the collector.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Before a batch is tried again, each time; then it is given up.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];
/// For the last batch, when headroom stops.
const LAST: Duration = Duration::from_secs(2);

/// Takes spans to a collector.
pub struct Exporter {
    client: Client,
    url: Url,
    calls: mpsc::Receiver<Traced>,
    counters: Arc<Counters>,
    /// The collector did not take the last batch.
    failing: bool,
}

/// Why a batch was not taken.
enum Refusal {
    /// It may be taken later.
    Later(String),
    /// It never will be.
    Never(String),
}

impl Exporter {
    pub(super) fn new(
        endpoint: &str,
        tls: rustls::ClientConfig,
        calls: mpsc::Receiver<Traced>,
        counters: Arc<Counters>,
    ) -> Result<Self, String> {
        let client = outbound::builder(tls)
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| format!("traces cannot be set up: {error}"))?;
        Ok(Self {
            client,
            url: address(endpoint)?,
            calls,
            counters,
            failing: false,
        })
    }

    /// Runs until the order to stop, then sends what is there.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut batch = Vec::new();
        let mut open = true;
        while open {
            tokio::select! {
                _ = &mut stop => break,
                open_still = fill(&mut self.calls, &mut batch) => open = open_still,
            }
            let calls = std::mem::take(&mut batch);
            let stopping = {
                let mut delivering = std::pin::pin!(self.deliver(&calls));
                tokio::select! {
                    () = &mut delivering => None,
                    _ = &mut stop => Some(tokio::time::timeout(LAST, delivering).await.is_ok()),
                }
            };
            if let Some(is_delivered) = stopping {
                if !is_delivered {
                    self.lose(&calls);
                }
                break;
            }
        }
        while let Ok(call) = self.calls.try_recv() {
            batch.push(call);
        }
        if !batch.is_empty() {
            let sending = tokio::time::timeout(LAST, self.post(&batch));
            match sending.await {
                Ok(Ok(rejected)) => self.took(&batch, rejected),
                _ => self.lose(&batch),
            }
        }
    }

    async fn deliver(&mut self, calls: &[Traced]) {
        if calls.is_empty() {
            return;
        }
        let mut pauses = PAUSES.iter();
        let reason = loop {
            match self.post(calls).await {
                Ok(rejected) => {
                    self.took(calls, rejected);
                    if std::mem::take(&mut self.failing) {
                        tracing::info!("the collector takes traces again");
                    }
                    return;
                }
                Err(Refusal::Later(reason)) => match pauses.next() {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => break reason,
                },
                Err(Refusal::Never(reason)) => break reason,
            }
        };
        self.lose(calls);
        // Once, not for each batch.
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!("traces are lost: {reason}");
        }
    }

    /// Sends a batch, and tells how many spans of it were not taken.
    async fn post(&self, calls: &[Traced]) -> Result<u64, Refusal> {
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("headroom/", env!("CARGO_PKG_VERSION")))
            .body(otlp::encode(calls));
        let answer = request.send().await.map_err(|error| {
            let reason = format!("the collector cannot be reached: {}", error.without_url());
            Refusal::Later(reason)
        })?;
        let status = answer.status();
        if status.is_success() {
            let body = answer.bytes().await.unwrap_or_default();
            return Ok(rejected(&body));
        }
        let reason = format!("the collector answers {status}");
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Refusal::Later(reason),
            _ => Refusal::Never(reason),
        })
    }

    fn took(&self, calls: &[Traced], rejected: u64) {
        let taken = spans(calls).saturating_sub(rejected);
        self.counters.exported.fetch_add(taken, Ordering::Relaxed);
        self.counters.dropped.fetch_add(rejected, Ordering::Relaxed);
    }

    fn lose(&self, calls: &[Traced]) {
        self.counters
            .dropped
            .fetch_add(spans(calls), Ordering::Relaxed);
    }
}

fn spans(calls: &[Traced]) -> u64 {
    calls.iter().map(Traced::count).sum()
}

/// Spans that the collector says it has not taken of a batch that it took.
fn rejected(body: &[u8]) -> u64 {
    let told: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let rejected = &told["partialSuccess"]["rejectedSpans"];
    // Long numbers are text in OTLP, and some write numbers.
    let text = rejected.as_str().and_then(|text| text.parse().ok());
    text.or_else(|| rejected.as_u64()).unwrap_or(0)
}

/// Waits for a first call and then for more, until the batch is full or old; tells whether more may come.
async fn fill(calls: &mut mpsc::Receiver<Traced>, batch: &mut Vec<Traced>) -> bool {
    if batch.is_empty() {
        match calls.recv().await {
            Some(call) => batch.push(call),
            None => return false,
        }
    }
    let more = async {
        while batch.len() < BATCH {
            match calls.recv().await {
                Some(call) => batch.push(call),
                None => return false,
            }
        }
        true
    };
    tokio::time::timeout(EVERY, more).await.unwrap_or(true)
}

/// Where traces go at this endpoint (OTLP exporter specification: the base address, and the signal's path behind it).
fn address(endpoint: &str) -> Result<Url, String> {
    let wrong = || {
        // What may carry a password is not repeated.
        let shown = if endpoint.contains(['@', '?']) {
            "this".to_owned()
        } else {
            format!("\"{endpoint}\"")
        };
        format!("{shown} is not the address of a collector, as in \"http://127.0.0.1:4318\"")
    };
    let mut url: Url = endpoint.parse().map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || url.query().is_some() {
        return Err(wrong());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address of a collector cannot carry credentials".to_owned());
    }
    let path = format!("{}/v1/traces", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}
