//! Which fields a head has, of those that somebody looks for on the way: most calls have few of them, and to ask the head for one
//! is to look at all its names.

use crate::fields::Fields;

/// A set of fields. What is not in it is not in the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Present(u32);

macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident = $bit:literal;)*) => {
        impl Present {
            $($(#[$doc])* pub(super) const $field: Self = Self(1 << $bit);)*
        }
    };
}

fields! {
    CONNECTION = 0;
    TE = 1;
    TRANSFER_ENCODING = 2;
    UPGRADE = 3;
    /// What else is a hop's own: see `fields::HOP_BY_HOP`.
    OTHER_HOP_BY_HOP = 4;
    /// `Forwarded`, and what begins with `x-forwarded-`.
    FORWARDED = 5;
    VIA = 6;
    COOKIE = 7;
    EXPECT = 8;
    MAX_FORWARDS = 9;
    PREFER = 10;
    PRIORITY = 11;
    HEADROOM_KEY = 12;
    /// `If-None-Match` and `If-Modified-Since`.
    CONDITION = 13;
    CONTENT_LENGTH = 14;
    CONTENT_ENCODING = 15;
    /// `Location`, `Content-Location` and `Link`.
    LINK = 16;
    HOST = 17;
}

impl Present {
    /// Those that `Connection` speaks of, or could.
    pub(super) const HOP_BY_HOP: Self = Self::CONNECTION
        .and(Self::TE)
        .and(Self::TRANSFER_ENCODING)
        .and(Self::UPGRADE)
        .and(Self::OTHER_HOP_BY_HOP);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// It has one of these.
    pub(super) const fn has(self, fields: Self) -> bool {
        self.0 & fields.0 != 0
    }

    /// Looks at all names of a head.
    pub(super) fn of(headers: &Fields) -> Self {
        let names = headers.raw().map(|(name, _)| Self::field(name));
        names.fold(Self::default(), Self::and)
    }

    /// By the length first: it tells nearly all names apart.
    pub(super) fn field(name: &[u8]) -> Self {
        let field = match name.len() {
            2 if name == b"te" => Self::TE,
            3 if name == b"via" => Self::VIA,
            4 if name == b"host" => Self::HOST,
            4 if name == b"link" => Self::LINK,
            6 if name == b"cookie" => Self::COOKIE,
            6 if name == b"expect" => Self::EXPECT,
            6 if name == b"prefer" => Self::PREFER,
            7 if name == b"upgrade" => Self::UPGRADE,
            8 if name == b"priority" => Self::PRIORITY,
            8 if name == b"location" => Self::LINK,
            9 if name == b"forwarded" => Self::FORWARDED,
            10 if name == b"connection" => Self::CONNECTION,
            10 if name == b"keep-alive" => Self::OTHER_HOP_BY_HOP,
            12 if name == b"headroom-key" => Self::HEADROOM_KEY,
            12 if name == b"max-forwards" => Self::MAX_FORWARDS,
            13 if name == b"if-none-match" => Self::CONDITION,
            14 if name == b"content-length" => Self::CONTENT_LENGTH,
            14 if name == b"http2-settings" => Self::OTHER_HOP_BY_HOP,
            16 if name == b"content-encoding" => Self::CONTENT_ENCODING,
            16 if name == b"content-location" => Self::LINK,
            16 if name == b"proxy-connection" => Self::OTHER_HOP_BY_HOP,
            17 if name == b"transfer-encoding" => Self::TRANSFER_ENCODING,
            17 if name == b"if-modified-since" => Self::CONDITION,
            18 if name == b"proxy-authenticate" => Self::OTHER_HOP_BY_HOP,
            19 if name == b"proxy-authorization" => Self::OTHER_HOP_BY_HOP,
            _ => Self::default(),
        };
        if name.len() >= "x-forwarded-".len() && name.starts_with(b"x-forwarded-") {
            return Self::FORWARDED;
        }
        field
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn of(names: &[&'static str]) -> Present {
        let mut headers = Fields::new();
        for name in names {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static("a"));
        }
        Present::of(&headers)
    }

    #[test]
    fn every_field_is_seen_and_no_other() {
        let all = [
            ("connection", Present::CONNECTION),
            ("te", Present::TE),
            ("transfer-encoding", Present::TRANSFER_ENCODING),
            ("upgrade", Present::UPGRADE),
            ("keep-alive", Present::OTHER_HOP_BY_HOP),
            ("proxy-connection", Present::OTHER_HOP_BY_HOP),
            ("proxy-authenticate", Present::OTHER_HOP_BY_HOP),
            ("proxy-authorization", Present::OTHER_HOP_BY_HOP),
            ("http2-settings", Present::OTHER_HOP_BY_HOP),
            ("forwarded", Present::FORWARDED),
            ("x-forwarded-", Present::FORWARDED),
            ("x-forwarded-for", Present::FORWARDED),
            ("via", Present::VIA),
            ("cookie", Present::COOKIE),
            ("expect", Present::EXPECT),
            ("max-forwards", Present::MAX_FORWARDS),
            ("prefer", Present::PREFER),
            ("priority", Present::PRIORITY),
            ("headroom-key", Present::HEADROOM_KEY),
            ("if-none-match", Present::CONDITION),
            ("if-modified-since", Present::CONDITION),
            ("content-length", Present::CONTENT_LENGTH),
            ("content-encoding", Present::CONTENT_ENCODING),
            ("location", Present::LINK),
            ("content-location", Present::LINK),
            ("link", Present::LINK),
            ("host", Present::HOST),
        ];
        for (name, field) in all {
            assert_eq!(of(&[name, "accept", "x-forwarded"]), field, "{name}");
        }
        let every: Vec<_> = all.iter().map(|(name, _)| *name).collect();
        assert!(all.iter().all(|(_, field)| of(&every).has(*field)));
        assert_eq!(of(&["accept", "authorization", "age"]), Present::default());
        assert!(!of(&["via"]).has(Present::HOP_BY_HOP));
        assert!(of(&["te"]).has(Present::HOP_BY_HOP));
    }

    /// What is stripped by name is in the set, so that nobody leaves it where it is because it is not seen.
    #[test]
    fn what_ends_at_a_hop_is_seen() {
        for name in &super::super::fields::HOP_BY_HOP {
            assert!(Present::field(name.as_str().as_bytes()).has(Present::HOP_BY_HOP));
        }
    }
}
