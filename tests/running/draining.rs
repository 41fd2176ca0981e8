//! The end while calls are in flight, and changes while there is traffic.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headroom::clock;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::exchange::{OK, body, http2, status};
use crate::running::tls::POLICY;
use crate::support::harness::{Caller, PATIENCE};
use crate::support::program::{Program, get, stub};
use crate::support::upstream::Upstream;

#[tokio::test]
async fn calls_in_flight_finish_and_then_it_ends() {
    const CALLS: usize = 10;
    let gate = Arc::new(Semaphore::new(0));
    let wait = Arc::clone(&gate);
    let upstream = Upstream::scripted(move |mut peer, _| {
        let wait = Arc::clone(&wait);
        async move {
            loop {
                if peer.request().await?.starts_with("GET /slow") {
                    wait.acquire().await.unwrap().forget();
                }
                peer.write(OK).await?;
            }
        }
    })
    .await;
    let (folder, config) = stub(&upstream, POLICY, "");
    let program = Program::start(folder.path(), &config);
    let address = program.address();
    // Connections that are kept, in both protocols, and one that never said anything.
    let mut idle = Caller::connect(address).await;
    idle.write(format!("GET /stub/ HTTP/1.1\r\nHost: {address}\r\n\r\n"))
        .await;
    let silent = Caller::connect(address).await;
    let client = http2();
    let kept = http2();
    let answer = kept
        .get(format!("http://{address}/stub/"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.text().await.unwrap(), "ok");
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        calls.spawn(async move { status(&get(address, "/stub/slow", "").await) });
        let sending = client.get(format!("http://{address}/stub/slow")).send();
        calls.spawn(async move {
            let answer = sending.await.unwrap();
            let code = answer.status().as_u16();
            assert_eq!(answer.text().await.unwrap(), "ok");
            code
        });
    }
    let arrived = async {
        while upstream.requests().len() < 2 + 2 * CALLS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, arrived).await.unwrap();
    let end = tokio::task::spawn_blocking(move || {
        let ended = program.terminate();
        (ended, clock::monotonic())
    });
    // It takes no other call, and waits for these.
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert!(!end.is_finished());
    gate.add_permits(2 * CALLS);
    while let Some(status) = calls.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    let last = clock::monotonic();
    let (ended, at) = end.await.unwrap();
    assert!(ended.success());
    let took = at.saturating_duration_since(last);
    assert!(took < PATIENCE / 2, "{took:?}");
    drop((idle, silent, kept));
}

#[tokio::test]
async fn ten_reloads_under_load_break_nothing() {
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = stub(&upstream, POLICY, "");
    let config = config.replace(
        "[connections.stub]",
        "[connections.stub]\nmode = \"observe\"",
    );
    let program = Program::start(folder.path(), &config);
    let address = program.address();
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..2 {
        let (over, client) = (Arc::clone(&over), http2());
        callers.spawn(async move {
            let mut calls = 0_u32;
            while !over.load(Ordering::Relaxed) {
                assert_eq!(status(&get(address, "/stub/", "").await), 200);
                let answer = client.get(format!("http://{address}/stub/")).send().await;
                assert_eq!(answer.unwrap().status(), 200);
                calls += 2;
            }
            calls
        });
    }
    for round in 1..=10 {
        let next = folder.path().join("next");
        fs::write(&next, format!("max_waiting = {round}\n{config}")).unwrap();
        fs::rename(&next, folder.path().join("headroom.toml")).unwrap();
        let sent = std::process::Command::new("kill")
            .args(["-HUP", &program.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        let read = |lines: &[String]| {
            let read = lines.iter().filter(|line| line.contains("was read again"));
            (read.count() >= round).then_some(())
        };
        let reading = async {
            while program.look(read).is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    while let Some(calls) = callers.join_next().await {
        assert!(calls.unwrap() > 0);
    }
}

#[tokio::test]
async fn who_asks_for_readiness_hears_of_the_end_before_it_takes_no_calls() {
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = stub(&upstream, POLICY, "");
    let config = config.replacen('\n', "\n[limits]\ndrain_delay = \"2s\"\n", 1);
    let program = Program::start(folder.path(), &config);
    let address = program.address();
    assert_eq!(status(&get(address, "/-/readyz", "").await), 200);
    let started = clock::monotonic();
    let end = tokio::task::spawn_blocking(move || {
        let ended = program.terminate();
        (ended, clock::monotonic())
    });
    let mut answer = get(address, "/-/readyz", "").await;
    while status(&answer) == 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        answer = get(address, "/-/readyz", "").await;
    }
    assert_eq!(
        (status(&answer), body(&answer)),
        (503, "draining\n"),
        "{answer}"
    );
    // Others may not have looked yet.
    assert_eq!(status(&get(address, "/stub/", "").await), 200);
    let (ended, at) = end.await.unwrap();
    assert!(ended.success());
    let took = at.saturating_duration_since(started);
    assert!(
        took >= Duration::from_secs(2) && took < PATIENCE / 2,
        "{took:?}"
    );
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
