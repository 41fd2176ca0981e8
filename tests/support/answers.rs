//! Answers that no provider would send: the recorded cases, changed, and headers made up from nothing.

use std::sync::{Arc, LazyLock};

use headroom::adapter::catalog::{Catalog, shipped};
use headroom::adapter::reading::Source;
use headroom::adapter::terms::Terms;
use headroom::adapter::{Adapter, Answer, Call};
use headroom::fields::Fields;
use headroom::translate::{Translation, generic, translate};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::string::{RegexGeneratorStrategy, string_regex};

use super::cases::{self, Case};

/// An answer with the call before it.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) id: String,
    pub(crate) method: Method,
    pub(crate) path: Option<String>,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) now: Timestamp,
}

/// Short enough to be read when a property fails.
impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{} {} {:?} at {}",
            self.id, self.method, self.path, self.now
        )?;
        writeln!(f, "{} {:#?}", self.status, self.headers)?;
        write!(f, "{}", self.body.escape_ascii())
    }
}

impl Sent {
    pub(crate) fn adapter(&self) -> Arc<Adapter> {
        Catalog::default().get(&self.id).unwrap()
    }

    pub(crate) fn of_case(case: &Case) -> Self {
        let told = |name: &str| case.recording.circumstance(name);
        Self {
            id: case.provider.clone(),
            method: told("method").unwrap_or("GET").parse().unwrap(),
            path: told("path").map(|path| path.split('?').next().unwrap().to_owned()),
            status: case.recording.status,
            headers: case.recording.headers.clone(),
            body: case.recording.body.clone(),
            now: told("now").unwrap().parse().unwrap(),
        }
    }

    pub(crate) fn translate(&self) -> Translation {
        let adapter = self.adapter();
        let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
        self.translate_with(&adapter, &terms)
    }

    pub(crate) fn translate_with(&self, adapter: &Adapter, terms: &Terms) -> Translation {
        let call = Call {
            method: &self.method,
            path: self.path.as_deref(),
            headers: None,
            body: None,
        };
        let answer = Answer {
            status: self.status,
            headers: &Fields::from(&self.headers),
            body: Some(&self.body),
        };
        translate(adapter, terms, &call, &answer, self.now)
    }

    pub(crate) fn translate_generic(&self) -> Translation {
        let answer = Answer {
            status: self.status,
            headers: &Fields::from(&self.headers),
            body: None,
        };
        generic::translate(&answer, self.now)
    }
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(cases::all);

/// Texts of a regular expression. A bare `"…"` would be compiled again for every value.
pub(crate) fn text(pattern: &str) -> RegexGeneratorStrategy<String> {
    string_regex(pattern).unwrap()
}

/// What happens to a header or a body.
#[derive(Debug, Clone)]
enum Change {
    Keep,
    Remove,
    Replace(Vec<u8>),
    /// Another line of the same name.
    Add(Vec<u8>),
    /// Each number becomes another number.
    Renumber(Vec<String>),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => Just(Change::Keep),
        1 => Just(Change::Remove),
        2 => value().prop_map(Change::Replace),
        1 => value().prop_map(Change::Add),
        4 => prop::collection::vec(number(), 1..4).prop_map(Change::Renumber),
    ]
}

/// Numbers of every size and spelling.
pub(crate) fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("0".to_owned()),
        4 => (0_u32..2_000).prop_map(|n| n.to_string()),
        2 => any::<u64>().prop_map(|n| n.to_string()),
        1 => any::<i128>().prop_map(|n| n.to_string()),
        2 => (1_700_000_000_u64..1_900_000_000).prop_map(|n| n.to_string()),
        1 => (1_700_000_000_000_u64..1_900_000_000_000).prop_map(|n| n.to_string()),
        2 => (0_u32..2_000, 0_u32..1_000_000).prop_map(|(n, f)| format!("{n}.{f:06}")),
        1 => (1_u32..2_000).prop_map(|n| format!("-{n}")),
        1 => text("[0-9]{1,70}"),
    ]
}

/// Values of headers: numbers, times, lists, JSON, structured fields, and nonsense.
pub(crate) fn value() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        4 => number(),
        1 => (number(), number()).prop_map(|(a, b)| format!("{a}/{b}")),
        1 => (number(), number()).prop_map(|(a, b)| format!("{a};w={b}")),
        1 => (number(), number()).prop_map(|(a, b)| format!("{a}, {b}")),
        1 => (number(), number()).prop_map(|(a, b)| format!("api-usage={a}/{b}")),
        1 => (number(), number()).prop_map(|(a, b)| format!(r#""daily";q={a};w={b};r={b};t={a}"#)),
        1 => (number(), number()).prop_map(|(a, b)| format!("limit={a}, remaining={b}, reset={a}")),
        1 => (number(), number())
            .prop_map(|(a, b)| format!(r#"{{"call_count":{a},"x":[{{"call_count":{b}}}]}}"#)),
        1 => text("[0-9]{1,3}(ms|s|m|h|d|ns)([0-9]{1,9}(ms|s))?"),
        1 => select(vec![
            "2026-11-21T12:00:07.5Z",
            "2026-11-21 12:00",
            "9999-12-31T23:59:59.999999999Z",
            "-009999-01-01T00:00:00Z",
            "0000-00-00T00:00:00+99:99",
            "Sat, 21 Nov 2026 12:00:30 GMT",
            "Tue May 23 2023 14:42:01 GMT+0200 (Central European Summer Time)",
            "Infinity",
            "NaN",
            "1e400",
            "0x10",
            "unlimited",
            "",
            "%Y-%m-%d",
        ])
        .prop_map(str::to_owned),
        1 => text("[ -~]{0,40}"),
    ];
    prop_oneof![
        8 => value.prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ]
}

/// The value as a header can carry it.
pub(crate) fn header_value(bytes: &[u8]) -> HeaderValue {
    let fitting: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|byte| (*byte >= 0x20 && *byte != 0x7f) || *byte == b'\t')
        .collect();
    HeaderValue::from_bytes(&fitting).unwrap()
}

fn renumber(bytes: &[u8], numbers: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut numbers = numbers.iter().cycle();
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            out.extend_from_slice(numbers.next().unwrap().as_bytes());
            rest = &rest[digits..];
        } else {
            out.push(*first);
            rest = &rest[1..];
        }
    }
    out
}

