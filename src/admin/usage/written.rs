//! An answer as JSON and as CSV.

use serde_json::{Map, Value, json};

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
        fields.extend(columns.map(|(name, number)| (name.to_owned(), number.into())));
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
        (name.to_owned(), has_sum.then_some(number).into())
    });
    fields.collect()
}

/// The numbers, in the order in which they are told.
fn columns(numbers: &Numbers, of_policies: bool) -> Vec<(&'static str, u64)> {
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
        ("waited_ms", numbers.waited_us / 1_000),
        ("duration_ms", numbers.duration_us / 1_000),
        ("upstream_ms", numbers.upstream_us / 1_000),
        ("bytes_in", numbers.bytes_in),
        ("bytes_out", numbers.bytes_out),
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
    use super::field;

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
