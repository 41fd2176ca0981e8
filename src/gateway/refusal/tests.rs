//! Refusals of every dress, with and without it.

use std::sync::Arc;

use http::header::ACCEPT;
use http::{HeaderName, Response};
use serde_json::{Value, json};

use super::*;
use crate::adapter::catalog::{Catalog, shipped};
use crate::adapter::parse::parse;

const NOW: &str = "2026-11-21T12:00:00Z";

struct Case {
    adapter: Arc<Adapter>,
    method: Method,
    path: &'static str,
    accept: Option<&'static str>,
    policy: &'static str,
    retry_after: u64,
}

impl Case {
    fn new(adapter: Arc<Adapter>, path: &'static str, policy: &'static str) -> Self {
        Self {
            adapter,
            method: Method::GET,
            path,
            accept: None,
            policy,
            retry_after: 900,
        }
    }

    fn shipped(id: &str, path: &'static str, policy: &'static str) -> Self {
        Self::new(Catalog::default().get(id).unwrap(), path, policy)
    }

    fn own(source: &str) -> Self {
        let file = format!(
            "name = \"Acme\"\ndocs = [\"https://acme.example\"]\n[policy.daily]\nquota = 100\n{source}"
        );
        let adapter = parse("acme", &file).unwrap_or_else(|mistakes| {
            panic!("{}", mistakes.render("acme", &file, false));
        });
        Self::new(Arc::new(adapter), "/a", "daily")
    }

    fn response(&self) -> Response<Bytes> {
        let accept = self.accept.iter();
        let headers = accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept)));
        let headers = headers.collect();
        let terms = Terms::new(&self.adapter, None, None, &Default::default()).unwrap();
        let refused = Refused {
            connection: "crm",
            adapter: &self.adapter,
            terms: &terms,
            call: &Call {
                method: &self.method,
                path: Some(self.path),
                headers: Some(&headers),
                body: None,
            },
            reason: Reason::QuotaExceeded,
            policies: &[self.policy],
            limit: Some(240),
            whose: Origin::Own,
            detail: "A \"sentence\".",
            retry_after: self.retry_after,
            reset: None,
            now: NOW.parse().unwrap(),
        };
        let reply = refused.response("headroom", |headers, status| {
            assert!(!headers.contains_key(RETRY_AFTER), "nothing to move away");
            headers.insert(
                HeaderName::from_static("x-status"),
                HeaderValue::from(status.as_u16()),
            );
            headers.insert(RETRY_AFTER, HeaderValue::from_static("5000"));
        });
        reply.into()
    }
}

fn text<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// What every refusal has, whatever it wears.
fn check(response: &Response<Bytes>, status: u16, retry_after: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(text(response, "x-status"), status.to_string());
    assert_eq!(text(response, "retry-after"), retry_after);
    assert_eq!(response.headers().get_all(RETRY_AFTER).iter().count(), 1);
    assert_eq!(text(response, "cache-control"), "no-store");
    assert_eq!(
        text(response, "proxy-status"),
        "headroom; error=http_request_denied"
    );
}

#[test]
fn a_refusal_wears_the_dress_and_the_status_that_translation_gives_it() {
    let response =
        Case::shipped("toggl", "/api/v9/workspaces/1/projects", "organization").response();
    check(&response, 429, "900");
    assert_eq!(text(&response, "x-toggl-quota-remaining"), "0");
    assert_eq!(text(&response, "x-toggl-quota-resets-in"), "900");
    assert!(!response.headers().contains_key(CONTENT_TYPE));
    assert!(response.body().is_empty());

    let response = Case::shipped("salesforce", "/services/data/v60.0/query", "daily").response();
    check(&response, 429, "900");
    assert_eq!(text(&response, "content-type"), "application/json");
    assert!(
        std::str::from_utf8(response.body())
            .unwrap()
            .contains("REQUEST_LIMIT_EXCEEDED")
    );

    let response = Case::shipped("stripe", "/v1/charges", "live").response();
    check(&response, 429, "900");
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["error"]["code"], "rate_limit");
    assert_eq!(body["error"]["message"], "A \"sentence\".");
}

/// Of whatever adapter ships: an SDK behind headroom sees one status for "no more".
#[test]
fn every_shipped_dress_is_429_through_headroom() {
    for (id, _) in shipped() {
        let adapter = Catalog::default().get(id).unwrap();
        for refusal in &adapter.refusals {
            let policies = adapter.policies.iter().map(|policy| &*policy.name);
            let policies = match &refusal.policy {
                Some(policy) => vec![policy.as_str()],
                None => policies.collect(),
            };
            let terms = Terms::new(&adapter, None, None, &Default::default()).unwrap();
            for policy in policies {
                let refused = Refused {
                    connection: id,
                    adapter: &adapter,
                    terms: &terms,
                    call: &Call {
                        method: &Method::POST,
                        path: None,
                        headers: None,
                        body: None,
                    },
                    reason: Reason::QueueFull,
                    policies: &[policy],
                    limit: None,
                    whose: Origin::Provider,
                    detail: &queue_full(policy, 1000, 3),
                    retry_after: 3,
                    reset: None,
                    now: NOW.parse().unwrap(),
                };
                let response = refused.response("headroom", |_, _| {});
                assert_eq!(response.status, 429, "{id} {policy}");
            }
        }
    }
}

