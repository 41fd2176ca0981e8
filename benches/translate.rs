//! Translating and emitting, beside the header reads and writes that cannot be avoided, in the same run:
//! `cargo bench --bench translate`.
//!
//! The floor of translating reads the native headers with bare calls of `http::HeaderMap` and parses their integers; that of emitting
//! writes the same standard headers into one, with values that are formatted but not decided. Headroom itself has `Fields`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "support/ratio.rs"]
mod ratio;

use std::collections::BTreeMap;
use std::hint::black_box;

use headroom::adapter::catalog::Catalog;
use headroom::adapter::terms::Terms;
use headroom::adapter::{Adapter, Answer, Call};
use headroom::emit::{Style, standard_headers, write_headers};
use headroom::fields::Fields;
use headroom::translate::{Translation, translate};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use ratio::{ratio, took};

/// Heads that lie ready for each look at the clock, and how often that is done.
const HEADS: usize = 64;
const TIMES: usize = 40;

/// What an API's answer carries beside its limits.
const COMMON: [(&str, &str); 9] = [
    ("date", "Sat, 21 Nov 2026 12:00:00 GMT"),
    ("content-type", "application/json; charset=utf-8"),
    ("content-length", "1024"),
    ("cache-control", "private, max-age=0"),
    ("etag", "W/\"5f2a\""),
    ("server", "nginx"),
    ("strict-transport-security", "max-age=31536000"),
    ("vary", "Accept"),
    ("x-request-id", "7f1a6c1e"),
];

/// Name, provider, native headers.
type Case = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const CASES: [Case; 4] = [
    (
        "three-headers",
        "calendly",
        &[
            ("x-ratelimit-limit", "500"),
            ("x-ratelimit-remaining", "499"),
            ("x-ratelimit-reset", "60"),
        ],
    ),
    (
        "toggl-two",
        "toggl",
        &[
            ("x-toggl-quota-remaining", "239"),
            ("x-toggl-quota-resets-in", "3540"),
        ],
    ),
    (
        "hubspot-seven",
        "hubspot",
        &[
            ("x-hubspot-ratelimit-daily", "250000"),
            ("x-hubspot-ratelimit-daily-remaining", "249991"),
            ("x-hubspot-ratelimit-interval-milliseconds", "10000"),
            ("x-hubspot-ratelimit-max", "100"),
            ("x-hubspot-ratelimit-remaining", "99"),
            ("x-hubspot-ratelimit-secondly", "10"),
            ("x-hubspot-ratelimit-secondly-remaining", "9"),
        ],
    ),
    (
        "salesforce-pattern",
        "salesforce",
        &[("sforce-limit-info", "api-usage=18/5000")],
    ),
];

struct Bench {
    adapter: std::sync::Arc<Adapter>,
    terms: Terms,
    headers: Fields,
    /// The same for the floor.
    map: HeaderMap,
    native: Vec<HeaderName>,
    written: Vec<(HeaderName, HeaderValue)>,
    now: Timestamp,
}

impl Bench {
    fn new(provider: &str, native: &[(&'static str, &'static str)]) -> Self {
        let adapter = Catalog::default().get(provider).unwrap();
        let plan = (provider == "toggl").then_some("starter");
        let terms = Terms::new(&adapter, plan, None, &BTreeMap::new()).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in COMMON.iter().chain(native) {
            map.insert(*name, HeaderValue::from_static(value));
        }
        let mut bench = Self {
            adapter,
            terms,
            headers: Fields::from(&map),
            map,
            native: native
                .iter()
                .map(|(name, _)| HeaderName::from_static(name))
                .collect(),
            written: Vec::new(),
            now: "2026-11-21T12:00:00Z".parse().unwrap(),
        };
        let translation = translate(
            &bench.adapter,
            &bench.terms,
            &bench.call(),
            &bench.answer(&bench.headers),
            bench.now,
        );
        assert!(translation.binding.is_some());
        bench.written = standard_headers(&translation, StatusCode::OK, &Style::default());
        bench
    }

    fn call(&self) -> Call<'_> {
        Call {
            method: &Method::GET,
            path: Some("/api/v9/workspaces/1234567/projects"),
            headers: None,
            body: None,
        }
    }

    fn answer<'a>(&self, headers: &'a Fields) -> Answer<'a> {
        Answer {
            status: StatusCode::OK,
            headers,
            body: None,
        }
    }

    /// Bare reads: nothing is decided.
    fn read(&self, headers: &HeaderMap) {
        let mut sum = 0_u64;
        for name in &self.native {
            let text = headers.get(name).unwrap().to_str().unwrap();
            sum += text.parse::<u64>().unwrap_or(0);
        }
        black_box(sum);
    }

    /// Bare writes.
    fn write(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.written {
            // A value has to be made; its text is known here.
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.insert(name.clone(), value);
        }
    }

    fn translate(&self, headers: &Fields) -> Translation {
        translate(
            &self.adapter,
            &self.terms,
            &self.call(),
            &self.answer(headers),
            self.now,
        )
    }

    /// Nanoseconds for one head, each of which comes as the provider sent it.
    fn time(&self, work: impl Fn(&mut Fields)) -> f64 {
        // With the room that heads have which were read.
        time(|| self.headers.with_room(8, 320), work)
    }

    /// The same for the floor.
    fn floor(&self, work: impl Fn(&mut HeaderMap)) -> f64 {
        time(|| self.map.clone(), work)
    }
}

/// Nanoseconds for one head.
fn time<T>(head: impl Fn() -> T, work: impl Fn(&mut T)) -> f64 {
    let mut seconds = 0.0;
    for _ in 0..TIMES {
        let mut heads: Vec<T> = std::iter::repeat_with(&head).take(HEADS).collect();
        seconds += took(|| heads.iter_mut().for_each(&work)).as_secs_f64();
    }
    seconds * 1e9 / (HEADS * TIMES) as f64
}

fn main() {
    let style = Style::default();
    for (name, provider, native) in CASES {
        let bench = Bench::new(provider, native);
        let known = bench.translate(&bench.headers);
        let emit = |headers: &mut Fields, translation: &Translation| {
            write_headers(headers, translation, StatusCode::OK, &style);
        };
        ratio(
            &format!("{name}: translate"),
            "bare reads",
            || bench.floor(|headers| bench.read(headers)),
            || bench.time(|headers| drop(black_box(bench.translate(headers)))),
        );
        ratio(
            &format!("{name}: emit"),
            "bare writes",
            || bench.floor(|headers| bench.write(headers)),
            || bench.time(|headers| emit(headers, &known)),
        );
        ratio(
            &format!("{name}: both"),
            "both",
            || {
                bench.floor(|headers| {
                    bench.read(headers);
                    bench.write(headers);
                })
            },
            || bench.time(|headers| emit(headers, &bench.translate(headers))),
        );
    }
}
