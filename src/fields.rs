//! The fields of a head as lines of text.
//!
//! A head has a dozen fields, and each is looked for by few: `http::HeaderMap` hashes every name, counts references for every value
//! and is written out field by field again, which was a fifth of what a call cost. Here a head is one text, as it is sent, and
//! a list of where its lines stand; whoever looks for a field compares names.

use std::borrow::Borrow;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The fields of a message's head, in the order in which they came. Names are in lower case.
#[derive(Clone, Default)]
pub struct Fields {
    /// Lines as they are sent, each with its line break. What was removed or replaced is still in it.
    text: Vec<u8>,
    lines: Vec<Line>,
}

/// Where a line stands.
#[derive(Debug, Clone, Copy)]
struct Line {
    start: usize,
    /// Lengths, in bytes.
    name: usize,
    value: usize,
    is_sensitive: bool,
}

const SEPARATOR: &[u8] = b": ";
const LINE_BREAK: &[u8] = b"\r\n";

impl Line {
    const fn value_start(self) -> usize {
        self.start + self.name + SEPARATOR.len()
    }

    const fn end(self) -> usize {
        self.value_start() + self.value + LINE_BREAK.len()
    }
}

/// The value of a field: any bytes but control characters (RFC 9110, section 5.5).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    bytes: &'a [u8],
    is_sensitive: bool,
}

impl<'a> Value<'a> {
    /// As it was sent.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// It, where it is ASCII.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        let is_ascii = self.bytes.is_ascii();
        is_ascii.then(|| std::str::from_utf8(self.bytes).ok())?
    }

    /// It is not to be shown or remembered (RFC 7541, section 7.1.3).
    #[must_use]
    pub const fn is_sensitive(self) -> bool {
        self.is_sensitive
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_sensitive {
            return out.write_str("Sensitive");
        }
        fmt::Debug::fmt(&String::from_utf8_lossy(self.bytes), out)
    }
}

impl PartialEq<&str> for Value<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.bytes == other.as_bytes()
    }
}

/// What no field can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwritable;

