//! Calls that wait for a meter, in order: by urgency, then fairly between callers, then first come first served.
//!
//! Only the first of a lane watches the time; the others sleep until it is their turn. Who goes wakes the next. So nobody
//! polls, and at a reset exactly as many wake as may go, one after the other.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::Notify;

use super::cell::Inner;
use super::meter::{Caller, Cause, Obstacle, Until};

/// The lane of calls that wait for the quota itself. Whoever waits for its own share stands in a lane of its own, and is in
/// nobody's way.
const COMMON: u64 = 0;

/// A call's place in the order of those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// RFC 9218: 0 is the most urgent.
    pub urgency: u8,
    /// The caller's turn (start-time fair queueing).
    pub turn: u64,
    /// Who came first.
    pub number: u64,
}

/// The calls that wait for one meter.
#[derive(Debug, Default)]
pub(super) struct Queue(Option<Box<Lanes>>);

/// By lane and order, whom to wake.
type Lanes = BTreeMap<(u64, Order), Arc<Notify>>;

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.len())
    }

    /// Whether somebody goes before this call.
    pub(super) fn precedes(&self, caller: Caller, place: Option<&Place>) -> Option<Obstacle> {
        let waiting = self.0.as_ref()?;
        let before = |lane: u64| {
            let first = waiting.range((lane, Order::FIRST)..).next()?.0;
            let ahead = first.0 == lane && place.is_none_or(|place| first.1 < place.order);
            ahead.then_some(())
        };
        before(COMMON)
            .or_else(|| before(caller.id))
            .map(|()| Obstacle {
                cause: Cause::Queued,
                until: Until::Released,
            })
    }

    fn insert(&mut self, lane: u64, place: &Place) {
        let waiting = self.0.get_or_insert_default();
        waiting.insert((lane, place.order), Arc::clone(&place.signal));
    }

    /// Takes a call out and wakes the one behind it, if it was the first.
    fn remove(&mut self, lane: u64, order: Order) {
        let Some(waiting) = &mut self.0 else { return };
        waiting.remove(&(lane, order));
        let next = waiting.range((lane, Order::FIRST)..).next();
        if let Some(((next_lane, next), signal)) = next
            && *next_lane == lane
            && *next > order
        {
            signal.notify_one();
        }
        if waiting.is_empty() {
            self.0 = None;
        }
    }

    fn is_first(&self, lane: u64, order: Order) -> bool {
        let first = |waiting: &Lanes| {
            let first = waiting.range((lane, Order::FIRST)..).next();
            first.is_some_and(|(key, _)| *key == (lane, order))
        };
        self.0.as_ref().is_some_and(|waiting| first(waiting))
    }

    /// The meter has changed: the first of each lane looks again.
    pub(super) fn wake(&self) {
        let Some(waiting) = &self.0 else { return };
        let mut from = (0, Order::FIRST);
        while let Some((key, signal)) = waiting.range(from..).next() {
            signal.notify_one();
            match key.0.checked_add(1) {
                Some(lane) => from = (lane, Order::FIRST),
                None => return,
            }
        }
    }

    /// What all of them are held to has changed: each may go now, or has to give up.
    pub(super) fn wake_all(&self) {
        for signal in self.0.iter().flat_map(|waiting| waiting.values()) {
            signal.notify_one();
        }
    }
}

impl Order {
    const FIRST: Self = Self {
        urgency: 0,
        turn: 0,
        number: 0,
    };
}

/// A call that may wait.
#[derive(Debug)]
pub struct Place {
    order: Order,
    signal: Arc<Notify>,
    /// Where it waits: the index of the meter among the call's, and the lane.
    at: Option<(usize, u64)>,
    first: bool,
}

impl Place {
    /// Not waiting yet.
    #[must_use]
    pub fn new(order: Order) -> Self {
        Self {
            order,
            signal: Arc::new(Notify::new()),
            at: None,
            first: false,
        }
    }

    pub(super) const fn order(&self) -> Order {
        self.order
    }

    /// Wakes it.
    pub(super) fn signal(&self) -> &Notify {
        &self.signal
    }

    /// It is the first of its lane: it watches the time.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.first
    }

    /// The index of the meter that it waits for.
    #[must_use]
    pub fn meter(&self) -> Option<usize> {
        self.at.map(|(index, _)| index)
    }

    pub(super) fn move_to<G: std::ops::DerefMut<Target = Inner>>(
        &mut self,
        guards: &mut [(usize, G)],
        index: usize,
        obstacle: Obstacle,
        caller: Caller,
    ) {
        let lane = if obstacle.cause == Cause::Share {
            caller.id
        } else {
            COMMON
        };
        if self.at != Some((index, lane)) {
            self.leave_among(guards);
            if let Some((_, inner)) = guards.iter_mut().find(|(at, _)| *at == index) {
                inner.queue.insert(lane, self);
                self.at = Some((index, lane));
            }
        }
        self.first = guards
            .iter()
            .any(|(at, inner)| *at == index && inner.queue.is_first(lane, self.order));
    }

    pub(super) fn leave_among<G: std::ops::DerefMut<Target = Inner>>(
        &mut self,
        guards: &mut [(usize, G)],
    ) {
        if let Some((index, lane)) = self.at.take()
            && let Some((_, inner)) = guards.iter_mut().find(|(at, _)| *at == index)
        {
            inner.queue.remove(lane, self.order);
        }
    }

    /// Leaves the queue of the meter that it waits for.
    pub(super) fn leave(&mut self, inner: &mut Inner) {
        if let Some((_, lane)) = self.at.take() {
            inner.queue.remove(lane, self.order);
        }
    }
}

/// Turns of the callers of one connection (start-time fair queueing): who asks for much comes later, and nobody waits for
/// longer than its part of those who wait.
#[derive(Debug, Default)]
pub(super) struct Turns {
    now: u64,
    next: HashMap<u64, u64>,
    waiting: usize,
}

impl Turns {
    /// The turn of a call that begins to wait.
    pub(super) fn draw(&mut self, caller: u64, cost: u64) -> u64 {
        self.waiting += 1;
        if self.next.len() > 2 * self.waiting + 64 {
            // Whose turn is over begins where all are.
            let now = self.now;
            self.next.retain(|_, next| *next > now);
            if self.next.len() > 2 * self.waiting + 64 {
                // More callers went away than wait: anybody can make up callers.
                self.next.clear();
            }
        }
        let next = self.next.entry(caller).or_insert(0);
        let turn = (*next).max(self.now);
        *next = turn.saturating_add(cost.max(1));
        turn
    }

    /// A call went, or went away.
    pub(super) fn leave(&mut self, turn: u64, went: bool) {
        self.waiting = self.waiting.saturating_sub(1);
        if went {
            self.now = self.now.max(turn);
        }
        if self.waiting == 0 {
            // Nobody waits: nobody is behind or ahead.
            *self = Self::default();
        }
    }

    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_that_went_away_are_not_remembered() {
        let mut turns = Turns::default();
        turns.draw(1, 1);
        for caller in 2..10_000 {
            let turn = turns.draw(caller, 1);
            turns.leave(turn, caller % 2 == 0);
        }
        assert!(turns.next.len() < 100);
        // Who asked for much still comes later.
        assert!(turns.draw(20_000, 5) < turns.draw(20_000, 1));
    }
}
