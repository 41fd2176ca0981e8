//! What survives the process. Before a meter of a long window lets calls through, the store has counted them: a block at a
//! time, so that not every call waits for a write. After `kill -9`, what was counted ahead counts as used. What else
//! changes (the provider's word, what was used of a block) is written about once a second.
//!
//! A store that fails or hangs stops nothing: it is reported, and headroom counts on in memory.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::cell::{Cell, Inner, Marks, Shared};
use super::learned::scope;
use super::meter::{Meter, Snapshot};
use super::rule::Rule;
use super::time::{Nanos, Now, Steady};
use crate::charge::Lesson;
use crate::state::{LearnedRow, Loaded, MeterRow, State, Writes, Written};

/// Stored meters by account, policy and label: looked up without making a key of three texts.
type Kept = HashMap<Arc<str>, HashMap<Arc<str>, Labels>>;

/// Those of one policy, by label.
pub(super) type Labels = HashMap<String, Stored>;

/// A meter as it was stored.
#[derive(Debug)]
pub(super) struct Stored {
    reserved: u64,
    data: Vec<u8>,
}

/// The store, if there is one, and what it still has for meters that nobody asked for yet.
#[derive(Debug, Default)]
pub(super) struct Store {
    state: Option<State>,
    kept: Mutex<Kept>,
    dirty: Mutex<Vec<Arc<Cell>>>,
    /// Files that the store has begun, as of the last look.
    files: AtomicU64,
    /// By how much the wall clock was before the steady one when rows that are there were made, in milliseconds.
    clock: OnceLock<AtomicI64>,
    /// The hour of the steady clock in which rows were last looked through for those that ended.
    pruned: OnceLock<AtomicU64>,
}

impl Store {
    pub(super) fn new(loaded: Option<(State, Loaded)>) -> (Self, Vec<LearnedRow>) {
        let Some((state, loaded)) = loaded else {
            return (Self::default(), Vec::new());
        };
        let store = Self {
            state: Some(state),
            kept: Mutex::new(kept(loaded.meters)),
            dirty: Mutex::default(),
            ..Self::default()
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
        if kept.is_empty() {
            return None;
        }
        let stored = kept
            .get_mut(account)?
            .get_mut(&*rule.policy)?
            .remove(label)?;
        drop(kept);
        stored.meter(rule, now)
    }

    /// Whose meters are kept and were not asked for yet.
    pub(super) fn accounts(&self) -> BTreeSet<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.keys().map(|account| (**account).to_owned()).collect()
    }

    /// Takes all that is kept of one policy.
    pub(super) fn take_policy(&self, account: &str, policy: &str) -> Labels {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(policies) = kept.get_mut(account) else {
            return Labels::new();
        };
        let taken = policies.remove(policy).unwrap_or_default();
        if policies.is_empty() {
            kept.remove(account);
        }
        taken
    }

    /// Keeps also what a store has that was opened later.
    pub(super) fn take_over(&self, meters: Vec<MeterRow>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept(meters);
    }

