//! The IETF's structured fields, drafts 8 to 11: `"daily";q=2500;w=86400` and `"daily";r=2499;t=50400`.

use std::sync::Arc;

use http::HeaderName;
use sfv::{BareItem, Item, List, ListEntry, Parser};
use smallvec::SmallVec;

use super::facts::{Facts, label};
use crate::fields::Fields;
use crate::form::{Decimal, TimeForm, read_number};
use crate::quota::Unit;

/// The policies that both fields tell, joined by name, in the order of their first mention.
pub(super) fn read(
    (policy, limit): &(HeaderName, HeaderName),
    headers: &Fields,
    notes: &mut Vec<String>,
) -> SmallVec<[Facts; 2]> {
    let mut all: SmallVec<[Facts; 2]> = SmallVec::new();
    for (field, number) in [(policy, "q"), (limit, "r")] {
        for (name, item) in members(field, number, headers, notes) {
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
                fill(facts, &item, field, notes);
            }
        }
    }
    all
}

/// The members of a field by name. Of several of one name (those of several partitions, or two that have spoken) the one with
/// the smallest number of this key counts, whole.
fn members(
    field: &HeaderName,
    number: &str,
    headers: &Fields,
    notes: &mut Vec<String>,
) -> Vec<(Arc<str>, Item)> {
    let mut members: Vec<(Arc<str>, Item)> = Vec::new();
    for item in items(field, headers, notes) {
        let Some(name) = name(&item) else {
            notes.push(format!("{field}: a member without a name; ignored"));
            continue;
        };
        let of = |item: &Item| read_number(&text_of(item.params.get(number)?)?);
        let Some((_, other)) = members.iter_mut().find(|(other, _)| *other == name) else {
            members.push((name, item));
            continue;
        };
        let is_tighter = match (of(&item), of(other)) {
            (Some(number), Some(least)) => number < least,
            (number, least) => number.is_some() && least.is_none(),
        };
        if is_tighter {
            *other = item;
        }
    }
    members
}

fn items(field: &HeaderName, headers: &Fields, notes: &mut Vec<String>) -> Vec<Item> {
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

/// A number as text.
fn text_of(item: &BareItem) -> Option<String> {
    match item {
        BareItem::Integer(number) => Some(i64::from(*number).to_string()),
        BareItem::Decimal(number) => Some(number.to_string()),
        _ => None,
    }
}

fn fill(facts: &mut Facts, item: &Item, field: &HeaderName, notes: &mut Vec<String>) {
    // The draft wants integers from 0; a provider's decimal or negative number is read as everywhere else.
    let mut text = |key: &str| {
        let text = text_of(item.params.get(key)?);
        if text.is_none() {
            notes.push(format!("{field}: `{key}` is not a number; ignored"));
        }
        text
    };
    let positive = |text: String| read_number(&text).filter(|number| !number.is_negative());
    let limit = text("q").and_then(|text| read_number(&text));
    facts.has_no_limit |= limit.is_some_and(Decimal::is_negative);
    facts.limit = limit.filter(|limit| !limit.is_negative()).or(facts.limit);
    facts.remaining = text("r")
        .and_then(|text| read_number(&text))
        .or(facts.remaining);
    let window = text("w").and_then(positive).map(Decimal::ceil);
    facts.window = window.filter(|secs| *secs > 0).or(facts.window);
    if let Some(moment) = text("t").and_then(|text| TimeForm::Seconds.read(&text, None)) {
        facts.reset = Some(moment);
    }
    let unit = item.params.get("qu");
    if let Some(unit) = unit
        .and_then(BareItem::as_string)
        .and_then(|unit| label(unit.as_str()))
    {
        facts.unit = Some(Unit::from_name(&unit));
    }
}
