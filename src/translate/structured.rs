//! The IETF's structured fields, drafts 8 to 11: `"daily";q=2500;w=86400` and `"daily";r=2499;t=50400`.

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use jiff::SignedDuration;
use sfv::{BareItem, Item, List, ListEntry, Parser};
use smallvec::SmallVec;

use super::facts::{Facts, label};
use crate::form::{Decimal, Moment};
use crate::quota::Unit;

/// The policies that both fields tell, joined by name, in the order of their first mention.
pub(super) fn read(
    (policy, limit): &(HeaderName, HeaderName),
    headers: &HeaderMap,
    notes: &mut Vec<String>,
) -> SmallVec<[Facts; 2]> {
    let mut all: SmallVec<[Facts; 2]> = SmallVec::new();
    for field in [policy, limit] {
        for item in items(field, headers, notes) {
            let Some(name) = name(&item) else {
                notes.push(format!("{field}: a member without a name; ignored"));
                continue;
            };
            let position = all
                .iter()
                .position(|facts| facts.label.as_deref() == Some(&*name));
            let index = position.unwrap_or_else(|| {
                all.push(Facts {
                    label: Some(name),
                    ..Facts::default()
                });
                all.len() - 1
            });
            if let Some(facts) = all.get_mut(index) {
                fill(facts, &item);
            }
        }
    }
    all
}

fn items(field: &HeaderName, headers: &HeaderMap, notes: &mut Vec<String>) -> Vec<Item> {
    let mut joined = Vec::new();
    // RFC 9651, section 4.2: several lines are one list.
    for value in headers.get_all(field) {
        if !joined.is_empty() {
            joined.extend_from_slice(b", ");
        }
        joined.extend_from_slice(value.as_bytes());
        if joined.len() > super::facts::MAX_TEXT {
            notes.push(format!(
                "{field}: longer than any list of policies; ignored"
            ));
            return Vec::new();
        }
    }
    if joined.is_empty() {
        return Vec::new();
    }
    match Parser::new(&joined).parse::<List>() {
        Ok(list) => list
            .into_iter()
            .filter_map(|entry| match entry {
                ListEntry::Item(item) => Some(item),
                ListEntry::InnerList(_) => None,
            })
            .collect(),
        Err(error) => {
            notes.push(format!(
                "{field}: not a structured field ({error}); ignored"
            ));
            Vec::new()
        }
    }
}

fn name(item: &Item) -> Option<Arc<str>> {
    let text = match &item.bare_item {
        BareItem::String(text) => text.as_str(),
        BareItem::Token(token) => token.as_str(),
        _ => return None,
    };
    label(text)
}

fn fill(facts: &mut Facts, item: &Item) {
    let number = |key: &str| {
        let value = item.params.get(key)?;
        let integer = value.as_integer()?;
        u64::try_from(i64::from(integer)).ok()
    };
    let decimal = |key: &str| number(key).map(|value| Decimal::from_whole(i128::from(value)));
    facts.limit = decimal("q").or(facts.limit);
    facts.remaining = decimal("r").or(facts.remaining);
    facts.window = number("w").filter(|secs| *secs > 0).or(facts.window);
    if let Some(secs) = number("t").and_then(|secs| i64::try_from(secs).ok()) {
        facts.reset = Some(Moment::In(SignedDuration::from_secs(secs)));
    }
    let unit = item.params.get("qu");
    if let Some(unit) = unit
        .and_then(BareItem::as_string)
        .and_then(|unit| label(unit.as_str()))
    {
        facts.unit = Some(Unit::from_name(&unit));
    }
}
