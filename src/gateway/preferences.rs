//! What a caller asks of headroom itself: `Prefer: wait=N` (RFC 7240) and `Priority` (RFC 9218). What cannot be read is as if
//! it were not there.

use http::HeaderValue;
use http::header::HeaderName;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::fields;

use crate::fields::{Fields, Value};

/// `prefer`.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// `preference-applied`.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// `priority`.
pub const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// How many seconds the caller is willing to wait, at most `longest`. `None`: it does not say, or not in whole seconds.
///
/// Of several `wait` only the first counts (RFC 7240, section 2), so that nothing is guessed where it makes no sense.
#[must_use]
pub fn wait(headers: &Fields, longest: u64) -> Option<u64> {
    let asked = preferences(headers)
        .find_map(|(name, value)| name.eq_ignore_ascii_case("wait").then_some(value))??;
    let is_number = !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit());
    // A number that does not even fit is longer than any wait.
    is_number.then(|| asked.parse().unwrap_or(u64::MAX).min(longest))
}

/// Takes `wait` out of `Prefer`, because headroom has done the waiting; all else stays as it was, byte for byte.
///
/// A provider that honours `wait` itself would count the seconds again. RFC 7240 wants proxies to pass preferences on, but
/// headroom is a gateway and honours this one in the provider's place. Beside `respond-async` it stays: there it says after
/// which time the provider shall answer 202 (RFC 7240, section 4.3), and only the provider can do that.
pub fn strip_wait(headers: &mut Fields) {
    if preferences(headers).any(|(name, _)| name.eq_ignore_ascii_case("respond-async")) {
        return;
    }
    let kept: Vec<HeaderValue> = headers.get_all(PREFER).filter_map(without_wait).collect();
    headers.remove(PREFER);
    for line in kept {
        headers.append(&PREFER, &line);
    }
}

/// The line without its `wait`; `None` when nothing is left.
fn without_wait(line: Value<'_>) -> Option<HeaderValue> {
    let is_wait =
        |part: &&[u8]| preference(part).is_some_and(|(name, _)| name.eq_ignore_ascii_case("wait"));
    let parts = || fields::unquoted_parts(line.as_bytes(), b',');
    if !parts().any(|part| is_wait(&part)) {
        return HeaderValue::from_bytes(line.as_bytes()).ok();
    }
    let kept: Vec<&[u8]> = parts().filter(|part| !is_wait(part)).collect();
    let kept = kept.join(&b","[..]);
    let kept = kept.trim_ascii();
    let empty = kept.iter().all(|byte| matches!(byte, b',' | b' ' | b'\t'));
    // What stood in a header can stand in one again.
    (!empty)
        .then(|| HeaderValue::from_bytes(kept).ok())
        .flatten()
}

/// Tells the caller for how many seconds at most it has been or would have been held, beside what the provider has applied.
pub fn announce_wait(headers: &mut Fields, seconds: u64) {
    headers.append(PREFERENCE_APPLIED, applied_wait(seconds));
}

/// The value of `Preference-Applied`: `wait=30`.
#[must_use]
pub fn applied_wait(seconds: u64) -> HeaderValue {
    // Letters and digits.
    HeaderValue::try_from(format!("wait={seconds}"))
        .unwrap_or_else(|_| HeaderValue::from_static("wait"))
}

/// The preferences over all lines, in their order: name and value. Their parameters are passed over.
fn preferences(headers: &Fields) -> impl Iterator<Item = (&str, Option<&str>)> {
    headers
        .get_all(PREFER)
        .flat_map(|line| fields::unquoted_parts(line.as_bytes(), b','))
        .filter_map(preference)
}

