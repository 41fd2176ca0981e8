//! What every spelling of a date promises.

use super::*;
use proptest::prelude::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

#[track_caller]
fn is(read: Option<Timestamp>, expected: &str) {
    assert_eq!(read, Some(expected.parse().unwrap()));
}

#[test]
fn rfc3339_is_read_in_all_the_ways_it_is_sent() {
    for (text, expected) in [
        ("2024-05-05T18:02:11Z", "2024-05-05T18:02:11Z"),
        ("2024-05-05t18:02:11z", "2024-05-05T18:02:11Z"),
        ("2024-05-05 18:02:11Z", "2024-05-05T18:02:11Z"),
        ("2024-05-05T18:02Z", "2024-05-05T18:02:00Z"),
        ("2024-05-05T18:02+02:00", "2024-05-05T16:02:00Z"),
        ("2024-05-05T18:02:11+00:00", "2024-05-05T18:02:11Z"),
        ("2024-05-05T18:02:11+0000", "2024-05-05T18:02:11Z"),
        ("2024-05-05T18:02:11-0330", "2024-05-05T21:32:11Z"),
        ("2024-05-05T18:02:11+02", "2024-05-05T16:02:11Z"),
        ("2024-05-05T18:02:11.5Z", "2024-05-05T18:02:11.5Z"),
        (
            "2024-05-05T18:02:11.123456789987654321+00:00",
            "2024-05-05T18:02:11.123456789Z",
        ),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2016-12-31T23:59:60.25Z", "2017-01-01T00:00:00.25Z"),
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
        ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z"),
    ] {
        is(read_rfc3339(text), expected);
    }
}

#[test]
fn what_is_not_rfc3339_is_refused() {
    for text in [
        "",
        "2024-05-05",
        "2024-05-05T18:02:11",
        "2024-05-05 18:02:11",
        "2024-05-05T18Z",
        "2024-05-05T18:02:11.Z",
        "2024-05-05T18:02.5",
        "2023-02-29T00:00:00Z",
        "2024-13-05T18:02:11Z",
        "2024-05-05T24:00:00Z",
        "2024-05-05T18:02:61Z",
        "2024-05-05T18:02:11+24:00",
        "2024-05-05T18:02:11+00:60",
        "2024-05-05T18:02:11+00:00Z",
        "2024-05-05T18:02:11ZZ",
        "2024-05-05T18:02:11 Z",
        "20240505T180211Z",
        "9999-12-31T23:59:59Z",
        "2024-05-05T18:02:1\u{661}Z",
        "\u{661}024-05-05T18:02:11Z",
    ] {
        assert_eq!(read_rfc3339(text), None, "{text}");
    }
}

#[test]
fn http_dates_are_read_in_all_three_forms() {
    for text in [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ] {
        is(read_http_date(text), "1994-11-06T08:49:37Z");
    }
    for text in [
        "",
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ] {
        assert_eq!(read_http_date(text), None, "{text}");
    }
}

#[test]
fn js_dates_are_read_with_and_without_the_name_of_the_zone() {
    for (text, expected) in [
        (
            "Tue May 23 2023 14:42:01 GMT+0200 (Central European Summer Time)",
            "2023-05-23T12:42:01Z",
        ),
        ("Tue May 23 2023 14:42:01 GMT+0200", "2023-05-23T12:42:01Z"),
        ("Tue May 23 2023 14:42:01 GMT-0330", "2023-05-23T18:12:01Z"),
        ("Tue May 23 2023 14:42:01 GMT", "2023-05-23T14:42:01Z"),
        ("Tue May 23 2023 14:42:01 GMT (UTC)", "2023-05-23T14:42:01Z"),
    ] {
        is(read_js_date(text), expected);
    }
    for text in [
        "",
        "Invalid Date",
        "Tue May 23 2023 14:42:01",
        "Tue May 23 2023 14:42:01 UTC",
        "Tue May 23 2023 14:42:01 GMT+0200 (",
        "Tue May 23 2023 14:42 GMT",
        "Tue May 32 2023 14:42:01 GMT",
        "Xyz May 23 2023 14:42:01 GMT",
        "Tue Mai 23 2023 14:42:01 GMT",
        "Tue May 23 2023 14:42:01 GMT+0200 x",
        "Tue May 23 2023 14:42:01 GMT0200",
    ] {
        assert_eq!(read_js_date(text), None, "{text}");
    }
}

