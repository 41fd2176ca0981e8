//! What is said on a caller's connection: in HTTP/1.1 ([`super::http1`]) or HTTP/2 (hyper), whichever the caller begins with.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::body::BoxError;
use super::greeting::Greeting;
use super::http1::{Bounds, Serving};
use super::reception::Reception;
use crate::limits::Limits;

/// Calls at a time on one HTTP/2 connection.
const STREAMS: u32 = 256;
/// What a caller over HTTP/2 may send ahead of all its calls together, in bytes: so much waits for providers that take nothing.
const WINDOW: u32 = 512 * 1024;
/// What is kept of an answer for a call of HTTP/2 whose caller takes nothing, in bytes.
const STREAM_BUFFER: usize = 64 * 1024;

/// How the two protocols are spoken.
pub(super) struct Protocols {
    http1: Bounds,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    pub(super) fn new(limits: &Limits) -> Self {
        let http1 = Bounds::of(limits);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(STREAM_BUFFER)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .keep_alive_interval(Duration::from_secs(30));
        Self { http1, http2 }
    }
}

/// A caller's connection, as long as it is spoken on.
pub(super) struct Conversation {
    state: State,
    protocols: Arc<Protocols>,
}

/// Boxed: as large as what is spoken, and not as the largest of all.
enum State {
    /// Nothing was said that tells the protocol.
    Silent(Greeting, Reception),
    Http1(Box<Serving<Reception>>),
    Http2(Box<http2::Connection<TokioIo<Greeting>, Reception, TokioExecutor>>),
    Over,
}

impl Conversation {
    pub(super) const fn new(
        line: Greeting,
        reception: Reception,
        protocols: Arc<Protocols>,
    ) -> Self {
        Self {
            state: State::Silent(line, reception),
            protocols,
        }
    }

    /// Ends it after the calls that are under way.
    pub(super) fn end(&mut self) {
        match &mut self.state {
            State::Silent(..) => self.state = State::Over,
            State::Http1(connection) => connection.end(),
            State::Http2(connection) => Pin::new(&mut **connection).graceful_shutdown(),
            State::Over => {}
        }
    }

    /// Goes on until it is over.
    ///
    /// # Errors
    /// It did not end well.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            match &mut self.state {
                State::Silent(line, _) => match ready!(line.poll_protocol(cx))? {
                    Some(is_http2) => self.begin(is_http2),
                    None => return Poll::Ready(Ok(())),
                },
                State::Http1(connection) => return connection.poll(cx),
                State::Http2(connection) => {
                    let ended = ready!(Pin::new(&mut **connection).poll(cx));
                    return Poll::Ready(ended.map_err(Into::into));
                }
                State::Over => return Poll::Ready(Ok(())),
            }
        }
    }

    fn begin(&mut self, is_http2: bool) {
        if let State::Silent(line, reception) = std::mem::replace(&mut self.state, State::Over) {
            self.state = if is_http2 {
                let line = TokioIo::new(line);
                let connection = self.protocols.http2.serve_connection(line, reception);
                State::Http2(Box::new(connection))
            } else {
                State::Http1(Box::new(Serving::new(
                    line,
                    self.protocols.http1,
                    reception,
                )))
            };
        }
    }
}
