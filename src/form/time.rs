//! Times: from now, since the epoch, or a date.

use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::number::{Decimal, read_number};
use super::{calendar, duration};

/// Nanoseconds in a millisecond.
const MILLISECOND: u64 = 1_000_000;
/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a minute.
const MINUTE: u64 = 60 * SECOND;
/// Nanoseconds in an hour.
const HOUR: u64 = 60 * MINUTE;
/// Nanoseconds in a day of 24 hours.
const DAY: u64 = 24 * HOUR;

/// Seconds between the first and the last [`Timestamp`], rounded down: a longer duration leads from nowhere to nowhere.
const LONGEST_SECONDS: i64 = 631_107_230_400;

/// From here on, [`TimeForm::Epoch`] means milliseconds: as seconds it is the year 5138, as milliseconds 1973.
const EPOCH_MILLISECONDS: i128 = 100_000_000_000;

/// A time as a provider tells it: from now, or by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// So long after the answer; negative is past.
    In(SignedDuration),
    /// At this instant.
    At(Timestamp),
}

impl Moment {
    /// Seconds from `now`, rounded up, so that who waits for them does not come too early; 0 or negative is past.
    #[must_use]
    pub fn seconds_from(self, now: Timestamp) -> i64 {
        let wait = self.duration_from(now);
        // `as_secs` rounds toward zero, which is up for what is past.
        wait.as_secs()
            .saturating_add(i64::from(wait.subsec_nanos() > 0))
    }

    /// The time from `now`; negative is past.
    #[must_use]
    pub fn duration_from(self, now: Timestamp) -> SignedDuration {
        match self {
            Self::In(wait) => wait,
            Self::At(instant) => instant.duration_since(now),
        }
    }

    /// The instant, if there is one: a long duration may end after the last [`Timestamp`].
    #[must_use]
    pub fn instant(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::In(wait) => now.checked_add(wait).ok(),
            Self::At(instant) => Some(instant),
        }
    }
}

/// How a time is spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeForm {
    /// `seconds` from now. Precision when written: a second.
    Seconds,
    /// `milliseconds` from now. Precision: a millisecond.
    Milliseconds,
    /// `minutes` from now. Precision: a minute.
    Minutes,
    /// `hours` from now. Precision: an hour.
    Hours,
    /// `unit`: a number from now, its unit (`second`, `minutes`, `ms`) in another header. Precision: that unit.
    Unit,
    /// `duration` from now: `6m0s`, `2m59.56s`, `1d2h`. Precision: a nanosecond.
    Duration,
    /// `epoch-seconds`: since 1970 in UTC. Precision: a second.
    EpochSeconds,
    /// `epoch-milliseconds`. Precision: a millisecond.
    EpochMilliseconds,
    /// `epoch`: seconds, or milliseconds from 10^11 on. Precision: a second (a millisecond from the year 5138 on).
    Epoch,
    /// `rfc3339`: with an offset. Precision: a nanosecond, years 0 to 9999.
    Rfc3339,
    /// `http-date` in all three forms (RFC 9110, section 5.6.7). Precision: a second, years 1970 to 9999.
    HttpDate,
    /// `js-date`: `Tue May 23 2023 14:42:01 GMT+0200 (…)`. Precision: a second, years 0 to 9999.
    JsDate,
    /// A local time. Precision: what the format tells, at most a nanosecond, at least a day.
    Local {
        /// The pattern of strftime; made by [`TimeForm::local`], which checks it.
        format: Arc<str>,
        /// The zone that the time is in. An offset in the text counts more.
        zone: TimeZone,
    },
}

impl TimeForm {
    /// All names but those of local forms, for advice.
    pub const NAMES: &[&str] = &[
        "seconds",
        "milliseconds",
        "minutes",
        "hours",
        "unit",
        "duration",
        "epoch-seconds",
        "epoch-milliseconds",
        "epoch",
        "rfc3339",
        "http-date",
        "js-date",
    ];

