//! Conditions on a request or an answer. All parts of a condition must hold; a part that is not there holds.

use std::cell::OnceCell;

use http::{HeaderName, Method};
use regex::bytes::Regex;
use serde_json::Value;

use super::pointer::{Pointer, scalar_text};
use super::{Answer, Call, REQUEST_BODY_LIMIT};

use crate::fields::Fields;

/// A condition on a request.
#[derive(Debug, Default)]
pub struct RequestCondition {
    /// Any of these methods.
    pub methods: Vec<Method>,
    /// Any of these paths.
    pub paths: Vec<PathTemplate>,
    /// None of these paths.
    pub not_paths: Vec<PathTemplate>,
    /// All of these headers.
    pub headers: Vec<(HeaderName, Matcher)>,
    /// All of these members of the body.
    pub body: Vec<(Pointer, Matcher)>,
    /// A pattern over the body.
    pub body_pattern: Option<Regex>,
}

impl RequestCondition {
    /// Whether the call fits; `None` when what is known of the call does not tell.
    #[must_use]
    pub fn holds(&self, call: &Call<'_>) -> Option<bool> {
        let before = self.holds_before_body(call);
        if before == Some(false) || !self.needs_body() {
            return before;
        }
        match self.body_holds(call) {
            Some(true) => before,
            other => other,
        }
    }

    /// It looks at the request's body.
    #[must_use]
    pub const fn needs_body(&self) -> bool {
        !self.body.is_empty() || self.body_pattern.is_some()
    }

    /// Only the beginning of a body is known: what is not found in it may stand behind it, and one that is compressed was
    /// not read at all. Both are unknown, and not "no".
    fn body_holds(&self, call: &Call<'_>) -> Option<bool> {
        let bytes = call.body?;
        let coded = |headers: &Fields| {
            let mut codings = headers.get_all(http::header::CONTENT_ENCODING);
            codings.any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"))
        };
        if call.headers.is_some_and(coded) {
            return None;
        }
        let known = bytes.get(..REQUEST_BODY_LIMIT).unwrap_or(bytes);
        let cut = bytes.len() >= REQUEST_BODY_LIMIT;
        let misses = |pattern: &Regex| !pattern.is_match(known);
        if self.body_pattern.as_ref().is_some_and(misses) {
            return if cut { None } else { Some(false) };
        }
        if self.body.is_empty() {
            return Some(true);
        }
        let body = Body::new(Some(known));
        if cut && body.json().is_none() {
            return None;
        }
        let fits = |(pointer, matcher): &(Pointer, Matcher)| matcher.fits_body(pointer, &body);
        Some(self.body.iter().all(fits))
    }

    /// Whether the call fits as far as it can be told without its body.
    #[must_use]
    pub fn holds_before_body(&self, call: &Call<'_>) -> Option<bool> {
        if !self.methods.is_empty() && !self.methods.contains(call.method) {
            return Some(false);
        }
        let mut unknown = false;
        if !self.paths.is_empty() || !self.not_paths.is_empty() {
            match call.path {
                Some(path)
                    if (!self.paths.is_empty()
                        && !self.paths.iter().any(|template| template.fits(path)))
                        || self.not_paths.iter().any(|template| template.fits(path)) =>
                {
                    return Some(false);
                }
                Some(_) => {}
                None => unknown = true,
            }
        }
        if !self.headers.is_empty() {
            match call.headers {
                Some(headers)
                    if !self
                        .headers
                        .iter()
                        .all(|(name, matcher)| matcher.fits_header(headers, name)) =>
                {
                    return Some(false);
                }
                Some(_) => {}
                None => unknown = true,
            }
        }
        (!unknown).then_some(true)
    }
}

/// A condition on an answer (and the request before it).
#[derive(Debug, Default)]
pub struct ResponseCondition {
    /// On the request.
    pub request: RequestCondition,
    /// Any of these statuses.
    pub statuses: Vec<u16>,
    /// All of these headers.
    pub headers: Vec<(HeaderName, Matcher)>,
    /// Any of these media types.
    pub content_types: Vec<String>,
    /// All of these members of the body.
    pub body: Vec<(Pointer, Matcher)>,
    /// A pattern over the body.
    pub body_pattern: Option<Regex>,
}

