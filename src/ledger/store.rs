//! What survives the process. Before a meter of a long window lets calls through, the store has counted them: a block at a
//! time, so that not every call waits for a write. After `kill -9`, what was counted ahead counts as used. What else
//! changes (the provider's word, what was used of a block) is written about once a second.
//!
//! A store that fails stops nothing: it is reported, and headroom counts on in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::cell::{Cell, Shared};
use super::learned::scope;
use super::meter::{Meter, Snapshot};
use super::rule::{Motion, Rule};
use super::time::Now;
use crate::charge::Lesson;
use crate::state::{LearnedRow, Loaded, MeterKey, MeterRow, State};

/// The store, if there is one, and what it still has for meters that nobody asked for yet.
#[derive(Debug, Default)]
pub(super) struct Store {
    state: Option<State>,
    kept: Mutex<HashMap<MeterKey, MeterRow>>,
    dirty: Mutex<Vec<Arc<Cell>>>,
}

impl Store {
    pub(super) fn new(loaded: Option<(State, Loaded)>) -> (Self, Vec<LearnedRow>) {
        let Some((state, loaded)) = loaded else {
            return (Self::default(), Vec::new());
        };
        let rows = loaded.meters.into_iter();
        let kept = rows.map(|row| {
            let key = MeterKey {
                account: row.account.clone(),
                policy: row.policy.clone(),
                partition: row.partition.clone(),
            };
            (key, row)
        });
        let store = Self {
            state: Some(state),
            kept: Mutex::new(kept.collect()),
            dirty: Mutex::default(),
        };
        (store, loaded.learned)
    }

    /// There is a store.
    pub(super) const fn is_there(&self) -> bool {
        self.state.is_some()
    }

    /// What was stored of a meter.
    pub(super) fn take_kept(
        &self,
        account: &str,
        rule: &Rule,
        label: &str,
        now: Now,
    ) -> Option<Meter> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_empty() || !rule.kept {
            return None;
        }
        let row = kept.remove(&MeterKey {
            account: account.to_owned(),
            policy: rule.policy.to_string(),
            partition: label.to_owned(),
        })?;
        match serde_json::from_slice::<Snapshot>(&row.data) {
            Ok(snapshot) => Some(Meter::restore(rule, &snapshot, row.reserved, now)),
            Err(error) => {
                tracing::warn!(policy = %rule.policy, error = %error, "A stored meter could not be read; it begins anew.");
                None
            }
        }
    }

    /// Counts calls ahead that these meters are about to let through.
    pub(super) async fn count_ahead(
        &self,
        cells: impl Iterator<Item = (Arc<Cell>, u64)>,
        now: Now,
    ) {
        let mut rows = Vec::new();
        let mut covers = Vec::new();
        for (cell, cost) in cells {
            let mut guard = cell.lock();
            let inner = &mut *guard;
            let ahead = inner.meter.block(&inner.rule, cost);
            let admitted = inner.meter.admitted();
            rows.extend(row(&cell, &inner.rule, &mut inner.meter, ahead, now));
            drop(guard);
            covers.push((cell, admitted, ahead));
        }
        if let Some(state) = &self.state
            && let Err(error) = state.write(rows, Vec::new()).await
        {
            tracing::error!(error = %error, "The store cannot be written; headroom counts on in memory.");
        }
        for (cell, admitted, ahead) in covers {
            cell.lock().meter.cover(admitted, ahead);
        }
    }

    /// This meter has something new to store.
    pub(super) fn touch(&self, cell: &Arc<Cell>) {
        if !self.is_there() {
            return;
        }
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        dirty.push(Arc::clone(cell));
    }

    /// Writes what changed.
    pub(super) async fn flush(&self, now: Now) {
        let Some(state) = &self.state else { return };
        let dirty = {
            let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *dirty)
        };
        let mut rows = Vec::new();
        for cell in &dirty {
            let mut guard = cell.lock();
            let inner = &mut *guard;
            inner.dirty = false;
            let ahead = inner.meter.ahead();
            rows.extend(row(cell, &inner.rule, &mut inner.meter, ahead, now));
        }
        if !rows.is_empty()
            && let Err(error) = state.write(rows, Vec::new()).await
        {
            tracing::error!(error = %error, "The store cannot be written; headroom counts on in memory.");
        }
    }

    pub(super) fn learn(&self, account: &str, lesson: &Lesson<'_>, now: Now) {
        if let Some(state) = &self.state {
            let row = LearnedRow {
                account: account.to_owned(),
                scope: scope(lesson.partition, lesson.from),
                from: lesson.value.clone(),
                to: lesson.learned.clone(),
                learned_ms: now.wall_ms,
            };
            // Nobody waits for it: what is lost is learned again.
            drop(state.write(Vec::new(), vec![row]));
        }
    }

    /// Writes everything, with nothing counted ahead.
    pub(super) fn close(&self, cells: impl Iterator<Item = Arc<Cell>>, now: Now) {
        let Some(state) = &self.state else { return };
        let mut rows = Vec::new();
        for cell in cells {
            let mut guard = cell.lock();
            let inner = &mut *guard;
            rows.extend(row(&cell, &inner.rule, &mut inner.meter, 0, now));
        }
        let written = state.write_blocking(rows, Vec::new());
        if let Err(error) = written.and_then(|()| state.clone().close()) {
            tracing::error!(error = %error, "The last counts could not be stored.");
        }
    }

    /// Forgets rows that say nothing any more.
    pub(super) fn prune(&self, now: Now) {
        if let Some(state) = &self.state {
            // Nobody waits for it.
            drop(state.prune(now.wall_ms));
        }
    }

    pub(super) fn health(&self) -> Option<String> {
        self.state.as_ref().and_then(State::health)
    }
}

/// A meter as a row; `None` for those that need not survive.
fn row(cell: &Cell, rule: &Rule, meter: &mut Meter, ahead: u64, now: Now) -> Option<MeterRow> {
    if !rule.kept {
        return None;
    }
    let snapshot = meter.snapshot(rule, now);
    // A month is the longest window; what the provider suspended can last as long.
    let longest_secs = match &rule.motion {
        Motion::InFlight(_) => return None,
        _ => rule.window_secs.unwrap_or(0).max(32 * 86_400),
    };
    let longest_ms = i64::try_from(longest_secs.saturating_mul(1_000)).unwrap_or(i64::MAX);
    Some(MeterRow {
        account: cell.account.identity.to_string(),
        policy: rule.policy.to_string(),
        partition: cell.label.to_string(),
        reserved: ahead,
        ends_ms: now.wall_ms.saturating_add(longest_ms),
        data: serde_json::to_vec(&snapshot).ok()?,
    })
}
