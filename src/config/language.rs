//! The configuration as data: every key and what it means (contract, section 7).

mod limits;

use limits::LIMITS;

use crate::document::{Kind, Shape, key, required};
use crate::quota::Mode;
use crate::warn::Kind as Event;

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
            "open_to_all",
            Kind::Boolean,
            "true: whoever can reach headroom may call. Without consumers it listens on loopback only, unless this is said too.",
        ),
        key(
            "admin",
            Kind::Table(&ADMIN),
            "[admin]: who may look at headroom's own pages.",
        ),
        key(
            "providers",
            Kind::Any(&[Kind::Text, Kind::List(&Kind::Text)]),
            "Folders of adapters, beside the built-in ones or instead of them.",
        ),
        key(
            "tls",
            Kind::Table(&TLS),
            "[tls]: TLS on all of headroom's addresses, HTTP/1.1 and HTTP/2. Both files are read again when they change.",
        ),
        key(
            "ca_file",
            Kind::Text,
            "A PEM file with certificate authorities to trust beside the system's, at providers and wherever else headroom calls. Read again when it changes.",
        ),
        key(
            "via",
            Kind::Text,
            "Headroom's name in `Via`; \"headroom\" if left out. Two gateways in a row need two names.",
        ),
        key(
            "state_dir",
            Kind::Text,
            "Where counts and usage are kept; \"$XDG_STATE_HOME/headroom\" or \"~/.local/state/headroom\" if left out.",
        ),
        key(
            "max_waiting",
            Kind::Integer,
            "How many calls may wait for quota at once, for each connection; 1000 if left out.",
        ),
        key(
            "max_wait",
            Kind::Text,
            "The longest a call is held until there is quota; \"60s\" if left out.",
        ),
        key(
            "count_block",
            Kind::Integer,
            "How many calls more a crash may make headroom believe were used, for each count; 64 if left out.",
        ),
        key(
            "telemetry",
            Kind::Table(&TELEMETRY),
            "Where calls are told of beside headroom's own pages.",
        ),
        key(
            "headers",
            Kind::Table(&HEADERS),
            "How the standard headers are written.",
        ),
        key(
            "history",
            Kind::Table(&HISTORY),
            "[history]: what is kept of the calls, and for how long.",
        ),
        key(
            "limits",
            Kind::Table(&LIMITS),
            "[limits]: what is taken of callers and providers, and how long they are waited for.",
        ),
        key(
            "warnings",
            Kind::Table(&WARNINGS),
            "[warnings]: when a quota is worth a warning.",
        ),
        key(
            "webhooks",
            Kind::List(&Kind::Table(&WEBHOOK)),
            "[[webhooks]]: who is told of warnings, beside the log.",
        ),
        key(
            "connections",
            Kind::Map(&Kind::Table(&CONNECTION)),
            "[connections.NAME]: one account at a provider, mounted at /NAME/.",
        ),
        key(
            "consumers",
            Kind::Map(&Kind::Table(&CONSUMER)),
            "[consumers.NAME]: a program that calls headroom, known by its key.",
        ),
    ],
};

static ADMIN: Shape = Shape {
    title: "the pages' guard",
    keys: &[
        key(
            "key_hash",
            Kind::Text,
            "SHA-256 of the key that opens headroom's own pages, in hex; `headroom key new NAME --admin` prints both. If left out, they are shown on this machine only.",
        ),
        key(
            "hosts",
            Kind::List(&Kind::Text),
            "Names of this machine beside localhost, without ports, as browsers are to ask for it: [\"headroom.example.com\"].",
        ),
        key(
            "metrics",
            Kind::Word(&["open", "key"]),
            "Whether /-/metrics is for everybody (\"open\") or needs the key off this machine (\"key\", if left out).",
        ),
    ],
};

