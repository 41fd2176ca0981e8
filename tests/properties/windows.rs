//! Windows that follow the clock: waiting exactly `reset` is enough and one second less is not, in every zone.

use headroom::adapter::parse::parse;
use headroom::adapter::terms::Terms;
use headroom::adapter::{Adapter, Answer, Call};
use headroom::fields::Fields;
use headroom::translate::translate;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;

/// Zones whose clocks do odd things: gaps at midnight, quarter hours, half-hour summer time, a day that never was.
const ZONES: &[&str] = &[
    "UTC",
    "Europe/Oslo",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Tehran",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Antarctica/Troll",
];

fn adapter(window: &str, zone: &str, kind: &str) -> Adapter {
    // Shorter windows follow the clock in UTC.
    let zone = match window {
        "day" | "week" | "month" => format!("time_zone = \"{zone}\""),
        _ => String::new(),
    };
    let text = format!(
        "name = \"Model\"\ndocs = \"https://example.com\"\n[policy.requests]\nremaining = \"x\"\n\
         window = \"{window}\"\nkind = \"{kind}\"\n{zone}\n"
    );
    parse("model", &text).unwrap_or_else(|mistakes| panic!("{}", mistakes.render("", &text, false)))
}

/// What an answer without a reset gives: seconds, and whether that is an estimate.
fn reset(adapter: &Adapter, account: Option<&TimeZone>, now: Timestamp) -> (u64, bool) {
    let terms = Terms::new(adapter, None, account, &Default::default()).unwrap();
    let name = HeaderName::from_static("x");
    let headers = Fields::from_iter([(name, HeaderValue::from_static("1"))]);
    let call = Call {
        method: &Method::GET,
        path: None,
        headers: None,
        body: None,
    };
    let answer = Answer {
        status: StatusCode::OK,
        headers: &headers,
        body: None,
    };
    let translation = translate(adapter, &terms, &call, &answer, now);
    let limit = &translation.limits[0];
    (limit.reset.unwrap(), limit.source.estimated)
}

/// The window that a moment belongs to, told by the calendar on the wall.
fn window_of(window: &str, zone: &TimeZone, moment: Timestamp) -> (i64, Date) {
    let date = moment.to_zoned(zone.clone()).date();
    match window {
        "day" => (0, date),
        "week" => {
            let since_monday = i64::from(date.weekday().to_monday_zero_offset());
            let monday = date
                .checked_sub(SignedDuration::from_hours(24 * since_monday))
                .unwrap();
            (0, monday)
        }
        "month" => (0, date.first_of_month()),
        clock => {
            let length = match clock {
                "10s" => 10,
                "15m" => 900,
                "1h" => 3_600,
                "6h" => 21_600,
                other => panic!("{other}"),
            };
            (
                moment.as_second().div_euclid(length),
                Date::constant(2000, 1, 1),
            )
        }
    }
}

/// Near the nights on which clocks change, and any moment.
fn moment() -> impl Strategy<Value = Timestamp> {
    let nights = select(vec![
        "2018-11-04T03:00:00Z", // Sao Paulo: no midnight
        "2018-02-18T02:00:00Z", // Sao Paulo: 23:00 twice
        "2011-12-30T10:00:00Z", // Apia: no 30 December
        "2026-03-29T01:00:00Z", // Oslo, Troll
        "2026-10-25T01:00:00Z",
        "2026-03-08T05:00:00Z", // Havana: no midnight
        "2026-11-01T05:00:00Z", // Havana: midnight twice
        "2010-11-07T02:31:00Z", // St. John's: one minute past midnight, back to 23:01
        "2026-04-23T22:00:00Z", // Cairo: no midnight
        "2026-03-28T22:00:00Z", // Beirut: no midnight
        "2026-04-04T15:00:00Z", // Lord Howe: half an hour
        "2022-09-21T19:30:00Z", // Tehran
    ])
    .prop_map(|text| text.parse::<Timestamp>().unwrap().as_second());
    let around = prop_oneof![-200_000_i64..200_000, -5_000_i64..5_000];
    let nanos = prop_oneof![Just(0), 0..1_000_000_000_i32];
    let secs = prop_oneof![
        3 => (nights, around).prop_map(|(night, around)| night + around),
        1 => 0_i64..4_000_000_000,
    ];
    (secs, nanos).prop_map(|(secs, nanos)| Timestamp::new(secs, nanos).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn waiting_exactly_for_the_reset_is_enough_and_a_second_less_is_not(
        window in select(vec!["10s", "15m", "1h", "6h", "day", "week", "month"]),
        kind in select(vec!["clock", "lazy"]),
        name in select(ZONES.to_vec()),
        now in moment(),
    ) {
        let zone = TimeZone::get(name).unwrap();
        let adapter = adapter(window, name, kind);
        let (secs, estimated) = reset(&adapter, None, now);
        prop_assert!(!estimated);
        prop_assert!(secs >= 1);
        let after = |secs: u64| now + SignedDuration::from_secs(i64::try_from(secs).unwrap());
        let own = window_of(window, &zone, now);
        prop_assert_ne!(window_of(window, &zone, after(secs)), own, "{} {}: {}", name, now, secs);
        prop_assert_eq!(window_of(window, &zone, after(secs - 1)), own, "{} {}: {}", name, now, secs);
    }

    /// The account's zone is the connection's word; without it the whole window is the longest it can take.
    #[test]
    fn the_zone_of_the_account_counts(name in select(ZONES.to_vec()), now in moment()) {
        let of_account = adapter("day", "account", "clock");
        let named = adapter("day", name, "clock");
        let zone = TimeZone::get(name).unwrap();
        prop_assert_eq!(reset(&of_account, Some(&zone), now), reset(&named, None, now));
        prop_assert_eq!(reset(&of_account, None, now), (86_400, true));
    }
}

/// One minute past midnight the clock went back to 23:01: until the second midnight it is the day before.
#[test]
fn a_midnight_that_comes_twice_counts_the_second_time() {
    let adapter = adapter("day", "America/St_Johns", "clock");
    let now = "2010-11-07T02:31:00Z".parse().unwrap();
    assert_eq!(reset(&adapter, None, now), (59 * 60, false));
}
