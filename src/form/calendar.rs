//! Dates of the calendar: RFC 3339, HTTP-date, JavaScript's `Date`, and local times by a pattern of strftime.

use std::time::{Duration, SystemTime};

use jiff::civil::{DateTime, Time, datetime};
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// 0000-01-01T00:00:00Z in seconds: four digits cannot tell an earlier year.
const YEAR_ZERO: i64 = -62_167_219_200;

/// What is left to read of a text.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    /// Exactly so many digits.
    fn digits(&mut self, count: usize) -> Option<i32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let number = digits.iter().try_fold(0, |sum: i32, byte| {
            let digit = byte.is_ascii_digit().then(|| i32::from(byte - b'0'))?;
            sum.checked_mul(10)?.checked_add(digit)
        })?;
        self.0 = rest;
        Some(number)
    }

    /// The next byte if it is one of these.
    fn one_of(&mut self, wanted: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        wanted.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// The digits after a point as nanoseconds, further digits cut off.
    fn nanoseconds(&mut self) -> Option<i32> {
        let mut nanoseconds = self.digits(1)? * 100_000_000;
        let mut size = 10_000_000;
        while let Some(digit) = self.digits(1) {
            nanoseconds += digit * size;
            size /= 10;
        }
        Some(nanoseconds)
    }

    /// `HH:MM`, with seconds when they are there; `seconds` says whether they must be.
    fn time(&mut self, seconds: bool) -> Option<ClockTime> {
        let hour = self.digits(2)?;
        self.one_of(b":")?;
        let minute = self.digits(2)?;
        let second = match self.one_of(b":") {
            Some(_) => self.digits(2)?,
            None if seconds => return None,
            None => 0,
        };
        Some(ClockTime {
            hour,
            minute,
            second,
        })
    }

    /// `+HH:MM`, `+HHMM` or `+HH`, in seconds east of Greenwich, to the end of the text.
    fn offset(&mut self) -> Option<i64> {
        let east = self.one_of(b"+-")? == b'+';
        let hours = self.digits(2)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            let _ = self.one_of(b":");
            self.digits(2)?
        };
        if hours > 23 || minutes > 59 || !self.0.is_empty() {
            return None;
        }
        let seconds = i64::from(hours * 3_600 + minutes * 60);
        Some(if east { seconds } else { -seconds })
    }
}

/// What a text says of the time of day, not checked yet.
struct ClockTime {
    hour: i32,
    minute: i32,
    second: i32,
}

