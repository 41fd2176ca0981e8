//! Calls as they end, as server-sent events.
//!
//! A listener has a task of its own that turns batches of the history into text. What its connection does not take waits in
//! a short queue, then in the history's ring of batches, which is one for all; then it is lost to this listener, who is told.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use serde_json::Value;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::events::{Desk, line, row, wanted};
use super::numbering::Numbering;
use super::{Misasked, Unavailable, Viewer};
use crate::clock;
use crate::history::History;
use crate::history::query::filter::Filter;
use crate::state::ReadError;
use crate::state::history::{EventRow, Snapshot};
use crate::warn::Warning;

/// Middle boxes close what says nothing.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Between two hints to look at the meters again.
const METERS_EVERY: Duration = Duration::from_secs(1);

/// Pieces that wait for one connection, and about how long each is, in bytes.
const QUEUE: usize = 16;
const PIECE: usize = 64 * 1024;

/// Events of the store that a listener who comes back may have missed.
const MOST_RESUMED: usize = 1_000;

/// The stream, or why there is none.
pub(super) fn answer(
    desk: &Desk,
    filter: Filter,
    viewer: &Viewer,
    headers: &HeaderMap,
) -> Response {
    let numbering = Numbering::of(viewer, desk.secret);
    let last = match headers.get("last-event-id").map(read_id) {
        None => None,
        Some(Some(id)) => Some(numbering.meant(id)),
        Some(None) => {
            let detail = "`Last-Event-ID` is not an id of an event: leave it out.";
            return Misasked(detail.to_owned()).response();
        }
    };
    let Ok(seat) = Arc::clone(&desk.seats).try_acquire_owned() else {
        let detail = "As many listen to the events as may at a time. Try again later, or accept `application/json`.";
        return Unavailable(detail.to_owned()).response();
    };
    let (pieces, queue) = mpsc::channel(QUEUE);
    let listener = Listener {
        batches: desk.books.history.listen(),
        warnings: desk.books.warnings.listen(),
        history: Arc::clone(&desk.books.history),
        filter,
        numbering,
        is_operator: *viewer == Viewer::Operator,
        pieces,
        seen: 0,
        told: 0,
        _seat: seat,
    };
    tokio::spawn(listener.run(last));
    let mut response = Response::new(Body::new(Stream(queue)));
    let headers = response.headers_mut();
    let stream = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, stream);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn read_id(value: &HeaderValue) -> Option<i64> {
    let id = value.to_str().ok()?.parse().ok()?;
    (id >= 0).then_some(id)
}

struct Listener {
    history: Arc<History>,
    batches: Receiver<Arc<[EventRow]>>,
    warnings: Receiver<Arc<Warning>>,
    filter: Filter,
    numbering: Numbering,
    /// Warnings are of meters that all share. A consumer is told of its own calls, and that meters changed with these.
    is_operator: bool,
    pieces: mpsc::Sender<Bytes>,
    /// The number of the last event that was told or is not to be told.
    seen: i64,
    /// The last number that was told.
    told: i64,
    _seat: OwnedSemaphorePermit,
}

/// Nobody reads any more.
struct Gone;

impl Listener {
    async fn run(mut self, last: Option<i64>) {
        // The head goes out with the first piece.
        let mut gone = self.send("retry: 2000\n\n".to_owned()).await.is_err();
        if let (false, Some(last)) = (gone, last) {
            gone = self.resume(last).await.is_err();
        }
        if !gone {
            let _gone = self.tell().await;
        }
    }

