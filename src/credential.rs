//! A credential in the place where a provider wants it. Pure.
//!
//! Whoever puts one in takes out what else could be one: the caller's `Authorization` and cookies (a session's cookie is a
//! credential, at Toggl for one), what stands in the provider's own place and in places that many servers know (`x-api-key`),
//! and the query parameter of RFC 6750, section 2.3.
//! So exactly one reaches the provider.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue};

use crate::adapter::CredentialPlace;
use crate::consumer::KEY_PREFIX;
use crate::fields::Fields;
use crate::secret::Secret;

/// A credential, ready to be put in.
#[derive(Clone)]
pub struct Credential(Put);

#[derive(Clone)]
enum Put {
    Header {
        name: HeaderName,
        value: HeaderValue,
    },
    /// Both percent-encoded.
    Query { name: String, value: String },
}

/// What is wrong with a credential, in words that do not repeat it, and what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit {
    /// In one sentence without a full stop.
    pub problem: &'static str,
    /// What to write instead.
    pub help: &'static str,
}

const fn unfit(problem: &'static str, help: &'static str) -> Unfit {
    Unfit { problem, help }
}

/// Where tokens stand that have no place of their own (RFC 6750).
const BEARER: &str = "Bearer ";

/// The query parameter of RFC 6750, section 2.3: a second credential for whoever looks at it.
const ACCESS_TOKEN: &str = "access_token";

/// Where many servers look for a key beside `Authorization`. What belongs to a second one that a provider wants beside the
/// first (an application's key) is not among them.
static OTHER_PLACES: [HeaderName; 7] = [
    HeaderName::from_static("api-key"),
    HeaderName::from_static("apikey"),
    HeaderName::from_static("private-token"),
    HeaderName::from_static("x-access-token"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("x-goog-api-key"),
];

impl Credential {
    /// Puts a secret into a provider's form.
    ///
    /// # Errors
    /// It cannot stand there, or would mean something else there.
    pub fn new(place: &CredentialPlace, secret: &Secret) -> Result<Self, Unfit> {
        let text = secret.expose();
        check(text)?;
        Ok(Self(match place {
            CredentialPlace::Bearer => header(AUTHORIZATION, BEARER, text, "")?,
            CredentialPlace::Basic { before, after } => {
                if begins_with(text, "Basic ") {
                    return Err(unfit(
                        "the credential has `Basic` before it already",
                        "write user and password as they are, \"user:password\": headroom encodes them",
                    ));
                }
                let pair: Cow<'_, str> = if text.contains(':') {
                    text.into()
                } else {
                    format!("{before}{text}{after}").into()
                };
                let encoded = STANDARD.encode(pair.as_bytes());
                header(AUTHORIZATION, "Basic ", &encoded, "")?
            }
            CredentialPlace::Header {
                name,
                prefix,
                suffix,
            } => header(name.clone(), prefix, text, suffix)?,
            CredentialPlace::Query(name) => Put::Query {
                name: percent_encoded(name),
                value: percent_encoded(text),
            },
        }))
    }

    /// A token of OAuth 2, as RFC 6750 has it.
    ///
    /// # Errors
    /// It cannot stand in a header.
    pub fn bearer(token: &Secret) -> Result<Self, Unfit> {
        Self::new(&CredentialPlace::Bearer, token)
    }

    /// Puts it into a head, in place of everything else that could be one. `place` is the provider's.
    pub fn put_into(&self, headers: &mut Fields, place: &CredentialPlace) {
        take_out(headers, place);
        if let Put::Header { name, value } = &self.0 {
            headers.insert(name, value);
        }
    }

    /// The same for a raw path and query. Everything else of it stays byte for byte.
    #[must_use]
    pub fn put_into_target<'t>(&self, target: &'t str, place: &CredentialPlace) -> Cow<'t, str> {
        let target = take_out_of_target(target, place);
        let Put::Query { name, value } = &self.0 else {
            return target;
        };
        let separator = match target.split_once('?') {
            None => "?",
            Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
            Some(_) => "&",
        };
        Cow::Owned(format!("{target}{separator}{name}={value}"))
    }

    /// What tells it from others: to be hashed, never to be shown.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Put::Header { value, .. } => value.as_bytes(),
            Put::Query { value, .. } => value.as_bytes(),
        }
    }

    /// The text without the query parameter that this credential is, in the URLs that stand there: some providers repeat in
    /// their links what they were called with. `None` where it is not there.
    #[must_use]
    pub fn forgotten(&self, text: &str) -> Option<String> {
        let Put::Query { name, value } = &self.0 else {
            return None;
        };
        let (name, value) = (decoded(name), decoded(value));
        let mut kept = String::with_capacity(text.len());
        let mut rest = text;
        let (mut is_found, mut is_first) = (false, false);
        while let Some(at) = rest.find(['?', '&']) {
            let (before, pair) = rest.split_at(at);
            kept.push_str(before);
            let (separator, pair) = pair.split_at(1);
            // What follows a first one that goes is the first.
            let separator = if is_first { "?" } else { separator };
            let is_end = |c: char| c.is_whitespace() || "&#<>\"".contains(c);
            let (pair, after) = pair.split_at(pair.find(is_end).unwrap_or(pair.len()));
            let is_own = pair
                .split_once('=')
                .is_some_and(|(key, held)| decoded(key) == name && decoded(held) == value);
            is_found |= is_own;
            is_first = is_own && separator == "?" && after.starts_with('&');
            if !is_own {
                kept.push_str(separator);
                kept.push_str(pair);
            }
            rest = after;
        }
        kept.push_str(rest);
        is_found.then_some(kept)
    }
}

