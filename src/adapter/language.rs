//! The adapter language as data: every key, what may stand behind it and what it means. The parser, the JSON Schema and
//! what `headroom new` writes all come from here, so they cannot disagree.

mod conditions;

pub use conditions::{EXHAUSTED, REFUSAL, REQUEST, RESPONSE, WEIGHT};

use crate::document::{Kind, Shape, key, required};

const TEXTS: Kind = Kind::List(&Kind::Text);
const TEXT_OR_TEXTS: Kind = Kind::Any(&[Kind::Text, TEXTS]);

/// The whole file.
pub static ADAPTER: Shape = Shape {
    title: "an adapter",
    keys: &[
        required("name", Kind::Text, "The provider's name, for people."),
        key(
            "base_url",
            Kind::Text,
            "Scheme and host without a path. `{…}` stands for what each account has of its own.",
        ),
        required(
            "docs",
            TEXT_OR_TEXTS,
            "The pages the facts come from, at least one.",
        ),
        key(
            "quota_endpoint",
            Kind::Text,
            "Where the provider tells its quota: \"GET /path\". For people.",
        ),
        key(
            "credential",
            Kind::Any(&[Kind::Word(&["bearer", "basic"]), Kind::Table(&CREDENTIAL)]),
            "Where the provider wants its credential; \"bearer\" if left out.",
        ),
        key(
            "retry_after",
            READINGS,
            "Where else a time to wait stands, beside `Retry-After`. The latest counts.",
        ),
        key(
            "structured_fields",
            Kind::Table(&STRUCTURED),
            "The provider sends the IETF's structured fields (drafts 8 to 11); each item becomes a policy by its own name.",
        ),
        key(
            "rewrite_urls",
            Kind::Boolean,
            "true: absolute URLs of this API inside JSON bodies become headroom's, while streaming.",
        ),
        key(
            "policy",
            Kind::Map(&Kind::Table(&POLICY)),
            "A quota policy: [policy.NAME]. The main one first.",
        ),
        key(
            "exhausted",
            Kind::List(&Kind::Table(&EXHAUSTED)),
            "What says that a quota is exhausted, beside status 429. The first that fits counts.",
        ),
        key(
            "uncounted",
            Kind::List(&Kind::Table(&REQUEST)),
            "Requests that use no quota.",
        ),
        key(
            "refusal",
            Kind::Any(&[Kind::Table(&REFUSAL), Kind::List(&Kind::Table(&REFUSAL))]),
            "How a refusal must look for this provider's SDKs to understand it; a list where it differs by policy.",
        ),
    ],
};

/// `credential = { … }`.
pub static CREDENTIAL: Shape = Shape {
    title: "a credential's place",
    keys: &[
        key("header", Kind::Text, "The header it stands in."),
        key(
            "format",
            Kind::Text,
            "The header's value, with {credential} in it.",
        ),
        key("query", Kind::Text, "The query parameter it stands in."),
        key(
            "basic",
            Kind::Text,
            "User and password where the credential is a key alone: \"{credential}:x\".",
        ),
    ],
};

/// `structured_fields = { … }`.
pub static STRUCTURED: Shape = Shape {
    title: "structured_fields",
    keys: &[
        required(
            "policy",
            Kind::Text,
            "The header with the quotas: `\"daily\";q=2500;w=86400`.",
        ),
        required(
            "limit",
            Kind::Text,
            "The header with the state: `\"daily\";r=2499;t=50400`.",
        ),
    ],
};

