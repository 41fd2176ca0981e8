//! Small values: durations, windows, zones.

use jiff::tz::TimeZone;

use crate::adapter::{WindowLength, Zone};
use crate::diagnostic::{Mistakes, closest};
use crate::document::Node;

/// Seconds of a duration such as `90s`, `15m`, `24h`, `7d`. At least one second, at most 366 days.
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    seconds_up_to(text, 366)
}

/// The same, at most so many days.
#[must_use]
pub fn seconds_up_to(text: &str, most_days: u64) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)
        .filter(|&seconds| seconds > 0 && seconds.div_ceil(86_400) <= most_days)
}

pub(super) fn seconds_of(node: Node<'_>, mistakes: &mut Mistakes) -> Option<u64> {
    let text = node.text()?;
    let seconds = seconds(text);
    if seconds.is_none() {
        mistakes.push(
            "bad-duration",
            node.span(),
            format!("\"{text}\" is not a length of time"),
            "write a number and its unit: \"10s\", \"15m\", \"1h\", \"7d\" (at most 366 days)",
        );
    }
    seconds
}

pub(super) fn window_of(node: Node<'_>, mistakes: &mut Mistakes) -> Option<WindowLength> {
    let text = node.text()?;
    let window = match text {
        "day" => Some(WindowLength::Day),
        "week" => Some(WindowLength::Week),
        "month" => Some(WindowLength::Month),
        text => seconds(text).map(WindowLength::Seconds),
    };
    if window.is_none() {
        mistakes.push(
            "bad-duration",
            node.span(),
            format!("\"{text}\" is not a window"),
            "write a number and its unit (\"10s\", \"15m\", \"24h\"), or \"day\", \"week\", \"month\"",
        );
    }
    window
}

/// A time zone by its IANA name.
#[must_use]
pub fn zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" {
        return Some(TimeZone::UTC);
    }
    // Only bundled names: the machine's own "localtime" must not leak into numbers.
    if name.is_empty() || name.starts_with(['/', '.']) {
        return None;
    }
    TimeZone::get(name).ok()
}

/// The zone that was probably meant: near in letters, or by its city alone.
#[must_use]
pub fn closest_zone(name: &str) -> Option<String> {
    let known: Vec<String> = jiff::tz::db()
        .available()
        .map(|zone| zone.as_str().to_owned())
        .collect();
    let city = known.iter().find(|zone| {
        zone.rsplit('/')
            .next()
            .is_some_and(|city| city.eq_ignore_ascii_case(&name.replace(' ', "_")))
    });
    city.map(String::as_str)
        .or_else(|| closest(name, known.iter().map(String::as_str)))
        .map(str::to_owned)
}

pub(super) fn zone_of(node: Node<'_>, mistakes: &mut Mistakes) -> Option<Zone> {
    let text = node.text()?;
    if text == "account" {
        return Some(Zone::Account);
    }
    named_zone_of(node, mistakes).map(Zone::Named)
}

pub(super) fn named_zone_of(node: Node<'_>, mistakes: &mut Mistakes) -> Option<TimeZone> {
    let text = node.text()?;
    let zone = zone(text);
    if zone.is_none() {
        mistakes.push(
            "bad-time-zone",
            node.span(),
            format!("\"{text}\" is not a time zone"),
            closest_zone(text).map_or_else(
                || "write \"UTC\" or a name such as \"America/Los_Angeles\"; for a policy also \"account\"".to_owned(),
                |near| format!("did you mean \"{near}\"?"),
            ),
        );
    }
    zone
}
