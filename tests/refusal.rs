//! Headroom's own refusals, for every policy that ships and a call that it counts: whatever a provider's dress is, the caller
//! is told in the same way to wait.

use headroom::adapter::terms::Terms;
use headroom::adapter::{Answer, Call};
use headroom::emit::{Style, write_headers};
use headroom::fields::Fields;
use headroom::gateway::refusal::{Reason, Refused, used_up};
use headroom::quota::Origin;
use headroom::translate::{Translation, translate};
use http::HeaderValue;
use http::header::ACCEPT;
use jiff::Timestamp;
use serde_json::Value;

use crate::simulate::{example, policies};

fn refused(
    style: &Style,
    accept: &'static str,
    check: impl Fn(&str, &Refused<'_>, http::Response<bytes::Bytes>),
) {
    let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let mut headers = Fields::new();
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    for (adapter, _, policy) in policies() {
        let terms = Terms::new(adapter, None, None, &Default::default()).unwrap();
        let (method, path) = example(policy);
        let call = Call {
            method: &method,
            path: Some(&path),
            headers: Some(&headers),
            body: None,
        };
        let detail = used_up(&policy.name, Some(240), Origin::Own, 900);
        let refused = Refused {
            connection: "crm",
            adapter,
            terms: &terms,
            call: &call,
            reason: Reason::QuotaExceeded,
            policies: &[&policy.name],
            limit: Some(240),
            whose: Origin::Own,
            detail: &detail,
            retry_after: 900,
            reset: None,
            now,
        };
        let response: http::Response<bytes::Bytes> = refused
            .response("headroom", |headers, status| {
                write_headers(headers, &Translation::default(), status, style);
            })
            .into();
        let what = format!("{} {} {method} {path}", adapter.id, policy.name);
        assert_eq!(response.status(), 429, "{what}");
        assert_eq!(response.headers()["retry-after"], "900", "{what}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{what}");
        assert!(
            !response
                .headers()
                .contains_key("headroom-upstream-retry-after"),
            "{what}"
        );
        check(&what, &refused, response);
    }
}

#[test]
fn every_dress_is_one_that_translation_understands() {
    refused(&Style::default(), "*/*", |what, refused, response| {
        let json = response
            .headers()
            .get("content-type")
            .is_some_and(|value| value.to_str().unwrap().contains("json"));
        if json {
            assert!(
                serde_json::from_slice::<Value>(response.body()).is_ok(),
                "{what}: {:?}",
                response.body()
            );
        }
        if refused
            .adapter
            .refusal(refused.policies.first().copied())
            .is_none()
        {
            return;
        }
        let headers = Fields::from(response.headers());
        let answer = Answer {
            status: response.status(),
            headers: &headers,
            body: Some(response.body()),
        };
        let translation = translate(
            refused.adapter,
            refused.terms,
            refused.call,
            &answer,
            refused.now,
        );
        assert_eq!(translation.status, None, "{what}");
    });
}

#[test]
fn every_policy_has_a_problem_for_those_who_want_one() {
    let accept = "application/problem+json, */*;q=0.5";
    refused(&Style::default(), accept, |what, refused, response| {
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json",
            "{what}"
        );
        let problem: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(problem["violated-policies"][0], refused.policies[0]);
    });
}
