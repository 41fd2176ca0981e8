//! `/-/events`: the single calls of the last while, a page at a time or live.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::{HeaderMap, Uri};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::live;
use super::numbering::Numbering;
use super::parameters::{Parameters, accepts, quoted};
use super::{Books, Misasked, Unavailable, Viewer, millis, text};
use crate::history::query::filter::Filter;
use crate::state::ReadError;
use crate::state::history::{EventLine, EventRow, Series, Snapshot};

/// Parameters beside the filters of calls.
const OWN: [&str; 2] = ["limit", "before"];

const USUAL_LIMIT: usize = 100;
const MOST: usize = 1_000;

/// How many may listen at a time. Each costs a connection and some memory.
const LISTENERS: usize = 64;

/// What the pages of events look at.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) books: Books,
    pub(super) seats: Arc<Semaphore>,
    /// What consumers' numbers of events are made with.
    pub(super) secret: (u64, u64),
}

pub(super) fn router(books: Books, secret: (u64, u64)) -> Router {
    let seats = Arc::new(Semaphore::new(LISTENERS));
    Router::new()
        .route("/-/events", get(page))
        .with_state(Desk {
            books,
            seats,
            secret,
        })
}

async fn page(
    State(desk): State<Desk>,
    Extension(viewer): Extension<Viewer>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let asked = if accepts(&headers, "text/event-stream") {
        match live_filter(&uri, &viewer) {
            Ok(filter) => return live::answer(&desk, filter, &viewer, &headers),
            Err(misasked) => Err(misasked),
        }
    } else {
        question(&uri, &viewer, Numbering::of(&viewer, desk.secret))
    };
    let question = match asked {
        Ok(question) => question,
        Err(misasked) => return misasked.response(),
    };
    let limit = question.limit;
    let read = move |snapshot: &Snapshot<'_>| stored(snapshot, &question);
    match desk.books.history.read(read).await {
        Ok(events) => {
            let last = events.get(limit - 1).and_then(|event| event["id"].as_i64());
            // Nobody knows whether there is one more: the next page tells.
            let document = json!({ "events": events, "next": last.map(|id| id.to_string()) });
            text("application/json", format!("{document}\n"))
        }
        Err(error) => Unavailable::because(&error).response(),
    }
}

/// Which events.
struct Question {
    filter: Filter,
    limit: usize,
    before: i64,
    numbering: Numbering,
}

fn question(uri: &Uri, viewer: &Viewer, numbering: Numbering) -> Result<Question, Misasked> {
    let parameters = Parameters::read(uri, &OWN, viewer)?;
    let limit = match parameters.one("limit")? {
        None => USUAL_LIMIT,
        Some(text) => {
            let limit = text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
            limit.ok_or_else(|| {
                Misasked(format!(
                    "`limit` cannot be {}: write a number from 1 to {MOST}.",
                    quoted(text)
                ))
            })?
        }
    };
    let before = match parameters.one("before")? {
        None => i64::MAX,
        Some(text) => {
            let before = text.parse().ok().filter(|before| *before > 0);
            let before = before.map(|before| numbering.meant(before));
            before.ok_or_else(|| {
                Misasked(format!(
                    "`before` cannot be {}: write the `next` of the page before.",
                    quoted(text)
                ))
            })?
        }
    };
    Ok(Question {
        filter: parameters.filter()?,
        limit,
        before,
        numbering,
    })
}

/// What comes live has no pages.
fn live_filter(uri: &Uri, viewer: &Viewer) -> Result<Filter, Misasked> {
    let parameters = Parameters::read(uri, &OWN, viewer)?;
    if let Some(name) = parameters.first_of(&OWN) {
        return Err(Misasked(format!(
            "A live stream has no {}: leave it out, or accept `application/json`.",
            quoted(name)
        )));
    }
    parameters.filter()
}

/// The latest first.
fn stored(snapshot: &Snapshot<'_>, question: &Question) -> Result<Vec<Value>, ReadError> {
    let names = wanted(snapshot, &question.filter)?;
    let mut events = Vec::new();
    if names.is_empty() {
        return Ok(events);
    }
    snapshot.events_of(
        question.before,
        |series| names.contains_key(&series),
        |event| {
            if let Some(series) = names.get(&event.series) {
                events.push(line(series, event, &question.numbering));
            }
            events.len() < question.limit
        },
    )?;
    Ok(events)
}

/// The series of calls that are asked for.
pub(super) fn wanted(
    snapshot: &Snapshot<'_>,
    filter: &Filter,
) -> Result<HashMap<i64, Series>, ReadError> {
    let dictionary = snapshot.dictionary()?;
    let all = dictionary.series().iter();
    let wanted = all.filter(|(_, series)| series.policy.is_empty() && filter.wants(series));
    Ok(wanted.cloned().collect())
}

/// An event of the store.
pub(super) fn line(series: &Series, event: &EventLine<'_>, numbering: &Numbering) -> Value {
    let lengths = [event.waited_us, event.duration_us, event.upstream_us];
    let told = Told {
        id: numbering.told(event.id),
        at_ms: event.at_ms,
        outcome: event.outcome,
        policy: event.policy,
        spent: event.spent,
        lengths,
        bytes: [event.bytes_in, event.bytes_out],
    };
    told.document(series)
}

/// An event that has just happened.
pub(super) fn row(event: &EventRow, numbering: &Numbering) -> Value {
    let lengths = [event.waited_us, event.duration_us, event.upstream_us];
    let told = Told {
        id: numbering.told(event.id),
        at_ms: event.at_ms,
        outcome: event.outcome,
        policy: &event.policy,
        spent: &event.spent,
        lengths,
        bytes: [event.bytes_in, event.bytes_out],
    };
    told.document(&event.series)
}

/// What both have.
struct Told<'a> {
    id: i64,
    at_ms: i64,
    outcome: &'a str,
    policy: &'a str,
    spent: &'a str,
    /// Waited, altogether, and at the provider, in microseconds.
    lengths: [u64; 3],
    /// In and out.
    bytes: [u64; 2],
}

impl Told<'_> {
    fn document(&self, series: &Series) -> Value {
        let [waited, duration, upstream] = self.lengths.map(millis);
        let [bytes_in, bytes_out] = self.bytes;
        let costs: Value = serde_json::from_str(self.spent).unwrap_or_else(|_| json!([]));
        json!({
            "id": self.id,
            "at": at(self.at_ms),
            "connection": &*series.connection,
            "provider": &*series.provider,
            "consumer": &*series.consumer,
            "method": &*series.method,
            "endpoint": &*series.endpoint,
            "status": number(series.status),
            "upstream_status": number(series.upstream_status),
            "refused_by": name(&series.refused_by),
            "policy": name(self.policy),
            "costs": costs,
            "waited_ms": waited,
            "duration_ms": duration,
            "upstream_ms": upstream,
            "bytes_in": bytes_in,
            "bytes_out": bytes_out,
            "outcome": self.outcome,
        })
    }
}

/// Always with milliseconds.
fn at(ms: i64) -> String {
    let moment = Timestamp::from_millisecond(ms);
    moment.map_or_else(|_| ms.to_string(), |moment| format!("{moment:.3}"))
}

const fn number(status: u16) -> Option<u16> {
    if status == 0 { None } else { Some(status) }
}

fn name(name: &str) -> Option<&str> {
    (!name.is_empty()).then_some(name)
}
