//! Answers' bodies on their way back. Pieces are handed on as they come.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::load::CallPlace;
use super::memo::Memo;
use super::pulse::{Presence, Pulse};
use super::rewritten::RewrittenBody;
use super::upstream::UpstreamBody;
use crate::clock;
use crate::history::record::Outcome;
use crate::ledger::ticket::Ticket;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A provider's body on its way to the caller. Boxed from the beginning: an answer is moved a dozen times on its way.
pub(super) struct AnswerBody {
    inner: UpstreamBody,
    /// Read already, for translation; to be sent first.
    read: VecDeque<Frame<Bytes>>,
    /// The provider may be silent for so long. The caller may be slow for longer: only waiting for the provider counts.
    idle_timeout: Duration,
    /// Made at the first wait, so that an answer that is there at once costs no timer.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    ended: bool,
    /// What the call took of its quotas, given back when the answer has ended or nobody wants it any more.
    ticket: Option<Ticket>,
    memo: Option<Memo>,
    /// The call's place among those that are under way.
    _place: CallPlace,
}

impl AnswerBody {
    pub(super) fn new(inner: UpstreamBody, idle_timeout: Duration, place: CallPlace) -> Box<Self> {
        Box::new(Self {
            inner,
            read: VecDeque::new(),
            idle_timeout,
            timer: None,
            waiting: false,
            ended: false,
            ticket: None,
            memo: None,
            _place: place,
        })
    }

    /// Keeps the call's ticket until the end, and what is remembered of it until its caller has everything.
    pub(super) fn hold(&mut self, ticket: Ticket, memo: Memo) {
        if !self.ended {
            self.ticket = Some(ticket);
        }
        self.memo = Some(memo);
        self.remember_end();
    }

    /// Remembers the end where there is nothing more to come.
    fn remember_end(&mut self) {
        if self.read.is_empty()
            && (self.ended || self.inner.is_end_stream())
            && let Some(mut memo) = self.memo.take()
        {
            memo.ends(Outcome::Complete);
        }
    }

    /// Reads ahead, and gives the whole body if it ends within `limit` and before `deadline`. What was read stays in
    /// front of the rest. An error is one of the provider's before that end.
    pub(super) async fn read_ahead(
        &mut self,
        limit: usize,
        deadline: Instant,
    ) -> Result<Option<Bytes>, BoxError> {
        let limit_bytes = u64::try_from(limit).unwrap_or(u64::MAX);
        if self.inner.size_hint().lower() > limit_bytes {
            return Ok(None);
        }
        let mut length = 0;
        loop {
            let next = poll_fn(|cx| self.poll_inner(cx));
            let Ok(frame) = tokio::time::timeout_at(deadline, next).await else {
                return Ok(None);
            };
            let Some(frame) = frame.transpose()? else {
                break;
            };
            length += frame.data_ref().map_or(0, Bytes::len);
            self.read.push_back(frame);
            if length > limit {
                return Ok(None);
            }
        }
        let mut pieces = self.read.iter().filter_map(Frame::data_ref);
        Ok(Some(match (pieces.next(), pieces.next()) {
            (None, _) => Bytes::new(),
            (Some(only), None) => only.clone(),
            _ => {
                let mut whole = BytesMut::with_capacity(length);
                self.read
                    .iter()
                    .filter_map(Frame::data_ref)
                    .for_each(|piece| whole.extend_from_slice(piece));
                whole.freeze()
            }
        }))
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            self.waiting = false;
            // An error is the end too: what follows it would be taken for the rest.
            self.ended = !matches!(frame, Some(Ok(_)));
            if self.ended || self.inner.is_end_stream() {
                self.ticket = None;
            }
            return Poll::Ready(frame);
        }
        let deadline = clock::monotonic() + self.idle_timeout;
        let starts_waiting = !std::mem::replace(&mut self.waiting, true);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if starts_waiting {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(cx));
        self.ended = true;
        self.ticket = None;
        Poll::Ready(Some(Err("the provider sent nothing for too long".into())))
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match self.read.pop_front() {
            Some(frame) => Some(Ok(frame)),
            None => ready!(self.poll_inner(cx)),
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(memo), Some(data)) = (&mut self.memo, frame.data_ref()) {
                    memo.piece(data);
                }
            }
            Some(Err(error)) => {
                tracing::debug!(error = %error, "The answer broke off; the caller's transfer is broken too.");
                if let Some(mut memo) = self.memo.take() {
                    memo.ends(Outcome::Broken);
                }
            }
            None => {}
        }
        self.remember_end();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let read: usize = self
            .read
            .iter()
            .filter_map(Frame::data_ref)
            .map(Bytes::len)
            .sum();
        let read = u64::try_from(read).unwrap_or(u64::MAX);
        let rest = self.inner.size_hint();
        let mut hint = SizeHint::new();
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint.set_lower(rest.lower().saturating_add(read));
        hint
    }
}