impl ResponseCondition {
    /// Whether the answer fits. What is not known of the call counts as fitting.
    #[must_use]
    pub fn holds(&self, call: &Call<'_>, answer: &Answer<'_>, body: &Body<'_>) -> bool {
        self.holds_before_body(call, answer)
            && self
                .body
                .iter()
                .all(|(pointer, matcher)| matcher.fits_body(pointer, body))
            && self
                .body_pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(body.bytes()))
    }

    /// Whether the answer fits as far as it can be told without its body.
    #[must_use]
    pub fn holds_before_body(&self, call: &Call<'_>, answer: &Answer<'_>) -> bool {
        (self.statuses.is_empty() || self.statuses.contains(&answer.status.as_u16()))
            && self
                .headers
                .iter()
                .all(|(name, matcher)| matcher.fits_header(answer.headers, name))
            && self.request.holds(call) != Some(false)
            && self.content_type_holds(answer)
    }

    fn content_type_holds(&self, answer: &Answer<'_>) -> bool {
        if self.content_types.is_empty() {
            return true;
        }
        let media_type = answer
            .headers
            .get(http::header::CONTENT_TYPE)
            .and_then(|value| value.text())
            .and_then(|value| value.split(';').next())
            .map_or("", str::trim);
        self.content_types
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case(media_type))
    }

    /// It looks at the body.
    #[must_use]
    pub const fn needs_body(&self) -> bool {
        !self.body.is_empty() || self.body_pattern.is_some()
    }
}

/// An answer's body, parsed at the first look.
#[derive(Debug)]
pub struct Body<'a> {
    bytes: &'a [u8],
    json: OnceCell<Option<Value>>,
}

impl<'a> Body<'a> {
    /// Nothing is parsed yet.
    #[must_use]
    pub fn new(bytes: Option<&'a [u8]>) -> Self {
        Self {
            bytes: bytes.unwrap_or_default(),
            json: OnceCell::new(),
        }
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The JSON value, if it is one.
    pub fn json(&self) -> Option<&Value> {
        self.json
            .get_or_init(|| {
                // Some .NET and PHP servers begin with a byte order mark; it is no part of the value (RFC 8259, section 8.1).
                let json = self.bytes.strip_prefix(b"\xef\xbb\xbf");
                serde_json::from_slice(json.unwrap_or(self.bytes)).ok()
            })
            .as_ref()
    }
}

/// What a header or a member of a body is compared with. Letter case is ignored.
#[derive(Debug)]
pub enum Matcher {
    /// One of these.
    Is(Vec<String>),
    /// There, or not there.
    Present(bool),
    /// There, and none of these.
    Not(Vec<String>),
    /// There, and fits.
    Pattern(Regex),
}

impl Matcher {
    fn fits_text(&self, text: &[u8]) -> bool {
        let is = |wanted: &String| wanted.as_bytes().eq_ignore_ascii_case(text);
        match self {
            Self::Is(wanted) => wanted.iter().any(is),
            Self::Present(there) => *there,
            Self::Not(unwanted) => !unwanted.iter().any(is),
            Self::Pattern(pattern) => pattern.is_match(text),
        }
    }

    /// Whether the header fits: any of its lines, but for `not`, which all must fit.
    fn fits_header(&self, headers: &Fields, name: &HeaderName) -> bool {
        let mut lines = headers
            .get_all(name)
            .map(|value| value.as_bytes().trim_ascii())
            .peekable();
        if lines.peek().is_none() {
            return matches!(self, Self::Present(false));
        }
        match self {
            Self::Not(_) => lines.all(|line| self.fits_text(line)),
            _ => lines.any(|line| self.fits_text(line)),
        }
    }

