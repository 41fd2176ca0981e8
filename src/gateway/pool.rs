//! Connections to providers that are kept for the next call, of one kind and one worker, by origin.
//!
//! hyper has the connections; what it leaves to others is here: which of them a call goes out on, and for how long an idle one is
//! kept. hyper-util's client does the same for all kinds of programs, with a task, a race and three lookups for each call;
//! PERFORMANCE.md says what that costs. A call that finds no connection opens one, so there are never more than calls at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hashbrown::HashMap;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tower_service::Service as _;

use super::dial::{BoxError, Dialer};
use super::upstream::{Freshness, Sent};
use crate::clock;
use crate::limits::Limits;
use crate::origin::Origin;

/// How long a connection counts as fresh after its last use. Servers that close idle ones wait for longer.
const FRESH: Duration = Duration::from_secs(2);
/// Below the 60 s after which common servers close, so that headroom mostly closes first.
const KEPT: Duration = Duration::from_secs(50);
/// What is left of an answer that nobody reads may take so long to come.
const REST: Duration = Duration::from_millis(100);
/// Connections that nobody has used for too long are looked for so often.
const SWEEP: Duration = Duration::from_secs(5);
/// The longest head of a provider's answer in HTTP/2. h2's own 16 KiB are less than what passes in HTTP/1.1.
const HTTP2_HEAD_BYTES: u32 = 256 * 1024;
/// What an HTTP/2 provider may send ahead of each answer, in bytes: so much waits for a caller that takes nothing.
const HTTP2_WINDOW: u32 = 256 * 1024;

/// All that are kept.
pub(super) struct Pool {
    dialer: Dialer,
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    /// So many idle ones of an origin are kept.
    most: usize,
    idle: Mutex<Idle>,
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
    http1: Vec<(Line, Instant)>,
    /// Carries many calls at a time.
    http2: Option<(http2::SendRequest<Sent>, Instant)>,
}

enum Sender {
    Http1(Line),
    Http2(http2::SendRequest<Sent>),
}

/// A connection of HTTP/1.1.
struct Line {
    sender: http1::SendRequest<Sent>,
    /// Who drives it.
    driver: AbortHandle,
}

/// A connection whose answer has not come to its end. It is kept for the next call when it has.
pub(super) struct Lease {
    /// Only gone while this is dropped.
    line: Option<Line>,
    pool: Weak<Pool>,
    origin: Arc<str>,
}

impl Pool {
    pub(super) fn new(dialer: Dialer, limits: &Limits) -> Arc<Self> {
        let mut http1 = http1::Builder::new();
        http1
            .max_headers(limits.header_fields)
            // What waits for a caller that takes nothing: a long answer fills this, and no more.
            .max_buf_size(limits.header_bytes.saturating_mul(2));
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
            http1,
            http2,
            most: limits.connections_per_origin,
            idle: Mutex::default(),
        })
    }

    /// Sends a request to a path at an origin and waits for the head of the answer. What an idle connection did not even take,
    /// because it has just ended, goes out on another one.
    ///
    /// # Errors
    /// There is no connection to be had, or it ended before the answer, or the answer is none.
    pub(super) async fn send(
        self: &Arc<Self>,
        origin: &Origin,
        path: &PathAndQuery,
        mut request: Request<Sent>,
        freshness: Freshness,
    ) -> Result<(Response<Incoming>, Option<Lease>), BoxError> {
        loop {
            let kept = self.take(origin.name(), freshness, clock::monotonic());
            let is_kept = kept.is_some();
            let sender = match kept {
                Some(sender) => sender,
                // Seldom, and large.
                None => Box::pin(self.dial(origin)).await?,
            };
            let sent = match sender {
                Sender::Http1(mut line) => {
                    *request.uri_mut() = Uri::from(path.clone());
                    request.headers_mut().insert(HOST, origin.host().clone());
                    let cut = Cut(Some(line.driver.clone()));
                    let sent = line.sender.try_send_request(request).await;
                    cut.spare();
                    match sent {
                        Ok(answer) => return Ok((answer, self.lease(origin, line))),
                        Err(error) => error,
                    }
                }
                Sender::Http2(mut sender) => {
                    *request.uri_mut() = origin.uri(path.clone());
                    // What an attempt in HTTP/1.1 has left: `:authority` says it.
                    request.headers_mut().remove(HOST);
                    match sender.try_send_request(request).await {
                        Ok(answer) => return Ok((answer, None)),
                        Err(error) => error,
                    }
                }
            };
            let mut error = sent;
            match error.take_message().filter(|_| is_kept) {
                Some(unsent) => request = unsent,
                None => return Err(error.into_error().into()),
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
        while let Some((line, _)) = kept.http1.pop_if(|(_, since)| is_good(*since)) {
            if line.sender.is_ready() {
                return Some(Sender::Http1(line));
            }
        }
        None
    }

    /// Opens one.
    async fn dial(self: &Arc<Self>, origin: &Origin) -> Result<Sender, BoxError> {
        let mut dialer = self.dialer.clone();
        std::future::poll_fn(|cx| dialer.poll_ready(cx)).await?;
        let to = origin.uri(PathAndQuery::from_static("/"));
        let stream = dialer.call(to).await?;
        if stream.connected().is_negotiated_h2() {
            let (sender, connection) = self.http2.handshake(stream).await?;
            drive(connection);
            let now = clock::monotonic();
            let mut idle = self.idle();
            let kept = idle.origins.entry_ref(origin.name()).or_default();
            // In place of one that this call could not use.
            kept.http2 = Some((sender.clone(), now));
            self.sweep_later(&mut idle);
            return Ok(Sender::Http2(sender));
        }
        let (sender, connection) = self.http1.handshake(stream).await?;
        let driver = drive(connection);
        Ok(Sender::Http1(Line { sender, driver }))
    }

    /// Keeps the connection at once where all of the answer has come with its head, as with most; else it is left to whoever
    /// reads the rest.
    fn lease(self: &Arc<Self>, origin: &Origin, line: Line) -> Option<Lease> {
        if line.sender.is_ready() {
            self.keep(origin.name(), line);
            return None;
        }
        Some(Lease {
            line: Some(line),
            pool: Arc::downgrade(self),
            origin: Arc::clone(origin.name()),
        })
    }

    fn keep(self: &Arc<Self>, origin: &Arc<str>, line: Line) {
        let now = clock::monotonic();
        let mut idle = self.idle();
        let kept = idle.origins.entry_ref(origin).or_default();
        if kept.http1.len() < self.most {
            kept.http1.push((line, now));
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
                .retain(|(line, since)| is_good(*since) && line.sender.is_ready());
            kept.http2
                .take_if(|(sender, used)| !is_good(*used) || sender.is_closed());
            !kept.http1.is_empty() || kept.http2.is_some()
        });
    }
}

