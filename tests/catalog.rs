//! What must hold of the set of adapters and their cases.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::support::cases::{Case, all, name, snapshots};
use headroom::adapter::catalog::shipped;
use headroom::adapter::parse::parse;
use headroom::adapter::reading::{Extract, Quantity, Reading};
use headroom::adapter::terms::Terms;
use headroom::adapter::{Adapter, Answer, Call};
use headroom::fields::Fields;
use headroom::translate::translate;
use http::{Method, StatusCode};

fn by_provider() -> BTreeMap<String, Vec<Case>> {
    let mut map: BTreeMap<String, Vec<Case>> = BTreeMap::new();
    for case in all() {
        map.entry(case.provider.clone()).or_default().push(case);
    }
    map
}

#[test]
fn every_shipped_adapter_is_without_mistakes() {
    let mut text = String::new();
    for (id, source) in shipped() {
        if let Err(mistakes) = parse(id, source) {
            text.push_str(&mistakes.render(&format!("providers/{id}.toml"), source, false));
        }
    }
    assert!(text.is_empty(), "{text}");
}

#[test]
fn every_adapter_names_its_schema_in_the_first_line() {
    for (id, source) in shipped() {
        assert_eq!(
            source.lines().next(),
            Some("#:schema ./adapter.schema.json"),
            "{id}"
        );
    }
}

#[test]
fn every_case_belongs_to_an_adapter_and_every_snapshot_to_a_case() {
    let ids: BTreeSet<&str> = shipped().iter().map(|(id, _)| *id).collect();
    for entry in fs::read_dir(snapshots()).unwrap() {
        let folder = entry.unwrap().path();
        if name(&folder).starts_with('_') {
            continue;
        }
        assert!(
            ids.contains(name(&folder).as_str()),
            "{} has no adapter",
            folder.display()
        );
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let twin = match path.extension().and_then(|extension| extension.to_str()) {
                Some("http") => path.with_extension("snap"),
                Some("snap") => path.with_extension("http"),
                // What insta leaves beside a snapshot that differs.
                Some("new") => continue,
                other => panic!("{}: what is a .{other:?}?", path.display()),
            };
            assert!(twin.exists(), "{} is an orphan", path.display());
        }
    }
}

/// Something left, and nothing left; a silent provider has at least its documented state.
#[test]
fn every_adapter_has_a_case_with_something_left_and_one_with_nothing() {
    let cases = by_provider();
    for (id, source) in shipped() {
        let adapter = parse(id, source).unwrap();
        let cases = cases.get(*id).unwrap_or_else(|| panic!("{id} has no case"));
        if adapter.silent {
            assert!(cases.len() >= 2, "{id} needs a second case");
            continue;
        }
        let translations: Vec<_> = cases.iter().map(Case::translate).collect();
        assert!(
            translations.iter().any(|translation| translation.exhausted),
            "{id} has no case with nothing left"
        );
        let tells = adapter.structured_fields.is_some()
            || adapter
                .policies
                .iter()
                .flat_map(|policy| &policy.readings)
                .any(tells_amount);
        assert!(
            !tells
                || translations.iter().any(|translation| {
                    translation
                        .limits
                        .iter()
                        .any(|limit| limit.remaining > Some(0))
                }),
            "{id} has no case with something left"
        );
    }
}

fn tells_amount(reading: &Reading) -> bool {
    !matches!(
        reading.extract,
        Extract::One(_, Quantity::Cost | Quantity::Label | Quantity::Window, _)
    )
}

/// Take a rule away, and some case must notice.
#[test]
fn no_rule_of_an_adapter_is_unused_by_its_cases() {
    let cases = by_provider();
    let mut unused = Vec::new();
    for (id, source) in shipped() {
        let cases = &cases[*id];
        let whole = parse(id, source).unwrap();
        let expected: Vec<_> = cases
            .iter()
            .map(|case| case.translate_with(&whole))
            .collect();
        let mut probe = |what: String, change: &dyn Fn(&mut Adapter)| {
            let mut changed = parse(id, source).unwrap();
            change(&mut changed);
            let same = cases
                .iter()
                .zip(&expected)
                .all(|(case, expected)| case.translate_with(&changed) == *expected);
            if same {
                unused.push(format!("{id}: {what}"));
            }
        };
        for (index, policy) in whole.policies.iter().enumerate() {
            for reading in 0..policy.readings.len() {
                probe(
                    format!(
                        "policy {}, reading {reading}: {:?}",
                        policy.name, policy.readings[reading].source
                    ),
                    &|adapter| {
                        adapter.policies[index].readings.remove(reading);
                    },
                );
            }
            if !policy.sent_when.is_empty() {
                probe(format!("policy {}: sent_when", policy.name), &|adapter| {
                    adapter.policies[index].sent_when.clear();
                });
            }
        }
        for rule in 0..whole.exhausted.len() {
            probe(format!("exhausted rule {rule}"), &|adapter| {
                adapter.exhausted.remove(rule);
            });
        }
        for reading in 0..whole.retry_after.len() {
            probe(format!("retry_after {reading}"), &|adapter| {
                adapter.retry_after.remove(reading);
            });
        }
        if whole.structured_fields.is_some() {
            probe("structured_fields".to_owned(), &|adapter| {
                adapter.structured_fields = None;
            });
        }
    }
    assert!(
        unused.is_empty(),
        "no case notices these:\n{}",
        unused.join("\n")
    );
}

/// Nothing is invented: an answer that tells nothing gives nothing, unless the provider never tells anything.
#[test]
fn a_head_without_native_headers_yields_nothing() {
    for (id, source) in shipped() {
        let adapter = parse(id, source).unwrap();
        if adapter.silent {
            continue;
        }
        let call = Call {
            method: &Method::GET,
            path: Some("/"),
            headers: None,
            body: None,
        };
        let answer = Answer {
            status: StatusCode::OK,
            headers: &Fields::new(),
            body: Some(b"{}"),
        };
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let terms = Terms::new(&adapter, None, None, &BTreeMap::new()).unwrap();
        let translation = translate(&adapter, &terms, &call, &answer, now);
        assert!(translation.limits.is_empty(), "{id}: {translation:?}");
        assert_eq!(translation.retry_after, None, "{id}");
        assert_eq!(translation.status, None, "{id}");
    }
}

/// A plan is one word: it stands in configurations and on command lines.
#[test]
fn plans_are_words() {
    for (id, source) in shipped() {
        for plan in parse(id, source).unwrap().plans() {
            assert!(
                plan.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{id}: the plan {plan} is not one word"
            );
        }
    }
}
