//! The request path on one screen.

use std::pin::pin;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::Body as _;

use super::admission::Visitor;
use super::body::{AnswerBody, Body};
use super::coding::Coding;
use super::error::Problem;
use super::failure::Failure;
use super::forward::{self, Received};
use super::grant::Grant;
use super::heads::{Reply, RequestHead};
use super::local::Local;
use super::memo::{self, Memo};
use super::present::Present;
use super::rewritten::{self, RewrittenBody};
use super::route::{self, Destination, Entrance, Route};
use super::upload::Upload;
use super::upstream::Repetition;
use super::{Catalogue, Gateway, door, keys, links, preferences};
use crate::adapter::{Answer, BODY_LIMIT, Call, REQUEST_BODY_LIMIT};
use crate::history::record::Outcome;
use crate::ledger::tell;
use crate::ledger::ticket::Ticket;
use crate::rewrite::Rewriter;
use crate::time::Now;
use crate::translate::{documented, translate};
use crate::{charge, clock, emit};

/// So much of the body of a call that waits is read, in bytes: calls with longer ones wait on after their callers are gone.
const WAITING_BODY: usize = 64 * 1024;

impl Gateway {
    /// Answers one request. What it is asked with stays where it is, and is not moved from one part of the call to the next.
    pub(super) async fn answer(
        &self,
        entrance: &Entrance,
        head: &RequestHead,
        body: &mut Upload,
    ) -> Reply<Body> {
        if let Err(problem) = route::measure(head, &self.settings.limits) {
            return self.refuse(head, None, &problem, None);
        }
        let local = self.locals.of(entrance.worker);
        let catalogue = local.catalogue();
        let route = match route::route(head, entrance, &**catalogue) {
            Ok(Destination::Own) => {
                let pseudonym = &self.settings.pseudonym;
                let page = self.pages.answer(head, entrance, pseudonym);
                return Box::pin(page).await;
            }
            Ok(Destination::Provider(route)) => route,
            Err(problem) => return self.refuse(head, None, &problem, None),
        };
        let tracer = self.settings.tracer.as_ref();
        let mut memo = Memo::new(&local.history, tracer, head, &route);
        let house = (local, &**catalogue);
        let answer = self.proxy(head, body, &route, entrance, house, &mut memo);
        let response = match answer.await {
            Ok(response) => response,
            Err(problem) => self.refuse(head, Some(&route), &problem, None),
        };
        // Nothing, if the body has taken it along.
        memo.answered(response.status, response.body.size_hint().lower());
        response
    }

