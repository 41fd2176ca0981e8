//! Fields that end here: those of the hop, those that `Connection` names, and what callers claim about their way here.

use http::header::{
    CONNECTION, FORWARDED, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
    VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use smallvec::SmallVec;

/// RFC 9110, section 7.6.1, and what was a hop's own before it.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// Removes the fields of one hop. Framing is not read from what is left: bodies know their own length.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: SmallVec<[HeaderName; 4]> = tokens(headers, &CONNECTION)
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Removes what a caller says about its own way to headroom: providers believe it when a proxy passes it on.
pub(super) fn strip_forwarded(headers: &mut HeaderMap) {
    headers.remove(FORWARDED);
    let forged: SmallVec<[HeaderName; 4]> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("x-forwarded-"))
        .cloned()
        .collect();
    for name in &forged {
        headers.remove(name);
    }
}

/// The members of a list field, over all its lines.
pub(super) fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// A list field has this member, in any case.
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// Adds headroom to the way that this message came.
pub(super) fn append_via(headers: &mut HeaderMap, version: Version, pseudonym: &str) {
    let version = match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    };
    if let Ok(value) = HeaderValue::try_from(format!("{version} {pseudonym}")) {
        headers.append(VIA, value);
    }
}

/// Headroom is on the way that this message came already.
pub(super) fn has_passed(headers: &HeaderMap, pseudonym: &str) -> bool {
    // A comma within a comment only makes members that name nobody.
    tokens(headers, &VIA).any(|member| {
        member
            .split_ascii_whitespace()
            .nth(1)
            .is_some_and(|by| by.eq_ignore_ascii_case(pseudonym))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_names_more_fields_over_all_its_lines() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-One"),
            ("connection", "x-two,, keep-alive, bad name"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("x-three", "3"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        strip_hop_by_hop(&mut headers);
        assert_eq!(
            headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["x-three"]
        );
    }

    #[test]
    fn via_is_read_by_who_received_it() {
        let mut headers = HeaderMap::new();
        assert!(!has_passed(&headers, "headroom"));
        headers.append(
            VIA,
            HeaderValue::from_static("1.0 fred, HTTP/1.1 p.example.net (headroom, 1.1)"),
        );
        assert!(!has_passed(&headers, "headroom"));
        append_via(&mut headers, Version::HTTP_2, "headroom");
        assert!(has_passed(&headers, "Headroom"));
        assert!(!has_passed(&headers, "other"));
    }
}
