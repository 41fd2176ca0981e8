//! What is gone is not told.

use super::*;

const MIDNIGHT: i64 = 1_795_305_600;

#[test]
fn what_is_gone_of_days_is_not_told() {
    let kept = Kept::new([None, None, None, Some(MIDNIGHT - DAY + 1)]);
    assert_eq!(kept.begins(), MIDNIGHT);
    assert_eq!(kept.finest(MIDNIGHT - 1), DAY);
}
