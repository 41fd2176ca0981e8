//! Who called what: the rows of the dictionary.

use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use hashbrown::DefaultHashBuilder;

/// Who called what, and what came of it; or whose quota was used by whom, when `policy` is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series {
    /// The connection.
    pub connection: Arc<str>,
    /// The adapter's id.
    pub provider: Arc<str>,
    /// The consumer's name, or the hash of a credential.
    pub consumer: Arc<str>,
    /// The method; empty for a policy.
    pub method: Arc<str>,
    /// The template of the path; empty for a policy.
    pub endpoint: Arc<str>,
    /// The status that the caller got; 0: none, it went away before.
    pub status: u16,
    /// The provider's status where the caller got another one; 0: the same, or none.
    pub upstream_status: u16,
    /// `headroom` or `provider` where a quota was in the way; else empty.
    pub refused_by: Arc<str>,
    /// The policy; empty for calls.
    pub policy: Arc<str>,
    /// What the policy counts; empty for calls.
    pub unit: Arc<str>,
}

/// A series that many share, with its hash: thousands are looked up each second, and to read their texts for it takes longer
/// than all the rest. Two are the same if what they stand for is.
#[derive(Debug, Clone)]
pub struct SeriesRef {
    hash: u64,
    series: Arc<Series>,
}

/// One for all, so that a hash is the same wherever it was made.
static HASHER: LazyLock<DefaultHashBuilder> = LazyLock::new(DefaultHashBuilder::default);

impl From<Series> for SeriesRef {
    fn from(series: Series) -> Self {
        Self {
            hash: HASHER.hash_one(&series),
            series: Arc::new(series),
        }
    }
}

impl Deref for SeriesRef {
    type Target = Series;

    fn deref(&self) -> &Series {
        &self.series
    }
}

impl PartialEq for SeriesRef {
    fn eq(&self, other: &Self) -> bool {
        // That they are one is seen without a look at either.
        self.hash == other.hash && self.series == other.series
    }
}

impl Eq for SeriesRef {}

impl Hash for SeriesRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn series(status: u16) -> SeriesRef {
        SeriesRef::from(Series {
            connection: "crm".into(),
            provider: "hubspot".into(),
            consumer: "reports".into(),
            method: "GET".into(),
            endpoint: "/a".into(),
            status,
            upstream_status: 0,
            refused_by: "".into(),
            policy: "".into(),
            unit: "".into(),
        })
    }

    #[test]
    fn what_stands_for_the_same_is_the_same_wherever_it_was_made() {
        let one = series(200);
        assert_eq!((&one, &one), (&one.clone(), &series(200)));
        assert_ne!(one, series(404));
        let known: HashSet<SeriesRef> = [one, series(404)].into();
        assert!(known.contains(&series(200)) && !known.contains(&series(500)));
    }
}
