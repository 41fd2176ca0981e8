//! No secret leaves: a whole run with secrets wherever they can be, told at the level where everything is, and every output
//! of it looked through.

mod tokens;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use headroom::consumer::{hash_key, key_of, to_hex};
use tokio::io::AsyncWriteExt as _;

use crate::exchange::{body, status};
use crate::support::harness::{Caller, PATIENCE};
use crate::support::program::{Program, headroom, stub};
use crate::support::upstream::Upstream;

/// Stands in every secret, so that none is forgotten where they are looked for.
const MARK: &str = "hush";

/// Keys have no room for a mark.
fn keys() -> [String; 3] {
    [1, 2, 3].map(|number| key_of(&[number; 32]))
}

/// What must be nowhere.
fn secrets() -> Vec<String> {
    let mut secrets = vec![
        MARK.to_owned(),
        STANDARD.encode("hush-user:hush-password"),
        STANDARD.encode("hush-proxy:hush-proxy"),
        signing_secret(),
        signing_secret().replace("whsec_", ""),
    ];
    secrets.extend(keys());
    secrets
}

fn signing_secret() -> String {
    format!("whsec_{}", STANDARD.encode([0x5a; 32]))
}

fn assert_silent(output: &[u8], of: &str) {
    let text = String::from_utf8_lossy(output).to_ascii_lowercase();
    for secret in secrets() {
        let found = text.find(&secret.to_ascii_lowercase());
        let around = found.map(|at| {
            let start = text.floor_char_boundary(at.saturating_sub(200));
            &text[start..text.floor_char_boundary(at + 100)]
        });
        assert_eq!(around, None, "{secret} is in {of}");
    }
}

/// A provider that does all that providers do, with secrets of its own in it.
async fn provider() -> Upstream {
    Upstream::scripted(|mut peer, _| async move {
        loop {
            let request = peer.request().await?;
            let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
            let answer = match path.split('?').next().unwrap_or_default() {
                "/reset" => return peer.reset(),
                "/short" => {
                    peer.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhush").await?;
                    return Ok(());
                }
                "/garbage" => {
                    peer.write("HTTP/1.1 hush hush\r\nhush\r\n\r\n").await?;
                    return Ok(());
                }
                "/silent" => {
                    tokio::time::sleep(PATIENCE).await;
                    return Ok(());
                }
                "/refused" => "429 Too Many Requests\r\nretry-after: 1",
                "/moved" => "302 Found\r\nlocation: /a?token=hush-location",
                "/broken" => "500 Internal Server Error",
                _ => "200 OK",
            };
            let answer = format!(
                "HTTP/1.1 {answer}\r\nset-cookie: s=hush-set\r\nx-limit: hush-many\r\nwww-authenticate: Bearer hush\r\n\
                 content-type: application/json\r\ncontent-length: 21\r\n\r\n{{\"token\":\"hush-body\"}}"
            );
            peer.write(answer).await?;
        }
    })
    .await
}

/// Everything that a caller can carry.
fn lines(key: &str) -> String {
    format!(
        "headroom-key: {key}\r\nAuthorization: Bearer hush-token\r\nCookie: s=hush-cookie\r\n\
         Proxy-Authorization: Basic {}\r\nX-Api-Key: hush-key\r\nX-Auth-Token: hush-token\r\nContent-Type: application/json\r\n",
        STANDARD.encode("hush-proxy:hush-proxy")
    )
}

/// A call with a secret in its query, its fields and its body.
async fn call(program: &Program, method: &str, target: &str, key: &str) -> String {
    let body = "{\"password\":\"hush-body\"}";
    let mut caller = Caller::connect(program.address()).await;
    let request = format!(
        "{method} {target}?access_token=hush-query&key=hush HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}Content-Length: {}\r\n\r\n{body}",
        lines(key),
        body.len()
    );
    caller.write(request).await;
    caller.rest().await
}

fn config(
    upstream: &Upstream,
    receiver: &Upstream,
    collector: &Upstream,
) -> (tempfile::TempDir, String) {
    let policies = "[policy.hourly]\nquota = 6\nwindow = \"1h\"\nkind = \"fixed\"\nlimit = \"x-limit\"\n\
        [policy.each]\nquota = 100\nwindow = \"1h\"\nkind = \"fixed\"\npartition = [\"credential\"]\n";
    let (folder, config) = stub(
        upstream,
        policies,
        "mode = \"enforce\"\ncredential = \"hush-credential\"",
    );
    let [admin, reports, _] = keys().map(|key| to_hex(&hash_key(&key)));
    let config = format!(
        "{config}[telemetry]\notlp_endpoint = \"{}\"\n[admin]\nkey_hash = \"{admin}\"\n\
         [consumers.reports]\nkey_hash = \"{reports}\"\n\
         [[webhooks]]\nurl = \"{}/hush/hook?token=hush\"\nsecret = \"{}\"\n",
        collector.base_url(),
        receiver.base_url(),
        signing_secret()
    );
    (folder, config)
}

