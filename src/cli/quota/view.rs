//! Meters as bars. A report in, text out; no I/O.

use std::cmp::Reverse;

use crate::cli::ink::{Ink, cut, length};
use crate::ledger::report::MeterReport;
use crate::simulate::provider::thousands;

/// How much is said of each meter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Detail {
    /// One line.
    Brief,
    /// Also who used it, and whose budget it is.
    Full,
}

/// Every meter as a bar. No line is wider than `width`, which is at least 80.
pub(in crate::cli) fn table(
    meters: &[MeterReport],
    width: usize,
    detail: Detail,
    ink: Ink,
) -> String {
    let columns = Columns::new(meters, width);
    let mut text = columns.titles(ink);
    let mut last = "";
    for meter in meters {
        // A name is not repeated below itself.
        let name = if meter.connection == last {
            ""
        } else {
            &meter.connection
        };
        last = &meter.connection;
        text.push_str(&columns.row(name, meter, ink));
        if detail == Detail::Full {
            text.push_str(&details(meter, width, ink));
        }
    }
    if meters.iter().any(is_estimated) {
        let note = "  ~ estimated: a part of it is neither told by the provider nor configured";
        text.push_str(&format!("{}\n", ink.dim(note)));
    }
    text
}

/// What runs out first comes first: what is used up, the longest first; then what will be, at the present pace; then what
/// has the least left.
pub(in crate::cli) fn by_urgency(meters: &mut [MeterReport]) {
    meters.sort_by_cached_key(|meter| {
        let reset = Reverse(meter.reset.unwrap_or(0));
        let part = match (meter.remaining, meter.limit) {
            (Some(left), Some(limit)) if limit > 0 => {
                u128::from(left) * 1_000_000 / u128::from(limit)
            }
            _ => u128::MAX,
        };
        let forecast = meter.forecast.as_ref().map(|told| told.runs_out_in);
        match (meter.remaining, forecast) {
            (Some(0), _) => (0, reset, 0),
            (_, Some(secs)) => (1, Reverse(0), u128::from(secs)),
            _ => (2, Reverse(0), part),
        }
    });
}

/// How wide each column is.
struct Columns {
    connection: usize,
    policy: usize,
    bar: usize,
    numbers: usize,
    source: usize,
}

/// As wide as its title, and as `23h 59m`.
const RESET: usize = 8;

/// What is left of names and bars where there is little room.
const SHORTEST_NAME: usize = 10;
const SHORTEST_BAR: usize = 8;

/// The longest bar: a longer one says nothing more.
const LONGEST_BAR: usize = 60;

impl Columns {
    fn new(meters: &[MeterReport], width: usize) -> Self {
        let widest = |text: &dyn Fn(&MeterReport) -> String, least: usize| {
            let widths = meters.iter().map(|meter| text(meter).chars().count());
            widths.max().unwrap_or(0).max(least)
        };
        let mut columns = Self {
            connection: widest(&|meter| meter.connection.clone(), SHORTEST_NAME),
            policy: widest(&|meter| meter.policy.clone(), SHORTEST_NAME),
            bar: 0,
            numbers: widest(&numbers, 4),
            source: widest(&source, 6),
        };
        let others = 2 + 1 + 1 + 1 + columns.numbers + 2 + RESET + 2 + columns.source;
        let room = width.saturating_sub(others);
        // Where there is little room, the longer names give way to the bars.
        while columns.connection + columns.policy + SHORTEST_BAR > room
            && columns.connection.max(columns.policy) > SHORTEST_NAME
        {
            if columns.connection > columns.policy {
                columns.connection -= 1;
            } else {
                columns.policy -= 1;
            }
        }
        let rest = room.saturating_sub(columns.connection + columns.policy);
        columns.bar = rest.clamp(1, LONGEST_BAR);
        columns
    }

    fn titles(&self, ink: Ink) -> String {
        let gap = self.connection + 1 + self.policy + 1 + self.bar + 1;
        let numbers = self.numbers;
        let line = format!(
            "  {:gap$}{:>numbers$}  {:<RESET$}  source",
            "", "left", "reset in"
        );
        format!("{}\n", ink.dim(&line))
    }

