//! One reading of an answer: values out of headers and bodies, in every way of the language.

use std::borrow::Cow;
use std::sync::Arc;

use http::HeaderName;
use serde_json::Value;
use smallvec::SmallVec;

use super::facts::{Facts, MAX_LINES, MAX_TEXT, Told, label, shown};
use super::lookup::Lookup;
use super::text::{cut, key_value};
use crate::adapter::pointer::{Pointer, scalar_text};
use crate::adapter::reading::{Extract, Narrow, Quantity, Reading, Source, Spelling};
use crate::fields::Fields;
use crate::form::{Decimal, Moment, NumberForm, read_digits, read_number};

/// A reading, while it reads.
pub(super) struct Reader<'r, 'a> {
    pub(super) reading: &'a Reading,
    pub(super) window: Option<u64>,
    pub(super) lookup: &'r mut Lookup<'a>,
}

impl<'a> Reader<'_, 'a> {
    /// Everything that it tells: of the policy itself first, then what goes by names of its own.
    pub(super) fn read(&mut self, all: &mut SmallVec<[Facts; 1]>) {
        if let Some(when) = &self.reading.when
            && !when.holds(self.lookup.call, self.lookup.answer, self.lookup.body)
        {
            return;
        }
        match &self.reading.source {
            Source::Header(name) => {
                let lines = self.lookup.answer.headers.get_all(name);
                for value in lines.take(MAX_LINES) {
                    let value = value.as_bytes();
                    if !self.read_whole_number(value, all) {
                        self.read_value(name.as_str(), value, None, all);
                    }
                }
            }
            Source::Headers(pattern) => {
                let mut seen = 0;
                for (name, value) in self.lookup.answer.headers.iter() {
                    let Some(found) = pattern.captures(name) else {
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

    /// Reads a value that is nothing but a whole number, as nearly all are: without a look at it as text. `false` where it
    /// takes that look, or does not fit, which [`Self::read_value`] notes.
    fn read_whole_number(&self, value: &[u8], all: &mut SmallVec<[Facts; 1]>) -> bool {
        let Extract::One(Narrow::Whole, quantity, spelling) = &self.reading.extract else {
            return false;
        };
        let Some(number) = read_digits(value).filter(|_| self.reading.ignore.is_empty()) else {
            return false;
        };
        let number = Decimal::from(number);
        let told = match spelling {
            Spelling::Number(form) => form
                .of_number(number, self.window)
                .and_then(|number| amount(*quantity, number)),
            // Where the first form is one of numbers, the others are not asked.
            Spelling::Time(forms) => forms
                .first()
                .and_then(|form| form.of_number(number, None))
                .and_then(|moment| self.time(*quantity, moment)),
            Spelling::Name => None,
        };
        match (told, all.first_mut()) {
            (Some(told), Some(facts)) => {
                facts.take(told, self.lookup.now);
                true
            }
            _ => false,
        }
    }

    fn read_value(
        &mut self,
        header: &'a str,
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
            self.note(header, value, "not text");
            return;
        };
        if self.ignored(text) {
            return;
        }
        let before = self.lookup.notes.len();
        // What goes by a name of its own is a state of its own; the rule is to read into the policy's.
        let mut own = named.map(|label| Facts {
            label: Some(label),
            ..Facts::default()
        });
        let Some(facts) = own.as_mut().or_else(|| all.first_mut()) else {
            return;
        };
        let fits = match &self.reading.extract {
            Extract::One(narrow, quantity, spelling) => {
                self.one(narrow, *quantity, spelling, text, facts)
            }
            Extract::Slash(key, first) => self.slash(key.as_deref(), *first, text, facts),
            Extract::Windowed => self.windowed(text, facts),
            Extract::Groups(regex, parts) => regex.captures(text).is_some_and(|found| {
                parts
                    .iter()
                    .fold(false, |any, (group, quantity, spelling)| {
                        let part = found.get(*group).map(|part| part.as_str());
                        part.is_some_and(|part| self.scalar(*quantity, spelling, part, facts))
                            || any
                    })
            }),
            Extract::Each(pointer, parts) => {
                self.each(pointer, parts, text, all);
                return;
            }
        };
        if self.shares_its_header() {
            self.remember(header, fits);
        } else if !fits && self.lookup.notes.len() == before {
            self.note(header, value, "not of the documented form");
        }
        if let Some(own) = own {
            self.merge(own, all);
        }
    }

    /// Another reading may be about another part of the same header.
    const fn shares_its_header(&self) -> bool {
        matches!(
            self.reading.extract,
            Extract::Groups(..)
                | Extract::Slash(Some(_), _)
                | Extract::One(Narrow::Pattern(_) | Narrow::Key(_) | Narrow::Item(_), ..)
        )
    }

    fn remember(&mut self, header: &'a str, fits: bool) {
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
            // Another reading of the same header completes it; another element of the same name competes with it.
            Some(other) if other.is_disjoint(&facts) => other.merge(facts, self.lookup.now),
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

    fn slash(&self, key: Option<&str>, left: Quantity, text: &str, facts: &mut Facts) -> bool {
        let text = match key {
            Some(key) => key_value(text, key),
            None => Some(text),
        };
        let Some((first, limit)) = text.and_then(|text| cut(text, b'/')) else {
            return false;
        };
        // `17/250(appName=sample-connected-app)`: parameters are not the limit's.
        let limit = cut(limit, b'(').map_or(limit, |(limit, _)| limit);
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
        pointer: &Pointer,
        parts: &[(Pointer, Quantity, Spelling)],
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
                let number = form.read(text, self.window);
                facts.has_no_limit |=
                    quantity == Quantity::Limit && number.is_some_and(Decimal::is_negative);
                number.and_then(|number| amount(quantity, number))
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
                    .and_then(|moment| self.time(quantity, moment))
            }
        };
        match value {
            Some(value) => {
                facts.take(value, self.lookup.now);
                true
            }
            None => {
                let reason = match spelling {
                    Spelling::Number(NumberForm::PerSecond)
                        if read_number(text).is_some_and(|rate| !rate.is_negative()) =>
                    {
                        "a rate of less than one call in the adapter's window".to_owned()
                    }
                    _ => format!("not a {} of the documented form", quantity.name()),
                };
                self.note(&self.place(), text.as_bytes(), &reason);
                false
            }
        }
    }

    /// A time as what it tells.
    fn time(&self, quantity: Quantity, moment: Moment) -> Option<Told> {
        match quantity {
            Quantity::Window => u64::try_from(moment.seconds_from(self.lookup.now))
                .ok()
                .filter(|secs| *secs > 0)
                .map(Told::Window),
            _ => Some(Told::Reset(moment)),
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

/// A number as what it tells.
fn amount(quantity: Quantity, number: Decimal) -> Option<Told> {
    match quantity {
        // Below zero, a remainder is nothing and a limit or a use is nonsense.
        Quantity::Remaining => Some(Told::Remaining(number)),
        _ if number.is_negative() => None,
        // Less than one call in the window: a rate of one in two seconds is no limit of 0 a second.
        Quantity::Limit if number.floor() == 0 && number != Decimal::ZERO => None,
        Quantity::Limit => Some(Told::Limit(number)),
        Quantity::Used => Some(Told::Used(number)),
        Quantity::Cost => Some(Told::Cost(number)),
        _ => None,
    }
}

/// A header's text, if it is text.
fn header_text<'h>(headers: &'h Fields, name: &HeaderName) -> Option<&'h str> {
    headers.get(name)?.text().map(str::trim)
}
