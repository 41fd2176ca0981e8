//! A connection's own credential: where it stands, and that nothing else does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinSet;

use super::*;

/// What a caller sends of its own.
const CALLERS: &str = "Authorization: Bearer callers\r\nAuthorization: Basic Y2FsbGVycw==\r\nCookie: session=callers\r\nX-Api-Key: callers\r\nPrivate-Token: callers\r\nProxy-Authorization: Basic Y2FsbGVycw==\r\nX-Kept: 1\r\n";

#[tokio::test]
async fn it_stands_where_the_adapter_says_and_is_the_only_one() {
    for (id, credential, target, own) in [
        (
            "bearer",
            "s3cret",
            "/a?q='x'",
            "authorization: Bearer s3cret",
        ),
        (
            "basic",
            "user:s3cret",
            "/a?q='x'",
            "authorization: Basic dXNlcjpzM2NyZXQ=",
        ),
        (
            "basic",
            "s3cret",
            "/a?q='x'",
            "authorization: Basic czNjcmV0Og==",
        ),
        (
            "toggl",
            "s3cret",
            "/a?q='x'",
            "authorization: Basic czNjcmV0OmFwaV90b2tlbg==",
        ),
        ("header", "s3cret", "/a?q='x'", "x-api-key: s3cret"),
        (
            "token",
            "s3cret",
            "/a?q='x'",
            "authorization: Token token=s3cret",
        ),
        ("query", "s3cret&", "/a?q='x'&access_token=s3cret%26", ""),
    ] {
        let config = format!(
            "{}[connections.mine]\nprovider = \"{id}\"\ncredential = \"{credential}\"\n",
            consumer("reports", &reports(), "")
        );
        let site = Site::new(&config).await;
        // Both as one who is known by the place, and as one who shows something of its own beside its key.
        let key = reports();
        let by_place = match id {
            "header" => format!("X-Api-Key: {key}\r\n"),
            "query" => format!("headroom-key: {key}\r\n"),
            _ => format!("Authorization: Token token={key}\r\n"),
        };
        for lines in [
            format!("{by_place}X-Kept: 1\r\n"),
            format!("headroom-key: {key}\r\n{CALLERS}"),
        ] {
            let called = if id == "query" {
                "/mine/a?access_token=callers&q='x'"
            } else {
                "/mine/a?q='x'"
            };
            let answer = site.get(called, &lines).await;
            assert_eq!(status(&answer), 200, "{answer}");
            let request = site.last();
            let line = format!("GET {target} HTTP/1.1\r\n");
            assert!(request.starts_with(&line), "{request}");
            assert!(request.contains("\r\nx-kept: 1\r\n"), "{request}");
            let shown: Vec<&str> = request
                .lines()
                .filter(|line| {
                    let name = line.split(':').next().unwrap_or_default();
                    [
                        "authorization",
                        "x-api-key",
                        "cookie",
                        "proxy-authorization",
                        "headroom-key",
                    ]
                    .contains(&name)
                })
                .collect();
            let expected = if own.is_empty() { vec![] } else { vec![own] };
            assert_eq!(shown, expected, "{request}");
            assert!(
                !request.contains("callers") && !request.contains("Y2Fs"),
                "{request}"
            );
            assert!(!request.contains(&key), "{request}");
            assert!(!answer.contains("s3cret"), "{answer}");
        }
    }
}

/// Nobody is asked who they are, and the credential is the connection's all the same.
#[tokio::test]
async fn without_consumers_everybody_uses_it() {
    let site = Site::new("[connections.bearer]\ncredential = \"s3cret\"\n").await;
    for lines in [
        "",
        "Authorization: Bearer callers\r\n",
        "Connection: authorization\r\n",
    ] {
        site.get("/bearer/a", lines).await;
        assert_eq!(fields(&site.last(), "authorization"), ["Bearer s3cret"]);
    }
    // One account: one budget, whoever called.
    let quota = site.get("/-/quota", "").await;
    let quota: serde_json::Value = serde_json::from_str(body(&quota)).unwrap();
    let meters = quota["meters"].as_array().unwrap();
    assert_eq!(meters.len(), 1, "{quota}");
    assert_eq!(meters[0]["used"], 3, "{quota}");
    // Callers are told apart by what they sent.
    let usage = site
        .get("/-/usage?by=consumer", "Accept: application/json\r\n")
        .await;
    assert!(usage.contains("anonymous"), "{usage}");
    for page in [quota.to_string(), usage] {
        assert!(
            !page.contains("s3cret") && !page.contains("callers"),
            "{page}"
        );
    }
}

/// With `headroom-key` and no credential of the connection, the caller's own passes.
#[tokio::test]
async fn without_one_the_callers_own_passes() {
    let site = Site::new(&consumer("reports", &reports(), "")).await;
    let lines = format!("headroom-key: {}\r\n{CALLERS}", reports());
    let answer = site.get("/bearer/a?access_token=theirs", &lines).await;
    assert_eq!(status(&answer), 200, "{answer}");
    let request = site.last();
    assert!(
        request.starts_with("GET /a?access_token=theirs "),
        "{request}"
    );
    assert_eq!(
        fields(&request, "authorization"),
        ["Bearer callers", "Basic Y2FsbGVycw=="]
    );
    assert_eq!(fields(&request, "cookie"), ["session=callers"]);
}

const TWO: &str = "
    [connections.one]
    provider = \"bearer\"
    credential = \"${ONE:-first}\"
    [connections.two]
    provider = \"bearer\"
    credential = \"second\"
    [connections.three]
    provider = \"query\"
    credential = \"third\"
