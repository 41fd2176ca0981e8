//! Permits of concurrency policies: held to the last byte of an answer, and never leaked.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::*;

const TWO_AT_ONCE: &str =
    "[policy.parallel]\nquota = 2\nunit = \"concurrent-requests\"\nkind = \"concurrent\"\n";

/// A provider whose answers begin at once and end when they are let.
async fn slow() -> (Upstream, Arc<Semaphore>) {
    let ends = Arc::new(Semaphore::new(0));
    let lets = Arc::clone(&ends);
    let upstream = Upstream::scripted(move |mut peer, _| {
        let lets = Arc::clone(&lets);
        async move {
            loop {
                peer.request().await?;
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha")
                    .await?;
                lets.acquire().await.unwrap().forget();
                peer.write("lf").await?;
            }
        }
    })
    .await;
    (upstream, ends)
}

#[tokio::test]
async fn a_permit_is_held_until_the_body_ends() {
    let (upstream, ends) = slow().await;
    let site = Site::before(upstream, TWO_AT_ONCE, ENFORCED);
    let mut callers = Vec::new();
    for path in ["one", "two"] {
        let mut caller = site.begin(path, "").await;
        caller.until("ha").await;
        callers.push(caller);
    }
    // The heads are there, the bodies are not.
    let refused = site.get("").await;
    assert_refused(&refused);
    assert_eq!(fields(&refused, "retry-after"), ["1"]);
    assert!(refused.contains("\"parallel\""), "{refused}");
    // One ends: one may go.
    let third = site.begin("three", "Prefer: wait=20\r\n").await;
    settle().await;
    assert_eq!(site.upstream.requests().len(), 2);
    ends.add_permits(3);
    let ended = [callers.remove(0), callers.remove(0), third];
    for mut caller in ended {
        assert!(caller.rest().await.ends_with("lf"));
    }
    assert_eq!(site.paths(), ["one", "two", "three"]);
    ends.add_permits(1);
    site.use_one().await;
}

#[tokio::test]
async fn a_thousand_aborted_calls_leak_no_permit() {
    let (upstream, ends) = slow().await;
    let site = Site::before(upstream, TWO_AT_ONCE, "mode = \"wait\"\nmax_wait = \"30s\"");
    for round in 0..500 {
        // One goes away in the middle of its answer, one before it has any of it.
        let mut streaming = site.begin("streaming", "").await;
        if round % 5 != 0 {
            streaming.until("ha").await;
        }
        let waiting = site.begin("waiting", "").await;
        drop((streaming, waiting));
    }
    ends.add_permits(10_000);
    // Both permits are there: each of these needs both, one after the other.
    for _ in 0..2 {
        let (first, second) = tokio::join!(site.get(""), site.get(""));
        assert_eq!((status(&first), status(&second)), (200, 200));
    }
    let answer = site.get("").await;
    assert_eq!(fields(&answer, "ratelimit-limit"), ["2"], "{answer}");
}

/// What it waits for goes to the next, and not to somebody who does not want it any more.
#[tokio::test]
async fn who_goes_away_while_it_waits_is_never_sent() {
    let (upstream, ends) = slow().await;
    let policy = TWO_AT_ONCE.replace('2', "1");
    let site = Site::before(upstream, &policy, "mode = \"wait\"\nmax_wait = \"30s\"");
    let mut first = site.begin("first", "").await;
    first.until("ha").await;
    for body in [0, 1_000] {
        let address = site.program.address();
        let mut caller = Caller::connect(address).await;
        let head = format!("POST /stub/left HTTP/1.1\r\nHost: a\r\nContent-Length: {body}\r\n\r\n");
        caller.write(head + &"x".repeat(body)).await;
        settle().await;
        drop(caller);
    }
    // Within a second it is known that they are gone.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    ends.add_permits(2);
    assert!(first.rest().await.ends_with("lf"));
    assert_eq!(status(&site.get("").await), 200);
    assert_eq!(site.paths(), ["first", ""]);
}
