//! What the lines of a call have in common in the log.

use std::fmt;

use crate::clock;
use crate::fields::Fields;

/// The longest that is believed, in bytes.
const LONGEST: usize = 128;

/// The name of a call in the log: the caller's own (`x-request-id`), where it is one word of harmless characters, else a
/// random one. What the caller and the provider send each other under that name passes as it is.
pub(super) struct RequestId<'a>(Option<&'a str>);

impl<'a> RequestId<'a> {
    pub(super) fn of(headers: &'a Fields) -> Self {
        let mut lines = headers.get_all("x-request-id");
        let line = lines.next().filter(|_| lines.next().is_none());
        let text = line.and_then(|line| line.text());
        let is_harmless = |text: &&str| {
            (1..=LONGEST).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte))
        };
        Self(text.filter(is_harmless))
    }
}

impl fmt::Display for RequestId<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(text) => out.write_str(text),
            None => write!(out, "{:016x}", clock::random()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn id(lines: &[&str]) -> String {
        let mut headers = Fields::new();
        for line in lines {
            headers.append(
                HeaderName::from_static("x-request-id"),
                line.parse::<HeaderValue>().unwrap(),
            );
        }
        RequestId::of(&headers).to_string()
    }

    #[test]
    fn a_callers_own_name_is_believed_if_it_is_harmless() {
        let long = "a".repeat(LONGEST);
        for good in ["7", "0190-ab.c_d:e", &long] {
            assert_eq!(id(&[good]), good);
        }
        let longer = "a".repeat(LONGEST + 1);
        for bad in [&[][..], &[""], &["a b"], &["a\"b"], &["a", "a"], &[&longer]] {
            let made = id(bad);
            assert_eq!(made.len(), 16, "{made}");
            assert!(made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
            assert_ne!(made, id(bad));
        }
    }
}
