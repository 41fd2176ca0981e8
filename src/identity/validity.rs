//! From when to when a certificate is valid (RFC 5280, section 4.1.2.5): the one field that rustls keeps to itself until a
//! handshake. Anything that is not as it should be is an honest `None`.

use std::ops::RangeInclusive;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, in which the version stands.
const VERSION: u8 = 0xa0;

/// The time in which a certificate in DER is valid, both ends included.
pub(super) fn of(certificate: &[u8]) -> Option<RangeInclusive<Timestamp>> {
    let (outer, _) = expect(certificate, SEQUENCE)?;
    let (inner, _) = expect(outer, SEQUENCE)?;
    // Version (where it is not 1), serial number, algorithm, issuer; then the validity.
    let rest = expect(inner, VERSION).map_or(inner, |(_, rest)| rest);
    let (_, rest) = expect(rest, INTEGER)?;
    let (_, rest) = expect(rest, SEQUENCE)?;
    let (_, rest) = expect(rest, SEQUENCE)?;
    let (validity, _) = expect(rest, SEQUENCE)?;
    let (tag, from, rest) = element(validity)?;
    let from = time(tag, from)?;
    let (tag, until, _) = element(rest)?;
    Some(from..=time(tag, until)?)
}

/// The content of an element that must have this tag, and what follows it.
fn expect(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(der)?;
    (tag == wanted).then_some((content, rest))
}

/// Tag, content, and what follows. Lengths of up to four bytes: no certificate is longer.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let digits = digits.iter();
            (
                digits.fold(0, |sum, &digit| sum << 8 | usize::from(digit)),
                rest,
            )
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ`, where 50 is 1950, or the same with four digits of the year.
fn time(tag: u8, text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match tag {
        UTC_TIME => {
            let year: u8 = text.get(..2)?.parse().ok()?;
            format!("{}{text}", if year < 50 { "20" } else { "19" })
        }
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", &text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_both_forms() {
        for (tag, text, expected) in [
            (UTC_TIME, "491231235959Z", Some("2049-12-31T23:59:59Z")),
            (UTC_TIME, "500101000000Z", Some("1950-01-01T00:00:00Z")),
            (
                GENERALIZED_TIME,
                "20500228010203Z",
                Some("2050-02-28T01:02:03Z"),
            ),
            (UTC_TIME, "20500101000000Z", None),
            (UTC_TIME, "490230000000Z", None),
            (UTC_TIME, "4901010000Z", None),
            (UTC_TIME, "490101000000", None),
            (UTC_TIME, "+10101000000Z", None),
            (GENERALIZED_TIME, "490101000000Z", None),
            (INTEGER, "490101000000Z", None),
            (UTC_TIME, "", None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(time(tag, text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_cut_short_or_altered_is_read_as_far_as_it_is_right_or_not_at_all() {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;

        let text = include_str!("../../tests/support/tls/server.pem");
        let whole = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
        let valid = of(&whole).unwrap();
        assert!(valid.start() < valid.end(), "{valid:?}");
        for length in 0..whole.len() {
            assert_eq!(of(&whole[..length]), None, "{length}");
        }
        for place in 0..whole.len() {
            for value in [0, 0x7f, 0x80, 0x84, 0xff] {
                let mut altered = whole.to_vec();
                altered[place] = value;
                // No panic, whatever it says.
                let _ = of(&altered);
            }
        }
    }
}