    /// There was no room for these: whoever asks for one later gets it.
    pub(super) fn give_back(&self, account: &str, policy: &str, labels: Labels) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let policies = kept.entry(account.into()).or_default();
        policies.entry(policy.into()).or_default().extend(labels);
    }

    /// Counts calls ahead that these meters are about to let through.
    pub(super) async fn count_ahead(
        &self,
        cells: impl Iterator<Item = (Arc<Cell>, u64)>,
        now: Now,
    ) {
        let mut covers = Vec::new();
        for (cell, cost) in cells {
            let mut guard = cell.lock();
            let inner = &mut *guard;
            let block = inner.meter.block(&inner.rule, cost, now);
            inner.promise(block);
            let written = self.hand_over(&cell, inner, now);
            // Making the row has closed a window that was over.
            let promise = inner.meter.promise(block);
            drop(guard);
            covers.push((cell, promise, written));
        }
        for (cell, promise, written) in covers {
            // Once it is known that the store does not write, each call would wait in vain.
            if self.health().is_none() {
                self.settle(written, PATIENCE).await;
            }
            cell.lock().meter.cover(promise);
        }
    }

    /// Counts the next block ahead where the last one is half used up, so that no call waits for it. Nobody waits for this.
    pub(super) fn count_on(&self, cell: &Arc<Cell>, inner: &mut Inner, now: Now) {
        let Some(state) = self.state.as_ref().filter(|_| inner.rule.kept) else {
            return;
        };
        let Some(block) = inner.meter.next_block(&inner.rule, now) else {
            return;
        };
        // A store that fails is tried by calls that wait, one after the other, and by flushes.
        if inner.is_promised() || inner.marks.has(Marks::DEAD) || self.health().is_some() {
            return;
        }
        inner.meter.hurry(now);
        inner.promise(block);
        if let Some(row) = row(cell, inner, inner.ahead(), now) {
            // Making the row has closed a window that was over.
            let promise = inner.meter.promise(block);
            let cell = Arc::clone(cell);
            state.write_then(vec![row], move || cell.lock().meter.cover(promise));
        }
    }

    /// This meter has something new to store.
    pub(super) fn touch(&self, cell: &Arc<Cell>) {
        let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
        dirty.push(Arc::clone(cell));
    }

    /// Writes what changed. What cannot be written is tried again with the next flush: a meter that nobody asks any more
    /// would say nothing of itself again.
    pub(super) async fn flush(&self, now: Now) {
        let dirty = {
            let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *dirty)
        };
        let mut dirty = dirty.into_iter();
        loop {
            // Others want to be served meanwhile. While the store fails, one meter finds out whether it still does.
            let most = if self.health().is_some() { 1 } else { AT_ONCE };
            let part: Vec<_> = dirty.by_ref().take(most).collect();
            if part.is_empty() {
                return;
            }
            let mut writes = self.state.as_ref().map(State::writes);
            for cell in &part {
                let mut guard = cell.lock();
                guard.marks.take(Marks::DIRTY);
                // What it counts ahead becomes less with each round, also where nobody calls any more.
                let again = guard.relax(now) && guard.touch_again();
                if let Some(writes) = &mut writes
                    && let Some(row) = live_row(cell, &mut guard, now)
                {
                    writes.put(row);
                    guard.say();
                }
                if again {
                    self.touch(cell);
                }
                if !guard.meter.is_held() {
                    // The row says now that it is open.
                    guard.marks.take(Marks::STORED);
                }
            }
            let mut all = true;
            for one in writes.map_or_else(Vec::new, Writes::finish) {
                all &= self.settle(Some(one), LONG_PATIENCE).await;
            }
            if !all {
                for cell in part {
                    let mut inner = cell.lock();
                    if !inner.rule.kept {
                        inner.marks.put(Marks::STORED);
                    }
                    let is_new = inner.touch_again();
                    drop(inner);
                    if is_new {
                        self.touch(&cell);
                    }
                }
                let mut later = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
                later.extend(dirty);
                return;
            }
        }
    }

    /// Waits until a row is stored, but not for ever. Whether it is, or there was none. That the store fails is told where it
    /// begins to: every call of a busy gateway would say so again.
    async fn settle(&self, written: Option<Written>, patience: Duration) -> bool {
        let (Some(mut written), Some(state)) = (written, &self.state) else {
            return true;
        };
        let Ok(result) = tokio::time::timeout(patience, &mut written).await else {
            state.gave_up(&written);
            return false;
        };
        if let Err(error) = &result {
            tracing::debug!(error = %error, "The store cannot be written; headroom counts on in memory.");
        }
        result.is_ok()
    }

    /// Stores a meter at once, because the provider has said that nothing is left. Nobody waits for it.
    pub(super) fn keep(&self, cell: &Cell, inner: &mut Inner, now: Now) {
        drop(self.hand_over(cell, inner, now));
    }

    /// Hands a meter's row over while nobody else has the meter, so that rows of one meter arrive in their order.
    fn hand_over(&self, cell: &Cell, inner: &mut Inner, now: Now) -> Option<Written> {
        let state = self.state.as_ref()?;
        let row = live_row(cell, inner, now)?;
        Some(state.write(vec![row], Vec::new()))
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

    /// Writes everything, with nothing counted ahead. A disk that hangs does not hold up the end.
    pub(super) fn close(&self, cells: impl Iterator<Item = Arc<Cell>>, now: Now) {
        let Some(state) = &self.state else { return };
        let mut rows = Vec::new();
        for cell in cells {
            let mut guard = cell.lock();
            rows.extend(row(&cell, &mut guard, 0, now));
        }
        let written = state.write_blocking(rows, Vec::new());
        if let Err(error) = written.and_then(|()| state.clone().close()) {
            tracing::error!(error = %error, "The last counts could not be stored.");
        }
    }

    /// Forgets rows that say nothing any more, once an hour: each is looked at, and none is in the way. At the start the store
    /// itself does it.
    pub(super) fn prune(&self, now: Now) {
        let hour = now.steady.0 / HOUR.0;
        let pruned = self.pruned.get_or_init(|| AtomicU64::new(hour));
        let is_time = pruned.swap(hour, Ordering::Relaxed) != hour;
        if let Some(state) = self.state.as_ref().filter(|_| is_time) {
            // Nobody waits for it.
            drop(state.prune(now.wall_ms));
        }
    }

    /// Whether rows that were written are good for nothing: the store began a new file since the last time, in which no meter
    /// is, or the clock was set, so that a window in them ends at another time than it does.
    pub(super) fn has_lost_rows(&self, now: Now) -> bool {
        let files = self.state.as_ref().map_or(0, State::files);
        let has_new_file = self.files.swap(files, Ordering::Relaxed) != files;
        let steady_ms = i64::try_from(now.steady.0 / 1_000_000).unwrap_or(i64::MAX);
        let ahead_ms = now.wall_ms.saturating_sub(steady_ms);
        let clock = self.clock.get_or_init(|| AtomicI64::new(ahead_ms));
        let was_set = clock.load(Ordering::Relaxed).abs_diff(ahead_ms) > CLOCK_GRAIN_MS;
        if was_set {
            clock.store(ahead_ms, Ordering::Relaxed);
        }
        has_new_file || was_set
    }

    pub(super) fn health(&self) -> Option<String> {
        self.state.as_ref().and_then(State::health)
    }
}

