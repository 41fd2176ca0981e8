//! Whose budget a call uses: one walk over the parts of a partition, which either hashes or spells them.

use std::sync::Arc;

use crate::adapter::{Adapter, Call, Policy};

/// Who calls, as far as partitions are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Account<'a> {
    /// A keyed hash of the credential that the provider gets, as text (best 12 to 32 hexadecimal digits): it stands in labels.
    pub credential: &'a str,
    /// The user said that this connection is one account. A mount of the catalogue without configuration passes the
    /// credentials of its callers through, and they may be of many accounts; there each credential counts as one.
    pub configured: bool,
    /// The secret that keys are made with. Labels that had to be hashed, and keys, are the same as long as it is.
    pub secret: (u64, u64),
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
pub(super) fn find(
    policy: &Policy,
    call: &Call<'_>,
    who: &Account<'_>,
    learned: &Learned<'_>,
) -> Partition {
    let _ = (policy, call, who, learned);
    Partition {
        key: 0,
        shared: 0,
        unknown: None,
    }
}

/// The partition's name for people and for storage: `credential=1f3a9c0d2e4b/organization=1234567`. It never contains a
/// credential, and is the same after a restart.
#[must_use]
pub fn label(
    adapter: &Adapter,
    policy: usize,
    call: &Call<'_>,
    who: &Account<'_>,
    learned: &Learned<'_>,
) -> String {
    let _ = (adapter, policy, call, who, learned);
    String::new()
}
