//! The template of a path that no adapter describes: what looks like an identifier becomes `*`, so that calls of one kind
//! share a budget. A guess; where it takes a word for an identifier, two endpoints share one budget, which is the safe side.

/// The most segments that are told apart.
const MAX_SEGMENTS: usize = 8;

/// The most bytes of a template.
const MAX_BYTES: usize = 200;

/// A segment that is longer is no word.
const MAX_WORD: usize = 64;

/// Hands the pieces of a path's template to `write`. The path is percent-encoded and without query.
pub(super) fn template(path: &str, write: &mut dyn FnMut(&[u8])) {
    let mut room = MAX_BYTES;
    let mut before: Option<&str> = None;
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    for (index, segment) in segments.enumerate() {
        write(b"/");
        // Matrix parameters are a kind of query.
        let segment = segment.split(';').next().unwrap_or_default();
        let decoded = super::partition::decoded(segment);
        let reduced = reduce(&decoded, before.is_none_or(|before| before == "api"));
        let length = match reduced {
            Reduced::Word => decoded.len(),
            Reduced::Id(extension) => 1 + extension.len(),
        };
        if index == MAX_SEGMENTS || length + 1 > room {
            write(b"**");
            return;
        }
        room -= length + 1;
        before = Some(segment);
        match reduced {
            Reduced::Word => write(&decoded),
            Reduced::Id(extension) => {
                write(b"*");
                write(extension);
            }
        }
    }
    if before.is_none() {
        write(b"/");
    }
}

enum Reduced<'a> {
    Word,
    /// An identifier, and what follows it: `.json`.
    Id(&'a [u8]),
}

fn reduce(segment: &[u8], may_be_version: bool) -> Reduced<'_> {
    // `/2/tweets`, `/api/0/projects`.
    if may_be_version && segment.len() <= 2 && segment.iter().all(u8::is_ascii_digit) {
        return Reduced::Word;
    }
    if is_id(segment) {
        return Reduced::Id(b"");
    }
    let dot = segment.iter().rposition(|byte| *byte == b'.');
    if let Some((stem, extension)) = dot.and_then(|at| segment.split_at_checked(at)) {
        let letters = extension.get(1..).unwrap_or_default();
        let is_extension =
            (1..=5).contains(&letters.len()) && letters.iter().all(u8::is_ascii_alphabetic);
        if is_extension && is_id(stem) {
            return Reduced::Id(extension);
        }
    }
    Reduced::Word
}

/// Whether a segment names one thing of many.
fn is_id(segment: &[u8]) -> bool {
    // What cannot be shown is not told apart either.
    segment.len() > MAX_WORD
        || !segment.iter().all(|byte| (b' '..=b'~').contains(byte))
        || is_number(segment)
        || (segment.len() >= 8 && segment.iter().all(u8::is_ascii_hexdigit))
        || is_uuid(segment)
        || is_email(segment)
        || is_prefixed(segment)
        || is_token(segment)
}

/// A number, several of them, or a date.
fn is_number(segment: &[u8]) -> bool {
    segment.iter().any(u8::is_ascii_digit)
        && segment
            .iter()
            .all(|byte| byte.is_ascii_digit() || b",;:-_+".contains(byte))
}

fn is_uuid(segment: &[u8]) -> bool {
    let plain = segment
        .strip_prefix(b"{")
        .and_then(|segment| segment.strip_suffix(b"}"))
        .unwrap_or(segment);
    plain.len() == 36
        && plain.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_email(segment: &[u8]) -> bool {
    let at = segment.iter().position(|byte| *byte == b'@');
    at.is_some_and(|at| at > 0 && segment.iter().skip(at).any(|byte| *byte == b'.'))
}

/// `cus_NffrFeUfNV2Hib`: a kind, and letters of both cases behind it.
fn is_prefixed(segment: &[u8]) -> bool {
    let Some(at) = segment.iter().position(|byte| *byte == b'_') else {
        return false;
    };
    let rest = segment.get(at + 1..).unwrap_or_default();
    (2..=8).contains(&at)
        && rest.len() >= 8
        && rest.iter().all(u8::is_ascii_alphanumeric)
        && rest.iter().any(u8::is_ascii_uppercase)
        && rest.iter().any(u8::is_ascii_lowercase)
}

/// Letters and digits as a machine mixes them: long ones, or shorter ones of both cases and two digits.
fn is_token(segment: &[u8]) -> bool {
    if is_mixed(segment) {
        return true;
    }
    let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
    let mixed = digits >= 2
        && segment.len() >= 12
        && segment.iter().any(u8::is_ascii_uppercase)
        && segment.iter().any(u8::is_ascii_lowercase);
    let long = digits >= 1 && segment.len() >= 20;
    (mixed || long || is_random(segment))
        && segment
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || SIGNS.contains(byte))
        && (is_random(segment) || !segment.split(|byte| SIGNS.contains(byte)).all(is_word))
}

/// What may stand between the parts of a token.
const SIGNS: &[u8] = b"-_+=~:./";

