//! Consumers: a program that calls headroom is known by its key, and headroom knows only the key's hash. Pure: whoever makes
//! a key brings the randomness.

pub mod paths;

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use siphasher::sip::SipHasher13;

pub use paths::PathPattern;

/// A program that may call. Small, because thousands of them are looked at in turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its name in reports.
    pub name: Arc<str>,
    /// What stands for it in meters.
    pub number: u64,
    /// What it may do; `None`: everything.
    rights: Option<Box<Rights>>,
}

/// What a program may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    /// The connections that it may use; `None`: all.
    pub connections: Option<Vec<String>>,
    /// The methods that it may call with; `None`: all.
    pub methods: Option<Vec<Method>>,
    /// The paths at providers that it may call; `None`: all.
    pub paths: Option<Vec<PathPattern>>,
}

impl Consumer {
    /// A program with a name.
    #[must_use]
    pub fn new(name: &str, rights: Rights) -> Self {
        Self {
            name: name.into(),
            number: number(name),
            rights: (rights != Rights::default()).then(|| Box::new(rights)),
        }
    }

    /// What it may do; `None`: everything.
    #[must_use]
    pub fn rights(&self) -> Option<&Rights> {
        self.rights.as_deref()
    }
}

impl Rights {
    /// Whether they are for a connection.
    #[must_use]
    pub fn may_use(&self, connection: &str) -> bool {
        let listed = |names: &Vec<String>| names.iter().any(|name| name == connection);
        self.connections.as_ref().is_none_or(listed)
    }

    /// Whether they are for a method.
    #[must_use]
    pub fn may_call_with(&self, method: &Method) -> bool {
        let listed = |methods: &Vec<Method>| methods.contains(method);
        self.methods.as_ref().is_none_or(listed)
    }

    /// Whether they are for a raw path at a provider.
    #[must_use]
    pub fn may_call(&self, path: &str) -> bool {
        let listed = |patterns: &Vec<PathPattern>| paths::allow(patterns, path);
        self.paths.as_ref().is_none_or(listed)
    }
}

/// The number that stands for a consumer in meters: the same after a restart, and never 0.
#[must_use]
pub fn number(name: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(name.as_bytes());
    hasher.finish().clamp(1, u64::MAX - 1)
}

/// The programs that may call, by the hash of their key. Hashes are looked up, never keys, so the time that it takes says
/// nothing about any key.
#[derive(Debug, Clone, Default)]
pub struct Consumers {
    /// Others have another one.
    edition: u64,
    places: HashMap<[u8; 32], u32>,
    all: Vec<Consumer>,
}

/// The next edition.
static EDITION: AtomicU64 = AtomicU64::new(1);

impl Consumers {
    /// The consumer with this key.
    #[must_use]
    pub fn by_key(&self, key: &str) -> Option<&Consumer> {
        self.at(self.place(&hash_key(key))?)
    }

    /// Where the consumer is whose key has this hash.
    #[must_use]
    pub fn place(&self, hash: &[u8; 32]) -> Option<u32> {
        self.places.get(hash).copied()
    }

    /// The consumer in a place.
    #[must_use]
    pub fn at(&self, place: u32) -> Option<&Consumer> {
        self.all.get(usize::try_from(place).ok()?)
    }

    /// What tells them from those before and after them: places are worth nothing in another edition.
    #[must_use]
    pub const fn edition(&self) -> u64 {
        self.edition
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.all.iter().map(|consumer| &consumer.name)
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.all.len()
    }

    /// Nobody is known, so everybody may call.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl FromIterator<([u8; 32], Consumer)> for Consumers {
    fn from_iter<I: IntoIterator<Item = ([u8; 32], Consumer)>>(consumers: I) -> Self {
        let mut known = Self {
            edition: EDITION.fetch_add(1, Ordering::Relaxed),
            ..Self::default()
        };
        // A configuration has fewer, by far.
        for (place, (hash, consumer)) in (0..u32::MAX).zip(consumers) {
            known.places.insert(hash, place);
            known.all.push(consumer);
        }
        known
    }
}

