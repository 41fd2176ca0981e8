//! Whose budget a call uses: one walk over the parts of a partition spells its label. The key is a keyed hash of the label's
//! bytes, which are not put together for it.

use std::borrow::Cow;
use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip::SipHasher13;
use siphasher::sip128::{Hasher128, SipHasher13 as SipHasher128};

use super::endpoint;
use crate::adapter::{Adapter, Applies, Call, CredentialPlace, PartitionPart, Policy};

/// Who calls, as far as partitions are concerned.
#[derive(Clone, Copy)]
pub struct Account<'a> {
    /// A keyed hash of the credential that the provider gets, as text (best 12 to 32 hexadecimal digits): it stands in
    /// labels. Empty for a call without one.
    pub credential: &'a str,
    /// The user said that this connection is one account. A mount of the catalogue without configuration passes the
    /// credentials of its callers through, and they may be of many accounts; there each credential counts as one.
    pub configured: bool,
    /// The secret that keys are made with. Labels that had to be hashed, and keys, are the same as long as it is.
    pub secret: (u64, u64),
}

impl fmt::Debug for Account<'_> {
    /// Without the secret: who knows it can look for credentials in labels.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            credential,
            configured,
            secret: _,
        } = self;
        out.debug_struct("Account")
            .field("credential", credential)
            .field("configured", configured)
            .finish_non_exhaustive()
    }
}

/// What has been learned: (partition, from, value) → the partition's value, as in [`super::Lesson`]; names without braces.
pub type Learned<'a> = dyn Fn(&str, &str, &str) -> Option<Arc<str>> + 'a;

/// Whose budget a call uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Identifies it among all partitions of one policy of one connection. It is made of the label's bytes.
    pub key: u128,
    /// The key of the partition in which calls are counted as long as nobody knows their true one. Partitions of one policy
    /// with the same `shared` may turn out to be the same; it is `key` itself where nothing has to be learned, and while it
    /// is unknown.
    pub shared: u128,
    /// What would have to be learned to know the true partition.
    pub unknown: Option<Box<Unknown>>,
}

/// What is not known of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The name of the part, without braces: `organization`.
    pub partition: Arc<str>,
    /// What the path has instead: `workspace`.
    pub from: Arc<str>,
    /// Its value.
    pub value: String,
}

/// The partition that a call uses of a policy.
pub(crate) fn find(
    adapter: &Adapter,
    policy: &Policy,
    call: &Call<'_>,
    who: &Account<'_>,
    learned: &Learned<'_>,
) -> Partition {
    let walk = |learned| {
        let mut key = Key(SipHasher128::new_with_keys(who.secret.0, who.secret.1));
        let walk = Walk {
            adapter,
            policy,
            call,
            who,
            learned,
        };
        let unknown = walk.spell(&mut key);
        (key.0.finish128().as_u128(), unknown)
    };
    let (key, unknown) = walk(Some(learned));
    let shared = if policy.learn.is_empty() {
        key
    } else {
        walk(None).0
    };
    Partition {
        key,
        shared,
        unknown: unknown.map(Box::new),
    }
}

/// Whether every call has the same partition of both policies.
pub(super) fn is_shared(one: &Policy, other: &Policy) -> bool {
    let has_paths = |policy: &Policy| matches!(policy.applies, Applies::When(_));
    one.partition == other.partition
        && one.partition.iter().all(|part| match part {
            // What a policy captures, and learns, is its own.
            PartitionPart::Capture(_) => false,
            PartitionPart::Endpoint => !has_paths(one) && !has_paths(other),
            _ => true,
        })
}

/// The key of the partition with this label, as a call's partition has it.
#[must_use]
pub fn key_of(label: &str, secret: (u64, u64)) -> u128 {
    let mut key = Key(SipHasher128::new_with_keys(secret.0, secret.1));
    key.write(label.as_bytes());
    key.0.finish128().as_u128()
}

/// The partition's name for people and for storage: `credential=1f3a9c0d2e4b/organization=1234567`. It never contains a
/// credential, and is the same after a restart. Empty where the whole connection is one partition, or no policy has this
/// index.
#[must_use]
pub fn label(
    adapter: &Adapter,
    policy: usize,
    call: &Call<'_>,
    who: &Account<'_>,
    learned: &Learned<'_>,
) -> String {
    let mut label = Label::default();
    if let Some(policy) = adapter.policies.get(policy) {
        let walk = Walk {
            adapter,
            policy,
            call,
            who,
            learned: Some(learned),
        };
        walk.spell(&mut label);
    }
    // It is ASCII: whatever is not has been hashed.
    String::from_utf8_lossy(&label.0).into_owned()
}

