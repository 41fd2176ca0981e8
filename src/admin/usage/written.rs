//! An answer as JSON and as CSV.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::thread;

use serde::Serialize;
use serde::ser::Error as _;
use serde_json::{Map, Value, json};
use smallvec::{SmallVec, smallvec};

use crate::admin::millis;
use crate::history::query::{Answer, By, Group, Key, Numbers, Question, Row, told};

/// As JSON, in one line.
pub(super) fn document(question: &Question, answer: &Answer) -> serde_json::Result<String> {
    let of_policies = question.by.contains(&By::Policy);
    let last_24h = answer.last_24h.as_ref().map(|overlap| {
        let days = overlap.days.iter().map(|day| {
            json!({
                "day": day.day,
                "calls": day.calls,
                "within_last_24h": day.within,
                "before": day.before,
            })
        });
        json!({
            "from": told(overlap.from),
            "to": told(overlap.to),
            "calls": overlap.calls,
            "days": days.collect::<Vec<_>>(),
        })
    });
    let before = Before {
        from: told(answer.from),
        to: told(answer.to),
        time_zone: question.zone.iana_name().unwrap_or("UTC"),
        by: question.by.iter().map(|by| by.as_str()).collect(),
    };
    let after = After {
        totals: totals(answer, of_policies),
        last_24h,
        notes: &answer.notes,
    };
    let (before, after) = (serde_json::to_vec(&before)?, serde_json::to_vec(&after)?);
    // Both are objects. Between what is in them stand the rows: there may be a hundred thousand.
    let mut document = before;
    document.pop();
    document.extend_from_slice(b",\"rows\":[");
    let (first, second) = answer.rows.split_at(answer.rows.len() / 2);
    let (first, second) = thread::scope(|scope| {
        let helper = thread::Builder::new().name("headroom-report".to_owned());
        let helper = helper.spawn_scoped(scope, || lines(question, first));
        let second = lines(question, second);
        let first = helper.map_err(serde_json::Error::custom)?.join();
        let broken = || serde_json::Error::custom("a thread broke off");
        Ok::<_, serde_json::Error>((first.map_err(|_| broken())??, second?))
    })?;
    document.reserve_exact(first.len() + second.len() + after.len() + 3);
    document.extend_from_slice(&first);
    if !first.is_empty() {
        document.push(b',');
    }
    document.extend_from_slice(&second);
    document.extend_from_slice(b"],");
    document.extend_from_slice(after.get(1..).unwrap_or_default());
    document.push(b'\n');
    String::from_utf8(document).map_err(serde_json::Error::custom)
}

#[derive(Serialize)]
struct Before<'a> {
    from: String,
    to: String,
    time_zone: &'a str,
    by: Vec<&'static str>,
}

#[derive(Serialize)]
struct After<'a> {
    totals: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_24h: Option<Value>,
    notes: &'a [String],
}

/// Rows with commas between them.
fn lines(question: &Question, rows: &[Row]) -> serde_json::Result<Vec<u8>> {
    /// What most rows take, in bytes.
    const USUAL: usize = 300;
    let mut out = Vec::with_capacity(rows.len() * USUAL);
    let mut lines = Lines::new(question);
    for (number, row) in rows.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        lines.write(&mut out, row)?;
    }
    Ok(out)
}

/// Writes rows. What many of them have in common is made once.
struct Lines<'a> {
    by: &'a [By],
    of_policies: bool,
    /// What the rows of a group have before their time, and between that and their numbers: `{"consumer":"a","day":` and
    /// `,"status":200`.
    groups: HashMap<*const Group, [Vec<u8>; 2]>,
    /// `,"calls":`.
    numbers: Vec<String>,
    digits: itoa::Buffer,
}

impl<'a> Lines<'a> {
    fn new(question: &'a Question) -> Self {
        let of_policies = question.by.contains(&By::Policy);
        let numbers = columns(&Numbers::default(), of_policies).into_iter();
        Self {
            by: &question.by,
            of_policies,
            groups: HashMap::new(),
            numbers: numbers.map(|(name, _)| format!(",\"{name}\":")).collect(),
            digits: itoa::Buffer::new(),
        }
    }