/// What every key begins with, so that people and scanners for secrets know one when they see it.
pub const KEY_PREFIX: &str = "hr_";

/// The length of every key, in bytes.
pub const KEY_LENGTH: usize = KEY_PREFIX.len() + 43;

/// The longest name of a consumer.
const LONGEST_NAME: usize = 63;

/// Whether a consumer can have this name: it stands in reports, headers of metrics, and tables of TOML.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    name.len() <= LONGEST_NAME
        && name.bytes().all(inner)
        && name
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// A key of 32 random bytes: [`KEY_PREFIX`] and 43 characters of base64url.
#[must_use]
pub fn key_of(random: &[u8; 32]) -> String {
    format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(random))
}

/// SHA-256 of a key. Keys are 256 bits of chance, so nothing slower is needed to keep them from being guessed.
#[must_use]
pub fn hash_key(key: &str) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
    let mut hash = [0; 32];
    // SHA-256 has 32 bytes.
    for (to, from) in hash.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    hash
}

/// Bytes as hex digits, two for each. Each call has a hash to spell: the machine for formats takes longer for it than hashing.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from(if half < 10 { b'0' } else { b'a' - 10 } + half);
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

/// The hash that 64 hex digits stand for, in either case.
#[must_use]
pub fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        let digit = |offset: usize| {
            let byte = text.as_bytes().get(2 * index + offset)?;
            char::from(*byte).to_digit(16)
        };
        *byte = u8::try_from(digit(0)? * 16 + digit(1)?).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_url_safe_and_of_one_length() {
        assert_eq!(
            key_of(&[0xff; 32]),
            "hr___________________________________________8"
        );
        assert_eq!(
            key_of(&[0; 32]),
            "hr_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        );
        assert_eq!(key_of(&[7; 32]).len(), 3 + 43);
    }

    #[test]
    fn the_hash_is_sha_256() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(to_hex(&hash_key("abc")), abc);
        assert_eq!(from_hex(abc), Some(hash_key("abc")));
        assert_eq!(from_hex(&abc.to_uppercase()), Some(hash_key("abc")));
    }

    #[test]
    fn who_has_a_key_is_found_by_it_and_by_its_place() {
        let make = || {
            let one = |name: &str| (hash_key(name), Consumer::new(name, Rights::default()));
            ["a", "b"].into_iter().map(one).collect::<Consumers>()
        };
        let (consumers, others) = (make(), make());
        assert_eq!((consumers.len(), consumers.is_empty()), (2, false));
        for key in ["a", "b"] {
            let consumer = consumers.by_key(key).unwrap();
            assert_eq!((&*consumer.name, consumer.number), (key, number(key)));
            let place = consumers.place(&hash_key(key)).unwrap();
            assert_eq!(consumers.at(place), Some(consumer));
        }
        assert!(consumers.by_key("c").is_none() && consumers.at(2).is_none());
        assert_ne!(consumers.edition(), others.edition());
        assert_eq!(consumers.edition(), consumers.clone().edition());
        assert!(Consumers::default().is_empty());
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let short = "a".repeat(63);
        for text in [
            "",
            &short,
            &format!("{short}aa"),
            &format!("{short}g"),
            &format!("{short}+"),
            &"é".repeat(32),
        ] {
            assert_eq!(from_hex(text), None, "{text}");
        }
    }

    #[test]
    fn names_stand_in_reports() {
        for (name, fits) in [
            ("reports", true),
            ("Reports-2_b", true),
            ("2nd", true),
            ("", false),
            ("-a", false),
            ("_a", false),
            ("a b", false),
            ("a.b", false),
            ("ä", false),
            (&"a".repeat(63), true),
            (&"a".repeat(64), false),
        ] {
            assert_eq!(is_name(name), fits, "{name}");
        }
    }
}
