//! What is said on a caller's connection: in HTTP/1.1 or HTTP/2, whichever the caller begins with, or an answer that goes on and
//! on ([`super::lasting`]).
//!
//! hyper reads and writes, with two buffers of 8 KiB for each connection. While events are streamed, which may be silent for
//! hours, the connection is taken from it, and given back when the stream has ended.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::bounds::Http2ServerConnExec;
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::body::{Attended, BoxError};
use super::greeting::{Greeting, Line};
use super::lasting::Lasting;
use super::pulse::Pulse;
use crate::limits::Limits;

/// Calls at a time on one HTTP/2 connection.
const STREAMS: u32 = 256;
/// What a caller over HTTP/2 may send ahead of all its calls together, in bytes: so much waits for providers that take nothing.
const WINDOW: u32 = 512 * 1024;
/// What is kept of an answer for a call of HTTP/2 whose caller takes nothing, in bytes.
const STREAM_BUFFER: usize = 64 * 1024;

/// How the two protocols are spoken.
pub(super) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    pub(super) fn new(limits: &Limits) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            // The pulse of a connection knows heads from idleness.
            .header_read_timeout(None)
            // Above the limit, so that a head that is a little too long is told so in headroom's words.
            .max_buf_size(limits.header_bytes.saturating_mul(2))
            .max_headers(limits.header_fields);
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

/// Where a call leaves an answer that is not hyper's to send.
#[derive(Default)]
pub(super) struct Desk(Mutex<Option<Box<Lasting>>>);

impl Desk {
    pub(super) fn leave(&self, answer: Lasting) {
        *self.lock() = Some(Box::new(answer));
    }

    fn take_if(&self, may_take: impl FnOnce() -> bool) -> Option<Box<Lasting>> {
        self.lock().take_if(|_| may_take())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<Lasting>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller's connection, as long as it is spoken on.
pub(super) struct Conversation<S, T>
where
    S: Line,
    T: HttpService<Incoming>,
{
    state: State<S, T>,
    protocols: Arc<Protocols>,
    pulse: Arc<Pulse>,
    desk: Arc<Desk>,
    /// It is to end with what is under way.
    is_last: bool,
}

/// Boxed: as large as what is spoken, and not as the largest of all.
enum State<S, T>
where
    S: Line,
    T: HttpService<Incoming>,
{
    /// Nothing was said that tells the protocol.
    Silent(Greeting<S>, T),
    Http1(Box<http1::Connection<TokioIo<Greeting<S>>, T>>),
    Http2(Box<http2::Connection<TokioIo<Greeting<S>>, T, TokioExecutor>>),
    Lasting(Greeting<S>, Box<Lasting>, T),
    Over,
}

impl<S, T> Conversation<S, T>
where
    S: Line,
    T: HttpService<Incoming, ResBody = Attended, Error = Infallible>,
    T::Future: 'static,
    TokioExecutor: Http2ServerConnExec<T::Future, Attended>,
{
    pub(super) const fn new(
        line: Greeting<S>,
        service: T,
        protocols: Arc<Protocols>,
        pulse: Arc<Pulse>,
        desk: Arc<Desk>,
    ) -> Self {
        Self {
            state: State::Silent(line, service),
            protocols,
            pulse,
            desk,
            is_last: false,
        }
    }

    /// Ends it after the calls that are under way.
    pub(super) fn end(&mut self) {
        self.is_last = true;
        match &mut self.state {
            State::Silent(..) => self.state = State::Over,
            State::Http1(connection) => Pin::new(&mut **connection).graceful_shutdown(),
            State::Http2(connection) => Pin::new(&mut **connection).graceful_shutdown(),
            State::Lasting(_, answer, _) => answer.end(),
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
                State::Http1(connection) => {
                    if let Poll::Ready(ended) = Pin::new(&mut **connection).poll(cx) {
                        return Poll::Ready(ended.map_err(Into::into));
                    }
                    // What hyper has written before comes first.
                    match self.desk.take_if(|| !self.pulse.is_blocked()) {
                        Some(answer) => self.take_over(answer),
                        None => return Poll::Pending,
                    }
                }
                State::Http2(connection) => {
                    let ended = ready!(Pin::new(&mut **connection).poll(cx));
                    return Poll::Ready(ended.map_err(Into::into));
                }
                State::Lasting(line, answer, _) => {
                    if ready!(answer.poll(line, cx))? {
                        self.give_back();
                    } else {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::Over => return Poll::Ready(Ok(())),
            }
        }
    }

    fn begin(&mut self, is_http2: bool) {
        if let State::Silent(line, service) = std::mem::replace(&mut self.state, State::Over) {
            self.state = if is_http2 {
                let line = TokioIo::new(line);
                let connection = self.protocols.http2.serve_connection(line, service);
                State::Http2(Box::new(connection))
            } else {
                self.http1(line, service)
            };
        }
    }

    fn http1(&self, line: Greeting<S>, service: T) -> State<S, T> {
        let line = TokioIo::new(line);
        State::Http1(Box::new(
            self.protocols.http1.serve_connection(line, service),
        ))
    }

    /// From hyper, whose call has left its answer and waits for nothing.
    fn take_over(&mut self, mut answer: Box<Lasting>) {
        if let State::Http1(connection) = std::mem::replace(&mut self.state, State::Over) {
            let parts = connection.into_parts();
            let mut line = parts.io.into_inner();
            line.put_back(&parts.read_buf);
            if self.is_last {
                answer.end();
            }
            self.state = State::Lasting(line, answer, parts.service);
        }
    }

    fn give_back(&mut self) {
        if let State::Lasting(line, answer, service) =
            std::mem::replace(&mut self.state, State::Over)
        {
            // The call ends before the next one is looked at.
            drop(answer);
            self.state = self.http1(line, service);
        }
    }
}
