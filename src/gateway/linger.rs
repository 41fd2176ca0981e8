//! A caller's body as it comes in, and what becomes of it when nobody reads it to its end.
//!
//! Who is answered before its body was read may still be writing, and some clients look for an answer only afterwards.
//! hyper closes a connection with an unread body, and what arrives on a closed one makes the kernel reset it: such a client
//! sees a broken pipe instead of its answer. So what is left of a body is read and thrown away for a while, as nginx does
//! (`lingering_close`). The answer does not wait for that. A body that ends meanwhile leaves the connection as good as new.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use http::header::EXPECT;
use http::request::Parts;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::runtime::Handle;

/// So many bytes are thrown away; more would cost the caller more than a new connection.
const MOST: usize = 8 << 20;
/// So long one may be silent meanwhile,
const QUIET: Duration = Duration::from_secs(2);
/// and so long it may take altogether.
const LONGEST: Duration = Duration::from_secs(10);

/// A caller's body.
pub(super) struct Inbound {
    /// Only gone while this is dropped.
    incoming: Option<Incoming>,
    /// Closing would break off what the caller writes.
    lingers: bool,
}

impl Inbound {
    pub(super) fn new(incoming: Incoming, head: &Parts) -> Self {
        Self {
            incoming: Some(incoming),
            // HTTP/2 ends one call without the others. Who waits for `100 Continue` has not begun to write, and reading
            // would ask it to.
            lingers: head.version <= Version::HTTP_11 && !head.headers.contains_key(EXPECT),
        }
    }
}

impl Drop for Inbound {
    fn drop(&mut self) {
        let unread = self.incoming.take().filter(|body| !body.is_end_stream());
        let Some(unread) = unread.filter(|_| self.lingers) else {
            return;
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(throw_away(unread));
        }
    }
}

/// Reads on until the end, or until it is enough. When the connection ends, so does the body.
async fn throw_away(mut body: Incoming) {
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
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(incoming).poll_frame(cx));
        // A chunked body does not know its end before it is asked.
        self.lingers &= matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}
