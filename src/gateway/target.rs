//! Raw request targets: dot segments are found in any encoding.

use std::borrow::Cow;

/// Layers of percent-encoding that are undone while looking. More would let a long `%252525…` cost its square.
const LAYERS: usize = 3;

/// Some segment of this raw path is `.` or `..`, in whatever encoding a server might undo.
///
/// Providers disagree on what they decode and when (once, twice; `\` as `/`; Tomcat cuts a segment at `;`, others at a NUL;
/// some take forms of UTF-8 that are longer than they may be), so each of these readings is looked at. A path with such a segment could leave the part of the API that it names.
pub(super) fn has_dot_segment(path: &str) -> bool {
    // What is neither a dot nor encoded is none: other forms of it are no UTF-8.
    if memchr::memchr2(b'.', b'%', path.as_bytes()).is_none() {
        return false;
    }
    let mut is_found = false;
    let mut look = |reading: &[u8]| {
        is_found |= has_plain_dot_segment(reading)
            || without_overlong(reading).is_some_and(|reading| has_plain_dot_segment(&reading));
        is_found
    };
    each_reading(path.as_bytes(), &mut look);
    if let Some(flat) = without_layers(path) {
        each_reading(flat.as_bytes(), &mut look);
    }
    is_found
}

fn has_plain_dot_segment(reading: &[u8]) -> bool {
    let is_separator = |&byte: &u8| byte == b'/' || byte == b'\\';
    reading.split(is_separator).any(is_dot_segment)
}

/// `%2e` for `%2525252e`, whatever the number of layers: they need not be undone one by one.
fn without_layers(path: &str) -> Option<String> {
    if !path.contains("%2525") {
        return None;
    }
    let mut parts = path.split('%');
    let mut flat = parts.next()?.to_owned();
    for part in parts {
        flat.push('%');
        flat.push_str(part.trim_start_matches("25"));
    }
    // What is between two layers, as in `%25%32%65`, stays for the readings.
    while flat.contains("%%") {
        flat = flat.replace("%%", "%");
    }
    Some(flat)
}

/// With ASCII where longer forms of it stand (`C0 AE` is a dot), which no decoder of UTF-8 may accept and some do (RFC 3629,
/// section 10). `None` where there are none.
fn without_overlong(text: &[u8]) -> Option<Vec<u8>> {
    if !text
        .iter()
        .any(|byte| matches!(byte, 0xc0 | 0xc1 | 0xe0 | 0xf0))
    {
        return None;
    }
    let mut short = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let (high, low, after) = match (first, tail) {
            (0xc0 | 0xc1, [low, after @ ..]) => (first, *low, after),
            (0xe0, [high @ (0x80 | 0x81), low, after @ ..])
            | (0xf0, [0x80, high @ (0x80 | 0x81), low, after @ ..]) => (*high, *low, after),
            _ => {
                short.push(first);
                rest = tail;
                continue;
            }
        };
        short.push((high & 1) << 6 | (low & 0x3f));
        rest = after;
    }
    Some(short)
}

/// Hands out a text as it is, and with each layer of percent-encoding undone, until `is_enough`.
pub(super) fn each_reading(text: &[u8], is_enough: &mut dyn FnMut(&[u8]) -> bool) {
    let mut reading = Cow::Borrowed(text);
    for _ in 0..=LAYERS {
        if is_enough(&reading) {
            return;
        }
        match percent_decoded(&reading) {
            Some(decoded) => reading = Cow::Owned(decoded),
            None => return,
        }
    }
}

fn is_dot_segment(segment: &[u8]) -> bool {
    let end = segment
        .iter()
        .position(|&byte| matches!(byte, b';' | b'?' | b'#') || byte <= b' ')
        .unwrap_or(segment.len());
    matches!(&segment[..end], b"." | b"..")
}

/// One layer of percent-encoding undone; `None` when there is none.
fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        let digit = |offset: usize| char::from(*rest.get(at + offset)?).to_digit(16);
        let byte = digit(1)
            .zip(digit(2))
            .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        decoded.extend_from_slice(&rest[..at]);
        decoded.push(byte.unwrap_or(b'%'));
        rest = &rest[at + if byte.is_some() { 3 } else { 1 }..];
    }
    if decoded.is_empty() {
        return None;
    }
    decoded.extend_from_slice(rest);
    (decoded.len() < text.len()).then_some(decoded)
}

/// A name out of one path segment, decoded for comparing only.
pub(super) fn decoded_name(segment: &str) -> Cow<'_, str> {
    percent_decoded(segment.as_bytes())
        .and_then(|decoded| String::from_utf8(decoded).ok())
        .map_or(Cow::Borrowed(segment), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_found_in_every_encoding() {
        for path in [
            "/..",
            "/.",
            "/a/../b",
            "/a/./b",
            "/%2e",
            "/a/%2E%2e/b",
            "/a/.%2E",
            "/a\\..\\b",
            "/a%5c..%5cb",
            "/a/..%2fb",
            "/a%2f..%2Fb",
            "/%252e%252e/b",
            "/%25252e%25252e/b",
            "/a/..;x=1/b",
            "/a/%2e%2e%3bx/b",
            "/a/..\\",
            "/%%32e%2e",
            "/%2525252e%2525252e/b",
            "/%252525252525252525252e/b",
            "/%c0%ae%c0%ae/b",
            "/a/..%c0%afb",
            "/a%c1%9c..%c1%9cb",
            "/%25c0%25ae./b",
            "/%e0%80%ae%e0%80%ae/b",
            "/%f0%80%80%ae./b",
            "/..%00/b",
            "/..%20/b",
            "/%2e%2e%23/b",
            "/..%3fx/b",
        ] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in [
            "/",
            "",
            "/a",
            "/a.b",
            "/...",
            "/a..",
            "/..a",
            "/%2e%2ea",
            "//",
            "/a%2Fb",
            "/.well-known/x",
            "/100%",
            "/%zz%",
            "/;..",
            "/a;b/c",
            "/%e2%80%a6",
            "/%c3%80.%c3%80",
            "/%e0%a4%95",
            "/a%20..b",
            "/100%2525",
            "/a%c0",
        ] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }

    #[test]
    fn names_are_decoded_for_comparing() {
        assert_eq!(decoded_name("crm"), "crm");
        assert_eq!(decoded_name("c%72m"), "crm");
        assert_eq!(decoded_name("100%"), "100%");
        assert_eq!(decoded_name("%ff"), "%ff");
    }
}
