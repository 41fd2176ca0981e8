//! The client side of calls: everything that they know of reqwest is in this file and in `clients`.
//!
//! What reqwest adds that cannot be taken off: `accept: */*` where the caller sent no `Accept`. It means the same
//! (RFC 9110, section 12.5.1).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use url::{Host, Url};

use super::clients::Clients;
use super::connection::Reach;
use super::error::Problem;
use super::failure::Failure;
use super::load::{Origins, Place};
use super::tls::Trust;
use super::upload::{Progress, RequestBody};
use crate::address::is_public;
use crate::clock;
use crate::identity::Identity;
use crate::limits::Limits;

/// The body of a provider's answer. Its connection is in use until this is dropped.
pub(super) struct UpstreamBody {
    inner: reqwest::Body,
    _place: Place,
}

impl HttpBody for UpstreamBody {
    type Data = Bytes;
    type Error = reqwest::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, reqwest::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A request, ready to go.
pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    /// Which addresses its host may have.
    pub(super) reach: Reach,
    /// Who headroom is to it, where it wants to see a certificate.
    pub(super) identity: Option<Identity>,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<RequestBody>,
    pub(super) progress: Option<Arc<Progress>>,
    /// Only what may be repeated goes out on a connection that has been idle for long.
    pub(super) connection: Freshness,
}

impl Outgoing {
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
    pub(super) fn new(trust: Trust, limits: &Limits) -> Result<Self, String> {
        Ok(Self {
            clients: Clients::new(trust, *limits)?,
            origins: Origins::new(limits.connections_per_origin, limits.connect_timeout),
            answer_timeout: limits.answer_timeout,
        })
    }

    /// The clients that calls go out with.
    pub(super) const fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Sends a request, once, and waits for the head of its answer.
    pub(super) async fn send(&self, outgoing: Outgoing) -> Result<Response<UpstreamBody>, Problem> {
        let Outgoing {
            method,
            url,
            reach,
            identity,
            headers,
            body,
            progress,
            connection,
        } = outgoing;
        // Nobody resolves an address.
        if reach == Reach::Public && !url.host().is_some_and(|host| may_be_public(&host)) {
            return Err(Problem::Upstream(Failure::Prohibited));
        }
        let Some(place) = self.origins.enter(&url).await else {
            return Err(Problem::Upstream(Failure::ConnectionLimit));
        };
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(reqwest::Body::wrap);
        let pools = self.clients.of(&(reach, identity)).map_err(|error| {
            tracing::error!("A call has no client to go out with: {error}");
            Problem::Upstream(Failure::Other)
        })?;
        let client = pools.client(connection);
        match self
            .head_in_time(client.execute(request), progress.as_deref())
            .await
        {
            Ok(answer) => Ok(Response::from(answer).map(|inner| UpstreamBody {
                inner,
                _place: place,
            })),
            Err(problem) => {
                let fault = progress.and_then(|progress| progress.fault());
                Err(fault.unwrap_or(problem))
            }
        }
    }

    /// The time for the head starts anew with each piece of the request that the provider takes: an upload may be long.
    async fn head_in_time(
        &self,
        sending: impl Future<Output = reqwest::Result<reqwest::Response>>,
        progress: Option<&Progress>,
    ) -> Result<reqwest::Response, Problem> {
        let mut deadline = clock::monotonic() + self.answer_timeout;
        tokio::pin!(sending);
        loop {
            match tokio::time::timeout_at(deadline, &mut sending).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => {
                    let failure = Failure::of(&error);
                    tracing::debug!(error = ?error.without_url(), "The provider could not be called.");
                    return Err(Problem::Upstream(failure));
                }
                Err(_) => match progress.map(|progress| progress.last() + self.answer_timeout) {
                    Some(later) if later > deadline => deadline = later,
                    _ if progress.is_some_and(Progress::is_waiting) => {
                        return Err(Problem::SlowRequest);
                    }
                    _ => return Err(Problem::Upstream(Failure::ResponseTimeout)),
                },
            }
        }
    }
}

/// Of a name its resolver will tell.
fn may_be_public(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(_) => true,
        Host::Ipv4(address) => is_public((*address).into()),
        Host::Ipv6(address) => is_public((*address).into()),
    }
}
