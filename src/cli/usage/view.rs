//! A report as tables. The answer of `/-/usage` in, text out; no I/O.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::table::{self, Column};
use crate::cli::ink::Ink;
use crate::cli::quota::view::{plain, short};
use crate::simulate::provider::thousands;

/// The answer of `/-/usage`.
#[derive(Debug, Deserialize)]
pub(super) struct Report {
    from: String,
    to: String,
    time_zone: String,
    by: Vec<String>,
    rows: Vec<Map<String, Value>>,
    totals: Map<String, Value>,
    last_24h: Option<Overlap>,
    notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Overlap {
    calls: u64,
    days: Vec<OverlapDay>,
}

#[derive(Debug, Deserialize)]
struct OverlapDay {
    day: String,
    calls: u64,
    within_last_24h: u64,
    before: u64,
}

/// Numbers of a list, with their titles.
const LISTED: [(&str, &str); 8] = [
    ("calls", "calls"),
    ("cost", "cost"),
    ("ok", "ok"),
    ("failed", "failed"),
    ("refused", "refused"),
    ("exhausted", "exhausted"),
    ("unanswered", "unanswered"),
    ("waited", "waited"),
];

/// More dates than this are not set side by side.
const MOST_DAYS: usize = 14;

/// The report, after a title.
pub(super) fn text(report: &Report, title: &str, width: usize, ink: Ink) -> String {
    let mut text = format!("  {}\n", heading(report, title, ink));
    if report.rows.is_empty() {
        text.push_str("  no calls\n");
    } else {
        let dates = by_date(report).filter(|columns| table::least_width(columns) <= width);
        let columns = dates.unwrap_or_else(|| list(report));
        text.push_str(&table::text(&columns, width, ink));
    }
    let sentence = report.last_24h.as_ref().map(explained);
    for note in sentence.iter().chain(&report.notes) {
        text.push_str(&wrapped(&plain(note), width, ink));
    }
    text
}

/// `Last 7 days by consumer and day, from 2026-11-16 00:00 to 2026-11-22 01:31 UTC`.
fn heading(report: &Report, title: &str, ink: Ink) -> String {
    let by = match report.by.as_slice() {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        only => only.join(""),
    };
    let title = if title.is_empty() { "Calls" } else { title };
    let zone = zone(report);
    let from = clock(&report.from, &zone);
    let to = clock(&report.to, &zone);
    format!(
        "{}  {}",
        ink.bold(&format!("{title} by {}", plain(&by))),
        ink.dim(&format!("{from} to {to} {}", plain(&report.time_zone)))
    )
}

fn zone(report: &Report) -> TimeZone {
    TimeZone::get(&report.time_zone).unwrap_or(TimeZone::UTC)
}

/// As clocks of the zone show it.
fn clock(moment: &str, zone: &TimeZone) -> String {
    let Ok(moment) = moment.parse::<Timestamp>() else {
        return plain(moment);
    };
    let local = moment.to_zoned(zone.clone());
    local.strftime("%Y-%m-%d %H:%M").to_string()
}

/// One line a row.
fn list(report: &Report) -> Vec<Column> {
    let unit = report.by.iter().any(|by| by == "policy").then_some("unit");
    let names = report.by.iter().map(String::as_str).chain(unit);
    let mut columns: Vec<Column> = names
        .map(|name| Column {
            title: name.to_owned(),
            fields: report.rows.iter().map(|row| word(row, name)).collect(),
            sum: String::new(),
            is_number: false,
        })
        .collect();
    if let Some(first) = columns.first_mut() {
        first.sum = "all".to_owned();
    }
    for (name, title) in LISTED {
        let all = report.totals.get(name);
        let is_nothing = report.rows.iter().all(|row| number(row, name) == 0);
        // What never happened needs no column.
        if all.is_none() || (is_nothing && name != "calls") {
            continue;
        }
        columns.push(Column {
            title: title.to_owned(),
            fields: report
                .rows
                .iter()
                .map(|row| short(number(row, name)))
                .collect(),
            // Points and requests have no sum.
            sum: all.and_then(Value::as_u64).map(short).unwrap_or_default(),
            is_number: true,
        });
    }
    columns
}

/// A line for each name and a column for each date, where the report is by these two.
fn by_date(report: &Report) -> Option<Vec<Column>> {
    let [name] = report
        .by
        .iter()
        .filter(|by| *by != "day")
        .collect::<Vec<_>>()[..]
    else {
        return None;
    };
    if report.by.len() != 2 || name == "policy" || name == "hour" || name == "minute" {
        return None;
    }
    let days = days(report)?;
    let mut names: Vec<(String, u64)> = Vec::new();
    for row in &report.rows {
        let (word, calls) = (word(row, name), number(row, "calls"));
        match names.iter_mut().find(|(known, _)| *known == word) {
            Some((_, all)) => *all += calls,
            None => names.push((word, calls)),
        }
    }
    names.sort_by(|(a, most), (b, more)| more.cmp(most).then_with(|| a.cmp(b)));
    let mut columns = vec![Column {
        title: name.clone(),
        fields: names.iter().map(|(name, _)| name.clone()).collect(),
        sum: "all".to_owned(),
        is_number: false,
    }];
    for day in days {
        let of_day = |row: &&Map<String, Value>| word(row, "day") == day;
        let rows: Vec<_> = report.rows.iter().filter(of_day).collect();
        let calls = |of: &str| {
            let rows = rows.iter().filter(|row| word(row, name) == *of);
            rows.map(|row| number(row, "calls")).sum::<u64>()
        };
        columns.push(Column {
            title: day.get(5..).unwrap_or_default().to_owned(),
            fields: names.iter().map(|(name, _)| short(calls(name))).collect(),
            sum: short(rows.iter().map(|row| number(row, "calls")).sum()),
            is_number: true,
        });
    }
    columns.push(Column {
        title: "all".to_owned(),
        fields: names.iter().map(|(_, calls)| short(*calls)).collect(),
        sum: short(number(&report.totals, "calls")),
        is_number: true,
    });
    Some(columns)
}

/// The dates of the range, also those without a call; `None` where they are too many.
fn days(report: &Report) -> Option<Vec<String>> {
    let zone = zone(report);
    let (from, to) = (
        report.from.parse::<Timestamp>().ok()?,
        report.to.parse::<Timestamp>().ok()?,
    );
    let last = to.as_second().checked_sub(1)?;
    let last = Timestamp::from_second(last)
        .ok()?
        .to_zoned(zone.clone())
        .date();
    let mut day = from.to_zoned(zone).date();
    let mut days = Vec::new();
    while day <= last {
        if days.len() == MOST_DAYS {
            return None;
        }
        days.push(day.to_string());
        day = day.tomorrow().ok()?;
    }
    Some(days)
}

/// Why the last 24 hours are not the sum of dates.
fn explained(overlap: &Overlap) -> String {
    let days = overlap.days.iter().map(|day| {
        let (calls, date) = (thousands(day.calls), &day.day);
        if day.calls == 0 {
            format!("none of {date}")
        } else if day.before == 0 {
            format!("all {calls} of {date}")
        } else {
            format!(
                "{} of the {calls} of {date}, because the other {} came earlier that day",
                thousands(day.within_last_24h),
                thousands(day.before)
            )
        }
    });
    let days: Vec<_> = days.collect();
    format!(
        "The last 24 hours are {} calls: {}.",
        thousands(overlap.calls),
        days.join("; and ")
    )
}

/// A name or a time; a dash where there is none.
fn word(row: &Map<String, Value>, name: &str) -> String {
    match row.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "-".to_owned(),
    }
}