fn apply(headers: &mut HeaderMap, name: &HeaderName, change: &Change) {
    match change {
        Change::Keep => {}
        Change::Remove => {
            headers.remove(name);
        }
        Change::Replace(bytes) => {
            headers.insert(name, header_value(bytes));
        }
        Change::Add(bytes) => {
            headers.append(name, header_value(bytes));
        }
        Change::Renumber(numbers) => {
            if let Some(value) = headers.get(name) {
                let changed = header_value(&renumber(value.as_bytes(), numbers));
                headers.insert(name, changed);
            }
        }
    }
}

/// The names of the headers that an adapter's readings look at, and `Retry-After`.
pub(crate) fn read_headers(adapter: &Adapter) -> Vec<HeaderName> {
    let mut names: Vec<HeaderName> = adapter
        .policies
        .iter()
        .flat_map(|policy| &policy.readings)
        .chain(&adapter.retry_after)
        .flat_map(|reading| {
            let header = match &reading.source {
                Source::Header(name) => Some(name.clone()),
                _ => None,
            };
            header.into_iter().chain(reading.unit_header.clone())
        })
        .collect();
    if let Some((policy, limit)) = &adapter.structured_fields {
        names.extend([policy.clone(), limit.clone()]);
    }
    names.push(http::header::RETRY_AFTER);
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    names
}

/// Moments: near the recorded ones, and anywhere.
pub(crate) fn now() -> impl Strategy<Value = Timestamp> {
    let far = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
    let near = 1_700_000_000_i64..1_900_000_000;
    let nanos = prop_oneof![Just(0), 0..1_000_000_000_i32];
    (prop_oneof![4 => near, 1 => far], nanos)
        .prop_map(|(secs, nanos)| Timestamp::new(secs, nanos).unwrap_or(Timestamp::MAX))
}

fn status() -> impl Strategy<Value = Option<StatusCode>> {
    let known = select(vec![200, 400, 402, 403, 429, 503]);
    prop_oneof![
        2 => Just(None),
        2 => known.prop_map(|code| StatusCode::from_u16(code).ok()),
        1 => (200_u16..600).prop_map(|code| StatusCode::from_u16(code).ok()),
    ]
}

/// A recorded case with changes, for every shipped adapter.
pub(crate) fn changed_case() -> impl Strategy<Value = Sent> {
    (
        any::<Index>(),
        prop::collection::vec(change(), 12),
        change(),
        status(),
        prop::option::of(now()),
        prop::option::weighted(0.2, text("/[ -~]{0,30}")),
    )
        .prop_map(|(case, changes, body, status, now, path)| {
            let case = case.get(&CASES);
            let mut sent = Sent::of_case(case);
            let mut names = read_headers(&sent.adapter());
            let there: Vec<HeaderName> = sent.headers.keys().cloned().collect();
            names.extend(
                there
                    .into_iter()
                    .filter(|name| !names.contains(name))
                    .collect::<Vec<_>>(),
            );
            for (name, change) in names.iter().zip(changes.iter().cycle()) {
                apply(&mut sent.headers, name, change);
            }
            sent.body = match body {
                Change::Keep => sent.body,
                Change::Remove => Vec::new(),
                Change::Replace(bytes) => bytes,
                Change::Add(bytes) => [sent.body, bytes].concat(),
                Change::Renumber(numbers) => renumber(&sent.body, &numbers),
            };
            sent.status = status.unwrap_or(sent.status);
            sent.now = now.unwrap_or(sent.now);
            sent.path = path.or(sent.path);
            sent
        })
}

/// Any shipped adapter with made-up values in all the headers that it reads.
pub(crate) fn made_up() -> impl Strategy<Value = Sent> {
    (
        any::<Index>(),
        prop::collection::vec(prop::option::weighted(0.8, value()), 12),
        prop_oneof![
            value(),
            prop::collection::vec(any::<u8>(), 0..300),
            Just(b"[".repeat(300)),
        ],
        status(),
        now(),
    )
        .prop_map(|(id, values, body, status, now)| {
            let (id, _) = id.get(shipped());
            let mut sent = Sent {
                id: (*id).to_owned(),
                method: Method::GET,
                path: None,
                status: status.unwrap_or(StatusCode::OK),
                headers: HeaderMap::new(),
                body,
                now,
            };
            for (name, value) in read_headers(&sent.adapter()).iter().zip(values) {
                if let Some(value) = value {
                    sent.headers.insert(name, header_value(&value));
                }
            }
            sent
        })
}

/// Headers of the common families, for the generic translation.
pub(crate) fn families() -> impl Strategy<Value = Sent> {
    let name =
        "(x-)?rate-?limit(-(limit|remaining|reset|used|policy|window|tokens|requests|minute)){0,2}";
    (
        prop::collection::vec((name, value()), 0..12),
        status(),
        now(),
    )
        .prop_map(|(lines, status, now)| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(HeaderName::try_from(name).unwrap(), header_value(&value));
            }
            Sent {
                id: "generic".to_owned(),
                method: Method::GET,
                path: None,
                status: status.unwrap_or(StatusCode::OK),
                headers,
                body: Vec::new(),
                now,
            }
        })
}
