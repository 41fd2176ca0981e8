//! A text is an adapter that can be used, or has mistakes that point into it.

use headroom::adapter::parse::parse;
use headroom::adapter::reading::Source;
use headroom::adapter::terms::Terms;
use headroom::adapter::{Adapter, Answer, Call};
use headroom::diagnostic::Mistakes;
use headroom::fields::Fields;
use headroom::translate::{documented, translate};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;

use super::emitted;

pub(crate) fn run(data: &[u8]) {
    let Ok(source) = std::str::from_utf8(data) else {
        return;
    };
    match parse("some", source) {
        Ok(adapter) => check_use(&adapter),
        Err(mistakes) => {
            assert!(!mistakes.is_empty());
            check_mistakes(source, &mistakes);
        }
    }
}

/// Every mistake points into the text and says what to do.
pub(crate) fn check_mistakes(source: &str, mistakes: &Mistakes) {
    for mistake in mistakes.sorted() {
        assert!(mistake.span.start <= mistake.span.end, "{mistake:?}");
        assert!(mistake.span.end <= source.len(), "{mistake:?}");
        assert!(
            !mistake.message.is_empty() && !mistake.help.is_empty(),
            "{mistake:?}"
        );
    }
    let told = mistakes.render("some.toml", source, false);
    assert_eq!(told.is_empty(), mistakes.is_empty(), "{told}");
}

/// Trivial answers are understood on every plan.
fn check_use(adapter: &Adapter) {
    let plans = adapter.plans();
    for plan in plans.iter().copied().map(Some).chain([None]) {
        let Ok(terms) = Terms::new(adapter, plan, None, &Default::default()) else {
            continue;
        };
        for value in ["0", "1", "1, 2;w=3", "{\"a\":[1]}", "soon"] {
            for status in [200, 402, 429, 503] {
                check_answer(adapter, &terms, value, status);
            }
        }
    }
}

fn check_answer(adapter: &Adapter, terms: &Terms, value: &'static str, status: u16) {
    let mut headers = Fields::new();
    for name in names(adapter) {
        headers.append(name, HeaderValue::from_static(value));
    }
    let call = Call {
        method: &Method::GET,
        path: Some("/a/1"),
        headers: None,
        body: None,
    };
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let answer = Answer {
        status,
        headers: &headers,
        body: Some(value.as_bytes()),
    };
    let now = Timestamp::UNIX_EPOCH;
    emitted::check(&translate(adapter, terms, &call, &answer, now), status);
    emitted::check(&documented(adapter, terms, &call, now), status);
}

/// The headers that it reads.
fn names(adapter: &Adapter) -> Vec<HeaderName> {
    let policies = adapter.policies.iter().flat_map(|policy| &policy.readings);
    let readings = policies.chain(&adapter.retry_after);
    let mut names: Vec<HeaderName> = readings
        .filter_map(|reading| match &reading.source {
            Source::Header(name) => Some(name.clone()),
            _ => None,
        })
        .collect();
    names.extend(
        adapter
            .structured_fields
            .iter()
            .flat_map(|(policy, limit)| [policy.clone(), limit.clone()]),
    );
    names
}
