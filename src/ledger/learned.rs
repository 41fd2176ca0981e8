//! What answers have taught: which organization a workspace belongs to.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::charge::Lesson;
use crate::state::LearnedRow;

/// Lessons that are remembered. More than that is not one user's workspaces; later ones are not learned.
const MOST: usize = 100_000;

/// All lessons, by account, what they are about, and what was known.
#[derive(Debug, Default)]
pub(super) struct Learned(RwLock<HashMap<Key, Arc<str>>>);

/// Account, what it is about, what was known.
type Key = (Box<str>, Box<str>, Box<str>);

impl Learned {
    pub(super) fn new(rows: Vec<LearnedRow>) -> Self {
        let learned = Self::default();
        learned.join(rows);
        learned
    }

    /// Adds what an earlier process has learned. What is known is newer.
    pub(super) fn join(&self, rows: Vec<LearnedRow>) {
        let mut lessons = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for row in rows {
            if lessons.len() >= MOST {
                return;
            }
            let key = (row.account.into(), row.scope.into(), row.from.into());
            lessons.entry(key).or_insert_with(|| Arc::from(row.to));
        }
    }

    /// Whether it was new.
    pub(super) fn add(&self, account: &str, lesson: &Lesson<'_>) -> bool {
        let (partition, from, value) = (lesson.partition, lesson.from, &lesson.value);
        if self.get(account, partition, from, value).as_deref() == Some(&lesson.learned) {
            return false;
        }
        let mut lessons = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let key = (
            account.into(),
            scope(partition, from).into(),
            value.as_str().into(),
        );
        if lessons.len() >= MOST && !lessons.contains_key(&key) {
            return false;
        }
        lessons.insert(key, Arc::from(lesson.learned.as_str()));
        true
    }

    pub(super) fn get(
        &self,
        account: &str,
        partition: &str,
        from: &str,
        value: &str,
    ) -> Option<Arc<str>> {
        let lessons = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if lessons.is_empty() {
            return None;
        }
        let key = (account.into(), scope(partition, from).into(), value.into());
        lessons.get(&key).cloned()
    }
}

/// What a lesson is about.
pub(super) fn scope(partition: &str, from: &str) -> String {
    format!("{partition} of {from}")
}
