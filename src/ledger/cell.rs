//! A meter that calls share, and the decision over several of them at once: all or nothing.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::{SmallVec, smallvec};

use super::account::Account;
use super::meter::{Caller, Meter, Obstacle, Taken, Until};
use super::queue::{Place, Queue};
use super::rule::Rule;
use super::store::Store;
use super::time::Now;

/// As many as most calls have policies.
pub type Few<T> = SmallVec<[T; 2]>;

/// A count that nothing ends is told for so many sweeps after its last call.
const QUIET: u16 = 120;

/// A meter that calls share.
#[derive(Debug)]
pub struct Cell {
    /// Whose budget it is, for people and for the store; empty: the whole connection's.
    pub label: Box<str>,
    /// The account that it was made for.
    pub account: Arc<Account>,
    /// Somebody vouches for whoever made it.
    pub(super) is_resident: bool,
    /// Where it is kept.
    pub(super) store: Arc<Store>,
    inner: Mutex<Inner>,
}

/// What a cell's lock protects.
#[derive(Debug)]
pub struct Inner {
    /// The state.
    pub meter: Meter,
    /// What it is held to. A reload of the configuration may put another in its place.
    pub rule: Arc<Rule>,
    /// Calls that wait for it.
    pub(super) queue: Queue,
    /// It was forgotten: whoever still has it must ask for the new one.
    pub(super) dead: bool,
    /// It waits to be stored.
    pub(super) dirty: bool,
    /// Sweeps since anybody called.
    quiet: u16,
    /// Calls that were let through and have no answer yet, whatever they cost.
    open: u32,
    /// What may have been let through once the rows that were handed to the store are there. Until then the meter itself
    /// does not know of it.
    pub(super) promised: u64,
}

impl Inner {
    /// A meter nobody waits for.
    #[must_use]
    pub fn new(meter: Meter, rule: Arc<Rule>) -> Self {
        Self {
            meter,
            rule,
            queue: Queue::default(),
            dead: false,
            dirty: false,
            quiet: 0,
            open: 0,
            promised: 0,
        }
    }

    /// What is in the way of a call; else whether the store has counted it.
    fn judge(
        &mut self,
        want: &Want<'_>,
        caller: Caller,
        place: Option<&Place>,
        now: Now,
    ) -> Result<bool, Obstacle> {
        if !Arc::ptr_eq(&self.rule, want.rule) {
            self.rule = Arc::clone(want.rule);
        }
        self.meter.check(&self.rule, want.cost, caller, now)?;
        match self.queue.precedes(caller, place) {
            Some(obstacle) => Err(obstacle),
            None => Ok(!self.rule.kept || self.meter.is_covered(want.cost)),
        }
    }

    fn take(&mut self, cost: u64, caller: Caller, now: Now) -> Taken {
        self.quiet = 0;
        self.open = self.open.saturating_add(1);
        self.meter.take(&self.rule, cost, caller, now)
    }

    /// The call's answer is there, or it is given up.
    pub(super) fn finish(&mut self, taken: &Taken) {
        self.open = self.open.saturating_sub(1);
        self.meter.finish(taken.cost, taken.probe);
    }

    /// A sweep asks whether nothing is lost by forgetting it.
    pub(super) fn is_over(&mut self, now: Now) -> bool {
        self.quiet = self.quiet.saturating_add(1);
        let Self { meter, rule, .. } = self;
        // What waits to be stored is stored first; and an answer may have something to say of it.
        self.queue.is_empty()
            && !self.dirty
            && self.open == 0
            && (meter.is_idle(rule, now)
                || (self.quiet >= QUIET && meter.is_idle_without_end(rule, now)))
    }

    /// Something changed. Whether it has to be stored, and is not known to have to be.
    pub(super) fn touch(&mut self) -> bool {
        let is_new = self.rule.kept && !self.dirty;
        self.dirty |= is_new;
        is_new
    }
}

impl Cell {
    /// A cell of its own.
    #[must_use]
    pub(super) fn new(
        account: &Arc<Account>,
        store: &Arc<Store>,
        label: String,
        is_resident: bool,
        meter: Meter,
        rule: &Arc<Rule>,
    ) -> Self {
        let rule = Arc::clone(rule);
        Self {
            label: label.into_boxed_str(),
            account: Arc::clone(account),
            store: Arc::clone(store),
            is_resident,
            inner: Mutex::new(Inner::new(meter, rule)),
        }
    }
}

