//! Whether a segment of a path is a word of an API. Whatever does not look like one may be a name of one thing, or a secret.
//!
//! A word is made of parts of letters, as people spell them: `payment_intents`, `list-all-invoices`, `conversations.list`,
//! `createSession`, `SObjects`, `oauth2`. Letters in an order that English hardly has are no word, so secrets of letters
//! alone are none either. Of random segments, these pass for words (measured by `few_random_segments_pass_for_words`):
//!
//! | letters of | 8 | 12 | 16 | 24 |
//! | --- | --- | --- | --- | --- |
//! | one case only | 4.6 % | 0.5 % | 0.3 % | 0.03 % |
//! | both cases, base32, base36, base62, base64 | 2.4 % | 0.6 % | 0.1 % | 0.01 % |
//! | hexadecimal digits | 0 | 0 | 0 | 0 |
//!
//! Of the words in the paths of the APIs below, one in seventy is not seen as one. What cannot be told: a password that is a word, and secrets made of words.

/// A segment that is longer is no word.
const MAX: usize = 64;

/// With fewer letters than this, any order of them may be an abbreviation: `xrpc`, `sms`.
const FEW_LETTERS: usize = 6;

/// Words that are spelled like no other.
const JARGON: [&str; 18] = [
    "api", "emojis", "gdpr", "gpg", "graphql", "html", "htm", "http", "https", "insights", "json",
    "jwt", "many", "sql", "wp", "xro", "xrpc", "yaml",
];

/// What follows each letter from `a` to `z` in English: 97 % of the pairs of letters in the paths of the APIs of GitHub,
/// Stripe, HubSpot, Google Cloud and AWS, each word of them counted once.
const FOLLOWERS: [&[u8]; 26] = [
    b"bcdfgiklmnprstuvy",
    b"aeilorsu",
    b"acehiklorstuy",
    b"abdegilmorsu",
    b"abcdefgijlmnopqrstuvwxy",
    b"aefiloru",
    b"aegilmnorsu",
    b"aeioru",
    b"abcdefglmnoprstvz",
    b"eo",
    b"aefis",
    b"acdeilopstuy",
    b"abeimopsu",
    b"acdefgiklmnorstuv",
    b"abcdfgiklmnoprstuvwy",
    b"aceghiloprstu",
    b"u",
    b"acdefgiklmnorstuvy",
    b"acefhiklmnopstuy",
    b"acehioprstuy",
    b"abcdegilmnprst",
    b"aeiop",
    b"aeinos",
    b"ept",
    b"mnps",
    b"aeo",
];

/// What stands between the parts of a word. A space stands in names of tables.
const SIGNS: &[u8] = b"-_. ";

/// Whether it is a word, or a version.
pub(super) fn is_word(segment: &[u8]) -> bool {
    if !segment.is_empty() && segment.iter().all(u8::is_ascii_lowercase) {
        return is_plain_word(segment);
    }
    is_any_word(segment)
}

/// The same for lower-case letters alone, as most segments are: each of them is looked at three times, and not ten.
fn is_plain_word(letters: &[u8]) -> bool {
    if letters.len() > MAX || is_hex(letters) {
        return false;
    }
    let mut spelling = Spelling {
        letters: letters.len(),
        ..Spelling::default()
    };
    spelling.letters < FEW_LETTERS || {
        spelling.hump(letters);
        spelling.is_english()
    }
}

fn is_any_word(segment: &[u8]) -> bool {
    is_version(segment) || (segment.len() <= MAX && !is_hex(segment) && is_spelled(segment))
}

/// `deadbeef`: long enough that no word is spelled with these letters alone.
fn is_hex(segment: &[u8]) -> bool {
    segment.len() >= 8 && segment.iter().all(u8::is_ascii_hexdigit)
}

/// `v1`, `v2.1`, `2.0`, `v1beta1`, `v1p1beta1`, `v2024-04-01`.
fn is_version(segment: &[u8]) -> bool {
    let (has_v, rest) = match segment {
        [b'v' | b'V', rest @ ..] => (true, rest),
        _ => (false, segment),
    };
    let is_date = rest.len() == 10 && is_dated(rest);
    if has_v && is_date {
        return true;
    }
    let (major, rest) = digits(rest);
    let (point, rest) = match rest {
        [b'.', rest @ ..] => {
            let (minor, rest) = digits(rest);
            (Some(minor), rest)
        }
        [b'p', rest @ ..] if has_v => {
            let (patch, rest) = digits(rest);
            (Some(patch), rest)
        }
        _ => (None, rest),
    };
    let stage = rest
        .strip_prefix(b"alpha")
        .or_else(|| rest.strip_prefix(b"beta"));
    let (stage_number, rest) = digits(stage.unwrap_or(rest));
    (1..=3).contains(&major)
        && point.is_none_or(|point| (1..=3).contains(&point))
        && (has_v || point.is_some())
        && stage_number <= if stage.is_some() { 2 } else { 0 }
        && rest.is_empty()
}

