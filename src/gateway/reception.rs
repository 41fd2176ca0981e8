//! Where what callers ask becomes calls, in either protocol.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;

use http::{Request, Response, Version};
use hyper::service::Service;

use super::Gateway;
use super::body::{Attended, Body};
use super::error::Problem;
use super::heads::{Reply, RequestHead};
use super::http1::{Host, Inflow, Unfit};
use super::pulse::Pulse;
use super::request_id::RequestId;
use super::route::Entrance;
use super::upload::{Incoming, Upload};

/// A call that is being answered. Boxed: a connection that waits for its next call has no room for one.
pub(super) type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Who answers what is asked on one connection.
pub(super) struct Reception(Arc<Desk>);

/// What a connection and its calls share. Its count is this connection's own: one that both threads count in would have them wait
/// for each other.
struct Desk {
    gateway: Arc<Gateway>,
    entrance: Arc<Entrance>,
    pulse: Arc<Pulse>,
}

impl Reception {
    pub(super) fn new(gateway: Arc<Gateway>, entrance: Arc<Entrance>, pulse: Arc<Pulse>) -> Self {
        Self(Arc::new(Desk {
            gateway,
            entrance,
            pulse,
        }))
    }

    fn answer<T: 'static>(
        &self,
        head: RequestHead,
        body: Option<Incoming>,
        answered: fn(Reply<Attended>) -> T,
    ) -> Answering<T> {
        let desk = Arc::clone(&self.0);
        let presence = desk.pulse.begin();
        let mut body = Upload::new(body, &head, &desk.gateway.settings.limits, &presence);
        let pulse = (head.version == Version::HTTP_2).then(|| Arc::clone(&desk.pulse));
        let span = tracing::debug_span!("call", request.id = %RequestId::of(&head.headers));
        Box::pin(async move {
            let response = {
                let mut answer = pin!(desk.gateway.answer(&desk.entrance, &head, &mut body));
                // Not `instrument`, which takes the call along: it would be here twice.
                poll_fn(|cx| span.in_scope(|| answer.as_mut().poll(cx))).await
            };
            drop((head, body));
            answered(response.map(|body| Attended::new(body, presence, pulse)))
        })
    }
}

impl Host for Reception {
    type Call = Answering<Reply<Attended>>;

    fn call(&self, head: RequestHead, body: Option<Inflow>) -> Self::Call {
        self.answer(head, body.map(Incoming::Left), |answer| answer)
    }

    fn refuse(&self, unfit: Unfit) -> Reply<Body> {
        let problem = match unfit {
            Unfit::Invalid(invalid) => Problem::Request(invalid),
            Unfit::TooLarge => Problem::HeadTooLarge,
            Unfit::TargetTooLong => Problem::TargetTooLong,
        };
        problem.response(None, &self.0.gateway.settings.pseudonym, |_, _| {})
    }
}

/// Over HTTP/2.
impl Service<Request<hyper::body::Incoming>> for Reception {
    type Response = Response<Attended>;
    type Error = Infallible;
    type Future = Answering<Result<Response<Attended>, Infallible>>;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let (head, body) = RequestHead::of(request);
        let body = Some(Incoming::Right(body));
        self.answer(head, body, |answer| Ok(answer.into()))
    }
}
