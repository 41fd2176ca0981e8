//! Connections to providers that are kept for the next call, of one kind and one worker, by origin.
//!
//! Which of them a call goes out on, and for how long an idle one is kept. hyper-util's client does the same for all kinds of
//! programs, with a task, a race and three lookups for each call; PERFORMANCE.md says what that costs. A call that finds no
//! connection opens one, so there are never more than calls at a time.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use http::Request;
use http::uri::PathAndQuery;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::dial::{BoxError, Dialer, Protocol};
use super::heads::AnswerHead;
use super::http1;
use super::timers::Timers;
use super::upstream::{Freshness, Sent, Unsent};
use crate::clock;
use crate::fields::Fields;
use crate::limits::Limits;
use crate::origin::Origin;

/// How long a connection counts as fresh after its last use. Servers that close idle ones wait for longer.
const FRESH: Duration = Duration::from_secs(2);
/// Below the 60 s after which common servers close, so that headroom mostly closes first.
const KEPT: Duration = Duration::from_secs(50);
/// What is left of an answer that nobody reads may take so long to come,
const REST: Duration = Duration::from_millis(100);
/// and be so much, in bytes, for its connection to be kept.
const REST_BYTES: usize = 64 * 1024;
/// Connections that nobody has used for too long are looked for so often.
const SWEEP: Duration = Duration::from_secs(5);
/// The longest head of a provider's answer in HTTP/2. h2's own 16 KiB are less than what passes in HTTP/1.1.
const HTTP2_HEAD_BYTES: u32 = 256 * 1024;
/// What an HTTP/2 provider may send ahead of each answer, in bytes: so much waits for a caller that takes nothing.
const HTTP2_WINDOW: u32 = 256 * 1024;

/// All that are kept.
pub(super) struct Pool {
    dialer: Dialer,
    bounds: http1::Bounds,
    http2: http2::Builder<TokioExecutor>,
    /// So many idle ones of an origin are kept.
    most: usize,
    idle: Mutex<Idle>,
    /// Of the calls that go out with it.
    pub(super) timers: Timers,
}

#[derive(Default)]
struct Idle {
    origins: HashMap<Arc<str>, Kept>,
    /// Somebody comes and looks for old ones.
    is_swept: bool,
}

/// Those of one origin.
#[derive(Default)]
struct Kept {
    /// The one that was used last stands last.
    http1: Vec<(http1::Connection, Instant)>,
    /// Carries many calls at a time.
    http2: Option<(http2::SendRequest<Sent>, Instant)>,
}

enum Sender {
    Http1(http1::Connection),
    Http2(http2::SendRequest<Sent>),
}

/// The body of an answer over HTTP/1.1, or over HTTP/2.
pub(super) type Rest = Either<Lease, Incoming>;

/// The body of an answer over HTTP/1.1. Its connection is kept for the next call when all of it has come.
pub(super) struct Lease {
    body: http1::Body,
    pool: Weak<Pool>,
    origin: Arc<str>,
}

