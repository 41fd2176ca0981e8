//! Clients that people use, against the program itself: vendor SDKs page, follow and wait through headroom, and nothing of
//! theirs goes around it.
//!
//! `tests/clients/install` installs them. Where they are missing, these tests say so and pass, unless `HEADROOM_CLIENTS`
//! is `required`.

mod github;
mod refused;

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{env, fs, io, thread};

use tempfile::TempDir;

use crate::exchange::{OK, body, fields};
use crate::support::program::Program;
use crate::support::upstream::Upstream;

/// `headroom serve`, which ends with the test.
struct Headroom {
    program: Program,
    _folder: TempDir,
}

impl Headroom {
    /// Serves one connection, with the shipped adapter of that name, to this upstream.
    fn before(upstream: &Upstream, connection: &str) -> Self {
        Self::with(upstream, connection, "")
    }

    /// The same, with these lines in the connection's configuration, and a port of the connection's own.
    fn with(upstream: &Upstream, connection: &str, lines: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base_url = upstream.base_url();
        let config = format!(
            "[connections.{connection}]\nbase_url = \"{base_url}\"\nlisten = \"127.0.0.1:0\"\n{lines}\n"
        );
        Self {
            program: Program::start(folder.path(), &config),
            _folder: folder,
        }
    }

    /// The two addresses of a connection: by path and by host.
    fn mounts(&self, connection: &str) -> [String; 2] {
        let port = self.program.address().port();
        [
            format!("http://127.0.0.1:{port}/{connection}"),
            format!("http://{connection}.localhost:{port}"),
        ]
    }

    /// The port that is the connection's own.
    fn own_port(&self) -> u16 {
        self.program.addresses[1].port()
    }
}

