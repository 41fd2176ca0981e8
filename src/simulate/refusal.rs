//! The dress of an exhausted quota: the status, the headers and the body by which this provider's callers know it. Each
//! way to dress is tried with the translator, and the one that it understands best is taken. Pure: no clock, no I/O.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::native::{Frame, Native, Payload, Scene, State, wanted, write};
use super::{example, json};
use crate::adapter::condition::{Body, Matcher};
use crate::adapter::reading::{Reading, Source};
use crate::adapter::terms::Terms;
use crate::adapter::{Adapter, Answer, Exhaustion, Policy, Refusal};
use crate::dress::{Dress, Words};
use crate::fields::Fields;
use crate::form::Moment;
use crate::translate::{Translation, translate};

/// A request that found no room.
#[derive(Debug, Clone, Copy)]
pub struct Refused {
    /// The policy that refused, as an index.
    pub policy: usize,
    /// When there is room again; `None`: nobody knows.
    pub wait: Option<Timestamp>,
}

/// The provider's refusal.
#[must_use]
pub fn dress(
    scene: &Scene<'_>,
    terms: &Terms,
    states: &[State],
    refused: &Refused,
) -> (StatusCode, Native) {
    let mut best: Option<(u8, StatusCode, Native)> = None;
    for (rule, frame) in wardrobe(scene, states, refused) {
        let native = write(scene, states, &frame);
        let bytes = native.body.to_bytes();
        let headers = Fields::from(&native.headers);
        let answer = Answer {
            status: frame.status,
            headers: &headers,
            body: Some(&bytes),
        };
        // A rule that does not know its own dress has none; `plain` ones have no rule.
        let body = Body::new(Some(&bytes));
        if rule.is_some_and(|rule| !rule.when.holds(scene.call, &answer, &body)) {
            continue;
        }
        let translation = translate(scene.adapter, terms, scene.call, &answer, scene.now);
        let score = score(
            scene.adapter,
            &translation,
            states,
            refused.policy,
            frame.status,
        );
        if best.as_ref().is_none_or(|(old, ..)| score > *old) {
            best = Some((score, frame.status, native));
        }
    }
    best.map_or_else(
        || (StatusCode::TOO_MANY_REQUESTS, Native::default()),
        |(_, status, native)| (status, native),
    )
}

/// How well a refusal is understood.
fn score(
    adapter: &Adapter,
    translation: &Translation,
    states: &[State],
    policy: usize,
    status: StatusCode,
) -> u8 {
    let seen = translation.status.unwrap_or(status);
    if !translation.exhausted || seen != StatusCode::TOO_MANY_REQUESTS {
        return 0;
    }
    let name = |index: usize| adapter.policies.get(index).map(|policy| &policy.name);
    let empty: Vec<&Arc<str>> = states
        .iter()
        .filter(|state| state.remaining == Some(0))
        .filter_map(|state| name(state.policy))
        .collect();
    let mut exhausted = translation
        .limits
        .iter()
        .filter(|limit| limit.is_exhausted())
        .map(|limit| &limit.policy);
    let own = exhausted
        .clone()
        .any(|exhausted| Some(exhausted) == name(policy));
    match (exhausted.all(|exhausted| empty.contains(&exhausted)), own) {
        (true, true) => 3,
        (true, false) => 2,
        (false, _) => 1,
    }
}

