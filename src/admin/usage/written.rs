//! An answer as JSON and as CSV.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::admin::millis;
use crate::history::query::{Answer, By, Key, Numbers, Question, Row, told};

/// As JSON.
pub(super) fn document(question: &Question, answer: &Answer) -> Value {
    let of_policies = question.by.contains(&By::Policy);
    let by: Vec<_> = question.by.iter().map(|by| by.as_str()).collect();
    let rows = answer.rows.iter().map(|row| {
        let mut fields = Map::new();
        for (by, key) in question.by.iter().zip(&row.keys) {
            fields.insert(by.as_str().to_owned(), value(key));
        }
        if let Some(unit) = &row.unit {
            fields.insert("unit".to_owned(), Value::from(&**unit));
        }
        let columns = columns(&row.numbers, of_policies).into_iter();
        fields.extend(columns.map(|(name, number)| (name.to_owned(), number.json())));
        Value::Object(fields)
    });
    let mut document = json!({
        "from": told(answer.from),
        "to": told(answer.to),
        "time_zone": question.zone.iana_name().unwrap_or("UTC"),
        "by": by,
        "rows": rows.collect::<Vec<_>>(),
        "totals": totals(answer, of_policies),
    });
    let Some(fields) = document.as_object_mut() else {
        return document;
    };
    if let Some(overlap) = &answer.last_24h {
        let days = overlap.days.iter().map(|day| {
            json!({
                "day": day.day,
                "calls": day.calls,
                "within_last_24h": day.within,
                "before": day.before,
            })
        });
        let overlap = json!({
            "from": told(overlap.from),
            "to": told(overlap.to),
            "calls": overlap.calls,
            "days": days.collect::<Vec<_>>(),
        });
        fields.insert("last_24h".to_owned(), overlap);
    }
    fields.insert("notes".to_owned(), answer.notes.clone().into());
    document
}

fn totals(answer: &Answer, of_policies: bool) -> Map<String, Value> {
    let columns = columns(&answer.totals, of_policies).into_iter();
    let fields = columns.map(|(name, number)| {
        // Points and requests have no sum.
        let has_sum = name != "cost" || answer.one_unit;
        let sum = has_sum.then(|| number.json());
        (name.to_owned(), sum.unwrap_or_default())
    });
    fields.collect()
}

/// A number of a column.
#[derive(Clone, Copy)]
enum Number {
    Count(u64),
    /// A length of time in microseconds, told in milliseconds with all its decimals: so rows add up to their total.
    Micros(u64),
}

