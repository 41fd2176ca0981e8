//! What stands in an answer, value by value, before anything is concluded from it.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use smallvec::{SmallVec, smallvec};

use crate::adapter::condition::Body;
use crate::adapter::pointer::scalar_text;
use crate::adapter::reading::{Extract, Narrow, Quantity, Reading, Source, Spelling};
use crate::adapter::{Answer, Call, Policy};
use crate::form::{Decimal, Moment, NumberForm, read_number, read_retry_after};
use crate::quota::Unit;

/// The longest value of a header that is looked at, in bytes: business-use-case maps are a few KiB.
pub(super) const MAX_TEXT: usize = 32 * 1024;

/// The longest wait that is believed: more is a wrong unit, not a window (seconds).
pub(super) const MAX_WAIT_SECS: i64 = 400 * 86_400;

/// The most lines of one header, or headers of one pattern, that are looked at.
const MAX_LINES: usize = 64;

/// What an answer tells of one policy.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    pub(super) label: Option<Arc<str>>,
    pub(super) unit: Option<Unit>,
    pub(super) limit: Option<Decimal>,
    pub(super) remaining: Option<Decimal>,
    pub(super) used: Option<Decimal>,
    pub(super) reset: Option<Moment>,
    pub(super) window: Option<u64>,
    pub(super) cost: Option<Decimal>,
}

impl Facts {
    /// A number of the quota is there. A window or a label alone says nothing of it.
    pub(super) const fn says_something(&self) -> bool {
        self.limit.is_some()
            || self.remaining.is_some()
            || self.used.is_some()
            || self.reset.is_some()
    }

    /// Takes a value in; where there is one already, the tighter counts.
    fn take(&mut self, value: Told, now: Timestamp) {
        match value {
            Told::Limit(new) => self.limit = Some(self.limit.map_or(new, |old| old.min(new))),
            Told::Remaining(new) => {
                self.remaining = Some(self.remaining.map_or(new, |old| old.min(new)));
            }
            Told::Used(new) => self.used = Some(self.used.map_or(new, |old| old.max(new))),
            Told::Cost(new) => self.cost = Some(self.cost.map_or(new, |old| old.max(new))),
            Told::Reset(new) => {
                let later = self
                    .reset
                    .is_none_or(|old| new.duration_from(now) > old.duration_from(now));
                if later {
                    self.reset = Some(new);
                }
            }
            Told::Window(new) => self.window = self.window.or(Some(new)),
            Told::Label(new) => self.label = Some(self.label.take().unwrap_or(new)),
        }
    }

    fn merge(&mut self, other: Self, now: Timestamp) {
        let values = [
            other.label.map(Told::Label),
            other.limit.map(Told::Limit),
            other.remaining.map(Told::Remaining),
            other.used.map(Told::Used),
            other.reset.map(Told::Reset),
            other.window.map(Told::Window),
            other.cost.map(Told::Cost),
        ];
        for value in values.into_iter().flatten() {
            self.take(value, now);
        }
    }

    /// Less is left. What tells no amount is never tighter than what does.
    fn is_tighter_than(&self, other: &Self) -> bool {
        match (self.slack(), other.slack()) {
            (Some(own), Some(other)) => own < other,
            (own, other) => own.is_some() && other.is_none(),
        }
    }

    /// The less is left, the smaller: what remains, or the negative of what is used.
    fn slack(&self) -> Option<(u64, u64)> {
        let left = match (self.remaining, self.limit, self.used) {
            (Some(left), ..) => left.floor(),
            (None, Some(limit), Some(used)) => limit.floor().saturating_sub(used.ceil()),
            (None, None, Some(used)) => u64::MAX - used.ceil(),
            _ => return None,
        };
        let reset = self.reset.map_or(0, |reset| {
            u64::try_from(reset.seconds_from(Timestamp::UNIX_EPOCH)).unwrap_or(0)
        });
        Some((left, u64::MAX - reset))
    }
}

/// A quantity with its value.
enum Told {
    Limit(Decimal),
    Remaining(Decimal),
    Used(Decimal),
    Cost(Decimal),
    Reset(Moment),
    Window(u64),
    Label(Arc<str>),
}

