//! TLS towards callers: `[tls]`.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use headroom::identity;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::exchange::{OK, body, fields, status};
use crate::support::program::{Program, get, headroom, request, stub};
use crate::support::upstream::Upstream;

/// Some policy: an adapter has one.
pub(crate) const POLICY: &str = "[policy.hourly]\nquota = 1000\nwindow = \"1h\"";
const TLS: &str = "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n";

/// Puts a pair of the tests' own into the places that `TLS` names.
fn show(folder: &Path, pair: &str) {
    for (file, kind) in [("cert.pem", "pem"), ("key.pem", "key")] {
        // In one step, as whoever renews certificates should.
        let next = folder.join("next");
        fs::copy(format!("tests/support/tls/{pair}.{kind}"), &next).unwrap();
        fs::rename(next, folder.join(file)).unwrap();
    }
}

/// A connection to headroom, trusting this certificate, with these protocols on offer.
async fn connect(
    address: SocketAddr,
    root: &str,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let text = fs::read_to_string(format!("tests/support/tls/{root}.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(identity::certificates(&text).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|one| one.as_bytes().to_vec())
        .collect();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::from(address.ip());
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// A call over HTTP/1.1 and TLS, on a connection of its own.
async fn get_secure(address: SocketAddr, root: &str, target: &str) -> std::io::Result<String> {
    let mut stream = connect(address, root, &["http/1.1"]).await?;
    stream
        .write_all(request(address, target, "").as_bytes())
        .await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Headroom with TLS before a provider that answers this.
async fn secure(answer: &str, connection: &str) -> (Upstream, TempDir, Program, String) {
    let upstream = Upstream::answering(answer).await;
    let (folder, config) = stub(&upstream, POLICY, connection);
    show(folder.path(), "server");
    let (first, rest) = config.split_once('\n').unwrap();
    let config = format!("{first}\n{TLS}{rest}");
    let program = Program::start(folder.path(), &config);
    (upstream, folder, program, config)
}

#[tokio::test]
async fn all_addresses_speak_tls_in_both_protocols() {
    let (_upstream, _folder, program, _) = secure(OK, "listen = \"127.0.0.1:0\"").await;
    for (address, target) in program.addresses.iter().zip(["/stub/", "/"]) {
        let answer = get_secure(*address, "authority", target).await.unwrap();
        assert_eq!(status(&answer), 200, "{answer}");
        // What no protocol was agreed on is HTTP/1.1.
        assert!(connect(*address, "authority", &[]).await.is_ok());
        let stream = connect(*address, "authority", &["h2", "http/1.1"])
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let io = TokioIo::new(stream);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
                .await
                .unwrap();
        tokio::spawn(connection);
        let uri = format!("https://{address}{target}");
        let request = Request::get(uri)
            .body(Empty::<bytes::Bytes>::new())
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap();
        // A protocol that headroom does not speak is no handshake.
        assert!(connect(*address, "authority", &["smtp"]).await.is_err());
    }
}

#[tokio::test]
async fn links_lead_back_over_tls() {
    let upstream = Upstream::scripted(|mut peer, _| async move {
        let request = peer.request().await?;
        let host = request.lines().find_map(|line| line.strip_prefix("host: "));
        let location = format!("http://{}/next", host.unwrap());
        let head =
            format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        peer.write(head).await
    })
    .await;
    let (folder, config) = stub(&upstream, POLICY, "");
    show(folder.path(), "server");
    let (first, rest) = config.split_once('\n').unwrap();
    let program = Program::start(folder.path(), &format!("{first}\n{TLS}{rest}"));
    let address = program.address();
    let answer = get_secure(address, "authority", "/stub/").await.unwrap();
    let expected = format!("https://{address}/stub/next");
    assert_eq!(fields(&answer, "location"), [expected], "{answer}");
}

#[tokio::test]
async fn who_speaks_http_to_it_is_told_and_who_says_nothing_is_let_go() {
    let upstream = Upstream::answering(OK).await;
    let (folder, config) = stub(&upstream, POLICY, "");
    show(folder.path(), "server");
    let (first, rest) = config.split_once('\n').unwrap();
    let config = format!("{first}\n{TLS}[limits]\nhead_timeout = \"1s\"\n{rest}");
    let program = Program::start(folder.path(), &config);
    let answer = get(program.address(), "/stub/", "").await;
    assert_eq!(status(&answer), 400, "{answer}");
    assert!(body(&answer).contains("https://"), "{answer}");
    for beginning in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let mut stream = TcpStream::connect(program.address()).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        let mut rest = Vec::new();
        let reading = stream.read_to_end(&mut rest);
        // However it ends, it does.
        let _ = tokio::time::timeout(Duration::from_secs(10), reading)
            .await
            .unwrap();
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn a_certificate_is_replaced_while_it_runs_and_a_bad_pair_is_not() {
    let (_upstream, folder, program, _) = secure(OK, "").await;
    let address = program.address();
    let mut before = connect(address, "authority", &["http/1.1"]).await.unwrap();
    show(folder.path(), "other");
    program.wait_for_line("was read again");
    let answer = get_secure(address, "other", "/stub/").await.unwrap();
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(get_secure(address, "authority", "/stub/").await.is_err());
    // Who was there keeps its connection.
    let call = request(address, "/stub/", "");
    before.write_all(call.as_bytes()).await.unwrap();
    let mut answer = String::new();
    before.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), 200, "{answer}");
    // A key that does not fit.
    fs::copy(
        "tests/support/tls/server.key",
        folder.path().join("key.pem"),
    )
    .unwrap();
    program.wait_for_line("it is the key of another certificate");
    assert!(get_secure(address, "other", "/stub/").await.is_ok());
    show(folder.path(), "server");
    program.wait_for(|lines| {
        let read = lines.iter().filter(|line| line.contains("was read again"));
        (read.count() == 2).then_some(())
    });
    assert!(get_secure(address, "authority", "/stub/").await.is_ok());
}

fn healthcheck(folder: &Path, address: SocketAddr, certificate: &str) -> Output {
    let certificate = fs::canonicalize(format!("tests/support/tls/{certificate}.pem")).unwrap();
    let mut command: Command = headroom(folder);
    command.args(["healthcheck", "--listen", &address.to_string()]);
    command
        .arg("--certificate")
        .arg(certificate)
        .output()
        .unwrap()
}

#[tokio::test]
async fn its_health_is_checked_over_tls_by_its_own_certificate_alone() {
    let (_upstream, folder, program, _) = secure(OK, "").await;
    let healthy = healthcheck(folder.path(), program.address(), "server");
    assert!(healthy.status.success(), "{healthy:?}");
    assert_eq!(healthy.stdout, b"ready\n");
    let another = healthcheck(folder.path(), program.address(), "other");
    assert_eq!(another.status.code(), Some(1), "{another:?}");
}

#[tokio::test]
async fn commands_ask_over_tls_whom_the_file_vouches_for() {
    let (_upstream, folder, program, _) = secure(OK, "").await;
    let url = format!("https://{}", program.address());
    let ask = |command: &str, url: &str, root: Option<&str>| {
        let mut asking = headroom(folder.path());
        asking.args([command, "--url", url]);
        if let Some(root) = root {
            let file = fs::canonicalize(format!("tests/support/tls/{root}.pem")).unwrap();
            match command {
                // In both ways.
                "quota" => asking.env("HEADROOM_CA_FILE", file),
                _ => asking.arg("--ca-file").arg(file),
            };
        }
        asking.output().unwrap()
    };
    for command in ["quota", "usage", "top", "healthcheck"] {
        let trusted = ask(command, &url, Some("authority"));
        assert!(trusted.status.success(), "{command}: {trusted:?}");
        for root in [None, Some("other")] {
            let strange = ask(command, &url, root);
            assert!(!strange.status.success(), "{command}: {strange:?}");
            let told = String::from_utf8_lossy(&strange.stderr).to_lowercase();
            assert!(told.contains("certificate"), "{command}: {told}");
        }
    }
    // Where nobody shows a certificate, the file is not looked at: it is for the gateway itself.
    let upstream = Upstream::answering(OK).await;
    let (plain, config) = stub(&upstream, POLICY, "");
    let program = Program::start(plain.path(), &config);
    let url = format!("http://{}", program.address());
    for command in ["quota", "usage", "top", "healthcheck"] {
        let mut asking = headroom(plain.path());
        asking.args([command, "--url", &url, "--ca-file", "absent.pem"]);
        let answer = asking.output().unwrap();
        assert!(answer.status.success(), "{command}: {answer:?}");
    }
    let mut asking = headroom(plain.path());
    asking.args(["healthcheck", "--url", "ftp://127.0.0.1:1/"]);
    assert_eq!(asking.output().unwrap().status.code(), Some(2));
}
