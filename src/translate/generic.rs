//! Any provider, without an adapter: the common header families. What has to be guessed is said in the notes.

use std::sync::Arc;

use http::{HeaderName, StatusCode};
use jiff::{SignedDuration, Timestamp};
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use smallvec::SmallVec;

use super::facts::{self, Facts, MAX_TEXT};
use super::states::States;
use super::{MAX_NOTES, Translation, bound, lookup, structured};
use crate::adapter::Answer;
use crate::form::{Decimal, Moment, TimeForm, read_number};
use crate::quota::{Unit, binding};

/// The families, the standard's own first. Each is a prefix before the quantity.
const FAMILIES: [&str; 4] = ["ratelimit-", "x-ratelimit-", "x-rate-limit-", "rate-limit-"];

/// The most policies of one answer that are believed.
const MAX_POLICIES: usize = 16;

/// Translates an answer of a provider that headroom knows nothing of.
#[must_use]
pub fn translate(answer: &Answer<'_>, now: Timestamp) -> Translation {
    let mut out = Translation::default();
    let mut groups: Vec<Group> = Vec::new();
    for facts in drafts(answer, &mut out.notes) {
        add(&mut groups, Group::new("ratelimit", facts));
    }
    for (name, value) in answer.headers.iter() {
        let Some((family, quantity, label)) = parts(name) else {
            continue;
        };
        // Ten thousand lines are no reason to keep ten thousand notes.
        out.notes.truncate(MAX_NOTES + 1);
        let text = match std::str::from_utf8(value.as_bytes()) {
            Ok(text) if text.len() <= MAX_TEXT => text.trim(),
            _ => {
                out.notes.push(format!("{name}: not a short text; ignored"));
                continue;
            }
        };
        let index = groups
            .iter()
            .position(|group| {
                group.family == family && group.facts.label.as_deref() == label.as_deref()
            })
            .unwrap_or_else(|| {
                let facts = Facts {
                    label: label.clone(),
                    unit: label.as_deref().and_then(unit),
                    window: label.as_deref().and_then(window),
                    ..Facts::default()
                };
                groups.push(Group::new(family, facts));
                groups.len() - 1
            });
        if groups.len() > MAX_POLICIES {
            groups.truncate(MAX_POLICIES);
            out.notes
                .push(format!("{name}: one policy too many; ignored"));
            continue;
        }
        if let Some(group) = groups.get_mut(index) {
            group.read(name, quantity, text, &mut out.notes);
        }
    }
    let mut states = States::default();
    for group in same_twice(groups) {
        for facts in std::iter::once(group.facts).chain(group.more) {
            if facts.says_something() && states.limits.len() < MAX_POLICIES {
                states.add_named(facts, now, &mut out.notes);
            }
        }
    }
    out.limits = states.limits;
    let told = lookup::latest_retry_after(answer.headers, now, &mut out.notes)
        .map(|moment| lookup::seconds_to_wait(moment, now, &mut out.notes));
    conclude(&mut out, answer.status, told);
    bound(&mut out.notes);
    out
}

/// The status and the wait.
fn conclude(out: &mut Translation, status: StatusCode, told: Option<u64>) {
    out.exhausted = status == StatusCode::TOO_MANY_REQUESTS;
    if out.exhausted
        && let [only] = out.limits.as_mut_slice()
        && only.remaining.is_none()
    {
        only.remaining = Some(0);
    }
    for limit in &mut out.limits {
        if limit.reset.is_some() {
            continue;
        }
        if out.exhausted && limit.is_exhausted() && told.is_some() {
            limit.reset = told;
        } else if let Some(window) = limit.window {
            limit.reset = Some(window);
            limit.source.estimated = true;
        }
    }
    out.binding = binding(&out.limits);
    out.retry_after = told;
    if out.exhausted {
        let wait = out
            .binding_limit()
            .filter(|limit| limit.is_exhausted())
            .and_then(|limit| limit.reset);
        out.retry_after = told.or(wait).map(|secs| secs.max(1));
    }
}

/// The headers of one family and label.
struct Group {
    family: &'static str,
    facts: Facts,
    /// Further windows of a limit list: `10, 10;w=1, 50;w=60`.
    more: Vec<Facts>,
}

impl Group {
    const fn new(family: &'static str, facts: Facts) -> Self {
        Self {
            family,
            facts,
            more: Vec::new(),
        }
    }

    fn read(&mut self, name: &str, quantity: Word, text: &str, notes: &mut Vec<String>) {
        let number =
            || read_number(text.split(';').next().unwrap_or(text)).filter(|n| !n.is_negative());
        let known = match quantity {
            Word::Limit => self.limits(text),
            Word::Remaining => {
                let number = read_number(text.split(';').next().unwrap_or(text));
                // Of several lines the tightest counts.
                self.facts.remaining = tighter(self.facts.remaining, number, Decimal::min);
                number.is_some()
            }
            Word::Used => {
                self.facts.used = tighter(self.facts.used, number(), Decimal::max);
                number().is_some()
            }
            Word::Window => {
                let secs = number().map(Decimal::ceil).filter(|secs| *secs > 0);
                self.facts.window = self.facts.window.or(secs);
                secs.is_some()
            }
            Word::Reset => match guess_time(name, text, notes) {
                Some(moment) => {
                    self.facts.reset = Some(moment);
                    true
                }
                None => false,
            },
        };
        if !known {
            let cut: String = text.chars().take(40).collect();
            notes.push(format!(
                "{name}: \"{}\" is of no known form; ignored",
                cut.escape_debug()
            ));
        }
    }

