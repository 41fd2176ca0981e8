//! A meter that calls share, and the decision over several of them at once: all or nothing.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::{SmallVec, smallvec};

use super::account::Account;
use super::meter::{Caller, Meter, Obstacle, Taken, Tally, Until};
use super::queue::{Place, Queue};
use super::rule::Rule;
use super::time::Now;

/// As many as most calls have policies.
pub type Few<T> = SmallVec<[T; 2]>;

/// A count that nothing ends is told for so many sweeps after its last call.
const QUIET: u8 = 120;

/// After so many sweeps without a call, ten minutes or more, a row that is as good as a new one is written anew all the same.
pub(super) const AT_REST: u8 = 20;

/// A meter that calls share. There may be a million: what is rare is kept elsewhere.
#[derive(Debug)]
pub struct Cell {
    /// The account that it was made for.
    pub account: Arc<Account>,
    label: Option<Box<Label>>,
    inner: Mutex<Inner>,
}

/// A thin pointer to a text: most meters have none.
#[derive(Debug)]
struct Label(Box<str>);

/// What a cell's lock protects.
#[derive(Debug)]
pub struct Inner {
    /// The state.
    pub meter: Meter,
    /// What it is held to. A reload of the configuration may put another in its place.
    pub rule: Arc<Rule>,
    /// Calls that wait for it.
    pub(super) queue: Queue,
    /// What else is to be known of it.
    pub(super) marks: Marks,
    /// Sweeps since anybody called.
    quiet: u8,
    /// Calls that were let through and have no answer yet, whatever they cost.
    open: u16,
    /// What may have been let through once the rows that were handed to the store are there. Until then the meter itself
    /// does not know of it.
    pub(super) promised: u32,
    /// What the row says that was written last as one of many, where that can be good enough for later.
    said: Option<Tally>,
}

/// Four answers and the last step of a warning in a byte: there may be a million of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Marks(u8);

impl Marks {
    /// The meter was forgotten: whoever still has it must ask for the new one.
    pub(super) const DEAD: Self = Self(1);
    /// It waits to be stored.
    pub(super) const DIRTY: Self = Self(2);
    /// Somebody vouches for whoever made it.
    pub(super) const RESIDENT: Self = Self(4);
    /// The store has a row of it, though its window is too short for one: a suspension was long.
    pub(super) const STORED: Self = Self(8);

    pub(super) const fn has(self, mark: Self) -> bool {
        self.0 & mark.0 != 0
    }

    pub(super) const fn put(&mut self, mark: Self) {
        self.0 |= mark.0;
    }

    pub(super) const fn take(&mut self, mark: Self) {
        self.0 &= !mark.0;
    }

    /// The upper bits: how many steps towards its limit somebody has seen, at most 7, and whether that was in an odd window.
    const STEP: u8 = 0b0111_0000;
    const ODD: u8 = 0b1000_0000;

    /// Whether as many steps were seen in this window.
    pub(super) const fn is_step_seen(self, step: u8, window: u32) -> bool {
        step <= (self.0 & Self::STEP) >> 4 && (self.0 & Self::ODD != 0) == (window % 2 == 1)
    }

    /// So many steps were seen in this window.
    pub(super) const fn see_step(&mut self, step: u8, window: u32) {
        let odd = if window % 2 == 1 { Self::ODD } else { 0 };
        self.0 = self.0 & !(Self::STEP | Self::ODD) | odd | (step << 4) & Self::STEP;
    }
}

impl Inner {
    /// A meter nobody waits for.
    #[must_use]
    pub fn new(meter: Meter, rule: Arc<Rule>) -> Self {
        Self {
            meter,
            rule,
            queue: Queue::default(),
            marks: Marks::default(),
            quiet: 0,
            open: 0,
            promised: 0,
            said: None,
        }
    }

    /// Holds the meter to a later rule, and lets all who wait for it ask again. Calls that came in under an earlier
    /// configuration are judged by it too.
    pub(super) fn put_rule(&mut self, rule: &Arc<Rule>, now: Now) {
        self.meter.change(&self.rule, rule, now);
        self.rule = Arc::clone(rule);
        self.said = None;
        self.queue.wake_all();
    }

    /// What is in the way of a call; else whether the store has counted it.
    fn judge(
        &mut self,
        want: &Want<'_>,
        caller: Caller,
        place: Option<&Place>,
        now: Now,
    ) -> Result<bool, Obstacle> {
        if want.rule.generation > self.rule.generation {
            self.put_rule(want.rule, now);
        }
        self.quiet = 0;
        self.meter.check(&self.rule, want.cost, caller, now)?;
        match self.queue.precedes(caller, place) {
            Some(obstacle) => Err(obstacle),
            None => Ok(!self.rule.kept || self.meter.is_covered(want.cost)),
        }
    }

    /// After [`Inner::judge`] has asked, at the same moment.
    fn take(&mut self, cost: u64, caller: Caller, now: Now) -> Taken {
        self.open = self.open.saturating_add(1);
        self.meter.take_checked(&self.rule, cost, caller, now)
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
            && !self.marks.has(Marks::DIRTY)
            && self.open == 0
            && (meter.is_idle(rule, now)
                || (self.quiet >= QUIET && meter.is_idle_without_end(rule, now)))
    }

    /// A promise is on its way to the store.
    pub(super) fn is_promised(&self) -> bool {
        let more = self.promised.wrapping_sub(low(self.meter.reserved()));
        more != 0 && more <= u32::MAX / 2
    }