    /// One call to a provider: check → admit → forward → translate → observe → emit → stream.
    async fn proxy(
        &self,
        head: &RequestHead,
        body: &mut Upload,
        route: &Route<'_>,
        entrance: &Entrance,
        (local, catalogue): (&Local, &dyn Catalogue),
        memo: &mut Memo,
    ) -> Result<Reply<Body>, Problem> {
        let connection = &*route.connection;
        let limits = &self.settings.limits;
        let place = self
            .load
            .enter(entrance.worker)
            .ok_or(Problem::Overloaded)?;
        route::check(head, route, &self.settings.pseudonym)?;
        if body.exact() > Some(limits.body_bytes.unwrap_or(u64::MAX)) {
            return Err(Problem::BodyTooLong);
        }
        let consumers = catalogue.consumers();
        let visitor = Visitor::new(head, route, consumers, self.settings.secret)?;
        memo.by(visitor.who(), head, route);
        visitor.check(head, route)?;
        keys::check(head, route, consumers)?;
        if connection.vouches() && consumers.is_empty() {
            door::check_browser(head, route.host, entrance, catalogue.admin())?;
        }
        let mut call = call(head, route);
        let beginning;
        if charge::needs_request_body(&connection.adapter, &call) {
            let begun = clock::steady();
            let deadline = clock::monotonic() + self.settings.read_ahead_timeout;
            beginning = body.read_ahead(REQUEST_BODY_LIMIT, deadline).await;
            memo.aside(begun);
            call.body = Some(&beginning);
        }
        // In a block of its own: what is not needed any more has no place in the call while the provider is waited for.
        let (mut ticket, wait) = {
            let admitted = {
                let admission = pin!(self.admit(head, route, &call, &visitor, memo));
                body.read_during(admission, WAITING_BODY).await
            };
            let admitted = match admitted {
                Ok(Ok(admitted)) => admitted,
                Ok(Err(refusal)) => return Ok(*refusal),
                Err(problem) => {
                    memo.unclear();
                    return Err(problem);
                }
            };
            memo.sends(admitted.spent, body.counter());
            (admitted.ticket, admitted.wait)
        };
        let with = (&*memo, local, entrance.worker, visitor.has_key);
        let mut received = match self.forward(head, body, route, with, &mut ticket).await {
            Ok(received) => received,
            Err(problem) => {
                if problem.is_before_provider() {
                    ticket.unsent(clock::moment());
                    memo.unsent();
                }
                return Ok(self.refuse(head, Some(route), &problem, Some(&ticket)));
            }
        };
        // The clock is read here, where the provider's numbers are new.
        let moment = clock::moment();
        let now = moment.wall();
        let mut body = received
            .body
            .take()
            .map(|body| AnswerBody::new(body, limits.silence_timeout, place));
        memo.received(received.status, moment.steady);
        let read = match self
            .read_ahead(route, &call, &received, body.as_deref_mut(), (memo, moment))
            .await
        {
            Ok(read) => read,
            Err(problem) => return Ok(self.refuse(head, Some(route), &problem, Some(&ticket))),
        };
        let answer = Answer {
            body: read.as_deref(),
            ..received.answer()
        };
        let adapter = &*connection.adapter;
        let mut translation = translate(adapter, &connection.terms, &call, &answer, now);
        if let Some(read) = answer.body {
            self.learn(route, &call, received.status, read, moment);
        }
        let random = if translation.exhausted {
            clock::random()
        } else {
            0
        };
        let states = ticket.answered(adapter, &translation, random, moment);
        tell::complete(&mut translation, adapter, &states, moment);
        memo.translated(&received, &translation);
        memo.costs(&connection.account, &translation);
        // Links come before the standard headers: a native field that these move away is kept as it was.
        if received.present.has(Present::LINK) {
            links::rewrite(&mut received.headers, &connection.origin, || route.mount());
        }
        emit::write_headers(
            &mut received.headers,
            &translation,
            received.status,
            &connection.style,
        );
        tracing::debug!(
            connection = connection.name,
            method = memo::registered(&head.method),
            upstream.status = received.status.as_u16(),
            notes = ?unquoted(&translation.notes),
            "A call was answered."
        );
        if let Some(wait) = wait {
            preferences::announce_wait(&mut received.headers, wait);
        }
        memo.hands_over();
        // What it took is given back with the last byte of the answer.
        match &mut body {
            Some(body) => body.hold(ticket, memo.take()),
            None => memo.ends(Outcome::Complete),
        }
        let body = stream(route, &mut received, body);
        Ok(received.into_reply(translation.status, body))
    }

    /// Remembers what an answer teaches of partitions.
    fn learn(&self, route: &Route<'_>, call: &Call<'_>, status: StatusCode, body: &[u8], now: Now) {
        let (adapter, account) = (&route.connection.adapter, &route.connection.account);
        if !charge::may_teach(adapter, call, status) {
            return;
        }
        for lesson in charge::lessons(adapter, call, body) {
            self.ledger.learn(account, &lesson, now);
        }
    }

    /// Sends the call, with the connection's own credential where it has one. What is safe to repeat is repeated once when the
    /// connection that it went out on turned out to be dead, and what has no body when the provider says that it did not look
    /// at it. What is safe goes once more with a new token, when a token that was good before is not any more. Nothing else is
    /// ever sent twice.
    async fn forward(
        &self,
        head: &RequestHead,
        body: &mut Upload,
        route: &Route<'_>,
        (memo, local, worker, has_key): (&Memo, &Local, usize, bool),
        ticket: &mut Ticket,
    ) -> Result<Received, Problem> {
        let mut grant = route.connection.access.grant().await?;
        let outgoing = |body, grant: &Grant| {
            let credential = (grant.credential(), has_key);
            let mut outgoing = forward::outgoing(head, body, route, credential, &local.via)?;
            if let Some(spans) = memo.spans() {
                spans.write(&mut outgoing.headers);
            }
            Ok::<_, Problem>(outgoing)
        };
        let first = outgoing(Some(body.take()), &grant)?;
        let repetition = first.repetition();
        let mut answer = self.upstream.send(first, worker).await;
        if let Err(Problem::Upstream(failure)) = &answer
            && repetition.fits(*failure)
        {
            let again = outgoing(None, &grant)?.on_new_connection();
            if *failure != Failure::NotProcessed {
                ticket.repeated(clock::moment());
            }
            // Seldom, and large.
            answer = Box::pin(self.upstream.send(again, worker)).await;
        }
        let mut answer = answer?;
        let is_repeatable = repetition == Repetition::Safe;
        if grant.is_renewed(answer.0.status, is_repeatable).await {
            ticket.repeated(clock::moment());
            let again = outgoing(None, &grant)?;
            // Its place at the origin may be the only one.
            drop(answer);
            answer = Box::pin(self.upstream.send(again, worker)).await?;
            grant.answered(answer.0.status);
        }
        let mut received = forward::received(&head.method, answer, &local.via)?;
        if let Some(credential) = grant.credential() {
            links::forget(&mut received.headers, credential);
        }
        Ok(received)
    }