/// Every way to dress, the most fitting first.
fn wardrobe<'a>(
    scene: &Scene<'a>,
    states: &[State],
    refused: &Refused,
) -> Vec<(Option<&'a Exhaustion>, Frame)> {
    let adapter = scene.adapter;
    let Some(policy) = adapter.policies.get(refused.policy) else {
        return Vec::new();
    };
    let tailor = Tailor {
        scene,
        policy,
        refusal: adapter.refusal(Some(&policy.name)),
        limit: states
            .iter()
            .find(|state| state.policy == refused.policy)
            .and_then(|state| state.limit),
        wait: refused.wait,
    };
    let fits = |rule: &&Exhaustion| {
        rule.policy.is_none_or(|named| named == refused.policy)
            && rule.when.request.holds(scene.call) != Some(false)
    };
    let named = |rule: &&Exhaustion| rule.policy.is_some();
    let rules = || adapter.exhausted.iter().filter(fits);
    let mut frames = Vec::new();
    for rule in rules()
        .filter(named)
        .chain(rules().filter(|rule| !named(rule)))
    {
        let dresses = tailor.by_rule(rule).into_iter();
        frames.extend(dresses.map(|frame| (Some(rule), frame)));
    }
    frames.extend(tailor.plain().into_iter().map(|frame| (None, frame)));
    frames
}

/// Makes frames.
struct Tailor<'a> {
    scene: &'a Scene<'a>,
    policy: &'a Policy,
    refusal: Option<&'a Refusal>,
    limit: Option<u64>,
    wait: Option<Timestamp>,
}

impl Tailor<'_> {
    /// As an `[[exhausted]]` rule knows it, with `[refusal]` where both fit together.
    fn by_rule(&self, rule: &Exhaustion) -> Vec<Frame> {
        let statuses = &rule.when.statuses;
        let worn =
            |refusal: &&Refusal| statuses.is_empty() || statuses.contains(&refusal.status.as_u16());
        let refusal = self.refusal.filter(worn);
        let status = |dress: Option<&Dress>| {
            let first = statuses
                .first()
                .and_then(|code| StatusCode::from_u16(*code).ok());
            dress
                .map(|dress| dress.status)
                .or(first)
                .unwrap_or(StatusCode::TOO_MANY_REQUESTS)
        };
        let words = rule
            .when
            .body_pattern
            .as_ref()
            .and_then(|pattern| example::text(pattern.as_str(), None));
        let mut frames = Vec::new();
        // With the words of the rule's pattern only where it looks for some.
        let worded = words.map(|words| format!("{words}. {}", self.detail()));
        for detail in [Some(self.detail()), worded].into_iter().flatten() {
            if let Some(refusal) = refusal {
                let dress = self.worn(refusal, &detail);
                let body = payload(&dress);
                let more = with_members(&body, rule, &self.policy.name);
                frames.push((Some(dress.clone()), body));
                frames.extend(more.map(|body| (Some(dress), body)));
            }
            let plain = if rule.when.body.is_empty() && rule.when.body_pattern.is_none() {
                self.plain_body()
            } else if rule.when.body.is_empty() {
                Payload::Text(detail)
            } else {
                Payload::Empty
            };
            frames.push((
                None,
                with_members(&plain, rule, &self.policy.name).unwrap_or(plain),
            ));
        }
        frames
            .into_iter()
            .map(|(dress, body)| self.frame(status(dress.as_ref()), dress, body, Some(rule)))
            .collect()
    }

    /// As `[refusal]` says, or with nothing but a 429.
    fn plain(&self) -> Vec<Frame> {
        let refusal = self.refusal.map(|refusal| {
            let dress = self.worn(refusal, &self.detail());
            let body = payload(&dress);
            self.frame(dress.status, Some(dress), body, None)
        });
        let bare = self.frame(StatusCode::TOO_MANY_REQUESTS, None, self.plain_body(), None);
        refusal.into_iter().chain([bare]).collect()
    }

    fn frame(
        &self,
        status: StatusCode,
        dress: Option<Dress>,
        body: Payload,
        rule: Option<&Exhaustion>,
    ) -> Frame {
        let mut headers = HeaderMap::new();
        let mut without = Vec::new();
        let (content_type, defaults) = match (dress, &body) {
            (Some(dress), _) => (dress.content_type, dress.headers),
            (None, body) => (plain_type(body), HeaderMap::new()),
        };
        headers.extend(content_type.map(|value| (CONTENT_TYPE, value)));
        let mut tells_wait = defaults.contains_key(RETRY_AFTER);
        for (name, matcher) in rule.into_iter().flat_map(|rule| &rule.when.headers) {
            match matcher {
                Matcher::Present(false) => without.push(name.clone()),
                Matcher::Present(true) if *name == RETRY_AFTER => {
                    tells_wait = true;
                    headers.insert(RETRY_AFTER, HeaderValue::from(self.wait_secs()));
                }
                matcher => {
                    let value = wanted(matcher, &self.policy.name)
                        .and_then(|value| HeaderValue::from_str(&value).ok());
                    if let Some(value) = value {
                        headers.insert(name.clone(), value);
                    }
                }
            }
        }
        // Another policy's time to wait must not stand for this one's.
        if !tells_wait && !reads(self.policy, &RETRY_AFTER) {
            without.push(RETRY_AFTER);
        }
        Frame {
            status,
            headers,
            defaults,
            without,
            body,
            wait: self.wait.map(Moment::At),
        }
    }

    fn worn(&self, refusal: &Refusal, detail: &str) -> Dress {
        let wait = self.wait_secs();
        let words = Words {
            detail,
            policy: &self.policy.name,
            limit: self.limit,
            retry_after: wait,
            reset_epoch: i64::try_from(wait).map_or(0, |wait| self.scene.now.as_second() + wait),
        };
        Dress::new(refusal, &words)
    }

    fn plain_body(&self) -> Payload {
        Payload::Json(json!({ "simulated": true, "message": self.detail() }))
    }

    fn detail(&self) -> String {
        let quota = self
            .limit
            .map_or_else(String::new, |limit| format!(" of {limit}"));
        let wait = match self.wait {
            Some(_) => format!("; try again in {} s", self.wait_secs()),
            None => String::new(),
        };
        format!(
            "Simulated: the quota{quota} ({}) is used up{wait}",
            self.policy.name
        )
    }

    fn wait_secs(&self) -> u64 {
        let secs = self
            .wait
            .map_or(1, |wait| Moment::At(wait).seconds_from(self.scene.now));
        u64::try_from(secs).unwrap_or(0).max(1)
    }
}

