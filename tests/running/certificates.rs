//! What headroom shows providers and whom it trusts there: client certificates, and authorities beside the system's.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::exchange::{OK, body, fields, status};
use crate::running::tls::POLICY;
use crate::support::harness::Caller;
use crate::support::program::{Program, headroom, stub};
use crate::support::upstream::Upstream;

fn der(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(format!("tests/support/tls/{name}.pem")).unwrap()
}

/// A provider over TLS, and whom it has seen: for each connection, the certificate that it was shown.
struct Provider {
    port: u16,
    seen: Arc<Mutex<Vec<Option<&'static str>>>>,
}

impl Provider {
    /// It wants to be shown a certificate, or goes on without one too. Its answers say whose it was.
    async fn new(is_required: bool, answer: fn(&str) -> String) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates([der("other"), der("client")]);
        let provider = Arc::new(default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let verifier = if is_required {
            verifier.build()
        } else {
            verifier.allow_unauthenticated().build()
        };
        let key = PrivateKeyDer::from_pem_file("tests/support/tls/server.key").unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.unwrap())
            .with_single_cert(vec![der("server")], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, all) = (acceptor.clone(), Arc::clone(&all));
                tokio::spawn(async move {
                    match acceptor.accept(stream).into_fallible().await {
                        Ok(stream) => converse(stream, &all, answer).await,
                        // Its alert is there to be read: it does not close before the other side does.
                        Err((_, mut stream)) => {
                            let mut rest = Vec::new();
                            let _ = stream.read_to_end(&mut rest).await;
                        }
                    }
                });
            }
        });
        Self { port, seen }
    }

    async fn demanding() -> Self {
        Self::new(true, |who| {
            let length = who.len();
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{who}")
        })
        .await
    }

    fn seen(&self) -> Vec<Option<&'static str>> {
        self.seen.lock().unwrap().clone()
    }
}

