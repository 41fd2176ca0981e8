//! The simulator against the translator: what is written is read back, for every adapter that ships.

mod faults;
mod limits;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use headroom::adapter::parse::parse;
use headroom::adapter::reading::{Extract, Quantity, Spelling};
use headroom::adapter::terms::Terms;
use headroom::adapter::{Adapter, Answer, Applies, Call, Policy, Quota, catalog};
use headroom::fields::Fields;
use headroom::form::{Moment, TimeForm};
use headroom::quota::ServiceLimit;
use headroom::simulate::native::{Frame, Native, Scene, State, write};
use headroom::simulate::provider::{Account, Budgets, Provider, Reply, Request, Verdict};
use headroom::time::{Nanos, Now, Steady};
use headroom::translate::{Translation, translate, window};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Method, StatusCode};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

static ADAPTERS: LazyLock<Vec<Arc<Adapter>>> = LazyLock::new(|| {
    let adapter = |(id, source): &(&str, &str)| match parse(id, source) {
        Ok(adapter) => Arc::new(adapter),
        Err(mistakes) => panic!("{id}: {}", mistakes.render(id, source, false)),
    };
    catalog::shipped().iter().map(adapter).collect()
});

pub(crate) fn policies() -> impl Iterator<Item = (&'static Adapter, usize, &'static Policy)> {
    ADAPTERS.iter().flat_map(|adapter| {
        let policies = adapter.policies.iter().enumerate();
        policies.map(move |(index, policy)| (&**adapter, index, policy))
    })
}

/// A call that a policy counts: method and path.
pub(crate) fn example(policy: &Policy) -> (Method, String) {
    let mut call = (Method::GET, "/simulated".to_owned());
    if let Applies::When(conditions) = &policy.applies {
        let condition = conditions.first().unwrap();
        if let Some(method) = condition.methods.first() {
            call.0 = method.clone();
        }
        if let Some(template) = condition.paths.first() {
            call.1 = concrete(template.as_str());
        }
    } else if matches!(policy.applies, Applies::Otherwise) {
        call.0 = Method::POST;
    } else if let Some(template) = policy
        .sent_when
        .iter()
        .flat_map(|condition| &condition.request.paths)
        .next()
    {
        call.1 = concrete(template.as_str());
    }
    call
}

/// A path that fits a template.
fn concrete(template: &str) -> String {
    let segment = |segment: &str| match segment {
        "*" | "**" => "some".to_owned(),
        name if name.starts_with('{') => "17".to_owned(),
        literal => literal.to_owned(),
    };
    let segments: Vec<String> = template.split('/').map(segment).collect();
    segments.join("/")
}

/// Whether an answer can tell this quantity of a policy.
fn reads(policy: &Policy, quantity: Quantity) -> bool {
    policy
        .readings
        .iter()
        .any(|reading| reading.extract.quantities().contains(&quantity))
}

/// Policies whose readings speak only of certain numbers.
fn constrained(adapter: &str, policy: &Policy, state: &mut State) {
    let limit_and_window = match (adapter, &*policy.name) {
        ("bluesky", "overall") => Some((3_000, 300)),
        ("bluesky", "writes-hourly") => Some((5_000, 3_600)),
        ("bluesky", "writes-daily") => Some((35_000, 86_400)),
        ("docker-hub", "pulls") => Some((state.limit.unwrap(), 21_600)),
        _ => None,
    };
    if let Some((limit, window)) = limit_and_window {
        state.limit = Some(limit);
        state.window = Some(window);
    }
    match (adapter, &*policy.name) {
        ("bluesky", "other") => {
            let (limit, window) = (state.limit.unwrap(), state.window.unwrap());
            state.label = Some(format!("{limit};w={window}").into());
        }
        ("okta", "user") => state.limit = Some(1),
        ("okta", "org") => state.limit = state.limit.map(|limit| limit.max(2)),
        ("okta", "concurrent") => (state.limit, state.remaining) = (None, None),
        _ => {}
    }
    // Where no answer tells it, the documented one holds.
    if let (Quota::Fixed(quota), false) = (&policy.quota, reads(policy, Quantity::Limit)) {
        state.limit = Some(*quota);
    }
    state.remaining = state
        .remaining
        .zip(state.limit)
        .map(|(left, limit)| left.min(limit));
}