fn payload(dress: &Dress) -> Payload {
    if dress.body.is_empty() {
        return Payload::Empty;
    }
    serde_json::from_str(&dress.body)
        .map_or_else(|_| Payload::Text(dress.body.clone()), Payload::Json)
}

/// The media type of a body that wears no dress.
const fn plain_type(body: &Payload) -> Option<HeaderValue> {
    match body {
        Payload::Json(_) => Some(HeaderValue::from_static("application/json")),
        Payload::Text(_) => Some(HeaderValue::from_static("text/plain")),
        Payload::Empty => None,
    }
}

/// The body with the members that a rule looks for; `None` where there are none or it is not JSON.
fn with_members(body: &Payload, rule: &Exhaustion, policy: &str) -> Option<Payload> {
    if rule.when.body.is_empty() {
        return None;
    }
    let mut root = match body {
        Payload::Json(root) => root.clone(),
        Payload::Empty => Value::Null,
        Payload::Text(_) => return None,
    };
    for (pointer, matcher) in &rule.when.body {
        let fits = pointer
            .first(&root)
            .and_then(crate::adapter::pointer::scalar_text);
        let stands = match matcher {
            Matcher::Is(values) => fits
                .is_some_and(|text| values.iter().any(|value| value.eq_ignore_ascii_case(&text))),
            Matcher::Pattern(pattern) => fits.is_some_and(|text| pattern.is_match(text.as_bytes())),
            Matcher::Present(there) => *there == fits.is_some(),
            Matcher::Not(_) => true,
        };
        if let Some(value) = wanted(matcher, policy).filter(|_| !stands) {
            json::overwrite(&mut root, pointer, json::scalar(&value));
        }
    }
    Some(Payload::Json(root))
}

/// Whether a policy reads this header.
fn reads(policy: &Policy, header: &HeaderName) -> bool {
    let from =
        |reading: &Reading| matches!(&reading.source, Source::Header(name) if name == header);
    policy.readings.iter().any(from)
}
