//! Where secrets stand in the text of a configuration: mistakes are told with their lines, and these must not be in them.

use std::borrow::Cow;
use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::references::is_reference;
use crate::consumer::KEY_PREFIX;
use crate::diagnostic::closest;

/// Keys whose values are secrets, also where they are misspelled.
const KEYS: [&str; 4] = ["credential", "client_secret", "refresh_token", "secret"];

/// What the first line of a private key in PEM ends with, whatever kind of key it is. Files with one are named; who writes the
/// key itself there must not find it in a log.
const PEM: &str = "PRIVATE KEY-----";

/// A secret that is written out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// Where, with its quotes or without them.
    pub(super) span: Range<usize>,
    /// What it is, without escapes.
    pub(super) value: String,
}

/// The secrets that are written out in a text, in no order, some more than once. References stay: they tell where a secret is,
/// not what it is. The tree knows every spelling of a key and of a value; where the text is no TOML it has gaps, so the text
/// is looked through, too. Rather too much is hidden than too little.
pub(super) fn written_out(source: &str) -> Vec<Found> {
    let mut found = Vec::new();
    let (tree, _) = DeTable::parse_recoverable(source);
    in_table(tree.get_ref(), false, source, &mut found);
    in_text(source, &mut found);
    own_keys(source, &mut found);
    private_keys(source, &mut found);
    found
}

fn is_secret(key: &str) -> bool {
    closest(key, KEYS).is_some()
}

/// Those of a table. `within`: it stands behind a key of secrets itself, and all that is in it is secret.
fn in_table(table: &DeTable<'_>, within: bool, source: &str, found: &mut Vec<Found>) {
    for (key, value) in table {
        in_value(value, within || is_secret(key.get_ref()), source, found);
    }
}

fn in_value(value: &Spanned<DeValue<'_>>, hidden: bool, source: &str, found: &mut Vec<Found>) {
    match value.get_ref() {
        DeValue::Table(table) => in_table(table, hidden, source, found),
        DeValue::Array(items) => {
            for item in items {
                in_value(item, hidden, source, found);
            }
        }
        DeValue::String(text) if is_reference(text) => {}
        DeValue::String(text) if hidden || text.contains(PEM) => {
            let (span, value) = (value.span(), text.clone().into_owned());
            found.push(Found { span, value });
        }
        _ if hidden => found.extend(at(value.span(), source)),
        _ => {}
    }
}

/// A secret as it is written there.
fn at(span: Range<usize>, source: &str) -> Option<Found> {
    let value = source.get(span.clone())?.to_owned();
    (!value.is_empty()).then_some(Found { span, value })
}

/// Those behind whatever looks like a key, and what is between quotes or up to the end of the line.
fn in_text(source: &str, found: &mut Vec<Found>) {
    let mut from = 0;
    while let Some(sign) = source.get(from..).and_then(|rest| rest.find('=')) {
        let sign = from + sign;
        from = sign + 1;
        if has_secret_key(source.get(..sign).unwrap_or_default()) {
            let rest = source.get(from..).unwrap_or_default();
            let value = rest.trim_start_matches([' ', '\t']);
            let start = source.len() - value.len();
            let (inner, end) = extent(value);
            from = start + end;
            found.extend(text_at(start + inner.start..start + inner.end, source));
        }
    }
}

/// A string as it is written there, unless it is a reference.
fn text_at(span: Range<usize>, source: &str) -> Option<Found> {
    let one = at(span, source)?;
    let value = unescaped(&one.value).into_owned();
    (!is_reference(&one.value)).then_some(Found { value, ..one })
}

/// What a text before `=` ends with is the key of a secret, or has such a key in its path.
fn has_secret_key(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default();
    let line = unescaped(line);
    let is_part = |c: char| {
        c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '"' | '\'' | ' ' | '\t' | '\r')
    };
    let start = line.rfind(|c| !is_part(c));
    let path = start.and_then(|at| line.get(at..)).unwrap_or(&line);
    let is_quote = |c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-');
    path.split(is_quote)
        .filter(|word| !word.is_empty())
        .any(is_secret)
}

/// A text without the escapes that letters can have in TOML.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let letter = escape.get(1..2).unwrap_or_default();
        let length = match letter {
            "x" => 2,
            "u" => 4,
            "U" => 8,
            _ => 0,
        };
        let code = escape.get(2..2 + length).filter(|_| length > 0);
        let code = code.and_then(|code| u32::from_str_radix(code, 16).ok());
        match code.and_then(char::from_u32) {
            Some(decoded) => {
                plain.push(decoded);
                rest = escape.get(2 + length..).unwrap_or_default();
            }
            None => {
                let simple = match letter {
                    "n" => "\n",
                    "t" => "\t",
                    "r" => "\r",
                    "b" => "\u{8}",
                    "f" => "\u{c}",
                    "e" => "\u{1b}",
                    "\"" | "\\" => letter,
                    _ => "\\",
                };
                plain.push_str(simple);
                let length = if simple == "\\" && letter != "\\" {
                    1
                } else {
                    2
                };
                rest = escape.get(length..).unwrap_or_default();
            }
        }
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// What of a text that begins with a value is the value without its quotes, and where to look on.
fn extent(text: &str) -> (Range<usize>, usize) {
    let quote = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quote| text.starts_with(quote));
    if let Some(quote) = quote {
        let inner = text.get(quote.len()..).unwrap_or_default();
        let end = quote.len() + end_of(inner, quote);
        return (quote.len()..end, end);
    }
    // A list or a table where a string should be: all of it, however many lines it has.
    let end = match text.chars().next() {
        Some('{') => text.find('}'),
        Some('[') => text.find(']'),
        _ => text.find(['\n', ',', '}', '#']),
    };
    let end = end.unwrap_or(text.len());
    (0..end, end)
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

