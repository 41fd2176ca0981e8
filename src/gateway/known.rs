//! Who had the keys that were seen last. Callers come again and again with the same few, and SHA-256 takes longer than all else
//! that finds out who calls.

use std::cell::RefCell;

use siphasher::sip128::SipHasher13;

use crate::consumer::{Consumer, Consumers, hash_key};

/// So many are kept by each thread: twice as many as there are consumers, so that most of them have a place of their own.
fn kept(consumers: usize) -> usize {
    const FEWEST: usize = 16;
    const MOST: usize = 1 << 16;
    consumers.saturating_mul(2).clamp(FEWEST, MOST)
}

/// What is kept of a key, which is itself not kept.
#[derive(Clone, Copy, Default)]
struct Known {
    /// A hash that nobody can compute who does not know the secret, and so nobody can meet. 0: nobody.
    fingerprint: u128,
    /// Where its consumer is.
    place: u32,
}

/// Keys of one edition of consumers, each where its fingerprint says.
#[derive(Default)]
struct Keys {
    edition: u64,
    known: Vec<Known>,
}

thread_local! {
    static KEYS: RefCell<Keys> = RefCell::default();
}

/// The consumer with this key. The secret is this process's own, and always the same.
pub(super) fn by_key<'a>(
    key: &str,
    secret: (u64, u64),
    consumers: &'a Consumers,
) -> Option<&'a Consumer> {
    let hasher = SipHasher13::new_with_keys(secret.0, secret.1);
    let fingerprint = hasher.hash(key.as_bytes()).as_u128();
    KEYS.with_borrow_mut(|keys| {
        if keys.edition != consumers.edition() {
            // Others than before, in other places.
            keys.edition = consumers.edition();
            keys.known = vec![Known::default(); kept(consumers.len())];
        }
        // Of 64 bits, whose remainder is had at once.
        let half = u64::try_from(fingerprint >> 64).ok()?;
        let own = half.checked_rem(keys.known.len() as u64)?;
        let known = keys.known.get_mut(usize::try_from(own).ok()?)?;
        if known.fingerprint != fingerprint || fingerprint == 0 {
            // Who is nobody takes the place of nobody.
            let place = consumers.place(&hash_key(key))?;
            *known = Known { fingerprint, place };
        }
        consumers.at(known.place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consumer::Rights;

    fn consumers(numbers: std::ops::Range<usize>) -> Consumers {
        let one = |number| {
            let (key, name) = (format!("hr_{number}"), format!("c{number}"));
            (hash_key(&key), Consumer::new(&name, Rights::default()))
        };
        numbers.map(one).collect()
    }

    #[test]
    fn a_key_is_its_consumer_s_however_often_it_is_asked_for() {
        // Those of a reload have other places, and some are gone.
        let editions = [consumers(0..500), consumers(250..600), consumers(499..500)];
        for consumers in editions.iter().chain(&editions) {
            for _ in 0..2 {
                for number in 0..700 {
                    let key = format!("hr_{number}");
                    let found = by_key(&key, (1, 2), consumers);
                    assert_eq!(found, consumers.by_key(&key), "{key}");
                    assert!(found.is_none_or(|found| *found.name == *format!("c{number}")));
                }
            }
        }
        assert_eq!(by_key("hr_1", (1, 2), &Consumers::default()), None);
    }
}