static TLS: Shape = Shape {
    title: "TLS",
    keys: &[
        required(
            "certificate",
            Kind::Text,
            "A PEM file with the certificate and its chain: \"/etc/headroom/cert.pem\".",
        ),
        required(
            "key",
            Kind::Text,
            "A PEM file with its private key, which is not encrypted: \"${CREDENTIALS_DIRECTORY}/key.pem\".",
        ),
    ],
};

static TELEMETRY: Shape = Shape {
    title: "telemetry",
    keys: &[key(
        "otlp_endpoint",
        Kind::Text,
        "A collector of OpenTelemetry traces: \"http://127.0.0.1:4318\". Each call becomes two spans, and the provider is told the trace. If left out, nothing is traced, and `traceparent` passes as it is.",
    )],
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

static HISTORY: Shape = Shape {
    title: "the history",
    keys: &[
        key(
            "keep_events",
            Kind::Text,
            "How long single calls are kept; \"24h\" if left out.",
        ),
        key(
            "max_events",
            Kind::Integer,
            "How many single calls are kept at the most; 1000000 if left out. Without a state folder 100000 at the most.",
        ),
        key(
            "keep_minutes",
            Kind::Text,
            "How long totals by minute are kept; \"36h\" if left out, at least \"26h\", because the last 24 hours need them.",
        ),
        key(
            "keep_hours",
            Kind::Text,
            "How long totals by quarter hour and hour are kept; \"35d\" if left out, at least \"8d\", because the last 7 days in any time zone need them. At least as long as `keep_minutes`.",
        ),
        key(
            "keep_days",
            Kind::Text,
            "How long totals by UTC day are kept; \"400d\" if left out. At least as long as `keep_hours`.",
        ),
        key(
            "max_size",
            Kind::Integer,
            "How many bytes the file holds at the most, about; 943718400 (900 MiB) if left out, at least 16777216 (16 MiB). Above it the oldest goes before its time. Without a state folder 67108864 (64 MiB) of memory at the most.",
        ),
    ],
};

static WARNINGS: Shape = Shape {
    title: "warnings",
    keys: &[
        key(
            "thresholds",
            Kind::List(&Kind::Integer),
            "Per cent of a quota; [80, 95, 100] if left out, [] for none.",
        ),
        key(
            "forecast",
            Kind::Boolean,
            "Whether a quota is warned of that will run out before its reset at this pace; true if left out.",
        ),
        key(
            "min_window",
            Kind::Text,
            "Quotas of shorter windows are not warned of, because to use one up is normal traffic; \"60s\" if left out.",
        ),
    ],
};

static WEBHOOK: Shape = Shape {
    title: "a webhook",
    keys: &[
        required(
            "url",
            Kind::Text,
            "Where warnings are sent: https, or http on this machine.",
        ),
        required(
            "secret",
            Kind::Text,
            "What they are signed with, as Standard Webhooks has it: \"${HEADROOM_WEBHOOK_SECRET}\", which holds `whsec_` and base64; several, separated by spaces, while one replaces another.",
        ),
        key(
            "events",
            Kind::List(&Kind::Word(Event::WORDS)),
            "What is sent; all if left out.",
        ),
        key(
            "connections",
            Kind::List(&Kind::Text),
            "Of which connections; of all if left out.",
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
            "credential",
            Kind::Text,
            "What the provider gets instead of what callers send, put where it wants it: \"${HUBSPOT_TOKEN}\", \"file:/run/secrets/hubspot\"; for Basic \"user:password\". If left out, the callers' own passes through.",
        ),
        key(
            "oauth2",
            Kind::Table(&OAUTH2),
            "[connections.NAME.oauth2]: tokens of OAuth 2 instead of a credential.",
        ),
        key(
            "client_certificate",
            Kind::Text,
            "A PEM file with the certificate, and its chain, that the provider is shown when it asks for one; `client_key` goes with it. This connection's provider alone: no token endpoint and no other connection. Read again when it changes.",
        ),
        key(
            "client_key",
            Kind::Text,
            "A PEM file with its private key, which is not encrypted: \"${CREDENTIALS_DIRECTORY}/client-key.pem\".",
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
        key(
            "mode",
            Kind::Any(&[MODE, Kind::Map(&MODE)]),
            "What happens to a call that a quota has no room for: it is sent and counted (\"observe\"), refused (\"enforce\") or held (\"wait\"); also by policy: { daily = \"wait\" }. If left out, a quota that the provider has said or that you have configured is enforced, and one that is only documented is observed.",
        ),
        key(
            "pace",
            Kind::Boolean,
            "true: calls are spread over the window instead of sent as fast as they come.",
        ),
        key(
            "max_waiting",
            Kind::Integer,
            "How many calls may wait at once; that of the whole file if left out.",
        ),
        key(
            "max_wait",
            Kind::Text,
            "The longest a call is held; that of the whole file if left out.",
        ),
        key(
            "reserve",
            Kind::Table(&RESERVE),
            "A part of every quota that only some may touch: { share = \"10%\", consumers = [\"billing\"] }.",
        ),
    ],
};

static OAUTH2: Shape = Shape {
    title: "tokens of OAuth 2",
    keys: &[
        required(
            "token_url",
            Kind::Text,
            "The token endpoint: https, or http on this machine or its own network.",
        ),
        required("client_id", Kind::Text, "Who asks for tokens."),
        key(
            "client_secret",
            Kind::Text,
            "The client's secret, where it has one: \"${CRM_CLIENT_SECRET}\".",
        ),
        key(
            "refresh_token",
            Kind::Text,
            "With it the grant is refresh_token, else client_credentials. Where the provider rotates it, the newest is kept in `state_dir`.",
        ),
        key(
            "scopes",
            Kind::List(&Kind::Text),
            "What is asked for; the client's own scopes if left out.",
        ),
        key(
            "audience",
            Kind::Text,
            "For whom the token is, where the endpoint wants to know.",
        ),
        key(
            "parameters",
            Kind::Map(&Kind::Text),
            "More that the endpoint wants: { resource = \"…\" }.",
        ),
        key(
            "client_auth",
            Kind::Word(&["basic", "body"]),
            "Where client and secret stand: in `Authorization` (\"basic\", if left out) or in the body.",
        ),
        key(
            "place",
            Kind::Word(&["bearer", "provider"]),
            "Where the token stands: `Authorization: Bearer` (\"bearer\", if left out), or where the adapter says that a credential does (\"provider\").",
        ),
    ],
};

const MODE: Kind = Kind::Word(Mode::WORDS);

static RESERVE: Shape = Shape {
    title: "a reserve",
    keys: &[
        required("share", Kind::Text, "How much of each quota: \"10%\"."),
        required(
            "consumers",
            Kind::List(&Kind::Text),
            "Who may touch it; nobody ([]) leaves it to those who call the provider without headroom.",
        ),
    ],
};

static CONSUMER: Shape = Shape {
    title: "a consumer",
    keys: &[
        required(
            "key_hash",
            Kind::Text,
            "SHA-256 of its key in hex; `headroom key new NAME` prints both.",
        ),
        key(
            "connections",
            Kind::List(&Kind::Text),
            "The connections that it may use; all if left out.",
        ),
        key(
            "methods",
            Kind::List(&Kind::Text),
            "The methods that it may call with: [\"GET\", \"HEAD\"]; all if left out.",
        ),
        key(
            "paths",
            Kind::List(&Kind::Text),
            "The paths at providers that it may call: [\"/crm/v3/objects/**\"]. `*` stands for one segment, `**` at the end for any rest; all if left out.",
        ),
        key(
            "share",
            Kind::Text,
            "Its part of every quota of these connections: \"30%\". What others do not use of theirs is lent to it.",
        ),
        key(
            "cap",
            Kind::Map(&Kind::Integer),
            "The most that it may use of a quota, by policy: { daily = 100 }.",
        ),
    ],
};
