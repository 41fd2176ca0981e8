//! Raw request targets: dot segments are found in any encoding, and a URL is made without changing one byte.

use std::borrow::Cow;

use serde_json::Value;
use url::Url;

/// The longest URI that hyper takes.
const LONGEST: usize = 65_534;

/// Layers of percent-encoding that are undone while looking. More would let a long `%252525…` cost its square.
const LAYERS: usize = 3;

/// Some segment of this raw path is `.` or `..`, in whatever encoding a server might undo.
///
/// Providers disagree on what they decode and when (once, twice; `\` as `/`; Tomcat cuts a segment at `;`), so each of
/// these readings is looked at. A path with such a segment could leave the part of the API that it names.
pub(super) fn has_dot_segment(path: &str) -> bool {
    let mut reading = Cow::Borrowed(path.as_bytes());
    for _ in 0..=LAYERS {
        if reading
            .split(|&byte| byte == b'/' || byte == b'\\')
            .any(is_dot_segment)
        {
            return true;
        }
        match percent_decoded(&reading) {
            Some(decoded) => reading = Cow::Owned(decoded),
            None => return false,
        }
    }
    false
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

/// The URL of exactly this text: `root` with a path and query after it.
///
/// reqwest takes a `Url`, and parsing one changes what callers write every day: `'` in a query becomes `%27` (each
/// `SOQL` and `OData` filter), `"`, `{` and `}` are encoded, `\` becomes `/`. It goes on to use the text of the URL
/// alone, which hyper's own parser checks again. So where parsing would change the text, the parsed parts of the root
/// are taken and the text is put in beside them, through the way that `url` offers for URLs that were stored. That way
/// checks itself in debug builds, by parsing; Cargo.toml turns those checks off for the one crate. Where they are on
/// nevertheless the answer is `None`: better refused than altered.
pub(super) fn exact_url(root: &Url, pieces: [&str; 3]) -> Option<Url> {
    let text = pieces.concat();
    if text.len() > LONGEST {
        return None;
    }
    let parsed = Url::parse(&text).ok()?;
    if parsed.as_str() == text {
        return Some(parsed);
    }
    // (serialization, scheme_end, username_end, host_start, host_end, host, port, path_start, query_start, fragment)
    let mut parts = root
        .serialize_internal(serde_json::value::Serializer)
        .ok()?;
    let list = parts.as_array_mut()?;
    *list.get_mut(8)? = text.find('?').map_or(Value::Null, Value::from);
    *list.get_mut(0)? = Value::from(text.as_str());
    let url = Url::deserialize_internal(parts).ok()?;
    (url.as_str() == text && url.origin() == root.origin()).then_some(url)
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

    #[test]
    fn urls_keep_every_byte_and_the_origin() {
        let root = Url::parse("https://api.example.com:8443").unwrap();
        for target in [
            "/",
            "/?",
            "/a?",
            "//a//b",
            "/a;b=1",
            "/a%2Fb",
            "/a%2fb",
            "/q?a='b'",
            "/\"q\"?a=`b`",
            "/{\"a\"}?{}",
            "/a|b^c\\d",
            "/a?b?c",
            "/é?é",
            "/@evil.example/",
            "//evil.example/",
            "/a:80@b",
            "/%00",
            "/a?x[]=1",
        ] {
            let url =
                exact_url(&root, ["https://api.example.com:8443", "/v1", target]).expect(target);
            assert_eq!(
                url.as_str(),
                format!("https://api.example.com:8443/v1{target}")
            );
            assert_eq!(url.host_str(), Some("api.example.com"));
            assert_eq!(url.port(), Some(8443));
            let uri: http::Uri = url.as_str().parse().expect(target);
            assert_eq!(
                uri.path_and_query().unwrap().as_str(),
                format!("/v1{target}")
            );
        }
    }

    #[test]
    fn urls_that_hyper_would_not_take_are_not_made() {
        let root = Url::parse("http://a").unwrap();
        let longest = format!("/{}", "a".repeat(LONGEST - "http://a/".len()));
        let url = exact_url(&root, ["http://a", "", &longest]).unwrap();
        assert!(url.as_str().parse::<http::Uri>().is_ok());
        assert_eq!(exact_url(&root, ["http://a", "", &(longest + "a")]), None);
    }
}
