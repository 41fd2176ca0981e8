//! The end of the program while calls wait.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::exchange::{OK, body, fields, status};
use crate::support::harness::Caller;
use crate::support::upstream::Upstream;
use crate::waiting::{Site, retry_after, settle};

const TWO_IN_AN_HOUR: &str = "[policy.hourly]\nquota = 2\nwindow = \"1h\"\nkind = \"fixed\"\n";
const LONG: &str = "mode = \"wait\"\nmax_wait = \"2h\"";

async fn answer(mut caller: Caller) -> String {
    caller.rest().await
}

#[tokio::test]
async fn who_only_waits_for_a_quota_is_let_go_and_who_was_sent_is_finished() {
    let answer_now = Arc::new(Notify::new());
    let wait = Arc::clone(&answer_now);
    let upstream = Upstream::scripted(move |mut peer, _| {
        let wait = Arc::clone(&wait);
        async move {
            loop {
                if peer.request().await?.starts_with("GET /sent ") {
                    wait.notified().await;
                }
                peer.write(OK).await?;
            }
        }
    })
    .await;
    let site = Site::before(upstream, TWO_IN_AN_HOUR, LONG);
    site.use_one().await;
    let sent = site.begin("sent", "").await;
    settle().await;
    let by_mode = site.begin("by_mode", "").await;
    let by_wish = site.begin("by_wish", "Prefer: wait=7000\r\n").await;
    settle().await;
    assert_eq!(
        site.paths(),
        ["/", "/sent"].map(|path| path[1..].to_owned())
    );
    let Site {
        program, upstream, ..
    } = site;
    let end = tokio::task::spawn_blocking(move || program.terminate());
    for caller in [by_mode, by_wish] {
        let answer = answer(caller).await;
        assert_eq!(status(&answer), 503, "{answer}");
        assert!((3_500..=3_600).contains(&retry_after(&answer)), "{answer}");
        assert_eq!(fields(&answer, "cache-control"), ["no-store"]);
        assert_eq!(fields(&answer, "ratelimit-remaining"), ["0"]);
        let kind = fields(&answer, "content-type");
        assert_eq!(kind, ["application/problem+json"]);
        assert!(answer.contains("\"code\":\"draining\""), "{answer}");
    }
    assert!(!end.is_finished());
    answer_now.notify_one();
    let answer = answer(sent).await;
    assert_eq!((status(&answer), body(&answer)), (200, "ok"));
    assert!(end.await.unwrap().success());
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn who_is_let_go_gets_the_dress_that_it_knows() {
    let dress = "[refusal]\nstatus = 429\ncontent_type = \"application/json\"\nbody = '{\"error\": \"{detail}\"}'\n";
    let site = Site::new(&format!("{TWO_IN_AN_HOUR}{dress}"), LONG).await;
    site.use_one().await;
    site.use_one().await;
    let plain = site.begin("plain", "").await;
    let problem = site
        .begin("problem", "Accept: application/problem+json\r\n")
        .await;
    settle().await;
    let program = site.program;
    let end = tokio::task::spawn_blocking(move || program.terminate());
    let plain = answer(plain).await;
    assert_eq!(status(&plain), 429, "{plain}");
    assert!(body(&plain).starts_with("{\"error\": \"headroom did not send this call: it stops"));
    assert!((3_500..=3_600).contains(&retry_after(&plain)), "{plain}");
    let problem = answer(problem).await;
    assert_eq!(status(&problem), 503, "{problem}");
    assert!(end.await.unwrap().success());
}