/// `name`, `name=value`, `name="value"`, each with parameters behind it. No value and an empty one are the same.
fn preference(part: &[u8]) -> Option<(&str, Option<&str>)> {
    let first = fields::unquoted_parts(part, b';').next()?;
    let text = std::str::from_utf8(first).ok()?;
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let name = name.trim_matches([' ', '\t']);
    if !is_token(name) {
        return None;
    }
    let Some(value) = value.map(|value| value.trim_matches([' ', '\t'])) else {
        return Some((name, None));
    };
    let inner = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    match inner {
        // Escapes are left as they are: no number has one.
        Some(inner) => Some((name, Some(inner))),
        None if value.is_empty() => Some((name, None)),
        None => is_token(value).then_some((name, Some(value))),
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

/// How urgent a call is (RFC 9218).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Priority {
    /// From 0, the most urgent, to 7.
    pub urgency: u8,
    /// Its answer is of use piece by piece.
    pub incremental: bool,
}

impl Default for Priority {
    /// RFC 9218, section 4.
    fn default() -> Self {
        Self {
            urgency: 3,
            incremental: false,
        }
    }
}

impl Priority {
    /// Reads `Priority`. A parameter that is not as it should be is its default, and so is all of it when it is no dictionary.
    #[must_use]
    pub fn of(headers: &Fields) -> Self {
        let mut priority = Self::default();
        let mut joined = Vec::new();
        // RFC 9651, section 4.2: several lines are one dictionary.
        for value in headers.get_all(PRIORITY) {
            if !joined.is_empty() {
                joined.extend_from_slice(b", ");
            }
            joined.extend_from_slice(value.as_bytes());
        }
        if joined.is_empty() {
            return priority;
        }
        let Ok(dictionary) = Parser::new(&joined).parse::<Dictionary>() else {
            return priority;
        };
        let item = |key: &str| match dictionary.get(key)? {
            ListEntry::Item(item) => Some(&item.bare_item),
            ListEntry::InnerList(_) => None,
        };
        if let Some(BareItem::Integer(urgency)) = item("u")
            && let Ok(urgency @ 0..=7) = u8::try_from(i64::from(*urgency))
        {
            priority.urgency = urgency;
        }
        if let Some(BareItem::Boolean(incremental)) = item("i") {
            priority.incremental = *incremental;
        }
        priority
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &HeaderName, lines: &[&str]) -> Fields {
        let mut headers = Fields::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn the_first_wait_counts() {
        for (lines, seconds) in [
            (&[][..], None),
            (&["wait=10"], Some(10)),
            (&["Wait=10"], Some(10)),
            (&["wait=\"10\""], Some(10)),
            (&["wait = 10"], Some(10)),
            (&["wait=10; x=5; y=\"a, wait=7\""], Some(10)),
            (&["return=minimal, wait=10, wait=20"], Some(10)),
            (&["return=minimal", "wait=10", "wait=20"], Some(10)),
            (&["x=\"a, wait=7\\\", wait=8\", wait=9"], Some(9)),
            (&["wait=0"], Some(0)),
            (&["wait=007"], Some(7)),
            (&["wait=60"], Some(60)),
            (&["wait=61"], Some(60)),
            (&["wait=99999999999999999999999"], Some(60)),
            // No preference at all, so the next one counts.
            (&["wait=1 2, wait=3"], Some(3)),
            (&[", ,;,=5,wait=3"], Some(3)),
            (&["é=1, wait=3"], Some(3)),
            // The first one, and it makes no sense.
            (&["wait, wait=3"], None),
            (&["wait=, wait=3"], None),
            (&["wait=\"\", wait=3"], None),
            (&["wait=-1"], None),
            (&["wait=+1"], None),
            (&["wait=1.5"], None),
            (&["wait=soon, wait=3"], None),
            (&["waiting=3"], None),
            (&["x; wait=3"], None),
            (&["x=\"wait=3"], None),
        ] {
            assert_eq!(wait(&of(&PREFER, lines), 60), seconds, "{lines:?}");
        }
    }

    #[test]
    fn only_wait_is_taken_out() {
        for (lines, left) in [
            (&[][..], &[][..]),
            (&["wait=10"], &[]),
            (&["wait=10,"], &[]),
            (&["return=minimal"], &["return=minimal"]),
            (
                &["return=minimal ;  a=\"x, wait=1\" , wait=10,  odata.track-changes"],
                &["return=minimal ;  a=\"x, wait=1\" ,  odata.track-changes"],
            ),
            (&["wait=10, x"], &["x"]),
            (&["x, Wait=\"10\";y"], &["x"]),
            (&["x", "wait=1", ", y,,z"], &["x", ", y,,z"]),
            (&["wait=1, wait=2", "wait"], &[]),
            (&["é, wait=1"], &["é"]),
            // The provider's own business.
            (&["respond-async, wait=10"], &["respond-async, wait=10"]),
            (
                &["wait=10", "Respond-Async;x"],
                &["wait=10", "Respond-Async;x"],
            ),
        ] {
            let mut headers = of(&PREFER, lines);
            strip_wait(&mut headers);
            let got: Vec<&[u8]> = headers.get_all(PREFER).map(Value::as_bytes).collect();
            let left: Vec<&[u8]> = left.iter().map(|line| line.as_bytes()).collect();
            assert_eq!(got, left, "{lines:?}");
        }
    }

    #[test]
    fn what_was_applied_stands_beside_what_the_provider_applied() {
        let mut headers = of(&PREFERENCE_APPLIED, &["return=minimal"]);
        announce_wait(&mut headers, 30);
        let lines: Vec<_> = headers.get_all(PREFERENCE_APPLIED).collect();
        assert_eq!(lines, ["return=minimal", "wait=30"]);
    }

    #[test]
    fn priority_is_read_leniently() {
        for (lines, urgency, incremental) in [
            (&[][..], 3, false),
            (&[""], 3, false),
            (&["u=0"], 0, false),
            (&["u=7, i"], 7, true),
            (&["i=?0, u=1;x=y"], 1, false),
            (&["u=5", "i"], 5, true),
            // The last one counts in a dictionary.
            (&["u=5", "u=2"], 2, false),
            (&["u=8, i"], 3, true),
            (&["u=-1"], 3, false),
            (&["u=1.0"], 3, false),
            (&["u=\"1\""], 3, false),
            (&["u=(1), i=1"], 3, false),
            (&["u=1,, i"], 3, false),
            (&["U=1"], 3, false),
            (&["u=1, é"], 3, false),
            (&["x=1"], 3, false),
        ] {
            let priority = Priority::of(&of(&PRIORITY, lines));
            assert_eq!(
                (priority.urgency, priority.incremental),
                (urgency, incremental),
                "{lines:?}"
            );
        }
    }
}
