//! Content codings: what headroom must look into has to come in a coding that it can undo for itself. The caller gets the
//! bytes as they were sent.

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};

use super::fields;

use crate::fields::Fields;

/// What an answer's body is coded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// Nothing compresses it.
    Identity,
    /// gzip alone.
    Gzip,
    /// Anything else, or several.
    Other,
}

impl Coding {
    pub(super) fn of(headers: &Fields) -> Self {
        let mut codings = fields::tokens(headers, &CONTENT_ENCODING)
            .filter(|coding| !coding.eq_ignore_ascii_case("identity"));
        match (codings.next(), codings.next()) {
            (None, _) => Self::Identity,
            (Some(one), None)
                if one.eq_ignore_ascii_case("gzip") || one.eq_ignore_ascii_case("x-gzip") =>
            {
                Self::Gzip
            }
            _ => Self::Other,
        }
    }

    /// The body as its media type has it, if it is not longer than `limit` (bytes).
    pub(super) fn undo(self, body: Bytes, limit: usize) -> Option<Bytes> {
        match self {
            Self::Identity => Some(body),
            Self::Gzip => {
                let mut plain = Vec::new();
                // One byte more than allowed tells a body that is too long from one that just fits.
                let limit_bytes = u64::try_from(limit).ok()?.checked_add(1)?;
                // Several members are one body (RFC 1952, section 2.2), and one that breaks off is none.
                MultiGzDecoder::new(&*body)
                    .take(limit_bytes)
                    .read_to_end(&mut plain)
                    .ok()?;
                (plain.len() <= limit).then(|| plain.into())
            }
            Self::Other => None,
        }
    }
}

/// Narrows what the caller accepts to what headroom can look into.
pub(super) fn accept_readable(headers: &mut Fields) {
    if !headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    let takes_gzip = fields::tokens(headers, &ACCEPT_ENCODING).any(|token| {
        let mut parts = token.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        // `gzip;q=0` refuses it (RFC 9110, section 12.4.2).
        let refused = parts.any(|weight| {
            weight
                .strip_prefix("q=")
                .is_some_and(|q| q.trim_matches(['0', '.']).is_empty())
        });
        coding.eq_ignore_ascii_case("gzip") && !refused
    });
    let readable = if takes_gzip { "gzip" } else { "identity" };
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(readable));
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn zipped(text: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = zipped(&vec![b'a'; 10_000_000]);
        assert_eq!(Coding::Gzip.undo(bomb, 1_000), None);
        let fits = zipped(&vec![b'a'; 1_000]);
        assert_eq!(
            Coding::Gzip.undo(fits, 1_000).map(|body| body.len()),
            Some(1_000)
        );
    }

    #[test]
    fn members_are_one_body_and_broken_ones_none() {
        let whole = [zipped(b"{\"a\":"), zipped(b"1}")].concat();
        for cut in 1..whole.len() {
            let first = zipped(b"{\"a\":").len();
            let part = Bytes::copy_from_slice(&whole[..cut]);
            assert_eq!(
                Coding::Gzip.undo(part, 100).is_some(),
                cut == first,
                "{cut}"
            );
        }
        assert_eq!(
            Coding::Gzip.undo(whole.into(), 7),
            Some(Bytes::from_static(b"{\"a\":1}"))
        );
    }

    #[test]
    fn an_unreadable_coding_is_some_other() {
        for value in [b"\xe9".as_slice(), b"gzip, \xe9"] {
            let mut headers = Fields::new();
            headers.insert(CONTENT_ENCODING, HeaderValue::from_bytes(value).unwrap());
            assert_eq!(Coding::of(&headers), Coding::Other);
        }
    }

    #[test]
    fn garbage_is_no_body() {
        assert_eq!(
            Coding::Gzip.undo(Bytes::from_static(b"not gzip"), 1_000),
            None
        );
        assert_eq!(Coding::Other.undo(Bytes::from_static(b"{}"), 1_000), None);
    }

    #[test]
    fn only_readable_codings_are_accepted() {
        for (asked, sent) in [
            ("gzip, deflate, br", "gzip"),
            ("br;q=1.0, gzip;q=0.5", "gzip"),
            ("br, gzip;q=0", "identity"),
            ("br, gzip;q=0.000", "identity"),
            ("br", "identity"),
            ("*", "identity"),
        ] {
            let mut headers = Fields::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(asked));
            accept_readable(&mut headers);
            assert_eq!(headers.get(ACCEPT_ENCODING).unwrap(), sent, "{asked}");
        }
        let mut none = Fields::new();
        accept_readable(&mut none);
        assert!(none.is_empty());
    }
}