    /// So much is about to be counted ahead.
    pub(super) fn promise(&mut self, block: u64) {
        // The row that says so takes the place of the one that was said.
        self.said = None;
        let promised = low(self.meter.admitted().wrapping_add(block));
        if promised.wrapping_sub(self.promised) <= u32::MAX / 2 {
            self.promised = promised;
        }
    }

    /// What of the meter's future the store will have counted once all that was handed over is there. Both count on and on; a
    /// block is far smaller than what fits into their lower half.
    pub(super) fn ahead(&self) -> u64 {
        let promised = self.promised.wrapping_sub(low(self.meter.admitted()));
        let promised = if promised > u32::MAX / 2 { 0 } else { promised };
        self.meter.ahead().max(u64::from(promised))
    }

    /// Gives back what was counted ahead for calls that did not come. Whether it has to be asked again.
    pub(super) fn relax(&mut self, now: Now) -> bool {
        let may_give_back = !self.is_promised();
        let is_large = self.meter.relax(&self.rule, may_give_back, now);
        if may_give_back {
            self.promised = low(self.meter.reserved());
        }
        is_large
    }

    /// Gives back all that was counted ahead, unless more is on its way. Whether that was anything.
    pub(super) fn give_back(&mut self) -> bool {
        let is_some = !self.is_promised() && self.meter.give_back_ahead();
        if is_some {
            self.promised = low(self.meter.reserved());
        }
        is_some
    }

    /// Something changed. Whether it has to be stored, and is not known to have to be.
    pub(super) fn touch(&mut self) -> bool {
        let is_kept = self.rule.kept || self.marks.has(Marks::STORED);
        let is_new = is_kept && !self.marks.has(Marks::DIRTY) && !self.is_said();
        if is_new {
            self.marks.put(Marks::DIRTY);
        }
        is_new
    }

    /// The same, whatever the row says that is there.
    pub(super) fn touch_again(&mut self) -> bool {
        self.said = None;
        self.touch()
    }

    /// What is used was used of what the store has counted ahead, so its row is as good as a new one.
    fn is_said(&self) -> bool {
        let said = self.said.zip(self.tally());
        said.is_some_and(|(said, now)| said.is_as_good_as(&now))
    }

    /// It was quiet for a while, and calls have come since its row was made: at rest it says whose they were.
    pub(super) fn is_to_be_told(&self) -> bool {
        self.quiet >= AT_REST && self.said.is_some() && self.said != self.tally()
    }

    /// A row of now is on its way. Whoever hears that it did not arrive calls [`Inner::touch_again`].
    pub(super) fn say(&mut self) {
        self.said = self.tally();
    }

    fn tally(&self) -> Option<Tally> {
        self.meter.tally(&self.rule, self.ahead())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower half is asked for"
)]
const fn low(count: u64) -> u32 {
    count as u32
}

impl Cell {
    /// A cell of its own.
    #[must_use]
    pub(super) fn new(
        account: &Arc<Account>,
        label: String,
        is_resident: bool,
        meter: Meter,
        rule: &Arc<Rule>,
    ) -> Self {
        let mut inner = Inner::new(meter, Arc::clone(rule));
        if is_resident {
            inner.marks.put(Marks::RESIDENT);
        }
        if !rule.kept && inner.meter.is_held() {
            // Where else would it have that from?
            inner.marks.put(Marks::STORED);
        }
        let label = (!label.is_empty()).then(|| Box::new(Label(label.into_boxed_str())));
        Self {
            account: Arc::clone(account),
            label,
            inner: Mutex::new(inner),
        }
    }

    /// Whose budget it is, for people and for the store; empty: the whole connection's.
    #[must_use]
    pub fn label(&self) -> &str {
        self.label.as_ref().map_or("", |label| &label.0)
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
        return match decide_one(cell.lock(), want, caller, place, now) {
            Ok(taken) => Outcome::Admitted(smallvec![taken]),
            Err(Denied::Blocked(obstacle)) => Outcome::Blocked(0, obstacle),
            Err(Denied::Unstored) => Outcome::Unstored(smallvec![0]),
            Err(Denied::Stale) => Outcome::Stale,
        };
    }
    // The order of the locks, and each with its place in the call.
    let mut order: Few<usize> = (0..cells.len()).collect();
    order.sort_unstable_by_key(|index| cells.get(*index).map(|cell| cell.rank()));
    let mut guards: Few<(usize, S::Guard<'_>)> = order
        .into_iter()
        .filter_map(|index| Some((index, cells.get(index)?.lock())))
        .collect();
    if guards.iter().any(|(_, inner)| inner.marks.has(Marks::DEAD)) {
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

/// Why a call does not get what it wants of one meter.
pub(super) enum Denied {
    Blocked(Obstacle),
    Unstored,
    Stale,
}

/// The same over one meter, as most calls have it.
pub(super) fn decide_one<G: DerefMut<Target = Inner>>(
    guard: G,
    want: &Want<'_>,
    caller: Caller,
    place: Option<&mut Place>,
    now: Now,
) -> Result<Taken, Denied> {
    let mut guards = [(0, guard)];
    let [(_, inner)] = &mut guards;
    if inner.marks.has(Marks::DEAD) {
        return Err(Denied::Stale);
    }
    match inner.judge(want, caller, place.as_deref(), now) {
        Ok(true) => {}
        Ok(false) => return Err(Denied::Unstored),
        Err(obstacle) => {
            if let Some(place) = place
                && obstacle.until != Until::Never
            {
                place.move_to(&mut guards, 0, obstacle, caller);
            }
            return Err(Denied::Blocked(obstacle));
        }
    }
    let taken = inner.take(want.cost, caller, now);
    if let Some(place) = place {
        place.leave_among(&mut guards);
    }
    Ok(taken)
}
