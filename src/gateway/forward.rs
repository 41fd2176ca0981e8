//! The two heads as they pass: what a request becomes for the provider, and what an answer becomes for the caller.

use std::borrow::Cow;

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TE, TRANSFER_ENCODING,
};
use http::{HeaderValue, Method, StatusCode};
use http_body::Body as _;
use hyper::ext::ReasonPhrase;

use super::body::Body;
use super::coding::{self, Coding};
use super::error::Problem;
use super::failure::Failure;
use super::fields::Via;
use super::heads::{AnswerHead, Reply, RequestHead};
use super::http1::has_no_body;
use super::present::Present;
use super::route::Route;
use super::upload::{RequestBody, Upload};
use super::upstream::{Freshness, Outgoing, UpstreamBody};
use super::{fields, keys, preferences};
use crate::adapter::Answer;
use crate::credential::Credential;
use crate::fields::{Fields, Value};

/// Fields that headroom adds to a request at the most, and what they usually take, in bytes.
const ADDED_FIELDS: usize = 8;
const ADDED_BYTES: usize = 256;

/// The request for the provider. Without a body it can be made again from the same head.
pub(super) fn outgoing<'a>(
    head: &RequestHead,
    body: Option<Upload>,
    route: &'a Route<'_>,
    (credential, has_key): (Option<&Credential>, bool),
    via: &Via,
) -> Result<Outgoing<'a>, Problem> {
    let origin = &route.connection.origin;
    let place = &route.connection.adapter.credential;
    let target = keys::strip_target(&route.target, place);
    let target = match credential {
        Some(credential) => credential.put_into_target(&target, place),
        None => Cow::Borrowed(&*target),
    };
    let path = origin.path(&target).ok_or(Problem::Target)?;
    let body = body.filter(|body| !body.is_empty());

    let mut headers = head.headers.with_room(ADDED_FIELDS, ADDED_BYTES);
    let present = head.present;
    let takes_trailers = present.has(Present::TE) && fields::has_token(&headers, &TE, "trailers");
    fields::strip_hop_by_hop(&mut headers, present);
    if present.has(Present::FORWARDED) {
        fields::strip_forwarded(&mut headers);
    }
    if present.has(Present::COOKIE) {
        fields::join_cookies(&mut headers);
    }
    if present.has(Present::MAX_FORWARDS) {
        fields::count_forward(&head.method, &mut headers);
    }
    // The client writes the provider's own; `100-continue` was for headroom, which asks for the body when it needs it.
    headers.remove(HOST);
    if present.has(Present::EXPECT) {
        headers.remove(EXPECT);
    }
    if has_key {
        keys::strip(&mut headers, place);
    } else if present.has(Present::HEADROOM_KEY) {
        headers.remove(keys::HEADROOM_KEY);
    }
    if let Some(credential) = credential {
        credential.put_into(&mut headers, place);
    }
    if present.has(Present::PREFER) && preferences::wait(&headers, u64::MAX).is_some() {
        preferences::strip_wait(&mut headers);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        if origin.is_plain() {
            // HTTP/1.1 wants TE named; HTTP/2, which TLS may bring, knows no Connection.
            headers.insert(CONNECTION, HeaderValue::from_static("te"));
        }
    }
    if route.connection.adapter.rewrite_urls {
        // URLs cannot be rewritten in what is compressed.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    } else if route.connection.adapter.looks_at_bodies() {
        coding::accept_readable(&mut headers);
    }
    frame(&mut headers, present, &head.method, body.as_ref());
    via.append(&mut headers, head.version);

    let repeatable = body.is_none() && is_safe(&head.method);
    let (body, progress) = body.map(RequestBody::new).unzip();
    Ok(Outgoing {
        method: head.method.clone(),
        path,
        origin,
        reach: route.connection.reach,
        identity: route.connection.identity.as_ref(),
        headers,
        body,
        progress,
        connection: if repeatable {
            Freshness::Kept
        } else {
            Freshness::Fresh
        },
    })
}

/// Framing is written anew from what was received, so that it cannot contradict it.
fn frame(headers: &mut Fields, present: Present, method: &Method, body: Option<&Upload>) {
    if present.has(Present::CONTENT_LENGTH) {
        headers.remove(CONTENT_LENGTH);
    }
    match body.map(Upload::exact) {
        Some(Some(length)) => {
            headers.insert_number(&CONTENT_LENGTH, length);
        }
        // Without this the client would drop the body of a GET, whose length it does not know, in silence.
        Some(None) => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        // Providers answer 411 to a POST that does not say that it is empty.
        None if matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {
            headers.insert_number(&CONTENT_LENGTH, 0);
        }
        None => {}
    }
}

