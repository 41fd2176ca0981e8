//! Names of fields that were read last. A provider writes the same few in each answer, and to make one anew takes six times as
//! long as to look for it.

use std::cell::RefCell;

use http::HeaderName;

/// So many are kept by each thread.
const KEPT: usize = 128;
/// Longer ones are not kept, in bytes.
const LONGEST: usize = 48;

/// A spelling and what it is.
type Known = (Box<[u8]>, HeaderName);

thread_local! {
    /// Each at the place that its length and a few of its bytes say.
    static NAMES: RefCell<Vec<Option<Known>>> = const { RefCell::new(Vec::new()) };
}

/// The name that is spelled so, if it is one.
pub(super) fn read(spelled: &[u8]) -> Option<HeaderName> {
    let (first, last) = (spelled.first()?, spelled.last()?);
    let middle = spelled.get(spelled.len() / 2)?;
    if spelled.len() > LONGEST {
        return HeaderName::from_bytes(spelled).ok();
    }
    let mix = |sum: usize, byte: &u8| sum.wrapping_mul(31).wrapping_add(usize::from(*byte));
    let place = [first, middle, last].into_iter().fold(spelled.len(), mix) % KEPT;
    NAMES.with_borrow_mut(|names| {
        if names.is_empty() {
            names.resize(KEPT, None);
        }
        let place = names.get_mut(place)?;
        if let Some((known, name)) = place
            && **known == *spelled
        {
            return Some(name.clone());
        }
        let name = HeaderName::from_bytes(spelled).ok()?;
        *place = Some((spelled.into(), name.clone()));
        Some(name)
    })
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
                    assert_eq!(read(name.as_bytes()), name.parse().ok(), "{name}");
                }
            }
        }
        for none in ["", "a b", "a:", "\u{e4}"] {
            assert_eq!(read(none.as_bytes()), None, "{none}");
        }
    }
}