    /// The form by its name in an adapter; a local form has no name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "seconds" => Self::Seconds,
            "milliseconds" => Self::Milliseconds,
            "minutes" => Self::Minutes,
            "hours" => Self::Hours,
            "unit" => Self::Unit,
            "duration" => Self::Duration,
            "epoch-seconds" => Self::EpochSeconds,
            "epoch-milliseconds" => Self::EpochMilliseconds,
            "epoch" => Self::Epoch,
            "rfc3339" => Self::Rfc3339,
            "http-date" => Self::HttpDate,
            "js-date" => Self::JsDate,
            _ => return None,
        })
    }

    /// A local form by its pattern of strftime.
    ///
    /// # Errors
    ///
    /// The pattern cannot be written or read again, or does not tell a day: a sentence that says why.
    pub fn local(format: &str, zone: TimeZone) -> Result<Self, String> {
        calendar::check_local(format, &zone)?;
        Ok(Self::Local {
            format: Arc::from(format),
            zone,
        })
    }

    /// Its name in an adapter; the pattern of a local form.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Seconds => "seconds",
            Self::Milliseconds => "milliseconds",
            Self::Minutes => "minutes",
            Self::Hours => "hours",
            Self::Unit => "unit",
            Self::Duration => "duration",
            Self::EpochSeconds => "epoch-seconds",
            Self::EpochMilliseconds => "epoch-milliseconds",
            Self::Epoch => "epoch",
            Self::Rfc3339 => "rfc3339",
            Self::HttpDate => "http-date",
            Self::JsDate => "js-date",
            Self::Local { format, .. } => format,
        }
    }

    /// Reads a time of this form, blanks around it ignored; `unit` is the word of [`TimeForm::Unit`].
    ///
    /// `None`: not of this form, no such unit, or further away than timestamps reach.
    #[must_use]
    pub fn read(&self, text: &str, unit: Option<&str>) -> Option<Moment> {
        match self {
            Self::Seconds
            | Self::Milliseconds
            | Self::Minutes
            | Self::Hours
            | Self::Unit
            | Self::EpochSeconds
            | Self::EpochMilliseconds
            | Self::Epoch => self.of_number(read_number(text)?, unit),
            Self::Duration => bounded(duration::read(text.trim_ascii())?).map(Moment::In),
            Self::Rfc3339 => calendar::read_rfc3339(text.trim_ascii()).map(Moment::At),
            Self::HttpDate => calendar::read_http_date(text.trim_ascii()).map(Moment::At),
            Self::JsDate => calendar::read_js_date(text.trim_ascii()).map(Moment::At),
            Self::Local { format, zone } => {
                calendar::read_local(text.trim_ascii(), format, zone).map(Moment::At)
            }
        }
    }

    /// The time that a number tells in this form; `None` also where the form is not one of numbers.
    pub(crate) fn of_number(&self, number: Decimal, unit: Option<&str>) -> Option<Moment> {
        match self {
            Self::Seconds => count(number, SECOND),
            Self::Milliseconds => count(number, MILLISECOND),
            Self::Minutes => count(number, MINUTE),
            Self::Hours => count(number, HOUR),
            Self::Unit => count(number, unit_size(unit?)?),
            Self::EpochSeconds => epoch(number, SECOND),
            Self::EpochMilliseconds => epoch(number, MILLISECOND),
            Self::Epoch => epoch(number, epoch_unit(number)),
            Self::Duration | Self::Rfc3339 | Self::HttpDate | Self::JsDate | Self::Local { .. } => {
                None
            }
        }
    }

    /// Writes a moment in this form, rounded down to the form's precision; [`TimeForm::read`] gives the same again.
    ///
    /// `None`: the form cannot tell it (no unit, before 1970 as an HTTP-date, further away than timestamps reach). A
    /// local time that the clock shows twice is read as the second one.
    #[must_use]
    pub fn write(&self, moment: Moment, now: Timestamp, unit: Option<&str>) -> Option<String> {
        match self {
            Self::Seconds => write_count(moment, now, SECOND),
            Self::Milliseconds => write_count(moment, now, MILLISECOND),
            Self::Minutes => write_count(moment, now, MINUTE),
            Self::Hours => write_count(moment, now, HOUR),
            Self::Unit => write_count(moment, now, unit_size(unit?)?),
            Self::Duration => Some(duration::write(bounded(moment.duration_from(now))?)),
            Self::EpochSeconds => write_epoch(moment.instant(now)?, SECOND),
            Self::EpochMilliseconds => write_epoch(moment.instant(now)?, MILLISECOND),
            Self::Epoch => {
                let instant = moment.instant(now)?;
                // Far from today the seconds alone would be taken for milliseconds.
                let seconds = i128::from(instant.as_second());
                let near = seconds.abs() < EPOCH_MILLISECONDS - 1;
                write_epoch(instant, if near { SECOND } else { MILLISECOND })
            }
            Self::Rfc3339 => calendar::write_rfc3339(moment.instant(now)?),
            Self::HttpDate => calendar::write_http_date(moment.instant(now)?),
            Self::JsDate => calendar::write_js_date(moment.instant(now)?),
            Self::Local { format, zone } => {
                calendar::write_local(moment.instant(now)?, format, zone)
            }
        }
    }

    /// Writes the moment, or the first one after it that the form can tell: what a simulated provider has to say, so that
    /// who waits as told does not come too early.
    #[must_use]
    pub fn write_up(&self, moment: Moment, now: Timestamp, unit: Option<&str>) -> Option<String> {
        let wanted = moment.duration_from(now);
        // Rounded down one unit later is rounded up; the unit of a local form is known only by trying, and its days may
        // have 25 hours.
        [0, MILLISECOND, SECOND, MINUTE, HOUR, DAY, DAY + HOUR]
            .into_iter()
            .find_map(|step| {
                let step = SignedDuration::from_nanos(i64::try_from(step).ok()?);
                let later = Moment::In(wanted.checked_add(step)?);
                let text = self.write(later, now, unit)?;
                let told = self.read(&text, unit)?.duration_from(now);
                (told >= wanted).then_some(text)
            })
    }
}

