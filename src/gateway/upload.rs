//! Requests' bodies on their way out, and what they tell those who wait for the answer.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

use super::error::Problem;
use super::heads::RequestHead;
pub(super) use super::linger::Incoming;
use super::linger::{Fault, Inbound};
use super::pulse::Presence;
use crate::clock;
use crate::limits::Limits;

/// What a sent request body tells those who wait for its answer.
pub(super) struct Progress {
    start: Instant,
    /// When a piece was last taken, in milliseconds since the start.
    last_ms: AtomicU64,
    /// What the caller's side did to it.
    fault: OnceLock<fn() -> Problem>,
    /// The provider would take more, and the caller has sent no more.
    waiting: AtomicBool,
}

impl Progress {
    /// When the provider last took a piece.
    pub(super) fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.last_ms.load(Ordering::Relaxed))
    }

    /// Why the request did not fail at the provider, but in front of headroom.
    pub(super) fn fault(&self) -> Option<Problem> {
        self.fault.get().map(|problem| problem())
    }

    /// It is the caller for whom everybody waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A caller's body before it is sent on.
pub(super) struct Upload {
    inner: Inbound,
    /// Read already, because what the call costs depends on it; to be sent first.
    read: VecDeque<Frame<Bytes>>,
    /// Of the whole.
    hint: SizeHint,
    is_empty: bool,
    /// The caller's side broke it while it was read.
    error: Option<Fault>,
    /// What was sent on, in bytes; nothing is counted of what is empty.
    sent: Option<Arc<AtomicU64>>,
}

impl Upload {
    pub(super) fn new(
        inner: Option<Incoming>,
        head: &RequestHead,
        limits: &Limits,
        presence: &Arc<Presence>,
    ) -> Self {
        let inner = Inbound::new(inner, head, limits, presence);
        Self {
            hint: inner.size_hint(),
            is_empty: inner.is_end_stream(),
            sent: (!inner.is_end_stream()).then(Arc::default),
            inner,
            read: VecDeque::new(),
            error: None,
        }
    }

    /// It goes on its way; what is left here is empty.
    pub(super) fn take(&mut self) -> Self {
        Self {
            inner: self.inner.take(),
            read: std::mem::take(&mut self.read),
            hint: std::mem::replace(&mut self.hint, SizeHint::with_exact(0)),
            is_empty: std::mem::replace(&mut self.is_empty, true),
            error: self.error.take(),
            sent: self.sent.take(),
        }
    }

    /// Its beginning, up to so many bytes, as far as it comes before the deadline.
    pub(super) async fn read_ahead(&mut self, limit: usize, deadline: Instant) -> Bytes {
        let mut beginning = BytesMut::new();
        while beginning.len() < limit && !self.inner.is_end_stream() {
            let next = poll_fn(|cx| Pin::new(&mut self.inner).poll_frame(cx));
            match tokio::time::timeout_at(deadline, next).await {
                Ok(Some(Ok(frame))) => {
                    if let Some(data) = frame.data_ref() {
                        beginning.extend_from_slice(data);
                    }
                    self.read.push_back(frame);
                }
                Ok(Some(Err(error))) => {
                    self.error = Some(error);
                    break;
                }
                Ok(None) | Err(_) => break,
            }
        }
        beginning.truncate(limit);
        beginning.freeze()
    }

    /// Waits for something, and reads on meanwhile, up to so many bytes: a caller that goes away shows only behind what it
    /// has sent.
    ///
    /// # Errors
    /// It did, or broke its body in another way.
    pub(super) async fn read_during<T>(
        &mut self,
        mut work: Pin<&mut impl Future<Output = T>>,
        limit: usize,
    ) -> Result<T, Problem> {
        let read = self.read.iter().filter_map(Frame::data_ref);
        let mut length: usize = read.map(Bytes::len).sum();
        let mut ended = false;
        poll_fn(|cx| {
            if let Poll::Ready(result) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(result));
            }
            while !ended && length < limit && !self.inner.is_end_stream() {
                match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        length += frame.data_ref().map_or(0, Bytes::len);
                        self.read.push_back(frame);
                    }
                    Some(Err(fault)) => return Poll::Ready(Err(fault.problem())),
                    None => ended = true,
                }
            }
            Poll::Pending
        })
        .await
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Counts what is sent on, in bytes.
    pub(super) fn counter(&self) -> Option<Arc<AtomicU64>> {
        self.sent.clone()
    }

    fn count(&self, frame: &Frame<Bytes>) {
        if let (Some(sent), Some(data)) = (&self.sent, frame.data_ref()) {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            sent.fetch_add(length, Ordering::Relaxed);
        }
    }

    pub(super) fn exact(&self) -> Option<u64> {
        self.hint.exact()
    }
}

/// A caller's body on its way to the provider.
pub(super) struct RequestBody {
    upload: Upload,
    progress: Arc<Progress>,
}

impl RequestBody {
    pub(super) fn new(upload: Upload) -> (Box<Self>, Arc<Progress>) {
        let progress = Arc::new(Progress {
            start: clock::monotonic(),
            last_ms: AtomicU64::new(0),
            fault: OnceLock::new(),
            waiting: AtomicBool::new(false),
        });
        let body = Self {
            upload,
            progress: Arc::clone(&progress),
        };
        (Box::new(body), progress)
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Some(frame) = self.upload.read.pop_front() {
            self.upload.count(&frame);
            return Poll::Ready(Some(Ok(frame)));
        }
        let polled = match self.upload.error.take() {
            Some(error) => Poll::Ready(Some(Err(error))),
            None => Pin::new(&mut self.upload.inner).poll_frame(cx),
        };
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
        match &frame {
            Some(Ok(frame)) => self.upload.count(frame),
            Some(Err(fault)) => {
                // Only the first counts.
                let _ = self.progress.fault.set(fault.maker());
            }
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let upload = &self.upload;
        upload.read.is_empty() && upload.error.is_none() && upload.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.upload.inner.size_hint();
        let pieces = self.upload.read.iter().filter_map(Frame::data_ref);
        let read: u64 = pieces.map(|piece| piece.len() as u64).sum();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + read);
        }
        hint.set_lower(hint.lower() + read);
        hint
    }
}
