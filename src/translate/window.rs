//! What windows say by themselves: their length, and when the next one begins.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};

use crate::adapter::{Policy, WindowKind, WindowLength, Zone};
use crate::quota::ServiceLimit;

/// Length of a policy's window in seconds. Days and weeks are nominal; a month is the current one.
#[must_use]
pub fn length_secs(policy: &Policy, account: Option<&TimeZone>, now: Timestamp) -> Option<u64> {
    match policy.window? {
        WindowLength::Seconds(secs) => Some(secs),
        WindowLength::Day => Some(86_400),
        WindowLength::Week => Some(604_800),
        WindowLength::Month => {
            let zone = zone(policy, account).unwrap_or(TimeZone::UTC);
            let month = now.to_zoned(zone).date();
            Some(u64::from(month.days_in_month().unsigned_abs()) * 86_400)
        }
    }
}

/// Seconds until the policy gives quota back where the provider does not say, and whether that is an estimate: from the
/// clock where the window follows it; a bucket's next unit; else the whole window, the longest it can take.
pub(super) fn reset_secs(
    policy: &Policy,
    limit: &ServiceLimit,
    account: Option<&TimeZone>,
    now: Timestamp,
) -> Option<(u64, bool)> {
    match policy.kind {
        Some(WindowKind::Concurrent) => return None,
        Some(WindowKind::Clock | WindowKind::Lazy) => {
            if let Some(secs) = until_boundary(policy, account, now) {
                return Some((secs, false));
            }
        }
        Some(WindowKind::Bucket) => {
            if let Some(refill) = policy.refill.filter(|refill| *refill > 0.0) {
                let secs = next_unit_secs(refill);
                // Where in its second the bucket is, nobody knows.
                return Some((secs, true));
            }
        }
        _ => {}
    }
    limit.window.map(|secs| (secs, true))
}

/// Seconds until a bucket gives back one unit, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the quotient is positive and bounded before it is cast"
)]
fn next_unit_secs(refill: f64) -> u64 {
    (1.0 / refill).ceil().clamp(1.0, 31_622_400.0) as u64
}

/// The zone of a policy's calendar; `None` when it is the account's and that is not known.
#[must_use]
pub fn zone(policy: &Policy, account: Option<&TimeZone>) -> Option<TimeZone> {
    match &policy.zone {
        Some(Zone::Named(zone)) => Some(zone.clone()),
        Some(Zone::Account) => account.cloned(),
        None => Some(TimeZone::UTC),
    }
}

/// Seconds until the next boundary of a window that follows the clock, rounded up; `None` when the zone is not known.
fn until_boundary(policy: &Policy, account: Option<&TimeZone>, now: Timestamp) -> Option<u64> {
    let zone = zone(policy, account)?;
    ceil_secs(boundary(policy.window?, &zone, now)?, now)
}

/// The next boundary after `now` of a window that follows the clock.
#[must_use]
pub fn boundary(window: WindowLength, zone: &TimeZone, now: Timestamp) -> Option<Timestamp> {
    let boundary = match window {
        WindowLength::Seconds(secs) if secs < 86_400 => return next_multiple(secs, now),
        WindowLength::Seconds(_) | WindowLength::Day => {
            start_of(now, zone, |date| date.checked_add(1.day()).ok())?
        }
        WindowLength::Week => start_of(now, zone, |date| {
            let since_monday = date.date().weekday().to_monday_zero_offset();
            date.checked_add((7 - i64::from(since_monday)).days()).ok()
        })?,
        WindowLength::Month => start_of(now, zone, |date| {
            date.date()
                .first_of_month()
                .checked_add(1.month())
                .ok()
                .map(|date| date.to_datetime(jiff::civil::Time::midnight()))
        })?,
    };
    Some(boundary.timestamp())
}

/// The first moment of the day that `step` leads to. Where midnight does not exist (a change to summer time at midnight)
/// the day begins when the clock goes on.
fn start_of(
    now: Timestamp,
    zone: &TimeZone,
    step: impl Fn(DateTime) -> Option<DateTime>,
) -> Option<Zoned> {
    let today = now.to_zoned(zone.clone()).datetime();
    let day = step(today)?.date();
    let start = day.to_zoned(zone.clone()).ok()?;
    if start.timestamp() > now {
        return Some(start);
    }
    // The clock went back over midnight (St. John's, until 2011): the day begins a second time.
    let midnight = day.to_datetime(jiff::civil::Time::midnight());
    zone.to_ambiguous_zoned(midnight).later().ok()
}

fn next_multiple(secs: u64, now: Timestamp) -> Option<Timestamp> {
    let secs = i64::try_from(secs).ok().filter(|secs| *secs > 0)?;
    let next = now
        .as_second()
        .div_euclid(secs)
        .checked_add(1)?
        .checked_mul(secs)?;
    Timestamp::from_second(next).ok()
}

fn ceil_secs(moment: Timestamp, now: Timestamp) -> Option<u64> {
    let wait = moment.duration_since(now);
    let secs = wait.as_secs() + i64::from(wait.subsec_nanos() > 0);
    u64::try_from(secs).ok()
}