/// A connection does what it does while somebody drives it.
fn drive(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> AbortHandle {
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %error, "A connection to a provider ended badly.");
        }
    });
    driver.abort_handle()
}

/// Ends a connection whose call nobody waits for any more. hyper would end it too, but not before the provider has taken what
/// waits to be sent.
struct Cut(Option<AbortHandle>);

impl Cut {
    fn spare(mut self) {
        self.0 = None;
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Some(driver) = &self.0 {
            driver.abort();
        }
    }
}

/// The answer has come to its end, or nobody reads on: then hyper ends the connection, unless little was left of it.
impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(mut line), Some(pool)) = (self.line.take(), self.pool.upgrade()) else {
            return;
        };
        if line.sender.is_closed() {
            return;
        }
        if line.sender.is_ready() {
            pool.keep(&self.origin, line);
        } else if let Ok(runtime) = Handle::try_current() {
            let (pool, origin) = (Arc::downgrade(&pool), Arc::clone(&self.origin));
            runtime.spawn(async move {
                let cut = Cut(Some(line.driver.clone()));
                let ready = tokio::time::timeout(REST, line.sender.ready()).await;
                let pool = pool.upgrade().filter(|_| matches!(ready, Ok(Ok(()))));
                if let Some(pool) = pool {
                    cut.spare();
                    pool.keep(&origin, line);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper_util::rt::TokioIo;
    use tokio::io::DuplexStream;

    use super::super::connection::Reach;
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
    async fn connection(pool: &Pool) -> (Line, DuplexStream) {
        let (near, far) = tokio::io::duplex(64);
        let (mut sender, connection) = pool.http1.handshake(TokioIo::new(near)).await.unwrap();
        let driver = drive(connection);
        sender.ready().await.unwrap();
        (Line { sender, driver }, far)
    }

    fn taken(pool: &Pool, freshness: Freshness) -> Option<Line> {
        match pool.take(&"http://a".into(), freshness, clock::monotonic())? {
            Sender::Http1(line) => Some(line),
            Sender::Http2(_) => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_kept_connection_is_used_while_it_is_fresh_enough_and_then_closed() {
        let (pool, origin) = (pool(2), "http://a".into());
        let (sender, _far) = connection(&pool).await;
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
        let (sender, _far) = connection(&pool).await;
        pool.keep(&origin, sender);
        assert!(pool.idle().is_swept);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_ended_is_not_used_and_no_more_are_kept_than_may_be() {
        let (pool, origin) = (pool(2), "http://a".into());
        let mut far = Vec::new();
        for _ in 0..3 {
            let (sender, other) = connection(&pool).await;
            pool.keep(&origin, sender);
            far.push(other);
        }
        far.remove(1);
        // hyper hears of it.
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(taken(&pool, Freshness::Kept).is_some());
        assert!(taken(&pool, Freshness::Kept).is_none());
    }
}
