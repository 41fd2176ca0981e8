//! The configuration as data: every key and what it means (contract, section 7).

use crate::document::{Kind, Shape, key};

/// The whole file.
pub static CONFIG: Shape = Shape {
    title: "the configuration",
    keys: &[
        key(
            "listen",
            Kind::Text,
            "Where the gateway listens; \"127.0.0.1:8080\" if left out.",
        ),
        key(
            "providers",
            Kind::Any(&[Kind::Text, Kind::List(&Kind::Text)]),
            "Folders of adapters, beside the built-in ones or instead of them.",
        ),
        key(
            "ca_file",
            Kind::Text,
            "A PEM file with certificate authorities to trust beside the system's.",
        ),
        key(
            "via",
            Kind::Text,
            "Headroom's name in `Via`; \"headroom\" if left out. Two gateways in a row need two names.",
        ),
        key(
            "headers",
            Kind::Table(&HEADERS),
            "How the standard headers are written.",
        ),
        key(
            "connections",
            Kind::Map(&Kind::Table(&CONNECTION)),
            "[connections.NAME]: one account at a provider, mounted at /NAME/.",
        ),
    ],
};

static HEADERS: Shape = Shape {
    title: "headers",
    keys: &[
        key(
            "limit",
            Kind::Word(&["windowed", "plain", "list"]),
            "`110;w=10` (if left out), `110`, or `110, 110;w=10`.",
        ),
        key(
            "structured",
            Kind::Word(&["draft-11", "off"]),
            "Whether `ratelimit-policy` and `ratelimit` are written; \"draft-11\" if left out.",
        ),
    ],
};

static CONNECTION: Shape = Shape {
    title: "a connection",
    keys: &[
        key(
            "provider",
            Kind::Text,
            "The adapter's id; the connection's own name if left out.",
        ),
        key(
            "base_url",
            Kind::Text,
            "Scheme and host of the provider; the adapter's if left out.",
        ),
        key(
            "plan",
            Kind::Text,
            "The account's plan, by the adapter's word for it.",
        ),
        key(
            "time_zone",
            Kind::Text,
            "The account's time zone: \"Europe/Oslo\".",
        ),
        key(
            "quotas",
            Kind::Map(&Kind::Integer),
            "The account's own quotas, by policy: { daily = 500 }.",
        ),
        key(
            "listen",
            Kind::Text,
            "An address of its own, for SDKs that cannot have a path before theirs.",
        ),
    ],
};