/// How many digits it begins with, and the rest.
fn digits(text: &[u8]) -> (usize, &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count, text.get(count..).unwrap_or_default())
}

fn is_dated(text: &[u8]) -> bool {
    text.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    })
}

fn is_spelled(segment: &[u8]) -> bool {
    // `@me`, `$batch`.
    let body = match segment {
        [b'@' | b'$', rest @ ..] if !rest.is_empty() => rest,
        _ => segment,
    };
    let mut spelling = Spelling::default();
    let mut with_digits = 0;
    for part in body.split(|byte| SIGNS.contains(byte)) {
        if !part.iter().all(u8::is_ascii_alphanumeric) || !has_few_digits(part) {
            return false;
        }
        with_digits += usize::from(part.iter().any(u8::is_ascii_digit));
        let mut runs = part.split(u8::is_ascii_digit);
        if !runs.all(|letters| spelling.read(letters)) {
            return false;
        }
    }
    // `a1-b2-c3` is spelled by no one.
    let is_named = spelling.letters > 0 || with_digits == 0;
    with_digits <= 2 && is_named && spelling.is_english()
}

/// `oauth2`, `utf8`, `k8s`, `s3`, `v2`, `2024`: not as a machine mixes them.
fn has_few_digits(part: &[u8]) -> bool {
    let before = part
        .iter()
        .take_while(|byte| !byte.is_ascii_digit())
        .count();
    let (count, behind) = digits(part.get(before..).unwrap_or_default());
    let is_year = count == 4 && (part.starts_with(b"19") || part.starts_with(b"20"));
    let is_between = !behind.is_empty();
    (count <= 2 || (is_year && before == 0 && !is_between))
        && behind.iter().all(u8::is_ascii_alphabetic)
        && (!is_between || part.len() <= 4)
}

/// What was seen of the letters of a segment.
#[derive(Default)]
struct Spelling {
    letters: usize,
    pairs: usize,
    rare: usize,
}

impl Spelling {
    /// Takes in letters that stand together; false where their cases change as in no word.
    fn read(&mut self, letters: &[u8]) -> bool {
        let mut humps = 0;
        let mut rest = letters;
        while !rest.is_empty() {
            let (hump, behind) = rest.split_at(hump(rest));
            humps += 1;
            self.hump(hump);
            rest = behind;
        }
        self.letters += letters.len();
        // `getMe` is a word, and in longer ones each hump is longer.
        humps <= 1 || letters.len() >= if humps == 2 { 4 } else { humps * 3 }
    }

    fn hump(&mut self, hump: &[u8]) {
        if JARGON
            .iter()
            .any(|word| hump.eq_ignore_ascii_case(word.as_bytes()))
        {
            return;
        }
        for pair in hump.windows(2) {
            self.pairs += 1;
            self.rare += usize::from(is_rare(pair));
        }
    }

    /// A few pairs are rare in any word.
    const fn is_english(&self) -> bool {
        self.letters < FEW_LETTERS || self.rare <= (self.pairs + 4) / 8
    }
}

/// How many letters of one word there are: `List`, `list`, or `HTML` of `HTMLPage`.
fn hump(letters: &[u8]) -> usize {
    let upper = letters
        .iter()
        .take_while(|byte| byte.is_ascii_uppercase())
        .count();
    let lower = letters
        .iter()
        .skip(upper)
        .take_while(|byte| byte.is_ascii_lowercase())
        .count();
    match (upper, lower) {
        (0 | 1, _) | (_, 0) => upper + lower,
        // The last one begins the next word.
        _ => upper - 1,
    }
}

fn is_rare(pair: &[u8]) -> bool {
    let [first, second] = pair else { return false };
    let place = |letter: &u8| letter.to_ascii_lowercase().wrapping_sub(b'a');
    let followers = FOLLOWER_BITS.get(usize::from(place(first)));
    let followers = followers.copied().unwrap_or_default();
    let bits = followers.checked_shr(u32::from(place(second)));
    bits.is_none_or(|bits| bits & 1 == 0)
}

/// [`FOLLOWERS`], a bit for each letter: every call's path is looked at.
const FOLLOWER_BITS: [u32; 26] = {
    let mut table = [0; 26];
    let mut row = 0;
    while row < FOLLOWERS.len() {
        let mut at = 0;
        while at < FOLLOWERS[row].len() {
            table[row] |= 1 << (FOLLOWERS[row][at] - b'a');
            at += 1;
        }
        row += 1;
    }
    table
};

#[cfg(test)]
mod tests;
