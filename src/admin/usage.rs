//! `/-/usage`: who used the quota, as JSON or CSV.

mod written;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Uri};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::parameters::{Parameters, accepts, quoted};
use super::{Books, Misasked, Unavailable, Viewer, text};
use crate::clock;
use crate::history::History;
use crate::history::query::{Answer, By, Question, Range, answer};

/// Parameters beside the filters of calls.
const OWN: [&str; 7] = ["by", "last", "from", "to", "tz", "format", "policy"];

/// What totals of policies do not tell apart.
const NOT_OF_POLICIES: [&str; 5] = [
    "method",
    "endpoint",
    "status",
    "upstream_status",
    "refused_by",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
}

pub(super) async fn page(
    State(books): State<Books>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let now_ms = clock::now().as_millisecond();
    report_to(&viewer, &books.history, &uri, &headers, now_ms).await
}

/// The page at a moment (Unix milliseconds), as the operator sees it.
pub async fn report(
    history: &Arc<History>,
    uri: &Uri,
    headers: &HeaderMap,
    now_ms: i64,
) -> Response {
    report_to(&Viewer::Operator, history, uri, headers, now_ms).await
}

async fn report_to(
    viewer: &Viewer,
    history: &Arc<History>,
    uri: &Uri,
    headers: &HeaderMap,
    now_ms: i64,
) -> Response {
    let (question, format) = match question(uri, headers, viewer) {
        Ok(asked) => asked,
        Err(misasked) => return misasked.response(),
    };
    let asked = question.clone();
    let read = history.read(move |snapshot| answer(snapshot, &asked, now_ms));
    match read.await {
        Ok(Ok(answer)) => match format {
            Format::Json => {
                let answer = Answer {
                    notes: notes(answer.notes, history, viewer),
                    ..answer
                };
                // Megabytes, for some questions: calls do not wait for that.
                let write = move || written::document(&question, &answer);
                match tokio::task::spawn_blocking(write).await {
                    Ok(Ok(document)) => text("application/json", document),
                    Ok(Err(error)) => unwritten(&error),
                    Err(error) => unwritten(&error),
                }
            }
            // There is no place in it for what is missing.
            Format::Csv if history.health().is_some() => {
                Unavailable(notes(Vec::new(), history, viewer).join(" ")).response()
            }
            Format::Csv => {
                let write = move || written::csv(&question, &answer);
                match tokio::task::spawn_blocking(write).await {
                    Ok(csv) => text("text/csv; charset=utf-8; header=present", csv),
                    Err(error) => unwritten(&error),
                }
            }
        },
        Ok(Err(unanswerable)) => Misasked(unanswerable).response(),
        Err(error) => Unavailable::because(&error).response(),
    }
}

fn unwritten(error: &dyn std::fmt::Display) -> Response {
    Unavailable(format!("The report cannot be written: {error}.")).response()
}

/// What is missing is told with the numbers; why, to whoever can do something about it.
fn notes(mut notes: Vec<String>, history: &History, viewer: &Viewer) -> Vec<String> {
    let told = |trouble: String| match viewer {
        Viewer::Operator => {
            format!("The last calls may be missing, because they cannot be written: {trouble}.")
        }
        _ => "The last calls may be missing, because they cannot be written.".to_owned(),
    };
    notes.extend(history.health().map(told));
    notes
}

fn question(
    uri: &Uri,
    headers: &HeaderMap,
    viewer: &Viewer,
) -> Result<(Question, Format), Misasked> {
    let parameters = Parameters::read(uri, &OWN, viewer)?;
    let by = by(parameters.one("by")?.unwrap_or("connection"))?;
    if by.contains(&By::Policy) {
        let mut columns = by.iter().map(|by| by.as_str());
        let other = columns.find(|name| NOT_OF_POLICIES.contains(name));
        if let Some(other) = other.or_else(|| parameters.first_of(&NOT_OF_POLICIES)) {
            return Err(Misasked(format!(
                "What policies counted is not known by `{other}`: leave out `{other}` or `policy`."
            )));
        }
    } else if parameters.first_of(&["policy"]).is_some() {
        return Err(Misasked(
            "Calls are not known by policy: write `policy` in `by` too, as `by=policy`.".to_owned(),
        ));
    }
    let zone = match parameters.one("tz")? {
        None => TimeZone::UTC,
        Some(name) => zone(name)?,
    };
    let format = match parameters.one("format")? {
        None if accepts(headers, "text/csv") => Format::Csv,
        None | Some("json") => Format::Json,
        Some("csv") => Format::Csv,
        Some(other) => {
            return Err(Misasked(format!(
                "`format` cannot be {}: write `json` or `csv`.",
                quoted(other)
            )));
        }
    };
    let question = Question {
        by,
        filter: parameters.filter()?,
        range: range(&parameters, &zone)?,
        zone,
    };
    Ok((question, format))
}

