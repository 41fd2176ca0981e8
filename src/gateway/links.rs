//! `Location`, `Content-Location` and `Link`: absolute URLs of the provider's API lead back through headroom.
//!
//! Without it a client that follows page 2 takes the call, and the credential, out of the gateway. Relative references
//! and other origins stay as they are.

use http::HeaderName;
use http::header::{CONTENT_LOCATION, LINK, LOCATION, SET_COOKIE};

use crate::credential::Credential;
use crate::fields::Fields;
use crate::origin::Origin;

/// Rewrites the URLs in an answer's head. `mount` is headroom's own address of this connection, without a slash at the
/// end; it is asked for only when there is something to rewrite.
pub(super) fn rewrite(headers: &mut Fields, origin: &Origin, mount: impl Fn() -> String) {
    let reference = |text: &str| origin.strip(text).map(|path| mount() + path);
    rewrite_field(headers, &LOCATION, reference);
    rewrite_field(headers, &CONTENT_LOCATION, reference);
    rewrite_field(headers, &LINK, |text| link(text, origin, &mount));
}

/// Takes the connection's own credential out of the URLs in an answer's head, in whatever field they stand, and what a
/// provider has made of it: who has a session's cookie can call without headroom. Callers' cookies are not sent on either.
pub(super) fn forget(headers: &mut Fields, credential: &Credential) {
    headers.remove(SET_COOKIE);
    headers.rewrite(|_, line| {
        let text = std::str::from_utf8(line.as_bytes()).ok()?;
        credential.forgotten(text).map(String::into_bytes)
    });
}

/// Every line of a field is looked at: a client may follow any of them.
fn rewrite_field(
    headers: &mut Fields,
    name: &HeaderName,
    rewrite: impl Fn(&str) -> Option<String>,
) {
    headers.rewrite(|other, line| {
        if other != name.as_str().as_bytes() {
            return None;
        }
        rewrite(std::str::from_utf8(line.as_bytes()).ok()?).map(String::into_bytes)
    });
}

/// A `Link` value with its targets rewritten; only what stands in `<…>` outside of quotes is a target (RFC 8288).
fn link(value: &str, origin: &Origin, mount: impl Fn() -> String) -> Option<String> {
    let mut rewritten = String::new();
    let mut copied = 0;
    let mut at = 0;
    let bytes = value.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_quotes(bytes, at),
            b'<' => {
                let start = at + 1;
                // What does not end is no target; those before it are.
                let Some(end) = value[start..].find('>').map(|end| start + end) else {
                    break;
                };
                // Nor does a target have another `<` in it: that begins the next one.
                if let Some(next) = value[start..end].find('<') {
                    at = start + next;
                    continue;
                }
                if let Some(path) = origin.strip(&value[start..end]) {
                    rewritten.push_str(&value[copied..start]);
                    rewritten.push_str(&mount());
                    rewritten.push_str(path);
                    copied = end;
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    (copied > 0).then(|| rewritten + &value[copied..])
}

/// The index of the closing quote, or of the end.
fn end_of_quotes(bytes: &[u8], open: usize) -> usize {
    let mut at = open + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn rewritten(base_url: &str, name: &'static str, values: &[&str]) -> Vec<String> {
        let mut headers = Fields::new();
        for value in values {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        let origin = Origin::parse(base_url).unwrap();
        rewrite(&mut headers, &origin, || {
            "http://localhost:8080/crm".to_owned()
        });
        headers
            .get_all(name)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .collect()
    }

    #[test]
    fn locations_of_the_origin_lead_back() {
        for (before, after) in [
            (
                "https://api.example.com/a?b=%2F#c",
                "http://localhost:8080/crm/a?b=%2F#c",
            ),
            (
                "HTTPS://API.example.COM:443/a",
                "http://localhost:8080/crm/a",
            ),
            ("https://api.example.com", "http://localhost:8080/crm"),
            ("https://api.example.com?x", "http://localhost:8080/crm?x"),
            ("//api.example.com/a", "http://localhost:8080/crm/a"),
            ("http://api.example.com/a", "http://api.example.com/a"),
            (
                "https://api.example.com:8443/a",
                "https://api.example.com:8443/a",
            ),
            (
                "https://api.example.com.evil/a",
                "https://api.example.com.evil/a",
            ),
            (
                "https://user@api.example.com/a",
                "https://user@api.example.com/a",
            ),
            ("https://api.example.com\\a", "https://api.example.com\\a"),
            ("/a", "/a"),
            (
                "/a?to=https://api.example.com/b",
                "/a?to=https://api.example.com/b",
            ),
            ("", ""),
        ] {
            assert_eq!(
                rewritten("https://api.example.com", "location", &[before]),
                [after]
            );
            assert_eq!(
                rewritten("https://api.example.com/", "content-location", &[before]),
                [after]
            );
        }
    }

    #[test]
    fn a_base_path_is_taken_off_and_needed() {
        for (before, after) in [
            ("http://127.0.0.1:9/v2/a", "http://localhost:8080/crm/a"),
            ("http://127.0.0.1:9/v2", "http://localhost:8080/crm"),
            ("http://127.0.0.1:9/v22", "http://127.0.0.1:9/v22"),
            ("http://127.0.0.1:9/", "http://127.0.0.1:9/"),
        ] {
            assert_eq!(
                rewritten("http://127.0.0.1:9/v2/", "location", &[before]),
                [after]
            );
        }
    }

    #[test]
    fn links_change_only_within_their_brackets() {
        let values = [
            "<https://api.example.com/a?page=2>; rel=\"next\", <https://other.example/>; title=\"<https://api.example.com/>\"",
            "</relative>; rel=prev, <https://api.example.com/>;rel=first;title=\"\\\"<https://api.example.com/\"",
            "<https://api.example.com/broken",
            "<https://api.example.com/a>; rel=next, <https://api.example.com/b",
            "<https://api.example.com/a, <https://api.example.com/b>; rel=next",
        ];
        let expected = [
            "<http://localhost:8080/crm/a?page=2>; rel=\"next\", <https://other.example/>; title=\"<https://api.example.com/>\"",
            "</relative>; rel=prev, <http://localhost:8080/crm/>;rel=first;title=\"\\\"<https://api.example.com/\"",
            "<https://api.example.com/broken",
            "<http://localhost:8080/crm/a>; rel=next, <https://api.example.com/b",
            "<https://api.example.com/a, <http://localhost:8080/crm/b>; rel=next",
        ];
        assert_eq!(
            rewritten("https://api.example.com", "link", &values),
            expected
        );
    }
}
