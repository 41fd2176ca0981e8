//! Reports: how many calls, by what, in which range. A question and a snapshot in, an answer out. Numbers are exact for the
//! range that the answer names; where the range had to be another one than that of the question, its notes say why.

mod book;
mod count;
pub mod filter;

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use self::book::Book;
use self::count::{Counted, tally};
use self::filter::Filter;
use super::plan::{self, Kept, Step};
use crate::state::ReadError;
use crate::state::history::{LEVELS, Snapshot};

pub use self::book::{Group, Key};
pub use self::count::Numbers;

/// By what calls are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Who called.
    Consumer,
    /// The connection.
    Connection,
    /// The adapter's id.
    Provider,
    /// The method.
    Method,
    /// The template of the path.
    Endpoint,
    /// The status that the caller got.
    Status,
    /// The provider's status where the caller got another one.
    UpstreamStatus,
    /// Whose word it was that there was no quota.
    RefusedBy,
    /// What counted the call. A call that several policies count is in the row of each.
    Policy,
    /// Time.
    Step(Step),
}

impl By {
    /// All there are.
    pub const ALL: [Self; 12] = [
        Self::Consumer,
        Self::Connection,
        Self::Provider,
        Self::Method,
        Self::Endpoint,
        Self::Status,
        Self::UpstreamStatus,
        Self::RefusedBy,
        Self::Policy,
        Self::Step(Step::Minute),
        Self::Step(Step::Hour),
        Self::Step(Step::Day),
    ];

    /// As it stands in questions and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Connection => "connection",
            Self::Provider => "provider",
            Self::Method => "method",
            Self::Endpoint => "endpoint",
            Self::Status => "status",
            Self::UpstreamStatus => "upstream_status",
            Self::RefusedBy => "refused_by",
            Self::Policy => "policy",
            Self::Step(step) => step.as_str(),
        }
    }
}

/// Which time a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// So many minutes until now, with the one that is going on.
    Minutes(u32),
    /// So many dates of the zone, with today, from 00:00.
    Dates(u32),
    /// From a moment until before another one (seconds since 1970); until now without it.
    Between(i64, Option<i64>),
}

/// What somebody wants to know.
#[derive(Debug, Clone)]
pub struct Question {
    /// In the order of the columns; at most one is time.
    pub by: Vec<By>,
    /// Which calls.
    pub filter: Filter,
    /// Which time.
    pub range: Range,
    /// Whose dates and hours.
    pub zone: TimeZone,
}

/// The report.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The range that the numbers are of, in seconds since 1970.
    pub from: i64,
    /// Its end, which is not in it.
    pub to: i64,
    /// With time in the order of the columns, else the most calls first. Rows without a call are left out.
    pub rows: Vec<Row>,
    /// The sum of all rows.
    pub totals: Numbers,
    /// The rows are of one unit, so costs can be added up.
    pub one_unit: bool,
    /// Why the last 24 hours are neither today nor today and yesterday: for reports by day that end now.
    pub last_24h: Option<Overlap>,
    /// What people should know, in sentences.
    pub notes: Vec<String>,
}

/// A row of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What its calls have in common but for time. Rows of other times share it.
    pub group: Arc<Group>,
    /// The time; empty where calls are not told apart by it.
    pub time: Arc<str>,
    /// How many.
    pub numbers: Numbers,
}

impl Row {
    /// In the order of the columns.
    #[must_use]
    pub fn keys(&self, by: &[By]) -> Vec<Key> {
        let mut keys = self.group.keys.iter().cloned();
        let key = |by: &By| match by {
            By::Step(_) => Some(Key::Text(Arc::clone(&self.time))),
            _ => keys.next(),
        };
        by.iter().filter_map(key).collect()
    }
}

/// The last 24 hours and the dates that they touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// 24 hours before the end, in seconds since 1970.
    pub from: i64,
    /// The end.
    pub to: i64,
    /// Calls of the last 24 hours.
    pub calls: u64,
    /// The dates, oldest first.
    pub days: Vec<OverlapDay>,
}

/// A date and its part in the last 24 hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlapDay {
    /// The date.
    pub day: String,
    /// Calls until now of the date.
    pub calls: u64,
    /// Of those, calls in the last 24 hours.
    pub within: u64,
    /// Of those, calls before.
    pub before: u64,
}

/// So many rows of time at the most, and so many rows.
const MOST_CELLS: usize = 50_000;
const MOST_ROWS: usize = 100_000;

const DAY: i64 = 86_400;

/// What cannot be answered; the text says what to ask instead.
pub type Unanswerable = String;