/// Longer than any client here needs, with its waiting and on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command that goes straight to where it is told, by no proxy of the environment.
pub(crate) fn direct(program: &str) -> Command {
    let mut command = Command::new(program);
    for name in ["http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
    command
}

/// Runs a command to its end, which must be a good one, and gives what it printed.
pub(crate) async fn run(mut command: Command, input: &'static [u8]) -> String {
    let run = move || {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("output");
        let output = File::create(&file).unwrap();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that has failed already does not read it.
        let writing = thread::spawn(move || stdin.write_all(input).is_ok());
        let step = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if waited > PATIENCE {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            thread::sleep(step);
            waited += step;
        };
        writing.join().unwrap();
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        match status {
            Some(status) if status.success() => Ok(text),
            _ => Err(format!("{status:?} of {command:?}\n{text}")),
        }
    };
    let ended = tokio::task::spawn_blocking(run).await.unwrap();
    ended.unwrap_or_else(|failure| panic!("{failure}"))
}

/// Where `tests/clients/install` puts them.
fn folder() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("clients")
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

fn python() -> Command {
    let mut command = direct("python3");
    command
        .env("PYTHONPATH", folder().join("python"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Scripts come on stdin, so that what they import is looked up from the working folder.
fn node() -> Command {
    let mut command = direct("node");
    command
        .arg("--import")
        .arg(scripts().join("localhost.mjs"))
        .arg("--input-type=module")
        .current_dir(folder());
    command
}

fn curl() -> Command {
    let mut command = direct("curl");
    // No configuration of the user's; errors are told, progress is not.
    command.args(["-q", "-sS", "--max-time", "60"]);
    command
}

/// The client works here. Otherwise its test has nothing to do, where clients are not required.
pub(crate) fn is_installed(client: &str, how: &str, probe: &mut Command) -> bool {
    let works = probe.output().is_ok_and(|output| output.status.success());
    if !works {
        let missing = format!("{client} is not installed: {how}");
        let required = env::var("HEADROOM_CLIENTS").is_ok_and(|policy| policy == "required");
        assert!(!required, "{missing}");
        // Not eprintln!, which is kept back when a test passes.
        let mut stderr = io::stderr();
        writeln!(stderr, "skipped, {missing}").unwrap();
    }
    works
}

const INSTALL: &str = "run tests/clients/install, which puts it into target/clients";

fn has_python(package: &str) -> bool {
    let import = format!("import {package}");
    is_installed(package, INSTALL, python().arg("-c").arg(import))
}

fn has_node(package: &str) -> bool {
    let import = format!("import {package:?}");
    is_installed(package, INSTALL, node().arg("--eval").arg(import))
}

fn has_curl() -> bool {
    let mut probe = curl();
    probe.args(["--http2", "--version"]);
    is_installed("curl with HTTP/2", "take it from your system", &mut probe)
}

/// Every request came through headroom, with the caller's credential. Gives their methods and targets.
fn through_headroom(upstream: &Upstream, credential: &str) -> Vec<String> {
    let requests = upstream.requests();
    for request in &requests {
        assert_eq!(fields(request, "via"), ["1.1 headroom"], "{request}");
        assert_eq!(fields(request, "authorization"), [credential], "{request}");
        assert_eq!(
            fields(request, "host"),
            [upstream.address.to_string()],
            "{request}"
        );
    }
    let line = |request: &String| {
        let mut words = request.split(' ');
        format!("{} {}", words.next().unwrap(), words.next().unwrap())
    };
    requests.iter().map(line).collect()
}

#[tokio::test]
async fn pygithub_pages_follows_and_waits() {
    if !has_python("github") {
        return;
    }
    for mount in 0..2 {
        let upstream = github::upstream().await;
        let headroom = Headroom::before(&upstream, "github");
        let mut command = python();
        command
            .arg(scripts().join("pygithub.py"))
            .arg(&headroom.mounts("github")[mount]);
        run(command, b"").await;
        assert_eq!(
            through_headroom(&upstream, "token secret"),
            [
                "GET /orgs/acme",
                "GET /orgs/acme/repos?per_page=2",
                "GET /orgs/acme/repos?page=2&per_page=2",
                "GET /repos/acme/three",
                "GET /repos/acme/one/issues?per_page=2",
                "GET /repos/acme/one/issues?page=2&per_page=2",
                "GET /repos/acme/one/issues/1",
                "GET /repos/acme/one",
                "GET /repos/acme/moved",
                "GET /repositories/1",
                "POST /repos/acme/one/issues",
                "GET /rate_limit",
                "GET /repos/acme/limited",
                "GET /repos/acme/limited",
            ]
        );
    }
}

#[tokio::test]
async fn octokit_pages_follows_and_waits() {
    if !has_node("@octokit/rest") {
        return;
    }
    for mount in 0..2 {
        let upstream = github::upstream().await;
        let headroom = Headroom::before(&upstream, "github");
        let mut command = node();
        command.arg("-").arg(&headroom.mounts("github")[mount]);
        run(command, include_bytes!("clients/octokit.mjs")).await;
        assert_eq!(
            through_headroom(&upstream, "token secret"),
            [
                "GET /orgs/acme/repos?per_page=2",
                "GET /orgs/acme/repos?per_page=2&page=2",
                "GET /repos/acme/three",
                "GET /repos/acme/one/issues?per_page=2",
                "GET /repos/acme/one/issues?per_page=2&page=2",
                "GET /repos/acme/moved",
                "GET /repositories/1",
                "POST /repos/acme/one/issues",
                "GET /repos/acme/limited",
                "GET /repos/acme/limited",
                "GET /repos/acme/busy",
                "GET /repos/acme/busy",
            ]
        );
    }
}

/// A provider whose quota is used up at the first call, and there again at the next.
async fn toggl() -> Upstream {
    let refused = Arc::new(AtomicBool::new(false));
    Upstream::scripted(move |mut peer, _| {
        let refused = Arc::clone(&refused);
        async move {
            loop {
                peer.request().await?;
                let (status, remaining) = if !refused.swap(true, Ordering::SeqCst) {
                    ("402 Payment Required", 0)
                } else {
                    ("200 OK", 29)
                };
                peer.write(format!(
                    "HTTP/1.1 {status}\r\nx-toggl-quota-remaining: {remaining}\r\nx-toggl-quota-resets-in: 1\r\ncontent-length: 2\r\n\r\n[]"
                ))
                .await?;
            }
        }
    })
    .await
}

/// The client gets a 402 as a 429 that it understands, waits, and succeeds.
async fn waits_for_toggl(client: impl Fn() -> Command, input: &'static [u8]) {
    for mount in 0..2 {
        let upstream = toggl().await;
        let headroom = Headroom::before(&upstream, "toggl");
        let mut command = client();
        command.arg(&headroom.mounts("toggl")[mount]);
        run(command, input).await;
        assert_eq!(
            // `secret:api_token`.
            through_headroom(&upstream, "Basic c2VjcmV0OmFwaV90b2tlbg=="),
            ["GET /api/v9/workspaces/1/projects"; 2]
        );
    }
}

#[tokio::test]
async fn urllib3_waits_for_a_translated_refusal() {
    if !has_python("requests") {
        return;
    }
    let client = || {
        let mut command = python();
        command.arg(scripts().join("urllib3_retry.py"));
        command
    };
    waits_for_toggl(client, b"").await;
}

#[tokio::test]
async fn ky_waits_for_a_translated_refusal() {
    if !has_node("ky") {
        return;
    }
    waits_for_toggl(from_stdin, include_bytes!("clients/ky.mjs")).await;
}

#[tokio::test]
async fn got_waits_for_a_translated_refusal() {
    if !has_node("got") {
        return;
    }
    waits_for_toggl(from_stdin, include_bytes!("clients/got.mjs")).await;
}

fn from_stdin() -> Command {
    let mut command = node();
    command.arg("-");
    command
}

/// A body that curl reads from stdin, in several reads.
static UPLOAD: [u8; 100_000] = [b'u'; 100_000];

#[tokio::test]
async fn curl_speaks_each_way_that_it_can() {
    if !has_curl() {
        return;
    }
    for mount in 0..2 {
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let upstream = Upstream::answering(OK).await;
            let headroom = Headroom::before(&upstream, "toggl");
            let url = format!("{}/api/v9/me?a=%2F&b='", headroom.mounts("toggl")[mount]);
            let call = |arguments: &[&str]| {
                let mut command = curl();
                command
                    .args([version, "-w", "\n%{http_version} %{http_code}"])
                    .args(arguments)
                    .arg(&url);
                command
            };
            let (spoken, via) = if version == "--http1.1" {
                ("1.1", "1.1 headroom")
            } else {
                ("2", "2 headroom")
            };
            let ok = format!("ok\n{spoken} 200");

            assert_eq!(run(call(&[]), b"").await, ok);
            let head = run(call(&["--head"]), b"").await;
            assert!(head.contains("\r\ncontent-length: 2\r\n"), "{head}");
            assert!(head.ends_with(&format!("\r\n\r\n\n{spoken} 200")), "{head}");
            // Of unknown length; of known length, which the caller may be patient to send (hyper does not answer an
            // `Expect` on HTTP/2, and curl sends none there by itself).
            assert_eq!(run(call(&["-T", "-"]), &UPLOAD).await, ok);
            let mut known = vec!["--data-binary", "@-"];
            assert_eq!(run(call(&known), &UPLOAD).await, ok);
            if spoken == "1.1" {
                // Without the leave to go on, this would end by `--max-time`.
                known.extend(["-H", "expect: 100-continue", "--expect100-timeout", "100"]);
            }
            assert_eq!(run(call(&known), &UPLOAD).await, ok);
            assert_eq!(run(call(&["-X", "DELETE"]), b"").await, ok);

            let requests = upstream.requests();
            let lines: Vec<&str> = requests
                .iter()
                .map(|request| request.split("\r\n").next().unwrap())
                .collect();
            let target = "/api/v9/me?a=%2F&b='";
            assert_eq!(
                lines,
                ["GET", "HEAD", "PUT", "POST", "POST", "DELETE"]
                    .map(|method| format!("{method} {target} HTTP/1.1"))
            );
            for request in &requests {
                assert_eq!(fields(request, "via"), [via], "{request}");
            }
            assert_eq!(fields(&requests[2], "transfer-encoding"), ["chunked"]);
            assert_eq!(
                body(&requests[2]).matches('u').count(),
                UPLOAD.len(),
                "what the chunks hold"
            );
            for request in &requests[3..5] {
                assert_eq!(fields(request, "content-length"), ["100000"]);
                assert_eq!(body(request).as_bytes(), UPLOAD);
            }
        }
    }
}

#[tokio::test]
async fn curl_cannot_climb_out_of_a_connection() {
    if !has_curl() {
        return;
    }
    let upstream = Upstream::answering(OK).await;
    let headroom = Headroom::before(&upstream, "toggl");
    for mount in headroom.mounts("toggl") {
        for path in [
            "/../-/",
            "/api/../../x",
            "/api/..",
            "/%2e%2E/x",
            "/a/.%2e?b",
        ] {
            for version in ["--http1.1", "--http2-prior-knowledge"] {
                let mut command = curl();
                command
                    .args([version, "--path-as-is", "-w", "\n%{http_code}"])
                    .arg(format!("{mount}{path}"));
                let answer = run(command, b"").await;
                assert!(answer.ends_with("\n400"), "{path}: {answer}");
            }
        }
    }
    assert_eq!(upstream.requests(), [""; 0]);
}

#[tokio::test]
async fn the_reference_library_takes_what_headroom_signs() {
    if !has_node("standardwebhooks") {
        return;
    }
    let (old, new) = (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    );
    let upstream = Upstream::answering(OK).await;
    let receiver = Upstream::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let lines = format!(
        "mode = {{ organization = \"enforce\", burst = \"observe\" }}\nquotas = {{ organization = 5 }}\n[[webhooks]]\nurl = \"{}/hook\"\nsecret = \"{new} {old}\"\n",
        receiver.base_url()
    );
    let headroom = Headroom::with(&upstream, "toggl", &lines);
    for _ in 0..4 {
        let answer = headroom
            .program
            .get("/toggl/api/v9/workspaces/1/projects", "")
            .await;
        assert_eq!(crate::exchange::status(&answer), 200, "{answer}");
    }
    while receiver.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let request = receiver.request();
    let field = |name: &str| fields(&request, name)[0].to_owned();
    let mut command = node();
    command
        .arg("-")
        .arg(format!("{new} {old}"))
        .args([
            field("webhook-id"),
            field("webhook-timestamp"),
            field("webhook-signature"),
        ])
        .arg(body(&request));
    let printed = run(command, include_bytes!("clients/webhook.mjs")).await;
    assert_eq!(printed.trim(), "verified");
}