    /// `100`, `100;w=60`, or `10, 10;w=1, 50;w=60` (drafts 3 to 6 and polli): the first is the binding quota, the others
    /// are policies of their own.
    fn limits(&mut self, text: &str) -> bool {
        let mut first = true;
        for item in text.split(',').take(MAX_POLICIES) {
            let mut parts = item.split(';').map(str::trim);
            let Some(limit) = parts
                .next()
                .and_then(read_number)
                .filter(|n| !n.is_negative())
            else {
                return !first;
            };
            let mut window = None;
            let mut label = None;
            for part in parts {
                match part.split_once('=') {
                    Some(("w", secs)) => window = secs.parse().ok().filter(|secs| *secs > 0),
                    Some(("name" | "policy", text)) => {
                        label = facts::label(text.trim_matches('"'));
                    }
                    _ => {}
                }
            }
            if first {
                self.facts.limit = tighter(self.facts.limit, Some(limit), Decimal::min);
                self.facts.window = window.or(self.facts.window);
                first = false;
            } else if self.facts.limit == Some(limit) && self.facts.window.is_none() {
                // The binding quota again, now with its window.
                self.facts.window = window;
                self.facts.label = self.facts.label.take().or(label);
            } else if self.more.len() < MAX_POLICIES {
                self.more.push(Facts {
                    label: label.or_else(|| {
                        window.and_then(|secs| facts::label(&format!("window-{secs}")))
                    }),
                    limit: Some(limit),
                    window,
                    ..Facts::default()
                });
            }
        }
        !first
    }
}

fn tighter(
    old: Option<Decimal>,
    new: Option<Decimal>,
    tighter_of: fn(Decimal, Decimal) -> Decimal,
) -> Option<Decimal> {
    match (old, new) {
        (Some(old), Some(new)) => Some(tighter_of(old, new)),
        (old, new) => old.or(new),
    }
}

fn add(groups: &mut Vec<Group>, group: Group) {
    if groups.len() < MAX_POLICIES {
        groups.push(group);
    }
}

/// Many providers send one policy under two families; where they do not contradict, they are one.
fn same_twice(groups: Vec<Group>) -> Vec<Group> {
    let mut kept: Vec<Group> = Vec::new();
    for group in groups {
        let agree = |a: Option<Decimal>, b: Option<Decimal>| a.is_none() || b.is_none() || a == b;
        let agrees = |other: &Group| {
            other.family != group.family
                && agree(other.facts.limit, group.facts.limit)
                && agree(other.facts.remaining, group.facts.remaining)
        };
        let same_label = kept
            .iter()
            .position(|other| other.facts.label == group.facts.label && agrees(other));
        // Without a label of its own it may be a named policy's, but requests are not tokens.
        let twin = same_label.or_else(|| {
            kept.iter().position(|other| {
                group.facts.label.is_none() && other.facts.unit == group.facts.unit && agrees(other)
            })
        });
        match twin.and_then(|index| kept.get_mut(index)) {
            Some(other) => {
                let facts = &mut other.facts;
                facts.limit = facts.limit.or(group.facts.limit);
                facts.remaining = facts.remaining.or(group.facts.remaining);
                facts.used = facts.used.or(group.facts.used);
                facts.reset = facts.reset.or(group.facts.reset);
                facts.window = facts.window.or(group.facts.window);
                other.more.extend(group.more);
            }
            None => kept.push(group),
        }
    }
    // A second policy without a label goes by its family.
    let mut seen = false;
    for group in &mut kept {
        if group.facts.label.is_none() && std::mem::replace(&mut seen, true) {
            group.facts.label = facts::label(group.family.trim_end_matches('-'));
        }
    }
    kept
}

/// What a header of a family tells.
#[derive(Clone, Copy)]
enum Word {
    Limit,
    Remaining,
    Used,
    Reset,
    Window,
}

fn word(text: &str) -> Option<Word> {
    Some(match text {
        "limit" | "quota" | "total" => Word::Limit,
        "remaining" | "left" | "available" => Word::Remaining,
        "used" | "usage" | "observed" => Word::Used,
        "reset" | "resets" | "reset-after" | "resettime" | "reset-in" => Word::Reset,
        "window" | "interval" | "period" => Word::Window,
        _ => return None,
    })
}

