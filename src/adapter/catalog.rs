//! The adapters that are there: those built in, and those of the user's folders beside or instead of them.
//!
//! A built-in adapter is compiled at its first use, so that start-up does not grow with the catalogue.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::Adapter;
use super::parse::parse;
use crate::diagnostic::Mistakes;

include!(concat!(env!("OUT_DIR"), "/catalog.rs"));

/// Built in, compiled at first use; beside [`SHIPPED`] by index.
static COMPILED: [OnceLock<Option<Arc<Adapter>>>; SHIPPED.len()] =
    [const { OnceLock::new() }; SHIPPED.len()];

/// Ids and texts of the adapters that are built in, sorted by id.
#[must_use]
pub const fn shipped() -> &'static [(&'static str, &'static str)] {
    SHIPPED
}

/// A set of adapters.
#[derive(Debug, Default)]
pub struct Catalog {
    /// The user's own; they go before the built-in ones.
    added: BTreeMap<String, Arc<Adapter>>,
}

impl Catalog {
    /// Adds or replaces an adapter by the text of its file.
    ///
    /// # Errors
    /// The file's mistakes; nothing is added.
    pub fn add(&mut self, id: &str, source: &str) -> Result<(), Mistakes> {
        let adapter = parse(id, source)?;
        self.added.insert(id.to_owned(), Arc::new(adapter));
        Ok(())
    }

    /// An adapter by its id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Adapter>> {
        if let Some(adapter) = self.added.get(id) {
            return Some(Arc::clone(adapter));
        }
        let index = SHIPPED.binary_search_by_key(&id, |(id, _)| id).ok()?;
        let (id, source) = SHIPPED.get(index)?;
        COMPILED
            .get(index)?
            .get_or_init(|| match parse(id, source) {
                Ok(adapter) => Some(Arc::new(adapter)),
                Err(mistakes) => {
                    // `tests/catalog.rs` keeps this from ever being shipped.
                    tracing::error!(
                        adapter = id,
                        mistakes = mistakes.len(),
                        "a built-in adapter has mistakes"
                    );
                    None
                }
            })
            .clone()
    }

    /// Whether the adapter of this id is one of the user's own.
    #[must_use]
    pub fn is_users(&self, id: &str) -> bool {
        self.added.contains_key(id)
    }

    /// All ids, sorted.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = SHIPPED
            .iter()
            .map(|(id, _)| *id)
            .chain(self.added.keys().map(String::as_str))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}
