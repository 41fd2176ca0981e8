//! What is done about a limit, by whose it is and by what the user wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::exchange::{OK, fields, status};
use crate::support::program::timed;
use crate::support::upstream::Upstream;
use crate::waiting::{Site, assert_refused, retry_after};

const ONE_AN_HOUR: &str = "[policy.hourly]\nquota = 1\nwindow = \"1h\"\nkind = \"fixed\"\n";

async fn statuses<const N: usize>(site: &Site) -> [u16; N] {
    let mut found = [0; N];
    for found in &mut found {
        *found = status(&site.get("").await);
    }
    found
}

#[tokio::test]
async fn a_documented_default_is_only_observed() {
    let site = Site::new(ONE_AN_HOUR, "").await;
    assert_eq!(statuses(&site).await, [200, 200, 200]);
    let answer = site.get("").await;
    assert_eq!(fields(&answer, "ratelimit-limit"), ["1;w=3600"]);
    assert_eq!(fields(&answer, "ratelimit-remaining"), ["0"]);
    assert_eq!(fields(&answer, "headroom-source"), ["own;estimated"]);
}

#[tokio::test]
async fn what_the_user_configured_is_enforced() {
    let by_plan = ONE_AN_HOUR.replace("quota = 1", "quota = { small = 1, large = 100 }");
    for (policies, connection, expected) in [
        (ONE_AN_HOUR, "quotas = { hourly = 1 }", [200, 429, 429]),
        (&by_plan, "plan = \"small\"", [200, 429, 429]),
        (&by_plan, "plan = \"large\"", [200, 200, 200]),
        (ONE_AN_HOUR, "mode = \"enforce\"", [200, 429, 429]),
        // Observed, whatever it is.
        (
            ONE_AN_HOUR,
            "quotas = { hourly = 1 }\nmode = \"observe\"",
            [200, 200, 200],
        ),
    ] {
        let site = Site::new(policies, connection).await;
        assert_eq!(statuses(&site).await, expected, "{connection}");
        let sent = expected.iter().filter(|status| **status == 200).count();
        assert_eq!(site.upstream.requests().len(), sent, "{connection}");
    }
}

#[tokio::test]
async fn each_policy_has_its_mode() {
    let policies = "
        [policy.daily]
        quota = 2
        window = \"24h\"
        kind = \"fixed\"
        [policy.hourly]
        quota = 1
        window = \"1h\"
        kind = \"fixed\"
        [policy.short]
        quota = 1
        window = \"1s\"
        kind = \"fixed\"
    ";
    let modes = "mode = { daily = \"enforce\", hourly = \"observe\", short = \"wait\" }";
    let site = Site::new(policies, modes).await;
    assert_eq!(statuses(&site).await, [200]);
    let (answer, took) = timed(site.get("")).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(took > Duration::from_millis(500), "{took:?}");
    let answer = site.get("").await;
    assert_refused(&answer);
    assert!(
        answer.contains("\"violated-policies\":[\"daily\"]"),
        "{answer}"
    );
    assert!(retry_after(&answer) > 80_000, "{answer}");
    assert_eq!(site.upstream.requests().len(), 2);
}

/// A provider that says of each call what it is told to say.
pub(crate) async fn telling(answer: impl Fn(usize) -> String + Send + Sync + 'static) -> Upstream {
    let (calls, answer) = (Arc::new(AtomicUsize::new(0)), Arc::new(answer));
    Upstream::scripted(move |mut peer, _| {
        let (calls, answer) = (Arc::clone(&calls), Arc::clone(&answer));
        async move {
            loop {
                peer.request().await?;
                let number = calls.fetch_add(1, Ordering::SeqCst);
                peer.write(answer(number)).await?;
            }
        }
    })
    .await
}

