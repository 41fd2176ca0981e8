//! Bodies as they come in, from either side.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use super::framing::Decoder;

/// So much is read at first, in bytes: most of what comes is shorter. What it is read into is on the stack, so nothing is held by
/// who waits.
const FIRST: usize = 8 * 1024;
/// So much when the one before was full, in bytes.
const MORE: usize = 64 * 1024;

/// What has come of a body, and what is to come.
pub(super) struct Intake {
    decoder: Decoder,
    /// Its length was told before it came.
    is_sized: bool,
    most_fields: usize,
    /// Came, and is not looked at.
    has: Bytes,
    /// What was read last was as much as there was room for.
    is_long: bool,
}

impl Intake {
    /// `has` has come with the head, and may go on behind the end.
    pub(super) const fn new(decoder: Decoder, has: Bytes, most_fields: usize) -> Self {
        Self {
            is_long: has.len() >= FIRST / 2,
            is_sized: matches!(decoder, Decoder::Length(_) | Decoder::Done),
            decoder,
            most_fields,
            has,
        }
    }

    /// Of no body.
    pub(super) const fn none() -> Self {
        Self::new(Decoder::Done, Bytes::new(), 0)
    }

    /// It has ended.
    pub(super) const fn is_done(&self) -> bool {
        self.decoder.is_done()
    }

    /// What has come and is not looked at.
    pub(super) const fn rest(&mut self) -> &mut Bytes {
        &mut self.has
    }

    /// How many bytes came behind the end, in case that has come.
    pub(super) fn surplus(&self) -> Option<u64> {
        let has = self.has.len() as u64;
        match self.decoder {
            Decoder::Done => Some(has),
            Decoder::Length(length) => has.checked_sub(length),
            Decoder::Chunked(_) | Decoder::Close => None,
        }
    }

    /// It goes on elsewhere; what is left here is at its end.
    pub(super) const fn take(&mut self) -> Self {
        std::mem::replace(self, Self::none())
    }

    /// Nothing follows what is broken.
    pub(super) fn give_up(&mut self) {
        self.decoder = Decoder::Done;
    }

    /// Something of it is there that nobody has looked at: it need not be read for.
    pub(super) fn has_come(&self) -> bool {
        !self.has.is_empty()
    }

    fn poll_more(
        &mut self,
        source: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let (has, is_full) = if self.is_long {
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
        self.is_long = is_full;
        if has.is_empty() && !self.decoder.close() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.has = has;
        Poll::Ready(Ok(()))
    }

    /// The next piece; `None` is the end. Without a source there is no more than what has come.
    ///
    /// # Errors
    /// It ended before its end, or is not framed as it says.
    pub(super) fn poll_next(
        &mut self,
        mut source: Option<&mut (impl AsyncRead + Unpin)>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Frame<Bytes>>>> {
        loop {
            let frame = self.decoder.decode(&mut self.has, self.most_fields)?;
            if frame.is_some() || self.decoder.is_done() {
                return Poll::Ready(Ok(frame));
            }
            match &mut source {
                Some(source) => ready!(self.poll_more(*source, cx))?,
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    /// Of what is to come.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self.decoder {
            Decoder::Done if self.is_sized => SizeHint::with_exact(0),
            Decoder::Length(length) => SizeHint::with_exact(length),
            // Whoever takes it for a length leaves the trailers out.
            Decoder::Done | Decoder::Chunked(_) | Decoder::Close => SizeHint::default(),
        }
    }
}

/// Reads once. `None` is the end.
pub(super) fn poll_read<T>(
    source: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]) -> T,
) -> Poll<io::Result<Option<T>>> {
    let mut space = [MaybeUninit::uninit(); FIRST];
    let mut read = ReadBuf::uninit(&mut space);
    ready!(Pin::new(source).poll_read(cx, &mut read))?;
    let came = read.filled();
    Poll::Ready(Ok((!came.is_empty()).then(|| take(came))))
}