impl Stored {
    /// As it goes on.
    pub(super) fn meter(&self, rule: &Rule, now: Now) -> Option<Meter> {
        match serde_json::from_slice::<Snapshot>(&self.data) {
            Ok(snapshot) => Some(Meter::restore(rule, &snapshot, self.reserved, now)),
            Err(error) => {
                tracing::warn!(policy = %rule.policy, error = %error, "A stored meter could not be read; it begins anew.");
                None
            }
        }
    }
}

/// Rows come in the order of their keys, and there may be a million: those of one policy find their place together.
fn kept(rows: Vec<MeterRow>) -> Kept {
    let mut kept = Kept::new();
    let mut rows = rows.into_iter().peekable();
    while let Some(first) = rows.next() {
        let (account, policy) = (first.account, first.policy);
        let mut labels = Labels::new();
        let mut put = |partition, reserved, data| {
            labels.insert(partition, Stored { reserved, data });
        };
        put(first.partition, first.reserved, first.data);
        while let Some(row) = rows.next_if(|row| row.policy == policy && row.account == account) {
            put(row.partition, row.reserved, row.data);
        }
        match kept.entry(account).or_default().entry(policy) {
            Entry::Vacant(place) => {
                place.insert(labels);
            }
            Entry::Occupied(mut place) => place.get_mut().extend(labels),
        }
    }
    kept
}

/// A clock that runs a little faster or slower than the other was not set. Resets are told in whole seconds.
const CLOCK_GRAIN_MS: u64 = 1_000;

/// Meters that are written in one go.
const AT_ONCE: usize = 1_000;

/// So long a call waits until it is counted ahead. A commit takes well below a millisecond, and that of a busy disk some
/// hundred: what takes longer hangs, and callers have time-outs of a few seconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Nobody waits for what is written once a second. But the round has to go on.
const LONG_PATIENCE: Duration = Duration::from_secs(5);

thread_local! {
    /// Where snapshots are written.
    static SNAPSHOT: RefCell<Vec<u8>> = RefCell::default();
}

const HOUR: Nanos = Nanos::from_secs(3_600);

/// A suspension that is worth the writing, as is a window of that length.
const LONG: Nanos = Nanos::from_secs(60);

/// The row of a meter that goes on. It counts ahead whatever an earlier one did, also where that is still on its way. A meter
/// that was forgotten has no row any more: it is that of the meter in its place.
fn live_row(cell: &Cell, inner: &mut Inner, now: Now) -> Option<MeterRow> {
    if inner.marks.has(Marks::DEAD) {
        return None;
    }
    row(cell, inner, inner.ahead(), now)
}

/// A meter as a row; `None` for those that need not survive. A row that says what is not so any more has to be written over.
fn row(cell: &Cell, inner: &mut Inner, ahead: u64, now: Now) -> Option<MeterRow> {
    let Inner {
        meter, rule, marks, ..
    } = inner;
    if !rule.kept && !marks.has(Marks::STORED) {
        let suspended = meter.standing(rule, now).suspended;
        if suspended.is_none_or(|until: Steady| until.since(now.steady) <= LONG) {
            return None;
        }
        marks.put(Marks::STORED);
    }
    let snapshot = meter.snapshot(rule, now);
    // Not one that grows on the way, nor one with more room than is needed: there may be thousands of them.
    let data = SNAPSHOT.with_borrow_mut(|text| {
        text.clear();
        serde_json::to_writer(&mut *text, &snapshot).ok()?;
        Some(text.clone())
    })?;
    let ends_ms = now.wall_at(meter.matters_until(rule, now));
    Some(MeterRow {
        account: Arc::clone(&cell.account.identity),
        policy: Arc::clone(&rule.policy),
        partition: cell.label().to_owned(),
        reserved: ahead,
        ends_ms,
        data,
    })
}

#[cfg(test)]
mod tests;
