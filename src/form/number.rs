//! Numbers: exact decimals, because a remainder of 0.1 + 0.2 must not become 0.30000000000000004.

use std::fmt;

/// Billionths in one.
const BILLION: u32 = 1_000_000_000;

/// The longest number that is read, in bytes: more is not a number but an attack or a mistake.
const LONGEST: usize = 64;

/// An exact decimal number with nine digits after the point; further digits are cut off (toward zero).
///
/// The representation is `whole + billionths / 1e9` with `whole` rounded down, so that the derived order is the order of
/// the numbers and rounding needs no division.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Decimal {
    whole: i128,
    billionths: u32,
}

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self::from_whole(0);

    /// A whole number.
    #[must_use]
    pub const fn from_whole(whole: i128) -> Self {
        Self {
            whole,
            billionths: 0,
        }
    }

    /// Rounded down (limits, remainders); a negative number is 0, one beyond `u64` is `u64::MAX`.
    #[must_use]
    pub fn floor(self) -> u64 {
        saturated(self.whole)
    }

    /// Rounded up (what has been used); a negative number is 0, one beyond `u64` is `u64::MAX`.
    #[must_use]
    pub fn ceil(self) -> u64 {
        saturated(self.whole.saturating_add(i128::from(self.billionths > 0)))
    }

    /// Less than zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.whole < 0
    }

    /// No digits after the point.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.billionths == 0
    }

    /// The number times `factor`: a rate times the seconds of its window, a fraction times 100. `None` on overflow.
    #[must_use]
    pub fn checked_mul(self, factor: u64) -> Option<Self> {
        let whole = self.whole.checked_mul(i128::from(factor))?;
        if self.billionths == 0 {
            return Some(Self::from_whole(whole));
        }
        // At most 1e9 * 2^64, far below 2^128.
        let parts = u128::from(self.billionths) * u128::from(factor);
        let carry = i128::try_from(parts / u128::from(BILLION)).ok()?;
        Some(Self {
            whole: whole.checked_add(carry)?,
            billionths: u32::try_from(parts % u128::from(BILLION)).ok()?,
        })
    }

    /// The sum. `None` on overflow.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let billionths = self.billionths + other.billionths;
        Some(Self {
            whole: self
                .whole
                .checked_add(other.whole)?
                .checked_add(i128::from(billionths / BILLION))?,
            billionths: billionths % BILLION,
        })
    }

    /// The number divided by `divisor`, rounded up to a billionth, so that multiplying again gives no less. `None` on
    /// overflow and for a divisor of 0.
    fn checked_div_up(self, divisor: u64) -> Option<Self> {
        let divisor = i128::from(divisor);
        let down = self.in_billionths()?.checked_div_euclid(divisor)?;
        let exact = down.checked_mul(divisor)? == self.in_billionths()?;
        Self::from_billionths(down.checked_add(i128::from(!exact))?)
    }

    /// The number in units of `size`, as whole units rounded down: seconds in nanoseconds with `size` 1e9. `None` on
    /// overflow.
    pub(super) fn scaled(self, size: u64) -> Option<i128> {
        self.checked_mul(size).map(|scaled| scaled.whole)
    }

    /// The number as an `i64`, if it is one: the short way for nearly all that providers send.
    pub(super) fn as_i64(self) -> Option<i64> {
        if self.billionths == 0 {
            i64::try_from(self.whole).ok()
        } else {
            None
        }
    }

    fn in_billionths(self) -> Option<i128> {
        self.whole
            .checked_mul(i128::from(BILLION))?
            .checked_add(i128::from(self.billionths))
    }

    fn from_billionths(billionths: i128) -> Option<Self> {
        let billion = i128::from(BILLION);
        Some(Self {
            whole: billionths.div_euclid(billion),
            billionths: u32::try_from(billionths.rem_euclid(billion)).ok()?,
        })
    }
}

impl From<u64> for Decimal {
    fn from(number: u64) -> Self {
        Self::from_whole(i128::from(number))
    }
}