/// Headroom's own keys are secrets wherever somebody has put them.
fn own_keys(source: &str, found: &mut Vec<Found>) {
    for (start, prefix) in source.match_indices(KEY_PREFIX) {
        let start = start + prefix.len();
        let rest = source.get(start..).unwrap_or_default();
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        found.extend(at(start..start + end, source));
    }
}

/// Private keys in PEM: from the first line to the last, or as far as the text goes.
fn private_keys(source: &str, found: &mut Vec<Found>) {
    let mut from = 0;
    while let Some(start) = source.get(from..).and_then(|rest| rest.find(PEM)) {
        let start = from + start + PEM.len();
        let rest = source.get(start..).unwrap_or_default();
        let end = start + rest.find("-----END").unwrap_or(rest.len());
        found.extend(at(start..end, source));
        from = end.max(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Outside, parse};

    struct Nothing;

    impl Outside for Nothing {
        fn variable(&self, _: &str) -> Option<String> {
            None
        }
        fn file(&self, _: &str) -> Result<String, String> {
            Err("there are no files".to_owned())
        }
    }

    #[test]
    fn secrets_become_stars_and_nothing_moves() {
        for (text, shown) in [
            (
                "credential = \"abc\"\nplan = \"x\"",
                "credential = \"***\"\nplan = \"x\"",
            ),
            ("credential=\"a\\\"b\" # c", "credential=\"**\"*\" # c"),
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
            ("\"credential\" = \"\u{e4}\"", "\"credential\" = \"\u{d7}\""),
            ("'credential' = 'a'", "'credential' = '*'"),
            (
                "\"cred\\u0065ntial\" = \"abc\"",
                "\"cred\\u0065ntial\" = \"***\"",
            ),
            (
                "\"cred\\U00000065ntial\" = \"abc",
                "\"cred\\U00000065ntial\" = \"***",
            ),
            (
                "oauth2.client_secret = \"abc\"",
                "oauth2.client_secret = \"***\"",
            ),
            (
                "oauth2 . \"client_s\\u0065cret\" = \"abc",
                "oauth2 . \"client_s\\u0065cret\" = \"***",
            ),
            ("credential.a = \"abc\"", "credential.a = \"***\""),
            ("credential.a = \"abc", "credential.a = \"***"),
            (
                "[a.credential]\nb = \"abc\"\nc = 12",
                "[a.credential]\nb = \"***\"\nc = **",
            ),
            (
                "oauth2 = { refresh_token = \"abc\", client-secret = \"d\" }",
                "oauth2 = { refresh_token = \"***\", client-secret = \"*\" }",
            ),
            (
                "secret = \"\"\"a\nb\"\"\"\nc = 1",
                "secret = \"\"\"*\n*\"\"\"\nc = 1",
            ),
            (
                "secret = '''\na\nb'''\nc = 1",
                "secret = '''\n*\n*'''\nc = 1",
            ),
            ("credential = \"${A}\"", "credential = \"${A}\""),
            ("credential = \"${A}:${B}\"", "credential = \"${A}:${B}\""),
            ("credential = \"${A:-b}\"", "credential = \"*******\""),
            ("credential = \"a${A}\"", "credential = \"*****\""),
            ("credential = \"file:a\"", "credential = \"file:a\""),
            ("credential = { a = \"b\" }", "credential = ******\"*\"*}"),
            ("credential = [\"a\"] # b", "credential = *\"*\"] # b"),
            (
                "credential = [\n\"ab\",\n] # b",
                "credential = *\n\"**\"*\n] # b",
            ),
            ("credential = [\n\"ab\nc", "credential = *\n\"**\n*"),
            ("credential = 12", "credential = **"),
            ("key_hash = \"hr_abc-d\"", "key_hash = \"hr_*****\""),
            (
                "client_key = \"-----BEGIN PRIVATE KEY-----\\nabc\"",
                "client_key = \"********************************\"",
            ),
            (
                "client_key = -----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----",
                "client_key = ***************************\n***\n-----END PRIVATE KEY-----",
            ),
            (
                "# -----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----",
                "# -----BEGIN PRIVATE KEY-----\n***\n-----END PRIVATE KEY-----",
            ),
            ("url = \"https://a/?b=c\"", "url = \"https://a/?b=c\""),
            ("=", "="),
            ("", ""),
        ] {
            let (_, mistakes) = parse(text, &Nothing);
            assert_eq!(mistakes.shown(text), shown);
            assert_eq!(mistakes.shown(text).len(), text.len(), "{text}");
        }
    }

    #[test]
    fn secrets_are_known_without_their_escapes() {
        for source in [
            "secret = \"x\\u0079\\tz\"",
            "secret = \"x\\u0079\\tz",
            "\"secr\\x65t\" = \"x\\x79\\tz\"",
        ] {
            let found = written_out(source);
            assert!(!found.is_empty(), "{source}");
            assert!(found.iter().all(|one| one.value == "xy\tz"), "{found:?}");
        }
        let source = "a = \"**\"\nsecret = \"${A}\"";
        assert_eq!(written_out(source), []);
    }
}
