//! What asks a server to take a request for another one. A consumer that is limited to some methods or paths cannot have it.

use http::request::Parts;
use http::{HeaderMap, HeaderName};

use super::route::Route;
use crate::credential::decoded;

/// Headers that frameworks follow instead of the method.
static METHODS: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// Headers that frameworks follow instead of the target.
static PATHS: [HeaderName; 2] = [
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
];

/// Another method is asked for: in a header, or in the query as Rails and Laravel read it.
pub(super) fn method(head: &Parts, route: &Route<'_>) -> bool {
    let query = route.target.split_once('?').map_or("", |(_, query)| query);
    let name = |pair: &str| decoded(pair.split('=').next().unwrap_or_default()) == "_method";
    METHODS.iter().any(|name| head.headers.contains_key(name)) || query.split('&').any(name)
}

/// Another path is asked for.
pub(super) fn path(headers: &HeaderMap) -> bool {
    PATHS.iter().any(|name| headers.contains_key(name))
}
