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
            ("crm stub requests", 5),
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
    assert_eq!(of("crm stub requests").cost, 5);
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
