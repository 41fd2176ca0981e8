//! Each call through the gateway is in the history, once, as it was.

use std::collections::BTreeMap;

use headroom::state::history::{Series, Snapshot, Sums};

use crate::exchange::OK;
use crate::support::harness::{Caller, Harness};
use crate::support::upstream::Upstream;

/// What was called, by all that tells series apart.
async fn calls(gateway: &Harness) -> BTreeMap<String, Sums> {
    let read = |snapshot: &Snapshot<'_>| {
        let names: BTreeMap<i64, Series> = snapshot.series()?.into_iter().collect();
        let mut found: BTreeMap<String, Sums> = BTreeMap::new();
        snapshot.totals(60, i64::MIN, i64::MAX, |_, series, sums| {
            let series = &names[&series];
            let name = if series.policy.is_empty() {
                format!(
                    "{} {} {} {} {} {}",
                    series.connection,
                    series.method,
                    series.endpoint,
                    series.status,
                    series.upstream_status,
                    series.refused_by
                )
            } else {
                format!("{} {} {}", series.connection, series.policy, series.unit)
            };
            found.entry(name).or_default().add(sums);
        })?;
        Ok(found)
    };
    gateway.history.read(0, read).await.unwrap()
}

async fn post(gateway: &Harness, target: &str, body: &str) {
    let length = body.len();
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    gateway.send(request).await;
}

#[tokio::test]
async fn a_call_is_one_record_however_it_ends() {
    let upstream = Upstream::scripted(|mut peer, _| async move {
        loop {
            let request = peer.request().await?;
            if request.contains("/broken") {
                peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await?;
                return Ok(());
            }
            if request.contains("/used-up") {
                peer.write("HTTP/1.1 402 Payment Required\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n\"quota\"").await?;
                continue;
            }
            if request.contains("/never") {
                std::future::pending::<()>().await;
            }
            peer.write(OK).await?;
        }
    })
    .await;
    let gateway = Harness::new(&upstream.base_url()).await;
    gateway.get("/crm/v3/contacts/17?token=secret").await;
    gateway.get("/crm/v3/contacts/18").await;
    post(&gateway, "/hub/v3/contacts", "hello").await;
    gateway.get("/crm/broken").await;
    gateway.get("/crm/../etc").await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("GET /crm/never HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    while upstream.requests().len() < 5 {
        tokio::task::yield_now().await;
    }
    drop(caller);
    gateway.get("/crm/used-up").await;
    // Now the provider's word stands, and headroom refuses.
    gateway.get("/crm/v3/contacts/19").await;

    let length = OK.rsplit("\r\n\r\n").next().unwrap().len() as u64;
    let found = loop {
        let found = calls(&gateway).await;
        // Whoever goes away is noticed a moment later.
        if found.contains_key("crm GET /never 0 0 ") {
            break found;
        }
        tokio::task::yield_now().await;
    };
    let told: Vec<(&str, u64)> = found
        .iter()
        .map(|(name, sums)| (&**name, sums.calls))
        .collect();
    assert_eq!(
        told,
        [
            ("crm GET /../etc 400 0 ", 1),
            ("crm GET /broken 200 0 ", 1),
            ("crm GET /never 0 0 ", 1),
            ("crm GET /used-up 429 402 provider", 1),
            ("crm GET /v3/contacts/* 200 0 ", 2),
            ("crm GET /v3/contacts/* 429 0 headroom", 1),
            // The one that was refused used nothing.
            ("crm stub requests", 6),
            ("hub POST /v3/contacts 200 0 ", 1),
            ("hub stub requests", 1),
        ]
    );
    let of = |name: &str| found[name];
    assert_eq!(of("crm GET /v3/contacts/* 200 0 ").bytes_out, 2 * length);
    assert_eq!(of("hub POST /v3/contacts 200 0 ").bytes_in, 5);
    assert_eq!(of("crm GET /broken 200 0 ").broken, 1);
    assert_eq!(of("crm GET /used-up 429 402 provider").exhausted, 1);
    assert_eq!(of("crm GET /v3/contacts/* 429 0 headroom").refused, 1);
    let policy = of("crm stub requests");
    assert_eq!((policy.cost, policy.refused, policy.exhausted), (5, 1, 1));

    // The same for people.
    let usage = json(&gateway.get("/-/usage?by=connection,endpoint").await);
    assert_eq!(usage["by"], serde_json::json!(["connection", "endpoint"]));
    let row = |number: usize| {
        let row = &usage["rows"][number];
        [
            "calls",
            "ok",
            "failed",
            "refused",
            "exhausted",
            "unanswered",
        ]
        .map(|name| row[name].as_u64().unwrap())
    };
    assert_eq!(usage["rows"][0]["endpoint"], "/v3/contacts/*");
    assert_eq!(row(0), [3, 2, 0, 1, 0, 0]);
    let rows: Vec<_> = (1..6)
        .map(|number| {
            (
                usage["rows"][number]["endpoint"].as_str().unwrap(),
                row(number),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("/../etc", [1, 0, 1, 0, 0, 0]),
            ("/broken", [1, 0, 1, 0, 0, 0]),
            ("/never", [1, 0, 0, 0, 0, 1]),
            ("/used-up", [1, 0, 0, 0, 1, 0]),
            ("/v3/contacts", [1, 1, 0, 0, 0, 0]),
        ]
    );
    assert_eq!(usage["totals"]["calls"], 8);
    let usage = json(&gateway.get("/-/usage?by=policy&connection=crm").await);
    assert_eq!(
        usage["rows"],
        serde_json::json!([{"policy": "stub", "unit": "requests", "calls": 6, "cost": 5, "refused": 1, "exhausted": 1}])
    );

    let events = json(&gateway.get("/-/events?limit=2").await);
    let first = &events["events"][0];
    assert_eq!(first["endpoint"], "/v3/contacts/*");
    assert_eq!(
        (first["refused_by"].as_str(), first["policy"].as_str()),
        (Some("headroom"), Some("stub"))
    );
    assert_eq!(
        first["costs"],
        serde_json::json!([{"policy": "stub", "unit": "requests", "cost": 0}])
    );
    let mut found = 2;
    let mut next = events["next"].as_str().map(str::to_owned);
    while let Some(cursor) = next {
        let page = json(
            &gateway
                .get(&format!("/-/events?limit=2&before={cursor}"))
                .await,
        );
        found += page["events"].as_array().unwrap().len();
        next = page["next"].as_str().map(str::to_owned);
    }
    assert_eq!(found, 8);
    let events = json(&gateway.get("/-/events?status=none").await);
    assert_eq!(events["events"][0]["status"], serde_json::Value::Null);
    assert_eq!(events["events"][0]["outcome"], "left");
    assert_eq!(events["next"], serde_json::Value::Null);
    let text = gateway.get("/-/events").await;
    assert!(!text.contains("secret"), "{text}");
}

/// The document of an answer.
fn json(answer: &str) -> serde_json::Value {
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[tokio::test]
async fn the_same_answer_again_is_seen() {
    let upstream = Upstream::answering(OK).await;
    let gateway = Harness::new(&upstream.base_url()).await;
    for _ in 0..3 {
        gateway.get("/crm/list?page=1").await;
    }
    gateway.get("/crm/list?page=2").await;
    let found = calls(&gateway).await;
    let sums = found["crm GET /list 200 0 "];
    assert_eq!((sums.calls, sums.polls, sums.same), (4, 2, 2));
}
