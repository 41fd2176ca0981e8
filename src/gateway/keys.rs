//! Keys of consumers in requests: where an SDK can put one, and that none goes further.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderName;
use http::header::AUTHORIZATION;
use memchr::memmem;
use smallvec::SmallVec;

use super::error::Problem;
use super::heads::RequestHead;
use super::present::Present;
use super::route::Route;
use super::{fields, target};
use crate::adapter::CredentialPlace;
use crate::consumer::{Consumers, KEY_LENGTH, KEY_PREFIX};
use crate::credential::{self, decoded, without_parameters};
use crate::fields::{Fields, Value};

/// Where a caller says who it is, if not in the place of the provider's credential.
pub(super) const HEADROOM_KEY: HeaderName = HeaderName::from_static("headroom-key");

/// Base64 as user agents write it, with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a request shows.
pub(super) struct Shown<'a> {
    pub(super) key: Option<Cow<'a, str>>,
    /// It, or another form of it, stands where a provider's credential would: that is not sent on.
    pub(super) as_credential: bool,
}

/// The one key that a request shows: in `headroom-key`, in `Authorization` behind whichever scheme (as user or password of
/// Basic, too), or in the provider's own place.
pub(super) fn find<'a>(head: &'a RequestHead, route: &'a Route<'_>) -> Result<Shown<'a>, Problem> {
    let mut found: SmallVec<[Cow<'a, str>; 2]> = SmallVec::new();
    if head.present.has(Present::HEADROOM_KEY) {
        for line in head.headers.get_all(HEADROOM_KEY) {
            let text = line.as_bytes().trim_ascii();
            let text =
                str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed);
            if !text.is_empty() {
                found.push(text);
            }
        }
    }
    let apart = found.len();
    for line in credential_lines(&head.headers, &route.connection.adapter.credential) {
        keys_of(line, |key| found.push(key));
    }
    if let CredentialPlace::Query(name) = &route.connection.adapter.credential
        && let Some((_, query)) = route.target.split_once('?')
    {
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value);
            if decoded(key) == name.as_str() && value.starts_with(KEY_PREFIX) {
                found.push(value);
            }
        }
    }
    let as_credential = found.len() > apart;
    let key = found.pop();
    if found.iter().any(|other| Some(other) != key.as_ref()) {
        return Err(Problem::SeveralKeys);
    }
    Ok(Shown { key, as_credential })
}

/// The lines of a head that a credential can stand in.
fn credential_lines<'a>(
    headers: &'a Fields,
    place: &'a CredentialPlace,
) -> impl Iterator<Item = Value<'a>> {
    let own = own_header(place);
    let own = own.into_iter().flat_map(|name| headers.get_all(name));
    headers.get_all(AUTHORIZATION).chain(own)
}

/// The provider's own header, where that is not `Authorization`.
fn own_header(place: &CredentialPlace) -> Option<&HeaderName> {
    match place {
        CredentialPlace::Header { name, .. } if *name != AUTHORIZATION => Some(name),
        _ => None,
    }
}

/// A credential can stand in a field of this name.
fn is_place(name: &[u8], place: &CredentialPlace) -> bool {
    let is = |place: &HeaderName| place.as_str().as_bytes() == name;
    is(&AUTHORIZATION) || own_header(place).is_some_and(is)
}

/// The keys of one value: `hr_…`, `Bearer hr_…`, `Token token="hr_…"`, and user and password of Basic.
fn keys_of<'a>(value: Value<'a>, mut found: impl FnMut(Cow<'a, str>)) {
    let bytes = value.as_bytes();
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"=\",;".contains(byte);
    for word in bytes.split(is_end) {
        if word.starts_with(KEY_PREFIX.as_bytes())
            && let Ok(word) = str::from_utf8(word)
        {
            found(Cow::Borrowed(word));
        }
    }
    let Some(pair) = of_basic(bytes) else { return };
    let pair = String::from_utf8_lossy(&pair);
    let (user, password) = pair.split_once(':').unwrap_or((&pair, ""));
    for part in [user, password] {
        if part.starts_with(KEY_PREFIX) {
            found(Cow::Owned(part.to_owned()));
        }
    }
}

/// User and password of a value of the Basic scheme (RFC 7617).
fn of_basic(value: &[u8]) -> Option<Vec<u8>> {
    // Each field is looked at, and nearly all begin with something else.
    if !matches!(value.first()?, b'b' | b'B' | b' ' | b'\t') {
        return None;
    }
    let (scheme, rest) = value.trim_ascii().split_at_checked("basic".len())?;
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let encoded = rest.trim_ascii();
    let is_apart = rest.len() > encoded.len();
    BASE64.decode(encoded).ok().filter(|_| is_apart)
}