    /// The body, where the adapter needs it to understand the answer and it is short, plain and quick. If it breaks off
    /// here, the call has failed: nothing has been sent to the caller yet.
    async fn read_ahead(
        &self,
        route: &Route<'_>,
        call: &Call<'_>,
        received: &Received,
        body: Option<&mut AnswerBody>,
        (memo, begun): (&mut Memo, Now),
    ) -> Result<Option<Bytes>, Problem> {
        let adapter = &route.connection.adapter;
        let wanted = adapter.reads_body(call, &received.answer())
            || charge::may_teach(adapter, call, received.status);
        let Some(body) = body.filter(|_| wanted) else {
            return Ok(None);
        };
        let coding = received.coding();
        if coding == Coding::Other {
            return Ok(None);
        }
        let deadline = clock::monotonic() + self.settings.read_ahead_timeout;
        let read = body.read_ahead(BODY_LIMIT, deadline).await;
        memo.aside(begun.steady);
        match read {
            Ok(read) => Ok(read.and_then(|read| coding.undo(read, BODY_LIMIT))),
            Err(error) => {
                tracing::debug!(error = %error, "The answer broke off while it was read ahead.");
                Err(Problem::Upstream(Failure::of_body(&*error)))
            }
        }
    }

    /// An answer of headroom's own, with what is known of the connection's limits: what the meters of the call say, and
    /// for a call that never had any, what is documented.
    pub(super) fn refuse(
        &self,
        head: &RequestHead,
        route: Option<&Route<'_>>,
        problem: &Problem,
        ticket: Option<&Ticket>,
    ) -> Reply<Body> {
        let name = route.map(|route| route.connection.name.as_str());
        tracing::debug!(
            connection = name,
            code = problem.code(),
            "A call was refused or failed."
        );
        let mut response = problem.response(name, &self.settings.pseudonym, |headers, status| {
            if let Some(route) = route {
                let connection = &*route.connection;
                let (adapter, now) = (&*connection.adapter, clock::moment());
                let call = call(head, route);
                let mut known = documented(adapter, &connection.terms, &call, now.wall());
                if let Some(ticket) = ticket {
                    tell::complete(&mut known, adapter, &ticket.states(now), now);
                }
                emit::write_headers(headers, &known, status, &connection.style);
            }
        });
        if head.method == Method::HEAD {
            response.body = Body::Empty;
        }
        response
    }
}

/// What notes are about, without the values that they quote: a provider's header may be anything, and the log is read by others.
fn unquoted(notes: &[String]) -> Vec<&str> {
    let before = |note: &str| note.find('"').unwrap_or(note.len());
    let notes = notes.iter();
    notes
        .filter_map(|note| Some(note.get(..before(note))?.trim_end_matches([' ', ':'])))
        .collect()
}

/// The body as the caller gets it.
fn stream(route: &Route<'_>, received: &mut Received, body: Option<Box<AnswerBody>>) -> Body {
    let connection = &*route.connection;
    if !(connection.adapter.rewrite_urls && received.is_rewritable()) {
        return body.map_or(Body::Empty, Body::Answer);
    }
    rewritten::strip_byte_fields(&mut received.headers);
    let rewriter = Rewriter::new(&connection.origin.base_url(), &route.mount());
    body.map_or(Body::Empty, |body| {
        Body::Rewritten(Box::new(RewrittenBody::new(body, rewriter.stream())))
    })
}

/// What the translator is told of the call.
fn call<'a>(head: &'a RequestHead, route: &'a Route<'_>) -> Call<'a> {
    Call {
        method: &head.method,
        path: Some(route.path()),
        headers: Some(&head.headers),
        body: None,
    }
}
