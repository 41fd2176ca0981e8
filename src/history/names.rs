//! How many names there may be. Paths and credentials come from callers, who can make up any number of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::state::history::Series;

/// Endpoints of one connection that are told apart.
pub const MOST_ENDPOINTS: usize = 200;
/// Callers without a key that are told apart.
pub const MOST_STRANGERS: usize = 200;
/// What the rest is called.
pub const OTHER: &str = "(other)";

/// The names there are.
#[derive(Debug, Default)]
pub(super) struct Names {
    endpoints: HashMap<Arc<str>, HashSet<Arc<str>>>,
    strangers: HashSet<Arc<str>>,
}

impl Names {
    /// Takes in what the store has.
    pub(super) fn know(&mut self, series: &Series) {
        self.endpoint(&series.connection, &series.endpoint);
        if is_stranger(&series.consumer) {
            self.stranger(&series.consumer);
        }
    }

    /// The series as it is counted.
    pub(super) fn bounded(&mut self, mut series: Series) -> Arc<Series> {
        if !self.endpoint(&series.connection, &series.endpoint) {
            series.endpoint = OTHER.into();
        }
        if is_stranger(&series.consumer) && !self.stranger(&series.consumer) {
            series.consumer = OTHER.into();
        }
        Arc::new(series)
    }

    fn endpoint(&mut self, connection: &Arc<str>, endpoint: &Arc<str>) -> bool {
        if endpoint.is_empty() {
            return true;
        }
        let known = self.endpoints.entry(Arc::clone(connection)).or_default();
        has_or_takes(known, endpoint, MOST_ENDPOINTS)
    }

    fn stranger(&mut self, name: &Arc<str>) -> bool {
        has_or_takes(&mut self.strangers, name, MOST_STRANGERS)
    }
}

fn has_or_takes(known: &mut HashSet<Arc<str>>, name: &Arc<str>, most: usize) -> bool {
    if known.contains(name) {
        return true;
    }
    let room = known.len() < most;
    if room {
        known.insert(Arc::clone(name));
    }
    room
}

fn is_stranger(name: &str) -> bool {
    name.starts_with("credential:")
}
