//! Hashes of the keys that were seen last. Callers come again and again with the same few, and SHA-256 takes longer than all else
//! that finds out who calls.

use std::cell::RefCell;

use siphasher::sip128::SipHasher13;

use crate::consumer::hash_key;

/// So many are kept by each thread: twice as many as there are consumers, so that most of them have a place of their own.
fn kept(consumers: usize) -> usize {
    const FEWEST: usize = 16;
    const MOST: usize = 1 << 16;
    consumers.saturating_mul(2).clamp(FEWEST, MOST)
}

/// What is kept of a key, which is itself not kept.
#[derive(Clone)]
struct Seen {
    /// A hash that nobody can compute who does not know the secret, and so nobody can meet.
    fingerprint: u128,
    hash: [u8; 32],
}

thread_local! {
    /// Each at the place that its fingerprint says.
    static SEEN: RefCell<Vec<Option<Seen>>> = const { RefCell::new(Vec::new()) };
}

/// [`hash_key`] of a key, where there are so many consumers. The secret is this process's own, and always the same.
pub(super) fn hash(key: &str, secret: (u64, u64), consumers: usize) -> [u8; 32] {
    let hasher = SipHasher13::new_with_keys(secret.0, secret.1);
    let fingerprint = hasher.hash(key.as_bytes()).as_u128();
    SEEN.with_borrow_mut(|seen| {
        let kept = kept(consumers);
        if seen.len() != kept {
            // Other places than before.
            *seen = vec![None; kept];
        }
        // Of 64 bits, whose remainder is had at once.
        let place = usize::try_from(fingerprint >> 64).ok();
        let place = place.and_then(|place| seen.get_mut(place % kept));
        match place {
            Some(Some(known)) if known.fingerprint == fingerprint => known.hash,
            place => {
                let hash = hash_key(key);
                if let Some(place) = place {
                    *place = Some(Seen { fingerprint, hash });
                }
                hash
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_same_however_often_it_is_asked_for() {
        let keys: Vec<String> = (0..500).map(|number| format!("hr_{number}")).collect();
        for consumers in [1, 500, 3, usize::MAX, 1] {
            for key in &keys {
                for _ in 0..2 {
                    assert_eq!(hash(key, (1, 2), consumers), hash_key(key), "{key}");
                }
            }
        }
    }
}