/// A value has a key of headroom's in it, so it is none of the provider's.
pub(super) fn is_key(value: Value<'_>) -> bool {
    let mut any = false;
    keys_of(value, |_| any = true);
    any
}

/// Takes out what is headroom's own: keys, and nothing else.
pub(super) fn strip(headers: &mut Fields, place: &CredentialPlace) {
    headers.remove(HEADROOM_KEY);
    headers.retain(|name, value| !(is_place(name, place) && is_key(value)));
}

/// The same for a raw path and query.
pub(super) fn strip_target<'t>(target: &'t str, place: &CredentialPlace) -> Cow<'t, str> {
    match place {
        CredentialPlace::Query(own) => without_parameters(target, |name, value| {
            name == own && value.starts_with(KEY_PREFIX)
        }),
        _ => Cow::Borrowed(target),
    }
}

/// Refuses a call that would take a key of headroom's to its provider all the same, because it stands where nobody looks
/// for one.
pub(super) fn check(
    head: &RequestHead,
    route: &Route<'_>,
    consumers: &Consumers,
) -> Result<(), Problem> {
    let is_leak = |bytes: &[u8]| holds_key(bytes, consumers);
    let connection = &*route.connection;
    let place = &connection.adapter.credential;
    // Where a key is looked for it is also taken out: most calls have theirs there, and nothing else to look at.
    let mut fields = head.headers.raw();
    let suspected = is_leak(route.target.as_bytes())
        || fields.any(|(name, value)| {
            name != HEADROOM_KEY.as_str().as_bytes()
                && !(is_place(name, place) && is_key(value))
                && is_leak(value.as_bytes())
        });
    if !suspected {
        return Ok(());
    }
    let mut headers = head.headers.clone();
    fields::strip_hop_by_hop(&mut headers, head.present);
    fields::strip_forwarded(&mut headers);
    strip(&mut headers, place);
    let mut target = strip_target(&route.target, place);
    if connection.access.is_own() {
        credential::take_out(&mut headers, place);
        target = Cow::Owned(credential::take_out_of_target(&target, place).into_owned());
    }
    if let Some((name, _)) = headers.iter().find(|(_, value)| is_leak(value.as_bytes())) {
        return Err(Problem::StrayKey(Stray::Header(name.to_owned())));
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    if is_leak(path.as_bytes()) {
        return Err(Problem::StrayKey(Stray::Path));
    }
    if is_leak(query.as_bytes()) {
        return Err(Problem::StrayKey(Stray::Query));
    }
    Ok(())
}

/// Where a key stands that nobody looks for.
#[derive(Debug)]
pub(super) enum Stray {
    Header(String),
    Path,
    Query,
}

impl std::fmt::Display for Stray {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Header(name) => write!(out, "the header `{name}`"),
            Self::Path => out.write_str("the path"),
            Self::Query => out.write_str("the query"),
        }
    }
}

/// Something that looks like a key of headroom's, plain, percent-encoded, or in the base64 of Basic.
fn holds_key(bytes: &[u8], consumers: &Consumers) -> bool {
    // Most values have neither what each key has nor what it could be hidden by.
    if memchr::memchr2(b'_', b'%', bytes).is_some() && is_written(bytes, consumers) {
        return true;
    }
    of_basic(bytes).is_some_and(|pair| has_shape(&pair, consumers))
}

/// Plain, or percent-encoded.
fn is_written(bytes: &[u8], consumers: &Consumers) -> bool {
    if has_shape(bytes, consumers) {
        return true;
    }
    if memchr::memchr(b'%', bytes).is_some() {
        let mut is_found = false;
        target::each_reading(bytes, &mut |reading| {
            is_found |= has_shape(reading, consumers);
            is_found
        });
        return is_found;
    }
    false
}

/// What each key begins with, where it stands in something longer.
static KEY: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(KEY_PREFIX));

