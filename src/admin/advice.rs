//! `GET /-/advice`: what the history and the meters advise.

use axum::extract::State;
use axum::response::Response;
use http::Uri;
use jiff::Timestamp;
use serde::Serialize;

use super::{Books, Misasked, Unavailable, text};
use crate::advice::{self, Advice, LEVEL, Totals};
use crate::clock;
use crate::ledger::report::Filter;

#[derive(Serialize)]
struct Page {
    from: String,
    to: String,
    advice: Vec<Advice>,
    /// What else is to be known, in sentences.
    notes: Vec<String>,
}

/// The page: `?last=24h` says what it looks back at, in hours or days.
pub(super) async fn page(State(books): State<Books>, uri: Uri) -> Response {
    let hours = match hours(uri.query().unwrap_or_default()) {
        Ok(hours) => hours,
        Err(detail) => return Misasked(detail).response(),
    };
    let now = clock::moment();
    let to = now.wall_ms.div_euclid(1_000) + 1;
    // Whole quarter hours, so that nothing is left out.
    let from = to - hours * 3_600;
    let from = from - from.rem_euclid(LEVEL);
    let read = books
        .history
        .read(move |snapshot| {
            let kept = kept(from, to, snapshot.forgotten(LEVEL)?);
            Ok((kept, Totals::read(snapshot, kept, to)?))
        })
        .await;
    let (kept, totals) = match read {
        Ok(read) => read,
        Err(error) => return Unavailable::because(&error).response(),
    };
    let ledger = books.ledger;
    let making = tokio::task::spawn_blocking(move || {
        let meters = ledger.report(&Filter::default(), now).meters;
        let time = |secs| Timestamp::from_second(secs).unwrap_or_default().to_string();
        let page = Page {
            from: time(kept),
            to: time(to),
            advice: advice::advise(&totals, &meters),
            notes: if kept == from {
                Vec::new()
            } else {
                vec![format!(
                    "The range begins at {}, not at {}: what is older is not kept by quarter hours any more.",
                    time(kept),
                    time(from)
                )]
            },
        };
        serde_json::to_string(&page).ok()
    });
    match making.await.ok().flatten() {
        Some(json) => text("application/json", json + "\n"),
        None => Unavailable("The advice could not be made.".to_owned()).response(),
    }
}

/// From when on all totals of the range are there: those that start before `forgotten` were taken out.
fn kept(from: i64, to: i64, forgotten: Option<i64>) -> i64 {
    let over = forgotten.map_or(0, |until| until.rem_euclid(LEVEL));
    let until = forgotten.map_or(from, |until| match over {
        0 => until,
        over => until.saturating_add(LEVEL - over),
    });
    until.max(from).min(to)
}

/// The longest that is looked back at: quarter hours are kept for a month.
const MOST_HOURS: i64 = 24 * 30;

fn hours(query: &str) -> Result<i64, String> {
    let mut hours = None;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if name != "last" {
            return Err(format!(
                "There is no parameter `{name}`: `last=24h` says how far to look back."
            ));
        }
        let read = [("h", 1), ("d", 24)].iter().find_map(|(unit, hours)| {
            let count: i64 = value.strip_suffix(unit)?.parse().ok()?;
            count.checked_mul(*hours)
        });
        let read = read.filter(|hours| (1..=MOST_HOURS).contains(hours));
        let Some(read) = read else {
            return Err(format!(
                "`last={value}` is no length from `1h` to `30d`, such as `24h` or `7d`."
            ));
        };
        if hours.replace(read).is_some() {
            return Err("The parameter `last` is there twice.".to_owned());
        }
    }
    Ok(hours.unwrap_or(24))
}
