//! `RateLimit` and `RateLimit-Policy`: lists by name (drafts 8 to 11), or draft 7's `limit=100, remaining=50, reset=5`.

use http::HeaderName;
use jiff::Timestamp;
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use smallvec::SmallVec;

use super::super::facts::{self, Facts, MAX_TEXT};
use super::super::structured;
use super::{Group, MAX_POLICIES, joined, split};
use crate::adapter::Answer;
use crate::fields::Fields;
use crate::form::{Decimal, TimeForm, read_number};

/// The policies that the two fields tell.
pub(super) fn read(
    answer: &Answer<'_>,
    now: Timestamp,
    notes: &mut Vec<String>,
) -> SmallVec<[Facts; 2]> {
    let limit = HeaderName::from_static("ratelimit");
    let policy = HeaderName::from_static("ratelimit-policy");
    let policies = joined(answer.headers, policy.as_str());
    if !answer.headers.contains_key(&limit) {
        // Draft 6 sends the policy as `100;w=60` beside the three headers: only its window is new.
        let told = joined(answer.headers, "ratelimit-limit")
            .and_then(|text| read_number(split(&text, ',').next()?.split(';').next()?));
        let numbered = policies.and_then(|text| numbered_policies(&text, told, now));
        return numbered
            .unwrap_or_else(|| structured::read(&(policy, limit), answer.headers, notes));
    }
    let Some(dictionary) = dictionary(answer.headers) else {
        return structured::read(&(policy, limit), answer.headers, notes);
    };
    let told = number(&dictionary, "limit").filter(|limit| !limit.is_negative());
    let mut policies = policies
        .and_then(|text| numbered_policies(&text, told, now))
        .unwrap_or_else(|| SmallVec::from_iter([Facts::default()]));
    if let Some(facts) = policies.first_mut() {
        facts.limit = told.or(facts.limit);
        facts.remaining = number(&dictionary, "remaining");
        facts.reset =
            number(&dictionary, "reset").and_then(|secs| TimeForm::Seconds.of_number(secs, None));
    }
    for key in ["limit", "remaining", "reset"] {
        if dictionary.contains_key(key) && number(&dictionary, key).is_none() {
            notes.push(format!("ratelimit: `{key}` is not a number; ignored"));
        }
    }
    policies
}

/// Draft 7's dictionary. Several lines are one (RFC 9651, section 4.2); but where two of them are whole by themselves, two
/// have spoken, and the one with less left counts.
fn dictionary(headers: &Fields) -> Option<Dictionary> {
    let parse = |text: &[u8]| {
        let parsed = (text.len() <= MAX_TEXT).then(|| Parser::new(text).parse::<Dictionary>());
        parsed?.ok().filter(|dictionary| {
            dictionary.contains_key("limit") || dictionary.contains_key("remaining")
        })
    };
    let lines = headers.get_all("ratelimit").take(MAX_POLICIES);
    let whole: SmallVec<[(Decimal, Dictionary); 2]> = lines
        .filter_map(|line| {
            let dictionary = parse(line.as_bytes())?;
            Some((number(&dictionary, "remaining")?, dictionary))
        })
        .collect();
    if whole.len() > 1 {
        let tightest = whole.into_iter().min_by(|(a, _), (b, _)| a.cmp(b));
        return tightest.map(|(_, dictionary)| dictionary);
    }
    parse(joined(headers, "ratelimit")?.as_bytes())
}

fn number(dictionary: &Dictionary, key: &str) -> Option<Decimal> {
    match dictionary.get(key)? {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::Integer(number) => read_number(&i64::from(*number).to_string()),
            BareItem::Decimal(number) => read_number(&number.to_string()),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    }
}

/// `10;w=1, 1000;w=86400`, the policies of drafts 3 to 7: the one whose quota was `told` first, else in their order.
fn numbered_policies(
    text: &str,
    told: Option<Decimal>,
    now: Timestamp,
) -> Option<SmallVec<[Facts; 2]>> {
    let mut policies: SmallVec<[Facts; 2]> = SmallVec::new();
    for item in split(text, ',').take(MAX_POLICIES) {
        let mut group = Group::new("ratelimit", Facts::default());
        if !group.limits(item, now) {
            return None;
        }
        policies.push(group.facts);
    }
    if let Some(position) = policies
        .iter()
        .position(|facts| told.is_some() && facts.limit == told)
    {
        policies.swap(0, position);
    } else if told.is_some() {
        // None of them is the one that the other headers speak of.
        policies.insert(0, Facts::default());
    }
    for facts in policies.iter_mut().skip(1) {
        if let (None, Some(secs)) = (&facts.label, facts.window) {
            facts.label = facts::label(&format!("window-{secs}"));
        }
    }
    Some(policies)
}
