//! What every time form promises.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn now() -> Timestamp {
    at("2026-11-21T12:00:00Z")
}

fn after(seconds: i64, nanoseconds: i32) -> Option<Moment> {
    Some(Moment::In(SignedDuration::new(seconds, nanoseconds)))
}

fn form(name: &str) -> TimeForm {
    TimeForm::from_name(name).unwrap()
}

/// Every form with a unit for it and its precision in nanoseconds.
fn forms() -> Vec<(TimeForm, Option<&'static str>, i128)> {
    const SECOND: i128 = 1_000_000_000;
    let named = TimeForm::NAMES.iter().map(|name| {
        let precision = match *name {
            "duration" | "rfc3339" => 1,
            "milliseconds" | "epoch-milliseconds" => 1_000_000,
            "minutes" => 60 * SECOND,
            "hours" => 3_600 * SECOND,
            "unit" => 86_400 * SECOND,
            _ => SECOND,
        };
        (form(name), (*name == "unit").then_some("day"), precision)
    });
    let local = [
        ("%Y-%m-%d %H:%M:%S%.f", 1),
        ("%Y-%m-%d %H:%M:%S", SECOND),
        ("%Y-%m-%d %H:%M", 60 * SECOND),
        ("%Y-%m-%d", 86_400 * SECOND),
    ]
    .into_iter()
    .map(|(format, precision)| {
        let form = TimeForm::local(format, TimeZone::UTC).unwrap();
        (form, None, precision)
    });
    named.chain(local).collect()
}

/// The moment in nanoseconds on the form's own scale: from now, or since the epoch.
fn position(form: &TimeForm, moment: Moment, now: Timestamp) -> i128 {
    if matches!(
        form,
        TimeForm::Seconds
            | TimeForm::Milliseconds
            | TimeForm::Minutes
            | TimeForm::Hours
            | TimeForm::Unit
            | TimeForm::Duration
    ) {
        moment.duration_from(now).as_nanos()
    } else {
        moment.instant(now).unwrap().as_nanosecond()
    }
}

#[test]
fn times_from_now_are_read() {
    for (name, unit, text, expected) in [
        ("seconds", None, "60", after(60, 0)),
        ("seconds", None, " 64.57 ", after(64, 570_000_000)),
        ("seconds", None, "-3", after(-3, 0)),
        ("seconds", None, "-0.5", after(0, -500_000_000)),
        ("seconds", None, "0.00000000001", after(0, 0)),
        ("seconds", None, "631107230400", after(631_107_230_400, 0)),
        ("seconds", None, "631107230401", None),
        ("seconds", None, "9223372036854775807", None),
        ("seconds", None, "99999999999999999999999999", None),
        ("seconds", None, "soon", None),
        ("milliseconds", None, "1500", after(1, 500_000_000)),
        ("milliseconds", None, "0.25", after(0, 250_000)),
        ("minutes", None, "12", after(720, 0)),
        ("minutes", None, "0.5", after(30, 0)),
        ("hours", None, "1.5", after(5_400, 0)),
        ("unit", Some("second"), "5", after(5, 0)),
        ("unit", Some(" Minutes "), "5", after(300, 0)),
        ("unit", Some("ms"), "5", after(0, 5_000_000)),
        ("unit", Some("DAY"), "1", after(86_400, 0)),
        ("unit", Some("fortnight"), "1", None),
        ("unit", None, "1", None),
        ("duration", None, "6m0s", after(360, 0)),
        ("duration", None, "9000000000000000h", None),
    ] {
        assert_eq!(form(name).read(text, unit), expected, "{name} {text}");
    }
}

#[test]
fn instants_are_read() {
    for (name, text, expected) in [
        ("epoch-seconds", "1470173023", "2016-08-02T21:23:43Z"),
        (
            "epoch-seconds",
            "1470173023.123",
            "2016-08-02T21:23:43.123Z",
        ),
        (
            "epoch-milliseconds",
            "1470173023123",
            "2016-08-02T21:23:43.123Z",
        ),
        ("epoch", "1470173023", "2016-08-02T21:23:43Z"),
        ("epoch", "1470173023123", "2016-08-02T21:23:43.123Z"),
        ("epoch", "99999999999", "5138-11-16T09:46:39Z"),
        ("epoch", "100000000000", "1973-03-03T09:46:40Z"),
        ("rfc3339", " 2024-05-05T18:02Z ", "2024-05-05T18:02:00Z"),
        (
            "http-date",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "1994-11-06T08:49:37Z",
        ),
        (
            "js-date",
            "Tue May 23 2023 14:42:01 GMT+0200",
            "2023-05-23T12:42:01Z",
        ),
    ] {
        assert_eq!(
            form(name).read(text, None),
            Some(Moment::At(at(expected))),
            "{name} {text}"
        );
    }
    for name in ["epoch", "epoch-seconds", "epoch-milliseconds"] {
        assert_eq!(form(name).read("9223372036854775807", None), None, "{name}");
        assert_eq!(
            form(name).read("-99999999999999999999999999", None),
            None,
            "{name}"
        );
    }
}

