//! Names of fields that were read last. A provider writes the same few in each answer, and to make one anew takes six times as
//! long as to look for it.

use std::cell::RefCell;

use http::HeaderName;

use crate::gateway::present::Present;

/// So many are kept by each thread.
const KEPT: usize = 128;
/// Longer ones are not kept, in bytes.
const LONGEST: usize = 48;

/// A spelling and what it is.
type Known = (Box<[u8]>, HeaderName, Present);

/// The names that this thread has read last, each at the place that its length and a few of its bytes say.
pub(super) struct Names(Vec<Option<Known>>);

thread_local! {
    static NAMES: RefCell<Names> = const { RefCell::new(Names(Vec::new())) };
}

/// With those of this thread.
pub(super) fn with<T>(read: impl FnOnce(&mut Names) -> T) -> T {
    NAMES.with_borrow_mut(read)
}

impl Names {
    /// The name that is spelled so, if it is one, and which of the fields it is that somebody looks for.
    pub(super) fn read(&mut self, spelled: &[u8]) -> Option<(HeaderName, Present)> {
        let (first, last) = (spelled.first()?, spelled.last()?);
        let middle = spelled.get(spelled.len() / 2)?;
        if spelled.len() > LONGEST {
            return new(spelled);
        }
        if self.0.is_empty() {
            self.0.resize(KEPT, None);
        }
        let mix = |sum: usize, byte: &u8| sum.wrapping_mul(31).wrapping_add(usize::from(*byte));
        let place = [first, middle, last].into_iter().fold(spelled.len(), mix) % KEPT;
        let place = self.0.get_mut(place)?;
        if let Some((known, name, present)) = place
            && **known == *spelled
        {
            return Some((name.clone(), *present));
        }
        let (name, present) = new(spelled)?;
        *place = Some((spelled.into(), name.clone(), present));
        Some((name, present))
    }
}

fn new(spelled: &[u8]) -> Option<(HeaderName, Present)> {
    let name = HeaderName::from_bytes(spelled).ok()?;
    let present = Present::field(name.as_str());
    Some((name, present))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_it_is_spelled_like_however_often_it_comes() {
        let many = (0..3 * KEPT).map(|number| format!("X-Name-{number}"));
        let long = "x".repeat(LONGEST + 1);
        let names: Vec<_> = many.chain(["DATE".into(), "date".into(), long]).collect();
        for _ in 0..2 {
            for name in &names {
                for _ in 0..2 {
                    let (read, present) = with(|names| names.read(name.as_bytes())).unwrap();
                    assert_eq!(read, name.parse::<HeaderName>().unwrap());
                    assert_eq!(present, Present::field(read.as_str()), "{name}");
                }
            }
        }
        for none in ["", "a b", "a:", "\u{e4}"] {
            let read = with(|names| names.read(none.as_bytes()));
            assert!(read.is_none(), "{none}");
        }
    }
}