/// Answers calls for as long as they come.
async fn converse(
    mut stream: TlsStream<TcpStream>,
    all: &Mutex<Vec<Option<&'static str>>>,
    answer: fn(&str) -> String,
) {
    let shown = stream.get_ref().1.peer_certificates();
    let who = shown.map(|chain| {
        let known = ["other", "client"].into_iter();
        known.max_by_key(|name| der(name) == chain[0]).unwrap()
    });
    all.lock().unwrap().push(who);
    let mut call = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        call.push(byte);
        if call.ends_with(b"\r\n\r\n") {
            call.clear();
            let answer = answer(who.unwrap_or("nobody"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }
}

/// Puts a pair of the tests' own into this folder.
fn show(folder: &Path, pair: &str, names: [&str; 2]) {
    for (name, kind) in names.into_iter().zip(["pem", "key"]) {
        let next = folder.join("next");
        fs::copy(format!("tests/support/tls/{pair}.{kind}"), &next).unwrap();
        fs::rename(next, folder.join(name)).unwrap();
    }
}

/// A connection that shows the pair of these files.
fn connection(name: &str, port: u16, pair: Option<&str>) -> String {
    let shown = pair.map_or_else(String::new, |pair| {
        format!("client_certificate = \"{pair}.pem\"\nclient_key = \"{pair}.key\"\n")
    });
    format!(
        "[connections.{name}]\nprovider = \"stub\"\nbase_url = \"https://127.0.0.1:{port}\"\n{shown}"
    )
}

/// A folder with an adapter, two pairs and the authority that the provider is known by.
async fn folder() -> TempDir {
    let nobody = Upstream::answering(OK).await;
    let (folder, _) = stub(&nobody, POLICY, "");
    for pair in ["other", "client"] {
        let names = [format!("{pair}.pem"), format!("{pair}.key")];
        show(folder.path(), pair, [&names[0], &names[1]]);
    }
    trust(folder.path(), "authority");
    folder
}

/// Puts these certificates into the file of those that are trusted.
fn trust(folder: &Path, name: &str) {
    let next = folder.join("next");
    fs::copy(format!("tests/support/tls/{name}.pem"), &next).unwrap();
    fs::rename(next, folder.join("trusted.pem")).unwrap();
}

const HEAD: &str = "providers = [\"adapters\"]\nca_file = \"trusted.pem\"\n";

/// Waits until the files were read again so often.
fn wait_for_reloads(program: &Program, count: usize) {
    program.wait_for(|lines| {
        let read = lines.iter().filter(|line| line.contains("was read again"));
        (read.count() == count).then_some(())
    });
}

fn call(connection: &str) -> String {
    format!("GET /{connection}/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[tokio::test]
async fn a_certificate_is_shown_by_its_own_connection_alone() {
    let provider = Provider::demanding().await;
    let folder = folder().await;
    let config = [
        HEAD.to_owned(),
        connection("one", provider.port, Some("other")),
        connection("same", provider.port, Some("other")),
        connection("another", provider.port, Some("client")),
        connection("none", provider.port, None),
    ]
    .concat();
    let program = Program::start(folder.path(), &config);
    // One caller: what goes out for it is kept by one thread.
    let mut caller = Caller::connect(program.address()).await;
    for _ in 0..2 {
        for (name, who) in [("one", "other"), ("same", "other"), ("another", "client")] {
            caller.write(call(name)).await;
            let answer = caller.until(&format!("\r\n\r\n{who}")).await;
            assert_eq!(status(&answer), 200, "{name}: {answer}");
        }
        caller.write(call("none")).await;
        let answer = caller.until("}").await;
        assert_eq!(status(&answer), 502, "{answer}");
        assert_eq!(
            fields(&answer, "proxy-status"),
            ["headroom; error=tls_alert_received"]
        );
        assert!(answer.contains("`client_certificate`"), "{answer}");
    }
    // One identity, one connection that is kept.
    assert_eq!(provider.seen(), [Some("other"), Some("client")]);
    assert!(!program.told().contains("PRIVATE"), "{}", program.told());
}

/// Whoever asks for a certificate and is another origin is shown none.
#[tokio::test]
async fn a_token_endpoint_is_shown_none() {
    let provider = Provider::demanding().await;
    let tokens = Provider::new(false, |_| {
        let token = r#"{"access_token":"t","token_type":"bearer","expires_in":3600}"#;
        let length = token.len();
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{token}"
        )
    })
    .await;
    let folder = folder().await;
    let config = format!(
        "{HEAD}{}[connections.one.oauth2]\ntoken_url = \"https://127.0.0.1:{}/token\"\nclient_id = \"i\"\nclient_secret = \"s\"\n",
        connection("one", provider.port, Some("other")),
        tokens.port
    );
    let program = Program::start(folder.path(), &config);
    let answer = program.get("/one/", "").await;
    assert_eq!((status(&answer), body(&answer)), (200, "other"), "{answer}");
    assert_eq!(tokens.seen(), [None]);
}

/// What a page of another site makes a browser send is not vouched for by a certificate either.
#[tokio::test]
async fn other_sites_cannot_have_it_shown() {
    let provider = Provider::demanding().await;
    let folder = folder().await;
    let config = format!("{HEAD}{}", connection("one", provider.port, Some("other")));
    let program = Program::start(folder.path(), &config);
    let answer = program
        .get(
            "/one/",
            "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n",
        )
        .await;
    assert_eq!(status(&answer), 403, "{answer}");
    assert!(provider.seen().is_empty());
}

#[tokio::test]
async fn a_client_certificate_is_replaced_while_it_runs_and_a_bad_pair_is_not() {
    let provider = Provider::demanding().await;
    let folder = folder().await;
    let config = format!("{HEAD}{}", connection("one", provider.port, Some("shown")));
    let names = ["shown.pem", "shown.key"];
    show(folder.path(), "other", names);
    let program = Program::start(folder.path(), &config);
    assert_eq!(body(&program.get("/one/", "").await), "other");
    fs::copy("tests/support/tls/server.pem", folder.path().join(names[0])).unwrap();
    let line = program.wait_for_line("it is the key of another certificate");
    assert!(line.contains("bad-certificate"), "{line}");
    program.wait_for_line("headroom.toml:7:14");
    assert_eq!(body(&program.get("/one/", "").await), "other");
    show(folder.path(), "client", names);
    wait_for_reloads(&program, 1);
    assert_eq!(body(&program.get("/one/", "").await), "client");
}

#[tokio::test]
async fn authorities_are_replaced_while_it_runs_and_bad_ones_are_not() {
    let port = crate::exchange::tls::provider(&["h2"]).await;
    let folder = folder().await;
    let connection = connection("one", port, None);
    let token_port = Provider::new(false, |_| OK.to_owned()).await.port;
    let tokens = format!(
        "[connections.two]\nprovider = \"stub\"\nbase_url = \"https://127.0.0.1:{port}\"\noauth2 = {{ token_url = \"https://127.0.0.1:{token_port}/\", client_id = \"i\", client_secret = \"s\" }}\n"
    );
    let without = HEAD.lines().next().unwrap();
    for (config, flag) in [
        (format!("{HEAD}{connection}{tokens}"), &[][..]),
        (
            format!("{without}\n{connection}{tokens}"),
            &["--ca-file", "trusted.pem"],
        ),
    ] {
        trust(folder.path(), "other");
        let program = Program::with(folder.path(), &config, flag);
        let distrusted = async || {
            let answer = program.get("/one/", "").await;
            assert_eq!(status(&answer), 502, "{answer}");
            assert_eq!(
                fields(&answer, "proxy-status"),
                ["headroom; error=tls_certificate_error"]
            );
        };
        distrusted().await;
        trust(folder.path(), "authority");
        wait_for_reloads(&program, 1);
        assert_eq!(status(&program.get("/one/", "").await), 200);
        // A file that nobody can read changes nothing.
        fs::write(folder.path().join("trusted.pem"), "nonsense").unwrap();
        program.wait_for_line("what runs stays");
        assert_eq!(status(&program.get("/one/", "").await), 200);
        // Nor is what was opened before used for those that are not trusted any more.
        trust(folder.path(), "other");
        wait_for_reloads(&program, 2);
        distrusted().await;
    }
}

/// Authorities of one's own are beside the others, on a machine that has none too.
#[tokio::test]
async fn on_a_bare_machine_the_built_in_authorities_are_trusted_too() {
    let port = crate::exchange::tls::provider(&["h2"]).await;
    let folder = folder().await;
    let mut command = headroom(folder.path());
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("HEADROOM_LOG", "headroom=debug")
        .env("SSL_CERT_FILE", "/nowhere")
        .env("SSL_CERT_DIR", "/nowhere");
    let config = format!("{HEAD}{}", connection("one", port, None));
    let program = Program::launch(command, folder.path(), &config);
    program.wait_for_line("the built-in ones are used");
    assert_eq!(status(&program.get("/one/", "").await), 200);
}

/// Neither where it is used, nor where it does not fit, nor where no certificate was to be shown.
#[tokio::test]
async fn no_key_of_a_client_is_in_any_output() {
    let provider = Provider::demanding().await;
    let folder = folder().await;
    let names = ["shown.pem", "shown.key"];
    show(folder.path(), "other", names);
    let config = format!("{HEAD}{}", connection("one", provider.port, Some("shown")));
    let mut command = headroom(folder.path());
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("HEADROOM_LOG", "trace");
    let program = Program::launch(command, folder.path(), &config);
    let mut told = program.get("/one/", "").await;
    assert_eq!(body(&told), "other");
    // The key of another certificate, and one that is cut in the middle.
    fs::copy("tests/support/tls/client.key", folder.path().join(names[1])).unwrap();
    program.wait_for_line("it is the key of another certificate");
    let whole = fs::read_to_string("tests/support/tls/other.key").unwrap();
    let (half, _) = whole.split_at(whole.len() / 2);
    fs::write(folder.path().join(names[1]), half).unwrap();
    for command in ["check", "serve"] {
        let output = headroom(folder.path()).arg(command).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        told += &String::from_utf8_lossy(&[output.stdout, output.stderr].concat());
    }
    for page in ["", "quota", "events", "metrics", "readyz"] {
        told += &program.get(&format!("/-/{page}"), "").await;
    }
    told += &program.told();
    assert!(told.contains("TRACE"), "{told}");
    for name in ["other", "client"] {
        let key = fs::read_to_string(format!("tests/support/tls/{name}.key")).unwrap();
        let lines = key.lines().filter(|line| !line.starts_with("-----"));
        for piece in lines.flat_map(|line| line.as_bytes().chunks_exact(16)) {
            let piece = std::str::from_utf8(piece).unwrap();
            assert!(!told.contains(piece), "{name}: {piece}");
        }
    }
}