/// An instant by its civil parts. A leap second is the second after it: later is the safe side.
fn instant(
    (year, month, day): (i32, i32, i32),
    time: &ClockTime,
    nanosecond: i32,
    offset: i64,
) -> Option<Timestamp> {
    let (second, leap) = match time.second {
        60 => (59, 1),
        second => (second, 0),
    };
    let local = DateTime::new(
        i16::try_from(year).ok()?,
        i8::try_from(month).ok()?,
        i8::try_from(day).ok()?,
        i8::try_from(time.hour).ok()?,
        i8::try_from(time.minute).ok()?,
        i8::try_from(second).ok()?,
        nanosecond,
    )
    .ok()?;
    let seconds = leap - offset;
    // A civil time at the end of the range may be an instant only with its offset; such years do not matter.
    let instant = Offset::UTC.to_timestamp(local).ok()?;
    instant.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// RFC 3339, section 5.6, and what providers make of it: a blank for the `T`, an offset without a colon or without
/// minutes, no seconds, more digits than nanoseconds (cut off). Never without an offset.
pub(super) fn read_rfc3339(text: &str) -> Option<Timestamp> {
    let mut rest = Cursor(text.as_bytes());
    let year = rest.digits(4)?;
    rest.one_of(b"-")?;
    let month = rest.digits(2)?;
    rest.one_of(b"-")?;
    let day = rest.digits(2)?;
    rest.one_of(b"Tt ")?;
    let time = rest.time(false)?;
    let nanosecond = match rest.one_of(b".") {
        Some(_) => rest.nanoseconds()?,
        None => 0,
    };
    let offset = match rest.0 {
        b"Z" | b"z" => 0,
        _ => rest.offset()?,
    };
    instant((year, month, day), &time, nanosecond, offset)
}

/// RFC 3339 in UTC with `Z`, as many digits after the point as are needed; `None` before the year 0.
pub(super) fn write_rfc3339(instant: Timestamp) -> Option<String> {
    (floor_seconds(instant) >= YEAR_ZERO).then(|| instant.to_string())
}

/// The three forms of RFC 9110, section 5.6.7. Two digits of a year mean 1970 to 2069.
pub(super) fn read_http_date(text: &str) -> Option<Timestamp> {
    // Every form begins with the name of a day and has at least 24 characters.
    if text.len() < 24 || !text.as_bytes()[0].is_ascii_uppercase() {
        return None;
    }
    Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()
}

/// An IMF-fixdate (RFC 9110, section 5.6.7), rounded down to a second; `None` before 1970.
pub(super) fn write_http_date(instant: Timestamp) -> Option<String> {
    let seconds = u64::try_from(floor_seconds(instant)).ok()?;
    // Timestamps end in the year 9999, which is the last that the format can tell.
    let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    Some(httpdate::fmt_http_date(time))
}

/// `Tue May 23 2023 14:42:01 GMT+0200 (Central European Summer Time)` (ECMA-262, `Date.prototype.toString`), with or
/// without the offset and the name of the zone. The name of the day is not compared with the date.
pub(super) fn read_js_date(text: &str) -> Option<Timestamp> {
    let text = match text.split_once('(') {
        Some((date, name)) => {
            name.strip_suffix(')')?;
            date
        }
        None => text,
    };
    let mut words = text.split_ascii_whitespace();
    let mut next = || words.next();
    let weekday = next()?;
    let month = next()?;
    let (day, year, time, zone) = (next()?, next()?, next()?, next()?);
    if next().is_some() || !WEEKDAYS.contains(&weekday) {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)?;
    let month = i32::try_from(month).ok()?.checked_add(1)?;
    let day = whole(day, 2)?;
    let year = whole(year, 4)?;
    let mut rest = Cursor(time.as_bytes());
    let time = rest.time(true)?;
    if !rest.0.is_empty() {
        return None;
    }
    let offset = match zone.strip_prefix("GMT")? {
        "" => 0,
        offset => Cursor(offset.as_bytes()).offset()?,
    };
    instant((year, month, day), &time, 0, offset)
}

/// A word of exactly so many digits.
fn whole(word: &str, count: usize) -> Option<i32> {
    let mut rest = Cursor(word.as_bytes());
    let number = rest.digits(count)?;
    rest.0.is_empty().then_some(number)
}

/// As a server in UTC writes it, rounded down to a second; `None` before the year 0.
pub(super) fn write_js_date(instant: Timestamp) -> Option<String> {
    if floor_seconds(instant) < YEAR_ZERO {
        return None;
    }
    let local = Offset::UTC.to_datetime(instant);
    let weekday = usize::try_from(local.weekday().to_monday_zero_offset()).ok()?;
    let month = usize::try_from(local.month()).ok()?.checked_sub(1)?;
    Some(format!(
        "{} {} {:02} {:04} {:02}:{:02}:{:02} GMT+0000 (Coordinated Universal Time)",
        WEEKDAYS.get(weekday)?,
        MONTHS.get(month)?,
        local.day(),
        local.year(),
        local.hour(),
        local.minute(),
        local.second(),
    ))
}

/// A local time by a pattern of strftime. A time that the clock shows twice is the second one, a time that it skips is
/// as long after the gap: later is the safe side. An offset in the text counts more than the zone.
pub(super) fn read_local(text: &str, format: &str, zone: &TimeZone) -> Option<Timestamp> {
    let parts = BrokenDownTime::parse(format, text).ok()?;
    if parts.timestamp().is_some() || parts.offset().is_some() {
        return parts.to_timestamp().ok();
    }
    let local = parts.to_datetime().ok()?;
    zone.to_ambiguous_timestamp(local).later().ok()
}

/// The local time by the pattern, rounded down to what the pattern tells.
pub(super) fn write_local(instant: Timestamp, format: &str, zone: &TimeZone) -> Option<String> {
    strtime::format(format, &instant.to_zoned(zone.clone())).ok()
}

/// Whether a pattern can be written and read and tells an instant, at least to the day.
pub(super) fn check_local(format: &str, zone: &TimeZone) -> Result<(), String> {
    // An afternoon whose parts all differ, so that no two directives can be mixed up and a clock of twelve hours
    // without `%p` is found out; far from any change of a zone's clock.
    let local = datetime(2025, 1, 23, 13, 54, 56, 0);
    let trial = zone
        .to_ambiguous_timestamp(local)
        .later()
        .map_err(|error| error.to_string())?;
    let text = strtime::format(format, &trial.to_zoned(zone.clone()))
        .map_err(|error| format!("`{format}` cannot be written: {error}"))?;
    let parts = BrokenDownTime::parse(format, &text)
        .map_err(|error| format!("`{format}` cannot be read again: {error}"))?;
    if parts.timestamp().is_none()
        && let Err(error) = parts.to_datetime()
    {
        return Err(format!("`{format}` does not tell a date: {error}"));
    }
    let read = read_local(&text, format, zone)
        .ok_or_else(|| format!("`{format}` does not tell a time: `{text}` cannot be read"))?;
    let midnight = local.date().to_datetime(Time::midnight());
    // Rounded down to the second, the minute, the hour or the day, and nothing else.
    let since_midnight = i64::from(local.hour()) * 3_600
        + i64::from(local.minute()) * 60
        + i64::from(local.second());
    let exact = [1, 60, 3_600, 86_400].iter().any(|size| {
        let rounded = SignedDuration::from_secs(since_midnight / size * size);
        midnight
            .checked_add(rounded)
            .is_ok_and(|rounded| rounded == zone.to_datetime(read))
    });
    if exact {
        Ok(())
    } else {
        Err(format!(
            "`{format}` is ambiguous: `{text}` was written for {local} and is read as {}",
            zone.to_datetime(read)
        ))
    }
}

/// Seconds since the epoch, rounded down also before it.
fn floor_seconds(instant: Timestamp) -> i64 {
    instant.as_second() - i64::from(instant.subsec_nanosecond() < 0)
}

#[cfg(test)]
mod tests;
