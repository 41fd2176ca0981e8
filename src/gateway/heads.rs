//! Heads of messages, in either protocol.

use http::{HeaderName, Method, Request, Response, StatusCode, Uri, Version};
use hyper::ext::ReasonPhrase;

use super::present::Present;
use crate::fields::Fields;

/// `proxy-status` (RFC 9209).
pub(super) const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// The head of a request.
#[derive(Debug)]
pub(super) struct RequestHead {
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) version: Version,
    pub(super) headers: Fields,
    /// Which fields it came with.
    pub(super) present: Present,
}

impl RequestHead {
    /// Takes a request apart.
    pub(super) fn of<B>(request: Request<B>) -> (Self, B) {
        let (head, body) = request.into_parts();
        let headers = Fields::from(head.headers);
        let head = Self {
            method: head.method,
            uri: head.uri,
            version: head.version,
            present: Present::of(&headers),
            headers,
        };
        (head, body)
    }

    /// The same request for whoever knows `http` alone.
    pub(super) fn to_request<B>(&self, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.to_map();
        request
    }
}

/// The head of a provider's answer.
#[derive(Debug)]
pub(super) struct AnswerHead {
    pub(super) status: StatusCode,
    pub(super) version: Version,
    /// The provider's own words for its status, where they are its own.
    pub(super) reason: Option<ReasonPhrase>,
    pub(super) headers: Fields,
    /// Which fields it came with.
    pub(super) present: Present,
}

impl AnswerHead {
    /// Takes an answer apart.
    pub(super) fn of<B>(answer: Response<B>) -> (Self, B) {
        let (mut head, body) = answer.into_parts();
        let headers = Fields::from(head.headers);
        let head = Self {
            status: head.status,
            version: head.version,
            reason: head.extensions.remove(),
            present: Present::of(&headers),
            headers,
        };
        (head, body)
    }
}

/// An answer to a caller.
#[derive(Debug)]
pub struct Reply<B> {
    /// Its status.
    pub status: StatusCode,
    /// The words for it, where they are not the usual ones.
    pub reason: Option<ReasonPhrase>,
    /// Its fields.
    pub headers: Fields,
    /// Its body.
    pub body: B,
}

impl<B> Reply<B> {
    /// With the usual words for its status.
    pub(super) const fn new(status: StatusCode, headers: Fields, body: B) -> Self {
        Self {
            status,
            reason: None,
            headers,
            body,
        }
    }

    /// Its head, and its body.
    pub(super) fn parted(self) -> (Reply<()>, B) {
        let head = Reply {
            status: self.status,
            reason: self.reason,
            headers: self.headers,
            body: (),
        };
        (head, self.body)
    }

    /// With another body.
    pub fn map<T>(self, other: impl FnOnce(B) -> T) -> Reply<T> {
        Reply {
            status: self.status,
            reason: self.reason,
            headers: self.headers,
            body: other(self.body),
        }
    }
}

impl<B> From<Response<B>> for Reply<B> {
    fn from(response: Response<B>) -> Self {
        let (mut head, body) = response.into_parts();
        Self {
            status: head.status,
            reason: head.extensions.remove(),
            headers: Fields::from(head.headers),
            body,
        }
    }
}

impl<B> From<Reply<B>> for Response<B> {
    /// Without the words for its status, which HTTP/2 does not know (RFC 9113, section 8.3.2).
    fn from(reply: Reply<B>) -> Self {
        let mut response = Self::new(reply.body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = reply.headers.to_map();
        response
    }
}
