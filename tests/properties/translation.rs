//! What comes in: never more permissive than the provider, odd headers are notes, waits are rounded up.

use std::sync::Arc;

use headroom::adapter::parse::parse;
use headroom::adapter::reading::{Extract, Narrow, Quantity, Source as Place, Spelling};
use headroom::adapter::terms::Terms;
use headroom::adapter::{Adapter, Policy};
use headroom::form::{NumberForm, read_number};
use headroom::quota::{Origin, ServiceLimit, Source, Unit, binding};
use headroom::translate::Translation;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::answers::{
    Sent, changed_case, families, header_value, made_up, now, read_headers,
};
use crate::support::cases;

/// The header that tells a policy's remainder as a bare number, if there is one that always speaks.
fn remainder(policy: &Policy) -> Option<&HeaderName> {
    let renamed = policy
        .readings
        .iter()
        .any(|reading| matches!(reading.extract, Extract::One(_, Quantity::Label, _)));
    let bare = policy.readings.iter().find(|reading| {
        matches!(
            reading.extract,
            Extract::One(
                Narrow::Whole,
                Quantity::Remaining,
                Spelling::Number(NumberForm::Number)
            )
        ) && reading.when.is_none()
            && reading.ignore.is_empty()
    })?;
    match &bare.source {
        Place::Header(name) if !renamed => Some(name),
        _ => None,
    }
}

/// The lines of a header that are whole numbers, below zero as zero. Read without headroom's own forms.
fn numbers(headers: &HeaderMap, name: &HeaderName) -> Vec<u64> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok()?.trim().parse::<i128>().ok())
        .map(|number| u64::try_from(number.max(0)).unwrap_or(u64::MAX))
        .collect()
}