/// Answers a question.
///
/// # Errors
/// The history cannot be read. The inner error is the question's fault.
pub fn answer(
    snapshot: &Snapshot<'_>,
    question: &Question,
    now_ms: i64,
) -> Result<Result<Answer, Unanswerable>, ReadError> {
    // The minute that is going on is in every report until now.
    let now = (now_ms.div_euclid(60_000) + 1) * 60;
    let mut forgotten = [None; LEVELS.len()];
    for (level, until) in LEVELS.into_iter().zip(&mut forgotten) {
        *until = snapshot.forgotten(level)?;
    }
    let kept = Kept::new(forgotten);
    let begins = snapshot.oldest()?;
    let begins = begins.map(|begins| begins.max(kept.begins()));
    let mut notes = Vec::new();
    let range = match settle(question, now, &kept, begins, &mut notes) {
        Ok(range) => range,
        Err(unanswerable) => return Ok(Err(unanswerable)),
    };
    let Settled { from, to, cells } = range;
    let dictionary = snapshot.dictionary()?;
    let book = Book::new(&dictionary, question);
    let counted = tally(snapshot, &cells, &book)?;
    if counted.len() > MOST_ROWS {
        return Ok(Err(format!(
            "The answer would have more than {MOST_ROWS} rows: choose a shorter range, longer steps or fewer calls."
        )));
    }
    let mut totals = Numbers::default();
    for counted in &counted {
        totals.add_all(&counted.numbers);
    }
    let rows = sorted(counted, &book, question);
    let rows = rows.into_iter();
    let rows: Vec<_> = rows
        .filter_map(|counted| book.row(&cells, counted))
        .collect();
    let first_unit = rows.first().map(|row| &row.group.unit);
    let one_unit = (rows.iter()).all(|row| Some(&row.group.unit) == first_unit);
    if question.by.contains(&By::Policy) && rows.len() > 1 {
        notes.push(
            "A call that several policies count is in the row of each, and in the totals as often."
                .to_owned(),
        );
    }
    let wants_overlap =
        question.by.contains(&By::Step(Step::Day)) && !question.by.contains(&By::Policy);
    let last_24h = if wants_overlap && to >= now {
        overlap(snapshot, &book, &kept, now, &question.zone)?
    } else {
        None
    };
    Ok(Ok(Answer {
        from,
        to,
        rows,
        totals,
        one_unit,
        last_24h,
        notes,
    }))
}

/// The range as it can be told.
struct Settled {
    from: i64,
    to: i64,
    cells: Vec<plan::Cell>,
}

fn settle(
    question: &Question,
    now: i64,
    kept: &Kept,
    begins: Option<i64>,
    notes: &mut Vec<String>,
) -> Result<Settled, Unanswerable> {
    let zone = &question.zone;
    let too_far = || "The range is out of all calendars: write nearer dates.".to_owned();
    let (asked_from, asked_to) = match question.range {
        Range::Minutes(minutes) => (now - i64::from(minutes) * 60, now),
        Range::Dates(dates) => {
            let today = date(now - 1, zone).ok_or_else(too_far)?;
            let back = i64::from(dates.saturating_sub(1)).days();
            let first = today.checked_sub(back).map_err(|_| too_far())?;
            (plan::midnight(first, zone).ok_or_else(too_far)?, now)
        }
        Range::Between(from, to) => (from, to.unwrap_or(now)),
    };
    if asked_from >= asked_to {
        let is_now = !matches!(question.range, Range::Between(_, Some(_)));
        return Err(empty(asked_from, asked_to, is_now));
    }
    let (from, to) = (kept.edge_before(asked_from), kept.edge_after(asked_to));
    for (what, asked, edge) in [("begins", asked_from, from), ("ends", asked_to, to)] {
        if asked != edge {
            notes.push(format!(
                "The range {what} at {}, not at {}: of that time there are only totals of {}.",
                told(edge),
                told(asked),
                spoken(kept.finest(asked))
            ));
        }
    }
    let step = question.by.iter().find_map(|by| match by {
        By::Step(step) => Some(*step),
        _ => None,
    });
    // Rows of a time of which there is nothing are not even made.
    let first = begins.map_or(from, |begins| begins.clamp(from, to));
    let cells = plan::cells(first, to, step, zone, MOST_CELLS).ok_or_else(|| {
        format!("The range has more than {MOST_CELLS} rows of time: choose a shorter one, or longer steps.")
    })?;
    let mut settled = Settled { from, to, cells };
    if let (Some(step), Some(last)) = (step, last_blurred(&settled.cells, kept)) {
        let unit = step.as_str();
        let finest = spoken(kept.finest(last));
        let after = settled.cells.iter().position(|cell| cell.start > last);
        let Some(after) = after else {
            return Err(format!(
                "Of that time there are only totals of {finest}, which no row by {unit} in this time zone can be made of: ask for longer steps, a later range, or `tz=UTC`."
            ));
        };
        settled.cells.drain(..after);
        settled.from = settled.cells.first().map_or(to, |cell| cell.start);
        notes.push(format!(
            "Rows by {unit} begin at {}: of what is older there are only totals of {finest}.",
            told(settled.from)
        ));
    }
    if let Some(begins) = begins
        && begins > settled.from
    {
        notes.push(format!(
            "The history begins on {} (UTC).",
            told(begins).get(..10).unwrap_or_default()
        ));
    }
    Ok(settled)
}