fn number(row: &Map<String, Value>, name: &str) -> u64 {
    row.get(name).and_then(Value::as_u64).unwrap_or(0)
}

/// A sentence below a table, on as many lines as it needs.
fn wrapped(sentence: &str, width: usize, ink: Ink) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("  {word}")),
        }
    }
    let lines = lines.iter().map(|line| format!("{}\n", ink.dim(line)));
    lines.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(by: &[&str], rows: &Value) -> Report {
        let calls: u64 = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["calls"].as_u64().unwrap())
            .sum();
        serde_json::from_value(json!({
            "from": "2026-11-19T23:00:00Z",
            "to": "2026-11-22T01:31:00Z",
            "time_zone": "Europe/Oslo",
            "by": by,
            "rows": rows,
            "totals": { "calls": calls, "ok": calls },
            "notes": ["Something is to be known.".repeat(9)],
        }))
        .unwrap()
    }

    #[test]
    fn dates_stand_side_by_side_where_they_fit() {
        let rows = json!([
            { "consumer": "billing", "day": "2026-11-20", "calls": 1_234, "ok": 1_234 },
            { "consumer": "reports", "day": "2026-11-20", "calls": 5, "ok": 5 },
            { "consumer": "reports", "day": "2026-11-22", "calls": 9_000, "ok": 9_000 },
        ]);
        let mut report = report(&["consumer", "day"], &rows);
        report.notes.clear();
        assert_eq!(
            text(&report, "", 80, Ink::none()),
            "  Calls by consumer and day  2026-11-20 00:00 to 2026-11-22 02:31 Europe/Oslo\n  \
             consumer  11-20  11-21  11-22     all\n  \
             reports       5      0  9,000   9,005\n  \
             billing   1,234      0      0   1,234\n  \
             all       1,239      0  9,000  10,239\n"
        );
        report.from = "2026-10-01T00:00:00Z".to_owned();
        let list = text(&report, "", 80, Ink::none());
        assert!(
            list.contains("\n  consumer  day          calls      ok\n"),
            "{list}"
        );
    }

    #[test]
    fn nothing_is_wider_than_the_terminal_and_nothing_steers_it() {
        let endpoint = "/a/long/path".repeat(20) + "\u{1b}[2J";
        let rows = json!([
            { "endpoint": endpoint, "consumer": "x".repeat(90), "refused_by": null, "calls": u64::MAX / 2, "ok": 1 },
        ]);
        let report = report(&["endpoint", "consumer", "refused_by"], &rows);
        for width in [80, 140] {
            let text = text(&report, "", width, Ink::none());
            assert!(!text.contains('\u{1b}'), "{text}");
            for line in text.lines().skip(1) {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn the_last_24_hours_are_explained_to_the_call() {
        let day = |day: &str, within, before| OverlapDay {
            day: day.to_owned(),
            calls: within + before,
            within_last_24h: within,
            before,
        };
        let overlap = |days: Vec<OverlapDay>| Overlap {
            calls: days.iter().map(|day| day.within_last_24h).sum(),
            days,
        };
        assert_eq!(
            explained(&overlap(vec![
                day("2026-11-21", 900, 1_200),
                day("2026-11-22", 400, 0)
            ])),
            "The last 24 hours are 1,300 calls: 900 of the 2,100 of 2026-11-21, because the other 1,200 came earlier that day; and all 400 of 2026-11-22."
        );
        assert_eq!(
            explained(&overlap(vec![
                day("2026-11-21", 0, 0),
                day("2026-11-22", 400, 0)
            ])),
            "The last 24 hours are 400 calls: none of 2026-11-21; and all 400 of 2026-11-22."
        );
    }
}