    fn write(&mut self, out: &mut Vec<u8>, row: &Row) -> serde_json::Result<()> {
        // Whoever has the rows keeps their groups where they are.
        let [before, after] = match self.groups.entry(Arc::as_ptr(&row.group)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(ends(self.by, &row.group)?),
        };
        out.extend_from_slice(before);
        if !row.time.is_empty() {
            serde_json::to_writer(&mut *out, &*row.time)?;
        }
        out.extend_from_slice(after);
        let numbers = columns(&row.numbers, self.of_policies).into_iter();
        for (name, (_, number)) in self.numbers.iter().zip(numbers) {
            out.extend_from_slice(name.as_bytes());
            match number {
                Number::Count(count) => {
                    out.extend_from_slice(self.digits.format(count).as_bytes());
                }
                Number::Micros(micros) if micros.is_multiple_of(1_000) => {
                    out.extend_from_slice(self.digits.format(micros / 1_000).as_bytes());
                }
                Number::Micros(micros) => serde_json::to_writer(&mut *out, &millis(micros))?,
            }
        }
        out.push(b'}');
        Ok(())
    }
}

/// What stands before the time of a row, and what behind it.
fn ends(by: &[By], group: &Group) -> serde_json::Result<[Vec<u8>; 2]> {
    let mut ends = [vec![b'{'], Vec::new()];
    let [before, after] = &mut ends;
    let mut part = before;
    let mut keys = group.keys.iter();
    for (at, by) in by.iter().enumerate() {
        if at > 0 {
            part.push(b',');
        }
        serde_json::to_writer(&mut *part, by.as_str())?;
        part.push(b':');
        if matches!(by, By::Step(_)) {
            part = &mut *after;
            continue;
        }
        match keys.next() {
            Some(Key::Text(text)) => serde_json::to_writer(&mut *part, &**text)?,
            Some(Key::Number(number)) => serde_json::to_writer(&mut *part, number)?,
            Some(Key::None) | None => part.extend_from_slice(b"null"),
        }
    }
    if let Some(unit) = &group.unit {
        part.extend_from_slice(b",\"unit\":");
        serde_json::to_writer(&mut *part, &**unit)?;
    }
    Ok(ends)
}

fn totals(answer: &Answer, of_policies: bool) -> Map<String, Value> {
    let columns = columns(&answer.totals, of_policies).into_iter();
    let fields = columns.map(|(name, number)| {
        // Points and requests have no sum.
        let has_sum = name != "cost" || answer.one_unit;
        (name.to_owned(), has_sum.then(|| number.json()).into())
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
fn columns(numbers: &Numbers, of_policies: bool) -> SmallVec<[(&'static str, Number); 12]> {
    use Number::{Count, Micros};

    if of_policies {
        return smallvec![
            ("calls", Count(numbers.calls)),
            ("cost", Count(numbers.cost)),
            ("refused", Count(numbers.refused)),
            ("exhausted", Count(numbers.exhausted)),
        ];
    }
    smallvec![
        ("calls", Count(numbers.calls)),
        ("ok", Count(numbers.ok)),
        ("failed", Count(numbers.failed)),
        ("refused", Count(numbers.refused)),
        ("exhausted", Count(numbers.exhausted)),
        ("unanswered", Count(numbers.unanswered)),
        ("waited", Count(numbers.waited)),
        ("waited_ms", Micros(numbers.waited_us)),
        ("duration_ms", Micros(numbers.duration_us)),
        ("upstream_ms", Micros(numbers.upstream_us)),
        ("bytes_in", Count(numbers.bytes_in)),
        ("bytes_out", Count(numbers.bytes_out)),
    ]
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
        let keys = row.keys(&question.by).into_iter().map(|key| match key {
            Key::None => String::new(),
            Key::Number(number) => number.to_string(),
            Key::Text(text) => field(&text),
        });
        let unit = row.group.unit.iter().map(|unit| field(unit));
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
            group: Arc::new(Group {
                keys: vec![Key::Text(name.into())],
                unit: None,
            }),
            time: "".into(),
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
        let document = document(&question, &answer).unwrap();
        let document: Value = serde_json::from_str(&document).unwrap();
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
