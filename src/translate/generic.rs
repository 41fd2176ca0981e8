//! Any provider, without an adapter: the common header families. What has to be guessed is said in the notes.

mod drafts;
mod name;

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use smallvec::SmallVec;

use super::facts::{self, Facts, MAX_LINES, MAX_TEXT, Told};
use super::states::States;
use super::{MAX_NOTES, Translation, bound, lookup};
use crate::adapter::Answer;
use crate::fields::Fields;
use crate::form::{Decimal, Moment, TimeForm, read_number};
use crate::quota::binding;
use name::Word;

/// The most policies of one answer that are believed.
const MAX_POLICIES: usize = 16;

/// Translates an answer of a provider that headroom knows nothing of.
#[must_use]
pub fn translate(answer: &Answer<'_>, now: Timestamp) -> Translation {
    let mut out = Translation::default();
    let mut groups: Vec<Group> = Vec::new();
    for facts in drafts::read(answer, now, &mut out.notes) {
        add(&mut groups, Group::new("ratelimit", facts));
    }
    let mut lists: SmallVec<[(&str, bool); 4]> = SmallVec::new();
    let mut wait: Option<Moment> = None;
    for (name, value) in answer.headers.iter() {
        let Some((family, quantity, label)) = name::parts(name) else {
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
        let mut text = Cow::Borrowed(text);
        if quantity == Word::RetryAfter {
            match guess_time(name, &text, &mut out.notes) {
                Some(moment) => wait = later(wait, moment, now),
                None => out.notes.push(unknown_form(name, &text)),
            }
            continue;
        }
        if quantity == Word::Limit {
            // Several lines of a list are one (RFC 9110, section 5.3); of several numbers the smallest counts.
            match lists.iter().find(|(known, _)| *known == name) {
                Some((_, is_list)) if *is_list => continue,
                None if lists.len() < MAX_POLICIES => {
                    let list = joined(answer.headers, name).filter(|list| list.contains(';'));
                    lists.push((name, list.is_some()));
                    text = list.unwrap_or(text);
                }
                _ => {}
            }
        }
        let index = groups
            .iter()
            .position(|group| group.family == family && group.label == label)
            .unwrap_or_else(|| {
                let facts = Facts {
                    label: label.clone(),
                    unit: label.as_deref().and_then(name::unit),
                    window: label.as_deref().and_then(name::window),
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
            group.read(name, quantity, &text, now, &mut out.notes);
        }
    }
    let mut states = States::default();
    for group in same_twice(groups, now) {
        for facts in std::iter::once(group.facts).chain(group.more) {
            if facts.says_something() && states.limits.len() < MAX_POLICIES {
                states.add_named(facts, now, &mut out.notes);
            }
        }
    }
    out.limits = states.limits;
    for value in answer.headers.get_all("retry-after-ms").take(MAX_LINES) {
        let text = value.text().unwrap_or_default();
        match TimeForm::Milliseconds.read(text, None) {
            Some(moment) => wait = later(wait, moment, now),
            None => out.notes.push(unknown_form("retry-after-ms", text)),
        }
    }
    if let Some(moment) = lookup::latest_retry_after(answer.headers, now, &mut out.notes) {
        wait = later(wait, moment, now);
    }
    let told = wait.map(|moment| lookup::seconds_to_wait(moment, now, &mut out.notes));
    conclude(&mut out, answer.status, told);
    bound(&mut out.notes);
    out
}

fn later(old: Option<Moment>, new: Moment, now: Timestamp) -> Option<Moment> {
    old.into_iter()
        .chain([new])
        .max_by_key(|moment| moment.duration_from(now))
}

fn unknown_form(name: &str, text: &str) -> String {
    let shown = facts::shown(text.as_bytes());
    format!("{name}: {shown} is of no known form; ignored")
}

/// All lines of a field as one (RFC 9110, section 5.3). `None`: there is none, or it is not a short text.
fn joined<'a>(headers: &'a Fields, name: &str) -> Option<Cow<'a, str>> {
    let mut whole: Option<Cow<'a, str>> = None;
    for line in headers.get_all(name) {
        let line = line.text()?.trim();
        whole = Some(match whole {
            None => Cow::Borrowed(line),
            Some(before) => Cow::Owned(format!("{before}, {line}")),
        });
        if whole.as_ref().is_some_and(|text| text.len() > MAX_TEXT) {
            return None;
        }
    }
    whole
}

/// The parts of a list: a separator in quotes is none.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        match character {
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ => {}
        }
        character == separator && !is_quoted
    })
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
    /// As the headers' names have it. A list may give the policy another name.
    label: Option<Arc<str>>,
    facts: Facts,
    /// Further windows of a limit list: `10, 10;w=1, 50;w=60`.
    more: Vec<Facts>,
}