/// `[policy.NAME]`.
pub static POLICY: Shape = Shape {
    title: "a policy",
    keys: &[
        key(
            "unit",
            Kind::Text,
            "What is counted: \"requests\" (if left out), \"concurrent-requests\", \"points\", \"tokens\", \"percent\".",
        ),
        key(
            "quota",
            Kind::Any(&[Kind::Integer, Kind::Map(&Kind::Integer)]),
            "The documented quota: a number, or by plan { free = 30, starter = 240 }.",
        ),
        key(
            "window",
            Kind::Any(&[Kind::Text, Kind::Table(&READING)]),
            "The window's length: \"10s\", \"15m\", \"1h\", \"day\", \"week\", \"month\"; or a reading with a `default`.",
        ),
        key(
            "kind",
            Kind::Word(&["fixed", "clock", "lazy", "rolling", "bucket", "concurrent"]),
            "How the window moves: from the first request, with the clock, with the clock but reset by the first request \
             after, rolling, a bucket with a refill, or requests in flight. Left out when the provider does not say.",
        ),
        key(
            "time_zone",
            Kind::Text,
            "For clock and lazy windows of a day or more: \"UTC\", a zone such as \"Europe/Oslo\", or \"account\".",
        ),
        key(
            "refill",
            Kind::Number,
            "For a bucket: units given back in a second.",
        ),
        key(
            "slower_than",
            Kind::Text,
            "For concurrent: only requests that run longer than this count.",
        ),
        key(
            "penalty",
            Kind::Text,
            "How long the provider blocks after a violation.",
        ),
        key(
            "partition",
            TEXT_OR_TEXTS,
            "Whose budget it is: \"credential\" (if left out), \"account\", \"address\", \"host\", \"endpoint\", \"method\", \
             \"{name}\" from `applies.path`, \"header:NAME\".",
        ),
        key(
            "learn",
            Kind::Any(&[Kind::Table(&LEARN), Kind::List(&Kind::Table(&LEARN))]),
            "How a partition that is not in the path is learned.",
        ),
        key(
            "applies",
            Kind::Any(&[
                Kind::Word(&["otherwise"]),
                Kind::Table(&REQUEST),
                Kind::List(&Kind::Table(&REQUEST)),
            ]),
            "The requests that it counts; all if left out. \"otherwise\": those that no other policy's `applies` takes.",
        ),
        key(
            "weights",
            Kind::List(&Kind::Table(&WEIGHT)),
            "What a request costs. The first that fits counts; a request that none fits costs 1.",
        ),
        key(
            "rejected",
            Kind::Word(&["counted", "uncounted"]),
            "Whether a request that the provider refused uses quota.",
        ),
        key(
            "soft",
            Kind::Boolean,
            "true: the provider lets callers exceed it.",
        ),
        key(
            "limit",
            READING_OR_HEADER,
            "Where an answer tells the quota.",
        ),
        key(
            "remaining",
            READING_OR_HEADER,
            "Where an answer tells what is left.",
        ),
        key(
            "used",
            READING_OR_HEADER,
            "Where an answer tells what has been used.",
        ),
        key(
            "reset",
            READING_OR_HEADER,
            "Where an answer tells when quota comes back. Its `form` must be named.",
        ),
        key(
            "cost",
            READING_OR_HEADER,
            "Where an answer tells what this request cost.",
        ),
        key(
            "label",
            READING_OR_HEADER,
            "Where an answer tells the name under which this request was counted.",
        ),
        key(
            "read",
            Kind::Any(&[Kind::Table(&READ), Kind::List(&Kind::Table(&READ))]),
            "Readings that give several of these at once.",
        ),
        key(
            "sent_when",
            Kind::Any(&[Kind::Table(&RESPONSE), Kind::List(&Kind::Table(&RESPONSE))]),
            "The response condition (or any of several) under which the readings speak of this policy.",
        ),
    ],
};

const READING_OR_HEADER: Kind = Kind::Any(&[Kind::Text, Kind::Table(&READING)]);
const READINGS: Kind = Kind::Any(&[
    Kind::Text,
    Kind::Table(&READING),
    Kind::List(&READING_OR_HEADER),
]);

