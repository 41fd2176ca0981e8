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
}

/// What was used around one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// The last moment of it, on the steady clock.
    pub(super) at: u64,
    /// The first moment of it.
    begun: u64,
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

    /// Something was used at this moment, which is now, or before it where others used it as a provider tells.
    pub(super) fn add(&mut self, at: u64, cost: u64, who: u64, length: Nanos, quota: Option<u64>) {
        self.count(cost, who);
        let exact =
            quota.is_some_and(|quota| quota <= EXACT) && (self.entries.len() as u64) < 2 * EXACT;
        let grain = if exact { 0 } else { length.0 / EXACT };
        let place = self.entries.partition_point(|entry| entry.at <= at);
        // Callers that take turns are remembered side by side.
        let since = at.saturating_sub(grain);
        let recent = self.entries.range(..place).enumerate().rev();
        let mut recent = recent.take_while(|(_, entry)| entry.at >= since);
        let same = recent.find(|(_, entry)| entry.who == who);
        if let Some((before, entry)) = same.map(|(before, entry)| (before, *entry))
            && at.saturating_sub(entry.begun) <= grain
        {
            self.entries.remove(before);
            let cost = entry.cost.saturating_add(cost);
            self.entries.insert(place - 1, Entry { at, cost, ..entry });
            return;
        }
        let begun = at;
        self.entries.insert(
            place,
            Entry {
                at,
                begun,
                cost,
                who,
            },
        );
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

    /// What a caller used at this moment counts from a later one.
    pub(super) fn postpone(&mut self, who: u64, at: u64, later: u64) {
        let place = self.entries.partition_point(|entry| entry.at < at);
        let found = self.entries.iter().skip(place).position(|entry| {
            // What was remembered together has the moment of the last of it.
            entry.begun <= at && entry.who == who
        });
        let Some(place) = found.map(|found| place + found) else {
            return;
        };
        if let Some(mut entry) = self.entries.get(place).copied()
            && entry.at < later
        {
            self.entries.remove(place);
            entry.at = later;
            let place = self.entries.partition_point(|other| other.at <= later);
            self.entries.insert(place, entry);
        }
    }

    /// A call of this caller at this moment was not counted after all. Whether it still was.
    pub(super) fn remove(&mut self, cost: u64, who: u64, at: u64) -> bool {
        let place = self.entries.partition_point(|entry| entry.at < at);
        let mut after = self.entries.iter_mut().skip(place);
        // What was remembered together has the moment of the last of it.
        let found = after.find(|entry| entry.begun <= at && entry.who == who && entry.cost >= cost);
        let is_counted = found.is_some();
        if let Some(entry) = found {
            entry.cost -= cost;
            self.uncount(cost, who);
        }
        is_counted
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
