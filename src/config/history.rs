//! `[history]`: what is kept of the calls, and for how long.

use std::time::Duration;

use super::reader::Reader;
use crate::adapter::parse::read_seconds_up_to;
use crate::document::Fields;
use crate::history::Settings;

/// The last 24 hours are counted by minutes at both ends, and minutes are whole from a quarter hour on.
const LEAST_MINUTES: Duration = Duration::from_secs(26 * 3_600);

/// The last 7 dates may be an hour longer than 7 days, and hours are whole from a UTC midnight on.
const LEAST_HOURS: Duration = Duration::from_secs(8 * 86_400);

/// With less the reports would soon lack what they need.
const LEAST_BYTES: u64 = 16 << 20;

/// Ten years.
const MOST_DAYS: u64 = 3_660;

impl Reader<'_> {
    pub(super) fn history(&mut self, fields: &Fields<'_>) -> Settings {
        let defaults = Settings::default();
        let at_all = Duration::ZERO;
        let settings = Settings {
            keep_events: self.kept(fields, "keep_events", at_all, defaults.keep_events),
            max_events: self.at_least(fields, "max_events", 1, defaults.max_events),
            keep_minutes: self.kept(fields, "keep_minutes", LEAST_MINUTES, defaults.keep_minutes),
            keep_hours: self.kept(fields, "keep_hours", LEAST_HOURS, defaults.keep_hours),
            keep_days: self.kept(fields, "keep_days", at_all, defaults.keep_days),
            max_bytes: self.at_least(fields, "max_size", LEAST_BYTES, defaults.max_bytes),
        };
        // A report takes the shortest totals that are there, so nothing may outlive what is longer.
        let (minutes, hours) = (settings.keep_minutes, settings.keep_hours);
        self.in_order(fields, ("keep_minutes", minutes), ("keep_hours", hours));
        let days = settings.keep_days;
        self.in_order(fields, ("keep_hours", hours), ("keep_days", days));
        settings
    }

    /// A length of time; what is refused counts as left out.
    fn kept(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        least: Duration,
        default: Duration,
    ) -> Duration {
        let Some(node) = fields.get(key) else {
            return default;
        };
        let Some(text) = self.text(node) else {
            return default;
        };
        let Some(seconds) = read_seconds_up_to(&text, MOST_DAYS) else {
            self.mistakes.push(
                "bad-duration",
                node.span(),
                format!("\"{text}\" is not a length of time"),
                format!("write a number and its unit: \"36h\", \"35d\" (at most {MOST_DAYS} days)"),
            );
            return default;
        };
        let kept = Duration::from_secs(seconds);
        if kept < least {
            let report = if key == "keep_minutes" {
                "24 hours"
            } else {
                "7 days, in any time zone,"
            };
            self.mistakes.push(
                "kept-too-short",
                node.span(),
                format!("`{key}` is too short"),
                format!(
                    "write at least \"{}\": the report of the last {report} needs them",
                    length(least)
                ),
            );
            return default;
        }
        kept
    }

    fn at_least(&mut self, fields: &Fields<'_>, key: &str, least: u64, default: u64) -> u64 {
        let Some((node, number)) = fields
            .get(key)
            .and_then(|node| Some((node, node.integer()?)))
        else {
            return default;
        };
        if number >= least {
            return number;
        }
        let help = if least == LEAST_BYTES {
            format!("write bytes, at least {least}, which are 16 MiB")
        } else {
            format!("write at least {least}; `keep_events` says how long each is kept")
        };
        let problem = format!("`{key}` is out of range");
        self.mistakes
            .push("number-out-of-range", node.span(), problem, help);
        default
    }

    /// Told at the key of the longer totals, unless only the other one is written.
    fn in_order(
        &mut self,
        fields: &Fields<'_>,
        (shorter, short): (&str, Duration),
        (longer, long): (&str, Duration),
    ) {
        let Some(node) = fields.get(longer).or_else(|| fields.get(shorter)) else {
            return;
        };
        if short <= long {
            return;
        }
        let (short, long) = (length(short), length(long));
        let unsaid = fields.get(longer).map_or(" if left out", |_| "");
        self.mistakes.push(
            "kept-too-short",
            node.span(),
            format!("`{longer}`, \"{long}\"{unsaid}, is shorter than `{shorter}`, \"{short}\""),
            format!("write {longer} = \"{short}\" or longer, or a shorter `{shorter}`"),
        );
    }
}

/// As it is written, in the longest unit that fits.
fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    // Below two days people say hours.
    let fits = |(unit, _): &(u64, char)| seconds.is_multiple_of(*unit) && seconds / unit > 1;
    let (unit, letter) = units.into_iter().find(fits).unwrap_or((1, 's'));
    format!("{}{letter}", seconds / unit)
}