fn signal(program: &Program, name: &str) {
    let sent = Command::new("kill")
        .args([name, &program.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// All files below a folder, as bytes.
fn files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_any_output_of_a_run() {
    let taken = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}";
    let upstream = provider().await;
    let receiver = Upstream::answering(taken).await;
    let collector = Upstream::answering(taken).await;
    let (folder, config) = config(&upstream, &receiver, &collector);
    let stdout = folder.path().join("stdout");
    let mut command = headroom(folder.path());
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("HEADROOM_LOG", "trace")
        .env("RUST_BACKTRACE", "1")
        .env("ELSEWHERE", "hush-elsewhere")
        .stdout(Stdio::from(File::create(&stdout).unwrap()));
    let mut program = Program::launch(command, folder.path(), &config);
    let [admin, reports, wrong] = keys();

    // Answered, failed, refused by the provider, without a provider, by headroom, and by its checks.
    for (method, target) in [
        ("POST", "/stub/ok"),
        ("POST", "/stub/broken"),
        ("GET", "/stub/moved"),
        ("POST", "/stub/short"),
        ("POST", "/stub/reset"),
        ("POST", "/stub/garbage"),
        ("GET", "/stub/refused"),
        ("GET", "/stub/ok"),
        ("GET", "/stub/ok"),
        ("GET", "/stub/../ok"),
        ("GET", "/nobody/ok"),
        ("TRACE", "/stub/ok"),
    ] {
        let answer = call(&program, method, target, &reports).await;
        if answer.contains("application/problem+json") {
            assert_silent(body(&answer).as_bytes(), target);
        }
    }
    let refused = call(&program, "GET", "/stub/ok", &wrong).await;
    assert_eq!(status(&refused), 401);
    assert_silent(refused.as_bytes(), "the refusal of a key");
    let basic = STANDARD.encode("hush-user:hush-password");
    for line in [
        format!("Authorization: Basic {basic}"),
        "Authorization: hush".to_owned(),
    ] {
        let refused = program.get("/stub/ok", &format!("{line}\r\n")).await;
        assert_silent(refused.as_bytes(), "the refusal of nobody");
    }
    // Over HTTP/2, and gone in the middle.
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls())
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let url = format!("http://{}/stub/ok?token=hush-query", program.address());
    let sent = client
        .post(url)
        .header("headroom-key", &reports)
        .bearer_auth("hush-token");
    let _answered = sent
        .header("cookie", "s=hush")
        .body("hush-body")
        .send()
        .await
        .unwrap();
    let mut gone = Caller::connect(program.address()).await;
    let head = format!(
        "GET /stub/silent?hush HTTP/1.1\r\nHost: localhost\r\n{}\r\n",
        lines(&reports)
    );
    gone.write(head).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    gone.stream.shutdown().await.unwrap();
    drop(gone);
    program.get("/stub/%hush", "").await;
    let mut bad = Caller::connect(program.address()).await;
    bad.write("GET /hush HTTP/1.1\r\nHost: localhost\r\nhush hush\r\n\r\n")
        .await;
    assert_silent(bad.rest().await.as_bytes(), "the answer to garbage");

    // A bad file, and one that is good again.
    let file = folder.path().join("headroom.toml");
    for bad in broken() {
        fs::write(&file, &bad).unwrap();
        signal(&program, "-HUP");
        program.wait_for_line("The files have mistakes");
        let mut check = headroom(folder.path());
        check.arg("check").env("ELSEWHERE", "hush-elsewhere");
        let checked = check.output().unwrap();
        assert_eq!(checked.status.code(), Some(1), "{bad}");
        assert_silent(&checked.stdout, "the mistakes of a file");
        assert_silent(&checked.stderr, "the mistakes of a file");
    }
    fs::write(&file, &config).unwrap();
    signal(&program, "-HUP");
    program.wait_for_line("was read again");

    // What stands on the pages, for whoever may see all.
    for page in [
        "/-/",
        "/-/quota",
        "/-/usage?by=consumer,endpoint,status&last=24h",
        "/-/usage?by=consumer,policy&format=csv",
        "/-/usage?by=consumer,endpoint&format=csv",
        "/-/events?limit=1000",
        "/-/advice",
        "/-/metrics",
        "/-/readyz",
        "/-/healthz",
        "/-/nothing",
    ] {
        let answer = program
            .get(page, &format!("headroom-key: {admin}\r\n"))
            .await;
        assert_silent(answer.as_bytes(), page);
        if page.starts_with("/-/events") {
            assert!(answer.contains("/refused"), "{answer}");
        }
    }
    for arguments in [&["quota", "--json"][..], &["usage", "--json"], &["quota"]] {
        let url = format!("http://{}", program.address());
        let asked = headroom(folder.path())
            .args(arguments)
            .args(["--url", &url])
            .env("HEADROOM_KEY", &wrong)
            .output()
            .unwrap();
        assert_ne!(asked.status.code(), Some(0));
        assert_silent(&asked.stderr, "a refused command");
        let asked = headroom(folder.path())
            .args(arguments)
            .args(["--url", &url, "--key", &admin])
            .output()
            .unwrap();
        assert_eq!(asked.status.code(), Some(0), "{asked:?}");
        assert_silent(&asked.stdout, "a command");
    }

    // The webhook is told, at its URL, and the collector.
    let deadline = headroom::clock::monotonic() + PATIENCE;
    while receiver.requests().is_empty() {
        assert!(headroom::clock::monotonic() < deadline, "no webhook");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    signal(&program, "-TERM");
    program.wait_for_line("headroom has stopped");
    // What it has to tell last, it tells after that.
    assert!(program.wait().success());
    assert!(!collector.requests().is_empty());
    for request in collector.requests() {
        assert_silent(request.as_bytes(), "a trace");
    }
    for request in receiver.requests() {
        let (_, rest) = request.split_once("\r\n").unwrap();
        assert_silent(rest.as_bytes(), "a webhook");
    }
    let told = program.told();
    assert!(told.contains("TRACE") || told.contains("DEBUG"), "{told}");
    assert_silent(told.as_bytes(), "the log");
    assert_silent(&fs::read(&stdout).unwrap(), "stdout");
    let mut kept = Vec::new();
    files(&folder.path().join("home"), &mut kept);
    assert!(!kept.is_empty());
    for (path, bytes) in kept {
        assert_silent(&bytes, &path);
    }
}

/// Files whose lines of secrets have mistakes in them, or beside them.
fn broken() -> Vec<String> {
    let [key, ..] = keys();
    let secret = signing_secret();
    vec![
        format!("[admin]\nkey_hash = \"{key}\"\n"),
        format!("[consumers.a]\nkey_hash = \"{key}\"\n"),
        "listen = \"${ELSEWHERE}\"\n".to_owned(),
        "[connections.a]\nprovider = \"toggl\"\ncredentail = \"hush\"\n".to_owned(),
        "[connections.a]\nprovider = \"toggl\"\nbase_url = \"https://user:hush@api.example\"\n".to_owned(),
        "[connections.a]\nprovider = \"toggl\"\nbase_url = \"ftp://user:hush@api.example\"\n".to_owned(),
        "[connections.a]\nprovider = \"toggl\"\nbase_url = \"https://user:hush@api.example:99999\"\n".to_owned(),
        "[telemetry]\notlp_endpoint = \"http://user:hush@127.0.0.1:4318?x\"\n".to_owned(),
        format!("webhooks = [{{ url = \"https://a.example\", secret = \"{secret}\", more = 1 }}]\n"),
        "[[webhooks]]\nurl = \"ftp://a.example/hush\"\nsecret = \"whsec_hush\"\nmore = 1\n".to_owned(),
    ]
}

/// A client that trusts nobody; it is only asked in plain text.
fn tls() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// What is written out for whoever looks into the program.
#[test]
fn no_secret_is_in_what_debug_shows() {
    use headroom::config::{Outside, parse};
    struct Nothing;
    impl Outside for Nothing {
        fn variable(&self, _: &str) -> Option<String> {
            Some("hush".to_owned())
        }
        fn file(&self, _: &str) -> Result<String, String> {
            Ok("hush".to_owned())
        }
    }
    let source = format!(
        "[[webhooks]]\nurl = \"https://a.example/hush?hush\"\nsecret = \"{}\"\n[telemetry]\notlp_endpoint = \"http://user:hush@127.0.0.1:4318\"\n",
        signing_secret()
    );
    let (config, mistakes) = parse(&source, &Nothing);
    for text in [
        format!("{config:?}"),
        format!("{config:#?}"),
        format!("{mistakes:?}"),
    ] {
        assert_silent(text.as_bytes(), "debug");
    }
}
