//! Fields that end here: those of the hop, those that `Connection` names, and what callers claim about their way here.

use http::header::{
    CONNECTION, COOKIE, FORWARDED, MAX_FORWARDS, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderName, HeaderValue, Method, Version};
use smallvec::SmallVec;

use super::present::Present;

use crate::fields::{Fields, Value};

/// RFC 9110, section 7.6.1, and what was a hop's own before it.
pub(super) static HOP_BY_HOP: [HeaderName; 9] = [
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

/// What is for whoever answers, or for all on the way, whatever `Connection` says (RFC 9110, section 7.6.1: nobody must name
/// such a field there). Who could have it taken off would make headroom and the provider see two different calls.
static END_TO_END: [HeaderName; 20] = [
    http::header::ACCEPT,
    http::header::AUTHORIZATION,
    http::header::CACHE_CONTROL,
    http::header::CONTENT_ENCODING,
    http::header::CONTENT_LENGTH,
    http::header::CONTENT_RANGE,
    http::header::CONTENT_TYPE,
    COOKIE,
    http::header::HOST,
    http::header::IF_MATCH,
    http::header::IF_MODIFIED_SINCE,
    http::header::IF_NONE_MATCH,
    http::header::IF_RANGE,
    http::header::IF_UNMODIFIED_SINCE,
    http::header::RANGE,
    http::header::SET_COOKIE,
    VIA,
    http::header::WWW_AUTHENTICATE,
    HeaderName::from_static("headroom-key"),
    HeaderName::from_static("idempotency-key"),
];

/// Removes the fields of one hop. Framing is not read from what is left: bodies know their own length.
pub(super) fn strip_hop_by_hop(headers: &mut Fields, present: Present) {
    if !present.has(Present::HOP_BY_HOP) {
        return;
    }
    let names = tokens(headers, &CONNECTION);
    let names = names.filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok());
    let mut named: SmallVec<[HeaderName; 4]> = names.collect();
    // Whoever names thousands of fields in a head of thousands has them compared once, not each with each.
    named.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    let is_named = |name: &[u8]| {
        let compare = |named: &HeaderName| named.as_str().as_bytes().cmp(name);
        named.binary_search_by(compare).is_ok()
    };
    let is_in = |list: &[HeaderName], name: &[u8]| {
        let mut list = list.iter();
        list.any(|listed| listed.as_str().as_bytes() == name)
    };
    headers.retain(|name, _| {
        !is_in(&HOP_BY_HOP, name) && (is_in(&END_TO_END, name) || !is_named(name))
    });
}

/// Removes what a caller says about its own way to headroom: providers believe it when a proxy passes it on.
pub(super) fn strip_forwarded(headers: &mut Fields) {
    headers.remove(FORWARDED);
    headers.retain(|name, _| !name.starts_with(b"x-forwarded-"));
}

/// One line of cookies: HTTP/2 may send each in a line of its own, which no HTTP/1.1 server joins (RFC 9113, section
/// 8.2.3).
pub(super) fn join_cookies(headers: &mut Fields) {
    if headers.get_all(COOKIE).nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers.get_all(COOKIE).map(Value::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(&COOKIE, &joined);
    }
}

/// How often an OPTIONS request may still be passed on (RFC 9110, section 7.6.2), where it says so.
pub(super) fn forwards_left(method: &Method, headers: &Fields) -> Option<u32> {
    if *method != Method::OPTIONS {
        return None;
    }
    let digits = headers.get(MAX_FORWARDS)?.text()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // A larger number is as good as the largest one that is counted.
    is_number.then(|| digits.parse().unwrap_or(u32::MAX))
}

/// Counts that an OPTIONS request is passed on.
pub(super) fn count_forward(method: &Method, headers: &mut Fields) {
    if let Some(left) = forwards_left(method, headers) {
        headers.insert_number(&MAX_FORWARDS, u64::from(left.saturating_sub(1)));
    }
}

/// What stands for a member that is not even text: no name and no coding is spelled like this.
const UNREADABLE: &str = "\u{fffd}";

/// The members of a list field, over all its lines. One that cannot be read does not hide the others.
pub(super) fn tokens<'a>(headers: &'a Fields, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).flat_map(members)
}

/// Those of one line.
fn members(line: Value<'_>) -> impl Iterator<Item = &str> + Clone {
    line.as_bytes()
        .split(|&byte| byte == b',')
        .map(|token| std::str::from_utf8(token.trim_ascii()).unwrap_or(UNREADABLE))
        .filter(|token| !token.is_empty())
}