/// Something with a lock that has a place in an order.
pub trait Shared {
    /// What is held while the lock is.
    type Guard<'a>: DerefMut<Target = Inner>
    where
        Self: 'a;
    /// Takes the lock.
    fn lock(&self) -> Self::Guard<'_>;
    /// Where it stands among all: locks are taken in this order, so that no two calls wait for each other.
    fn rank(&self) -> usize {
        std::ptr::from_ref(self).cast::<()>().addr()
    }
}

impl Shared for Cell {
    type Guard<'a> = MutexGuard<'a, Inner>;

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A meter is whole after every step, so one whose holder panicked still counts right.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a call wants of one meter.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// The rule in force.
    pub rule: &'a Arc<Rule>,
    /// How much.
    pub cost: u64,
}

/// What became of a call.
#[derive(Debug)]
pub enum Outcome {
    /// It may go.
    Admitted(Few<Taken>),
    /// It may not go now: because of the meter with this index.
    Blocked(usize, Obstacle),
    /// It may go when these meters have counted it ahead in the store.
    Unstored(Few<usize>),
    /// A meter was forgotten meanwhile.
    Stale,
}

/// Decides over all meters at once, and takes from all of them or from none. `place` is the call's place among those that
/// wait, if it may wait: when it is blocked it is put into the queue of the meter that blocks it longest.
pub fn decide<S: Shared>(
    cells: &[impl Deref<Target = S>],
    wants: &[Want<'_>],
    caller: Caller,
    place: Option<&mut Place>,
    now: Now,
) -> Outcome {
    if let ([cell], [want]) = (cells, wants) {
        return decide_one(cell.lock(), want, caller, place, now);
    }
    // The order of the locks, and each with its place in the call.
    let mut order: Few<usize> = (0..cells.len()).collect();
    order.sort_unstable_by_key(|index| cells.get(*index).map(|cell| cell.rank()));
    let mut guards: Few<(usize, S::Guard<'_>)> = order
        .into_iter()
        .filter_map(|index| Some((index, cells.get(index)?.lock())))
        .collect();
    if guards.iter().any(|(_, inner)| inner.dead) {
        return Outcome::Stale;
    }
    // From here on in the order of the call: where two are in its way for as long, it is told of the same one each time.
    guards.sort_unstable_by_key(|(index, _)| *index);
    let mut worst: Option<(usize, Obstacle)> = None;
    let mut unstored = Few::new();
    for (index, inner) in &mut guards {
        let Some(want) = wants.get(*index) else {
            continue;
        };
        match inner.judge(want, caller, place.as_deref(), now) {
            Err(obstacle) if worst.is_none_or(|(_, worst)| obstacle.until > worst.until) => {
                worst = Some((*index, obstacle));
            }
            Ok(false) => unstored.push(*index),
            _ => {}
        }
    }
    if let Some((index, obstacle)) = worst {
        if let Some(place) = place
            && obstacle.until != Until::Never
        {
            place.move_to(&mut guards, index, obstacle, caller);
        }
        return Outcome::Blocked(index, obstacle);
    }
    if !unstored.is_empty() {
        return Outcome::Unstored(unstored);
    }
    let taken = guards
        .iter_mut()
        .zip(wants)
        .map(|((_, inner), want)| inner.take(want.cost, caller, now))
        .collect();
    if let Some(place) = place {
        place.leave_among(&mut guards);
    }
    Outcome::Admitted(taken)
}

/// The same over one meter, as most calls have it.
fn decide_one<G: DerefMut<Target = Inner>>(
    guard: G,
    want: &Want<'_>,
    caller: Caller,
    place: Option<&mut Place>,
    now: Now,
) -> Outcome {
    let mut guards = [(0, guard)];
    let [(_, inner)] = &mut guards;
    if inner.dead {
        return Outcome::Stale;
    }
    match inner.judge(want, caller, place.as_deref(), now) {
        Ok(true) => {}
        Ok(false) => return Outcome::Unstored(smallvec![0]),
        Err(obstacle) => {
            if let Some(place) = place
                && obstacle.until != Until::Never
            {
                place.move_to(&mut guards, 0, obstacle, caller);
            }
            return Outcome::Blocked(0, obstacle);
        }
    }
    let taken = inner.take(want.cost, caller, now);
    if let Some(place) = place {
        place.leave_among(&mut guards);
    }
    Outcome::Admitted(smallvec![taken])
}