impl fmt::Debug for Credential {
    /// Without its value.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Put::Header { name, .. } => out.debug_tuple("Credential").field(name).finish(),
            Put::Query { name, .. } => out.debug_tuple("Credential").field(name).finish(),
        }
    }
}

/// Takes out of a head whatever could be a credential. `place` is the provider's.
pub fn take_out(headers: &mut Fields, place: &CredentialPlace) {
    headers.remove(AUTHORIZATION);
    headers.remove(COOKIE);
    for name in &OTHER_PLACES {
        headers.remove(name);
    }
    if let CredentialPlace::Header { name, .. } = place {
        headers.remove(name);
    }
}

/// The same for a raw path and query.
#[must_use]
pub fn take_out_of_target<'t>(target: &'t str, place: &CredentialPlace) -> Cow<'t, str> {
    let own = match place {
        CredentialPlace::Query(name) => name,
        _ => ACCESS_TOKEN,
    };
    without_parameters(target, |name, _| name == own || name == ACCESS_TOKEN)
}

/// What no place can have.
fn check(text: &str) -> Result<(), Unfit> {
    if text.is_empty() {
        return Err(unfit(
            "the credential is empty",
            "write it, or leave the key out: then the caller's own passes through",
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(unfit(
            "the credential has a control character in it",
            "write one line without tabs; the line break at the end of a file is taken off",
        ));
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(unfit(
            "the credential has a space at its end or its beginning",
            "take the space off",
        ));
    }
    if text.starts_with(KEY_PREFIX) && text.len() == crate::consumer::KEY_LENGTH {
        return Err(unfit(
            "this is a key of headroom's own, which no provider may see",
            "write the credential that the provider gave you",
        ));
    }
    Ok(())
}

fn header(name: HeaderName, before: &str, text: &str, after: &str) -> Result<Put, Unfit> {
    if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(unfit(
            "the credential has a character that cannot stand in a header",
            "write printable ASCII",
        ));
    }
    let scheme = before.trim_end();
    if !scheme.is_empty() && begins_with(text, before) {
        return Err(unfit(
            "the credential begins with what headroom puts before it",
            "write the credential alone, without its scheme",
        ));
    }
    let value = HeaderValue::try_from(format!("{before}{text}{after}"));
    let mut value = value.map_err(|_| {
        unfit(
            "the credential cannot stand in a header",
            "write printable ASCII",
        )
    })?;
    value.set_sensitive(true);
    Ok(Put::Header { name, value })
}

fn begins_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// RFC 3986, section 2.3: everything else is encoded.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A target without the query parameters that are unwanted by name and value, both as servers read them. The others, and what
/// is between them, stay as they are.
pub(crate) fn without_parameters<'t>(
    target: &'t str,
    unwanted: impl Fn(&str, &str) -> bool,
) -> Cow<'t, str> {
    let Some((path, query)) = target.split_once('?') else {
        return Cow::Borrowed(target);
    };
    let is_unwanted = |pair: &&str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        unwanted(&decoded(name), &decoded(value))
    };
    if !query.split('&').any(|pair| is_unwanted(&pair)) {
        return Cow::Borrowed(target);
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_unwanted(pair)).collect();
    Cow::Owned(if kept.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", kept.join("&"))
    })
}

/// One layer of a query's encoding undone, with `+` as a space.
pub(crate) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digit = |offset: usize| {
            let byte = bytes.get(at + offset)?;
            char::from(*byte).to_digit(16)
        };
        let decoded = digit(1)
            .zip(digit(2))
            .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        match (byte, decoded) {
            (b'%', Some(decoded)) => {
                out.push(decoded);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests;