/// Short, and letters and digits take turns in it: `b2x9k4q`, and not `v1beta1` or `oauth2`.
fn is_mixed(segment: &[u8]) -> bool {
    let turns = segment.windows(2).filter(|pair| {
        matches!(pair, [a, b] if a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric()
            && a.is_ascii_digit() != b.is_ascii_digit())
    });
    let is_version = matches!(segment, [b'v' | b'V', digit, ..] if digit.is_ascii_digit());
    segment.len() >= 6
        && !is_version
        && segment.iter().all(u8::is_ascii_alphanumeric)
        && turns.count() >= 3
}

/// Long, and the case of its letters changes more often than words begin in it: `createSession` is none, secrets are.
fn is_random(segment: &[u8]) -> bool {
    let changes = segment.windows(2).filter(|pair| {
        matches!(pair, [a, b] if a.is_ascii_alphabetic() && b.is_ascii_alphabetic()
            && a.is_ascii_uppercase() != b.is_ascii_uppercase())
    });
    segment.len() >= 16 && changes.count() * 3 > segment.len()
}

/// `invoices`, `v2`, `oauth2`, `2024`: letters, and few digits behind them.
fn is_word(piece: &[u8]) -> bool {
    let letters = piece
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    let digits = piece.len() - letters;
    piece.iter().skip(letters).all(u8::is_ascii_digit)
        && (digits <= 2 || (letters == 0 && digits <= 4))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str) -> String {
        let mut text = Vec::new();
        template(path, &mut |piece| text.extend_from_slice(piece));
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn identifiers_become_stars_and_words_stay() {
        for (path, expected) in [
            ("/", "/"),
            ("", "/"),
            ("//", "/"),
            ("/v1/customers", "/v1/customers"),
            ("/v1/customers/", "/v1/customers"),
            ("/v1//customers", "/v1/customers"),
            ("/2/tweets/1234567890", "/2/tweets/*"),
            ("/api/0/projects/12/", "/api/0/projects/*"),
            ("/items/0", "/items/*"),
            ("/2.0/folders/0", "/2.0/folders/*"),
            ("/api/1.0/tasks/12", "/api/1.0/tasks/*"),
            ("/tickets/35436.json", "/tickets/*.json"),
            ("/tickets/show_many.json", "/tickets/show_many.json"),
            ("/items/1,2,3", "/items/*"),
            ("/days/2026-11-21", "/days/*"),
            ("/o/3fa85f64-5717-4562-b3fc-2c963f66afa6", "/o/*"),
            ("/o/%7B3fa85f64-5717-4562-b3fc-2c963f66afa6%7D", "/o/*"),
            (
                "/commits/7638417db6d59f3c431d3e1f261cc637155684cd",
                "/commits/*",
            ),
            ("/users/ada%40example.com", "/users/*"),
            ("/users/@me", "/users/@me"),
            ("/v1/customers/cus_NffrFeUfNV2Hib", "/v1/customers/*"),
            ("/v1/payment_intents", "/v1/payment_intents"),
            ("/v1/payment%5Fintents", "/v1/payment_intents"),
            ("/v0/appAb3dEf12h45678/Table", "/v0/*/Table"),
            ("/services/abXcDeFgZhIjKlmNoPqRsTuV", "/services/*"),
            ("/v/hvs.CAESIJx8m2P0qLr7Tt4vNw3K", "/v/*"),
            ("/v/s.Qm8kV2xZ1pLr7Tt4vNw3KbYa", "/v/*"),
            ("/users;jsessionid=5F2A8C1D9E3B4A7C/7", "/users/*"),
            ("/catch/123/b2x9k4q", "/catch/*/*"),
            ("/services/T02K7QXJ9/B03M8RWZ1", "/services/*/*"),
            ("/v1beta1/oauth2/k8s", "/v1beta1/oauth2/k8s"),
            ("/v2.0/utf8", "/v2.0/utf8"),
            (
                "/reports/getAccountsReceivableAgingReport",
                "/reports/getAccountsReceivableAgingReport",
            ),
            (
                "/bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/getMe",
                "/*/getMe",
            ),
            (
                "/list-all-invoices-v2-archived",
                "/list-all-invoices-v2-archived",
            ),
            ("/api/conversations.list", "/api/conversations.list"),
            (
                "/xrpc/com.atproto.server.createSession",
                "/xrpc/com.atproto.server.createSession",
            ),
            ("/caf%C3%A9", "/*"),
            ("/a%00b", "/*"),
            ("/a/b/c/d/e/f/g/h", "/a/b/c/d/e/f/g/h"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/**"),
        ] {
            assert_eq!(of(path), expected, "{path}");
        }
        assert_eq!(of(&format!("/a/{}", "x".repeat(65))), "/a/*");
        let long = format!("/{}", "x".repeat(60)).repeat(4);
        assert_eq!(
            of(&long),
            format!("{}/**", format!("/{}", "x".repeat(60)).repeat(3))
        );
    }
}
