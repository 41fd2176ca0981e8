//! The end of HTTP/2 connections that nobody uses when headroom stops.
//!
//! HTTP/2 says goodbye twice: a first GOAWAY, a ping, and once that is answered the second one, after which the connection
//! ends with its last stream. A caller that answers nothing, because its process hangs or its network is gone, would hold up
//! the end of headroom for the whole time to drain. So a connection that has no call, and of which nothing has come since
//! the order to stop, is closed after a moment. Whoever says anything is left to HTTP/2's own way: it may take its time for
//! what is still in the buffers.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::watch;

use super::body::{Body, BoxError};

/// How often a connection is looked at,
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// and how many looks in a row have to find it unused.
const LOOKS: u32 = 10;

/// What is known of a connection.
#[derive(Debug, Default)]
pub(super) struct Line {
    is_http2: AtomicBool,
    /// Something has come, since the last time that somebody asked.
    heard: AtomicBool,
    /// What was written last does not fit into the socket.
    is_blocked: AtomicBool,
    /// Calls whose answers are not with hyper to the last byte.
    calls: AtomicUsize,
}

impl Line {
    /// The caller has said that it speaks HTTP/2.
    pub(super) fn is_http2(&self) {
        self.is_http2.store(true, Ordering::Relaxed);
    }

    /// Bytes have come.
    pub(super) fn heard(&self) {
        // Read first: most of the time it is so already, and writing would cost other cores their copy.
        if !self.heard.load(Ordering::Relaxed) {
            self.heard.store(true, Ordering::Relaxed);
        }
    }

    /// Something was written, or waits for room in the socket.
    pub(super) fn wrote<T>(&self, result: &Poll<T>) {
        if self.is_blocked.load(Ordering::Relaxed) != result.is_pending() {
            self.is_blocked
                .store(result.is_pending(), Ordering::Relaxed);
        }
    }

    /// A call begins; it ends when what is returned is dropped.
    pub(super) fn call(self: &Arc<Self>) -> Call {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Call(Arc::clone(self))
    }

    /// Ready when the gateway is to stop and nobody is at the other end. Never for HTTP/1.1, which ends by itself.
    pub(super) async fn is_dead(&self, mut stopped: watch::Receiver<bool>) {
        // An error is a gateway that is gone, which is no reason to stay.
        drop(stopped.wait_for(|stopped| *stopped).await);
        self.heard.store(false, Ordering::Relaxed);
        let mut looks = 0;
        while looks < LOOKS {
            tokio::time::sleep(LOOK_EVERY).await;
            if self.heard.load(Ordering::Relaxed) || !self.is_http2.load(Ordering::Relaxed) {
                return std::future::pending().await;
            }
            let is_used =
                self.calls.load(Ordering::Relaxed) > 0 || self.is_blocked.load(Ordering::Relaxed);
            looks = if is_used { 0 } else { looks + 1 };
        }
    }
}

/// A call on a connection.
#[derive(Debug)]
pub(super) struct Call(Arc<Line>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of a call's answer, which holds the call.
pub(super) struct Held {
    body: Body,
    _call: Call,
}

impl Held {
    pub(super) const fn new(body: Body, call: Call) -> Self {
        Self { body, _call: call }
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
