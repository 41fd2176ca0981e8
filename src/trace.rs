//! Traces for OpenTelemetry, where somebody wants them: each call is a server span, and what the provider has of it a client
//! span, sent in batches to a collector (OTLP over HTTP, as JSON). The trace of the caller goes on (W3C Trace Context).
//!
//! Nothing waits for a collector: spans stand in a queue of bounded length, and those that find no room are counted and gone.
//! Never in a span: a query, a credential, a body, or a path with its identifiers.

pub mod context;
mod exporter;
mod otlp;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::history::record::{Outcome, Refuser, Who};
use crate::time::Nanos;
use context::{Context, SpanId};

pub use exporter::Exporter;

/// Calls that wait to be sent at the most.
const QUEUE: usize = 4_096;

/// A call that has ended.
#[derive(Debug)]
pub struct Traced {
    /// The caller's trace, and the spans in it.
    pub spans: Spans,
    /// When it ended, in nanoseconds since 1970.
    pub ended_ns: u64,
    /// From its beginning until then.
    pub duration: Nanos,
    /// From its beginning until it was sent; `None`: it was not.
    pub sent: Option<Nanos>,
    /// From then until the head of the provider's answer; `None`: there was none.
    pub upstream: Option<Nanos>,
    /// How long it waited for quota.
    pub waited: Nanos,
    /// The connection's name.
    pub connection: Arc<str>,
    /// The adapter's id.
    pub provider: Arc<str>,
    /// Host and port of the provider.
    pub server: (String, u16),
    /// Who called.
    pub consumer: Who,
    /// The method; one that is not registered is `OTHER`.
    pub method: &'static str,
    /// The template of the path.
    pub endpoint: String,
    /// What the caller got.
    pub status: Option<u16>,
    /// What the provider answered.
    pub upstream_status: Option<u16>,
    /// Whose word it was that there was no quota.
    pub refused_by: Option<Refuser>,
    /// The policy that was in the way.
    pub policy: Option<Arc<str>>,
    /// How the answer ended.
    pub outcome: Outcome,
}

/// The spans of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spans {
    /// What the provider is told: the trace, and the client span as its parent.
    pub told: Context,
    /// The span that the call is part of, at its caller.
    pub parent: Option<SpanId>,
    /// Headroom's own.
    pub server: SpanId,
}

/// Takes calls that have ended.
#[derive(Debug)]
pub struct Tracer {
    queue: mpsc::Sender<Traced>,
    counters: Arc<Counters>,
}

/// What became of spans since the start.
#[derive(Debug, Default)]
pub struct Counters {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Counters {
    /// Spans that a collector has taken.
    #[must_use]
    pub fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Spans that are gone: there were too many, or the collector did not take them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl Tracer {
    /// A tracer, and what takes its spans to a collector.
    ///
    /// # Errors
    /// The endpoint is no HTTP address, or the client cannot be set up; the reason is for people.
    pub fn new(endpoint: &str, tls: rustls::ClientConfig) -> Result<(Arc<Self>, Exporter), String> {
        let (queue, calls) = mpsc::channel(QUEUE);
        let counters = Arc::new(Counters::default());
        let exporter = Exporter::new(endpoint, tls, calls, Arc::clone(&counters))?;
        Ok((Arc::new(Self { queue, counters }), exporter))
    }

    /// A call has ended. Never waits.
    pub fn finish(&self, traced: Traced) {
        let spans = traced.count();
        if self.queue.try_send(traced).is_err() {
            self.counters.dropped.fetch_add(spans, Ordering::Relaxed);
        }
    }

    /// What became of spans.
    #[must_use]
    pub const fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }
}

impl Traced {
    /// How many spans it is.
    const fn count(&self) -> u64 {
        if self.sent.is_some() { 2 } else { 1 }
    }
}

#[cfg(test)]
mod tests;
