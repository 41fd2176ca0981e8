//! Few blocks, and the right ones.

use super::*;

const MIDNIGHT: i64 = 1_795_305_600;

fn cell(start: i64, end: i64) -> Cell {
    Cell {
        start: MIDNIGHT + start,
        end: MIDNIGHT + end,
        label: "".into(),
    }
}

/// Level, from, to.
fn told(cells: &[Cell], rolled: i64) -> Vec<(i64, i64, i64)> {
    let scans = scans(cells, MIDNIGHT + rolled).into_iter();
    scans
        .map(|scan| (scan.level, scan.from - MIDNIGHT, scan.to - MIDNIGHT))
        .collect()
}

#[test]
fn seven_days_until_now_are_seven_blocks() {
    let now = 13 * HOUR + 17 * MINUTE;
    let week = [cell(-6 * DAY, now)];
    assert_eq!(told(&week, now - 2 * MINUTE), [(DAY, -6 * DAY, DAY)]);
    // Nothing of today is in blocks.
    assert_eq!(told(&week, 0), [(DAY, -6 * DAY, 0)]);
    assert_eq!(told(&week, i64::MIN / 2), []);
}

#[test]
fn a_block_that_holds_more_than_its_cell_is_not_taken() {
    let end = 2 * HOUR + 17 * MINUTE;
    let expected = [
        (HOUR, 0, 2 * HOUR),
        (900, 2 * HOUR, 2 * HOUR + 900),
        (MINUTE, 2 * HOUR + 900, end),
    ];
    // By a minute.
    assert_eq!(told(&[cell(0, end)], end + MINUTE), expected);
    assert_eq!(told(&[cell(0, end)], end), [(DAY, 0, DAY)]);
    // Two cells of one day: the first must not get what is the second's.
    let cells = [cell(0, end), cell(end, 5 * HOUR)];
    // The minutes of both follow each other.
    let half = 2 * HOUR + 1_800;
    let mut expected = expected.to_vec();
    expected[2].2 = half;
    expected.push((900, half, 3 * HOUR));
    assert_eq!(told(&cells, 3 * HOUR), expected);
}

#[test]
fn what_is_gone_of_days_is_not_told() {
    let kept = Kept::new([None, None, None, Some(MIDNIGHT - DAY + 1)]);
    assert_eq!(kept.begins(), MIDNIGHT);
    assert_eq!(kept.finest(MIDNIGHT - 1), DAY);
}