/// A line of a list field has this member, in any case.
pub(super) fn line_has(line: Value<'_>, wanted: &str) -> bool {
    members(line).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// A list field has this member, in any case.
pub(super) fn has_token(headers: &Fields, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// The parts of a value between separators, as they stand there. A separator inside a quoted string is none.
pub(super) fn unquoted_parts(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut in_string, mut escaped) = (false, false);
    value.split(move |&byte| {
        if escaped {
            escaped = false;
            return false;
        }
        match byte {
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            _ => return byte == separator && !in_string,
        }
        false
    })
}

/// How headroom stands on the way of a message (RFC 9110, section 7.6.3): made once, not for each.
pub(super) struct Via {
    http10: HeaderValue,
    http11: HeaderValue,
    http2: HeaderValue,
}

impl Via {
    /// `None`: the pseudonym cannot be written.
    pub(super) fn new(pseudonym: &str) -> Option<Self> {
        let of = |version| HeaderValue::try_from(format!("{version} {pseudonym}")).ok();
        Some(Self {
            http10: of("1.0")?,
            http11: of("1.1")?,
            http2: of("2")?,
        })
    }

    /// Adds headroom to the way that this message came.
    pub(super) fn append(&self, headers: &mut Fields, version: Version) {
        let value = match version {
            Version::HTTP_10 => &self.http10,
            Version::HTTP_2 => &self.http2,
            _ => &self.http11,
        };
        headers.append(&VIA, value);
    }
}

/// Headroom is on the way that this message came already.
pub(super) fn has_passed(headers: &Fields, pseudonym: &str) -> bool {
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
        let mut headers = Fields::new();
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
        let present = Present::of(&headers);
        strip_hop_by_hop(&mut headers, present);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-three"]);
    }

    /// It takes a moment, and not half a minute.
    #[test]
    fn thousands_of_fields_and_of_names_are_looked_at_once() {
        let value = HeaderValue::from_static("1");
        let mut headers = Fields::new();
        for number in 0..8_000 {
            let name = format!("x-{number:04}").parse::<HeaderName>().unwrap();
            headers.append(name, &value);
        }
        let tokens: Vec<_> = (0..80_000)
            .map(|number| format!("y-{:04}, X-{:04}", number % 10_000, number % 7_999))
            .collect();
        headers.append(CONNECTION, HeaderValue::try_from(tokens.join(",")).unwrap());
        let present = Present::of(&headers);
        strip_hop_by_hop(&mut headers, present);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-7999"]);
    }

    #[test]
    fn connection_does_not_name_what_is_for_the_provider() {
        let mut headers = Fields::new();
        for (name, value) in [
            (
                "connection",
                "close, Authorization, HOST, via, content-length, cookie, If-Unmodified-Since, if-range",
            ),
            ("authorization", "a"),
            ("content-length", "1"),
            ("cookie", "b"),
            ("host", "c"),
            ("if-range", "e"),
            ("if-unmodified-since", "f"),
            ("via", "1.1 d"),
        ] {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        let present = Present::of(&headers);
        strip_hop_by_hop(&mut headers, present);
        let mut left: Vec<_> = headers.keys().collect();
        left.sort_unstable();
        let expected = [
            "authorization",
            "content-length",
            "cookie",
            "host",
            "if-range",
            "if-unmodified-since",
            "via",
        ];
        assert_eq!(left, expected);
    }

    #[test]
    fn a_byte_that_is_no_text_spoils_its_own_member_alone() {
        let mut headers = Fields::new();
        headers.append(
            CONNECTION,
            HeaderValue::from_bytes(b"x-secret, \xe9, \xc3\xa9 , close").unwrap(),
        );
        headers.append(
            HeaderName::from_static("x-secret"),
            HeaderValue::from_static("1"),
        );
        headers.append(
            HeaderName::from_static("x-kept"),
            HeaderValue::from_static("2"),
        );
        let members: Vec<_> = tokens(&headers, &CONNECTION).collect();
        assert_eq!(members, ["x-secret", UNREADABLE, "\u{e9}", "close"]);
        let present = Present::of(&headers);
        strip_hop_by_hop(&mut headers, present);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-kept"]);
        headers.append(
            VIA,
            HeaderValue::from_bytes(b"1.1 caf\xe9, 1.1 headroom").unwrap(),
        );
        assert!(has_passed(&headers, "headroom"));
    }

    #[test]
    fn cookies_are_one_line() {
        for (lines, joined) in [
            (&[][..], &[][..]),
            (&["a=1"], &["a=1"]),
            (&["a=1", "b=2; c=3", "d=4"], &["a=1; b=2; c=3; d=4"]),
        ] {
            let mut headers = Fields::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_static(line));
            }
            join_cookies(&mut headers);
            let got: Vec<_> = headers.get_all(COOKIE).collect();
            assert_eq!(got, joined);
        }
    }

    #[test]
    fn via_is_read_by_who_received_it() {
        let mut headers = Fields::new();
        assert!(!has_passed(&headers, "headroom"));
        headers.append(
            VIA,
            HeaderValue::from_static("1.0 fred, HTTP/1.1 p.example.net (headroom, 1.1)"),
        );
        assert!(!has_passed(&headers, "headroom"));
        Via::new("headroom")
            .unwrap()
            .append(&mut headers, Version::HTTP_2);
        assert!(has_passed(&headers, "Headroom"));
        assert!(!has_passed(&headers, "other"));
    }
}
