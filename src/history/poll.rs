//! Which calls repeat others, and get the same answer again. A table of fixed size: where two kinds of calls meet in one
//! place, the later takes it, and a repetition is missed. It never takes two calls for the same that are not.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Places in the table.
const PLACES: usize = 1 << 15;

/// Whether a call repeated another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Poll {
    /// The same GET with the same credential was made before.
    pub repeats: bool,
    /// How long before, in milliseconds.
    pub gap_ms: u64,
    /// It got the same answer as that.
    pub same: bool,
    /// The answer before had a validator, and the call did not use it.
    pub revalidatable: bool,
    /// The answer before called itself fresh for longer.
    pub fresh: bool,
}

/// An answer to a GET.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// A hash of who called what: connection, credential, path and query.
    pub target: u64,
    /// A hash of the answer: its entity tag, or its body.
    pub answer: u64,
    /// When, in Unix milliseconds.
    pub at_ms: i64,
    /// Until when the answer calls itself fresh, in Unix milliseconds; 0: it does not.
    pub fresh_until_ms: i64,
    /// It has a validator (`ETag` or `Last-Modified`).
    pub has_validator: bool,
    /// The call was conditional.
    pub is_conditional: bool,
}

/// The last answers, by what was called.
pub struct Polls {
    places: Box<[Place]>,
}

#[derive(Default)]
struct Place {
    /// Half of each hash.
    pair: AtomicU64,
    at_ms: AtomicI64,
    fresh_until_ms: AtomicI64,
}

impl Default for Polls {
    fn default() -> Self {
        Self {
            places: (0..PLACES).map(|_| Place::default()).collect(),
        }
    }
}

impl Polls {
    /// Whether it repeats what was seen, and remembers it.
    pub fn see(&self, seen: &Seen) -> Poll {
        let length = self.places.len() as u64;
        let place = usize::try_from(seen.target % length).ok();
        let Some(place) = place.and_then(|place| self.places.get(place)) else {
            return Poll::default();
        };
        let pair = (seen.target & HIGH) | (seen.answer >> 32);
        // Some steps, not one: two calls of the same kind at the same moment may mix up their times, by that moment.
        let before = place.pair.swap(pair, Ordering::Relaxed);
        // Each time is taken out once: what has passed since is one call's gap only.
        let before_ms = place.at_ms.swap(seen.at_ms, Ordering::Relaxed);
        let fresh_until = place
            .fresh_until_ms
            .swap(seen.fresh_until_ms, Ordering::Relaxed);
        if before == 0 || (before & HIGH) != (pair & HIGH) {
            return Poll::default();
        }
        let same = before == pair;
        Poll {
            repeats: true,
            gap_ms: u64::try_from(seen.at_ms.saturating_sub(before_ms)).unwrap_or(0),
            same,
            revalidatable: same && seen.has_validator && !seen.is_conditional,
            fresh: seen.at_ms < fresh_until,
        }
    }
}

const HIGH: u64 = 0xFFFF_FFFF_0000_0000;
