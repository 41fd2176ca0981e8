//! The text of a configuration as it may be shown: mistakes are told with their lines, and secrets may stand in them.

use std::ops::Range;

use super::references::is_reference;
use crate::consumer::KEY_PREFIX;
use crate::diagnostic::closest;

/// Keys whose values are secrets, also where they are misspelled.
const KEYS: [&str; 4] = ["credential", "client_secret", "refresh_token", "secret"];

/// The same text, of the same length, with stars for secrets that are written out in it. References stay: they tell where a
/// secret is, not what it is. Works on text that is no TOML, too; rather too much is hidden than too little.
#[must_use]
pub fn without_secrets(source: &str) -> String {
    let mut shown = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find('=') {
        let (before, value) = rest.split_at(at + 1);
        shown.push_str(before);
        let is_quote = |c: char| c.is_whitespace() || matches!(c, '"' | '\'');
        let key = shown.trim_end_matches('=').trim_end_matches(is_quote);
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let start = key.rfind(|c| !is_word(c)).map_or(0, |at| at + 1);
        let is_secret = key
            .get(start..)
            .is_some_and(|key| closest(key, KEYS).is_some());
        let space = value.len() - value.trim_start_matches([' ', '\t']).len();
        let (space, value) = value.split_at(space);
        shown.push_str(space);
        rest = if is_secret {
            hide(value, &mut shown)
        } else {
            value
        };
    }
    shown.push_str(rest);
    hide_keys(&shown)
}

/// Where secrets are written out in a text.
pub(super) fn written_out(source: &str) -> Vec<Range<usize>> {
    let shown = without_secrets(source);
    let mut found = Vec::new();
    let mut at = 0;
    for run in shown.split_inclusive(|c| c != '*') {
        let stars = run.len() - run.trim_start_matches('*').len();
        let span = at..at + stars;
        if source.get(span.clone()) != shown.get(span.clone()) {
            found.push(span);
        }
        at += run.len();
    }
    found
}

/// Writes stars for the value that the text begins with, and gives what follows.
fn hide<'t>(text: &'t str, shown: &mut String) -> &'t str {
    let quote = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quote| text.starts_with(quote));
    let Some(quote) = quote else {
        // A table has keys of its own; anything else without quotes is a mistake.
        let end = match text.chars().next() {
            Some('{') => Some(0),
            Some('[') => text.find(['\n', ']']),
            _ => text.find(['\n', ',', '}', '#']),
        };
        let end = end.unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        stars(value, shown);
        return rest;
    };
    let inner = text.get(quote.len()..).unwrap_or_default();
    let (value, rest) = inner.split_at(end_of(inner, quote));
    shown.push_str(quote);
    if is_reference(value) {
        shown.push_str(value);
    } else {
        stars(value, shown);
    }
    rest
}

/// Where a string ends: at its quotes, or, if it is of one line, at the end of that.
fn end_of(inner: &str, quote: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in inner.char_indices() {
        // No backslash takes a string of one line further.
        if c == '\n' && quote.len() == 1 {
            return at;
        }
        if is_escaped {
            is_escaped = false;
            continue;
        }
        if inner.get(at..).is_some_and(|rest| rest.starts_with(quote)) {
            return at;
        }
        is_escaped = c == '\\' && quote.starts_with('"');
    }
    inner.len()
}

fn stars(value: &str, shown: &mut String) {
    for c in value.chars() {
        if c == '\n' {
            shown.push(c);
        } else {
            // As long as it was: places in the text are bytes.
            shown.extend(std::iter::repeat_n('*', c.len_utf8()));
        }
    }
}

/// Headroom's own keys are secrets wherever somebody has put them.
fn hide_keys(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(KEY_PREFIX) {
        let (before, key) = rest.split_at(at + KEY_PREFIX.len());
        shown.push_str(before);
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let (key, after) = key.split_at(key.find(|c| !is_word(c)).unwrap_or(key.len()));
        stars(key, &mut shown);
        rest = after;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_become_stars_and_nothing_moves() {
        for (text, shown) in [
            (
                "credential = \"abc\"\nplan = \"x\"",
                "credential = \"***\"\nplan = \"x\"",
            ),
            ("credential=\"a\\\"b\" # c", "credential=\"****\" # c"),
            ("credential = \"abc", "credential = \"***"),
            (
                "credential = \"abc\nplan = \"x\"",
                "credential = \"***\nplan = \"x\"",
            ),
            (
                "credential = \"a\\\nsecret = \"b\"",
                "credential = \"**\nsecret = \"*\"",
            ),
            ("credential = abc", "credential = ***"),
            ("credentail = 'a\\'", "credentail = '**'"),
            ("\"credential\" = \"\u{e4}\"", "\"credential\" = \"**\""),
            (
                "oauth2.client_secret = \"abc\"",
                "oauth2.client_secret = \"***\"",
            ),
            (
                "oauth2 = { refresh_token = \"abc\", client-secret = \"d\" }",
                "oauth2 = { refresh_token = \"***\", client-secret = \"*\" }",
            ),
            (
                "secret = \"\"\"a\nb\"\"\"\nc = 1",
                "secret = \"\"\"*\n*\"\"\"\nc = 1",
            ),
            ("credential = \"${A}\"", "credential = \"${A}\""),
            ("credential = \"${A}:${B}\"", "credential = \"${A}:${B}\""),
            ("credential = \"${A:-b}\"", "credential = \"*******\""),
            ("credential = \"a${A}\"", "credential = \"*****\""),
            ("credential = \"file:a\"", "credential = \"file:a\""),
            (
                "credential = { header = \"a\" }",
                "credential = { header = \"a\" }",
            ),
            ("credential = [\"a\"] # b", "credential = ****] # b"),
            ("key_hash = \"hr_abc-d\"", "key_hash = \"hr_*****\""),
            ("url = \"https://a/?b=c\"", "url = \"https://a/?b=c\""),
            ("=", "="),
            ("", ""),
        ] {
            assert_eq!(without_secrets(text), shown);
            assert_eq!(without_secrets(text).len(), text.len(), "{text}");
        }
    }

    #[test]
    fn secrets_that_are_written_out_are_found() {
        let source = "a = \"**\"\ncredential = \"x*y\"\nsecret = \"${A}\"\nsecret = 'z'";
        let found: Vec<_> = written_out(source)
            .into_iter()
            .filter_map(|span| source.get(span))
            .collect();
        assert_eq!(found, ["x*y", "z"]);
    }
}