fn by(list: &str) -> Result<Vec<By>, Misasked> {
    let mut by = Vec::new();
    for name in list.split(',') {
        let Some(one) = By::ALL.into_iter().find(|one| one.as_str() == name) else {
            let all = By::ALL.map(|one| quoted(one.as_str()));
            return Err(Misasked(format!(
                "Calls are not told apart by {}: write {}, several with commas.",
                quoted(name),
                all.join(", ")
            )));
        };
        let is_step = |by: &By| matches!(by, By::Step(_));
        if by.contains(&one) || (is_step(&one) && by.iter().any(is_step)) {
            return Err(Misasked(format!(
                "`by` has {} beside something of its kind: write each word once, and one of `minute`, `hour` and `day`.",
                quoted(name)
            )));
        }
        by.push(one);
    }
    Ok(by)
}

fn zone(name: &str) -> Result<TimeZone, Misasked> {
    TimeZone::get(name).map_err(|_| {
        Misasked(format!(
            "There is no time zone {}: write one of IANA's names, such as `UTC` or `Europe/Oslo`.",
            quoted(name)
        ))
    })
}

fn range(parameters: &Parameters, zone: &TimeZone) -> Result<Range, Misasked> {
    let moment = |name: &str, is_end: bool| {
        match parameters.one(name)? {
        None => Ok(None),
        Some(text) => moment(text, is_end, zone).map(Some).ok_or_else(|| {
            let (name, text) = (quoted(name), quoted(text));
            Misasked(format!(
                "{name} cannot be {text}: write a date such as 2026-11-22, or a moment such as 2026-11-22T01:30:00Z."
            ))
        }),
    }
    };
    let (from, to) = (moment("from", false)?, moment("to", true)?);
    match (parameters.one("last")?, from, to) {
        (None, None, None) => Ok(Range::Minutes(24 * 60)),
        (Some(text), None, None) => last(text),
        (None, Some(from), to) => Ok(Range::Between(from, to)),
        (Some(_), ..) => Err(Misasked(
            "`last` ends now, so it cannot stand beside `from` and `to`: leave one of them out."
                .to_owned(),
        )),
        (None, None, Some(_)) => Err(Misasked(
            "`to` ends a range that nothing begins: write `from` too.".to_owned(),
        )),
    }
}

/// `24h`, `90m`, `7d`: ten years at the most.
fn last(text: &str) -> Result<Range, Misasked> {
    const DAYS: u32 = 3_660;
    let read = || {
        let unit = text.chars().last()?;
        let count = text.strip_suffix(unit)?;
        if !count.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let count: u32 = count.parse().ok()?;
        let (minutes, most) = match unit {
            'd' => (None, DAYS),
            'h' => (Some(60), DAYS * 24),
            'm' => (Some(1), DAYS * 24 * 60),
            _ => return None,
        };
        (1..=most).contains(&count).then(|| match minutes {
            None => Range::Dates(count),
            Some(minutes) => Range::Minutes(count * minutes),
        })
    };
    read().ok_or_else(|| {
        Misasked(format!(
            "`last` cannot be {}: write `24h`, `90m`, or `7d` for seven dates with today.",
            quoted(text)
        ))
    })
}

/// A moment in seconds since 1970. A date begins a range with its beginning and ends it with its end.
fn moment(text: &str, is_end: bool, zone: &TimeZone) -> Option<i64> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment.as_second());
    }
    // Nothing but a date: jiff would take a time of day behind it, which nobody can place.
    let date = (text.len() == 10).then(|| text.parse::<Date>().ok())??;
    let date = if is_end { date.tomorrow().ok()? } else { date };
    let start = date.to_zoned(zone.clone()).ok()?;
    Some(start.timestamp().as_second())
}
