//! Translating and emitting, beside the header reads and writes that cannot be avoided, in the same run.
//!
//! `floor/*` reads the native headers with bare `HeaderMap` calls, parses their integers, and writes the same standard
//! headers with values that are formatted but not decided. `headroom/*` is the real thing. What counts is the ratio.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use headroom::adapter::catalog::Catalog;
use headroom::adapter::terms::Terms;
use headroom::adapter::{Adapter, Answer, Call};
use headroom::emit::{Style, standard_headers, write_headers};
use headroom::translate::translate;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;

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
    headers: HeaderMap,
    native: Vec<HeaderName>,
    written: Vec<(HeaderName, HeaderValue)>,
    now: Timestamp,
}

impl Bench {
    fn new(provider: &str, native: &[(&'static str, &'static str)]) -> Self {
        let adapter = Catalog::default().get(provider).unwrap();
        let plan = (provider == "toggl").then_some("starter");
        let terms = Terms::new(&adapter, plan, None, &BTreeMap::new()).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in COMMON.iter().chain(native) {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        let mut bench = Self {
            adapter,
            terms,
            headers,
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

    fn answer<'a>(&self, headers: &'a HeaderMap) -> Answer<'a> {
        Answer {
            status: StatusCode::OK,
            headers,
            body: None,
        }
    }

    /// Bare reads and writes: nothing is decided.
    fn floor(&self, headers: &mut HeaderMap) {
        let mut sum = 0_u64;
        for name in &self.native {
            let text = headers.get(name).unwrap().to_str().unwrap();
            sum += text.parse::<u64>().unwrap_or(0);
        }
        black_box(sum);
        for (name, value) in &self.written {
            // A value has to be made; its text is known here.
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.insert(name.clone(), value);
        }
    }

    fn headroom(&self, headers: &mut HeaderMap) {
        let translation = translate(
            &self.adapter,
            &self.terms,
            &self.call(),
            &self.answer(headers),
            self.now,
        );
        write_headers(headers, &translation, StatusCode::OK, &Style::default());
    }
}

fn benches(criterion: &mut Criterion) {
    for (name, provider, native) in CASES {
        let bench = Bench::new(provider, native);
        let mut group = criterion.benchmark_group(name);
        group.bench_function("floor", |bencher| {
            bencher.iter_batched_ref(
                || bench.headers.clone(),
                |headers| bench.floor(headers),
                criterion::BatchSize::SmallInput,
            );
        });
        group.bench_function("headroom", |bencher| {
            bencher.iter_batched_ref(
                || bench.headers.clone(),
                |headers| bench.headroom(headers),
                criterion::BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group! {
    name = translation;
    config = Criterion::default().sample_size(50).warm_up_time(std::time::Duration::from_millis(500)).measurement_time(std::time::Duration::from_secs(2));
    targets = benches
}

criterion_main!(translation);
