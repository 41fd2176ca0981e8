//! HTTP/1.1 to providers (RFC 9112), as far as headroom speaks it: one call at a time on a connection, no upgrades.
//!
//! hyper's client is for all kinds of programs: it has a task for each connection, two channels for each call, and two buffers
//! for as long as the connection lives; PERFORMANCE.md says what that costs. Here whoever waits for the answer reads it, and a
//! connection that waits holds nothing but its socket. What comes is held to the letter: an answer that two readers could take
//! for two things is none.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf, ReadHalf};
use tokio::task::AbortHandle;

use super::dial::{BoxError, Stream};
use super::linger::Fault;
use framing::Decoder;
use head::Reading;
use outbound::{Failed, Outbound};

mod framing;
mod head;
mod names;
mod outbound;

pub(super) use head::{Bounds, Invalid, write_fields};

/// So much is read at first, in bytes: most answers are shorter. What it is read into is on the stack, so nothing is held by
/// who waits.
const FIRST: usize = 8 * 1024;
/// So much when the one before was full, in bytes.
const MORE: usize = 64 * 1024;

/// An open connection that waits for a call.
pub(super) struct Connection {
    stream: Stream,
}

/// The body of an answer, and the connection that it comes on.
pub(super) struct Body {
    decoder: Decoder,
    most_fields: usize,
    /// Came, and is not looked at.
    has: Bytes,
    /// Where more comes from.
    source: Option<Source>,
    /// Its length was told before it came.
    is_sized: bool,
    /// The connection takes another call when this has ended.
    is_kept: bool,
    /// What was read last was as much as there was room for.
    is_long: bool,
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
        headers: &HeaderMap,
        body: B,
        bounds: Bounds,
    ) -> Result<(response::Parts, Body), BoxError>
    where
        B: HttpBody<Data = Bytes, Error = Fault> + Send + Unpin + 'static,
    {
        let head = head::write(method, path, host, headers);
        let mut outbound = Outbound::new(head, headers, body);
        let mut reading = Reading::default();
        // A provider may answer and close without having taken all: what it said counts.
        let mut failed = None;
        let (head, has) = poll_fn(|cx| {
            if failed.is_none() && !outbound.is_sent() {
                match outbound.poll(&mut self.stream, cx) {
                    Poll::Ready(Err(Failed::Caller(error))) => return Poll::Ready(Err(error)),
                    Poll::Ready(Err(Failed::Connection(error))) => failed = Some(error),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            loop {
                let came = poll_read(&mut self.stream, cx, |came| {
                    reading.feed(came, method, bounds)
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
            is_sized: matches!(head.body, Decoder::Length(_) | Decoder::Done),
            decoder: head.body,
            most_fields: bounds.fields,
            is_long: has.len() >= FIRST / 2,
            has,
            source: None,
            is_kept: head.is_kept && outbound.is_sent(),
        };
        if outbound.is_sent() || failed.is_some() || body.surplus().is_some() {
            body.source = Some(Source::Whole(self.stream));
        } else {
            let (stream, mut write) = tokio::io::split(self.stream);
            let upload = tokio::spawn(async move {
                let sent = poll_fn(|cx| outbound.poll(&mut write, cx)).await;
                if let Err(Failed::Caller(error)) = sent {
                    tracing::debug!(error = %error, "A request broke off behind the head of its answer.");
                    // What is missing shows by the end only; whether that reaches anybody does not matter here.
                    let _ended = write.shutdown().await;
                }
            });
            let _upload = Upload(upload.abort_handle());
            body.source = Some(Source::Half { stream, _upload });
        }
        Ok((head.parts, body))
    }
}

/// Reads once. `None` is the end.
fn poll_read<T>(
    stream: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<Option<T>>> {
    let mut space = [MaybeUninit::uninit(); FIRST];
    let mut read = ReadBuf::uninit(&mut space);
    ready!(Pin::new(stream).poll_read(cx, &mut read))?;
    let came = read.filled();
    Poll::Ready(Ok((!came.is_empty()).then(|| take(came))))
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
    /// How many bytes came behind the end of this, in case that has come.
    fn surplus(&self) -> Option<u64> {
        let has = self.has.len() as u64;
        match self.decoder {
            Decoder::Done => Some(has),
            Decoder::Length(length) => has.checked_sub(length),
            Decoder::Chunked(_) | Decoder::Close => None,
        }
    }

    /// The connection, for the next call, once all of this has come. What came behind the end is nobody's: such a connection
    /// is not used again.
    pub(super) fn connection(&mut self) -> Option<Connection> {
        let surplus = self.surplus()?;
        match self.source.take()? {
            Source::Whole(stream) if self.is_kept && surplus == 0 => Some(Connection { stream }),
            _ => None,
        }
    }

    /// This, where reading on to its end would give the connection back.
    pub(super) fn take_kept(&mut self) -> Option<Self> {
        let source = self.source.take_if(|_| self.is_kept)?;
        Some(Self {
            decoder: std::mem::replace(&mut self.decoder, Decoder::Done),
            has: std::mem::take(&mut self.has),
            source: Some(source),
            most_fields: self.most_fields,
            is_sized: self.is_sized,
            is_kept: true,
            is_long: self.is_long,
        })
    }

    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(source) = &mut self.source else {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        };
        let (has, room) = if self.is_long {
            let mut space = BytesMut::with_capacity(MORE);
            let read = std::pin::pin!(source.read_buf(&mut space)).poll(cx);
            // Who waits holds nothing.
            let length = ready!(read)?;
            (space.freeze(), length >= MORE / 4)
        } else {
            let read = ready!(poll_read(source, cx, Bytes::copy_from_slice))?;
            let has = read.unwrap_or_default();
            let is_full = has.len() == FIRST;
            (has, is_full)
        };
        self.is_long = room;
        if has.is_empty() && !self.decoder.close() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.has = has;
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Frame<Bytes>>>> {
        loop {
            let frame = self.decoder.decode(&mut self.has, self.most_fields)?;
            if frame.is_some() || self.decoder.is_done() {
                return Poll::Ready(Ok(frame));
            }
            ready!(self.poll_more(cx))?;
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let next = ready!(self.poll_next(cx));
        if next.is_err() {
            // Nothing follows what is broken.
            self.decoder = Decoder::Done;
            self.source = None;
        }
        Poll::Ready(next.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.decoder.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Done if self.is_sized => SizeHint::with_exact(0),
            Decoder::Length(length) => SizeHint::with_exact(length),
            // Whoever takes it for a length leaves the trailers out.
            Decoder::Done | Decoder::Chunked(_) | Decoder::Close => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests;