/// The coarsest step of a policy's times, in seconds.
fn step(policy: &Policy) -> u64 {
    let spellings = policy
        .readings
        .iter()
        .flat_map(|reading| match &reading.extract {
            Extract::One(_, Quantity::Reset, spelling) => vec![spelling],
            Extract::Groups(_, parts) => parts.iter().map(|part| &part.2).collect(),
            Extract::Each(_, parts) => parts.iter().map(|part| &part.2).collect(),
            _ => Vec::new(),
        });
    let forms = spellings.filter_map(|spelling| match spelling {
        Spelling::Time(forms) => forms.first(),
        _ => None,
    });
    forms
        .map(|form| match form {
            TimeForm::Minutes => 60,
            TimeForm::Hours => 3_600,
            _ => 1,
        })
        .max()
        .unwrap_or(1)
}

fn terms(adapter: &Adapter, state: &State) -> Terms {
    let quotas: BTreeMap<String, u64> = state
        .limit
        .map(|limit| (adapter.policies[state.policy].name.to_string(), limit))
        .into_iter()
        .collect();
    Terms::new(adapter, None, Some(&TimeZone::UTC), &quotas).unwrap()
}

/// Writes a state and reads it again.
fn there_and_back(
    adapter: &Adapter,
    state: &State,
    status: StatusCode,
    now: Timestamp,
) -> (Native, Translation) {
    let (method, path) = example(&adapter.policies[state.policy]);
    let headers = Fields::new();
    let call = Call {
        method: &method,
        path: Some(&path),
        headers: Some(&headers),
        body: None,
    };
    let scene = Scene {
        adapter,
        zone: Some(&TimeZone::UTC),
        call: &call,
        now,
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    let frame = Frame {
        status,
        headers,
        ..Frame::default()
    };
    let native = write(&scene, std::slice::from_ref(state), &frame);
    let body = native.body.to_bytes();
    let headers = Fields::from(&native.headers);
    let answer = Answer {
        status,
        headers: &headers,
        body: Some(&body),
    };
    let translation = translate(adapter, &terms(adapter, state), &call, &answer, now);
    (native, translation)
}

fn limit_of<'t>(
    adapter: &Adapter,
    translation: &'t Translation,
    state: &State,
) -> Option<&'t ServiceLimit> {
    let named = |name: &str| {
        let mut limits = translation.limits.iter();
        limits.find(|limit| &*limit.policy == name)
    };
    let label = state.label.as_deref().and_then(named);
    label.or_else(|| named(&adapter.policies[state.policy].name))
}

/// What the answer tells comes back.
fn check(adapter: &Adapter, state: &State, status: StatusCode, now: Timestamp) -> Native {
    let (native, translation) = there_and_back(adapter, state, status, now);
    let policy = &adapter.policies[state.policy];
    let told = |quantity| native.tells(state.policy, quantity);
    let case = format!(
        "{} {} {status} {state:?}\n{native:#?}\n{translation:#?}",
        adapter.id, policy.name
    );
    let counted = told(Quantity::Remaining) || told(Quantity::Used);
    if !counted && !told(Quantity::Limit) && !told(Quantity::Reset) {
        return native;
    }
    let limit = limit_of(adapter, &translation, state).expect(&case);
    if state.limit.is_some() {
        assert_eq!(limit.limit, state.limit, "{case}");
    }
    if counted {
        assert_eq!(limit.remaining, state.remaining, "{case}");
    }
    if told(Quantity::Reset) {
        let wanted = state.reset.unwrap().seconds_from(now).max(0).unsigned_abs();
        let reset = limit.reset.expect(&case);
        assert!(reset >= wanted, "too early\n{case}");
        assert!(reset <= wanted + step(policy), "too late\n{case}");
    }
    if told(Quantity::Window) {
        assert_eq!(limit.window, state.window, "{case}");
    }
    native
}