/// `reset = { … }`.
pub static READING: Shape = Shape {
    title: "a reading",
    keys: &[
        key("header", Kind::Text, "The header it stands in."),
        key(
            "body",
            Kind::Text,
            "Instead of a header: a JSON pointer into the body (`*` for every element).",
        ),
        key(
            "body_pattern",
            Kind::Text,
            "Instead of a header: a regular expression over the body with one group.",
        ),
        key(
            "json",
            Kind::Text,
            "The header's value is JSON: the pointer into it (`*` for every element).",
        ),
        key(
            "key",
            Kind::Text,
            "The header's value is a list `k=v; k=v`: the key.",
        ),
        key(
            "item",
            Kind::Integer,
            "The header's value is a comma list: the position, from 0.",
        ),
        key(
            "pattern",
            Kind::Text,
            "A regular expression over the header's value; its one group is the value.",
        ),
        key(
            "form",
            TEXT_OR_TEXTS,
            "How it is spelled: \"seconds\", \"epoch-seconds\", \"rfc3339\", …; a list is tried in order.",
        ),
        key(
            "time_zone",
            Kind::Text,
            "For a local form: the zone it is in.",
        ),
        key(
            "unit_header",
            Kind::Text,
            "For the form \"unit\": the header that names the unit.",
        ),
        key(
            "ignore",
            TEXT_OR_TEXTS,
            "Values that mean nothing: [\"-1\"].",
        ),
        key(
            "when",
            Kind::Table(&RESPONSE),
            "The response condition under which it speaks.",
        ),
        key(
            "write",
            Kind::Text,
            "For `pattern`: how the simulator writes it, with {} for the value.",
        ),
        key(
            "default",
            Kind::Text,
            "For `window`: the window where the answer does not tell.",
        ),
    ],
};

/// `read = { … }`.
pub static READ: Shape = Shape {
    title: "read",
    keys: &[
        key("header", Kind::Text, "The header it stands in."),
        key(
            "header_pattern",
            Kind::Text,
            "A regular expression over lower-case header names; its group `label` names the policy.",
        ),
        key(
            "body_pattern",
            Kind::Text,
            "Instead of a header: a regular expression over the body with named groups.",
        ),
        key(
            "key",
            Kind::Text,
            "For \"used/limit\": the header's value is a list `k=v; k=v`, and this is the key.",
        ),
        key(
            "form",
            Kind::Word(&["used/limit", "remaining/limit", "limit;w"]),
            "A form that gives several quantities.",
        ),
        key(
            "pattern",
            Kind::Text,
            "A regular expression with the groups limit, remaining, used, reset, window, cost, label.",
        ),
        key(
            "each",
            Kind::Text,
            "The value is JSON: the pointer to the elements in which the following are pointers.",
        ),
        key(
            "limit",
            Kind::Text,
            "With `each`: the pointer to the limit.",
        ),
        key(
            "remaining",
            Kind::Text,
            "With `each`: the pointer to what is left.",
        ),
        key(
            "used",
            Kind::Text,
            "With `each`: the pointer to what has been used.",
        ),
        key(
            "reset",
            Kind::Text,
            "With `each`: the pointer to the reset.",
        ),
        key(
            "window",
            Kind::Text,
            "With `each`: the pointer to the window.",
        ),
        key("cost", Kind::Text, "With `each`: the pointer to the cost."),
        key(
            "label",
            Kind::Text,
            "With `each`: the pointer to the policy's name.",
        ),
        key("reset_form", TEXT_OR_TEXTS, "The form of the reset."),
        key(
            "window_form",
            TEXT_OR_TEXTS,
            "The form of the window, \"seconds\" if left out.",
        ),
        key("ignore", TEXT_OR_TEXTS, "Values that mean nothing."),
        key(
            "when",
            Kind::Table(&RESPONSE),
            "The response condition under which it speaks.",
        ),
        key(
            "write",
            Kind::Text,
            "How the simulator writes a `pattern`: \"api-usage={used}/{limit}\".",
        ),
    ],
};

/// `learn = { … }`.
pub static LEARN: Shape = Shape {
    title: "learn",
    keys: &[
        required(
            "partition",
            Kind::Text,
            "The partition to learn: \"{organization}\".",
        ),
        required(
            "from",
            Kind::Text,
            "What the path has instead: \"{workspace}\".",
        ),
        required(
            "path",
            Kind::Text,
            "Whose answer tells it: \"/workspaces/{workspace}\".",
        ),
        key(
            "each",
            Kind::Text,
            "For an answer that is a list: the pointer to the elements in which `key` and `json` are pointers.",
        ),
        key(
            "key",
            Kind::Text,
            "The pointer to `from`, where `path` does not capture it: \"/id\".",
        ),
        required("json", Kind::Text, "The JSON pointer to the partition."),
    ],
};