#[test]
fn local_times_take_the_later_instant() {
    let format = "%Y-%m-%d %H:%M:%S";
    let new_york = zone("America/New_York");
    let read = |text| read_local(text, format, &new_york);
    is(read("2024-07-01 12:00:00"), "2024-07-01T16:00:00Z");
    // Half past one happens twice on this day: at 05:30 and at 06:30 UTC.
    is(read("2024-11-03 01:30:00"), "2024-11-03T06:30:00Z");
    // Half past two does not happen on this day: it is half past three in summer time.
    is(read("2024-03-10 02:30:00"), "2024-03-10T07:30:00Z");
    assert_eq!(read("2024-07-01"), None);
    assert_eq!(read("2024-07-01 12:00:00 x"), None);
    // An offset in the text counts more than the zone.
    is(
        read_local("2024-07-01 12:00 +0000", "%Y-%m-%d %H:%M %z", &new_york),
        "2024-07-01T12:00:00Z",
    );
    is(
        read_local("1719835200", "%s", &new_york),
        "2024-07-01T12:00:00Z",
    );
}

#[test]
fn a_pattern_must_tell_an_instant() {
    for name in ["UTC", "America/Los_Angeles", "Asia/Kathmandu"] {
        for format in [
            "%Y-%m-%d %H:%M:%S",
            "%Y-%m-%dT%H:%M:%S%.f",
            "%d/%m/%Y %H:%M",
            "%m/%d/%y %I:%M:%S %p",
            "%Y-%m-%d",
            "%a, %d %b %Y %H:%M:%S",
            "%Y-%m-%d %H:%M:%S %z",
            "%s",
        ] {
            assert_eq!(
                check_local(format, &zone(name)),
                Ok(()),
                "{format} in {name}"
            );
        }
        for format in [
            "",
            "soon",
            "%H:%M",
            "%Y-%m",
            "%Y-%m-%d %I:%M",
            "%Y-%m-%d %M:%S",
            "%Y-%m-%d %H:%M:%S %Z",
            "%Q%",
            "%!",
            "%",
        ] {
            assert!(
                check_local(format, &zone(name)).is_err(),
                "{format} in {name}"
            );
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in "\\PC*") {
        let _ = read_rfc3339(&text);
        let _ = read_http_date(&text);
        let _ = read_js_date(&text);
        let _ = read_local(&text, "%Y-%m-%d %H:%M:%S%.f", &TimeZone::UTC);
        let _ = check_local(&text, &TimeZone::UTC);
    }

    #[test]
    fn what_is_nearly_a_date_is_read_without_a_panic(
        rfc3339 in "[0-9]{4}-[0-9]{2}-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9](:[0-6][0-9])?([.][0-9]{0,20})?(Z|[-+][0-9:]{0,6})",
        http in "(Mon|Tue|Sun|Sunday)(, | )([0-9 ]{2}[ -](Feb|Nov)[ -]|Nov [0-9 ]{2} )([0-9]{2}|[0-9]{4}) ?[0-9:]{8} (GMT|[0-9]{4})",
        js in "(Mon|Tue|Sun) (Feb|Nov) [0-9]{2} [0-9]{4} [0-9:]{8} GMT[-+]?[0-9:]{0,6}( ?[(]\\PC{0,5}[)])?",
        format in "(%[-_0^#:.]?[0-9]{0,3}[a-zA-Z%]| |-){0,5}",
    ) {
        let _ = read_rfc3339(&rfc3339);
        let _ = read_http_date(&http);
        let _ = read_js_date(&js);
        let _ = check_local(&format, &TimeZone::UTC);
    }
}
