//! Raw request targets: dot segments are found in any encoding.

use std::borrow::Cow;

/// Layers of percent-encoding that are undone while looking. More would let a long `%252525…` cost its square.
const LAYERS: usize = 3;

/// Some segment of this raw path is `.` or `..`, in whatever encoding a server might undo.
///
/// Providers disagree on what they decode and when (once, twice; `\` as `/`; Tomcat cuts a segment at `;`), so each of
/// these readings is looked at. A path with such a segment could leave the part of the API that it names.
pub(super) fn has_dot_segment(path: &str) -> bool {
    let mut is_found = false;
    each_reading(path.as_bytes(), &mut |reading| {
        is_found = reading
            .split(|&byte| byte == b'/' || byte == b'\\')
            .any(is_dot_segment);
        is_found
    });
    is_found
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
        .position(|&byte| byte == b';')
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