/// Where a label goes.
trait Sink {
    fn write(&mut self, bytes: &[u8]);
}

/// Hashed.
struct Key(SipHasher128);

impl Sink for Key {
    fn write(&mut self, bytes: &[u8]) {
        Hasher::write(&mut self.0, bytes);
    }
}

/// Spelled.
#[derive(Default)]
struct Label(Vec<u8>);

impl Sink for Label {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// What is not there.
const ABSENT: &[u8] = b"-";

/// What is not known.
const UNKNOWN: &[u8] = b"?";

/// The longest value that is shown.
const MAX_SHOWN: usize = 64;

struct Walk<'a> {
    adapter: &'a Adapter,
    policy: &'a Policy,
    call: &'a Call<'a>,
    who: &'a Account<'a>,
    /// What has been learned; `None`: nothing that may have to be learned is to be told apart.
    learned: Option<&'a Learned<'a>>,
}

impl Walk<'_> {
    /// Spells the parts. What is constant for the whole connection is left out.
    fn spell<S: Sink>(&self, to: &mut S) -> Option<Unknown> {
        let mut unknown = None;
        let mut first = true;
        for part in &self.policy.partition {
            let name: &str = match part {
                PartitionPart::Account if self.who.configured => continue,
                PartitionPart::Address | PartitionPart::Host => continue,
                PartitionPart::Account => "account",
                PartitionPart::Credential => "credential",
                PartitionPart::Endpoint => "endpoint",
                PartitionPart::Method => "method",
                PartitionPart::Capture(name) => name,
                PartitionPart::Header(name) | PartitionPart::SecretHeader(name) => name.as_str(),
            };
            if !first {
                to.write(b"/");
            }
            first = false;
            to.write(name.as_bytes());
            to.write(b"=");
            match part {
                // Spelled as headers are: each is one text without surprises, but it comes from outside this module.
                PartitionPart::Account | PartitionPart::Credential => {
                    match self.who.credential.as_bytes() {
                        b"" => to.write(ABSENT),
                        credential => self.value(credential, true, to),
                    }
                }
                PartitionPart::Address | PartitionPart::Host => {}
                PartitionPart::Endpoint => self.endpoint(to),
                PartitionPart::Method => self.value(self.call.method.as_str().as_bytes(), true, to),
                PartitionPart::Capture(name) => {
                    unknown = self.capture(name, to).or(unknown);
                }
                PartitionPart::Header(name) => self.header(name, self.may_show(name), to),
                PartitionPart::SecretHeader(name) => self.header(name, false, to),
            }
        }
        unknown
    }

    /// The header in which this provider wants its credential is not shown, whatever its name.
    fn may_show(&self, name: &http::HeaderName) -> bool {
        !matches!(&self.adapter.credential, CredentialPlace::Header { name: secret, .. } if secret == name)
    }

    fn header<S: Sink>(&self, name: &http::HeaderName, show: bool, to: &mut S) {
        let Some(headers) = self.call.headers else {
            return to.write(UNKNOWN);
        };
        match headers.get(name) {
            Some(value) => {
                let show = show && !value.is_sensitive();
                self.value(value.as_bytes().trim_ascii(), show, to);
            }
            None => to.write(ABSENT),
        }
    }

    /// The captured segment, or what it stands for. Tells what would have to be learned.
    fn capture<S: Sink>(&self, name: &str, to: &mut S) -> Option<Unknown> {
        let rules = self.policy.learn.iter();
        let mut rules = rules.filter(|rule| &*rule.partition == name).peekable();
        if self.learned.is_none() && rules.peek().is_some() {
            to.write(UNKNOWN);
            return None;
        }
        if let Some(value) = self.segment(name) {
            self.value(&decoded(value), true, to);
            return None;
        }
        let mut unknown = None;
        for rule in rules {
            let Some(value) = self.segment(&rule.from) else {
                continue;
            };
            let value = decoded(value);
            let value = String::from_utf8_lossy(&value);
            if let Some(known) = self
                .learned
                .and_then(|learned| learned(name, &rule.from, &value))
            {
                self.value(known.as_bytes(), true, to);
                return None;
            }
            unknown.get_or_insert_with(|| Unknown {
                partition: Arc::clone(&rule.partition),
                from: Arc::clone(&rule.from),
                value: value.into_owned(),
            });
        }
        to.write(UNKNOWN);
        unknown
    }

    /// The segment that a path of `applies` captures, of a condition that takes the call.
    fn segment(&self, name: &str) -> Option<&str> {
        let (Some(path), Applies::When(conditions)) = (self.call.path, &self.policy.applies) else {
            return None;
        };
        conditions
            .iter()
            .filter(|condition| condition.holds(self.call) != Some(false))
            .flat_map(|condition| &condition.paths)
            .find_map(|template| template.capture(path, name))
    }

    /// Method and path template: that of `applies`, where one names this very path, else one guessed from the path.
    fn endpoint<S: Sink>(&self, to: &mut S) {
        let method = self.call.method.as_str().as_bytes();
        to.write(b"\"");
        // Methods are tokens: there is nothing to escape in them. Nobody's own are that long.
        to.write(if method.len() > MAX_SHOWN {
            b"*"
        } else {
            method
        });
        to.write(b" ");
        match self.call.path {
            None => to.write(UNKNOWN),
            Some(path) => {
                let known = match &self.policy.applies {
                    Applies::When(conditions) => conditions
                        .iter()
                        .filter(|condition| condition.holds(self.call) != Some(false))
                        .flat_map(|condition| &condition.paths)
                        .find(|template| template.is_exact() && template.fits(path)),
                    Applies::Always | Applies::Otherwise => None,
                };
                match known {
                    Some(template) => escaped(template.as_str().as_bytes(), to),
                    None => endpoint::template(path, &mut |piece| escaped(piece, to)),
                }
            }
        }
        to.write(b"\"");
    }

    /// A value from outside: bare where it is a plain word, in quotes where it can be shown, else hashed.
    fn value<S: Sink>(&self, value: &[u8], show: bool, to: &mut S) {
        let printable = |byte: &u8| (b' '..=b'~').contains(byte);
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._~:@+-,".contains(byte);
        if !show || value.len() > MAX_SHOWN || !value.iter().all(printable) {
            let mut hash = SipHasher13::new_with_keys(self.who.secret.0, self.who.secret.1);
            hash.write(value);
            let hash = hash.finish();
            let mut digits = [0; 16];
            for (at, digit) in digits.iter_mut().enumerate() {
                let nibble = (hash >> (60 - 4 * at)) & 15;
                *digit = b"0123456789abcdef"
                    .get(usize::try_from(nibble).unwrap_or(0))
                    .copied()
                    .unwrap_or(b'0');
            }
            // A plain word has no `#`, so that no shown value can pretend to be a hashed one.
            to.write(b"#");
            to.write(&digits);
        } else if !value.is_empty() && value != ABSENT && value.iter().all(plain) {
            to.write(value);
        } else {
            to.write(b"\"");
            escaped(value, to);
            to.write(b"\"");
        }
    }
}

/// Text in quotes.
fn escaped<S: Sink>(text: &[u8], to: &mut S) {
    for piece in text.split_inclusive(|byte| matches!(byte, b'"' | b'\\')) {
        match piece.split_last() {
            Some((special @ (b'"' | b'\\'), before)) => {
                to.write(before);
                to.write(&[b'\\', *special]);
            }
            _ => to.write(piece),
        }
    }
}

/// A path segment without percent-encoding: two spellings of one segment are one. What is no encoding stays as it is.
pub(super) fn decoded(segment: &str) -> Cow<'_, [u8]> {
    let bytes = segment.as_bytes();
    if !bytes.contains(&b'%') {
        return Cow::Borrowed(bytes);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let code = match (byte, after) {
            (b'%', [high, low, ..]) => digit(*high)
                .zip(digit(*low))
                .and_then(|(high, low)| u8::try_from(high * 16 + low).ok()),
            _ => None,
        };
        match code {
            Some(code) => {
                out.push(code);
                rest = after.get(2..).unwrap_or_default();
            }
            None => out.push(*byte),
        }
    }
    Cow::Owned(out)
}