fn never_more_permissive(sent: &Sent) -> Result<(), TestCaseError> {
    let adapter = sent.adapter();
    let translation = sent.translate();
    for policy in &adapter.policies {
        let Some(header) = remainder(policy) else {
            continue;
        };
        // A sign is no number of headroom's.
        if sent
            .headers
            .get_all(header)
            .iter()
            .any(|value| value.as_bytes().contains(&b'+'))
        {
            continue;
        }
        // Less than nothing of no limit is what many send where there is none.
        let sends_unlimited = sent
            .headers
            .get_all(header)
            .iter()
            .any(|value| value.as_bytes().starts_with(b"-"));
        for limit in translation
            .limits
            .iter()
            .filter(|limit| limit.policy == policy.name)
            .filter(|limit| limit.limit.is_some() || !sends_unlimited)
        {
            for told in numbers(&sent.headers, header) {
                prop_assert!(
                    limit.remaining.is_some_and(|left| left <= told),
                    "{}: {header} says {told}: {translation:?}",
                    policy.name
                );
            }
        }
    }
    for limit in &translation.limits {
        if let (Some(limit), Some(left)) = (limit.limit, limit.remaining) {
            prop_assert!(left <= limit, "{translation:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// The user's own quota bounds what is left, and never loosens what the provider says.
    #[test]
    fn an_own_quota_only_tightens(sent in changed_case(), own in prop_oneof![0_u64..200, any::<u64>()]) {
        let adapter = sent.adapter();
        let quotas = adapter.policies.iter().map(|policy| (policy.name.to_string(), own)).collect();
        let terms = Terms::new(&adapter, None, None, &quotas).unwrap();
        let bounded = sent.translate_with(&adapter, &terms);
        let without = sent.translate();
        for limit in &bounded.limits {
            let known = adapter.policies.iter().any(|policy| policy.name == limit.policy);
            prop_assert!(!known || limit.remaining.is_none_or(|left| left <= own), "{bounded:?}");
            let before = without.limits.iter().find(|other| other.policy == limit.policy);
            if let Some(before) = before.and_then(|before| before.remaining) {
                prop_assert!(limit.remaining.is_some_and(|left| left <= before), "{bounded:?}");
            }
        }
    }

    #[test]
    fn never_more_is_left_than_any_header_says(sent in changed_case()) {
        never_more_permissive(&sent)?;
    }

    #[test]
    fn never_more_is_left_than_any_made_up_header_says(sent in made_up()) {
        never_more_permissive(&sent)?;
    }

    #[test]
    fn without_an_adapter_the_binding_policy_is_not_above_all_remainders(sent in families()) {
        let translation = sent.translate_generic();
        let told: Vec<u64> = ["ratelimit-remaining", "x-ratelimit-remaining", "x-rate-limit-remaining"]
            .iter()
            .flat_map(|name| numbers(&sent.headers, &HeaderName::from_static(name)))
            .collect();
        let plus = sent.headers.values().any(|value| value.as_bytes().contains(&b'+'));
        if let (Some(most), Some(limit), false) = (told.iter().max(), translation.binding_limit(), plus) {
            prop_assert!(
                limit.unit != Unit::Requests || limit.remaining.is_some_and(|left| left <= *most),
                "{told:?}: {translation:?}"
            );
        }
    }
}

#[test]
fn without_an_adapter_the_tightest_of_several_lines_counts() {
    for (lines, left) in [(["0", "1"], 0), (["1", "0"], 0), (["7", "9"], 7)] {
        let lines = lines.map(|line| ("x-ratelimit-remaining", line.to_owned()));
        let translation = answer(&lines, Timestamp::UNIX_EPOCH).translate_generic();
        assert_eq!(translation.limits[0].remaining, Some(left));
    }
}

/// Exhaustion in another dress: `Retry-After` is not earlier than `ratelimit-reset`, whatever the provider's own says.
#[test]
fn a_translated_exhaustion_waits_for_the_reset() {
    for (told, expected) in [("5", 900), ("0", 900), ("1200", 1200), ("soon", 900)] {
        let mut sent = answer(
            &[
                ("x-toggl-quota-remaining", "0".to_owned()),
                ("x-toggl-quota-resets-in", "900".to_owned()),
                ("retry-after", told.to_owned()),
            ],
            Timestamp::UNIX_EPOCH,
        );
        "toggl".clone_into(&mut sent.id);
        sent.status = StatusCode::PAYMENT_REQUIRED;
        let translation = sent.translate();
        assert_eq!(translation.status, Some(StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(translation.retry_after, Some(expected), "{told}");
    }
}

/// Of the user's own quota the provider knows nothing, so it is no reason of its refusals.
#[test]
fn an_own_quota_neither_makes_nor_hides_an_exhaustion() {
    let adapter = |id: &str| {
        headroom::adapter::catalog::Catalog::default()
            .get(id)
            .unwrap()
    };
    let terms = |adapter: &Adapter, plan: Option<&str>, policy: &str, own: u64| {
        Terms::new(adapter, plan, None, &[(policy.to_owned(), own)].into()).unwrap()
    };
    let toggl = adapter("toggl");
    let mut sent = answer(
        &[("x-toggl-quota-remaining", "100".to_owned())],
        Timestamp::UNIX_EPOCH,
    );
    sent.status = StatusCode::PAYMENT_REQUIRED;
    sent.path = Some("/api/v9/workspaces/1/projects".to_owned());
    let gated = sent.translate_with(&toggl, &terms(&toggl, Some("starter"), "organization", 100));
    assert_eq!(gated.limits[0].remaining, Some(0));
    assert_eq!((gated.status, gated.exhausted), (None, false));

    let reddit = adapter("reddit");
    let mut sent = answer(
        &[("x-ratelimit-used", "600".to_owned())],
        Timestamp::UNIX_EPOCH,
    );
    sent.status = StatusCode::TOO_MANY_REQUESTS;
    let refused = sent.translate_with(&reddit, &terms(&reddit, None, "oauth", 1_000));
    assert!(refused.exhausted);
    assert_eq!(refused.limits[0].remaining, Some(0));
}

#[test]
fn without_an_adapter_requests_are_not_taken_for_tokens() {
    let lines = [
        ("ratelimit-limit-tokens", "9"),
        ("ratelimit-limit", "5"),
        ("x-ratelimit-remaining", "4"),
    ];
    let lines = lines.map(|(name, line)| (name, line.to_owned()));
    let translation = answer(&lines, Timestamp::UNIX_EPOCH).translate_generic();
    let found: Vec<_> = translation
        .limits
        .iter()
        .map(|limit| (limit.unit.as_str(), limit.limit, limit.remaining))
        .collect();
    assert_eq!(
        found,
        [("tokens", Some(9), None), ("requests", Some(5), Some(4))]
    );
}

fn model_adapter(keys: &str) -> Adapter {
    let text =
        format!("name = \"Model\"\ndocs = \"https://example.com\"\n[policy.requests]\n{keys}\n");
    parse("model", &text).unwrap_or_else(|mistakes| panic!("{}", mistakes.render("", &text, false)))
}

fn answer(lines: &[(&'static str, String)], now: Timestamp) -> Sent {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_static(name),
            header_value(value.as_bytes()),
        );
    }
    Sent {
        id: "model".to_owned(),
        method: Method::GET,
        path: None,
        status: StatusCode::OK,
        headers,
        body: Vec::new(),
        now,
    }
}

fn translated(adapter: &Adapter, sent: &Sent) -> Translation {
    let terms = Terms::new(adapter, None, None, &Default::default()).unwrap();
    sent.translate_with(adapter, &terms)
}

/// Thousandths, so that the model has no other arithmetic than whole numbers.
fn thousandths() -> impl Strategy<Value = i64> {
    prop_oneof![(-5_i64..50).prop_map(|n| n * 1_000), -5_000_i64..50_000]
}

fn spelled(thousandths: i64) -> String {
    let sign = if thousandths < 0 { "-" } else { "" };
    let size = thousandths.abs();
    match size % 1_000 {
        0 => format!("{sign}{}", size / 1_000),
        rest => format!("{sign}{}.{rest:03}", size / 1_000),
    }
}

proptest! {
    /// Any two of limit, remaining and used give the third, the tighter holds, and nothing is rounded in the caller's
    /// favour.
    #[test]
    fn amounts_agree_with_a_model(
        limits in prop::collection::vec(thousandths(), 0..3),
        left in prop::collection::vec(thousandths(), 0..3),
        used in prop::collection::vec(thousandths(), 0..3),
    ) {
        let adapter = model_adapter("limit = \"x-limit\"\nremaining = \"x-left\"\nused = \"x-used\"");
        let lines: Vec<(&'static str, String)> = [("x-limit", &limits), ("x-left", &left), ("x-used", &used)]
            .into_iter()
            .flat_map(|(name, numbers)| numbers.iter().map(move |n| (name, spelled(*n))))
            .collect();
        let translation = translated(&adapter, &answer(&lines, Timestamp::UNIX_EPOCH));
        // A limit or a use below zero is nonsense and not counted; a remainder below zero is nothing.
        // So is a limit of less than one: nobody can tell it from a rate in another window.
        let limit = limits.iter().copied().filter(|n| *n == 0 || *n >= 1_000).min();
        let used = used.iter().copied().filter(|n| *n >= 0).max();
        let left = left.iter().copied().min();
        // Added as they were told, then rounded: 595.5 left and 4.5 used are a limit of 600.
        // With nothing left, more than the limit may have been used.
        let sum = left.zip(used).filter(|(left, _)| *left >= 1_000).map(|(left, used)| left + used);
        // Less than nothing of no limit is what many send where there is none.
        let unlimited = limits.iter().any(|n| *n < 0);
        let left = left.filter(|left| limit.is_some() || *left >= 0 || !(unlimited || *left == -1_000));
        let limit = limit.or(sum).map(|n| n.div_euclid(1_000));
        let of_used = limit.zip(used).map(|(limit, used)| (limit - (used + 999).div_euclid(1_000)).max(0));
        let left = left.map(|n| n.div_euclid(1_000).max(0));
        let expected = [left, of_used].into_iter().flatten().min();
        let expected = match (expected, limit) {
            (Some(left), Some(limit)) => Some(left.min(limit)),
            (left, _) => left,
        };
        let found = translation.limits.first();
        let number = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap());
        prop_assert_eq!(number(found.and_then(|found| found.limit)), limit);
        prop_assert_eq!(number(found.and_then(|found| found.remaining)), expected);
    }

    /// Waiting for the reset is enough, a second less is not, in every form of an absolute or relative time.
    #[test]
    fn resets_are_rounded_up(now in now(), ahead in -10_000_000_i64..100_000_000, form in 0_usize..7) {
        let form = ["rfc3339", "epoch-seconds", "epoch-milliseconds", "seconds", "milliseconds", "duration", "epoch"][form];
        let moment = match now.checked_add(SignedDuration::from_millis(ahead)) {
            Ok(moment) if moment.as_second() > 0 && now.as_second() > 0 && moment.as_second() < 100_000_000_000 => moment,
            _ => return Ok(()),
        };
        let millis = moment.as_millisecond();
        let decimal = |millis: i64| {
            let sign = if millis < 0 { "-" } else { "" };
            format!("{sign}{}.{:03}", millis.abs() / 1_000, millis.abs() % 1_000)
        };
        let (value, exact) = match form {
            "rfc3339" => (moment.to_string(), moment),
            "epoch-seconds" | "epoch" => (decimal(millis), Timestamp::from_millisecond(millis).unwrap()),
            "epoch-milliseconds" => (millis.to_string(), Timestamp::from_millisecond(millis).unwrap()),
            "seconds" => (decimal(ahead), moment),
            "milliseconds" => (ahead.to_string(), moment),
            _ => (format!("{ahead}ms"), moment),
        };
        let adapter = model_adapter(&format!("remaining = \"x-left\"\nreset = {{ header = \"x-reset\", form = \"{form}\" }}"));
        let sent = answer(&[("x-left", "1".to_owned()), ("x-reset", value.clone())], now);
        let translation = translated(&adapter, &sent);
        let reset = translation.limits[0].reset;
        prop_assert!(reset.is_some(), "{form} {value}: {:?}", translation);
        let reset = i64::try_from(reset.unwrap()).unwrap();
        let after = |secs: i64| now.checked_add(SignedDuration::from_secs(secs)).unwrap_or(Timestamp::MAX);
        prop_assert!(after(reset) >= exact, "{form} {value}: {reset}");
        prop_assert!(reset == 0 || after(reset - 1) < exact, "{form} {value}: {reset}");
    }

    /// `Retry-After` in any form is whole seconds, rounded up.
    #[test]
    fn times_to_wait_are_rounded_up(millis in 0_u64..10_000_000, status in select(vec![200_u16, 429, 503])) {
        let adapter = model_adapter("remaining = \"x-left\"");
        let mut sent = answer(&[("retry-after", format!("{}.{:03}", millis / 1_000, millis % 1_000))], Timestamp::UNIX_EPOCH);
        sent.status = StatusCode::from_u16(status).unwrap();
        let expected = millis.div_ceil(1_000).max(u64::from(status == 429));
        prop_assert_eq!(translated(&adapter, &sent).retry_after, Some(expected));
    }
}

/// Nothing reads it: no number, time, name, list or JSON.
const GARBLED: &[u8] = b"\"\xe9garbled\"";

/// The names in conditions: there, a garbled value and no value are different things.
fn asked_for(adapter: &Adapter, name: &HeaderName) -> bool {
    let conditions = adapter
        .policies
        .iter()
        .flat_map(|policy| {
            policy.sent_when.iter().chain(
                policy
                    .readings
                    .iter()
                    .filter_map(|reading| reading.when.as_ref()),
            )
        })
        .chain(
            adapter
                .retry_after
                .iter()
                .filter_map(|reading| reading.when.as_ref()),
        )
        .chain(adapter.exhausted.iter().map(|rule| &rule.when));
    conditions
        .flat_map(|condition| &condition.headers)
        .any(|(asked, _)| asked == name)
}

/// A garbled header is a note, and the others count as if it were not there.
#[test]
fn a_malformed_header_leaves_the_others_counted() {
    let mut wrong = Vec::new();
    for case in cases::all() {
        let sent = Sent::of_case(&case);
        let adapter = sent.adapter();
        let whole = sent.translate();
        for name in read_headers(&adapter) {
            if !sent.headers.contains_key(&name) || asked_for(&adapter, &name) {
                continue;
            }
            let mut without = sent.clone();
            without.headers.remove(&name);
            let mut garbled = sent.clone();
            garbled
                .headers
                .insert(&name, HeaderValue::from_bytes(GARBLED).unwrap());
            let (without, mut garbled) = (without.translate(), garbled.translate());
            let noted = garbled.notes.len() > without.notes.len();
            garbled.notes.clone_from(&without.notes);
            let place = format!("{}/{} without {name}", case.provider, case.situation);
            if garbled != without {
                wrong.push(format!("{place}: {without:?}\n  garbled: {garbled:?}"));
            }
            if !noted && whole != without {
                wrong.push(format!("{place}: no note"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn unit() -> impl Strategy<Value = Unit> {
    select(vec![
        Unit::Requests,
        Unit::Requests,
        Unit::ConcurrentRequests,
        Unit::Other(Arc::from("tokens")),
    ])
}

fn limit() -> impl Strategy<Value = ServiceLimit> {
    let number = || prop::option::of(0_u64..4);
    (unit(), number(), number(), number()).prop_map(|(unit, limit, remaining, reset)| {
        ServiceLimit {
            policy: Arc::from("some"),
            unit,
            limit,
            remaining,
            reset,
            window: None,
            source: Source {
                origin: Origin::Provider,
                estimated: false,
            },
        }
    })
}

/// The contract, section 4, word by word and without regard to speed: "A policy with nothing left binds before any other,
/// the one with the longest reset first; else the lowest remaining among the policies counted in requests, ties to the
/// later reset. A policy in another unit binds only when it is exhausted or when no request policy is known."
fn binds(limits: &[ServiceLimit], index: usize) -> bool {
    let known = |limit: &ServiceLimit| {
        limit.limit.is_some() || limit.remaining.is_some() || limit.reset.is_some()
    };
    let any_exhausted = limits.iter().any(|limit| limit.remaining == Some(0));
    let any_request = limits
        .iter()
        .any(|limit| limit.unit == Unit::Requests && known(limit));
    let fits = |limit: &&ServiceLimit| {
        if any_exhausted {
            limit.remaining == Some(0)
        } else {
            known(limit) && (limit.unit == Unit::Requests || !any_request)
        }
    };
    // The contract does not say which binds when no remainder is known; the first does.
    if !limits
        .iter()
        .filter(fits)
        .any(|limit| limit.remaining.is_some())
    {
        return limits.iter().position(|limit| fits(&limit)) == Some(index);
    }
    // Unknown is more than any number; an unknown reset is earlier than any.
    let key = |limit: &ServiceLimit| {
        (
            limit.remaining.unwrap_or(u64::MAX),
            std::cmp::Reverse(limit.reset.map_or(0, |reset| reset + 1)),
        )
    };
    let Some(own) = limits.get(index).filter(fits) else {
        return false;
    };
    limits
        .iter()
        .filter(fits)
        .all(|other| key(own) <= key(other))
}

proptest! {
    #[test]
    fn the_binding_policy_is_the_one_of_the_contract(limits in prop::collection::vec(limit(), 0..6)) {
        match binding(&limits) {
            Some(index) => prop_assert!(binds(&limits, index), "{index}"),
            None => prop_assert!((0..limits.len()).all(|index| !binds(&limits, index))),
        }
    }

    #[test]
    fn a_number_is_read_as_it_is_written(whole in any::<i64>(), fraction in prop::option::of(0_u32..1_000_000_000)) {
        let text = match fraction {
            Some(fraction) => format!("{whole}.{fraction:09}"),
            None => whole.to_string(),
        };
        let number = read_number(&text).unwrap();
        prop_assert_eq!(number.floor(), u64::try_from(if text.starts_with('-') { 0 } else { whole }).unwrap_or(0));
    }
}
