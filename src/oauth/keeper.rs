//! The newest refresh tokens. Where a token endpoint gives another one with each answer, the configured one is good once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::secret::Secret;
use crate::state::{State, WarningRow};

/// The kind of the rows in the store. They lie in its table of notes, which is named after those who had it first. The file
/// is its owner's alone (0600).
pub const ROWS: &str = "refresh-token";

/// A call waits so long for the store: a token that is not stored is better than no token.
const PATIENCE: Duration = Duration::from_secs(2);

/// The newest refresh token of each line.
#[derive(Default)]
pub struct Keeper {
    store: Option<State>,
    newest: Mutex<HashMap<String, Secret>>,
}

impl Keeper {
    /// With what an earlier process left: rows of [`ROWS`]; others are passed over.
    #[must_use]
    pub fn new(store: Option<State>, rows: &[WarningRow]) -> Self {
        Self {
            store,
            newest: Mutex::new(tokens(rows).collect()),
        }
    }

    /// A store was found late: takes in what an earlier process left in it, and gives what has to be written into it. What
    /// this process was given is newer.
    pub(super) fn take_over(&self, rows: &[WarningRow]) -> Vec<WarningRow> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        for (line, token) in tokens(rows) {
            newest.entry(line).or_insert(token);
        }
        newest.iter().map(row).collect()
    }

    /// The newest of a line; `None`: the configured one.
    pub(super) fn newest(&self, line: &str) -> Option<Secret> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.get(line).cloned()
    }

    /// Remembers it, and waits until a restart does not lose it. Writes all: the file may be a new one.
    pub(super) async fn keep(&self, line: &str, token: Secret) {
        let rows = {
            let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
            newest.insert(line.to_owned(), token);
            newest.iter().map(row).collect()
        };
        let Some(store) = &self.store else {
            tracing::warn!(
                "A provider has rotated its refresh token, and there is no state to keep the new one in: a restart needs another one in the configuration."
            );
            return;
        };
        let mut written = store.write_warnings(rows);
        match tokio::time::timeout(PATIENCE, &mut written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!("A rotated refresh token is not stored: {error}");
            }
            Err(_) => {
                store.gave_up(&written);
                tracing::error!("A rotated refresh token is not stored yet.");
            }
        }
    }
}

/// The rows of [`ROWS`], and the others, which are not the keeper's.
#[must_use]
pub fn part(rows: Vec<WarningRow>) -> (Vec<WarningRow>, Vec<WarningRow>) {
    rows.into_iter().partition(|row| row.kind == ROWS)
}

fn tokens(rows: &[WarningRow]) -> impl Iterator<Item = (String, Secret)> {
    let tokens = rows.iter().filter(|row| row.kind == ROWS);
    tokens.filter_map(|row| {
        let text = String::from_utf8(row.data.clone()?).ok()?;
        Some((row.key.clone(), Secret::from(text)))
    })
}

fn row((line, token): (&String, &Secret)) -> WarningRow {
    WarningRow {
        kind: ROWS.to_owned(),
        key: line.clone(),
        data: Some(token.expose().as_bytes().to_vec()),
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Keeper").finish_non_exhaustive()
    }
}
