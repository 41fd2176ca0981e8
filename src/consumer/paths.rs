//! Which paths a consumer may call. What is not clearly allowed is refused: a path that some server would read otherwise than
//! it stands there fits no pattern.

use std::borrow::Cow;

use crate::adapter::condition::PathTemplate;

/// A pattern over paths: `/crm/v3/objects/**`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern(PathTemplate);

impl PathPattern {
    /// Reads one: `*` stands for one segment, `**` at the end for any rest, nothing among it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let path = text.strip_suffix("**").unwrap_or(text);
        if path.contains(['{', '}']) {
            return Err("`*` stands for one segment, `**` at the end for any rest");
        }
        if path.contains(['?', '#']) {
            return Err("write the path alone: parameters are not looked at");
        }
        if path.contains('%') {
            return Err("write it as people read it, without percent-encoding");
        }
        if path.starts_with('/') && clear(path).is_none() {
            return Err(
                "a path that servers may read in two ways fits no pattern: no `//`, `..`, `;` or `\\`",
            );
        }
        PathTemplate::new(text).map(Self)
    }
}

/// Whether one of the patterns allows this raw path.
#[must_use]
pub fn allow(patterns: &[PathPattern], path: &str) -> bool {
    clear(path).is_some_and(|path| patterns.iter().any(|pattern| pattern.0.fits(&path)))
}

/// The path decoded, where every server reads the same segments in it: nothing that is encoded twice, no separator that
/// is hidden in an encoding (`%2F`) or that only some know (`\`, `;` of Java), no empty segment but a last one, no dots.
fn clear(path: &str) -> Option<Cow<'_, str>> {
    let mut segments = path.strip_prefix('/')?.split('/').peekable();
    let mut is_encoded = false;
    let mut whole = String::with_capacity(path.len());
    while let Some(segment) = segments.next() {
        let decoded = decoded(segment)?;
        let is_last = segments.peek().is_none();
        let is_hidden = |c: char| matches!(c, '/' | '\\' | ';') || c.is_control();
        if (decoded.is_empty() && !is_last)
            || matches!(&*decoded, "." | "..")
            || decoded.contains(is_hidden)
            || self::decoded(&decoded)? != decoded
        {
            return None;
        }
        is_encoded |= matches!(decoded, Cow::Owned(_));
        whole.push('/');
        whole.push_str(&decoded);
    }
    Some(if is_encoded {
        Cow::Owned(whole)
    } else {
        Cow::Borrowed(path)
    })
}

/// One layer of percent-encoding undone; `None` where that is no text.
fn decoded(segment: &str) -> Option<Cow<'_, str>> {
    let Some((before, mut rest)) = segment.split_once('%') else {
        return Some(Cow::Borrowed(segment));
    };
    let mut bytes = before.as_bytes().to_vec();
    loop {
        let digits = rest
            .get(..2)
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = rest.get(2..)?;
            }
            None => bytes.push(b'%'),
        }
        match rest.split_once('%') {
            Some((before, after)) => {
                bytes.extend_from_slice(before.as_bytes());
                rest = after;
            }
            None => {
                bytes.extend_from_slice(rest.as_bytes());
                return String::from_utf8(bytes).ok().map(Cow::Owned);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(patterns: &[&str], path: &str) -> bool {
        let patterns: Vec<_> = patterns
            .iter()
            .map(|text| PathPattern::new(text).unwrap())
            .collect();
        allow(&patterns, path)
    }

    #[test]
    fn stars_stand_for_segments() {
        for (pattern, path, fits) in [
            ("/a/*/c", "/a/b/c", true),
            ("/a/*/c", "/a/b/c/", true),
            ("/a/*/c", "/a/b/b/c", false),
            ("/a/*", "/a", false),
            ("/a/*", "/a/", false),
            ("/a/**", "/a/b/c", true),
            ("/a/**", "/a/", true),
            ("/a/**", "/a", true),
            ("/a/**", "/ab", false),
            ("/a/**", "/A/b", false),
            ("/**", "/", true),
            ("/", "/", true),
            ("/", "/a", false),
            ("/a b/*", "/a%20b/%C3%A4", true),
            ("/a/b", "/%61/b", true),
        ] {
            assert_eq!(allowed(&[pattern], path), fits, "{pattern} {path}");
        }
        assert!(allowed(&["/a", "/b"], "/b"));
        assert!(!allowed(&[], "/"));
    }

    #[test]
    fn what_servers_may_read_in_two_ways_is_not_allowed() {
        for path in [
            "/a%2Fb",
            "/a%2fb",
            "/a%252Fb",
            "/a%5Cb",
            "/a\\b",
            "//a",
            "/a//b",
            "/a;b=1/c",
            "/a%3Bb",
            "/..",
            "/%2e%2e/a",
            "/.",
            "/a%00",
            "/a%0A",
            "/a%2500",
            "/%ff",
            "a",
            "",
        ] {
            assert!(!allowed(&["/**"], path), "{path}");
        }
        for path in ["/100%", "/a%25", "/a%25zz", "/...", "/a:b@c,d'e"] {
            assert!(allowed(&["/**"], path), "{path}");
        }
    }

    #[test]
    fn bad_patterns_are_explained() {
        for text in [
            "", "a", "/**/a", "/a*", "/{id}", "/a?b=c", "/a%20b", "/a//b", "/../a", "/a;b", "//**",
        ] {
            assert!(PathPattern::new(text).is_err(), "{text}");
        }
    }
}
