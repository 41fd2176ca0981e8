//! Requests' bodies on their way out, and what they tell those who wait for the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::clock;

/// What a sent request body tells those who wait for its answer.
pub(super) struct Progress {
    start: Instant,
    /// When a piece was last taken, in milliseconds since the start.
    last_ms: AtomicU64,
    /// The caller's side broke it.
    broken: AtomicBool,
    /// The provider would take more, and the caller has sent no more.
    waiting: AtomicBool,
}

impl Progress {
    /// When the provider last took a piece.
    pub(super) fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// The request did not fail at the provider, but in front of headroom.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// It is the caller for whom everybody waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A caller's body on its way to the provider.
pub(super) struct RequestBody {
    inner: Incoming,
    progress: Arc<Progress>,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming) -> (Self, Arc<Progress>) {
        let progress = Arc::new(Progress {
            start: clock::monotonic(),
            last_ms: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
        });
        (
            Self {
                inner,
                progress: Arc::clone(&progress),
            },
            progress,
        )
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        self.progress
            .waiting
            .store(polled.is_pending(), Ordering::Relaxed);
        let frame = ready!(polled);
        let elapsed = clock::monotonic()
            .duration_since(self.progress.start)
            .as_millis();
        self.progress.last_ms.store(
            u64::try_from(elapsed).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
        if matches!(frame, Some(Err(_))) {
            self.progress.broken.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