#[test]
fn times_are_written_as_providers_do() {
    let moment = Moment::At(at("2026-11-21T12:01:30.25Z"));
    for (name, unit, expected) in [
        ("seconds", None, "90"),
        ("milliseconds", None, "90250"),
        ("minutes", None, "1"),
        ("hours", None, "0"),
        ("unit", Some("Seconds"), "90"),
        ("duration", None, "1m30.25s"),
        ("epoch-seconds", None, "1795262490"),
        ("epoch-milliseconds", None, "1795262490250"),
        ("epoch", None, "1795262490"),
        ("rfc3339", None, "2026-11-21T12:01:30.25Z"),
        ("http-date", None, "Sat, 21 Nov 2026 12:01:30 GMT"),
        (
            "js-date",
            None,
            "Sat Nov 21 2026 12:01:30 GMT+0000 (Coordinated Universal Time)",
        ),
    ] {
        let written = form(name).write(moment, now(), unit);
        assert_eq!(written.as_deref(), Some(expected), "{name}");
    }
    assert_eq!(form("unit").write(moment, now(), None), None);
    let local = TimeForm::local("%d.%m.%Y %H:%M:%S", TimeZone::get("Europe/Berlin").unwrap());
    let local = local.unwrap();
    assert_eq!(local.name(), "%d.%m.%Y %H:%M:%S");
    assert_eq!(
        local.write(moment, now(), None).as_deref(),
        Some("21.11.2026 13:01:30")
    );
}

#[test]
fn written_up_is_never_too_early() {
    let moment = after(90, 250_000_000).unwrap();
    for (name, expected) in [
        ("seconds", "91"),
        ("milliseconds", "90250"),
        ("minutes", "2"),
        ("hours", "1"),
        ("http-date", "Sat, 21 Nov 2026 12:01:31 GMT"),
    ] {
        let written = form(name).write_up(moment, now(), None);
        assert_eq!(written.as_deref(), Some(expected), "{name}");
    }
    let day = TimeForm::local("%Y-%m-%d", TimeZone::get("America/New_York").unwrap()).unwrap();
    assert_eq!(
        day.write_up(moment, now(), None).as_deref(),
        Some("2026-11-22")
    );
}

#[test]
fn what_a_form_cannot_tell_is_not_written() {
    let past = Moment::At(at("1969-12-31T23:59:59.5Z"));
    assert_eq!(form("http-date").write(past, now(), None), None);
    let ancient = Moment::At(Timestamp::MIN);
    assert_eq!(form("rfc3339").write(ancient, now(), None), None);
    assert_eq!(form("js-date").write(ancient, now(), None), None);
    let never = Moment::In(SignedDuration::MAX);
    for (form, unit, _) in forms() {
        assert_eq!(form.write(never, now(), unit), None, "{}", form.name());
        assert_eq!(form.write_up(never, now(), unit), None, "{}", form.name());
    }
}

#[test]
fn seconds_are_rounded_up() {
    for (text, expected) in [
        ("64.57", 65),
        ("0.0001", 1),
        ("2.0", 2),
        ("0", 0),
        ("-0.5", 0),
        ("-1", -1),
        ("-1.5", -1),
    ] {
        let moment = form("seconds").read(text, None).unwrap();
        assert_eq!(moment.seconds_from(now()), expected, "{text}");
        let instant = Moment::At(moment.instant(now()).unwrap());
        assert_eq!(instant.seconds_from(now()), expected, "{text} as instant");
    }
    assert_eq!(
        Moment::In(SignedDuration::MAX).seconds_from(now()),
        i64::MAX
    );
    assert_eq!(
        Moment::In(SignedDuration::MIN).seconds_from(now()),
        i64::MIN
    );
}

#[test]
fn retry_after_is_read_as_providers_send_it() {
    for (text, expected) in [
        ("120", after(120, 0)),
        ("0.5", after(0, 500_000_000)),
        (
            "Sun, 06 Nov 1994 08:49:37 GMT",
            Some(Moment::At(at("1994-11-06T08:49:37Z"))),
        ),
        (
            "2024-05-05T18:02:11Z",
            Some(Moment::At(at("2024-05-05T18:02:11Z"))),
        ),
        ("", None),
        ("soon", None),
    ] {
        assert_eq!(read_retry_after(text), expected, "{text}");
    }
}