/// A word of a key's form. Within a longer one, as happens by chance in tokens of others, it has to be a key that is known.
fn has_shape(bytes: &[u8], consumers: &Consumers) -> bool {
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    KEY.find_iter(bytes).any(|start| {
        let end = start + KEY_LENGTH;
        let Some(word) = bytes.get(start..end) else {
            return false;
        };
        if !word.iter().all(in_word) {
            return false;
        }
        let stands_alone = !start
            .checked_sub(1)
            .and_then(|before| bytes.get(before))
            .is_some_and(in_word)
            && !bytes.get(end).is_some_and(in_word);
        stands_alone || str::from_utf8(word).is_ok_and(|key| consumers.by_key(key).is_some())
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use base64::engine::general_purpose::STANDARD;

    fn key() -> String {
        crate::consumer::key_of(&[7; 32])
    }

    fn api_key() -> CredentialPlace {
        CredentialPlace::Header {
            name: HeaderName::from_static("x-api-key"),
            prefix: String::new(),
            suffix: String::new(),
        }
    }

    #[test]
    fn no_key_of_headrooms_is_sent_on() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let (user, password) = (basic("hr_abc:x"), basic("x:hr_abc"));
        let unpadded = user.trim_end_matches('=').to_owned();
        for (lines, kept) in [
            (&[][..], &[][..]),
            (&["Bearer hr_abc"], &[]),
            (&["bearer   hr_abc"], &[]),
            (&["Bearer\thr_abc"], &[]),
            (&["Token hr_abc"], &[]),
            (&["Token token=hr_abc"], &[]),
            (&["Token token=\"hr_abc\", x=\"y\""], &[]),
            (&["SSWS hr_abc"], &[]),
            (&["hr_abc"], &[]),
            (&[&user], &[]),
            (&[&password], &[]),
            (&[&unpadded], &[]),
            (&["Basic eDp5", "Bearer hr_abc"], &["Basic eDp5"]),
            (&["Bearer hr_abc", "Basic eDp5"], &["Basic eDp5"]),
            (&["Bearer chr_abc"], &["Bearer chr_abc"]),
            (&["Bearer a.hr_abc"], &["Bearer a.hr_abc"]),
            (&["Basic eDp5", "Bearer x"], &["Basic eDp5", "Bearer x"]),
        ] {
            for place in [CredentialPlace::Bearer, api_key()] {
                let mut headers = Fields::new();
                headers.insert(HEADROOM_KEY, HeaderValue::from_static("hr_abc"));
                headers.insert(
                    HeaderName::from_static("x-api-key"),
                    HeaderValue::from_static("hr_abc"),
                );
                for line in lines {
                    headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap());
                }
                strip(&mut headers, &place);
                assert!(!headers.contains_key(HEADROOM_KEY));
                let is_place = matches!(place, CredentialPlace::Header { .. });
                assert_eq!(headers.contains_key("x-api-key"), !is_place);
                let left: Vec<_> = headers.get_all(AUTHORIZATION).collect();
                assert_eq!(left, kept, "{lines:?}");
            }
        }
        let place = CredentialPlace::Query("key".to_owned());
        for (target, left) in [
            ("/a?key=hr_abc", "/a"),
            ("/a?b='c'&key=hr%5Fabc&d", "/a?b='c'&d"),
            ("/a?key=abc", "/a?key=abc"),
            ("/a?other=hr_abc", "/a?other=hr_abc"),
        ] {
            assert_eq!(strip_target(target, &place), left);
            assert_eq!(strip_target(target, &CredentialPlace::Bearer), target);
        }
    }

    #[test]
    fn keys_are_found_in_every_encoding() {
        let key = key();
        let encoded: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let twice = encoded.replace('%', "%25");
        let basic = format!("basic  {}", STANDARD.encode(format!("a:b{key}").as_bytes()));
        let nobody = Consumers::default();
        for text in [
            &key,
            &format!("x={key}&"),
            &format!("Bearer {key}"),
            &format!("http://localhost/?a={key}#"),
            &format!("a%20{key}"),
            &encoded,
            &twice,
            &format!("basic {}", STANDARD.encode(format!("a:{key}").as_bytes())),
        ] {
            assert!(holds_key(text.as_bytes(), &nobody), "{text}");
        }
        let known: Consumers = [(
            crate::consumer::hash_key(&key),
            crate::consumer::Consumer::new("reports", Default::default()),
        )]
        .into_iter()
        .collect();
        for text in [&format!("x{key}"), &format!("{key}x"), &basic] {
            assert!(!holds_key(text.as_bytes(), &nobody), "{text}");
            assert!(holds_key(text.as_bytes(), &known), "{text}");
        }
        for text in [
            &key[..45],
            "hr_",
            "hr_hr_hr_",
            "%68%72",
            "basic !",
            &format!("hr_{}", ".".repeat(43)),
        ] {
            assert!(!holds_key(text.as_bytes(), &known), "{text}");
        }
    }
}
