//! One pure part of a call, again and again: `headroom-parts PART TIMES`. `bench/instructions` runs it under callgrind for two
//! numbers of times and subtracts, so what is done once does not count.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use headroom::adapter::catalog::Catalog;
use headroom::adapter::parse::parse;
use headroom::adapter::terms::Terms;
use headroom::adapter::{Adapter, Answer, Call};
use headroom::clock;
use headroom::emit::{Style, write_headers};
use headroom::fields::Fields;
use headroom::ledger::account::Account;
use headroom::ledger::meter::Caller;
use headroom::ledger::rule::Wishes;
use headroom::ledger::{Demand, Item, Ledger, Settings};
use headroom::quota::Mode;
use headroom::translate::{Translation, translate};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use smallvec::smallvec;

/// Three numbers of one policy, as most providers send them.
const THREE: &str = "date: Sat, 21 Nov 2026 12:00:00 GMT
content-type: application/json; charset=utf-8
content-length: 1024
cache-control: private, max-age=0
x-request-id: 7f1a6c1e
x-ratelimit-limit: 500
x-ratelimit-remaining: 499
x-ratelimit-reset: 60";
/// Three policies in seven fields.
const SEVEN: &str = "date: Sat, 21 Nov 2026 12:00:00 GMT
content-type: application/json; charset=utf-8
content-length: 1024
cache-control: private, max-age=0
x-request-id: 7f1a6c1e
x-hubspot-ratelimit-daily: 250000
x-hubspot-ratelimit-daily-remaining: 249991
x-hubspot-ratelimit-interval-milliseconds: 10000
x-hubspot-ratelimit-max: 100
x-hubspot-ratelimit-remaining: 99
x-hubspot-ratelimit-secondly: 10
x-hubspot-ratelimit-secondly-remaining: 9";
const METER: &str = r#"name = "Stub"
docs = ["https://example.com"]
[policy.minute]
quota = 1_000_000_000_000
window = "1m"
kind = "fixed""#;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [part, times] = arguments.as_slice() else {
        panic!("headroom-parts PART TIMES");
    };
    let times = times.parse().unwrap();
    match part.as_str() {
        "translate-three" => Translating::new("calendly", THREE).translates(times),
        "translate-seven" => Translating::new("hubspot", SEVEN).translates(times),
        "emit-three" => Translating::new("calendly", THREE).emits(times),
        "emit-seven" => Translating::new("hubspot", SEVEN).emits(times),
        "admit" => admits(times),
        _ => panic!(
            "{part} is none of translate-three, translate-seven, emit-three, emit-seven, admit"
        ),
    }
}

struct Translating {
    adapter: Arc<Adapter>,
    terms: Terms,
    headers: Fields,
}

impl Translating {
    fn new(provider: &str, fields: &'static str) -> Self {
        let adapter = Catalog::default().get(provider).unwrap();
        let terms = Terms::new(&adapter, None, None, &BTreeMap::new()).unwrap();
        let fields = fields.lines().map(|line| line.split_once(": ").unwrap());
        let headers = fields
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        Self {
            adapter,
            terms,
            headers,
        }
    }

    fn translate(&self) -> Translation {
        let call = Call {
            method: &Method::GET,
            path: Some("/crm/v3/objects/contacts/1234567"),
            headers: None,
            body: None,
        };
        let answer = Answer {
            status: StatusCode::OK,
            headers: &self.headers,
            body: None,
        };
        let noon = jiff::Timestamp::constant(1_795_262_400, 0);
        translate(&self.adapter, &self.terms, black_box(&call), &answer, noon)
    }

    fn translates(&self, times: u32) {
        assert!(self.translate().binding.is_some());
        for _ in 0..times {
            black_box(self.translate());
        }
    }

    fn emits(&self, times: u32) {
        let translation = self.translate();
        for _ in 0..times {
            // With room for all: that it grows is not what is measured.
            let mut headers = Fields::with_capacity(24, 1024);
            let style = Style::default();
            write_headers(
                &mut headers,
                black_box(&translation),
                StatusCode::OK,
                &style,
            );
            black_box(headers);
        }
    }
}

/// A decision, and what a call gives back that never got an answer.
fn admits(times: u32) {
    let adapter = parse("stub", METER).unwrap();
    let terms = Terms::new(&adapter, None, None, &BTreeMap::new()).unwrap();
    let wishes = |_: &str| Wishes {
        mode: Some(Mode::Enforce),
        ..Wishes::default()
    };
    let account = Account::new("stub", "http://stub", &adapter, &terms, &wishes, 1_000);
    let account = Arc::new(account);
    let ledger = Arc::new(Ledger::new(Settings::default(), None));
    let now = clock::moment();
    for _ in 0..times {
        let demand = Demand {
            account: &account,
            items: smallvec![Item {
                policy: 0,
                key: 1,
                shared: 1,
                cost: 1,
            }],
            label: &|_| String::new(),
            caller: Caller {
                id: 1,
                is_named: false,
            },
            is_resident: true,
            urgency: 3,
            patience: None,
            mode_patience: Duration::ZERO,
        };
        let attempt = ledger.try_admit(black_box(&demand), None, now);
        drop(black_box(attempt));
    }
}
