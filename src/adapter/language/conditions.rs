//! Conditions and refusals of the language.

use super::{TEXT_OR_TEXTS, TEXTS};
use crate::document::{Key, Kind, Shape, key, required};

const METHOD: Key = key("method", TEXT_OR_TEXTS, "The request's method or methods.");
const PATH: Key = key(
    "path",
    TEXT_OR_TEXTS,
    "The request's path: {name} is one segment and captured, * one segment, ** any rest.",
);
const NOT_PATH: Key = key(
    "not_path",
    TEXT_OR_TEXTS,
    "Paths that do not fit, whatever `path` says.",
);
const REQUEST_HEADER: Key = key(
    "request_header",
    Kind::Map(&MATCHER),
    "Headers of the request.",
);
const REQUEST_BODY: Key = key(
    "request_body",
    Kind::Map(&MATCHER),
    "JSON pointers into the request's body. Needs `path`.",
);
const REQUEST_BODY_PATTERN: Key = key(
    "request_body_pattern",
    Kind::Text,
    "A regular expression over the first 64 KiB of the request's body. Needs `path`.",
);
const STATUS: Key = key(
    "status",
    Kind::Any(&[Kind::Integer, Kind::List(&Kind::Integer)]),
    "The answer's status.",
);
const HEADER: Key = key("header", Kind::Map(&MATCHER), "Headers of the answer.");
const CONTENT_TYPE: Key = key(
    "content_type",
    TEXT_OR_TEXTS,
    "The answer's media type, without parameters.",
);
const BODY: Key = key(
    "body",
    Kind::Map(&MATCHER),
    "JSON pointers into the answer's body. Needs `status`.",
);
const BODY_PATTERN: Key = key(
    "body_pattern",
    Kind::Text,
    "A regular expression over the answer's body. Needs `status`.",
);

/// What a header or a member of a body is compared with.
const MATCHER: Kind = Kind::Any(&[
    Kind::Text,
    Kind::Boolean,
    Kind::Integer,
    TEXTS,
    Kind::Table(&MATCH),
]);

static MATCH: Shape = Shape {
    title: "a comparison",
    keys: &[
        key("pattern", Kind::Text, "A regular expression that must fit."),
        key(
            "not",
            TEXT_OR_TEXTS,
            "The value must be there and another than these.",
        ),
    ],
};

/// A condition on the request.
pub static REQUEST: Shape = Shape {
    title: "a request condition",
    keys: &[
        METHOD,
        PATH,
        NOT_PATH,
        REQUEST_HEADER,
        REQUEST_BODY,
        REQUEST_BODY_PATTERN,
    ],
};

/// A weight: a condition on the request and what such a request costs.
pub static WEIGHT: Shape = Shape {
    title: "a weight",
    keys: &[
        METHOD,
        PATH,
        NOT_PATH,
        REQUEST_HEADER,
        REQUEST_BODY,
        REQUEST_BODY_PATTERN,
        required("cost", Kind::Integer, "What such a request costs."),
    ],
};

/// A condition on the response.
pub static RESPONSE: Shape = Shape {
    title: "a response condition",
    keys: &[
        METHOD,
        PATH,
        NOT_PATH,
        STATUS,
        HEADER,
        CONTENT_TYPE,
        BODY,
        BODY_PATTERN,
    ],
};

/// `[[exhausted]]`.
pub static EXHAUSTED: Shape = Shape {
    title: "exhausted",
    keys: &[
        METHOD,
        PATH,
        NOT_PATH,
        STATUS,
        HEADER,
        CONTENT_TYPE,
        BODY,
        BODY_PATTERN,
        key(
            "remaining",
            Kind::Integer,
            "0: only if a policy of this answer has nothing left.",
        ),
        key("policy", Kind::Text, "The policy that is exhausted."),
        key(
            "retry_after",
            Kind::Text,
            "How long to wait where the provider does not say: \"60s\".",
        ),
    ],
};

/// `[refusal]`.
pub static REFUSAL: Shape = Shape {
    title: "refusal",
    keys: &[
        key(
            "policy",
            Kind::Text,
            "The policy that it speaks of; without it, all that no other refusal names.",
        ),
        required("status", Kind::Integer, "The status."),
        key("content_type", Kind::Text, "The media type of the body."),
        key(
            "body",
            Kind::Text,
            "The body, a template with {detail}, {policy}, {limit}, {retry_after}, {reset_epoch}, {reset_http_date}.",
        ),
        key(
            "headers",
            Kind::Map(&Kind::Text),
            "Further headers, templates too.",
        ),
    ],
};