fn state(index: usize, policy: &Policy, now: Timestamp) -> State {
    State {
        policy: index,
        label: Some(Arc::from("search-index")),
        limit: Some(600),
        remaining: Some(17),
        reset: Some(Moment::In(SignedDuration::from_secs(900))),
        window: window::length_secs(policy, None, now).or(Some(3_600)),
        cost: Some(3),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(
        limit in 1_u64..2_000_000,
        part in 0_u64..=4,
        reset_ms in 0_i64..40 * 86_400_000,
        now_ms in 1_750_000_000_000_i64..1_950_000_000_000,
        window in 1_u64..100_000,
        refused in any::<bool>(),
    ) {
        let now = Timestamp::from_millisecond(now_ms).unwrap();
        for (adapter, index, policy) in policies().filter(|(.., policy)| !policy.readings.is_empty()) {
            let mut state = state(index, policy, now);
            state.limit = Some(limit);
            // Nothing left in one of five.
            state.remaining = Some(limit * part / 4);
            state.reset = Some(Moment::In(SignedDuration::from_millis(reset_ms)));
            state.window = window::length_secs(policy, None, now).or(Some(window));
            constrained(&adapter.id, policy, &mut state);
            let status = if refused && part == 0 { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
            check(adapter, &state, status, now);
        }
    }
}

/// A reading that the simulator never writes would never be tried.
#[test]
fn every_reading_is_written_at_some_time() {
    let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let mut silent = Vec::new();
    for (adapter, index, policy) in policies() {
        let mut state = state(index, policy, now);
        constrained(&adapter.id, policy, &mut state);
        let mut nothing_left = state.clone();
        nothing_left.remaining = state.remaining.map(|_| 0);
        let served = check(adapter, &state, StatusCode::OK, now);
        let refused = check(adapter, &nothing_left, StatusCode::TOO_MANY_REQUESTS, now);
        for quantity in Quantity::ALL {
            if reads(policy, quantity)
                && !served.tells(index, quantity)
                && !refused.tells(index, quantity)
            {
                silent.push(format!(
                    "{} {} {}",
                    adapter.id,
                    policy.name,
                    quantity.name()
                ));
            }
        }
    }
    assert!(silent.is_empty(), "never written: {silent:#?}");
}

/// The structured fields tell of what has no readings of its own.
#[test]
fn structured_fields_are_read_back() {
    let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let structured = policies().filter(|(adapter, _, policy)| {
        adapter.structured_fields.is_some() && policy.readings.is_empty()
    });
    let mut seen = 0;
    for (adapter, index, policy) in structured {
        let state = State {
            label: None,
            ..state(index, policy, now)
        };
        let native = check(adapter, &state, StatusCode::OK, now);
        assert!(native.tells(index, Quantity::Limit), "{}", adapter.id);
        seen += 1;
    }
    assert!(seen > 0);
}

/// A moment on both clocks, which nobody sets.
fn moment(now: Timestamp) -> Now {
    let wall_ms = now.as_millisecond();
    let since = u64::try_from(wall_ms - 1_700_000_000_000).unwrap();
    Now {
        steady: Steady(1 << 56).after(Nanos::from_millis(since)),
        wall_ms,
    }
}

/// One exchange with a simulated provider.
struct Exchange {
    verdict: Verdict,
    /// Its words.
    reply: Reply,
    /// What the translator makes of them.
    translation: Translation,
}

fn exchange(
    provider: &Provider,
    budgets: &mut Budgets,
    call: &(Method, String),
    now: Timestamp,
) -> Exchange {
    let verdict = admit(provider, budgets, call, now);
    answered(provider, verdict, call, now)
}

/// A call of which only the verdict is wanted.
fn admit(
    provider: &Provider,
    budgets: &mut Budgets,
    (method, path): &(Method, String),
    now: Timestamp,
) -> Verdict {
    let headers = Fields::new();
    let request = Request {
        call: call(method, path, &headers),
        query: None,
    };
    provider.admit(budgets, &request, moment(now))
}

fn answered(
    provider: &Provider,
    verdict: Verdict,
    (method, path): &(Method, String),
    now: Timestamp,
) -> Exchange {
    let headers = Fields::new();
    let call = call(method, path, &headers);
    let reply = provider.reply(&Request { call, query: None }, &verdict, 1, now);
    let told = Fields::from(&reply.headers);
    let answer = Answer {
        status: reply.status,
        headers: &told,
        body: Some(&reply.body),
    };
    let translation = translate(provider.adapter(), provider.terms(), &call, &answer, now);
    Exchange {
        verdict,
        reply,
        translation,
    }
}

fn call<'a>(method: &'a Method, path: &'a str, headers: &'a Fields) -> Call<'a> {
    Call {
        method,
        path: Some(path),
        headers: Some(headers),
        body: None,
    }
}

