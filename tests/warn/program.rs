//! The program itself, killed and started again, with receivers that do as they are told.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::exchange::{OK, body, fields, status};
use crate::support::program::{Program, stub};
use crate::support::upstream::Upstream;

const TWENTY_AN_HOUR: &str = "[policy.hourly]\nquota = 20\nwindow = \"1h\"\nkind = \"fixed\"\n";

/// A gateway that tells this receiver, at a URL that must not stand in any log.
fn site(provider: &Upstream, receiver: &Upstream) -> (TempDir, String) {
    let (folder, config) = stub(provider, TWENTY_AN_HOUR, "mode = \"enforce\"");
    let webhook = format!(
        "[[webhooks]]\nurl = \"{}/hush/hush?token=hush\"\nsecret = \"{SECRET}\"\n",
        receiver.base_url()
    );
    (folder, format!("{config}{webhook}"))
}

async fn calls(program: &Program, count: u32) {
    for _ in 0..count {
        let answer = program.get("/stub/", "").await;
        assert_eq!(status(&answer), 200, "{answer}");
    }
}

/// Waits until so many requests came.
async fn requests(receiver: &Upstream, count: usize) -> Vec<String> {
    loop {
        let requests = receiver.requests();
        if requests.len() >= count {
            return requests;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn header(request: &str, name: &str) -> String {
    let values = fields(request, name);
    assert_eq!(values.len(), 1, "{request}");
    values[0].to_owned()
}

/// As a receiver checks it.
fn assert_signed(request: &str) {
    let url = EndpointUrl::parse("https://a.example").unwrap();
    let timestamp: i64 = header(request, "webhook-timestamp").parse().unwrap();
    let age = clock::now().as_second() - timestamp;
    assert!((0..60).contains(&age), "{age}");
    let signature = Endpoint::new(url, Secrets::parse(SECRET).ok().unwrap()).sign(
        &header(request, "webhook-id"),
        timestamp,
        body(request),
    );
    assert_eq!(header(request, "webhook-signature"), signature);
    assert_eq!(header(request, "content-type"), "application/json");
    assert!(request.starts_with("POST /hush/hush?token=hush HTTP/1.1"));
}

fn starts(folder: &Path, config: &str) -> Program {
    Program::start(folder, config)
}

#[tokio::test]
async fn a_kill_between_crossing_and_delivery_loses_no_webhook() {
    let provider = Upstream::answering(OK).await;
    // The first process hangs on it, the second is answered.
    let receiver = Upstream::scripted(|mut peer, number| async move {
        peer.request().await?;
        if number == 0 {
            return pending().await;
        }
        peer.write("HTTP/1.1 204 No Content\r\n\r\n").await
    })
    .await;
    let (folder, config) = site(&provider, &receiver);
    let program = starts(folder.path(), &config);
    calls(&program, 16).await;
    let first = requests(&receiver, 1).await.remove(0);
    // Nobody waits for the receiver.
    calls(&program, 1).await;
    program.kill();

    let program = starts(folder.path(), &config);
    let second = requests(&receiver, 2).await.remove(1);
    assert_eq!(header(&first, "webhook-id"), header(&second, "webhook-id"));
    assert_eq!(body(&first), body(&second));
    assert_signed(&first);
    assert_signed(&second);
    let json: serde_json::Value = serde_json::from_str(body(&second)).unwrap();
    assert_eq!(json["type"], "quota.threshold");
    assert_eq!(json["data"]["threshold"], 80);
    assert_eq!(json["data"]["connection"], "stub");
    // What was told is not told again; what is new is.
    while status(&program.get("/stub/", "").await) == 200 {}
    let third = requests(&receiver, 3).await.remove(2);
    let mut json: Vec<serde_json::Value> = receiver.requests()[2..]
        .iter()
        .map(|request| serde_json::from_str(body(request)).unwrap())
        .collect();
    json.retain(|one| one["data"]["threshold"] == 80);
    assert!(json.is_empty(), "{json:?}");
    assert_ne!(header(&third, "webhook-id"), header(&second, "webhook-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed_and_nothing_secret_is_logged() {
    let provider = Upstream::answering(OK).await;
    let elsewhere = Upstream::answering(OK).await;
    let location = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {}/\r\ncontent-length: 0\r\n\r\n",
        elsewhere.base_url()
    );
    let receiver = Upstream::answering(location).await;
    let (folder, config) = site(&provider, &receiver);
    // Nothing listens there.
    let nobody =
        format!("[[webhooks]]\nurl = \"http://127.0.0.1:1/hush\"\nsecret = \"{SECRET}\"\n");
    let program = starts(folder.path(), &format!("{config}{nobody}"));
    calls(&program, 16).await;
    program.wait_for_line("80% of the quota `hourly` of stub is used.");
    program.wait_for_line("it answers 307");
    assert_eq!(elsewhere.requests().len(), 0);
    program.wait_for_line("it cannot be reached");
    let lines = program.wait_for(|lines| Some(lines.to_vec()));
    for line in lines {
        assert!(!line.contains("hush") && !line.contains("MfKQ"), "{line}");
    }
}
