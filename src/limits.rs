//! What headroom takes of a caller and of a provider, and for how long it waits: `[limits]` of the configuration.
//!
//! Every duration is a limit on waiting, never on a whole exchange: streams live.

use std::time::Duration;

/// What an operator can choose. The fields are named like the keys of `[limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The head of a request: its line and its fields, in bytes.
    pub header_bytes: usize,
    /// The fields of a head, of requests and of answers.
    pub header_fields: usize,
    /// The body of a request, in bytes; `None`: as long as the provider takes it.
    pub body_bytes: Option<u64>,
    /// From the first byte of a request to the end of its head.
    pub head_timeout: Duration,
    /// Between two pieces of a request's body.
    pub body_timeout: Duration,
    /// A caller takes nothing of its answer.
    pub send_timeout: Duration,
    /// A caller's connection without a call on it.
    pub idle_timeout: Duration,
    /// TCP and TLS handshake with a provider, and the wait for one of `connections_per_origin`.
    pub connect_timeout: Duration,
    /// From the last byte of a request to the whole head of the provider's answer.
    pub answer_timeout: Duration,
    /// Between two pieces of a provider's answer.
    pub silence_timeout: Duration,
    /// Calls at a time, with those that wait for quota; more are refused at once.
    pub concurrent_calls: usize,
    /// Connections in use at a time at one origin of a provider; more calls wait for one.
    pub connections_per_origin: usize,
    /// How long calls are still taken after the order to stop, while readiness says that it came.
    pub drain_delay: Duration,
    /// How long calls in flight may go on after that.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 64 * 1024,
            header_fields: 512,
            body_bytes: None,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            send_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(75),
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(120),
            silence_timeout: Duration::from_secs(300),
            concurrent_calls: 10_000,
            connections_per_origin: 1_000,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
        }
    }
}
