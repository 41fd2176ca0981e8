//! Every meter once more, in parts: who goes through all of them does it step by step, and without looking for each in the
//! table, which takes four times as long as to look at the meter.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::slot::Slot;

/// A part has so many slots at the most: some tenths of a millisecond's work.
pub(super) const MOST: usize = 512;

/// All slots that are in the table. Which is in which part changes when parts become small.
#[derive(Default)]
pub(super) struct Roll(Vec<Vec<Slot>>);

impl Roll {
    pub(super) fn add(&mut self, slot: Slot) {
        match self.0.last_mut() {
            Some(part) if part.len() < MOST => part.push(slot),
            _ => {
                // Exactly so much: there may be two thousand of them.
                let mut part = Vec::with_capacity(if self.0.is_empty() { 1 } else { MOST });
                part.push(slot);
                self.0.push(part);
            }
        }
    }

    /// Takes a part out, to be given back under its number. `None`: there are fewer.
    fn take(&mut self, number: usize) -> Option<Vec<Slot>> {
        self.0.get_mut(number).map(std::mem::take)
    }

    /// Gives back what is left of a part. Returns the number of the part that comes next.
    fn give_back(&mut self, number: usize, mut left: Vec<Slot>) -> usize {
        let Some(part) = self.0.get_mut(number) else {
            // Somebody else has gone through them meanwhile.
            left.into_iter().for_each(|slot| self.add(slot));
            return number;
        };
        // What was added meanwhile.
        left.append(part);
        let before = number.checked_sub(1);
        match before.and_then(|before| self.0.get_mut(before)) {
            // Where both have room in one, it is not a part any more. The last one comes in its place.
            Some(before) if before.len() + left.len() <= MOST => {
                before.append(&mut left);
                self.0.swap_remove(number);
                number
            }
            _ => {
                if let Some(part) = self.0.get_mut(number) {
                    *part = left;
                }
                number + 1
            }
        }
    }
}

/// A roll is whole after every step.
pub(super) fn lock(roll: &Mutex<Roll>) -> MutexGuard<'_, Roll> {
    roll.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A part that somebody goes through, who does not hold the roll meanwhile: whoever makes a meter waits for that. It is given
/// back whatever happens.
pub(super) struct Part<'a> {
    roll: &'a Mutex<Roll>,
    number: usize,
    slots: Vec<Slot>,
}

impl<'a> Part<'a> {
    /// `None`: there are fewer parts.
    pub(super) fn take(roll: &'a Mutex<Roll>, number: usize) -> Option<Self> {
        let slots = lock(roll).take(number)?;
        Some(Self {
            roll,
            number,
            slots,
        })
    }

    /// Keeps who stays. Returns the number of the part that comes next.
    pub(super) fn retain(mut self, stays: impl FnMut(&Slot) -> bool) -> usize {
        self.slots.retain(stays);
        self.give_back()
    }

    fn give_back(&mut self) -> usize {
        let left = std::mem::take(&mut self.slots);
        lock(self.roll).give_back(self.number, left)
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if !self.slots.is_empty() {
            self.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use proptest::prelude::*;

    use super::*;

    fn slots(roll: &Roll) -> BTreeMap<u128, usize> {
        let mut slots = BTreeMap::new();
        for slot in roll.0.iter().flatten() {
            *slots.entry(slot.key()).or_default() += 1;
        }
        slots
    }

    #[test]
    fn who_panics_on_the_way_takes_nobody_along() {
        let roll = Mutex::new(Roll::default());
        (1..=700).for_each(|key| lock(&roll).add(Slot::vacant(key)));
        let before = slots(&lock(&roll));
        let mut met = 0;
        let round = AssertUnwindSafe(|| {
            Part::take(&roll, 0).unwrap().retain(|_| {
                met += 1;
                assert!(met < 100, "as it is meant to");
                true
            })
        });
        catch_unwind(round).unwrap_err();
        assert_eq!(slots(&lock(&roll)), before);
    }

    proptest! {
        /// A round meets every slot that was there before it, however many of them go and come on the way; and nothing is
        /// kept twice, or kept in many small parts.
        #[test]
        fn a_round_meets_everyone(
            rounds in proptest::collection::vec((0..3_000_u32, 0..100_u8, 0..3_u32), 1..6),
        ) {
            let mut roll = Roll::default();
            let mut last = 0;
            let mut add = |roll: &mut Roll| {
                last += 1;
                roll.add(Slot::vacant(last));
            };
            for (more, percent, on_the_way) in rounds {
                (0..more).for_each(|_| add(&mut roll));
                let mut before = slots(&roll);
                let mut number = 0;
                while let Some(mut part) = roll.take(number) {
                    prop_assert!(part.len() <= 2 * MOST);
                    (0..on_the_way).for_each(|_| add(&mut roll));
                    for slot in &part {
                        before.remove(&slot.key());
                    }
                    part.retain(|slot| slot.key() * 7 % 100 >= u128::from(percent));
                    number = roll.give_back(number, part);
                    let met = roll.0.get(..number).unwrap_or_default();
                    let are_one = |pair: &[Vec<Slot>]| pair[0].len() + pair[1].len() <= MOST;
                    prop_assert!(!met.windows(2).any(are_one));
                }
                prop_assert!(before.is_empty(), "{} left", before.len());
                prop_assert!(slots(&roll).values().all(|times| *times == 1));
            }
        }
    }
}