/// `Retry-After`: seconds (also with decimals) or an HTTP-date (RFC 9110, section 10.2.3), and RFC 3339 because some send
/// it.
#[must_use]
pub fn read_retry_after(text: &str) -> Option<Moment> {
    [TimeForm::Seconds, TimeForm::HttpDate, TimeForm::Rfc3339]
        .iter()
        .find_map(|form| form.read(text, None))
}

/// The size of a unit in nanoseconds, by its word in any letter case.
fn unit_size(word: &str) -> Option<u64> {
    const WORDS: &[(&[&str], u64)] = &[
        (&["s", "sec", "secs", "second", "seconds"], SECOND),
        (&["ms", "millisecond", "milliseconds"], MILLISECOND),
        (&["m", "min", "mins", "minute", "minutes"], MINUTE),
        (&["h", "hour", "hours"], HOUR),
        (&["d", "day", "days"], DAY),
    ];
    let word = word.trim_ascii();
    WORDS
        .iter()
        .find(|(words, _)| words.iter().any(|known| known.eq_ignore_ascii_case(word)))
        .map(|(_, size)| *size)
}

/// So many units of `size` nanoseconds from now.
fn count(number: Decimal, size: u64) -> Option<Moment> {
    bounded(length(number, size)?).map(Moment::In)
}

/// So many units of `size` nanoseconds since the epoch.
fn epoch(number: Decimal, size: u64) -> Option<Moment> {
    let since = length(number, size)?;
    Timestamp::from_duration(since).ok().map(Moment::At)
}

/// Whether a number since the epoch is one of seconds or of milliseconds.
fn epoch_unit(number: Decimal) -> u64 {
    let border = Decimal::from_whole(EPOCH_MILLISECONDS);
    let negative = Decimal::from_whole(-EPOCH_MILLISECONDS);
    if number >= border || number <= negative {
        MILLISECOND
    } else {
        SECOND
    }
}

/// So many units of `size` nanoseconds, rounded down to a nanosecond.
fn length(number: Decimal, size: u64) -> Option<SignedDuration> {
    // Nearly all that comes is a whole number, and needs no division of 128 bits.
    match (number.as_i64(), size) {
        (Some(whole), SECOND) => Some(SignedDuration::from_secs(whole)),
        (Some(whole), MILLISECOND) => Some(SignedDuration::from_millis(whole)),
        _ => SignedDuration::try_from_nanos_i128(number.scaled(size)?),
    }
}

/// A duration that may lead from one timestamp to another.
fn bounded(wait: SignedDuration) -> Option<SignedDuration> {
    (wait.as_secs().unsigned_abs() <= LONGEST_SECONDS.unsigned_abs()).then_some(wait)
}

fn write_count(moment: Moment, now: Timestamp, size: u64) -> Option<String> {
    let wait = bounded(moment.duration_from(now))?.as_nanos();
    let count = wait.div_euclid(i128::from(size));
    // Rounding down may lead out of what is read again.
    bounded(length(Decimal::from_whole(count), size)?)?;
    Some(count.to_string())
}

fn write_epoch(instant: Timestamp, size: u64) -> Option<String> {
    let count = instant.as_nanosecond().div_euclid(i128::from(size));
    Some(count.to_string())
}
