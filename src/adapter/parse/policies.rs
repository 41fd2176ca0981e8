//! Policies out of the tree.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::partitions::{learn, partition};
use super::{conditions, readings, words};
use crate::adapter::condition::RequestCondition;
use crate::adapter::reading::{Extract, Quantity, Spelling};
use crate::adapter::{Applies, Policy, Quota, WindowKind, WindowLength};
use crate::diagnostic::Mistakes;
use crate::document::{Fields, Node};
use crate::form::NumberForm;
use crate::quota::Unit;

pub(super) fn all(root: &Fields<'_>, mistakes: &mut Mistakes) -> Vec<Policy> {
    let Some(table) = root.get("policy").and_then(Node::table) else {
        return Vec::new();
    };
    let mut policies: Vec<Policy> = Vec::new();
    for (name, span, value) in table.entries() {
        if !is_word(name) {
            mistakes.push(
                "bad-policy-name",
                span.clone(),
                format!("\"{name}\" cannot name a policy"),
                "write lower-case letters, digits and `-`: [policy.ten-secondly]",
            );
        }
        if let Some(fields) = value.table() {
            policies.push(policy(name, &fields, mistakes));
        }
    }
    let conditional = policies
        .iter()
        .any(|policy| matches!(policy.applies, Applies::When(_)));
    for (_, _, value) in table.entries() {
        let applies = value.table().and_then(|fields| fields.get("applies"));
        if let Some(node) = applies.filter(|node| node.text() == Some("otherwise") && !conditional)
        {
            mistakes.push(
                "key-without-effect",
                node.span(),
                "\"otherwise\" needs another policy that names what it applies to",
                "leave `applies` out: the policy counts every request",
            );
        }
    }
    policies
}

/// Whether a policy has a key from which something can be known, rightly written or not.
pub(super) fn tells_something(root: &Fields<'_>, name: &str) -> bool {
    let policy = root
        .get("policy")
        .and_then(Node::table)
        .and_then(|policies| policies.get(name))
        .and_then(Node::table);
    policy.is_none_or(|fields| {
        [
            "quota",
            "limit",
            "remaining",
            "used",
            "reset",
            "cost",
            "read",
        ]
        .iter()
        .any(|key| fields.get(key).is_some())
    })
}

/// Whether a text can stand as a word in names and headers: `ten-secondly`, `concurrent-requests`.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn policy(name: &str, fields: &Fields<'_>, mistakes: &mut Mistakes) -> Policy {
    let kind = fields.text("kind").and_then(WindowKind::from_name);
    let before = mistakes.len();
    let mut policy_readings = Vec::new();
    let mut window = None;
    if let Some(node) = fields.get("window") {
        if let Some(table) = node.table() {
            policy_readings.extend(readings::one(node, Quantity::Window, mistakes));
            window = table
                .get("default")
                .and_then(|node| words::window_of(node, mistakes));
        } else {
            window = words::window_of(node, mistakes);
        }
    }
    for quantity in Quantity::ALL {
        if quantity == Quantity::Window {
            continue;
        }
        if let Some(node) = fields.get(quantity.name()) {
            policy_readings.extend(readings::one(node, quantity, mistakes));
        }
    }
    if let Some(node) = fields.get("read") {
        for node in node.one_or_many() {
            policy_readings.extend(readings::many(node, mistakes));
        }
    }
    let sound = mistakes.len() == before;
    if let Some(unit) = fields
        .get("unit")
        .filter(|node| node.text().is_some_and(|text| !is_word(text)))
    {
        mistakes.push(
            "bad-unit",
            unit.span(),
            format!("\"{}\" cannot be a unit", unit.text().unwrap_or_default()),
            "write lower-case letters and `-`, as in \"tokens\" or \"concurrent-requests\"",
        );
    }
    let applies = applies(fields, mistakes);
    let captured = captured_names(&applies);
    let policy = Policy {
        name: Arc::from(name),
        unit: fields.text("unit").map_or(Unit::Requests, Unit::from_name),
        quota: quota(fields),
        window,
        kind,
        zone: fields
            .get("time_zone")
            .and_then(|node| words::zone_of(node, mistakes)),
        refill: fields.get("refill").and_then(Node::number),
        slower_than_secs: fields
            .get("slower_than")
            .and_then(|node| words::seconds_of(node, mistakes)),
        penalty_secs: fields
            .get("penalty")
            .and_then(|node| words::seconds_of(node, mistakes)),
        partition: partition(fields, &captured, mistakes),
        learn: learn(fields, &captured, mistakes),
        applies,
        weights: weights(fields, mistakes),
        rejected_counts: fields.text("rejected").map(|word| word == "counted"),
        soft: fields.get("soft").and_then(Node::boolean).unwrap_or(false),
        readings: policy_readings,
        sent_when: fields
            .get("sent_when")
            .map_or_else(Vec::new, Node::one_or_many)
            .into_iter()
            .filter_map(Node::table)
            .map(|fields| conditions::response(&fields, mistakes))
            .collect(),
    };
    check_window(&policy, fields, mistakes);
    if sound {
        check_readings(&policy, fields, mistakes);
    }
    policy
}