/// Safe in the sense of RFC 9110, section 9.2.1. DELETE could be repeated too, but its second answer is another one.
fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// A provider's answer, fit for the caller: its head, and its body where it can have one.
pub(super) struct Received {
    pub(super) status: StatusCode,
    pub(super) headers: Fields,
    pub(super) reason: Option<ReasonPhrase>,
    pub(super) body: Option<UpstreamBody>,
    /// Which fields it came with.
    pub(super) present: Present,
}

impl Received {
    /// The answer to the caller, with another status where translation found a better one.
    pub(super) fn into_reply(self, status: Option<StatusCode>, body: Body) -> Reply<Body> {
        let status = status.unwrap_or(self.status);
        Reply {
            status,
            // A provider's own words for its status, unless the status is not its own.
            reason: self.reason.filter(|_| status == self.status),
            headers: self.headers,
            body,
        }
    }

    /// Its head, as the translator takes it.
    pub(super) const fn answer(&self) -> Answer<'_> {
        Answer {
            status: self.status,
            headers: &self.headers,
            body: None,
        }
    }

    /// The media type without parameters, as it was sent.
    pub(super) fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE)?.text()
    }

    /// URLs in the body can be rewritten: it is JSON, plain, and whole.
    pub(super) fn is_rewritable(&self) -> bool {
        let media_type = self
            .content_type()
            .and_then(|value| value.split(';').next())
            .unwrap_or_default();
        let media_type = media_type.trim().to_ascii_lowercase();
        // GitHub says `+json` of files and pages too: application/vnd.github.raw+json.
        let is_file = |facet: &str| matches!(facet, "raw" | "html" | "diff" | "patch" | "sha");
        let is_json = media_type == "application/json"
            || media_type
                .strip_suffix("+json")
                .is_some_and(|rest| !rest.split('.').any(is_file));
        is_json && self.status != StatusCode::PARTIAL_CONTENT && self.coding() == Coding::Identity
            // What is revalidated was rewritten when it came: its head has to say the same of it.
            || self.status == StatusCode::NOT_MODIFIED
    }

    /// What the body is coded in.
    pub(super) fn coding(&self) -> Coding {
        Coding::of(&self.headers)
    }
}

/// It says this length, once and as it is written: not `+5`, `05` or `5, 5`.
fn says(headers: &Fields, length: u64) -> bool {
    let mut lines = headers.get_all(CONTENT_LENGTH);
    let line = lines.next().map(Value::as_bytes);
    let written = itoa::Buffer::new().format(length).as_bytes() == line.unwrap_or_default();
    written && lines.next().is_none()
}

/// Takes an answer apart.
pub(super) fn received(
    method: &Method,
    (mut head, body): (AnswerHead, UpstreamBody),
    via: &Via,
) -> Result<Received, Problem> {
    let (headers, present) = (&mut head.headers, head.present);
    let is_coded = present.has(Present::TRANSFER_ENCODING);
    let codings = || fields::tokens(headers, &TRANSFER_ENCODING);
    // Nothing is coded twice in chunks (RFC 9112, section 7.1).
    let foreign_coding = is_coded
        && (codings().any(|coding| !coding.eq_ignore_ascii_case("chunked"))
            || codings().count() > 1);
    // Nobody asked for another protocol; and a coding under `chunked` would stay on the body without its name.
    if head.status.is_informational() || foreign_coding {
        return Err(Problem::Upstream(Failure::Protocol));
    }
    fields::strip_hop_by_hop(headers, present);
    via.append(headers, head.version);

    let body = (*method != Method::HEAD && !has_no_body(head.status)).then_some(body);
    if let Some(body) = &body {
        // The length that the transfer really has: a Content-Length beside a Transfer-Encoding is void (RFC 9112, 6.3).
        if present.has(Present::CONTENT_LENGTH) {
            match body.size_hint().exact() {
                Some(length) if says(headers, length) => {}
                Some(length) => {
                    headers.insert_number(&CONTENT_LENGTH, length);
                }
                None => {
                    headers.remove(CONTENT_LENGTH);
                }
            }
        }
    } else if head.status == StatusCode::NO_CONTENT
        || is_coded
        || headers.get_all(CONTENT_LENGTH).count() > 1
    {
        headers.remove(CONTENT_LENGTH);
    }
    Ok(Received {
        status: head.status,
        reason: head.reason,
        headers: head.headers,
        body,
        present,
    })
}