impl Group {
    fn new(family: &'static str, facts: Facts) -> Self {
        Self {
            family,
            label: facts.label.clone(),
            facts,
            more: Vec::new(),
        }
    }

    /// Of several values the tightest counts, in whatever order they come.
    fn read(
        &mut self,
        name: &str,
        quantity: Word,
        text: &str,
        now: Timestamp,
        notes: &mut Vec<String>,
    ) {
        let number = read_number(text.split(';').next().unwrap_or(text));
        let positive = number.filter(|number| !number.is_negative());
        let told = match quantity {
            Word::Limit => {
                if self.limits(text, now) {
                    return;
                }
                self.facts.has_no_limit |= number.is_some();
                None
            }
            Word::Remaining => number.map(Told::Remaining),
            Word::Used => positive.map(Told::Used),
            Word::Window => positive
                .map(Decimal::ceil)
                .or_else(|| {
                    let length = TimeForm::Duration.read(text, None)?.seconds_from(now);
                    u64::try_from(length).ok()
                })
                .filter(|secs| *secs > 0)
                .map(Told::Window),
            Word::Reset => guess_time(name, text, notes).map(Told::Reset),
            Word::RetryAfter => None,
        };
        match told {
            Some(told) => self.facts.take(told, now),
            None => notes.push(unknown_form(name, text)),
        }
    }

    /// `100`, `100;w=60`, or `10, 10;w=1, 50;w=60` (drafts 3 to 6 and polli): the first is the binding quota, the others
    /// are policies of their own.
    fn limits(&mut self, text: &str, now: Timestamp) -> bool {
        let mut first = true;
        for item in split(text, ',').take(MAX_POLICIES) {
            let mut parts = split(item, ';').map(str::trim);
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
                self.facts.take(Told::Limit(limit), now);
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

fn add(groups: &mut Vec<Group>, group: Group) {
    if groups.len() < MAX_POLICIES {
        groups.push(group);
    }
}

/// Many providers send one policy under two families; where they do not contradict, they are one. In whatever order they
/// come: those that have a name come first.
fn same_twice(mut groups: Vec<Group>, now: Timestamp) -> Vec<Group> {
    groups.sort_by_key(|group| group.facts.label.is_none());
    let mut kept: Vec<Group> = Vec::new();
    for group in groups {
        match twin(&kept, &group).and_then(|index| kept.get_mut(index)) {
            Some(other) => {
                other.facts.merge(group.facts, now);
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

/// The policy that a group speaks of under another family's names.
fn twin(kept: &[Group], group: &Group) -> Option<usize> {
    let facts = &group.facts;
    let agree = |a: Option<Decimal>, b: Option<Decimal>| a.is_none() || b.is_none() || a == b;
    let agrees = |other: &&Group| {
        other.family != group.family
            && agree(other.facts.limit, facts.limit)
            && agree(other.facts.remaining, facts.remaining)
    };
    let same_label = kept
        .iter()
        .position(|other| other.facts.label == facts.label && agrees(&other));
    if same_label.is_some() || facts.label.is_some() {
        return same_label;
    }
    // Without a label of its own it may be a named policy's, but requests are not tokens.
    let in_common = |other: &Group| {
        let same = |a: Option<Decimal>, b: Option<Decimal>| usize::from(a.is_some() && a == b);
        same(other.facts.limit, facts.limit) + same(other.facts.remaining, facts.remaining)
    };
    let named = || {
        let named = kept.iter().enumerate();
        named.filter(|(_, other)| other.facts.unit == facts.unit && agrees(other))
    };
    let most = named().map(|(_, other)| in_common(other)).max()?;
    let mut fitting = named().filter(|(_, other)| in_common(other) == most);
    let (index, _) = fitting.next()?;
    // With nothing in common it could be any of them.
    (most > 0 || fitting.next().is_none()).then_some(index)
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