impl Fields {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            text: Vec::new(),
            lines: Vec::new(),
        }
    }

    /// None, with room for so many, which take so many bytes.
    #[must_use]
    pub fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self {
            text: Vec::with_capacity(bytes),
            lines: Vec::with_capacity(fields),
        }
    }

    /// The same lines, with room for so many more, which take so many bytes.
    #[must_use]
    pub fn with_room(&self, fields: usize, bytes: usize) -> Self {
        let mut copy = Self::with_capacity(self.lines.len() + fields, self.text.len() + bytes);
        copy.text.extend_from_slice(&self.text);
        copy.lines.extend_from_slice(&self.lines);
        copy
    }

    /// How many lines there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.lines.len()
    }

    /// There are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How long its lines are as they are sent, in bytes.
    #[must_use]
    pub fn written_length(&self) -> usize {
        self.lines.iter().map(|line| line.end() - line.start).sum()
    }

    /// The first line of this name (in lower case).
    #[must_use]
    pub fn get(&self, name: impl AsRef<str>) -> Option<Value<'_>> {
        let line = self.find(name.as_ref().as_bytes(), 0)?;
        Some(parts(&self.text, self.lines.get(line)?).1)
    }

    /// All lines of this name (in lower case).
    pub fn get_all(&self, name: impl AsRef<str>) -> impl Iterator<Item = Value<'_>> + Clone {
        let mut next = self.find(name.as_ref().as_bytes(), 0);
        std::iter::from_fn(move || {
            let line = self.lines.get(next?)?;
            let (name, value) = parts(&self.text, line);
            next = self.find(name, next? + 1);
            Some(value)
        })
    }

    /// There is a line of this name (in lower case).
    #[must_use]
    pub fn contains_key(&self, name: impl AsRef<str>) -> bool {
        self.find(name.as_ref().as_bytes(), 0).is_some()
    }

    /// All names, one for each line.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    /// All lines.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.raw()
            .map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value))
    }

    /// The same, with the names as they are sent.
    pub fn raw(&self) -> impl Iterator<Item = (&[u8], Value<'_>)> {
        self.lines.iter().map(|line| parts(&self.text, line))
    }

    /// One line more.
    pub fn append(&mut self, name: impl Borrow<HeaderName>, value: impl Borrow<HeaderValue>) {
        let line = self.whole(name.borrow(), value.borrow());
        self.lines.push(line);
    }

    /// One line more with what is written; `false`: that is nothing, or has control characters in it, and nothing has changed.
    pub fn append_written(&mut self, name: &HeaderName, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let name = name.as_str().as_bytes();
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(SEPARATOR);
        let value_start = self.text.len();
        write(&mut self.text);
        let value = self.text.get(value_start..).unwrap_or_default();
        if value.is_empty() || !is_value(value) {
            self.text.truncate(start);
            return false;
        }
        let line = Line {
            start,
            name: name.len(),
            value: value.len(),
            is_sensitive: false,
        };
        self.text.extend_from_slice(LINE_BREAK);
        self.lines.push(line);
        true
    }

    /// In place of all lines of this name, where the first of them stood; behind all others if there were none.
    pub fn insert(&mut self, name: impl Borrow<HeaderName>, value: impl Borrow<HeaderValue>) {
        let line = self.whole(name.borrow(), value.borrow());
        self.put(line);
    }

    /// The same with a number.
    pub fn insert_number(&mut self, name: &HeaderName, number: u64) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(number);
        let line = self.write(name.as_str().as_bytes(), digits.as_bytes());
        self.put(line);
    }

    /// The fields that a parser of HTTP/1.1 has found in a message, with room for so many more, which take so many bytes.
    ///
    /// # Errors
    /// One of them is none.
    pub fn parsed(
        message: &[u8],
        found: &[httparse::Header<'_>],
        (more, bytes): (usize, usize),
    ) -> Result<Self, Unwritable> {
        let place = |part: &[u8]| part.as_ptr().addr().wrapping_sub(message.as_ptr().addr());
        let start = found
            .first()
            .map_or(0, |first| place(first.name.as_bytes()));
        // An empty value may be anywhere.
        let end = found.last().map_or(0, |last| {
            place(last.value).saturating_add(last.value.len() + LINE_BREAK.len())
        });
        let lines = message.get(start..end).unwrap_or_default();
        let mut fields = Self::with_capacity(found.len() + more, lines.len() + bytes);
        fields.text.extend_from_slice(lines);
        for field in found {
            let name = field.name.as_bytes();
            // Longer ones are none in the vocabulary that is shared with HTTP/2.
            if name.is_empty() || name.len() > usize::from(u16::MAX) {
                return Err(Unwritable);
            }
            let line = Line {
                start: place(name).wrapping_sub(start),
                name: name.len(),
                value: field.value.len(),
                is_sensitive: false,
            };
            // As nearly all are: with one space, and nothing before the line break.
            let is_plain = place(field.value) == start + line.value_start()
                && lines.get(line.start + line.name..line.value_start()) == Some(SEPARATOR)
                && lines.get(line.end() - LINE_BREAK.len()..line.end()) == Some(LINE_BREAK);
            let line = if is_plain {
                line
            } else {
                fields.write(name, field.value)
            };
            fields.lines.push(line);
            if let Some(name) = fields.text.get_mut(line.start..line.start + line.name) {
                name.make_ascii_lowercase();
            }
        }
        Ok(fields)
    }

    /// Takes all lines of this name (in lower case) out.
    pub fn remove(&mut self, name: impl AsRef<str>) {
        let name = name.as_ref().as_bytes();
        if self.find(name, 0).is_some() {
            self.retain(|other, _| other != name);
        }
    }

    /// Takes out what is not kept.
    pub fn retain(&mut self, mut keeps: impl FnMut(&[u8], Value<'_>) -> bool) {
        let text = &self.text;
        self.lines.retain(|line| {
            let (name, value) = parts(text, line);
            keeps(name, value)
        });
    }

    /// Gives all lines of a name another one.
    pub fn rename(&mut self, from: &HeaderName, to: &HeaderName) {
        let (from, mut at) = (from.as_str().as_bytes(), 0);
        while let Some(found) = self.find(from, at) {
            if let Some(old) = self.lines.get(found).copied() {
                let value = parts(&self.text, &old).1.bytes.to_vec();
                let line = Line {
                    is_sensitive: old.is_sensitive,
                    ..self.write(to.as_str().as_bytes(), &value)
                };
                self.replace(found, line);
            }
            at = found + 1;
        }
    }

    /// Writes other values for those of some lines; those that cannot be written stay.
    pub fn rewrite(&mut self, mut other: impl FnMut(&[u8], Value<'_>) -> Option<Vec<u8>>) {
        for at in 0..self.lines.len() {
            let Some(line) = self.lines.get(at).copied() else {
                return;
            };
            let (name, value) = parts(&self.text, &line);
            let other = other(name, value).filter(|other| is_value(other));
            let Some(other) = other else {
                continue;
            };
            let name = name.to_vec();
            let new = Line {
                is_sensitive: line.is_sensitive,
                ..self.write(&name, &other)
            };
            self.replace(at, new);
        }
    }

    /// Writes those that are kept as they are sent, each with its line break.
    pub fn write_to(&self, out: &mut Vec<u8>, mut keeps: impl FnMut(&[u8], Value<'_>) -> bool) {
        // What stands together is written together.
        let mut run = 0..0;
        for line in &self.lines {
            let (name, value) = parts(&self.text, line);
            if !keeps(name, value) {
                continue;
            }
            if line.start != run.end {
                out.extend_from_slice(self.text.get(run).unwrap_or_default());
                run = line.start..line.start;
            }
            run.end = line.end();
        }
        out.extend_from_slice(self.text.get(run).unwrap_or_default());
    }

    /// The same in the vocabulary that is shared with HTTP/2.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        let mut map = HeaderMap::try_with_capacity(self.len()).unwrap_or_default();
        for (name, value) in self.raw() {
            let name = HeaderName::from_bytes(name);
            // Only of more lines than a map can have, which no limit lets in, some are left out.
            if let (Ok(name), Ok(mut written)) = (name, HeaderValue::from_bytes(value.bytes)) {
                written.set_sensitive(value.is_sensitive);
                let _has_room = map.try_append(name, written);
            }
        }
        map
    }

    fn name(&self, line: &Line) -> &[u8] {
        parts(&self.text, line).0
    }

    fn find(&self, name: &[u8], from: usize) -> Option<usize> {
        let lines = self.lines.get(from..)?;
        let is_named = |line: &Line| line.name == name.len() && self.name(line) == name;
        lines.iter().position(is_named).map(|at| from + at)
    }

    fn whole(&mut self, name: &HeaderName, value: &HeaderValue) -> Line {
        Line {
            is_sensitive: value.is_sensitive(),
            ..self.write(name.as_str().as_bytes(), value.as_bytes())
        }
    }

    /// Writes a line behind the text; it is not among the lines yet.
    fn write(&mut self, name: &[u8], value: &[u8]) -> Line {
        let line = Line {
            start: self.text.len(),
            name: name.len(),
            value: value.len(),
            is_sensitive: false,
        };
        self.text.reserve(line.end() - line.start);
        for piece in [name, SEPARATOR, value, LINE_BREAK] {
            self.text.extend_from_slice(piece);
        }
        line
    }

    fn replace(&mut self, at: usize, line: Line) {
        if let Some(place) = self.lines.get_mut(at) {
            *place = line;
        }
    }

    /// In place of all lines of its name.
    fn put(&mut self, line: Line) {
        let Some(first) = self.find(self.name(&line), 0) else {
            self.lines.push(line);
            return;
        };
        self.replace(first, line);
        if self.find(self.name(&line), first + 1).is_some() {
            let (text, mut at) = (&self.text, 0);
            let name = parts(text, &line).0;
            self.lines.retain(|other| {
                at += 1;
                at - 1 <= first || parts(text, other).0 != name
            });
        }
    }
}

/// The name and the value of a line of this text.
fn parts<'a>(text: &'a [u8], line: &Line) -> (&'a [u8], Value<'a>) {
    let name = text.get(line.start..line.start + line.name);
    let value = text.get(line.value_start()..line.value_start() + line.value);
    let value = Value {
        bytes: value.unwrap_or_default(),
        is_sensitive: line.is_sensitive,
    };
    (name.unwrap_or_default(), value)
}

/// RFC 9110, section 5.5.
fn is_value(bytes: &[u8]) -> bool {
    let fits = |byte: &u8| (*byte >= b' ' && *byte != 0x7f) || *byte == b'\t';
    // Without a way out at the first misfit: several are looked at in one step.
    bytes.iter().fold(true, |all, byte| all & fits(byte))
}

impl fmt::Debug for Fields {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_map().entries(self.iter()).finish()
    }
}

/// The same lines in the same order.
impl PartialEq for Fields {
    fn eq(&self, other: &Self) -> bool {
        self.raw().eq(other.raw())
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let length = |(name, value): (&HeaderName, &HeaderValue)| {
            name.as_str().len() + value.len() + SEPARATOR.len() + LINE_BREAK.len()
        };
        let mut fields = Self::with_capacity(map.len(), map.iter().map(length).sum());
        for (name, value) in map {
            fields.append(name, value);
        }
        fields
    }
}

impl From<HeaderMap> for Fields {
    fn from(map: HeaderMap) -> Self {
        Self::from(&map)
    }
}

impl FromIterator<(HeaderName, HeaderValue)> for Fields {
    fn from_iter<T: IntoIterator<Item = (HeaderName, HeaderValue)>>(lines: T) -> Self {
        let mut fields = Self::new();
        for (name, value) in lines {
            fields.append(name, value);
        }
        fields
    }
}

#[cfg(test)]
mod tests;