impl Pool {
    pub(super) fn new(dialer: Dialer, limits: &Limits) -> Arc<Self> {
        let bounds = http1::Bounds::of(limits);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_header_list_size(HTTP2_HEAD_BYTES)
            .initial_stream_window_size(HTTP2_WINDOW)
            // Streams of callers that take nothing must not keep the others' from going on.
            .initial_connection_window_size(i32::MAX.unsigned_abs())
            // One HTTP/2 connection carries all callers, so a dead one must be noticed.
            .keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10));
        Arc::new(Self {
            dialer,
            bounds,
            http2,
            most: limits.connections_per_origin,
            idle: Mutex::default(),
            timers: Timers::default(),
        })
    }

    /// Sends a request to a path at an origin and waits for the head of the answer. What a connection of HTTP/2 did not even
    /// take, because it has just ended, goes out on another one.
    ///
    /// # Errors
    /// There is no connection to be had, or it ended before the answer, or the answer is none.
    pub(super) async fn send(
        self: &Arc<Self>,
        origin: &Origin,
        path: &PathAndQuery,
        mut request: Unsent,
        freshness: Freshness,
    ) -> Result<(AnswerHead, Rest), BoxError> {
        loop {
            let kept = self.take(origin.name(), freshness, clock::monotonic());
            let is_kept = kept.is_some();
            let sender = match kept {
                Some(sender) => sender,
                // Seldom, and large.
                None => Box::pin(self.dial(origin)).await?,
            };
            let mut sender = match sender {
                Sender::Http2(sender) => sender,
                Sender::Http1(connection) => {
                    let Unsent {
                        method,
                        headers,
                        body,
                    } = request;
                    let line = (&method, path, origin.host());
                    let sent = connection.exchange(line, &headers, body, self.bounds);
                    let (head, body) = sent.await?;
                    return Ok((head, self.lease(origin, body)));
                }
            };
            let mut whole = Request::new(request.body);
            *whole.method_mut() = request.method;
            *whole.headers_mut() = request.headers.to_map();
            *whole.uri_mut() = origin.uri(path.clone());
            match sender.try_send_request(whole).await {
                Ok(answer) => {
                    let (head, body) = AnswerHead::of(answer);
                    return Ok((head, Rest::Right(body)));
                }
                Err(mut error) => match error.take_message().filter(|_| is_kept) {
                    Some(unsent) => {
                        let (head, body) = unsent.into_parts();
                        request = Unsent {
                            method: head.method,
                            headers: Fields::from(head.headers),
                            body,
                        };
                    }
                    None => return Err(error.into_error().into()),
                },
            }
        }
    }

    /// The connection that was used last, if that was recently enough.
    fn take(&self, origin: &Arc<str>, freshness: Freshness, now: Instant) -> Option<Sender> {
        let longest = match freshness {
            Freshness::Kept => KEPT,
            Freshness::Fresh => FRESH,
            Freshness::New => return None,
        };
        let is_good = |since: Instant| now.saturating_duration_since(since) <= longest;
        let mut idle = self.idle();
        let kept = idle.origins.get_mut(origin)?;
        kept.http2.take_if(|(sender, _)| sender.is_closed());
        if let Some((sender, used)) = kept.http2.as_mut().filter(|(_, used)| is_good(*used)) {
            *used = now;
            return Some(Sender::Http2(sender.clone()));
        }
        while let Some((mut connection, _)) = kept.http1.pop_if(|(_, since)| is_good(*since)) {
            // What must not be sent twice is worth asking the system.
            let is_open = match freshness {
                Freshness::Fresh => connection.is_still_open(),
                Freshness::Kept | Freshness::New => connection.is_open(),
            };
            if is_open {
                return Some(Sender::Http1(connection));
            }
        }
        None
    }

    /// Opens one.
    async fn dial(self: &Arc<Self>, origin: &Origin) -> Result<Sender, BoxError> {
        let to = origin.uri(PathAndQuery::from_static("/"));
        let (stream, protocol) = self.dialer.dial(to).await?;
        if protocol == Protocol::Http1 {
            return Ok(Sender::Http1(http1::Connection::new(stream)));
        }
        let (sender, connection) = self.http2.handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %error, "A connection to a provider ended badly.");
            }
        });
        let now = clock::monotonic();
        let mut idle = self.idle();
        let kept = idle.origins.entry_ref(origin.name()).or_default();
        // In place of one that this call could not use.
        kept.http2 = Some((sender.clone(), now));
        self.sweep_later(&mut idle);
        Ok(Sender::Http2(sender))
    }

    /// Keeps the connection at once where all of the answer has come with its head, as with most; else it is left to whoever
    /// reads the rest.
    fn lease(self: &Arc<Self>, origin: &Origin, body: http1::Body) -> Rest {
        let mut lease = Lease {
            body,
            pool: Arc::downgrade(self),
            origin: Arc::clone(origin.name()),
        };
        lease.give_back();
        Rest::Left(lease)
    }

    fn keep(self: &Arc<Self>, origin: &Arc<str>, connection: http1::Connection) {
        let now = clock::monotonic();
        let mut idle = self.idle();
        let kept = idle.origins.entry_ref(origin).or_default();
        if kept.http1.len() < self.most {
            kept.http1.push((connection, now));
        }
        self.sweep_later(&mut idle);
    }

    /// Has old ones looked for, for as long as there are any.
    fn sweep_later(self: &Arc<Self>, idle: &mut Idle) {
        // At the end of the program what is dropped may be dropped by nobody's runtime.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if std::mem::replace(&mut idle.is_swept, true) {
            return;
        }
        let pool = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(SWEEP).await;
                let Some(pool) = pool.upgrade() else { return };
                let mut idle = pool.idle();
                idle.sweep(clock::monotonic());
                if idle.origins.is_empty() {
                    idle.is_swept = false;
                    return;
                }
            }
        });
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn sweep(&mut self, now: Instant) {
        let is_good = |since: Instant| now.saturating_duration_since(since) <= KEPT;
        self.origins.retain(|_, kept| {
            kept.http1
                .retain_mut(|(connection, since)| is_good(*since) && connection.is_open());
            kept.http2
                .take_if(|(sender, used)| !is_good(*used) || sender.is_closed());
            !kept.http1.is_empty() || kept.http2.is_some()
        });
    }
}

