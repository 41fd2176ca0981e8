//! Tokens of OAuth 2 in a run: what is sent for them, what comes back, and errors that quote it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nx-hush: hush\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The program, with everything in its log.
fn traced(folder: &Path, config: &str) -> Program {
    let mut command = headroom(folder);
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("HEADROOM_LOG", "trace");
    Program::launch(command, folder, config)
}

/// Neither its pages nor its log have told a secret. It ends here.
async fn assert_run_is_silent(mut program: Program) {
    for page in [
        "/-/",
        "/-/quota",
        "/-/usage",
        "/-/events",
        "/-/advice",
        "/-/metrics",
        "/-/readyz",
    ] {
        let answer = program.get(page, "").await;
        assert_silent(answer.as_bytes(), page);
    }
    signal(&program, "-TERM");
    program.wait_for_line("headroom has stopped");
    assert!(program.wait().success());
    assert_silent(program.told().as_bytes(), "the log");
}

/// A token endpoint that goes wrong in every way, then gives tokens. All of it has secrets in it.
async fn endpoint() -> Upstream {
    let calls = Arc::new(AtomicUsize::new(0));
    Upstream::scripted(move |mut peer, _| {
        let calls = Arc::clone(&calls);
        async move {
            loop {
                peer.request().await?;
                let answer = match calls.fetch_add(1, Ordering::SeqCst) {
                    0 => answer(
                        "400 Bad Request",
                        r#"{"error":"hush_grant","error_description":"the token hush-refresh of hush-client","error_uri":"https://a.example/hush"}"#,
                    ),
                    1 => answer("200 OK", "hush is no JSON"),
                    2 => answer("200 OK", r#"{"access_token":"hush\u0001","token_type":"Bearer"}"#),
                    3 => answer("200 OK", r#"{"access_token":"hush","token_type":"hush"}"#),
                    4 => answer("500 Internal Server Error", "hush"),
                    5 => return peer.reset(),
                    _ => answer(
                        "200 OK",
                        r#"{"access_token":"hush-access","token_type":"Bearer","expires_in":3600,"scope":"hush"}"#,
                    ),
                };
                peer.write(answer).await?;
            }
        }
    })
    .await
}

/// One program for each way: after a failure the next attempt waits.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_in_any_output() {
    let upstream = provider().await;
    let endpoint = endpoint().await;
    for attempt in 0..7 {
        let connection = format!(
            "[connections.stub.oauth2]\ntoken_url = \"{0}/hush-token?a=hush\"\nclient_id = \"client\"\n\
             client_secret = \"hush-client\"\nrefresh_token = \"hush-refresh\"\nparameters = {{ audience = \"hush\" }}\n\
             [limits]\nanswer_timeout = \"1s\"\n",
            endpoint.base_url()
        );
        let (folder, config) = stub(&upstream, "[policy.a]\nlimit = \"x-limit\"\n", &connection);
        let program = traced(folder.path(), &config);
        let refused = program.get("/stub/ok", "").await;
        if attempt < 6 {
            // A failure that may pass is worth another attempt.
            let expected = if attempt < 4 { 502 } else { 503 };
            assert_eq!(status(&refused), expected, "{attempt}: {refused}");
            assert_silent(refused.as_bytes(), "the refusal for want of a token");
        } else {
            assert_eq!(status(&refused), 200, "{refused}");
            // The provider had it, and takes too long.
            let late = program.get("/stub/silent?hush", "").await;
            assert_eq!(status(&late), 504, "{late}");
            assert_silent(late.as_bytes(), "a time-out");
            assert!(upstream.requests().concat().contains("Bearer hush-access"));
        }
        assert_run_is_silent(program).await;
        let mut kept = Vec::new();
        files(&folder.path().join("home"), &mut kept);
        for (path, bytes) in kept {
            assert_silent(&bytes, &path);
        }
    }
    assert!(endpoint.requests().concat().contains("hush-refresh"));
}

/// Files that are not what they should be are not quoted.
#[test]
fn no_mistake_quotes_a_file_of_tls() {
    let folder = tempfile::tempdir().unwrap();
    let key = "-----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\nhush\n";
    for text in [key, "hush", "-----BEGIN hush-----\nhush"] {
        fs::write(folder.path().join("key.pem"), text).unwrap();
        fs::write(folder.path().join("certificate.pem"), text).unwrap();
        let config = "ca_file = \"certificate.pem\"\n[tls]\ncertificate = \"certificate.pem\"\nkey = \"file:key.pem\"\n";
        fs::write(folder.path().join("headroom.toml"), config).unwrap();
        for command in ["check", "serve"] {
            let mut told = headroom(folder.path());
            told.arg(command).env("HEADROOM_LOG", "trace");
            let told = told.output().unwrap();
            assert_eq!(told.status.code(), Some(1), "{told:?}");
            assert_silent(&told.stdout, command);
            assert_silent(&told.stderr, command);
        }
    }
}

/// The newest of a line of refresh tokens lies in the state, which is its owner's alone, and is nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_token_is_in_no_output_but_the_state() {
    let upstream = provider().await;
    let endpoint = Upstream::scripted(|mut peer, _| async move {
        loop {
            peer.request().await?;
            peer.write(answer(
                "200 OK",
                r#"{"access_token":"hush-access","token_type":"Bearer","expires_in":3600,"refresh_token":"hush-rotated"}"#,
            ))
            .await?;
        }
    })
    .await;
    let connection = format!(
        "[connections.stub.oauth2]\ntoken_url = \"{}/\"\nclient_id = \"client\"\nclient_secret = \"hush-client\"\nrefresh_token = \"hush-refresh\"\n",
        endpoint.base_url()
    );
    let (folder, config) = stub(&upstream, "[policy.a]\nlimit = \"x-limit\"\n", &connection);
    for token in ["hush-refresh", "hush-rotated"] {
        let program = traced(folder.path(), &config);
        let answer = program.get("/stub/ok", "").await;
        assert_eq!(status(&answer), 200, "{answer}");
        let asked = endpoint.requests().pop().unwrap();
        assert!(asked.contains(&format!("refresh_token={token}")), "{asked}");
        assert_run_is_silent(program).await;
    }
    let mut kept = Vec::new();
    files(&folder.path().join("home"), &mut kept);
    let mut holders = 0;
    for (path, bytes) in kept {
        let text = String::from_utf8_lossy(&bytes);
        assert_silent(text.replace("hush-rotated", "").as_bytes(), &path);
        if text.contains("hush-rotated") {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{path}");
            holders += 1;
        }
    }
    assert!(holders > 0);
}
