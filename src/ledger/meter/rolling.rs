//! The log of a rolling window. Exact for small quotas; in a larger one, what comes within a thousandth of the window is
//! remembered together and comes back with the last of it: late by that thousandth at the most, never early.

use std::collections::VecDeque;

use super::claims::{NOBODY, Who};
use crate::ledger::time::Nanos;

/// Quotas up to this are remembered call by call.
const EXACT: u64 = 1_000;

/// What was used, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    sum: u64,
    /// Of the sum, what others used.
    others: u64,
    /// When the newest entry was begun.
    begun: u64,
}

/// What was used around one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// The last moment of it, on the steady clock.
    pub(super) at: u64,
    /// How much.
    pub(super) cost: u64,
    /// By whom.
    pub(super) who: u64,
}

impl Log {
    pub(super) const fn sum(&self) -> u64 {
        self.sum
    }

    pub(super) const fn own(&self) -> u64 {
        self.sum.saturating_sub(self.others)
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.at)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Something was used now.
    pub(super) fn add(&mut self, now: u64, cost: u64, who: u64, length: Nanos, quota: Option<u64>) {
        self.count(cost, who);
        let exact =
            quota.is_some_and(|quota| quota <= EXACT) && (self.entries.len() as u64) < 2 * EXACT;
        let grain = if exact { 0 } else { length.0 / EXACT };
        match self.entries.back_mut() {
            Some(last)
                if last.who == who
                    && (last.at == now || now.saturating_sub(self.begun) < grain) =>
            {
                last.at = now;
                last.cost = last.cost.saturating_add(cost);
            }
            _ => {
                self.begun = now;
                self.entries.push_back(Entry { at: now, cost, who });
            }
        }
    }

    /// Others used something, which comes back as if it had been at this moment.
    pub(super) fn add_others(&mut self, at: u64, cost: u64) {
        self.count(cost, NOBODY);
        let place = self.entries.partition_point(|entry| entry.at <= at);
        let before = place.checked_sub(1);
        match before.and_then(|last| self.entries.get_mut(last)) {
            Some(last) if last.at == at && last.who == NOBODY => {
                last.cost = last.cost.saturating_add(cost);
            }
            _ => {
                let who = NOBODY;
                self.entries.insert(place, Entry { at, cost, who });
            }
        }
    }

    fn count(&mut self, cost: u64, who: u64) {
        self.sum = self.sum.saturating_add(cost);
        if who == NOBODY {
            self.others = self.others.saturating_add(cost);
        }
    }

    fn uncount(&mut self, cost: u64, who: u64) {
        self.sum = self.sum.saturating_sub(cost);
        if who == NOBODY {
            self.others = self.others.saturating_sub(cost);
        }
    }

    /// Drops everything up to this moment.
    pub(super) fn forget(&mut self, until: u64, users: &mut Who) {
        while let Some(entry) = self.entries.front().copied() {
            if entry.at > until {
                break;
            }
            self.entries.pop_front();
            self.uncount(entry.cost, entry.who);
            users.give_back(entry.who, entry.cost);
        }
    }

    /// Less was used than was counted. What is oldest goes first: what stays comes back later.
    pub(super) fn remove_oldest(&mut self, mut cost: u64, users: &mut Who) {
        while cost > 0 {
            let Some(entry) = self.entries.front_mut() else {
                return;
            };
            let part = entry.cost.min(cost);
            entry.cost -= part;
            cost -= part;
            let (left, who) = (entry.cost, entry.who);
            if left == 0 {
                self.entries.pop_front();
            }
            self.uncount(part, who);
            users.give_back(who, part);
        }
    }

    /// A call of this caller was not counted after all.
    pub(super) fn remove_newest(&mut self, cost: u64, who: u64) {
        let mut newest = self.entries.iter_mut().rev();
        if let Some(entry) = newest.find(|entry| entry.who == who && entry.cost >= cost) {
            entry.cost -= cost;
            self.uncount(cost, who);
        }
    }

    /// The moment of the entry with whose end no more than `room` is used.
    pub(super) fn falls_to(&self, room: u64) -> Option<u64> {
        let mut left = self.sum;
        if left <= room {
            return None;
        }
        self.entries.iter().find_map(|entry| {
            left = left.saturating_sub(entry.cost);
            (left <= room).then_some(entry.at)
        })
    }
}