/// Family, quantity and label of a header's name: `x-ratelimit-limit-tokens`, `x-rate-limit-requests-remaining`.
fn parts(name: &str) -> Option<(&'static str, Word, Option<Arc<str>>)> {
    let (family, rest) = FAMILIES
        .iter()
        .find_map(|family| Some((*family, name.strip_prefix(family)?)))?;
    if let Some(word) = word(rest) {
        return Some((family, word, None));
    }
    // The quantity comes first (`limit-tokens`) or last (`tokens-limit`).
    for (quantity, label) in [
        rest.split_once('-'),
        rest.rsplit_once('-').map(|(a, b)| (b, a)),
    ]
    .into_iter()
    .flatten()
    {
        if let Some(word) = word(quantity) {
            // A name too long for a label is no known header.
            return Some((family, word, Some(facts::label(label)?)));
        }
    }
    None
}

fn unit(label: &str) -> Option<Unit> {
    ["tokens", "points", "credits", "complexity"]
        .into_iter()
        .find(|unit| label.contains(unit))
        .map(Unit::from_name)
}

fn window(label: &str) -> Option<u64> {
    [
        ("second", 1),
        ("minute", 60),
        ("hour", 3_600),
        ("day", 86_400),
        ("daily", 86_400),
    ]
    .into_iter()
    .find(|(word, _)| label.contains(word))
    .map(|(_, secs)| secs)
}

/// A time whose form nobody has declared: dates and durations speak for themselves, numbers go by their size.
fn guess_time(name: &str, text: &str, notes: &mut Vec<String>) -> Option<Moment> {
    let text = text.split(';').next().unwrap_or(text).trim();
    if let Some(number) = read_number(text) {
        let (form, meaning) = match number.floor() {
            1_000_000_000.. if number.floor() >= 100_000_000_000 => {
                (TimeForm::EpochMilliseconds, "an epoch in milliseconds")
            }
            1_000_000_000.. => (TimeForm::EpochSeconds, "an epoch in seconds"),
            _ => (TimeForm::Seconds, "seconds from now"),
        };
        // Seconds under the standard's own name are what the standard says.
        if name != "ratelimit-reset" || !matches!(form, TimeForm::Seconds) {
            notes.push(format!("{name}: {text} was taken for {meaning}"));
        }
        return form.read(text, None);
    }
    [
        TimeForm::Rfc3339,
        TimeForm::HttpDate,
        TimeForm::Duration,
        TimeForm::JsDate,
    ]
    .iter()
    .find_map(|form| form.read(text, None))
}

/// `RateLimit` and `RateLimit-Policy`: lists by name (drafts 8 to 11), or draft 7's `limit=100, remaining=50, reset=5`.
fn drafts(answer: &Answer<'_>, notes: &mut Vec<String>) -> SmallVec<[Facts; 2]> {
    let limit = HeaderName::from_static("ratelimit");
    let policy = HeaderName::from_static("ratelimit-policy");
    let Some(value) = answer.headers.get(&limit) else {
        // Draft 6 sends the policy as `100;w=60` beside the three headers: only its window is new.
        let Some(text) = answer.headers.get(&policy).and_then(|value| value.text()) else {
            return SmallVec::new();
        };
        let told = answer
            .headers
            .get("ratelimit-limit")
            .and_then(|value| read_number(value.text()?.split([',', ';']).next()?));
        return match numbered_policies(text, told) {
            Some(policies) => policies,
            None => structured::read(&(policy, limit), answer.headers, notes),
        };
    };
    let text = value.as_bytes();
    let dictionary = (text.len() <= MAX_TEXT)
        .then(|| Parser::new(text).parse::<Dictionary>().ok())
        .flatten()
        .filter(|dictionary| {
            dictionary.contains_key("limit") || dictionary.contains_key("remaining")
        });
    let Some(dictionary) = dictionary else {
        return structured::read(&(policy, limit), answer.headers, notes);
    };
    let number = |key: &str| match dictionary.get(key)? {
        ListEntry::Item(item) => match &item.bare_item {
            BareItem::Integer(number) => u64::try_from(i64::from(*number)).ok(),
            _ => None,
        },
        ListEntry::InnerList(_) => None,
    };
    let told = number("limit").map(Decimal::from);
    let mut policies = answer
        .headers
        .get(&policy)
        .and_then(|value| numbered_policies(value.text()?, told))
        .unwrap_or_else(|| SmallVec::from_iter([Facts::default()]));
    if let Some(facts) = policies.first_mut() {
        facts.limit = told.or(facts.limit);
        facts.remaining = number("remaining").map(Decimal::from);
        facts.reset = number("reset")
            .and_then(|secs| i64::try_from(secs).ok())
            .map(|secs| Moment::In(SignedDuration::from_secs(secs)));
    }
    policies
}

/// `10;w=1, 1000;w=86400`, the policies of drafts 3 to 7: the one whose quota was `told` first, else in their order.
fn numbered_policies(text: &str, told: Option<Decimal>) -> Option<SmallVec<[Facts; 2]>> {
    let mut policies: SmallVec<[Facts; 2]> = SmallVec::new();
    for item in text.split(',').take(MAX_POLICIES) {
        let mut group = Group::new("ratelimit", Facts::default());
        if !group.limits(item) {
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
