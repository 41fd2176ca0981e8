//! Calls that wait for a quota, over real sockets and through the program itself.

mod draining;
mod order;
mod permits;
mod reload;

use std::time::Duration;

use tempfile::TempDir;

use crate::exchange::{OK, body, fields, status};
use crate::support::harness::Caller;
use crate::support::program::{Program, request, stub, timed};
use crate::support::upstream::Upstream;

/// The program before a provider with an adapter of the test's own.
pub(crate) struct Site {
    pub(crate) upstream: Upstream,
    pub(crate) program: Program,
    _folder: TempDir,
}

impl Site {
    /// Serves `/stub/` by an adapter with these policies, to a provider that always answers [`OK`].
    pub(crate) async fn new(policies: &str, connection: &str) -> Self {
        Self::before(Upstream::answering(OK).await, policies, connection)
    }

    pub(crate) fn before(upstream: Upstream, policies: &str, connection: &str) -> Self {
        let (folder, config) = stub(&upstream, policies, connection);
        Self {
            upstream,
            program: Program::start(folder.path(), &config),
            _folder: folder,
        }
    }

    /// A call with these lines in its head.
    pub(crate) async fn get(&self, lines: &str) -> String {
        self.program.get("/stub/", lines).await
    }

    /// A call that goes at once.
    pub(crate) async fn use_one(&self) {
        let answer = self.get("").await;
        assert_eq!(status(&answer), 200, "{answer}");
    }

    /// A call to this path whose answer is not waited for.
    pub(crate) async fn begin(&self, path: &str, lines: &str) -> Caller {
        let address = self.program.address();
        let mut caller = Caller::connect(address).await;
        let request = request(address, &format!("/stub/{path}"), lines);
        caller.write(request).await;
        caller
    }

    /// What the provider was called for, in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        let requests = self.upstream.requests();
        let path = |request: &String| request.split(' ').nth(1).unwrap()[1..].to_owned();
        requests.iter().map(path).collect()
    }
}

/// One call every two seconds.
pub(crate) const ONE_IN_TWO_SECONDS: &str =
    "[policy.short]\nquota = 1\nwindow = \"2s\"\nkind = \"fixed\"\n";
pub(crate) const ENFORCED: &str = "mode = \"enforce\"";

/// The time to wait that a refusal tells.
pub(crate) fn retry_after(answer: &str) -> u64 {
    let values = fields(answer, "retry-after");
    assert_eq!(values.len(), 1, "{answer}");
    values[0].parse().unwrap_or_else(|_| panic!("{answer}"))
}

pub(crate) fn assert_refused(answer: &str) {
    assert_eq!(status(answer), 429, "{answer}");
    assert!(retry_after(answer) >= 1, "{answer}");
    assert_eq!(fields(answer, "cache-control"), ["no-store"], "{answer}");
}

/// Time for a call to arrive and to stand where it will wait.
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}

#[tokio::test]
async fn a_call_is_held_until_its_quota_allows_it() {
    let site = Site::new(ONE_IN_TWO_SECONDS, ENFORCED).await;
    site.use_one().await;
    let (answer, took) = timed(site.get("Prefer: wait=5\r\n")).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(body(&answer), "ok");
    assert_eq!(fields(&answer, "preference-applied"), ["wait=5"]);
    // The window began at the first call.
    assert!(took > Duration::from_millis(1_200), "{took:?}");
    assert!(took < Duration::from_millis(4_000), "{took:?}");
    // Headroom has done the waiting.
    let requests = site.upstream.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(fields(&requests[1], "prefer"), [""; 0]);
}

#[tokio::test]
async fn a_wait_that_would_be_in_vain_is_none() {
    let policy = ONE_IN_TWO_SECONDS.replace("2s", "30s");
    let site = Site::new(&policy, ENFORCED).await;
    site.use_one().await;
    for lines in ["Prefer: wait=1\r\n", "Prefer: wait=0\r\n", ""] {
        let (answer, took) = timed(site.get(lines)).await;
        assert_refused(&answer);
        assert!((25..=30).contains(&retry_after(&answer)), "{answer}");
        assert_eq!(fields(&answer, "ratelimit-limit"), ["1;w=30"]);
        assert_eq!(fields(&answer, "ratelimit-remaining"), ["0"]);
        assert_eq!(fields(&answer, "headroom-source"), ["own;estimated"]);
        assert_eq!(
            fields(&answer, "content-type"),
            ["application/problem+json"]
        );
        assert!(took < Duration::from_secs(10), "{took:?}");
    }
    assert_eq!(site.upstream.requests().len(), 1);
}

#[tokio::test]
async fn the_mode_holds_calls_that_did_not_ask_for_it() {
    let site = Site::new(ONE_IN_TWO_SECONDS, "mode = \"wait\"\nmax_wait = \"10s\"").await;
    site.use_one().await;
    let (answer, took) = timed(site.get("")).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(took > Duration::from_millis(1_200), "{took:?}");
    assert_eq!(fields(&answer, "preference-applied"), [""; 0]);
    // Whoever asks for less gets less.
    let (answer, took) = timed(site.get("Prefer: wait=0\r\n")).await;
    assert_refused(&answer);
    assert!(took < Duration::from_millis(1_900), "{took:?}");
}
