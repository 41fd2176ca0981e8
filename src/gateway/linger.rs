//! A caller's body as it comes in, held to its limits, and what becomes of it when nobody reads it to its end.
//!
//! Who is answered before its body was read may still be writing, and some clients look for an answer only afterwards.
//! A connection with an unread body is closed, and what arrives on a closed one makes the kernel reset it: such a client
//! sees a broken pipe instead of its answer. So what is left of a body is read and thrown away for a while, as nginx does
//! (`lingering_close`). The answer does not wait for that. A body that ends meanwhile leaves the connection as good as new.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Either;
use tokio::runtime::Handle;
use tokio::time::Sleep;

use super::body::BoxError;
use super::error::Problem;
use super::heads::RequestHead;
use super::http1::Inflow;
use super::pulse::Presence;
use crate::clock;
use crate::limits::Limits;

/// So many bytes are thrown away; more would cost the caller more than a new connection.
const MOST: usize = 8 << 20;
/// So long one may be silent meanwhile,
const QUIET: Duration = Duration::from_secs(2);
/// and so long it may take altogether.
const LONGEST: Duration = Duration::from_secs(10);

/// What is wrong with a caller's body.
#[derive(Debug)]
pub(super) enum Fault {
    /// It ended before its end, or was badly framed.
    Broken(BoxError),
    /// It is longer than it may be.
    TooLong,
    /// Nothing of it came for too long.
    Slow,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Broken(error) => write!(f, "the request's body broke off: {error}"),
            Self::TooLong => f.write_str("the request's body is too long"),
            Self::Slow => f.write_str("the request's body did not come in time"),
        }
    }
}

impl std::error::Error for Fault {}

impl Fault {
    /// What the caller is told.
    pub(super) fn problem(&self) -> Problem {
        self.maker()()
    }

    /// The same, for whoever cannot keep the fault.
    pub(super) fn maker(&self) -> fn() -> Problem {
        match self {
            Self::Broken(_) => || Problem::RequestBody,
            Self::TooLong => || Problem::BodyTooLong,
            Self::Slow => || Problem::SlowRequest,
        }
    }
}

/// A caller's body over HTTP/1.1, or over HTTP/2.
pub(super) type Incoming = Either<Inflow, hyper::body::Incoming>;

/// A caller's body.
pub(super) struct Inbound {
    /// `None`: there is none, or it has gone on its way.
    incoming: Option<Incoming>,
    /// Closing would break off what the caller writes.
    lingers: bool,
    /// As many bytes as may still come.
    left: u64,
    /// So long nothing may come while somebody waits for it.
    patience: Duration,
    /// Made at the first wait, so that a body that is there at once costs no timer.
    timer: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    /// What comes on the connection is this body, as long as somebody reads it.
    presence: Option<Arc<Presence>>,
}

impl Inbound {
    pub(super) fn new(
        incoming: Option<Incoming>,
        head: &RequestHead,
        limits: &Limits,
        presence: &Arc<Presence>,
    ) -> Self {
        Self {
            incoming,
            // Who waits for `100 Continue` has not begun to write, and reading would ask it to. HTTP/2 could end one call
            // without the others, but curl, httpx and got drop an answer behind which the stream is reset.
            lingers: !head.headers.contains_key(EXPECT),
            left: limits.body_bytes.unwrap_or(u64::MAX),
            patience: limits.body_timeout,
            timer: None,
            waiting: false,
            presence: Some(Arc::clone(presence)),
        }
    }

    /// It goes on its way; what is left here is empty.
    pub(super) fn take(&mut self) -> Self {
        Self {
            incoming: self.incoming.take(),
            timer: self.timer.take(),
            presence: self.presence.take(),
            ..*self
        }
    }

    fn poll_incoming(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    /// Ready once nothing has come for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = clock::monotonic() + self.patience;
        let starts_waiting = !std::mem::replace(&mut self.waiting, true);
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if starts_waiting {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let unread = self.incoming.take().filter(|body| !body.is_end_stream());
        let Some(unread) = unread.filter(|_| self.lingers) else {
            return;
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(throw_away(unread, self.presence.take()));
        }
    }
}

/// Reads on until the end, or until it is enough. When the connection ends, so does the body.
async fn throw_away(mut body: Incoming, _presence: Option<Arc<Presence>>) {
    let reading = async {
        let mut left = MOST;
        loop {
            let next = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx));
            let Ok(Some(Ok(frame))) = tokio::time::timeout(QUIET, next).await else {
                return;
            };
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // However it ended, dropping the body says that nobody reads on.
    let _ = tokio::time::timeout(LONGEST, reading).await;
}

impl HttpBody for Inbound {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let Poll::Ready(frame) = self.poll_incoming(cx) else {
            ready!(self.poll_patience(cx));
            return Poll::Ready(Some(Err(Fault::Slow)));
        };
        self.waiting = false;
        // A chunked body does not know its end before it is asked.
        self.lingers &= matches!(frame, Some(Ok(_)));
        let data = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref());
        let length = u64::try_from(data.map_or(0, Bytes::len)).unwrap_or(u64::MAX);
        match self.left.checked_sub(length) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Some(Err(Fault::TooLong))),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Fault::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let none = SizeHint::with_exact(0);
        self.incoming.as_ref().map_or(none, HttpBody::size_hint)
    }
}