const TELLS: &str = "
    [policy.account]
    limit = \"x-limit\"
    remaining = \"x-remaining\"
    reset = { header = \"x-reset\", form = \"seconds\" }
";

fn told(status: &str, remaining: u64, reset: u64) -> String {
    format!(
        "HTTP/1.1 {status}\r\nx-limit: 10\r\nx-remaining: {remaining}\r\nx-reset: {reset}\r\ncontent-length: 2\r\n\r\nok"
    )
}

#[tokio::test]
async fn what_the_provider_said_is_enforced() {
    let upstream = telling(|number| match number {
        0 => told("200 OK", 0, 2),
        _ => told("200 OK", 9, 60),
    })
    .await;
    let site = Site::before(upstream, TELLS, "");
    assert_eq!(status(&site.get("").await), 200);
    // It is not asked again: headroom knows.
    let refused = site.get("").await;
    assert_refused(&refused);
    assert!(retry_after(&refused) <= 2, "{refused}");
    assert_eq!(fields(&refused, "headroom-source"), ["provider"]);
    assert_eq!(site.upstream.requests().len(), 1);
    // Whoever waits for exactly so long is served.
    tokio::time::sleep(Duration::from_secs(retry_after(&refused))).await;
    assert_eq!(status(&site.get("").await), 200);
    assert_eq!(site.upstream.requests().len(), 2);
}

#[tokio::test]
async fn what_the_provider_said_is_observed_where_the_user_wants_that() {
    let upstream = telling(|_| told("200 OK", 0, 60)).await;
    let site = Site::before(upstream, TELLS, "mode = \"observe\"");
    assert_eq!(statuses(&site).await, [200, 200, 200]);
}

#[tokio::test]
async fn after_a_refusal_one_call_finds_out() {
    let (opened, opens) = tokio::sync::watch::channel(false);
    let upstream = Upstream::scripted({
        let calls = Arc::new(AtomicUsize::new(0));
        move |mut peer, _| {
            let (calls, mut opens) = (Arc::clone(&calls), opens.clone());
            async move {
                loop {
                    peer.request().await?;
                    let answer = if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n"
                    } else {
                        opens.wait_for(|open| *open).await.unwrap();
                        OK
                    };
                    peer.write(answer).await?;
                }
            }
        }
    })
    .await;
    let site = Site::before(upstream, ONE_AN_HOUR, "");
    assert_eq!(status(&site.get("").await), 429);
    // Nobody goes until then.
    let refused = site.get("").await;
    assert_refused(&refused);
    assert!(retry_after(&refused) <= 2, "{refused}");
    let mut waiting = Vec::new();
    for _ in 0..10 {
        waiting.push(site.begin("", "Prefer: wait=30\r\n").await);
    }
    tokio::time::sleep(Duration::from_millis(3_000)).await;
    // One went, and the others wait for what it finds.
    assert_eq!(site.upstream.requests().len(), 2);
    assert_refused(&site.get("").await);
    opened.send(true).unwrap();
    for mut caller in waiting {
        assert_eq!(status(&caller.rest().await), 200);
    }
    assert_eq!(site.upstream.requests().len(), 11);
}

#[tokio::test]
async fn a_refusal_without_a_time_is_backed_off_from() {
    let upstream = telling(|number| match number {
        0 => "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n".to_owned(),
        _ => OK.to_owned(),
    })
    .await;
    let site = Site::before(upstream, ONE_AN_HOUR, "");
    assert_eq!(status(&site.get("").await), 429);
    let (answer, took) = timed(site.get("Prefer: wait=10\r\n")).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn a_refusal_without_a_time_tells_to_wait_as_long_as_the_reset() {
    let refusal = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
    let penalized = ONE_AN_HOUR.replace("1h", "1s") + "penalty = \"1m\"\n";
    for (policies, wait) in [(ONE_AN_HOUR, 1), (&penalized, 60)] {
        let upstream = telling(|_| refusal.to_owned()).await;
        let site = Site::before(upstream, policies, "mode = \"observe\"");
        let answer = site.get("").await;
        assert_eq!(status(&answer), 429);
        let reset: u64 = fields(&answer, "ratelimit-reset")[0].parse().unwrap();
        assert!(reset >= wait, "{answer}");
        assert!(retry_after(&answer) >= reset, "{answer}");
    }
}

#[tokio::test]
async fn an_own_quota_is_counted_where_the_provider_tells_only_what_is_left_of_a_larger_one() {
    let tells = TELLS.replace("limit = \"x-limit\"", "window = \"1h\"\nkind = \"fixed\"");
    let upstream = telling(|number| told("200 OK", 239 - number as u64, 3000)).await;
    let site = Site::before(upstream, &tells, "quotas = { account = 2 }");
    for left in ["1", "0"] {
        let answer = site.get("").await;
        assert_eq!(status(&answer), 200, "{answer}");
        assert_eq!(fields(&answer, "ratelimit-limit"), ["2;w=3600"]);
        assert_eq!(fields(&answer, "ratelimit-remaining"), [left], "{answer}");
    }
    assert_refused(&site.get("").await);
    // Where it has less left than that, it is the provider's word that counts.
    let upstream = telling(|number| told("200 OK", 1 - (number as u64).min(1), 3000)).await;
    let site = Site::before(upstream, &tells, "quotas = { account = 100 }");
    for left in ["1", "0"] {
        assert_eq!(fields(&site.get("").await, "ratelimit-remaining"), [left]);
    }
    assert_refused(&site.get("").await);
}