/// A policy's name out of an answer: visible ASCII, not too long, nothing that would need escaping.
pub(super) fn label(text: &str) -> Option<Arc<str>> {
    let text = text.trim();
    let fits = !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|b| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\');
    fits.then(|| Arc::from(text))
}

/// One answer, while its values are looked up.
pub(super) struct Lookup<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) answer: &'a Answer<'a>,
    pub(super) body: &'a Body<'a>,
    pub(super) now: Timestamp,
    pub(super) notes: &'a mut Vec<String>,
    /// Headers that no pattern fitted so far; one that fits takes its header out again.
    pub(super) unfit: SmallVec<[(&'a HeaderName, bool); 2]>,
}

impl<'a> Lookup<'a> {
    /// Everything that the answer tells of a policy: itself first, then what goes by names of its own.
    pub(super) fn gather(
        &mut self,
        policy: &'a Policy,
        account: Option<&TimeZone>,
    ) -> SmallVec<[Facts; 1]> {
        let mut all: SmallVec<[Facts; 1]> = smallvec![Facts::default()];
        for reading in &policy.readings {
            let window = match reading.extract {
                // A rate is a limit for the documented window.
                Extract::One(_, _, Spelling::Number(NumberForm::PerSecond)) => {
                    super::window::length_secs(policy, account, self.now)
                }
                _ => None,
            };
            self.reader(reading, window).read(&mut all);
        }
        all
    }

    fn reader<'r>(&'r mut self, reading: &'a Reading, window: Option<u64>) -> Reader<'r, 'a> {
        Reader {
            reading,
            window,
            lookup: self,
        }
    }

    /// Values of patterns that fitted none of them: several policies may share a header, so one pattern that does not fit
    /// means nothing.
    pub(super) fn note_unfit(&mut self) {
        for (header, fitted) in std::mem::take(&mut self.unfit) {
            if !fitted && let Some(value) = self.answer.headers.get(header) {
                self.notes.push(format!(
                    "{header}: {} is not of the documented form; ignored",
                    shown(value.as_bytes())
                ));
            }
        }
    }

    /// Seconds to wait after `Retry-After` and the adapter's own readings: the latest of all, rounded up.
    pub(super) fn retry_after(&mut self, readings: &'a [Reading]) -> Option<u64> {
        let now = self.now;
        let mut latest = latest_retry_after(self.answer.headers, now, self.notes);
        for reading in readings {
            let mut all: SmallVec<[Facts; 1]> = smallvec![Facts::default()];
            self.reader(reading, None).read(&mut all);
            if let Some(moment) = all.first().and_then(|facts| facts.reset)
                && latest.is_none_or(|old| moment.duration_from(now) > old.duration_from(now))
            {
                latest = Some(moment);
            }
        }
        seconds_to_wait(latest?, now, self.notes)
    }
}

/// `Retry-After` in any form; of several lines the latest.
pub(super) fn latest_retry_after(
    headers: &HeaderMap,
    now: Timestamp,
    notes: &mut Vec<String>,
) -> Option<Moment> {
    let mut latest: Option<Moment> = None;
    for value in headers
        .get_all(http::header::RETRY_AFTER)
        .iter()
        .take(MAX_LINES)
    {
        match value.to_str().ok().and_then(read_retry_after) {
            Some(moment)
                if latest.is_none_or(|old| moment.duration_from(now) > old.duration_from(now)) =>
            {
                latest = Some(moment);
            }
            Some(_) => {}
            None => notes.push(format!(
                "retry-after: {} is neither seconds nor a date; ignored",
                shown(value.as_bytes())
            )),
        }
    }
    latest
}

/// A time to wait in whole seconds, if it can be believed.
pub(super) fn seconds_to_wait(
    moment: Moment,
    now: Timestamp,
    notes: &mut Vec<String>,
) -> Option<u64> {
    let secs = moment.seconds_from(now);
    if secs > MAX_WAIT_SECS {
        notes.push(format!(
            "a wait of {secs} seconds is beyond any window; ignored"
        ));
        return None;
    }
    Some(u64::try_from(secs).unwrap_or(0))
}

struct Reader<'r, 'a> {
    reading: &'a Reading,
    window: Option<u64>,
    lookup: &'r mut Lookup<'a>,
}

