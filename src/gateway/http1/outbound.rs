//! A message on its way out, with its body as it comes.

use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame};
use smallvec::SmallVec;
use tokio::io::AsyncWrite;

use crate::fields::Fields;
use crate::gateway::dial::BoxError;
use crate::gateway::fields;

/// Pieces up to this length are copied behind their head, in bytes: one write for both.
pub(super) const COPIED: usize = 4 * 1024;

const LAST_CHUNK: &[u8] = b"0\r\n";

/// What framing, routing or credentials go by is never a trailer (RFC 9110, section 6.5.1).
static NO_TRAILERS: [HeaderName; 12] = [
    CONTENT_LENGTH,
    HOST,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    http::header::AUTHORIZATION,
    http::header::CACHE_CONTROL,
    http::header::CONTENT_ENCODING,
    http::header::CONTENT_RANGE,
    http::header::CONTENT_TYPE,
    http::header::MAX_FORWARDS,
    http::header::SET_COOKIE,
];

/// A message, as far as it is not sent.
pub(super) struct Outbound<B> {
    /// To be written, in this order,
    pieces: SmallVec<[Bytes; 3]>,
    /// and then this.
    last: Vec<u8>,
    /// What follows; gone when all of it has come.
    body: Option<B>,
    framing: Framing,
    is_flushed: bool,
}

/// How a body that goes out ends.
#[derive(Debug)]
pub(super) enum Framing {
    /// So many bytes are to come.
    Length(u64),
    /// With these trailers, where they come.
    Chunked(SmallVec<[HeaderName; 2]>),
    /// With its connection.
    Close,
}

impl Framing {
    /// In chunks, with the trailers that the head tells of.
    pub(super) fn chunked(headers: &Fields) -> Self {
        let names = fields::tokens(headers, &TRAILER);
        let names = names.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
        Self::Chunked(names.filter(|name| !NO_TRAILERS.contains(name)).collect())
    }
}

/// Why a message could not be sent.
pub(super) enum Failed {
    /// The connection failed.
    Connection(io::Error),
    /// Where the body comes from did, or the body is not what its head says.
    Body(BoxError),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Connection(error)
    }
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Outbound<B> {
    /// `head` is the whole head as it is sent.
    pub(super) fn new(head: Vec<u8>, framing: Framing, body: B) -> Self {
        let body = (!body.is_end_stream()).then_some(body);
        let mut outbound = Self {
            body,
            framing,
            ..Self::whole(head)
        };
        if outbound.body.is_none() && matches!(outbound.framing, Framing::Chunked(_)) {
            outbound.last.extend_from_slice(LAST_CHUNK);
            outbound.last.extend_from_slice(b"\r\n");
        }
        outbound
    }

    /// A whole message as it is sent.
    pub(super) const fn whole(message: Vec<u8>) -> Self {
        Self {
            pieces: SmallVec::new_const(),
            last: message,
            body: None,
            framing: Framing::Length(0),
            is_flushed: false,
        }
    }

    /// This goes before all else.
    pub(super) fn put_before(&mut self, bytes: &[u8]) {
        self.last.splice(..0, bytes.iter().copied());
    }

    /// All of it is with the system.
    pub(super) const fn is_sent(&self) -> bool {
        self.body.is_none() && self.is_flushed
    }

    /// Writes on until all is sent, or there is nothing to write, or no room for it.
    ///
    /// # Errors
    /// The connection or the caller broke off; nothing more can be sent.
    pub(super) fn poll(
        &mut self,
        connection: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Failed>> {
        loop {
            let mut waits = false;
            while !waits
                && self.has_room()
                && let Some(body) = &mut self.body
            {
                match Pin::new(body).poll_frame(cx) {
                    Poll::Pending => waits = true,
                    Poll::Ready(Some(Ok(frame))) => self.queue(frame)?,
                    Poll::Ready(Some(Err(fault))) => {
                        return Poll::Ready(Err(Failed::Body(fault.into())));
                    }
                    Poll::Ready(None) => self.end(&HeaderMap::new())?,
                }
            }
            ready!(self.poll_write(connection, cx))?;
            if self.body.is_none() || waits {
                if !self.is_flushed {
                    ready!(Pin::new(&mut *connection).poll_flush(cx))?;
                    self.is_flushed = true;
                }
                return if waits {
                    Poll::Pending
                } else {
                    Poll::Ready(Ok(()))
                };
            }
        }
    }

    /// A piece more may be queued: a short one goes with what is before it.
    fn has_room(&self) -> bool {
        self.pieces.is_empty() && self.last.len() < COPIED
    }

    fn queue(&mut self, frame: Frame<Bytes>) -> Result<(), Failed> {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                return frame
                    .into_trailers()
                    .map_or(Ok(()), |trailers| self.end(&trailers));
            }
        };
        if !data.is_empty() {
            let end: &[u8] = match &mut self.framing {
                Framing::Length(left) => {
                    let length = data.len() as u64;
                    *left = left.checked_sub(length).ok_or_else(|| unlike("longer"))?;
                    b""
                }
                Framing::Chunked(_) => {
                    write!(self.last, "{:x}\r\n", data.len())?;
                    b"\r\n"
                }
                Framing::Close => b"",
            };
            if data.len() <= COPIED {
                self.last.extend_from_slice(&data);
            } else {
                self.close_last();
                self.pieces.push(data);
            }
            self.last.extend_from_slice(end);
        }
        if self.body.as_ref().is_some_and(Body::is_end_stream) {
            self.end(&HeaderMap::new())?;
        }
        Ok(())
    }

    fn end(&mut self, trailers: &HeaderMap) -> Result<(), Failed> {
        self.body = None;
        match &self.framing {
            Framing::Length(0) | Framing::Close => Ok(()),
            Framing::Length(_) => Err(unlike("shorter")),
            Framing::Chunked(names) => {
                self.last.extend_from_slice(LAST_CHUNK);
                Fields::from(trailers).write_to(&mut self.last, |name, _| {
                    let mut names = names.iter();
                    names.any(|announced| announced.as_str().as_bytes() == name)
                });
                self.last.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }

    fn close_last(&mut self) {
        if !self.last.is_empty() {
            self.pieces.push(std::mem::take(&mut self.last).into());
        }
    }

    /// Writes all that is queued.
    fn poll_write(
        &mut self,
        connection: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.close_last();
        while !self.pieces.is_empty() {
            let connection = Pin::new(&mut *connection);
            let mut written = if let [only] = &*self.pieces {
                ready!(connection.poll_write(cx, only))?
            } else {
                let slices = self.pieces.iter().map(|piece| IoSlice::new(piece));
                let slices: SmallVec<[IoSlice<'_>; 4]> = slices.collect();
                ready!(connection.poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.is_flushed = false;
            while let Some(piece) = self.pieces.first_mut() {
                let length = written.min(piece.len());
                piece.advance(length);
                written -= length;
                if !piece.is_empty() {
                    break;
                }
                self.pieces.remove(0);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Bodies are as long as they say; if one is not, its message must not look whole.
fn unlike(how: &str) -> Failed {
    Failed::Body(format!("the body is {how} than its Content-Length").into())
}
