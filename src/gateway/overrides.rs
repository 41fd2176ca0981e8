//! What asks a server to take a request for another one. A consumer that is limited to some methods or paths cannot have it.

use super::heads::RequestHead;

use super::route::Route;
use crate::credential::decoded;
use crate::fields::Fields;

/// Headers that frameworks follow instead of the method.
const METHODS: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

/// Headers that frameworks follow instead of the target.
const PATHS: [&str; 2] = ["x-original-url", "x-rewrite-url"];

/// What a parameter `method` may name a method of HTTP by; some APIs follow that, and in others it is a word of their own.
const VERBS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

/// Another method is asked for: in a header, or in the query as Rails, Laravel and Meta's Graph read it.
pub(super) fn method(head: &RequestHead, route: &Route<'_>) -> bool {
    let query = route.target.split_once('?').map_or("", |(_, query)| query);
    // Some servers take a semicolon for an ampersand.
    has_any(&head.headers, &METHODS) || query.split(['&', ';']).any(asks_for_method)
}

/// Another path is asked for.
pub(super) fn path(headers: &Fields) -> bool {
    has_any(headers, &PATHS)
}

/// Behind CGI and what came after it an underscore is as good as a hyphen.
fn has_any(headers: &Fields, names: &[&str]) -> bool {
    let alike = |name: &str, wanted: &str| {
        name.len() == wanted.len() && name.replace('_', "-").eq_ignore_ascii_case(wanted)
    };
    let mut all = headers.keys();
    all.any(|name| names.iter().any(|wanted| alike(name, wanted)))
}

fn asks_for_method(pair: &str) -> bool {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let name = decoded(name).replace('_', "-").to_ascii_lowercase();
    match &*name {
        "-method" => true,
        "method" => {
            let value = decoded(value);
            VERBS.iter().any(|verb| verb.eq_ignore_ascii_case(&value))
        }
        name => METHODS.contains(&name),
    }
}