impl fmt::Display for Decimal {
    /// The shortest spelling: no zeros at the end, no point without digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.billionths == 0 {
            return write!(f, "{}", self.whole);
        }
        // The whole part of a negative number is rounded down: -0.5 is -1 + 0.5.
        let (sign, whole, billionths) = if self.whole < 0 {
            (
                "-",
                self.whole.saturating_add(1).unsigned_abs(),
                BILLION - self.billionths,
            )
        } else {
            ("", self.whole.unsigned_abs(), self.billionths)
        };
        let digits = format!("{billionths:09}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

fn saturated(number: i128) -> u64 {
    u64::try_from(number.max(0)).unwrap_or(u64::MAX)
}

/// Reads `60`, `60.0`, `0.04512`, `-3`, with blanks around it.
///
/// No `+`, exponent, hexadecimal, `NaN`, infinity, thousands separators, point without digits on both sides, and not more
/// than 64 bytes.
#[must_use]
pub fn read_number(text: &str) -> Option<Decimal> {
    let text = text.as_bytes().trim_ascii();
    if let Some(whole) = read_digits(text) {
        return Some(Decimal::from(whole));
    }
    if text.len() > LONGEST {
        return None;
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let (whole, rest) = read_whole(digits)?;
    let billionths = match rest {
        [] => 0,
        [b'.', fraction @ ..] => read_billionths(fraction)?,
        _ => return None,
    };
    Some(match (negative, billionths) {
        (false, _) => Decimal { whole, billionths },
        (true, 0) => Decimal::from_whole(whole.checked_neg()?),
        (true, _) => Decimal {
            whole: whole.checked_neg()?.checked_sub(1)?,
            billionths: BILLION - billionths,
        },
    })
}

/// One to eighteen digits, which cannot overflow 64 bits: nearly all that comes, in one pass.
pub(crate) fn read_digits(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 18 {
        return None;
    }
    let mut sum = 0_u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum * 10 + u64::from(digit);
    }
    Some(sum)
}

/// At least one digit, and what follows the digits.
fn read_whole(text: &[u8]) -> Option<(i128, &[u8])> {
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() {
        return None;
    }
    if let Some(whole) = read_digits(digits) {
        return Some((i128::from(whole), rest));
    }
    let whole = digits.iter().try_fold(0_i128, |sum, digit| {
        sum.checked_mul(10)?.checked_add(i128::from(digit - b'0'))
    })?;
    Some((whole, rest))
}

/// The digits after the point; those after the ninth must be digits and are cut off.
fn read_billionths(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let padded = digits.iter().copied().chain(std::iter::repeat(b'0'));
    Some(
        padded
            .take(9)
            .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')),
    )
}

/// Writes a number so that [`read_number`] reads the same: `60`, `0.04512`, `-3`.
#[must_use]
pub fn write_number(number: Decimal) -> String {
    number.to_string()
}

/// How a number is spelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NumberForm {
    /// `number`: an integer or a decimal.
    #[default]
    Number,
    /// `fraction`: 0.8 is 80 percent.
    Fraction,
    /// `per-second`: a rate; the number is the rate times the window.
    PerSecond,
}

impl NumberForm {
    /// All names, for advice.
    pub const NAMES: &[&str] = &["number", "fraction", "per-second"];

