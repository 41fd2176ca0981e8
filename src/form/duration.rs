//! Durations in Go's spelling (`6m0s`, `2m59.56s`, `12ms`), with days.

use jiff::SignedDuration;

/// What a unit is worth, in nanoseconds; a unit stands before those that it begins with.
const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// Digits after the point that are read, more are cut off: enough for nanoseconds of a day, and 10^18 fits an `u64`.
const FRACTION_DIGITS: usize = 18;

/// Reads a sequence of decimals with units; a `-` negates the whole. `None` without a unit and on overflow.
pub(super) fn read(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut nanoseconds = 0_i128;
    // The first round also refuses the empty text.
    loop {
        let (whole, after) = digits(rest)?;
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => digits(after)?,
            None => ("", after),
        };
        let (size, after) = UNITS
            .iter()
            .find_map(|(unit, size)| Some((*size, after.strip_prefix(unit)?)))?;
        nanoseconds = nanoseconds.checked_add(part(whole, fraction, size)?)?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let nanoseconds = if negative { -nanoseconds } else { nanoseconds };
    SignedDuration::try_from_nanos_i128(nanoseconds)
}

/// At least one digit, and what follows.
fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// `whole.fraction` units of `size` nanoseconds, rounded down.
fn part(whole: &str, fraction: &str, size: u64) -> Option<i128> {
    let whole: u64 = whole.parse().ok()?;
    let fraction = &fraction[..fraction.len().min(FRACTION_DIGITS)];
    let mut total = i128::from(whole).checked_mul(i128::from(size))?;
    if !fraction.is_empty() {
        let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let fraction: u64 = fraction.parse().ok()?;
        total = total.checked_add(i128::from(fraction) * i128::from(size) / scale)?;
    }
    Some(total)
}

/// Writes a duration as Go's `Duration.String` does, exact to a nanosecond, with `us` for microseconds because a header
/// should be ASCII.
pub(super) fn write(duration: SignedDuration) -> String {
    let sign = if duration.is_negative() { "-" } else { "" };
    let length = duration.unsigned_abs();
    let (seconds, nanoseconds) = (length.as_secs(), length.subsec_nanos());
    if seconds == 0 {
        let (size, unit) = match nanoseconds {
            0 => return String::from("0s"),
            1..1_000 => (1, "ns"),
            1_000..1_000_000 => (1_000, "us"),
            _ => (1_000_000, "ms"),
        };
        let amount = amount(
            u64::from(nanoseconds / size),
            nanoseconds % size,
            size.ilog10() as usize,
        );
        return format!("{sign}{amount}{unit}");
    }
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let rest = amount(seconds % 60, nanoseconds, 9);
    if hours > 0 {
        format!("{sign}{hours}h{minutes}m{rest}s")
    } else if minutes > 0 {
        format!("{sign}{minutes}m{rest}s")
    } else {
        format!("{sign}{rest}s")
    }
}

/// A number with a fraction of so many digits, zeros at the end left out.
fn amount(whole: u64, fraction: u32, digits: usize) -> String {
    if fraction == 0 {
        return whole.to_string();
    }
    let fraction = format!("{fraction:0digits$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read() {
        for (text, nanoseconds) in [
            ("12ms", 12_000_000_i128),
            ("6m0s", 360_000_000_000),
            ("2m59.56s", 179_560_000_000),
            ("1h30m", 5_400_000_000_000),
            ("4h17m", 15_420_000_000_000),
            ("7.66s", 7_660_000_000),
            ("120us", 120_000),
            ("120\u{b5}s", 120_000),
            ("120\u{3bc}s", 120_000),
            ("5ns", 5),
            ("0.9ns", 0),
            ("1d2h", 93_600_000_000_000),
            ("1.5d", 129_600_000_000_000),
            ("0.000000011574d", 999_993),
            ("-1m30s", -90_000_000_000),
            ("0s", 0),
            ("00.50s", 500_000_000),
            ("1.0000000000000000000000000001s", 1_000_000_000),
        ] {
            assert_eq!(read(text).unwrap().as_nanos(), nanoseconds, "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "-",
            "5",
            "5m3",
            "s",
            "1.s",
            ".5s",
            "+5s",
            "1h 30m",
            "5S",
            "1x",
            "1mss",
            "--5s",
            "5s-3s",
            "1e3s",
            "99999999999999999999s",
            "18446744073709551615d",
            "1µ",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for text in [
            "0s",
            "1ns",
            "1.5us",
            "12ms",
            "12.000001ms",
            "1s",
            "7.66s",
            "1m0s",
            "2m59.56s",
            "6m0s",
            "1h0m0s",
            "26h0m0.000000001s",
            "-1m30s",
        ] {
            assert_eq!(write(read(text).unwrap()), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(seconds in any::<i64>(), nanoseconds in -999_999_999..=999_999_999) {
            // A duration whose parts have different signs is not one of jiff's; `new` would carry and may overflow.
            let nanoseconds = if seconds < 0 { -i32::abs(nanoseconds) } else { i32::abs(nanoseconds) };
            let duration = SignedDuration::new(seconds, nanoseconds);
            prop_assert_eq!(read(&write(duration)), Some(duration));
        }

        #[test]
        fn what_is_below_a_second_is_read(nanoseconds in -2_000_000_000_i64..2_000_000_000) {
            let duration = SignedDuration::from_nanos(nanoseconds);
            prop_assert_eq!(read(&write(duration)), Some(duration));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "-?([0-9]{0,25}[.]?[0-9]{0,25}(ns|us|µs|ms|s|m|h|d|\\PC)?){0,4}") {
            let _ = read(&text);
        }
    }
}
