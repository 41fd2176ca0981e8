//! Who goes first, and who leaves the queue.

use super::*;

/// Reads the answer of a call that was begun.
async fn answer(mut caller: Caller) -> String {
    caller.rest().await
}

#[tokio::test]
async fn first_come_first_served() {
    let policy = "[policy.short]\nquota = 2\nwindow = \"2s\"\nkind = \"fixed\"\n";
    let site = Site::new(policy, "mode = \"wait\"").await;
    site.use_one().await;
    site.use_one().await;
    let mut callers = Vec::new();
    for path in ["a", "b", "c", "d"] {
        callers.push(site.begin(path, "").await);
        settle().await;
    }
    for caller in callers {
        assert_eq!(status(&answer(caller).await), 200);
    }
    let paths = site.paths();
    // Two go at the same moment, and may overtake each other on their way.
    let sorted = |paths: &[String]| {
        let mut paths = paths.to_vec();
        paths.sort();
        paths
    };
    assert_eq!(sorted(&paths[2..4]), ["a", "b"], "{paths:?}");
    assert_eq!(sorted(&paths[4..]), ["c", "d"], "{paths:?}");
}

#[tokio::test]
async fn the_most_urgent_goes_first() {
    let site = Site::new(ONE_IN_TWO_SECONDS, "mode = \"wait\"").await;
    site.use_one().await;
    let late = site.begin("late", "Priority: u=7\r\n").await;
    settle().await;
    let urgent = site.begin("urgent", "Priority: u=0\r\n").await;
    assert_eq!(status(&answer(urgent).await), 200);
    assert_eq!(status(&answer(late).await), 200);
    assert_eq!(site.paths(), ["", "urgent", "late"]);
}

#[tokio::test]
async fn who_hangs_up_leaves_the_queue() {
    let site = Site::new(ONE_IN_TWO_SECONDS, "mode = \"wait\"\nmax_waiting = 2").await;
    site.use_one().await;
    let (gone, took) = timed(async {
        let gone = site.begin("gone", "").await;
        settle().await;
        gone
    })
    .await;
    let next = site.begin("next", "").await;
    settle().await;
    drop(gone);
    settle().await;
    // Its place is free again.
    let last = site.begin("last", "").await;
    let (next, waited) = timed(answer(next)).await;
    assert_eq!(status(&next), 200);
    assert!(
        took + waited < Duration::from_millis(3_800),
        "the next waited for one that is gone: {waited:?}"
    );
    assert_eq!(status(&answer(last).await), 200);
    assert_eq!(site.paths(), ["", "next", "last"]);
}

#[tokio::test]
async fn who_hangs_up_with_a_body_leaves_the_queue() {
    let site = Site::new(ONE_IN_TWO_SECONDS, "mode = \"wait\"\nmax_waiting = 1").await;
    site.use_one().await;
    let address = site.program.address();
    for body in ["".to_owned(), "{}".to_owned(), "x".repeat(50_000)] {
        let mut gone = Caller::connect(address).await;
        gone.write(format!(
            "POST /stub/gone HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        settle().await;
        drop(gone);
        settle().await;
    }
    let next = site.begin("next", "").await;
    assert_eq!(status(&answer(next).await), 200);
    assert_eq!(site.paths(), ["", "next"]);
}

#[tokio::test]
async fn no_more_wait_than_may() {
    let policy = ONE_IN_TWO_SECONDS.replace("2s", "20s");
    let site = Site::new(
        &policy,
        "mode = \"wait\"\nmax_waiting = 2\nmax_wait = \"60s\"",
    )
    .await;
    site.use_one().await;
    let first = site.begin("first", "").await;
    let second = site.begin("second", "").await;
    settle().await;
    let (refused, took) = timed(site.get("")).await;
    assert_refused(&refused);
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(refused.contains("queue-full"), "{refused}");
    drop((first, second));
    settle().await;
    // They are gone, so there is room again.
    let third = site.begin("third", "").await;
    settle().await;
    let fourth = site.begin("fourth", "").await;
    settle().await;
    assert_refused(&site.get("").await);
    drop((third, fourth));
    assert_eq!(site.paths(), [""]);
}
