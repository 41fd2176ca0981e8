//! Any provider by the common header families.
use super::Translation;
use crate::adapter::Answer;
/// x
#[must_use]
pub fn translate(_answer: &Answer<'_>, _now: jiff::Timestamp) -> Translation {
    Translation::default()
}