/// What the server side sends.
pub(super) enum Body {
    /// Nothing.
    Empty,
    /// Headroom's own words.
    Full(Bytes),
    /// A page of headroom's own.
    Page(axum::body::Body),
    /// A provider's answer.
    Answer(Box<AnswerBody>),
    /// A provider's answer with other URLs in it.
    Rewritten(Box<RewrittenBody>),
}

impl Body {
    pub(super) fn full(text: impl Into<Bytes>) -> Self {
        Self::Full(text.into())
    }

    /// Headroom's own words, if it is any.
    pub(super) fn into_full(self) -> Bytes {
        match self {
            Self::Full(bytes) => bytes,
            _ => Bytes::new(),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Page(page) => Pin::new(page).poll_frame(cx).map_err(Into::into),
            Self::Answer(answer) => Pin::new(&mut **answer).poll_frame(cx),
            Self::Rewritten(answer) => Pin::new(&mut **answer).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Page(page) => page.is_end_stream(),
            Self::Answer(answer) => answer.is_end_stream(),
            Self::Rewritten(answer) => answer.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Self::Page(page) => page.size_hint(),
            Self::Answer(answer) => answer.size_hint(),
            Self::Rewritten(answer) => answer.size_hint(),
        }
    }
}

/// An answer's body, with the call that it ends.
pub(super) struct Attended {
    place: Where,
    /// Waits until what came before it is sent. Who sends it would throw a head away that it holds, and a caller that got nothing
    /// at all may take its connection for a dead one and call again.
    error: Option<BoxError>,
}

enum Where {
    Here {
        body: Body,
        /// Until the end.
        _presence: Arc<Presence>,
    },
    /// Of a call over HTTP/2, whose caller may take other answers and not this one: whoever watches its connection can take
    /// both away.
    Shelf(Arc<Shelf>, Arc<Pulse>),
}

/// Where an answer's body lies between two looks of the caller's.
pub(super) type Shelf = Mutex<Option<(Body, Arc<Presence>)>>;

impl Attended {
    /// `pulse` is that of an HTTP/2 connection.
    pub(super) fn new(body: Body, presence: Arc<Presence>, pulse: Option<Arc<Pulse>>) -> Self {
        let place = match pulse {
            None => Where::Here {
                body,
                _presence: presence,
            },
            Some(pulse) => Where::Shelf(Arc::new(Mutex::new(Some((body, presence)))), pulse),
        };
        Self { place, error: None }
    }

    fn look<T>(&self, at: impl FnOnce(&Body) -> T) -> Option<T> {
        match &self.place {
            Where::Here { body, .. } => Some(at(body)),
            Where::Shelf(shelf, _) => {
                let shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
                shelf.as_ref().map(|(body, _)| at(body))
            }
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.place {
            Where::Here { body, .. } => Pin::new(body).poll_frame(cx),
            Where::Shelf(shelf, _) => {
                let mut shelf = shelf.lock().unwrap_or_else(PoisonError::into_inner);
                match &mut *shelf {
                    Some((body, _)) => Pin::new(body).poll_frame(cx),
                    None => Poll::Ready(Some(Err("the caller took nothing for too long".into()))),
                }
            }
        }
    }

    /// Whoever asks for more has room for it, and so has who is gone.
    fn took(&self) {
        if let Where::Shelf(shelf, pulse) = &self.place {
            pulse.took(shelf);
        }
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        self.took();
    }
}

impl HttpBody for Attended {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        self.took();
        match ready!(self.poll_body(cx)) {
            Some(Err(error)) => {
                self.error = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => {
                if let (Where::Shelf(shelf, pulse), Some(_)) = (&self.place, &frame) {
                    pulse.offers(shelf);
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.error.is_none() && self.look(HttpBody::is_end_stream).unwrap_or(false)
    }

    fn size_hint(&self) -> SizeHint {
        self.look(HttpBody::size_hint).unwrap_or_default()
    }
}
