//! Warnings on their way: what is sent when, tried again, and given up. Pure: time and randomness are arguments.
//!
//! At least once: a letter is in the store before it is first sent, unless the store does not take it in time, and leaves it when its receiver has taken it. A letter
//! that was taken just before a crash comes again, with the same `webhook-id`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::{Nanos, Now, Steady};

/// Seconds from a failure to the next try, as the specification recommends; a fifth of it or less is added. After that it
/// is given up: about three days after the warning.
const DELAYS: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// More letters than this do not wait. The oldest ones go.
const MOST: usize = 10_000;

/// As many letters are on their way to one receiver at a time.
const AT_ONCE: usize = 4;

/// Names a letter: its message and who gets it. Rising with time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Address {
    /// `webhook-id`.
    pub(super) id: Arc<str>,
    /// Who gets it: an endpoint's id.
    pub(super) endpoint: Arc<str>,
}

impl Address {
    /// As it stands in the store.
    pub(super) fn key(&self) -> String {
        format!("{} {}", self.id, self.endpoint)
    }

    pub(super) fn from_key(key: &str) -> Option<Self> {
        let (id, endpoint) = key.split_once(' ')?;
        Some(Self {
            id: Arc::from(id),
            endpoint: Arc::from(endpoint),
        })
    }
}

/// One letter.
#[derive(Debug)]
struct Letter {
    failures: u32,
    due: Steady,
    body: Arc<str>,
    is_on_its_way: bool,
}

/// One letter as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    /// So often it was not taken.
    failures: u32,
    /// When it is sent next, in Unix milliseconds.
    due_ms: i64,
    /// What is signed and sent, byte for byte.
    body: String,
}

/// What becomes of a letter that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is tried again at this moment.
    At(Steady),
    /// That was the last time.
    GivenUp,
}

/// All letters.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    letters: BTreeMap<Address, Letter>,
    /// What the store does not know yet.
    changed: BTreeSet<Address>,
}

impl Outbox {
    /// Puts a letter back that an earlier process did not deliver.
    pub(super) fn restore(&mut self, address: Address, stored: Stored, now: Now) {
        // It is never further off than the longest delay: where it is, the clock was set back.
        let longest = DELAYS.last().copied().unwrap_or_default();
        let latest = now.steady.after(delay(longest, u64::MAX));
        let letter = Letter {
            failures: stored.failures,
            due: now.steady_at(stored.due_ms).min(latest),
            body: Arc::from(stored.body),
            is_on_its_way: false,
        };
        self.letters.insert(address, letter);
    }

    /// The store has lost them all.
    pub(super) fn store_all(&mut self) {
        self.changed.extend(self.letters.keys().cloned());
    }

    /// A new letter, to be sent at once. How many old ones had to go for it.
    pub(super) fn add(&mut self, address: Address, body: &Arc<str>, now: Now) -> usize {
        let letter = Letter {
            failures: 0,
            due: now.steady,
            body: Arc::clone(body),
            is_on_its_way: false,
        };
        self.changed.insert(address.clone());
        self.letters.insert(address, letter);
        let mut gone = 0;
        while self.letters.len() > MOST {
            let Some((oldest, _)) = self.letters.pop_first() else {
                break;
            };
            self.changed.insert(oldest);
            gone += 1;
        }
        gone
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// What is to be sent now. Each is on its way from here on, until it is [`Self::taken`] or has [`Self::failed`].
    pub(super) fn due(&mut self, now: Now) -> Vec<(Address, Arc<str>)> {
        let mut busy: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for (address, _) in self.letters.iter().filter(|(_, one)| one.is_on_its_way) {
            *busy.entry(Arc::clone(&address.endpoint)).or_default() += 1;
        }
        let mut due = Vec::new();
        for (address, letter) in &mut self.letters {
            if letter.is_on_its_way || letter.due > now.steady {
                continue;
            }
            let busy = busy.entry(Arc::clone(&address.endpoint)).or_default();
            if *busy < AT_ONCE {
                *busy += 1;
                letter.is_on_its_way = true;
                due.push((address.clone(), Arc::clone(&letter.body)));
            }
        }
        due
    }

    /// Its receiver has it.
    pub(super) fn taken(&mut self, address: &Address) {
        if self.letters.remove(address).is_some() {
            self.changed.insert(address.clone());
        }
    }

    /// Its receiver did not take it. `None`: it is not here any more.
    pub(super) fn failed(&mut self, address: &Address, random: u64, now: Now) -> Option<Next> {
        let letter = self.letters.get_mut(address)?;
        self.changed.insert(address.clone());
        letter.is_on_its_way = false;
        letter.failures = letter.failures.saturating_add(1);
        let failures = usize::try_from(letter.failures).unwrap_or(usize::MAX);
        let Some(secs) = DELAYS.get(failures.saturating_sub(1)) else {
            self.letters.remove(address);
            return Some(Next::GivenUp);
        };
        letter.due = now.steady.after(delay(*secs, random));
        Some(Next::At(letter.due))
    }

    /// Keeps what is for these endpoints. How many letters went.
    pub(super) fn keep_for(&mut self, is_there: impl Fn(&str) -> bool) -> usize {
        let before = self.letters.len();
        let changed = &mut self.changed;
        self.letters.retain(|address, _| {
            let keeps = is_there(&address.endpoint);
            if !keeps {
                changed.insert(address.clone());
            }
            keeps
        });
        before - self.letters.len()
    }

    /// What changed, as rows; `None`: the row goes.
    pub(super) fn changes(&mut self, now: Now) -> Vec<(Address, Option<Stored>)> {
        let changed = std::mem::take(&mut self.changed);
        let row = |address: Address| {
            let letter = self.letters.get(&address);
            let stored = letter.map(|letter| Stored {
                failures: letter.failures,
                due_ms: now.wall_at(letter.due),
                body: letter.body.to_string(),
            });
            (address, stored)
        };
        changed.into_iter().map(row).collect()
    }

    /// These were not stored.
    pub(super) fn not_stored(&mut self, addresses: impl Iterator<Item = Address>) {
        self.changed.extend(addresses);
    }
}

/// A delay, with a part of itself by chance: receivers that come back are not met by all at once.
fn delay(secs: u64, random: u64) -> Nanos {
    let secs = Nanos::from_secs(secs);
    let share = (u128::from(secs.0 / 5) * u128::from(random)) >> 64;
    Nanos(secs.0.saturating_add(u64::try_from(share).unwrap_or(0)))
}

#[cfg(test)]
mod tests;