/// The most requests that a test makes of one policy.
const PATIENCE: u64 = 5_000;

/// A provider where this policy is the first to be used up: by its documented quota, if that is small enough, else by
/// one of 2. What others document is no obstacle; what nobody documents is not enforced.
fn scarce(adapter: &Arc<Adapter>, index: usize, now: Timestamp) -> (Provider, u64) {
    let plain = Provider::new(Arc::clone(adapter), &Account::default(), now).unwrap();
    let documented: BTreeMap<String, u64> = plain
        .enforced()
        .map(|enforced| (enforced.policy.name.to_string(), enforced.quota))
        .collect();
    let mut account = Account::default();
    let mut most = 2;
    for (other, policy) in adapter.policies.iter().enumerate() {
        let name = policy.name.to_string();
        let known = documented.get(&name).copied();
        if other != index {
            if known.is_some() {
                account.quotas.insert(name, (1_000_000, None));
            }
        } else if let Some(quota) = known.filter(|quota| *quota <= PATIENCE) {
            most = quota;
        } else {
            let window = window::length_secs(policy, None, now)
                .is_none()
                .then_some(60);
            account.quotas.insert(name, (2, window));
        }
    }
    let provider = Provider::new(Arc::clone(adapter), &account, now).unwrap();
    (provider, most)
}

/// A provider that has just refused a call because of one policy.
struct UsedUp {
    provider: Provider,
    budgets: Budgets,
    call: (Method, String),
    /// Calls that it served, and that have not ended.
    served: Vec<Verdict>,
    refusal: Exchange,
    /// The moment of the refusal.
    now: Timestamp,
}

/// Calls until this policy refuses.
fn use_up(adapter: &Arc<Adapter>, index: usize, now: Timestamp) -> UsedUp {
    let policy = &adapter.policies[index];
    let (provider, most) = scarce(adapter, index, now);
    let call = example(policy);
    let mut budgets = Budgets::default();
    let mut served = Vec::new();
    // Calls of one moment are a nanosecond apart.
    let slow = policy
        .slower_than_secs
        .map_or(0, |secs| secs as i64 * 1_000 + 1);
    let slow = SignedDuration::from_millis(slow);
    for calls in 0..=most {
        // Where only slow calls count, all of them are slow by then.
        let now = if calls == most { now + slow } else { now };
        let verdict = admit(&provider, &mut budgets, &call, now);
        if verdict.refused.is_some() {
            return UsedUp {
                refusal: answered(&provider, verdict, &call, now),
                provider,
                budgets,
                call,
                served,
                now,
            };
        }
        served.push(verdict);
    }
    panic!("{} {} never refuses", adapter.id, policy.name);
}