impl<'a> Reader<'_, 'a> {
    fn read(&mut self, all: &mut SmallVec<[Facts; 1]>) {
        if let Some(when) = &self.reading.when
            && !when.holds(self.lookup.call, self.lookup.answer, self.lookup.body)
        {
            return;
        }
        match &self.reading.source {
            Source::Header(name) => {
                // One line is the rule; the iterator over several costs more than the value.
                for value in self
                    .lookup
                    .answer
                    .headers
                    .get_all(name)
                    .iter()
                    .take(MAX_LINES)
                {
                    self.read_value(name, value.as_bytes(), None, all);
                }
            }
            Source::Headers(pattern) => {
                let mut seen = 0;
                for (name, value) in self.lookup.answer.headers {
                    let Some(found) = pattern.captures(name.as_str()) else {
                        continue;
                    };
                    seen += 1;
                    if seen > MAX_LINES {
                        break;
                    }
                    let named = found.name("label").and_then(|group| label(group.as_str()));
                    self.read_value(name, value.as_bytes(), named, all);
                }
            }
            Source::Body => self.read_body(all),
        }
    }

    fn read_value(
        &mut self,
        header: &HeaderName,
        value: &[u8],
        named: Option<Arc<str>>,
        all: &mut SmallVec<[Facts; 1]>,
    ) {
        if value.len() > MAX_TEXT {
            self.lookup.notes.push(format!(
                "{header}: {} bytes are longer than any limit; ignored",
                value.len()
            ));
            return;
        }
        let Ok(text) = std::str::from_utf8(value.trim_ascii()) else {
            self.note(header.as_str(), value, "not text");
            return;
        };
        if self.ignored(text) {
            return;
        }
        let before = self.lookup.notes.len();
        let mut facts = Facts {
            label: named,
            ..Facts::default()
        };
        let fits = match &self.reading.extract {
            Extract::One(narrow, quantity, spelling) => {
                self.one(narrow, *quantity, spelling, text, &mut facts)
            }
            Extract::Slash(left) => self.slash(*left, text, &mut facts),
            Extract::Windowed => self.windowed(text, &mut facts),
            Extract::Groups(regex, parts) => regex.captures(text).is_some_and(|found| {
                parts
                    .iter()
                    .fold(false, |any, (group, quantity, spelling)| {
                        let part = found.get(*group).map(|part| part.as_str());
                        part.is_some_and(|part| self.scalar(*quantity, spelling, part, &mut facts))
                            || any
                    })
            }),
            Extract::Each(pointer, parts) => {
                self.each(pointer, parts, text, all);
                return;
            }
        };
        if self.shares_its_header() {
            self.remember(fits);
        } else if !fits && self.lookup.notes.len() == before {
            self.note(header.as_str(), value, "not of the documented form");
        }
        self.merge(facts, all);
    }

    /// Another reading may be about another part of the same header.
    const fn shares_its_header(&self) -> bool {
        matches!(
            self.reading.extract,
            Extract::Groups(..)
                | Extract::One(Narrow::Pattern(_) | Narrow::Key(_) | Narrow::Item(_), ..)
        )
    }

    fn remember(&mut self, fits: bool) {
        let Source::Header(header) = &self.reading.source else {
            return;
        };
        let known = self
            .lookup
            .unfit
            .iter_mut()
            .find(|(name, _)| *name == header);
        match known {
            Some((_, fitted)) => *fitted |= fits,
            None => self.lookup.unfit.push((header, fits)),
        }
    }

    fn read_body(&mut self, all: &mut SmallVec<[Facts; 1]>) {
        let mut facts = Facts::default();
        match &self.reading.extract {
            Extract::One(Narrow::Json(pointer), quantity, spelling) => {
                let Some(root) = self.lookup.body.json() else {
                    return;
                };
                let mut texts: SmallVec<[Cow<'_, str>; 4]> = SmallVec::new();
                pointer.select(root, &mut |value| texts.extend(scalar_text(value)));
                for text in texts {
                    if !self.ignored(&text) {
                        self.scalar(*quantity, spelling, &text, &mut facts);
                    }
                }
            }
            Extract::One(Narrow::Pattern(regex), quantity, spelling) => {
                let text = String::from_utf8_lossy(self.lookup.body.bytes());
                let found = regex.captures(&text).and_then(|found| found.get(1));
                if let Some(part) = found.filter(|part| !self.ignored(part.as_str())) {
                    self.scalar(*quantity, spelling, part.as_str(), &mut facts);
                }
            }
            Extract::Groups(regex, parts) => {
                let text = String::from_utf8_lossy(self.lookup.body.bytes());
                if let Some(found) = regex.captures(&text) {
                    for (group, quantity, spelling) in parts {
                        if let Some(part) = found.get(*group) {
                            self.scalar(*quantity, spelling, part.as_str(), &mut facts);
                        }
                    }
                }
            }
            _ => {}
        }
        self.merge(facts, all);
    }

    /// Into the policy itself, or beside it under its own name.
    fn merge(&self, facts: Facts, all: &mut SmallVec<[Facts; 1]>) {
        let own_name = match (&self.reading.source, &self.reading.extract) {
            (Source::Headers(_), _) | (_, Extract::Each(..)) => facts.label.is_some(),
            _ => false,
        };
        if !own_name {
            if let Some(base) = all.first_mut() {
                base.merge(facts, self.lookup.now);
            }
            return;
        }
        let same = all
            .iter_mut()
            .skip(1)
            .find(|other| other.label == facts.label);
        match same {
            Some(other) => {
                if facts.is_tighter_than(other) {
                    *other = facts;
                }
            }
            None => all.push(facts),
        }
    }

    fn one(
        &mut self,
        narrow: &Narrow,
        quantity: Quantity,
        spelling: &Spelling,
        text: &str,
        facts: &mut Facts,
    ) -> bool {
        match narrow {
            Narrow::Whole => self.scalar(quantity, spelling, text, facts),
            Narrow::Json(pointer) => {
                let Ok(root) = serde_json::from_str::<Value>(text) else {
                    return false;
                };
                let mut any = false;
                let mut texts: SmallVec<[Cow<'_, str>; 4]> = SmallVec::new();
                pointer.select(&root, &mut |value| texts.extend(scalar_text(value)));
                for text in &texts {
                    any |= self.ignored(text) || self.scalar(quantity, spelling, text, facts);
                }
                // A member that is not there is no mistake of the provider's.
                any || texts.is_empty()
            }
            Narrow::Key(key) => key_value(text, key).is_some_and(|part| {
                self.ignored(part) || self.scalar(quantity, spelling, part, facts)
            }),
            Narrow::Item(item) => text
                .split(',')
                .nth(*item)
                .map(str::trim)
                .is_some_and(|part| {
                    self.ignored(part) || self.scalar(quantity, spelling, part, facts)
                }),
            Narrow::Pattern(regex) => regex
                .captures(text)
                .and_then(|found| found.get(1))
                .is_some_and(|part| {
                    self.ignored(part.as_str())
                        || self.scalar(quantity, spelling, part.as_str(), facts)
                }),
        }
    }

    fn slash(&self, left: Quantity, text: &str, facts: &mut Facts) -> bool {
        let Some((first, limit)) = text.split_once('/') else {
            return false;
        };
        let (Some(first), Some(limit)) = (read_number(first), read_number(limit)) else {
            return false;
        };
        if limit.is_negative() {
            return false;
        }
        facts.take(Told::Limit(limit), self.lookup.now);
        let value = if left == Quantity::Used {
            Told::Used(first)
        } else {
            Told::Remaining(first)
        };
        facts.take(value, self.lookup.now);
        true
    }

    /// `100;w=21600`; of a list the first with a window counts, a bare number before it is the same limit.
    fn windowed(&self, text: &str, facts: &mut Facts) -> bool {
        let mut found: Option<(Decimal, Option<u64>)> = None;
        for item in text.split(',') {
            let mut parts = item.split(';').map(str::trim);
            let Some(limit) = parts
                .next()
                .and_then(read_number)
                .filter(|n| !n.is_negative())
            else {
                return false;
            };
            let window = parts
                .find_map(|part| part.strip_prefix("w="))
                .and_then(|secs| secs.trim().parse().ok())
                .filter(|secs| *secs > 0);
            match found {
                None => found = Some((limit, window)),
                Some((first, None)) if first == limit => found = Some((limit, window)),
                Some(_) => {}
            }
        }
        let Some((limit, window)) = found else {
            return false;
        };
        facts.take(Told::Limit(limit), self.lookup.now);
        if let Some(window) = window {
            facts.take(Told::Window(window), self.lookup.now);
        }
        true
    }

    fn each(
        &mut self,
        pointer: &crate::adapter::pointer::Pointer,
        parts: &[(crate::adapter::pointer::Pointer, Quantity, Spelling)],
        text: &str,
        all: &mut SmallVec<[Facts; 1]>,
    ) {
        let Ok(root) = serde_json::from_str::<Value>(text) else {
            self.lookup.notes.push(format!(
                "{}: {} is not JSON; ignored",
                self.place(),
                shown(text.as_bytes())
            ));
            return;
        };
        let mut elements: SmallVec<[&Value; 4]> = SmallVec::new();
        pointer.select(&root, &mut |element| {
            if elements.len() < MAX_LINES {
                elements.push(element);
            }
        });
        let mut tightest: Option<Facts> = None;
        for element in elements {
            let mut facts = Facts::default();
            for (pointer, quantity, spelling) in parts {
                let text = pointer.first(element).and_then(scalar_text);
                if let Some(text) = text.filter(|text| !self.ignored(text)) {
                    self.scalar(*quantity, spelling, &text, &mut facts);
                }
            }
            if facts.label.is_some() {
                self.merge(facts, all);
            } else if tightest
                .as_ref()
                .is_none_or(|other| facts.is_tighter_than(other))
            {
                tightest = Some(facts);
            }
        }
        if let (Some(facts), Some(base)) = (tightest, all.first_mut()) {
            base.merge(facts, self.lookup.now);
        }
    }

    /// Reads one value; `false` (with a note) when it is not of its form.
    fn scalar(
        &mut self,
        quantity: Quantity,
        spelling: &Spelling,
        text: &str,
        facts: &mut Facts,
    ) -> bool {
        let value = match spelling {
            Spelling::Name => label(text).map(Told::Label),
            Spelling::Number(form) => {
                form.read(text, self.window)
                    .and_then(|number| match quantity {
                        // Below zero, a remainder is nothing and a limit or a use is nonsense.
                        Quantity::Remaining => Some(Told::Remaining(number)),
                        _ if number.is_negative() => None,
                        Quantity::Limit => Some(Told::Limit(number)),
                        Quantity::Used => Some(Told::Used(number)),
                        Quantity::Cost => Some(Told::Cost(number)),
                        _ => None,
                    })
            }
            Spelling::Time(forms) => {
                let unit = self
                    .reading
                    .unit_header
                    .as_ref()
                    .and_then(|name| header_text(self.lookup.answer.headers, name));
                forms
                    .iter()
                    .find_map(|form| form.read(text, unit))
                    .and_then(|moment| match quantity {
                        Quantity::Window => u64::try_from(moment.seconds_from(self.lookup.now))
                            .ok()
                            .filter(|secs| *secs > 0)
                            .map(Told::Window),
                        _ => Some(Told::Reset(moment)),
                    })
            }
        };
        match value {
            Some(value) => {
                facts.take(value, self.lookup.now);
                true
            }
            None => {
                self.note(
                    &self.place(),
                    text.as_bytes(),
                    &format!("not a {} of the documented form", quantity.name()),
                );
                false
            }
        }
    }

    fn ignored(&self, text: &str) -> bool {
        self.reading
            .ignore
            .iter()
            .any(|ignored| ignored.eq_ignore_ascii_case(text))
    }

    fn place(&self) -> String {
        match &self.reading.source {
            Source::Header(name) => name.to_string(),
            Source::Headers(pattern) => pattern.to_string(),
            Source::Body => "body".to_owned(),
        }
    }

    fn note(&mut self, place: &str, value: &[u8], reason: &str) {
        self.lookup
            .notes
            .push(format!("{place}: {} is {reason}; ignored", shown(value)));
    }
}

/// A header's text, if it is text.
fn header_text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The value of a key in `k=v; k=v` or `k=v, k=v`.
fn key_value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.split([';', ',']).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case(key)
            .then(|| value.trim().trim_matches('"'))
    })
}

/// A value for a note: short, quoted, without control characters. Limits are no secrets, but a header may be anything.
fn shown(value: &[u8]) -> String {
    const LONGEST: usize = 40;
    let cut = value.get(..LONGEST).unwrap_or(value);
    let more = if cut.len() < value.len() { "…" } else { "" };
    format!("\"{}{more}\"", cut.escape_ascii())
}