#[test]
fn names_and_forms_are_the_same_set() {
    for name in TimeForm::NAMES {
        assert_eq!(form(name).name(), *name);
    }
    assert_eq!(TimeForm::from_name("%Y"), None);
    assert!(TimeForm::local("%H:%M", TimeZone::UTC).is_err());
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        // Before 1970 an HTTP-date tells nothing, before the year 0 some others: those must refuse, not lie.
        nanosecond in Timestamp::MIN.as_nanosecond()..=Timestamp::MAX.as_nanosecond(),
        near in -4_000_000_000_000_i64..4_000_000_000_000,
    ) {
        let instant = Timestamp::from_nanosecond(nanosecond).unwrap();
        let wait = SignedDuration::from_nanos(near);
        for moment in [Moment::At(instant), Moment::In(wait)] {
            for (form, unit, precision) in forms() {
                let Some(text) = form.write(moment, now(), unit) else {
                    prop_assert!(instant < at("1970-01-01T00:00:00Z"), "{} is silent", form.name());
                    continue;
                };
                let read = form.read(&text, unit);
                prop_assert!(read.is_some(), "{} {}", form.name(), text);
                let (was, is) = (position(&form, moment, now()), position(&form, read.unwrap(), now()));
                let precision = match form {
                    TimeForm::Epoch if was.unsigned_abs() >= 99_999_999_999_000_000_000 => 1_000_000,
                    _ => precision,
                };
                prop_assert_eq!(is, was.div_euclid(precision) * precision, "{} {}", form.name(), text);
                // And what was read is written the same way.
                let again = form.write(read.unwrap(), now(), unit);
                prop_assert_eq!(again, Some(text), "{}", form.name());
            }
        }
    }

    #[test]
    fn written_up_is_not_before_and_less_than_a_unit_after(near in -4_000_000_000_000_000_i64..4_000_000_000_000_000) {
        let moment = Moment::In(SignedDuration::from_nanos(near));
        for (form, unit, precision) in forms() {
            let text = form.write_up(moment, now(), unit).unwrap();
            let told = form.read(&text, unit).unwrap().duration_from(now()).as_nanos();
            prop_assert!(told >= i128::from(near), "{} {}", form.name(), text);
            prop_assert!(told - i128::from(near) < precision, "{} {}", form.name(), text);
        }
    }

    #[test]
    fn later_is_later(a in 0_i64..400_000_000_000_000, b in 0_i64..400_000_000_000_000) {
        let told = |form: &TimeForm, unit, nanoseconds| {
            let text = form.write(Moment::In(SignedDuration::from_nanos(nanoseconds)), now(), unit).unwrap();
            form.read(&text, unit).unwrap().duration_from(now())
        };
        for (form, unit, _) in forms() {
            prop_assert!(told(&form, unit, a.min(b)) <= told(&form, unit, a.max(b)), "{}", form.name());
        }
    }

    #[test]
    fn greater_numbers_are_later(a in any::<i64>(), b in any::<i64>(), fraction in 0_u32..1_000_000_000) {
        let (low, high) = (a.min(b), a.max(b));
        for name in ["seconds", "milliseconds", "minutes", "hours", "epoch-seconds", "epoch-milliseconds"] {
            // Fractions of negative numbers lead down.
            let spell = |n: i64| if n < 0 { n.to_string() } else { format!("{n}.{fraction:09}") };
            let read = |n| form(name).read(&spell(n), None).map(|moment| moment.duration_from(now()));
            if let (Some(low), Some(high)) = (read(low), read(high)) {
                prop_assert!(low <= high, "{}", name);
            }
        }
    }

    #[test]
    fn waiting_the_seconds_is_enough_and_one_less_is_not(nanoseconds in any::<i64>()) {
        let moment = Moment::In(SignedDuration::from_nanos(nanoseconds));
        let seconds = i128::from(moment.seconds_from(now())) * 1_000_000_000;
        prop_assert!(seconds >= i128::from(nanoseconds));
        prop_assert!(seconds - 1_000_000_000 < i128::from(nanoseconds));
        let instant = Moment::At(moment.instant(now()).unwrap());
        prop_assert_eq!(instant.seconds_from(now()), moment.seconds_from(now()));
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC{0,80}", unit in proptest::option::of("\\PC{0,8}")) {
        for (form, ..) in forms() {
            if let Some(moment) = form.read(&text, unit.as_deref()) {
                let _ = (moment.seconds_from(now()), moment.instant(now()));
            }
        }
        let _ = read_retry_after(&text);
    }

    #[test]
    fn any_number_is_read_and_written_without_a_panic(number in any::<i64>(), nanoseconds in -999_999_999..=999_999_999_i32) {
        let nanoseconds = if number < 0 { -nanoseconds.abs() } else { nanoseconds.abs() };
        let moment = Moment::In(SignedDuration::new(number, nanoseconds));
        for (form, ..) in forms() {
            for unit in [None, Some("day"), Some("ms")] {
                for text in [number.to_string(), format!("{number}.5")] {
                    if let Some(read) = form.read(&text, unit) {
                        let _ = (read.seconds_from(Timestamp::MIN), read.seconds_from(Timestamp::MAX));
                    }
                }
                for now in [Timestamp::MIN, now(), Timestamp::MAX] {
                    let _ = (form.write(moment, now, unit), form.write_up(moment, now, unit));
                }
            }
        }
    }
}