impl From<u64> for Number {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl Number {
    fn json(self) -> Value {
        match self {
            Self::Count(count) => count.into(),
            Self::Micros(micros) => millis(micros),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(out),
            Self::Micros(micros) => millis(*micros).fmt(out),
        }
    }
}

/// The numbers, in the order in which they are told.
fn columns(numbers: &Numbers, of_policies: bool) -> Vec<(&'static str, Number)> {
    let counts = counts(numbers, of_policies);
    let counts = counts.into_iter().map(|(name, count)| (name, count.into()));
    if of_policies {
        return counts.collect();
    }
    let lengths = [
        ("waited_ms", Number::Micros(numbers.waited_us)),
        ("duration_ms", Number::Micros(numbers.duration_us)),
        ("upstream_ms", Number::Micros(numbers.upstream_us)),
    ];
    let bytes = [
        ("bytes_in", numbers.bytes_in.into()),
        ("bytes_out", numbers.bytes_out.into()),
    ];
    counts.chain(lengths).chain(bytes).collect()
}

fn counts(numbers: &Numbers, of_policies: bool) -> Vec<(&'static str, u64)> {
    if of_policies {
        return vec![
            ("calls", numbers.calls),
            ("cost", numbers.cost),
            ("refused", numbers.refused),
            ("exhausted", numbers.exhausted),
        ];
    }
    vec![
        ("calls", numbers.calls),
        ("ok", numbers.ok),
        ("failed", numbers.failed),
        ("refused", numbers.refused),
        ("exhausted", numbers.exhausted),
        ("unanswered", numbers.unanswered),
        ("waited", numbers.waited),
    ]
}

fn value(key: &Key) -> Value {
    match key {
        Key::None => Value::Null,
        Key::Number(number) => Value::from(*number),
        Key::Text(text) => Value::from(&**text),
    }
}

/// As CSV (RFC 4180), with a line of names.
pub(super) fn csv(question: &Question, answer: &Answer) -> String {
    let of_policies = question.by.contains(&By::Policy);
    let names = question.by.iter().map(|by| by.as_str());
    let unit = of_policies.then_some("unit");
    let numbers = columns(&answer.totals, of_policies).into_iter();
    let head = names.chain(unit).chain(numbers.map(|(name, _)| name));
    let mut csv = head.collect::<Vec<_>>().join(",") + "\r\n";
    for row in &answer.rows {
        let Row { keys, unit, .. } = row;
        let keys = keys.iter().map(|key| match key {
            Key::None => String::new(),
            Key::Number(number) => number.to_string(),
            Key::Text(text) => field(text),
        });
        let unit = unit.iter().map(|unit| field(unit));
        let numbers = columns(&row.numbers, of_policies).into_iter();
        let numbers = numbers.map(|(_, number)| number.to_string());
        let fields: Vec<_> = keys.chain(unit).chain(numbers).collect();
        csv.push_str(&fields.join(","));
        csv.push_str("\r\n");
    }
    csv
}

/// A field that no spreadsheet takes for a formula: paths come from callers.
fn field(text: &str) -> String {
    // Some programs trim before they look.
    let seen = text.trim_start();
    let acts = seen.len() < text.len()
        || seen.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '"', '\'']);
    let safe = if acts {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    if acts || safe.contains(['"', ',', ';', '\t', '\r', '\n']) {
        format!("\"{}\"", safe.replace('"', "\"\""))
    } else {
        safe
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::history::query::Range;

    /// Rows that are cut to whole milliseconds one by one would be less than their total.
    #[test]
    fn lengths_of_rows_add_up_to_the_total() {
        let numbers = |micros: u64| Numbers {
            waited_us: micros,
            duration_us: 3 * micros,
            upstream_us: 1_000_000,
            ..Numbers::default()
        };
        let row = |name: &str| Row {
            keys: vec![Key::Text(name.into())],
            unit: None,
            numbers: numbers(1_600),
        };
        let answer = Answer {
            from: 0,
            to: 60,
            rows: vec![row("a"), row("b")],
            totals: Numbers {
                upstream_us: 2_000_000,
                ..numbers(3_200)
            },
            one_unit: true,
            last_24h: None,
            notes: Vec::new(),
        };
        let question = Question {
            by: vec![By::Connection],
            filter: Default::default(),
            range: Range::Minutes(1),
            zone: TimeZone::UTC,
        };
        let document = document(&question, &answer);
        let lengths = |of: &Value| {
            ["waited_ms", "duration_ms", "upstream_ms"].map(|name| of[name].to_string())
        };
        assert_eq!(lengths(&document["rows"][0]), ["1.6", "4.8", "1000"]);
        assert_eq!(lengths(&document["totals"]), ["3.2", "9.6", "2000"]);
        let csv = csv(&question, &answer);
        assert!(
            csv.contains("\r\na,0,0,0,0,0,0,0,1.6,4.8,1000,0,0\r\n"),
            "{csv}"
        );
    }

    #[test]
    fn no_field_is_a_formula() {
        for (text, written) in [
            ("/v3/contacts/*", "/v3/contacts/*"),
            ("credential:0123abcd", "credential:0123abcd"),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\nb", "\"a\nb\""),
            ("=1+1", "\"'=1+1\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            (" =1", "\"' =1\""),
            ("\r=1", "\"'\r=1\""),
            ("\"=1", "\"'\"\"=1\""),
            ("＝1", "\"'＝1\""),
        ] {
            assert_eq!(field(text), written, "{text}");
        }
    }
}