    fn fits_body(&self, pointer: &Pointer, body: &Body<'_>) -> bool {
        let mut seen = false;
        let mut any = false;
        let mut all = true;
        if let Some(root) = body.json() {
            pointer.select(root, &mut |value| {
                if value.is_null() {
                    return;
                }
                seen = true;
                let fits = match scalar_text(value) {
                    Some(text) => self.fits_text(text.as_bytes()),
                    None => matches!(self, Self::Present(true)),
                };
                any |= fits;
                all &= fits;
            });
        }
        match self {
            Self::Present(false) => !seen,
            Self::Not(_) => seen && all,
            _ => any,
        }
    }
}

/// A path with placeholders: `/api/v9/workspaces/{workspace}/**`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Capture(String),
    One,
    Rest,
}

impl PathTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// It does not begin with `/`, `**` is not its last segment, or a segment mixes text and placeholder.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("a path begins with `/`");
        };
        let mut segments = Vec::new();
        let parts: Vec<&str> = rest.split('/').collect();
        for (index, part) in parts.iter().enumerate() {
            segments.push(match *part {
                "**" if index + 1 == parts.len() => Segment::Rest,
                "**" => return Err("`**` stands for any rest, so it must be the last segment"),
                "*" => Segment::One,
                part => match part
                    .strip_prefix('{')
                    .and_then(|part| part.strip_suffix('}'))
                {
                    Some(name) if !name.is_empty() && !name.contains(['{', '}']) => {
                        Segment::Capture(name.to_owned())
                    }
                    _ if part.contains(['{', '}', '*']) => {
                        return Err("a placeholder must be a whole segment: `/{name}/` or `/*/`");
                    }
                    _ => Segment::Literal(part.to_owned()),
                },
            });
        }
        Ok(Self {
            text: text.to_owned(),
            segments,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names it captures.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Capture(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Whether the path (percent-encoded, without query) fits.
    #[must_use]
    pub fn fits(&self, path: &str) -> bool {
        self.walk(path, |_, _| {})
    }

    /// The captured segments, if the path fits.
    #[must_use]
    pub fn captures<'p>(&self, path: &'p str) -> Option<Vec<(&str, &'p str)>> {
        let mut captured = Vec::new();
        self.walk(path, |name, value| captured.push((name, value)))
            .then_some(captured)
    }

    /// What one placeholder captures, if the path fits.
    #[must_use]
    pub fn capture<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        let mut found = None;
        self.walk(path, |known, value| {
            if known == name {
                found.get_or_insert(value);
            }
        })
        .then_some(found)?
    }

    /// The template names whole paths, not all below one.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        !self.segments.contains(&Segment::Rest)
    }

    fn walk<'s, 'p>(&'s self, path: &'p str, mut capture: impl FnMut(&'s str, &'p str)) -> bool {
        let mut parts = Parts(Some(path.strip_prefix('/').unwrap_or(path)));
        for segment in &self.segments {
            let fits = match segment {
                Segment::Rest => return true,
                Segment::Literal(text) => parts.next() == Some(text),
                Segment::One => parts.next().is_some_and(|part| !part.is_empty()),
                Segment::Capture(name) => match parts.next() {
                    Some(part) if !part.is_empty() => {
                        capture(name, part);
                        true
                    }
                    _ => false,
                },
            };
            if !fits {
                return false;
            }
        }
        // A trailing slash is no further segment.
        matches!((parts.next(), parts.next()), (None | Some(""), None))
    }
}

/// The segments of a path. By bytes: this is looked at for each call, and `str::split` by a character costs five times as
/// much.
struct Parts<'p>(Option<&'p str>);

impl<'p> Parts<'p> {
    fn next(&mut self) -> Option<&'p str> {
        let rest = self.0?;
        let slash = rest.bytes().position(|byte| byte == b'/');
        let (part, rest) = match slash.and_then(|at| rest.split_at_checked(at)) {
            Some((part, rest)) => (part, rest.get(1..)),
            None => (rest, None),
        };
        self.0 = rest;
        Some(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_value() {
        let body = Body::new(Some(b"\xef\xbb\xbf{\"a\":1}"));
        assert_eq!(body.json(), Some(&serde_json::json!({"a": 1})));
        let twice = Body::new(Some(b"\xef\xbb\xbf\xef\xbb\xbf{}"));
        assert_eq!(twice.json(), None);
    }
}
