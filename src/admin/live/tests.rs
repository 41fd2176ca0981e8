//! What a listener hears, and what it does not.

use http_body_util::BodyExt;

use super::*;
use crate::admin::{Books, Reloads};
use crate::history::record::{Outcome, Record, Who};
use crate::ledger::Ledger;
use crate::warn::Warnings;

fn desk() -> Desk {
    let history = Arc::new(History::new(None, Default::default(), 0).unwrap());
    let ledger = Arc::new(Ledger::new(Default::default(), None));
    let books = Books {
        ledger,
        history,
        warnings: Warnings::new(Vec::new()),
        reloads: Arc::new(Reloads::new(0)),
    };
    Desk {
        books,
        seats: Arc::new(tokio::sync::Semaphore::new(2)),
        secret: (1, 2),
    }
}

/// A call to this connection has ended, and was flushed.
async fn call_to(desk: &Desk, connection: &str) {
    desk.books.history.record(&Record {
        // What is older than a day is not kept.
        ended_ms: clock::now().as_millisecond(),
        connection: connection.into(),
        provider: "hubspot".into(),
        consumer: Who::Anonymous,
        method: "GET",
        endpoint: "/a".to_owned(),
        status: Some(200),
        upstream_status: None,
        refused_by: None,
        policy: None,
        spent: Default::default(),
        outcome: Outcome::Complete,
        waited: Default::default(),
        duration: Default::default(),
        upstream: Default::default(),
        overhead: Default::default(),
        bytes_in: 0,
        bytes_out: 0,
        poll: Default::default(),
    });
    let now_ms = clock::now().as_millisecond();
    desk.books.history.flush(now_ms).await;
    // The listener's turn.
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

fn listen(desk: &Desk, last: Option<&str>, connections: &[&str]) -> Response {
    let mut headers = HeaderMap::new();
    if let Some(last) = last {
        headers.insert("last-event-id", HeaderValue::from_str(last).unwrap());
    }
    let connection = connections.iter().map(|one| (*one).to_owned()).collect();
    let filter = Filter {
        connection,
        ..Filter::default()
    };
    answer(desk, filter, &Viewer::Operator, &headers)
}

/// The next piece; `None` at the end.
async fn piece(stream: &mut Response) -> Option<String> {
    let frame = stream.body_mut().frame().await?;
    let data = frame.unwrap().into_data().unwrap();
    Some(String::from_utf8(data.to_vec()).unwrap())
}

/// `id` or `event`, whichever stands first, of each part until something is said that is not a call.
async fn calls(stream: &mut Response) -> (Vec<i64>, String) {
    let mut ids = Vec::new();
    loop {
        let text = piece(stream).await.unwrap_or_default();
        for part in text.split_inclusive("\n\n") {
            let Some(call) = part.strip_prefix("id: ") else {
                return (ids, part.to_owned());
            };
            let (id, rest) = call.split_once('\n').unwrap();
            if rest != "\n" {
                ids.push(id.parse().unwrap());
            }
        }
        if text.is_empty() {
            return (ids, text);
        }
    }
}

const METERS: &str = "event: meters\ndata: {}\n\n";
const GAP: &str = "event: gap\ndata: {}\n\n";

#[tokio::test(start_paused = true)]
async fn hints_come_once_a_second_and_comments_when_nothing_happens() {
    let desk = desk();
    let mut stream = listen(&desk, None, &["crm"]);
    assert_eq!(piece(&mut stream).await.unwrap(), "retry: 2000\n\n");
    let started = clock::monotonic();
    let mut hints = Vec::new();
    for _ in 0..3 {
        call_to(&desk, "crm").await;
        call_to(&desk, "other").await;
        let (ids, hint) = calls(&mut stream).await;
        assert_eq!(ids.len(), 1);
        assert_eq!(hint, METERS);
        hints.push((clock::monotonic() - started).as_millis());
    }
    assert!(
        hints[0] < 10 && hints[1] >= 1_000 && hints[2] >= 2_000,
        "{hints:?}"
    );
    assert!(hints[2] < 2_100, "{hints:?}");
    assert_eq!(piece(&mut stream).await.unwrap(), ": still here\n\n");
    assert_eq!((clock::monotonic() - started).as_secs(), 15);
}

#[tokio::test]
async fn who_comes_back_gets_what_it_missed_once() {
    let desk = desk();
    for _ in 0..5 {
        call_to(&desk, "crm").await;
    }
    call_to(&desk, "other").await;
    let mut stream = listen(&desk, Some("2"), &["crm"]);
    assert_eq!(piece(&mut stream).await.unwrap(), "retry: 2000\n\n");
    for id in 3..=5 {
        let call = piece(&mut stream).await.unwrap();
        assert!(
            call.starts_with(&format!(
                "id: {id}\nevent: call\ndata: {{\"id\":{id},\"at\":\"2"
            )),
            "{call}"
        );
    }
    call_to(&desk, "crm").await;
    let (ids, hint) = calls(&mut stream).await;
    assert_eq!((ids, hint.as_str()), (vec![7], METERS));

    // An id that never was: of another file.
    let mut stream = listen(&desk, Some("900"), &[]);
    assert_eq!(piece(&mut stream).await.unwrap(), "retry: 2000\n\n");
    assert_eq!(piece(&mut stream).await.unwrap(), GAP);
    call_to(&desk, "crm").await;
    let (ids, hint) = calls(&mut stream).await;
    assert_eq!((ids, hint.as_str()), (vec![8], METERS));

    let refused = listen(&desk, Some("soon"), &[]);
    assert!(refused.extensions().get::<Misasked>().is_some());
}

/// Nothing that it wanted is missing, however many other calls there were.
#[tokio::test]
async fn who_wants_what_is_rare_misses_nothing() {
    let desk = desk();
    let mut stream = listen(&desk, None, &["rare"]);
    assert_eq!(piece(&mut stream).await.unwrap(), "retry: 2000\n\n");
    for _ in 0..3 {
        call_to(&desk, "crm").await;
    }
    let mut last = None;
    while last.as_deref() != Some("3") {
        let text = piece(&mut stream).await.unwrap();
        if let Some(id) = text.strip_prefix("id: ") {
            last = Some(id.strip_suffix("\n\n").unwrap().to_owned());
        }
    }
    for _ in 0..MOST_RESUMED - 1 {
        call_to(&desk, "crm").await;
    }
    let mut stream = listen(&desk, Some("3"), &["rare"]);
    assert_eq!(piece(&mut stream).await.unwrap(), "retry: 2000\n\n");
    // How far it looked comes at once, and so it comes back from there.
    let looked = format!("id: {}\n\n", MOST_RESUMED + 2);
    assert_eq!(piece(&mut stream).await.unwrap(), looked);
}

#[tokio::test]
async fn a_slow_reader_is_told_of_what_it_lost() {
    let desk = desk();
    let mut stream = listen(&desk, None, &[]);
    for _ in 0..100 {
        call_to(&desk, "crm").await;
    }
    assert_eq!(piece(&mut stream).await.unwrap(), "retry: 2000\n\n");
    let (mut before, mut other) = calls(&mut stream).await;
    if other == METERS {
        let (more, next) = calls(&mut stream).await;
        before.extend(more);
        other = next;
    }
    assert_eq!(other, GAP);
    assert_eq!(
        before,
        (1..=before.len().try_into().unwrap()).collect::<Vec<i64>>()
    );
    assert!(before.len() < 40, "{before:?}");
    let (after, _) = calls(&mut stream).await;
    assert!(after[0] > before.len().try_into().unwrap());
    assert_eq!(after.last(), Some(&100));
}

#[tokio::test]
async fn seats_are_few_and_given_back() {
    let desk = desk();
    let streams = [listen(&desk, None, &[]), listen(&desk, None, &[])];
    let refused = listen(&desk, None, &[]);
    assert!(refused.extensions().get::<Unavailable>().is_some());
    drop(streams);
    while desk.seats.available_permits() < 2 {
        tokio::task::yield_now().await;
    }
    let mut stream = listen(&desk, None, &[]);
    assert_eq!(piece(&mut stream).await.unwrap(), "retry: 2000\n\n");
    desk.books.history.end_listening();
    assert_eq!(piece(&mut stream).await, None);
}