/// Refusals that the provider's own words do not tell from a limit of another kind, or from none: what the adapter
/// documents is all that the simulator may say.
const NOT_TOLD: &[&str] = &[
    // Box gives the same answer for the load of its servers.
    "box general",
    "box search",
    "box search-minute",
    "box search-enterprise",
    "box sign-create",
    "box sign-get",
    // Known by their documented numbers alone, and the test has smaller ones.
    "bluesky writes-hourly",
    "bluesky writes-daily",
    "okta user",
    // "The answer does not say which."
    "calendly invitee-minute",
    "calendly invitee-hour",
    "calendly invitee-day",
    // No header tells it, and a 429 with something left of the others is not explained.
    "intercom workspace",
    "zendesk update-ticket",
    "zendesk update-tickets",
    "zendesk execute-view",
    "zendesk search-export",
    "zendesk global",
    // Which reason Stripe gives for them is not documented, and a 429 without a reason is no limit.
    "stripe meter-events",
    "stripe search",
    "stripe files-read",
    "stripe payment-intent",
];

#[test]
fn simulated_exhaustion_is_understood() {
    let now: Timestamp = "2026-11-21T12:00:00.25Z".parse().unwrap();
    let mut misunderstood = Vec::new();
    for adapter in ADAPTERS.iter() {
        for (index, policy) in adapter.policies.iter().enumerate() {
            let name = format!("{} {}", adapter.id, policy.name);
            let Exchange {
                reply, translation, ..
            } = use_up(adapter, index, now).refusal;
            let status = translation.status.unwrap_or(reply.status);
            let told = policy
                .readings
                .iter()
                .any(|reading| match &reading.extract {
                    Extract::One(_, quantity, _) => {
                        matches!(quantity, Quantity::Remaining | Quantity::Used)
                    }
                    _ => true,
                });
            let named = adapter
                .exhausted
                .iter()
                .any(|rule| rule.policy == Some(index));
            let exhausted = translation
                .limits
                .iter()
                .any(|limit| limit.policy == policy.name && limit.is_exhausted());
            let understood = translation.exhausted
                && status == StatusCode::TOO_MANY_REQUESTS
                && (exhausted || !(told || named));
            if understood == NOT_TOLD.contains(&name.as_str()) {
                misunderstood.push(format!(
                    "{name}: {} {:?} {} -> {status} exhausted={} {:?}",
                    reply.status,
                    reply.headers,
                    String::from_utf8_lossy(&reply.body),
                    translation.exhausted,
                    translation
                        .limits
                        .iter()
                        .map(|limit| (&limit.policy, limit.remaining))
                        .collect::<Vec<_>>(),
                ));
            }
        }
    }
    assert!(misunderstood.is_empty(), "{misunderstood:#?}");
}

/// Where the provider tells how long to wait, so does who stands in for it, in the same form.
#[test]
fn simulated_refusals_tell_the_wait_as_the_provider_does() {
    let now: Timestamp = "2026-11-21T12:00:00.25Z".parse().unwrap();
    let mut seen = BTreeSet::new();
    for adapter in ADAPTERS.iter() {
        for (index, policy) in adapter.policies.iter().enumerate() {
            let Some(refusal) = adapter.refusal(Some(&policy.name)) else {
                continue;
            };
            let mut headers = refusal.headers.iter();
            let template = headers.find(|(name, _)| name == RETRY_AFTER);
            let Some((_, template)) = template else {
                continue;
            };
            let reply = use_up(adapter, index, now).refusal.reply;
            // A rule can know its refusal by a body of its own.
            if reply.headers.get(CONTENT_TYPE) != refusal.content_type.as_ref() {
                continue;
            }
            let told: Vec<&str> = reply
                .headers
                .get_all(RETRY_AFTER)
                .iter()
                .map(|value| value.to_str().unwrap())
                .collect();
            let [told] = told.as_slice() else {
                panic!("{} {}: {told:?}", adapter.id, policy.name);
            };
            let fits = match &**template {
                "{retry_after}" => told.parse::<u32>().is_ok(),
                "{retry_after}.0" => told.ends_with(".0") && told.parse::<f32>().is_ok(),
                "{reset_http_date}" => {
                    told.starts_with("Sat, 21 Nov 2026 ") && told.ends_with(" GMT")
                }
                other => panic!("{other}"),
            };
            assert!(fits, "{} {}: {told}", adapter.id, policy.name);
            seen.insert(adapter.id.to_string());
        }
    }
    assert!(seen.len() > 9, "{seen:?}");
}
