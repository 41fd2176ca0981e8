//! The client side of calls.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::uri::PathAndQuery;
use http_body::{Body as HttpBody, Frame, SizeHint};

use super::clients::Clients;
use super::connection::Reach;
use super::dial::BoxError;
use super::error::Problem;
use super::failure::Failure;
use super::heads::AnswerHead;
use super::linger::Fault;
use super::load::{Origins, Place};
use super::pool::Rest;
use super::timers::Timers;
use super::tls::Trust;
use super::upload::{Progress, RequestBody};
use crate::address::is_public;
use crate::clock;
use crate::fields::Fields;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::origin::Origin;

/// The body of a provider's answer. Its connection is in use until this is dropped.
pub(super) struct UpstreamBody {
    inner: Rest,
    _place: Place,
}

impl HttpBody for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a request, where it has one.
/// Boxed: each connection to a provider has room for some of them.
pub(super) struct Sent(Option<Box<RequestBody>>);

/// A request without where it goes.
pub(super) struct Unsent {
    pub(super) method: Method,
    pub(super) headers: Fields,
    pub(super) body: Sent,
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match &mut self.0 {
            Some(body) => Pin::new(&mut **body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let none = SizeHint::with_exact(0);
        self.0.as_ref().map_or(none, |body| body.size_hint())
    }
}

/// A request, ready to go.
pub(super) struct Outgoing<'a> {
    pub(super) method: Method,
    pub(super) path: PathAndQuery,
    /// The origin that it goes to.
    pub(super) origin: &'a Origin,
    /// Which addresses its host may have.
    pub(super) reach: Reach,
    /// Who headroom is to it, where it wants to see a certificate.
    pub(super) identity: Option<&'a Identity>,
    pub(super) headers: Fields,
    pub(super) body: Option<Box<RequestBody>>,
    pub(super) progress: Option<Arc<Progress>>,
    /// Only what may be repeated goes out on a connection that has been idle for long.
    pub(super) connection: Freshness,
}

impl Outgoing<'_> {
    /// When it is safe to send this again.
    pub(super) fn repetition(&self) -> Repetition {
        match (&self.body, self.connection) {
            (Some(_), _) => Repetition::Never,
            (None, Freshness::Kept) => Repetition::Safe,
            (None, _) => Repetition::NotProcessed,
        }
    }

    /// Not on a connection that may be dead.
    pub(super) fn on_new_connection(self) -> Self {
        Self {
            connection: Freshness::New,
            ..self
        }
    }
}

/// When a request may be sent a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repetition {
    /// Its body is gone.
    Never,
    /// When the provider said that it did not look at the first one.
    NotProcessed,
    /// Also when nobody knows what became of the first one.
    Safe,
}

impl Repetition {
    pub(super) fn fits(self, failure: Failure) -> bool {
        match failure {
            Failure::NotProcessed => self != Self::Never,
            Failure::ConnectionTerminated => self == Self::Safe,
            _ => false,
        }
    }
}

/// Which of the kept connections a request may go out on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Any. It may turn out to be dead, and then nobody knows whether the provider saw the request.
    Kept,
    /// One that was in use a moment ago, or a new one.
    Fresh,
    /// A new one, for what has met a dead one already: when a provider starts anew, all that were kept are dead.
    New,
}

/// The connections to all providers.
pub(super) struct Upstream {
    clients: Clients,
    origins: Origins,
    answer_timeout: Duration,
}

impl Upstream {
    pub(super) fn new(trust: Trust, limits: &Limits, workers: usize) -> Result<Self, String> {
        Ok(Self {
            clients: Clients::new(trust, *limits, workers)?,
            origins: Origins::new(limits.connections_per_origin, limits.connect_timeout),
            answer_timeout: limits.answer_timeout,
        })
    }

    /// The clients that calls go out with.
    pub(super) const fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Sends a request, once, and waits for the head of its answer. `worker` is the number of the thread that this is.
    pub(super) async fn send(
        &self,
        outgoing: Outgoing<'_>,
        worker: usize,
    ) -> Result<(AnswerHead, UpstreamBody), Problem> {
        let Outgoing {
            method,
            path,
            origin,
            reach,
            identity,
            headers,
            body,
            progress,
            connection,
        } = outgoing;
        // Nobody resolves an address.
        let is_private = |address| !is_public(address);
        if reach == Reach::Public && origin.address().is_some_and(is_private) {
            return Err(Problem::Upstream(Failure::Prohibited));
        }
        let Some(place) = self.origins.enter(origin.name()).await else {
            return Err(Problem::Upstream(Failure::ConnectionLimit));
        };
        let request = Unsent {
            method,
            headers,
            body: Sent(body),
        };
        let pool = self.clients.of(reach, identity, worker).map_err(|error| {
            tracing::error!("A call has no client to go out with: {error}");
            Problem::Upstream(Failure::Other)
        })?;
        let sending = pin!(pool.send(origin, &path, request, connection));
        let head = self.head_in_time(sending, progress.as_deref(), &pool.timers);
        match head.await {
            Ok((head, inner)) => {
                let _place = place;
                Ok((head, UpstreamBody { inner, _place }))
            }
            Err(problem) => {
                let fault = progress.and_then(|progress| progress.fault());
                Err(fault.unwrap_or(problem))
            }
        }
    }

    /// The time for the head starts anew with each piece of the request that the provider takes: an upload may be long.
    async fn head_in_time(
        &self,
        mut sending: Pin<&mut impl Future<Output = Result<(AnswerHead, Rest), BoxError>>>,
        progress: Option<&Progress>,
        timers: &Timers,
    ) -> Result<(AnswerHead, Rest), Problem> {
        let mut deadline = timers.until(clock::monotonic() + self.answer_timeout);
        loop {
            match deadline.limit(sending.as_mut()).await {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(error)) => {
                    let failure = Failure::of(&*error);
                    tracing::debug!(error = ?error, "The provider could not be called.");
                    return Err(Problem::Upstream(failure));
                }
                None => match progress.map(|progress| progress.last() + self.answer_timeout) {
                    Some(later) if later > deadline.at() => deadline.put_off(later),
                    _ if progress.is_some_and(Progress::is_waiting) => {
                        return Err(Problem::SlowRequest);
                    }
                    _ => return Err(Problem::Upstream(Failure::ResponseTimeout)),
                },
            }
        }
    }
}
