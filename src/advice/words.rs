//! Numbers as people read them.

/// `1,234,567`.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `93 %`, rounded down: what is not all does not look like all.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    format!("{percent} %")
}

/// `350 ms`, `30 s`, `5 min`, `2 h`, rounded.
pub(super) fn interval(ms: u64) -> String {
    let rounded = |unit: u64| (ms + unit / 2) / unit;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..90_000 => format!("{} s", rounded(1_000)),
        90_000..5_400_000 => format!("{} min", rounded(60_000)),
        _ => format!("{} h", rounded(3_600_000)),
    }
}

/// A moment (seconds since 1970) in RFC 3339.
pub(super) fn time(secs: i64) -> String {
    jiff::Timestamp::from_second(secs).map_or_else(|_| String::new(), |time| time.to_string())
}
