//! HTTP/1.1 (RFC 9112), as far as headroom speaks it: one call at a time on a connection, no upgrades. Here is the side towards
//! providers, and [`serving`] is the one towards callers.
//!
//! hyper is for all kinds of programs: towards providers it has a task for each connection, two channels for each call, and two
//! buffers for as long as the connection lives, towards callers the buffers; PERFORMANCE.md says what that costs. Here whoever
//! waits for a message reads it, and a connection that waits holds nothing but its socket. What comes is held to the letter: what
//! two readers could take for two things is none.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::header::TRANSFER_ENCODING;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWriteExt as _, ReadBuf, ReadHalf};
use tokio::task::AbortHandle;

use super::dial::{BoxError, Stream};
use super::heads::AnswerHead;
use super::linger::Fault;
use crate::fields::Fields;
use head::Reading;
use intake::{Intake, poll_read};
use outbound::{Failed, Framing, Outbound};

mod framing;
mod head;
mod intake;
mod outbound;
mod reply;
mod request;
mod serving;

pub(super) use head::{Bounds, Invalid, has_no_body};
pub(super) use request::Unfit;
pub(super) use serving::{Host, Inflow, Serving};

/// An open connection that waits for a call.
pub(super) struct Connection {
    stream: Stream,
}

/// The body of an answer, and the connection that it comes on.
pub(super) struct Body {
    intake: Intake,
    /// Where more comes from.
    source: Option<Source>,
    /// The connection takes another call when this has ended.
    is_kept: bool,
}

enum Source {
    Whole(Stream),
    /// Of a call whose request is still being sent.
    Half {
        stream: ReadHalf<Stream>,
        _upload: Upload,
    },
}

/// The rest of a request, sent by a task of its own: its answer may be read by somebody who is slower. It ends with this.
struct Upload(AbortHandle);

impl Drop for Upload {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    pub(super) const fn new(stream: Stream) -> Self {
        Self { stream }
    }

    /// Nothing came, not even its end, as far as this process has heard.
    pub(super) fn is_open(&mut self) -> bool {
        let mut space = [0; 1];
        let mut cx = Context::from_waker(Waker::noop());
        let read = Pin::new(&mut self.stream).poll_read(&mut cx, &mut ReadBuf::new(&mut space));
        read.is_pending()
    }

    /// The same, and the system is asked.
    pub(super) fn is_still_open(&mut self) -> bool {
        self.is_open() && self.stream.get_ref().is_quiet()
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// The connection or the caller broke off, or what came is no answer.
    pub(super) async fn exchange<B>(
        mut self,
        (method, path, host): (&Method, &PathAndQuery, &HeaderValue),
        headers: &Fields,
        body: B,
        bounds: Bounds,
    ) -> Result<(AnswerHead, Body), BoxError>
    where
        B: HttpBody<Data = Bytes, Error = Fault> + Send + Unpin + 'static,
    {
        let head = head::write(method, path, host, headers);
        let framing = if headers.contains_key(TRANSFER_ENCODING) {
            Framing::chunked(headers)
        } else {
            Framing::Length(body.size_hint().exact().unwrap_or(0))
        };
        let mut outbound = Outbound::new(head, framing, body);
        let mut reading = Reading::default();
        // A provider may answer and close without having taken all: what it said counts.
        let mut failed = None;
        let (head, has) = poll_fn(|cx| {
            if failed.is_none() && !outbound.is_sent() {
                match outbound.poll(&mut self.stream, cx) {
                    Poll::Ready(Err(Failed::Body(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(Err(Failed::Connection(error))) => failed = Some(error),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            loop {
                let came = poll_read(&mut self.stream, cx, |came| {
                    reading.feed_read(came, method, bounds)
                });
                let error = match ready!(came) {
                    Ok(None) => io::ErrorKind::UnexpectedEof.into(),
                    Ok(Some(Ok(Some(read)))) => return Poll::Ready(Ok(read)),
                    Ok(Some(Ok(None))) => continue,
                    Ok(Some(Err(invalid))) => return Poll::Ready(Err(invalid.into())),
                    Err(error) => error,
                };
                return Poll::Ready(Err(failed.take().unwrap_or(error).into()));
            }
        })
        .await?;
        let mut body = Body {
            intake: Intake::new(head.body, has, bounds.fields),
            source: None,
            is_kept: head.is_kept && outbound.is_sent(),
        };
        if outbound.is_sent() || failed.is_some() || body.intake.surplus().is_some() {
            body.source = Some(Source::Whole(self.stream));
        } else {
            let (stream, mut write) = tokio::io::split(self.stream);
            let upload = tokio::spawn(async move {
                let sent = poll_fn(|cx| outbound.poll(&mut write, cx)).await;
                if let Err(Failed::Body(error)) = sent {
                    tracing::debug!(error = %error, "A request broke off behind the head of its answer.");
                    // What is missing shows by the end only; whether that reaches anybody does not matter here.
                    let _ended = write.shutdown().await;
                }
            });
            let _upload = Upload(upload.abort_handle());
            body.source = Some(Source::Half { stream, _upload });
        }
        Ok((head.head, body))
    }
}

impl AsyncRead for Source {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Whole(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Half { stream, .. } => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl Body {
    /// The connection, for the next call, once all of this has come. What came behind the end is nobody's: such a connection
    /// is not used again.
    pub(super) fn connection(&mut self) -> Option<Connection> {
        let surplus = self.intake.surplus()?;
        match self.source.take()? {
            Source::Whole(stream) if self.is_kept && surplus == 0 => Some(Connection { stream }),
            _ => None,
        }
    }

    /// This, where reading on to its end would give the connection back.
    pub(super) fn take_kept(&mut self) -> Option<Self> {
        let source = self.source.take_if(|_| self.is_kept)?;
        Some(Self {
            intake: self.intake.take(),
            source: Some(source),
            is_kept: true,
        })
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Self { intake, source, .. } = &mut *self;
        let next = ready!(intake.poll_next(source.as_mut(), cx));
        if next.is_err() {
            self.intake.give_up();
            self.source = None;
        }
        Poll::Ready(next.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.intake.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        self.intake.size_hint()
    }
}

#[cfg(test)]
mod tests;