fn quota(fields: &Fields<'_>) -> Quota {
    match fields.get("quota") {
        Some(node) => match (node.integer(), node.table()) {
            (Some(number), _) => Quota::Fixed(number),
            (_, Some(plans)) => Quota::ByPlan(
                plans
                    .entries()
                    .filter_map(|(plan, _, node)| Some((plan.to_owned(), node.integer()?)))
                    .collect(),
            ),
            _ => Quota::Unknown,
        },
        None => Quota::Unknown,
    }
}

fn applies(fields: &Fields<'_>, mistakes: &mut Mistakes) -> Applies {
    match fields.get("applies") {
        None => Applies::Always,
        Some(node) if node.text().is_some() => Applies::Otherwise,
        Some(node) => Applies::When(
            node.one_or_many()
                .into_iter()
                .filter_map(Node::table)
                .map(|fields| conditions::request(&fields, mistakes))
                .collect(),
        ),
    }
}

fn captured_names(applies: &Applies) -> BTreeSet<String> {
    let Applies::When(conditions) = applies else {
        return BTreeSet::new();
    };
    conditions
        .iter()
        .flat_map(|condition| &condition.paths)
        .flat_map(|path| path.names().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn weights(fields: &Fields<'_>, mistakes: &mut Mistakes) -> Vec<(RequestCondition, u64)> {
    fields.get("weights").map_or_else(Vec::new, |node| {
        node.one_or_many()
            .into_iter()
            .filter_map(Node::table)
            .filter_map(|fields| {
                let condition = conditions::request(&fields, mistakes);
                Some((condition, fields.get("cost")?.integer()?))
            })
            .collect()
    })
}

/// Window, kind, zone and refill must go together.
fn check_window(policy: &Policy, fields: &Fields<'_>, mistakes: &mut Mistakes) {
    let calendar = matches!(policy.kind, Some(WindowKind::Clock | WindowKind::Lazy));
    let mut without_effect = |key: &str, message: &str, help: &str| {
        if fields.get(key).is_some() {
            mistakes.push("key-without-effect", fields.key_span(key), message, help);
        }
    };
    if matches!(policy.window, Some(WindowLength::Seconds(seconds)) if calendar && seconds < 86_400)
    {
        without_effect(
            "time_zone",
            "windows below a day follow the clock in UTC",
            "drop the zone",
        );
    }
    if !calendar {
        without_effect(
            "time_zone",
            "only windows that follow the clock have a zone",
            "write kind = \"clock\" or \"lazy\", or drop the zone",
        );
    }
    if policy.kind != Some(WindowKind::Bucket) {
        without_effect(
            "refill",
            "only a bucket is refilled",
            "write kind = \"bucket\", or drop `refill`",
        );
    }
    if policy.kind == Some(WindowKind::Concurrent) {
        without_effect(
            "window",
            "requests in flight have no window",
            "drop `window`",
        );
    } else {
        without_effect(
            "slower_than",
            "only requests in flight are counted by their duration",
            "write kind = \"concurrent\", or drop `slower_than`",
        );
    }
    if policy.readings.is_empty() {
        without_effect(
            "sent_when",
            "the policy has no reading that could speak",
            "drop it, or add a reading",
        );
    }
    if policy.kind == Some(WindowKind::Concurrent) && policy.unit == Unit::Requests {
        mistakes.push(
            "unit-does-not-fit",
            fields.key_span("kind"),
            "requests in flight are another unit than requests",
            "write unit = \"concurrent-requests\"",
        );
    }
    if !calendar {
        return;
    }
    match policy.window {
        None if !names_window(fields) => mistakes.push(
            "window-does-not-fit",
            fields.key_span("kind"),
            "a window that follows the clock needs its length",
            "write `window`, as in \"15m\", \"1h\" or \"day\"",
        ),
        Some(WindowLength::Seconds(seconds)) if 86_400 % seconds != 0 => mistakes.push(
            "window-does-not-fit",
            fields.key_span("window"),
            "a window that follows the clock must divide the day",
            "write a length such as \"15m\" or \"1h\"; whole days as \"day\"",
        ),
        Some(WindowLength::Seconds(seconds)) if seconds < 86_400 => {}
        Some(_) if fields.get("time_zone").is_none() => mistakes.push(
            "no-time-zone",
            fields.key_span("window"),
            "a calendar day means nothing without its zone",
            "write time_zone = \"UTC\", a zone, or \"account\" for the account's own",
        ),
        _ => {}
    }
}

/// Whether the window's length is written, rightly or not, rather than left to the answer.
fn names_window(fields: &Fields<'_>) -> bool {
    fields.get("window").is_some_and(|node| {
        node.table()
            .is_none_or(|reading| reading.get("default").is_some())
    })
}

/// Readings that cannot say anything on their own.
fn check_readings(policy: &Policy, fields: &Fields<'_>, mistakes: &mut Mistakes) {
    let rate = policy.readings.iter().any(|reading| {
        matches!(
            reading.extract,
            Extract::One(_, Quantity::Limit, Spelling::Number(NumberForm::PerSecond))
        )
    });
    if rate && !names_window(fields) {
        mistakes.push(
            "form-does-not-fit",
            fields.key_span("limit"),
            "a rate becomes a limit only with a window",
            "write the `window` that the limit is to be told for, as in \"1m\"",
        );
    }
}