    /// The form by its name in an adapter.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "number" => Self::Number,
            "fraction" => Self::Fraction,
            "per-second" => Self::PerSecond,
            _ => return None,
        })
    }

    /// Its name in an adapter.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Fraction => "fraction",
            Self::PerSecond => "per-second",
        }
    }

    /// Reads a number of this form. `window` is the policy's window in seconds, needed by a rate.
    #[must_use]
    pub fn read(self, text: &str, window: Option<u64>) -> Option<Decimal> {
        self.of_number(read_number(text)?, window)
    }

    /// What a number says in this form.
    pub(crate) fn of_number(self, number: Decimal, window: Option<u64>) -> Option<Decimal> {
        match self {
            Self::Number => Some(number),
            Self::Fraction => number.checked_mul(100),
            Self::PerSecond => number.checked_mul(window?),
        }
    }

    /// Writes a number in this form; what is read again is the same when rounded down. `window` as for
    /// [`NumberForm::read`].
    ///
    /// The quotient is rounded up to a billionth. `None` on overflow and for a rate without a window.
    #[must_use]
    pub fn write(self, number: Decimal, window: Option<u64>) -> Option<String> {
        let written = match self {
            Self::Number => number,
            Self::Fraction => number.checked_div_up(100)?,
            Self::PerSecond => number.checked_div_up(window?)?,
        };
        Some(write_number(written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Decimal {
        read_number(text).unwrap()
    }

    #[test]
    fn numbers_are_read_and_written_in_their_shortest_spelling() {
        for (text, written) in [
            ("0", "0"),
            ("60", "60"),
            ("60.0", "60"),
            (" 12\t", "12"),
            ("007", "7"),
            ("0.04512", "0.04512"),
            ("-3", "-3"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("-0.5", "-0.5"),
            ("-2.25", "-2.25"),
            ("18446744073709551615", "18446744073709551615"),
            ("0.123456789987654321", "0.123456789"),
            ("0.30000000000000004", "0.3"),
            ("-1.0000000001", "-1"),
            (
                "99999999999999999999999999999999999999",
                "99999999999999999999999999999999999999",
            ),
        ] {
            assert_eq!(write_number(number(text)), written, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_plain_decimal_is_refused() {
        for text in [
            "",
            " ",
            "-",
            "+5",
            "--5",
            "- 5",
            "5 0",
            ".5",
            "5.",
            "5.-1",
            "1.2.3",
            "1e3",
            "0x10",
            "NaN",
            "inf",
            "infinity",
            "1,000",
            "1_000",
            "½",
            "\u{661}",
            "12;w=1",
            "999999999999999999999999999999999999999999",
        ] {
            assert_eq!(read_number(text), None, "{text:?}");
        }
        assert_eq!(read_number(&"0".repeat(64)), Some(Decimal::ZERO));
        assert_eq!(read_number(&"0".repeat(65)), None);
    }

    #[test]
    fn rounding_saturates_at_both_ends() {
        for (text, floor, ceil) in [
            ("2.0", 2, 2),
            ("2.000000001", 2, 3),
            ("-0.5", 0, 0),
            ("-7", 0, 0),
            ("0.1", 0, 1),
            ("18446744073709551615.5", u64::MAX, u64::MAX),
            ("99999999999999999999999", u64::MAX, u64::MAX),
        ] {
            assert_eq!(number(text).floor(), floor, "{text}");
            assert_eq!(number(text).ceil(), ceil, "{text}");
        }
        assert!(number("-0.5").is_negative());
        assert!(!number("-0").is_negative());
        assert_eq!(Decimal::from_whole(i128::MAX).ceil(), u64::MAX);
    }

    #[test]
    fn fractions_and_rates_are_exact() {
        let fraction = NumberForm::Fraction;
        assert_eq!(fraction.read("0.29", None), Some(Decimal::from(29)));
        assert_eq!(fraction.read("0.28", None), Some(Decimal::from(28)));
        assert_eq!(
            fraction.read("1.07", None).unwrap().to_string(),
            "107",
            "more than all"
        );
        let rate = NumberForm::PerSecond;
        assert_eq!(rate.read("16.666666667", Some(60)).unwrap().floor(), 1000);
        assert_eq!(rate.read("2", None), None);
        assert_eq!(rate.write(Decimal::from(1), Some(0)), None);
        assert_eq!(rate.write(Decimal::from(1), None), None);
    }

    #[test]
    fn names_and_forms_are_the_same_set() {
        for name in NumberForm::NAMES {
            assert_eq!(NumberForm::from_name(name).unwrap().name(), *name);
        }
        assert_eq!(NumberForm::from_name("percent"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC*") {
            let _ = read_number(&text);
        }

        #[test]
        fn any_text_that_looks_like_a_number_is_read_without_a_panic(text in "[-+]?[0-9]{0,70}[.e]?[0-9]{0,30}") {
            if let Some(number) = read_number(&text) {
                prop_assert_eq!(read_number(&write_number(number)), Some(number));
            }
        }

        #[test]
        fn what_is_written_is_read(billionths in -(1_i128 << 120)..(1_i128 << 120)) {
            let number = Decimal::from_billionths(billionths).unwrap();
            prop_assert_eq!(read_number(&write_number(number)), Some(number));
        }

        #[test]
        fn the_order_is_that_of_the_numbers(a in any::<i64>(), b in any::<i64>()) {
            let of = |n: i64| Decimal::from_billionths(i128::from(n)).unwrap();
            prop_assert_eq!(of(a).cmp(&of(b)), a.cmp(&b));
            prop_assert!(a > b || of(a).floor() <= of(b).floor());
            prop_assert!(of(a).floor() <= of(a).ceil());
        }

        #[test]
        fn every_form_keeps_whole_numbers(n in any::<u64>(), window in 1_u64..1_000_000_000) {
            for form in [NumberForm::Number, NumberForm::Fraction, NumberForm::PerSecond] {
                let text = form.write(Decimal::from(n), Some(window)).unwrap();
                prop_assert_eq!(form.read(&text, Some(window)).unwrap().floor(), n);
            }
        }

        #[test]
        fn no_product_panics(whole in any::<i128>(), billionths in 0..BILLION, factor in any::<u64>()) {
            let number = Decimal { whole, billionths };
            let _ = number.checked_mul(factor);
            let _ = number.checked_div_up(factor);
            let _ = (number.floor(), number.ceil(), number.to_string());
        }
    }
}