#[test]
fn a_status_that_nothing_translates_stands() {
    let refusal = "[refusal]\nstatus = 503\ncontent_type = \"text/plain\"\nbody = \"{policy}: {detail} {reset_epoch}\"\n\
                   headers = { Retry-After = \"{retry_after}.5\", Content-Length = \"7\", Connection = \"close, x-hop\", X-Hop = \"1\" }\n";
    let response = Case::own(refusal).response();
    check(&response, 503, "900");
    assert_eq!(response.body(), "daily: A \"sentence\". 1795263300");
    for gone in ["content-length", "connection", "x-hop"] {
        assert!(!response.headers().contains_key(gone), "{gone}");
    }
    let rule = format!("{refusal}[[exhausted]]\nstatus = 503\npolicy = \"daily\"\n");
    check(&Case::own(&rule).response(), 429, "900");
    let other = format!("{refusal}[[exhausted]]\nstatus = 503\nbody_pattern = \"weekly\"\n");
    check(&Case::own(&other).response(), 503, "900");
    let by_body = format!("{refusal}[[exhausted]]\nstatus = 503\nbody_pattern = \"daily\"\n");
    check(&Case::own(&by_body).response(), 429, "900");
}

#[test]
fn without_a_dress_it_is_a_problem() {
    let mut case = Case::own("");
    case.retry_after = 0;
    let response = case.response();
    check(&response, 429, "1");
    assert_eq!(text(&response, "content-type"), "application/problem+json");
    assert_eq!(
        serde_json::from_slice::<Value>(response.body()).unwrap(),
        json!({
            "type": "https://iana.org/assignments/http-problem-types#quota-exceeded",
            "title": "Quota Exceeded",
            "status": 429,
            "detail": "A \"sentence\".",
            "code": "quota-exceeded",
            "connection": "crm",
            "violated-policies": ["daily"],
            "source": "own"
        })
    );
}

#[test]
fn a_caller_may_prefer_the_problem() {
    let mut case =
        Case::own("[refusal]\nstatus = 503\nbody = \"{}\"\ncontent_type = \"application/json\"\n");
    check(&case.response(), 503, "900");
    case.accept = Some("application/json");
    check(&case.response(), 503, "900");
    case.accept = Some("application/json;q=0.5, application/problem+json");
    let response = case.response();
    check(&response, 429, "900");
    assert_eq!(text(&response, "content-type"), "application/problem+json");
}

#[test]
fn an_answer_to_head_has_no_body() {
    for mut case in [
        Case::own(""),
        Case::own("[refusal]\nstatus = 429\nbody = \"no\"\n"),
    ] {
        case.method = Method::HEAD;
        let response = case.response();
        check(&response, 429, "900");
        assert!(response.body().is_empty());
    }
}

#[test]
fn the_sentences_say_who_and_when() {
    assert_eq!(
        used_up("daily", Some(500), Origin::Own, 0),
        "headroom did not send this call: your own quota `daily` of 500 is used up; try again in 1 s."
    );
    assert_eq!(
        used_up("burst", None, Origin::Provider, 7),
        "headroom did not send this call: the provider's quota `burst` is used up; try again in 7 s."
    );
    assert_eq!(
        queue_full("daily", 1000, 7),
        "headroom did not send this call: 1000 calls wait for the quota `daily` already; try again in 7 s."
    );
}

#[test]
fn a_reset_of_its_own_is_rounded_up() {
    let case = Case::own("[refusal]\nstatus = 429\nbody = \"{reset_epoch}\"\n");
    let terms = Terms::default();
    let refused = Refused {
        connection: "crm",
        adapter: &case.adapter,
        terms: &terms,
        call: &Call {
            method: &Method::GET,
            path: None,
            headers: None,
            body: None,
        },
        reason: Reason::QuotaExceeded,
        policies: &[],
        limit: None,
        whose: Origin::Provider,
        detail: "",
        retry_after: 1,
        reset: Some("2026-11-21T12:00:09.000000001Z".parse().unwrap()),
        now: NOW.parse().unwrap(),
    };
    let response = refused.response("headroom", |_, _| {});
    assert_eq!(response.body, "1795262410");
}
