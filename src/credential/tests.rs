//! Credentials in each place, and what they take out.

use super::*;
use crate::fields::Value;

fn basic(before: &str, after: &str) -> CredentialPlace {
    CredentialPlace::Basic {
        before: before.to_owned(),
        after: after.to_owned(),
    }
}

fn header_place(name: &'static str, prefix: &str, suffix: &str) -> CredentialPlace {
    CredentialPlace::Header {
        name: HeaderName::from_static(name),
        prefix: prefix.to_owned(),
        suffix: suffix.to_owned(),
    }
}

fn query() -> CredentialPlace {
    CredentialPlace::Query("api_key".to_owned())
}

fn lines(headers: &Fields) -> Vec<String> {
    let line = |(name, value): (&str, Value<'_>)| {
        format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
    };
    headers.iter().map(line).collect()
}

#[test]
fn each_place_has_its_form() {
    for (place, secret, line) in [
        (CredentialPlace::Bearer, "abc", "authorization: Bearer abc"),
        // RFC 7617, section 2.
        (
            basic("", ":"),
            "Aladdin:open sesame",
            "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
        (basic("", ":"), "key", "authorization: Basic a2V5Og=="),
        (
            basic("", ":api_token"),
            "key",
            "authorization: Basic a2V5OmFwaV90b2tlbg==",
        ),
        (
            basic("", ":api_token"),
            "a@example.com:pw",
            "authorization: Basic YUBleGFtcGxlLmNvbTpwdw==",
        ),
        // RFC 7617, section 2.1.
        (
            basic("", ":"),
            "test:123\u{a3}",
            "authorization: Basic dGVzdDoxMjPCow==",
        ),
        (header_place("x-api-key", "", ""), "abc", "x-api-key: abc"),
        (
            header_place("authorization", "Token token=\"", "\""),
            "abc",
            "authorization: Token token=\"abc\"",
        ),
    ] {
        let credential = Credential::new(&place, &Secret::from(secret)).unwrap();
        let mut headers = Fields::new();
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer caller"));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Basic eDp5"));
        headers.append(
            HeaderName::from_static("x-api-key"),
            HeaderValue::from_static("caller"),
        );
        headers.append(COOKIE, HeaderValue::from_static("session=caller"));
        credential.put_into(&mut headers, &place);
        assert_eq!(lines(&headers), [line]);
        assert_eq!(credential.put_into_target("/a?b=%2F", &place), "/a?b=%2F");
    }
}

#[test]
fn a_parameter_changes_nothing_else() {
    let credential = Credential::new(&query(), &Secret::from("a b&c=\u{e4}")).unwrap();
    let own = "api_key=a%20b%26c%3D%C3%A4";
    for (target, put) in [
        ("/", "/?"),
        ("/a%2Fb'c", "/a%2Fb'c?"),
        ("/?", "/?"),
        ("/?q='x'+%2f", "/?q='x'+%2f&"),
        ("/?q=1&", "/?q=1&"),
        ("/?&&q", "/?&&q&"),
        ("/?api_key=theirs", "/?"),
        ("/?a=1&api_key=theirs&b=2&api_key", "/?a=1&b=2&"),
        ("/?api%5Fkey=theirs&a", "/?a&"),
        ("/?access_token=theirs&a", "/?a&"),
        ("/?API_KEY=other", "/?API_KEY=other&"),
        ("/?a?api_key=x", "/?a?api_key=x&"),
        ("/api_key=x", "/api_key=x?"),
    ] {
        assert_eq!(
            credential.put_into_target(target, &query()),
            format!("{put}{own}"),
            "{target}"
        );
    }
}

#[test]
fn what_cannot_stand_there_is_refused_unseen() {
    let key = format!("hr_{}", "A".repeat(43));
    for (place, secret) in [
        (CredentialPlace::Bearer, ""),
        (CredentialPlace::Bearer, "ab\ncd"),
        (CredentialPlace::Bearer, "ab\r"),
        (CredentialPlace::Bearer, "ab\tcd"),
        (CredentialPlace::Bearer, "ab\u{7f}"),
        (CredentialPlace::Bearer, "ab\u{85}"),
        (CredentialPlace::Bearer, " ab"),
        (CredentialPlace::Bearer, "ab "),
        (CredentialPlace::Bearer, "\u{e4}b"),
        (CredentialPlace::Bearer, "bearer ab"),
        (CredentialPlace::Bearer, &key),
        (basic("", ":"), "a\u{0}:b"),
        (basic("", ":"), "Basic eDp5"),
        (query(), "a\nb"),
        (query(), &key),
        (header_place("authorization", "SSWS ", ""), "ssws ab"),
        (header_place("x-api-key", "", ""), "a\u{2028}"),
    ] {
        let error = Credential::new(&place, &Secret::from(secret)).unwrap_err();
        if secret.len() > 2 {
            let told = format!("{error:?}");
            assert!(!told.contains(secret), "{told}");
        }
    }
    // An API key alone has no scheme before it, and a token may bring its own (Linear).
    let linear = header_place("authorization", "", "");
    assert!(Credential::new(&linear, &Secret::from("Bearer ab")).is_ok());
}

#[test]
fn nothing_secret_is_printed() {
    for place in [CredentialPlace::Bearer, basic("", ":"), query()] {
        let credential = Credential::new(&place, &Secret::from("hunter2:x")).unwrap();
        let shown = format!("{credential:?} {credential:#?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("aHVudGVy"),
            "{shown}"
        );
    }
}

#[test]
fn parameters_are_read_as_servers_do() {
    for (text, plain) in [
        ("abc", "abc"),
        ("a%62c", "abc"),
        ("a+b", "a b"),
        ("100%", "100%"),
        ("%zz%4", "%zz%4"),
        ("%C3%A4", "\u{e4}"),
    ] {
        assert_eq!(decoded(text), plain);
    }
}

#[test]
fn links_forget_the_parameter() {
    let credential = Credential::new(&query(), &Secret::from("a|b")).unwrap();
    for (text, kept) in [
        ("/a?api_key=a%7Cb", Some("/a")),
        ("/a?api_key=a|b&x=1", Some("/a?x=1")),
        ("/a?x=1&api_key=a%7cb&y=2#z", Some("/a?x=1&y=2#z")),
        ("/a?api_key=a%7Cb#z", Some("/a#z")),
        (
            "<https://x/a?api_key=a%7Cb>; rel=\"next\", <https://x/a?api_key=a%7Cb&p=0>; rel=\"prev\"",
            Some("<https://x/a>; rel=\"next\", <https://x/a?p=0>; rel=\"prev\""),
        ),
        ("/a?api_key=a|b&api_key=other", Some("/a?api_key=other")),
        ("/a?api_key=a|bc&x", None),
        ("/a?other=a|b", None),
        ("a|b", None),
        ("", None),
    ] {
        assert_eq!(credential.forgotten(text).as_deref(), kept, "{text}");
    }
    let twice = credential
        .forgotten("/a?api_key=a|b&api_key=a|b&x")
        .unwrap();
    assert!(credential.forgotten(&twice).is_none(), "{twice}");
}