";

fn credential_of(connection: &str) -> &'static str {
    match connection {
        "one" => "first",
        "two" => "second",
        _ => "third",
    }
}

/// Which credentials a request shows.
fn shown(request: &str) -> Vec<&'static str> {
    let all = ["first", "second", "third"];
    all.into_iter()
        .filter(|one| request.contains(one))
        .collect()
}

#[tokio::test]
async fn connections_of_one_provider_never_mix_however_many_call_at_once() {
    let site = Arc::new(Site::new(TWO).await);
    let mut calls = JoinSet::new();
    for number in 0..120 {
        let site = Arc::clone(&site);
        calls.spawn(async move {
            let connection = ["one", "two", "three"][number % 3];
            let answer = site
                .get(&format!("/{connection}/by-{connection}"), "")
                .await;
            assert_eq!(status(&answer), 200, "{answer}");
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    let requests = site.upstream.requests();
    assert_eq!(requests.len(), 120);
    for request in requests {
        let by = ["one", "two", "three"]
            .into_iter()
            .find(|name| request.starts_with(&format!("GET /by-{name}")))
            .unwrap();
        assert_eq!(shown(&request), [credential_of(by)], "{request}");
    }
}

/// One HTTP/2 connection carries them all.
#[tokio::test]
async fn they_do_not_mix_in_http_2() {
    let port = crate::exchange::tls::provider(&["h2"]).await;
    let config: String = ["first", "second", "third"]
        .iter()
        .map(|credential| {
            format!(
                "[connections.{credential}]\nprovider = \"bearer\"\nbase_url = \"https://127.0.0.1:{port}\"\ncredential = \"{credential}\"\n"
            )
        })
        .collect();
    let authority = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/support/tls/authority.pem"
    );
    let upstream = Upstream::answering(OK).await;
    let (folder, beginning) = places(&upstream);
    let config = beginning + &config;
    let program = Program::with(folder.path(), &config, &["--ca-file", authority]);
    let program = Arc::new(program);
    let mut calls = JoinSet::new();
    for number in 0..60 {
        let program = Arc::clone(&program);
        calls.spawn(async move {
            let credential = ["first", "second", "third"][number % 3];
            let answer = program.get(&format!("/{credential}/"), CALLERS).await;
            assert_eq!(status(&answer), 200, "{answer}");
            // The provider says what it saw.
            assert!(body(&answer).contains("HTTP/2"), "{answer}");
            assert_eq!(shown(body(&answer)), [credential], "{answer}");
            assert!(!body(&answer).contains("callers"), "{answer}");
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
}

/// The first connection dies as the second call comes: that one goes again.
#[tokio::test]
async fn what_is_repeated_has_the_same_credential() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let upstream = Upstream::scripted(move |mut peer, _| {
        let calls = Arc::clone(&counter);
        async move {
            loop {
                peer.request().await?;
                if calls.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
                    return peer.reset();
                }
                peer.write(OK).await?;
            }
        }
    })
    .await;
    let site = Site::before(upstream, TWO);
    for (index, connection) in ["one", "two", "three", "one"].into_iter().enumerate() {
        let answer = site.get(&format!("/{connection}/{index}"), "").await;
        assert_eq!(status(&answer), 200, "{answer}");
    }
    let requests = site.upstream.requests();
    assert!(requests.len() > 4, "nothing was repeated");
    for request in requests {
        let index: usize = request[5..6].parse().unwrap();
        let by = ["one", "two", "three", "one"][index];
        assert_eq!(shown(&request), [credential_of(by)], "{request}");
    }
}

#[tokio::test]
async fn a_redirect_takes_no_credential_along() {
    let other = Upstream::answering(OK).await;
    let elsewhere = format!(
        "HTTP/1.1 302 Found\r\nlocation: {}/stolen\r\ncontent-length: 0\r\n\r\n",
        other.base_url()
    );
    let site = Site::before(Upstream::answering(elsewhere).await, TWO);
    let answer = site.get("/one/a", "").await;
    assert_eq!(status(&answer), 302, "{answer}");
    assert_eq!(
        fields(&answer, "location"),
        [format!("{}/stolen", other.base_url())]
    );
    assert!(other.requests().is_empty());
    assert!(shown(&answer).is_empty(), "{answer}");
}

/// A provider that repeats the parameter in its links does not tell callers the credential.
#[tokio::test]
async fn links_of_the_provider_do_not_tell_it() {
    let upstream = Upstream::scripted(|mut peer, _| async move {
        loop {
            peer.request().await?;
            let base = peer.stream.local_addr()?;
            let answer = format!(
                "HTTP/1.1 302 Found\r\nlocation: http://{base}/a?access_token=third&page=2\r\ncontent-location: /a?page=2&access_token=third\r\nlink: <http://{base}/a?access_token=third>; rel=\"next\"\r\nx-next: http://{base}/b?access_token=third&a\r\nset-cookie: session=third\r\ncontent-length: 0\r\n\r\n"
            );
            peer.write(answer).await?;
        }
    })
    .await;
    let site = Site::before(upstream, TWO);
    let answer = site.get("/three/a", "").await;
    assert!(!answer.contains("third"), "{answer}");
    let next = format!("http://{}/three/a?page=2", site.program.address());
    assert_eq!(fields(&answer, "location"), [next]);
    let elsewhere = format!("http://{}/b?a", site.upstream.address);
    assert_eq!(fields(&answer, "x-next"), [elsewhere]);
}
