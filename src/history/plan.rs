//! Into which rows a range is cut, and which edges of time can be told. Pure: moments in, moments out.
//!
//! Short totals are forgotten first; then only the edges of long ones can be told exactly.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::state::history::LEVELS;

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;

/// The length of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A minute.
    Minute,
    /// An hour of the zone's clocks.
    Hour,
    /// A date of the zone.
    Day,
}

impl Step {
    /// As it stands in questions and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// A part of a range that is told as one, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) start: i64,
    pub(super) end: i64,
    /// The date, or the beginning of the whole hour or minute with its offset; empty without a step.
    pub(super) label: Arc<str>,
}

/// From when on each level is there whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept([i64; LEVELS.len()]);

impl Kept {
    /// From what was taken out of each level.
    pub(super) fn new(forgotten: [Option<i64>; LEVELS.len()]) -> Self {
        let mut since = [i64::MIN; LEVELS.len()];
        // Where a level begins, the next longer one must end; and no level is used where a longer one is gone.
        let mut longer = (i64::MIN, DAY);
        for ((since, level), forgotten) in since.iter_mut().zip(LEVELS).zip(forgotten).rev() {
            let own = forgotten.map_or(i64::MIN, |until| ceil(until, longer.1));
            *since = own.max(longer.0);
            longer = (*since, level);
        }
        Self(since)
    }

    /// The shortest totals that are there of this moment.
    pub(super) fn finest(&self, moment: i64) -> i64 {
        let mut levels = LEVELS.into_iter().zip(self.0);
        let found = levels.find(|(_, since)| *since <= moment);
        found.map_or(DAY, |(level, _)| level)
    }

    /// Whether what was before can be told from what came after.
    pub(super) fn is_edge(&self, moment: i64) -> bool {
        moment.rem_euclid(self.finest(moment)) == 0
    }

    /// From when on there are days.
    pub(super) fn begins(&self) -> i64 {
        self.0.last().copied().unwrap_or(i64::MIN)
    }

    /// The last edge that is not later.
    pub(super) fn edge_before(&self, moment: i64) -> i64 {
        moment - moment.rem_euclid(self.finest(moment))
    }

    /// The first edge that is not earlier.
    pub(super) fn edge_after(&self, moment: i64) -> i64 {
        ceil(moment, self.finest(moment))
    }
}

fn ceil(moment: i64, level: i64) -> i64 {
    let over = moment.rem_euclid(level);
    if over == 0 {
        moment
    } else {
        moment.saturating_add(level - over)
    }
}

/// Cuts a range; `None`: into more than `most`, or out of all calendars.
pub(super) fn cells(
    from: i64,
    to: i64,
    step: Option<Step>,
    zone: &TimeZone,
    most: usize,
) -> Option<Vec<Cell>> {
    let Some(step) = step else {
        let label = "".into();
        let whole = Cell {
            start: from,
            end: to,
            label,
        };
        return Some(vec![whole]);
    };
    let mut cells = Vec::new();
    let mut at = from;
    while at < to {
        if cells.len() == most {
            return None;
        }
        let (label, next) = row(at, step, zone)?;
        let end = next.min(to);
        cells.push(Cell {
            start: at,
            end,
            label: label.into(),
        });
        at = end;
    }
    Some(cells)
}

/// What the row that holds this moment is called, and when the next one begins.
fn row(at: i64, step: Step, zone: &TimeZone) -> Option<(String, i64)> {
    let moment = Timestamp::from_second(at).ok()?;
    let offset = zone.to_offset(moment);
    let within = |length: i64| (at + i64::from(offset.seconds())).rem_euclid(length);
    let label = |length: i64| {
        let start = Timestamp::from_second(at - within(length)).ok()?;
        Some(if zone.iana_name() == Some("UTC") {
            start.to_string()
        } else {
            start.display_with_offset(offset).to_string()
        })
    };
    match step {
        Step::Minute => Some((label(MINUTE)?, at - within(MINUTE) + MINUTE)),
        Step::Hour => {
            let next = at - within(HOUR) + HOUR;
            let then = zone.to_offset(Timestamp::from_second(next).ok()?);
            let next = if then == offset {
                next
            } else {
                // Where clocks are set by half an hour, an hour ends before its end.
                let set = zone.following(moment).next()?;
                next.min(set.timestamp().as_second())
            };
            Some((label(HOUR)?, next))
        }
        Step::Day => {
            let date = moment.to_zoned(zone.clone()).date();
            Some((date.to_string(), midnight(date.tomorrow().ok()?, zone)?))
        }
    }
}

/// When a date begins.
pub(super) fn midnight(date: jiff::civil::Date, zone: &TimeZone) -> Option<i64> {
    let start = date.to_zoned(zone.clone()).ok()?;
    Some(start.timestamp().as_second())
}

#[cfg(test)]
mod tests;