/// Why there is nothing between two moments.
fn empty(from: i64, to: i64, is_now: bool) -> Unanswerable {
    let begins = told(from);
    if is_now {
        return format!(
            "The range begins at {begins}, and that is not over yet: `from` must be before now."
        );
    }
    if from == to {
        return format!(
            "The range begins and ends at {begins}: `from` must be before `to`, by a second at the least."
        );
    }
    format!(
        "The range ends at {} and begins at {begins}: `from` must be before `to`.",
        told(to)
    )
}

/// The last boundary between rows that cannot be told exactly.
fn last_blurred(cells: &[plan::Cell], kept: &Kept) -> Option<i64> {
    let starts = cells.iter().skip(1).rev().map(|cell| cell.start);
    let mut blurred = starts.filter(|start| !kept.is_edge(*start));
    blurred.next()
}

/// The last 24 hours against the dates of the zone; nothing where a part of it is not kept by minutes any more.
fn overlap(
    snapshot: &Snapshot<'_>,
    book: &Book,
    kept: &Kept,
    now: i64,
    zone: &TimeZone,
) -> Result<Option<Overlap>, ReadError> {
    let from = now - DAY;
    let first = date(from, zone).and_then(|date| plan::midnight(date, zone));
    let cells = first.and_then(|first| plan::cells(first, now, Some(Step::Day), zone, 8));
    let Some(days) = cells else { return Ok(None) };
    // The date in which the 24 hours begin is counted in two parts.
    let mut cells = Vec::new();
    for day in days {
        if day.start < from && from < day.end {
            let mut before = day.clone();
            before.end = from;
            cells.push(before);
            cells.push(plan::Cell { start: from, ..day });
        } else {
            cells.push(day);
        }
    }
    if cells.iter().any(|cell| !kept.is_edge(cell.start)) {
        return Ok(None);
    }
    let mut days: Vec<OverlapDay> = Vec::new();
    let mut parts = vec![0_u64; cells.len()];
    for Counted { cell, numbers, .. } in tally(snapshot, &cells, book)? {
        if let Some(part) = parts.get_mut(cell) {
            *part += numbers.calls;
        }
    }
    for (cell, calls) in cells.into_iter().zip(parts) {
        if days.last().is_none_or(|last| *last.day != *cell.label) {
            days.push(OverlapDay {
                day: cell.label.to_string(),
                calls: 0,
                within: 0,
                before: 0,
            });
        }
        let Some(day) = days.last_mut() else { continue };
        day.calls += calls;
        if cell.start < from {
            day.before += calls;
        } else {
            day.within += calls;
        }
    }
    Ok(Some(Overlap {
        from,
        to: now,
        calls: days.iter().map(|day| day.within).sum(),
        days,
    }))
}

/// With time in the order of the columns, else the most calls first. Groups are compared once, not with each row.
fn sorted(mut rows: Vec<Counted>, book: &Book, question: &Question) -> Vec<Counted> {
    let ranks = book.ranks(question);
    let timed = question.by.iter().any(|by| matches!(by, By::Step(_)));
    rows.sort_unstable_by_key(|row| {
        let (first, then) = ranks.get(row.group).copied().unwrap_or_default();
        let most = if timed { 0 } else { row.numbers.calls };
        (Reverse(most), first, row.cell, then)
    });
    rows
}

fn date(moment: i64, zone: &TimeZone) -> Option<Date> {
    let moment = Timestamp::from_second(moment).ok()?;
    Some(moment.to_zoned(zone.clone()).date())
}

/// A moment as it stands in answers: RFC 3339, UTC.
#[must_use]
pub fn told(moment: i64) -> String {
    Timestamp::from_second(moment).map_or_else(|_| moment.to_string(), |one| one.to_string())
}

const fn spoken(level: i64) -> &'static str {
    match level {
        60 => "whole minutes",
        900 => "quarter hours",
        3_600 => "hours",
        _ => "days (UTC)",
    }
}