    /// Tells what comes until nobody reads or nothing comes any more.
    async fn tell(&mut self) -> Result<(), Gone> {
        let mut keep_alive = interval_at(clock::monotonic() + KEEP_ALIVE, KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // When the next hint may go, and whether there is one to give.
        let (mut next_hint, mut has_changed) = (clock::monotonic(), false);
        loop {
            let gone = self.pieces.clone();
            tokio::select! {
                () = gone.closed() => return Err(Gone),
                batch = self.batches.recv() => match batch {
                    Ok(batch) => {
                        let told = self.told;
                        self.batch(&batch).await?;
                        has_changed |= self.is_operator || self.told != told;
                    }
                    Err(RecvError::Lagged(_)) => {
                        has_changed = true;
                        self.gap().await?;
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
                warning = self.warnings.recv() => match warning {
                    Ok(warning) => self.warning(&warning).await?,
                    Err(RecvError::Lagged(_)) => self.gap().await?,
                    Err(RecvError::Closed) => return Ok(()),
                },
                () = hint(next_hint), if has_changed => {
                    self.looked().await?;
                    self.send("event: meters\ndata: {}\n\n".to_owned()).await?;
                    (next_hint, has_changed) = (clock::monotonic() + METERS_EVERY, false);
                }
                _ = keep_alive.tick() => self.send(": still here\n\n".to_owned()).await?,
            }
        }
    }

    async fn batch(&mut self, batch: &[EventRow]) -> Result<(), Gone> {
        let mut text = String::new();
        for event in batch {
            if event.id <= self.seen {
                continue;
            }
            self.seen = event.id;
            if self.filter.wants(&event.series) {
                self.told = event.id;
                let id = self.numbering.told(event.id);
                text.push_str(&call(id, &row(event, &self.numbering)));
            }
            if text.len() >= PIECE {
                self.send(std::mem::take(&mut text)).await?;
            }
        }
        if text.is_empty() {
            return Ok(());
        }
        self.send(text).await
    }

    async fn warning(&self, warning: &Warning) -> Result<(), Gone> {
        if !self.is_operator || !self.filter.wants_connection(&warning.data.connection) {
            return Ok(());
        }
        match serde_json::to_string(warning) {
            Ok(data) => self.send(format!("event: warning\ndata: {data}\n\n")).await,
            // Strings and numbers: there is nothing in it that could not be written.
            Err(_) => Ok(()),
        }
    }

    /// What the listener has missed while it was away, as far as it is stored.
    async fn resume(&mut self, last: i64) -> Result<(), Gone> {
        let (filter, numbering) = (self.filter.clone(), self.numbering.clone());
        let read = move |snapshot: &Snapshot<'_>| missed(snapshot, &filter, &numbering, last);
        let Ok(missed) = self.history.read(read).await else {
            return self.gap().await;
        };
        (self.seen, self.told) = (missed.newest, last);
        if !missed.is_whole {
            self.gap().await?;
        }
        for (id, text) in missed.calls {
            self.told = id;
            self.send(text).await?;
        }
        self.looked().await
    }

    /// Tells how far was looked, though nothing of that was wanted: who comes back asks from there on and misses nothing. A
    /// number without data is remembered as the last one and is no event.
    async fn looked(&mut self) -> Result<(), Gone> {
        if self.told == self.seen {
            return Ok(());
        }
        self.told = self.seen;
        let id = self.numbering.told(self.seen);
        self.send(format!("id: {id}\n\n")).await
    }

    /// Events are missing here; the pages have those that are stored.
    async fn gap(&self) -> Result<(), Gone> {
        self.send("event: gap\ndata: {}\n\n".to_owned()).await
    }

    async fn send(&self, text: String) -> Result<(), Gone> {
        self.pieces.send(text.into()).await.map_err(|_| Gone)
    }
}

async fn hint(next: Instant) {
    sleep_until(next).await;
}

/// What stands between the last event that somebody saw and the newest one.
struct Missed {
    newest: i64,
    is_whole: bool,
    /// With their numbers.
    calls: Vec<(i64, String)>,
}

fn missed(
    snapshot: &Snapshot<'_>,
    filter: &Filter,
    numbering: &Numbering,
    last: i64,
) -> Result<Missed, ReadError> {
    let newest = snapshot.last_event()?;
    if last > newest {
        // It is an id of another file, so nobody knows what is missing.
        return Ok(Missed {
            newest,
            is_whole: false,
            calls: Vec::new(),
        });
    }
    let names = wanted(snapshot, filter)?;
    let (mut calls, mut looked_at, mut oldest) = (Vec::new(), 0_usize, newest + 1);
    snapshot.events(i64::MAX, |event| {
        if event.id <= last {
            return false;
        }
        (oldest, looked_at) = (event.id, looked_at + 1);
        if let Some(series) = names.get(&event.series) {
            let text = call(numbering.told(event.id), &line(series, event, numbering));
            calls.push((event.id, text));
        }
        looked_at < MOST_RESUMED
    })?;
    calls.reverse();
    Ok(Missed {
        newest,
        is_whole: oldest == last + 1,
        calls,
    })
}

/// An event of the stream.
fn call(id: i64, event: &Value) -> String {
    format!("id: {id}\nevent: call\ndata: {event}\n\n")
}

/// The queue as a body.
struct Stream(mpsc::Receiver<Bytes>);

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = self.0.poll_recv(context);
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[cfg(test)]
mod tests;
