//! Which blocks hold what was counted in a range. Pure.

use super::LEVELS;

/// The shortest blocks, in seconds.
const SHORTEST: i64 = 60;

/// Blocks of one level, by their starts in seconds since 1970: from `from` until before `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// How long each is, in seconds.
    pub level: i64,
    /// The first one.
    pub from: i64,
    /// The first one that is none of them any more.
    pub to: i64,
}

/// The fewest blocks that hold what is in these ranges, which are from whole minutes to whole minutes and of which none begins
/// before the one before it ends. In the order of time.
///
/// Blocks hold nothing of `rolled` and later. So one that reaches beyond its range is as good where all that it holds is in it:
/// today's, for a range until now.
pub fn scans(ranges: impl IntoIterator<Item = (i64, i64)>, rolled: i64) -> Vec<Scan> {
    let mut scans: Vec<Scan> = Vec::new();
    for (start, end) in ranges {
        let mut at = start;
        while at < end.min(rolled) {
            let ends = |level: &i64| at + level <= end || rolled <= end;
            let fits = |level: &i64| at.rem_euclid(*level) == 0 && ends(level);
            let level = LEVELS.into_iter().rev().find(fits).unwrap_or(SHORTEST);
            match scans.last_mut() {
                Some(last) if last.level == level && last.to == at => last.to += level,
                _ => scans.push(Scan {
                    level,
                    from: at,
                    to: at + level,
                }),
            }
            at += level;
        }
    }
    scans
}

#[cfg(test)]
mod tests {
    //! Few blocks, and the right ones.

    use super::*;

    const MINUTE: i64 = 60;
    const HOUR: i64 = 3_600;
    const DAY: i64 = 86_400;
    const MIDNIGHT: i64 = 1_795_305_600;

    /// Level, from, to.
    fn told(ranges: &[(i64, i64)], rolled: i64) -> Vec<(i64, i64, i64)> {
        let ranges = ranges.iter();
        let ranges = ranges.map(|(start, end)| (MIDNIGHT + start, MIDNIGHT + end));
        let scans = scans(ranges, MIDNIGHT + rolled).into_iter();
        scans
            .map(|scan| (scan.level, scan.from - MIDNIGHT, scan.to - MIDNIGHT))
            .collect()
    }

    #[test]
    fn seven_days_until_now_are_seven_blocks() {
        let now = 13 * HOUR + 17 * MINUTE;
        let week = [(-6 * DAY, now)];
        assert_eq!(told(&week, now - 2 * MINUTE), [(DAY, -6 * DAY, DAY)]);
        // Nothing of today is in blocks.
        assert_eq!(told(&week, 0), [(DAY, -6 * DAY, 0)]);
        assert_eq!(told(&week, i64::MIN / 2), []);
    }

    #[test]
    fn a_block_that_holds_more_than_its_range_is_not_taken() {
        let end = 2 * HOUR + 17 * MINUTE;
        let expected = [
            (HOUR, 0, 2 * HOUR),
            (900, 2 * HOUR, 2 * HOUR + 900),
            (MINUTE, 2 * HOUR + 900, end),
        ];
        // By a minute.
        assert_eq!(told(&[(0, end)], end + MINUTE), expected);
        assert_eq!(told(&[(0, end)], end), [(DAY, 0, DAY)]);
        // Two ranges of one day: the first must not get what is the second's.
        let ranges = [(0, end), (end, 5 * HOUR)];
        // The minutes of both follow each other.
        let half = 2 * HOUR + 1_800;
        let mut expected = expected.to_vec();
        expected[2].2 = half;
        expected.push((900, half, 3 * HOUR));
        assert_eq!(told(&ranges, 3 * HOUR), expected);
    }
}