impl Lease {
    /// Keeps the connection, once all of the answer has come.
    fn give_back(&mut self) {
        give_back(&mut self.body, &self.pool, &self.origin);
    }
}

fn give_back(body: &mut http1::Body, pool: &Weak<Pool>, origin: &Arc<str>) {
    if let Some(connection) = body.connection()
        && let Some(pool) = pool.upgrade()
    {
        pool.keep(origin, connection);
    }
}

/// Nobody reads on: that ends the connection, unless little is left.
impl Drop for Lease {
    fn drop(&mut self) {
        self.give_back();
        if let (Some(body), Ok(runtime)) = (self.body.take_kept(), Handle::try_current()) {
            let (pool, origin) = (Weak::clone(&self.pool), Arc::clone(&self.origin));
            runtime.spawn(read_rest(body, pool, origin));
        }
    }
}

/// Reads the rest for nobody, and keeps its connection.
async fn read_rest(mut body: http1::Body, pool: Weak<Pool>, origin: Arc<str>) {
    let rest = async {
        let mut read = 0;
        while read <= REST_BYTES
            && body.size_hint().lower() <= REST_BYTES as u64
            && let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
        {
            read += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    let _in_time = tokio::time::timeout(REST, rest).await;
    give_back(&mut body, &pool, &origin);
}

impl HttpBody for Lease {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.give_back();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;

    use super::super::connection::Reach;
    use super::super::dial::{Socket, Stream};
    use super::super::tls::Trust;
    use super::*;

    fn pool(most: usize) -> Arc<Pool> {
        let limits = Limits {
            connections_per_origin: most,
            ..Limits::default()
        };
        let tls = Trust::new(&[]).unwrap().client_config_as(None).unwrap();
        Pool::new(
            Dialer::new(
                Reach::Anywhere,
                tls,
                limits.connect_timeout,
                limits.answer_timeout,
            ),
            &limits,
        )
    }

    /// An open connection, and its other end.
    fn connection() -> (http1::Connection, DuplexStream) {
        let (near, far) = tokio::io::duplex(64);
        let stream = Stream::new(Socket::Test(near), Duration::from_secs(1), |_| {});
        (http1::Connection::new(stream), far)
    }

    fn taken(pool: &Pool, freshness: Freshness) -> Option<http1::Connection> {
        match pool.take(&"http://a".into(), freshness, clock::monotonic())? {
            Sender::Http1(connection) => Some(connection),
            Sender::Http2(_) => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_is_used_while_it_is_fresh_enough_and_then_closed() {
        let (pool, origin) = (pool(2), "http://a".into());
        let (sender, _far) = connection();
        pool.keep(&origin, sender);
        assert!(taken(&pool, Freshness::New).is_none());
        tokio::time::advance(FRESH).await;
        let sender = taken(&pool, Freshness::Fresh).unwrap();
        assert!(taken(&pool, Freshness::Kept).is_none(), "it is in use");
        pool.keep(&origin, sender);
        tokio::time::advance(FRESH + Duration::from_millis(1)).await;
        assert!(taken(&pool, Freshness::Fresh).is_none());
        pool.keep(&origin, taken(&pool, Freshness::Kept).unwrap());
        tokio::time::sleep(KEPT - SWEEP).await;
        assert_eq!(pool.idle().origins.len(), 1);
        tokio::time::sleep(SWEEP * 2 + Duration::from_millis(1)).await;
        assert!(pool.idle().origins.is_empty());
        // Nobody looks for more, until there is something again.
        assert!(!pool.idle().is_swept);
        let (sender, _far) = connection();
        pool.keep(&origin, sender);
        assert!(pool.idle().is_swept);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_ended_is_not_used_and_no_more_are_kept_than_may_be() {
        let (pool, origin) = (pool(2), "http://a".into());
        let mut far = Vec::new();
        for _ in 0..3 {
            let (sender, other) = connection();
            pool.keep(&origin, sender);
            far.push(other);
        }
        far.remove(1);
        assert!(taken(&pool, Freshness::Kept).is_some());
        assert!(taken(&pool, Freshness::Kept).is_none());
    }
}
