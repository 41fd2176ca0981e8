//! Numbers of events, as whoever looks is told them. They count all calls, so to a consumer they would tell how many the others
//! have made. It gets other numbers for them: a permutation that only headroom can go back, another one for each consumer and
//! the same as long as the store is.

use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::Viewer;

/// Half of the bits of a number: all of them have room in a number of JSON (2^53).
const HALF: u32 = 26;
const MASK: u64 = (1 << HALF) - 1;

/// For numbers of so few bits more than the four that are proven to be enough for long ones.
const ROUNDS: u8 = 8;

/// How somebody is told the numbers of events.
#[derive(Clone)]
pub(super) enum Numbering {
    /// As they are.
    Plain,
    /// As this consumer's, by this key.
    Own(Arc<str>, (u64, u64)),
}

impl Numbering {
    /// For whoever looks; `secret` is what credentials are hashed with.
    pub(super) fn of(viewer: &Viewer, secret: (u64, u64)) -> Self {
        match viewer {
            Viewer::Operator => Self::Plain,
            Viewer::Consumer(name) => Self::Own(Arc::clone(name), secret),
            Viewer::Stranger => Self::Own("".into(), secret),
        }
    }

    /// How a number is told.
    pub(super) fn told(&self, number: i64) -> i64 {
        self.walk(number, |round| round)
    }

    /// Which number was told so. 0 stands before all, for everybody.
    pub(super) fn meant(&self, told: i64) -> i64 {
        // The same rounds from the last to the first.
        self.walk(told, |round| ROUNDS - 1 - round)
    }

    /// A Feistel network, gone through until it does not give 0, which stays what it is. So do numbers that are too long: no
    /// store has so many events.
    fn walk(&self, number: i64, order: impl Fn(u8) -> u8) -> i64 {
        let Self::Own(name, secret) = self else {
            return number;
        };
        let Some(mut bits) = u64::try_from(number).ok().filter(|bits| *bits != 0) else {
            return number;
        };
        if bits >> (2 * HALF) != 0 {
            return number;
        }
        loop {
            let (mut left, mut right) = (bits >> HALF, bits & MASK);
            for round in 0..ROUNDS {
                let mixed = mix(name, *secret, right, order(round));
                (left, right) = (right, left ^ mixed);
            }
            // Changed over, so that the same way leads back.
            bits = (right << HALF) | left;
            if bits != 0 {
                return i64::try_from(bits).unwrap_or(number);
            }
        }
    }
}

fn mix(name: &str, secret: (u64, u64), half: u64, round: u8) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(secret.0, secret.1);
    hasher.write(b"number of an event");
    hasher.write_u8(round);
    hasher.write_u64(half);
    hasher.write(name.as_bytes());
    hasher.finish() & MASK
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn of(name: &str) -> Numbering {
        Numbering::of(&Viewer::Consumer(name.into()), (7, 8))
    }

    proptest! {
        #[test]
        fn a_consumers_number_leads_back(number in 0_i64..1 << (2 * HALF), name in ".{0,8}") {
            let numbering = of(&name);
            let told = numbering.told(number);
            prop_assert_eq!(numbering.meant(told), number);
            prop_assert_eq!(told == 0, number == 0);
            // A number of JSON is exact up to there.
            prop_assert!((0..1 << 53).contains(&told));
        }

        #[test]
        fn any_number_is_taken(number in any::<i64>()) {
            let numbering = of("a");
            prop_assert_eq!(numbering.meant(numbering.told(number)), number);
            prop_assert_eq!(Numbering::Plain.told(number), number);
        }
    }

    /// Neither their order nor what lies between them.
    #[test]
    fn numbers_that_follow_each_other_tell_nothing() {
        let numbering = of("a");
        let told: Vec<i64> = (1..=1_000).map(|number| numbering.told(number)).collect();
        let different: HashSet<_> = told.iter().collect();
        assert_eq!(different.len(), told.len());
        let rising = told.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((400..600).contains(&rising), "{rising}");
        let far = told
            .windows(2)
            .filter(|pair| pair[0].abs_diff(pair[1]) > 1 << 40);
        assert!(far.count() > 990);
        let others = of("b");
        let same = (1..=1_000).filter(|number| others.told(*number) == numbering.told(*number));
        assert_eq!(same.count(), 0);
    }
}