    fn row(&self, name: &str, meter: &MeterReport, ink: Ink) -> String {
        let Self {
            connection,
            policy,
            numbers: width,
            ..
        } = *self;
        let name = format!("{:<connection$}", cut(&plain(name), connection));
        let policy = format!("{:<policy$}", cut(&plain(&meter.policy), policy));
        let numbers = format!("{:>width$}", numbers(meter));
        let numbers = match meter.remaining {
            Some(0) => ink.bad(&numbers),
            _ => numbers,
        };
        // A quota that is whole does not come back.
        let reset = meter.reset.filter(|secs| *secs > 0);
        let reset = reset.map(length).unwrap_or_default();
        let rest = format!("{reset:<RESET$}  {}", source(meter));
        format!(
            "  {} {policy} {} {numbers}  {}\n",
            ink.bold(&name),
            self.bar(meter, ink),
            ink.dim(rest.trim_end())
        )
    }

    /// As long as what is left.
    fn bar(&self, meter: &MeterReport, ink: Ink) -> String {
        let length = self.bar;
        let (Some(left), Some(limit @ 1..)) = (meter.remaining, meter.limit) else {
            return ink.dim(&"·".repeat(length));
        };
        let left = left.min(limit);
        // Something left is something to see.
        let filled = (u128::from(left) * length as u128).div_ceil(u128::from(limit));
        let filled = usize::try_from(filled).unwrap_or(length).min(length);
        let full = "█".repeat(filled);
        let full = if left < limit / 4 {
            ink.warn(&full)
        } else {
            ink.good(&full)
        };
        format!("{full}{}", ink.dim(&"░".repeat(length - filled)))
    }
}

/// `28 of 30`, as far as it is known.
fn numbers(meter: &MeterReport) -> String {
    match (meter.remaining, meter.limit) {
        (Some(left), Some(limit)) => format!("{} of {}", short(left), short(limit)),
        (Some(left), None) => short(left),
        (None, Some(limit)) => format!("? of {}", short(limit)),
        (None, None) => "?".to_owned(),
    }
}

/// `9,999,999`, `12.3M`. Rounded down: nobody has more than it says.
pub(in crate::cli) fn short(number: u64) -> String {
    let mut unit = 1_000_000_u64;
    if number < 10 * unit {
        return thousands(number);
    }
    let mut letter = "M";
    for larger in ["G", "T", "P", "E"] {
        if number / 1_000 < unit {
            break;
        }
        unit = unit.saturating_mul(1_000);
        letter = larger;
    }
    format!("{}.{}{letter}", number / unit, number % unit / (unit / 10))
}

fn is_estimated(meter: &MeterReport) -> bool {
    meter.source.ends_with(";estimated")
}

/// `own`, `~own`.
fn source(meter: &MeterReport) -> String {
    let who = meter.source.split(';').next().unwrap_or_default();
    let mark = if is_estimated(meter) { "~" } else { "" };
    plain(&format!("{mark}{who}"))
}

/// A few words, and how they look.
type Item = (String, fn(Ink, &str) -> String);

/// What else there is to say, below the bar: the urgent first.
fn details(meter: &MeterReport, width: usize, ink: Ink) -> String {
    let mut items: Vec<Item> = Vec::new();
    if let Some(secs) = meter.suspended {
        let text = format!("the provider wants no call for {}", length(secs));
        items.push((text, Ink::bad));
    }
    if meter.waiting > 0 {
        items.push((format!("{} waiting", meter.waiting), Ink::warn));
    }
    if let Some(forecast) = &meter.forecast {
        let text = format!("runs out in {}", length(forecast.runs_out_in));
        items.push((text, Ink::warn));
    }
    let mut add = |text: String| items.push((text, Ink::dim));
    if meter.used > 0 {
        add(format!("{} used", thousands(meter.used)));
    }
    for user in meter.consumers.iter().take(SHOWN) {
        add(format!("{} {}", user.consumer, thousands(user.used)));
    }
    if meter.consumers.len() > SHOWN {
        add(format!("{} more", meter.consumers.len() - SHOWN));
    }
    if meter.others > 0 {
        add(format!("{} outside headroom", thousands(meter.others)));
    }
    if meter.in_flight > 0 {
        add(format!("{} in flight", thousands(meter.in_flight)));
    }
    match &*meter.mode {
        "observe" => add("only observed".to_owned()),
        "wait" => add("calls wait".to_owned()),
        _ => {}
    }
    if meter.unit != "requests" {
        add(meter.unit.clone());
    }
    if !meter.partition.is_empty() {
        add(meter.partition.clone());
    }
    lines(&items, width, ink)
}

/// So many consumers are shown of one meter; the JSON has all.
const SHOWN: usize = 5;

/// Before every line of details.
const INDENT: &str = "    ";

