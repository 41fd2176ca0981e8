//! A JSON body in which the provider's URLs become headroom's, while it streams.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::HeaderName;
use http::header::ETAG;
use http_body::{Body, Frame};
use smallvec::SmallVec;

use super::body::{AnswerBody, BoxError};
use crate::fields::Fields;
use crate::rewrite::RewriteStream;

/// Fields that speak of a body's exact bytes; void once URLs in it are rewritten.
static OF_THE_BYTES: [HeaderName; 6] = [
    http::header::CONTENT_LENGTH,
    http::header::ACCEPT_RANGES,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// Takes away what the head says of bytes that will change.
pub(super) fn strip_byte_fields(headers: &mut Fields) {
    for name in &OF_THE_BYTES {
        headers.remove(name);
    }
    // A strong tag promises the same bytes (RFC 9110, section 8.8.1), and headroom's address is among these.
    headers.rewrite(|name, tag| {
        let is_strong = name == ETAG.as_str().as_bytes() && !tag.as_bytes().starts_with(b"W/");
        is_strong.then(|| [b"W/", tag.as_bytes()].concat())
    });
}

/// The body, rewritten.
pub(super) struct RewrittenBody {
    inner: Box<AnswerBody>,
    stream: RewriteStream,
    /// Trailers wait here for what the rewriter held back.
    trailers: Option<Frame<Bytes>>,
    ended: bool,
}

impl RewrittenBody {
    pub(super) fn new(inner: Box<AnswerBody>, stream: RewriteStream) -> Self {
        Self {
            inner,
            stream,
            trailers: None,
            ended: false,
        }
    }
}

impl Body for RewrittenBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if self.ended {
                return Poll::Ready(self.trailers.take().map(Ok));
            }
            let mut pieces = SmallVec::<[Bytes; 8]>::new();
            match ready!(Pin::new(&mut self.inner).poll_frame(cx)).transpose() {
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) => self.stream.push(data, &mut pieces),
                    Err(trailers) => {
                        self.stream.finish(&mut pieces);
                        self.trailers = Some(trailers);
                        self.ended = true;
                    }
                },
                Ok(None) => {
                    self.stream.finish(&mut pieces);
                    self.ended = true;
                }
                // What was held back is lost with the rest.
                Err(error) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
            let data = joined(pieces);
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.trailers.is_none()
    }
}

/// The pieces of one chunk as one again: a list of a hundred items has thousands of URLs, and a frame for each piece
/// costs far more than copying what is between them. A chunk without a URL is one piece and is not copied.
fn joined(pieces: SmallVec<[Bytes; 8]>) -> Bytes {
    if pieces.len() <= 1 {
        return pieces.into_iter().next().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    pieces
        .iter()
        .for_each(|piece| whole.extend_from_slice(piece));
    whole.freeze()
}
