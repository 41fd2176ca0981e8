//! What headroom refuses by itself, in the provider's dress: vendor SDKs raise their own errors and wait their own waits.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use headroom::clock;
use serde_json::{Value, json};

use super::{Headroom, from_stdin, has_node, has_python, python, run, scripts, through_headroom};
use crate::support::upstream::Upstream;

/// A provider that answers each request with this.
async fn answering(body: &Value) -> Upstream {
    let body = body.to_string();
    Upstream::answering(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
    .await
}

async fn stripe() -> Upstream {
    answering(&json!({"id": "pi_1", "object": "payment_intent"})).await
}

const BEARER: &str = "Bearer sk_test_secret";
const ONE_AN_HOUR: &str = "quotas = { payment-intent = 1 }";

fn with_argument(mut command: Command, argument: impl ToString) -> Command {
    command.arg(argument.to_string());
    command
}

#[tokio::test]
async fn stripe_node_raises_its_rate_limit_error() {
    if !has_node("stripe") {
        return;
    }
    let upstream = stripe().await;
    let headroom = Headroom::with(&upstream, "stripe", ONE_AN_HOUR);
    let command = with_argument(from_stdin(), headroom.own_port());
    run(command, include_bytes!("stripe.mjs")).await;
    assert_eq!(
        through_headroom(&upstream, BEARER),
        ["POST /v1/payment_intents/pi_1", "GET /v1/customers/cus_1"]
    );
}

#[tokio::test]
async fn stripe_node_is_held() {
    if !has_node("stripe") {
        return;
    }
    let upstream = stripe().await;
    let lines = "quotas = { global = 1 }\nmode = \"wait\"";
    let headroom = Headroom::with(&upstream, "stripe", lines);
    let command = with_argument(from_stdin(), headroom.own_port());
    run(command, include_bytes!("stripe_waits.mjs")).await;
    assert_eq!(through_headroom(&upstream, BEARER).len(), 3);
}

#[tokio::test]
async fn stripe_python_raises_its_rate_limit_error() {
    if !has_python("stripe") {
        return;
    }
    let upstream = stripe().await;
    let headroom = Headroom::with(&upstream, "stripe", ONE_AN_HOUR);
    let command = with_argument(python(), scripts().join("stripe_raises.py").display());
    let base = format!("http://127.0.0.1:{}", headroom.own_port());
    run(with_argument(command, base), b"").await;
    assert_eq!(
        through_headroom(&upstream, BEARER),
        ["POST /v1/payment_intents/pi_1"]
    );
}

#[tokio::test]
async fn notion_waits_and_succeeds() {
    if !has_node("@notionhq/client") {
        return;
    }
    let user = json!({"object": "page", "id": "1", "type": "bot", "name": "Ada"});
    let upstream = answering(&user).await;
    let headroom = Headroom::with(&upstream, "notion", "quotas = { integration = 1 }");
    let base = format!("http://127.0.0.1:{}", headroom.own_port());
    let command = with_argument(from_stdin(), base);
    run(command, include_bytes!("notion.mjs")).await;
    let calls = through_headroom(&upstream, "Bearer secret");
    let posts = calls.iter().filter(|call| *call == "POST /v1/pages");
    assert_eq!(posts.count(), 1, "{calls:?}");
}

#[tokio::test]
async fn hubspot_waits_and_succeeds() {
    if !has_node("@hubspot/api-client") {
        return;
    }
    let found = json!({
        "id": "1", "total": 1, "results": [], "properties": {},
        "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z", "archived": false,
    });
    let upstream = answering(&found).await;
    let quotas = "quotas = { search = 1, ten-secondly = 1 }";
    let headroom = Headroom::with(&upstream, "hubspot", quotas);
    let base = format!("http://127.0.0.1:{}", headroom.own_port());
    let command = with_argument(from_stdin(), base);
    run(command, include_bytes!("hubspot.mjs")).await;
    let calls = through_headroom(&upstream, "Bearer secret");
    let last = calls.last().unwrap();
    assert!(last.starts_with("GET /crm/"), "{calls:?}");
    assert!(
        calls[0].starts_with("POST /crm/") && calls[0].ends_with("/search"),
        "{calls:?}"
    );
}

#[tokio::test]
async fn octokit_waits_for_what_github_said() {
    if !has_node("@octokit/rest") {
        return;
    }
    let upstream = github().await;
    let headroom = Headroom::before(&upstream, "github");
    let [base, _] = headroom.mounts("github");
    let command = with_argument(from_stdin(), base);
    run(command, include_bytes!("octokit_refused.mjs")).await;
    assert_eq!(
        through_headroom(&upstream, "token secret"),
        ["GET /repos/acme/last", "GET /repos/acme/one"]
    );
}

/// The first answer uses up the last of the quota; two seconds later there is a new one.
async fn github() -> Upstream {
    let served = Arc::new(AtomicUsize::new(0));
    Upstream::scripted(move |mut peer, _| {
        let served = Arc::clone(&served);
        async move {
            loop {
                peer.request().await?;
                let is_first = served.fetch_add(1, Ordering::SeqCst) == 0;
                let (name, left, secs) = if is_first {
                    ("last", 0, 2)
                } else {
                    ("one", 4999, 3600)
                };
                let reset = clock::now().as_second() + secs;
                let body = json!({"name": name}).to_string();
                peer.write(format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-ratelimit-limit: 5000\r\nx-ratelimit-remaining: {left}\r\nx-ratelimit-reset: {reset}\r\nx-ratelimit-resource: core\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                ))
                .await?;
            }
        }
    })
    .await
}