/// Items with a dot between them, as many on a line as fit.
fn lines(items: &[Item], width: usize, ink: Ink) -> String {
    let mut text = String::new();
    let mut column = 0;
    for (item, paint) in items {
        let item = cut(&plain(item), width - INDENT.len());
        let length = item.chars().count();
        if column == 0 {
            text.push_str(INDENT);
            column = INDENT.len();
        } else if column + 3 + length > width {
            text.push('\n');
            text.push_str(INDENT);
            column = INDENT.len();
        } else {
            text.push_str(&ink.dim(" · "));
            column += 3;
        }
        text.push_str(&paint(ink, &item));
        column += length;
    }
    if column > 0 {
        text.push('\n');
    }
    text
}

/// Paths of callers stand in partitions, and must not steer anybody's terminal.
pub(in crate::cli) fn plain(text: &str) -> String {
    let safe = |letter: char| if letter.is_control() { '?' } else { letter };
    text.chars().map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::report::{ConsumerReport, Forecast};

    fn meter(connection: &str, policy: &str, remaining: Option<u64>) -> MeterReport {
        MeterReport {
            connection: connection.to_owned(),
            provider: connection.to_owned(),
            policy: policy.to_owned(),
            partition: String::new(),
            unit: "requests".to_owned(),
            limit: Some(30),
            used: 2,
            remaining,
            reset: Some(3_598),
            window: Some(3_600),
            source: "provider".to_owned(),
            mode: "enforce".to_owned(),
            suspended: None,
            in_flight: 0,
            waiting: 0,
            consumers: Vec::new(),
            others: 0,
            forecast: None,
        }
    }

    #[test]
    fn a_bar_is_as_long_as_what_is_left() {
        for (left, bar) in [
            (Some(30), "████████"),
            (Some(15), "████░░░░"),
            (Some(1), "█░░░░░░░"),
            (Some(0), "░░░░░░░░"),
            (None, "········"),
        ] {
            let columns = Columns {
                bar: 8,
                ..Columns::new(&[], 80)
            };
            let meter = meter("toggl", "organization", left);
            assert_eq!(columns.bar(&meter, Ink::none()), bar);
        }
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let mut long = meter(
            "a-connection-with-quite-a-name",
            "a-policy-with-quite-a-name",
            Some(u64::MAX),
        );
        long.limit = Some(u64::MAX);
        long.reset = Some(364 * 86_400);
        long.source = "provider;estimated".to_owned();
        long.partition = "credential=0123456789abcdef/".repeat(9) + "\x1b[2J";
        long.suspended = Some(1);
        long.waiting = 12;
        long.others = 7;
        long.in_flight = 3;
        long.mode = "wait".to_owned();
        long.unit = "points".to_owned();
        long.forecast = Some(Forecast {
            runs_out_in: 90,
            runs_out_at: String::new(),
        });
        let users = (0..9).map(|number| ConsumerReport {
            consumer: format!("consumer-{number}"),
            used: 1,
        });
        long.consumers = users.collect();
        let mut most = meter("b", "c", Some(9_999_999));
        most.limit = Some(9_999_999);
        for width in [80, 95, 96, 140, 300] {
            let text = table(
                &[long.clone(), most.clone()],
                width,
                Detail::Full,
                Ink::none(),
            );
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
            assert!(!text.contains('\x1b'), "{text}");
        }
    }

    #[test]
    fn what_runs_out_first_comes_first() {
        let mut soon = meter("soon", "", Some(20));
        soon.forecast = Some(Forecast {
            runs_out_in: 60,
            runs_out_at: String::new(),
        });
        let mut short = meter("short-wait", "", Some(0));
        short.reset = Some(1);
        let mut meters = [
            meter("unknown", "", None),
            meter("much", "", Some(30)),
            meter("little", "", Some(1)),
            soon,
            short,
            meter("long-wait", "", Some(0)),
        ];
        by_urgency(&mut meters);
        let names: Vec<&str> = meters.iter().map(|meter| &*meter.connection).collect();
        assert_eq!(
            names,
            [
                "long-wait",
                "short-wait",
                "soon",
                "little",
                "much",
                "unknown"
            ]
        );
    }

    #[test]
    fn large_numbers_are_short() {
        assert_eq!(short(9_999_999), "9,999,999");
        assert_eq!(short(12_399_999), "12.3M");
        assert_eq!(short(999_999_999), "999.9M");
        assert_eq!(short(1_000_000_000), "1.0G");
        assert_eq!(short(u64::MAX), "18.4E");
    }
}
