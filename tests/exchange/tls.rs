//! Providers behind TLS: whom the gateway trusts, and HTTP/2 where the provider offers it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use headroom::gateway::{Settings, Trust};
use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::exchange::{body, fields, status};
use crate::support::harness::{Caller, Harness, PATIENCE};

/// TLS with a certificate for 127.0.0.1.
fn acceptor(protocols: &[&str]) -> TlsAcceptor {
    let chain = CertificateDer::from_pem_file("tests/support/tls/server.pem").unwrap();
    let key = PrivateKeyDer::from_pem_file("tests/support/tls/server.key").unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![chain], key)
    .unwrap();
    config.alpn_protocols = protocols
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec())
        .collect();
    TlsAcceptor::from(Arc::new(config))
}

/// A provider whose answers say what it saw.
pub(crate) async fn provider(protocols: &[&str]) -> u16 {
    let acceptor = acceptor(protocols);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not trust the certificate does not finish the handshake.
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service_fn(seen))
                        .await;
                }
            });
        }
    });
    port
}

async fn seen(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let target = head.uri.path_and_query().unwrap();
    let text = format!(
        "{} {target} {:?} {body:?} {:?}",
        head.method, head.version, head.headers
    );
    let mut response = Response::new(Full::new(Bytes::from(text)));
    if target == "/long-body" {
        *response.body_mut() = Full::new(Bytes::from(vec![b'x'; 16 << 20]));
    }
    if target == "/long-head" {
        for number in 0..150 {
            let name = HeaderName::try_from(format!("x-{number}")).unwrap();
            let value = HeaderValue::try_from("v".repeat(200)).unwrap();
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

fn trusting() -> Settings {
    let authority = CertificateDer::from_pem_file("tests/support/tls/authority.pem").unwrap();
    Settings {
        trust: Some(Trust::new(&[authority]).unwrap()),
        ..Settings::default()
    }
}

#[tokio::test]
async fn an_unknown_authority_is_not_trusted() {
    let port = provider(&["h2", "http/1.1"]).await;
    let gateway = Harness::new(&format!("https://127.0.0.1:{port}")).await;
    let answer = gateway.get("/crm/").await;
    assert_eq!(status(&answer), 502);
    assert_eq!(
        fields(&answer, "proxy-status"),
        ["headroom; error=tls_certificate_error"]
    );
}

#[tokio::test]
async fn a_certificate_is_for_its_own_host() {
    let port = provider(&["h2", "http/1.1"]).await;
    let gateway = Harness::with(&format!("https://localhost:{port}"), trusting()).await;
    let answer = gateway.get("/crm/").await;
    assert_eq!(
        fields(&answer, "proxy-status"),
        ["headroom; error=tls_certificate_error"]
    );
}

/// One connection carries them all (RFC 9113, section 5.2): what is sent ahead for those that take nothing must leave room.
#[tokio::test]
async fn callers_that_take_nothing_do_not_hold_up_others_over_http2() {
    let port = provider(&["h2"]).await;
    let gateway = Harness::with(&format!("https://127.0.0.1:{port}"), trusting()).await;
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let mut caller = Caller::connect(gateway.address).await;
        caller
            .write("GET /crm/long-body HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        caller.until("\r\n\r\n").await;
        stuck.push(caller);
    }
    for _ in 0..50 {
        let answer = tokio::time::timeout(PATIENCE, gateway.get("/crm/short")).await;
        let answer = answer.expect("the others go on");
        assert!(body(&answer).starts_with("GET /short HTTP/2.0"), "{answer}");
    }
}

#[tokio::test]
async fn the_protocol_is_what_the_provider_offers() {
    for (protocols, version, via) in [
        (&["h2", "http/1.1"][..], "HTTP/2.0", "2 headroom"),
        (&["http/1.1"], "HTTP/1.1", "1.1 headroom"),
        (&[], "HTTP/1.1", "1.1 headroom"),
    ] {
        let port = provider(protocols).await;
        let gateway = Harness::with(&format!("https://127.0.0.1:{port}"), trusting()).await;
        for (request, line) in [
            (
                "GET /crm/a'b?c='d' HTTP/1.1\r\nTE: trailers\r\n",
                format!("GET /a'b?c='d' {version} b\"\""),
            ),
            (
                "GET /crm/ HTTP/1.1\r\nContent-Length: 2\r\n",
                format!("GET / {version} b\"hi\""),
            ),
            (
                "POST /crm/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
                format!("POST / {version} b\"hi\""),
            ),
            (
                "POST /crm/ HTTP/1.1\r\nContent-Length: 0\r\n",
                format!("POST / {version} b\"\""),
            ),
        ] {
            let content = match (request.contains("chunked"), request.contains("Length: 2")) {
                (true, _) => "2\r\nhi\r\n0\r\n\r\n",
                (_, true) => "hi",
                _ => "",
            };
            let answer = gateway
                .send(format!(
                    "{request}Host: a\r\nConnection: close\r\n\r\n{content}"
                ))
                .await;
            assert_eq!(status(&answer), 200, "{answer}");
            assert_eq!(fields(&answer, "via"), [via]);
            assert!(body(&answer).starts_with(&line), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_long_head_passes() {
    let port = provider(&["h2"]).await;
    let gateway = Harness::with(&format!("https://127.0.0.1:{port}"), trusting()).await;
    let answer = gateway.get("/crm/long-head").await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert_eq!(fields(&answer, "x-149"), ["v".repeat(200)]);
}

/// What a provider in HTTP/2 does with the second call that it gets; it answers all others.
#[derive(Debug, Clone, Copy)]
enum Second {
    /// RST_STREAM with this code.
    Reset(u8),
    /// GOAWAY with this code, which leaves this call out, and the end of the connection.
    GoAway(u8),
    /// GOAWAY without an error, which counts this call among the processed ones, and the end of the connection.
    GoAwayAfter,
}

/// A provider that speaks HTTP/2 in frames, and how many calls it has seen.
async fn framing(second: Second) -> (u16, Arc<AtomicUsize>) {
    let acceptor = acceptor(&["h2"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&calls);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await?;
                frames(stream, second, &seen).await
            });
        }
    });
    (port, calls)
}

async fn frames(
    mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin,
    second: Second,
    seen: &AtomicUsize,
) -> io::Result<()> {
    const PREFACE: usize = 24;
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;
    stream.read_exact(&mut [0; PREFACE]).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let mut last = 0;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        stream.read_exact(&mut vec![0; length]).await?;
        let id = head[8];
        match head[3] {
            SETTINGS if head[4] == 0 => stream.write_all(&frame(SETTINGS, 1, 0, &[])).await?,
            HEADERS => {
                let is_second = seen.fetch_add(1, Ordering::SeqCst) == 1;
                match second {
                    Second::Reset(code) if is_second => {
                        let reset = frame(RST_STREAM, 0, id, &[0, 0, 0, code]);
                        stream.write_all(&reset).await?;
                    }
                    Second::GoAway(code) if is_second => {
                        let farewell = frame(GOAWAY, 0, 0, &[0, 0, 0, last, 0, 0, 0, code]);
                        stream.write_all(&farewell).await?;
                        return stream.shutdown().await;
                    }
                    Second::GoAwayAfter if is_second => {
                        let farewell = frame(GOAWAY, 0, 0, &[0, 0, 0, id, 0, 0, 0, 0]);
                        stream.write_all(&farewell).await?;
                        return stream.shutdown().await;
                    }
                    // END_HEADERS and END_STREAM; `:status: 200` in HPACK.
                    _ => stream.write_all(&frame(HEADERS, 5, id, &[0x88])).await?,
                }
                last = id;
            }
            _ => {}
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
    frame.extend_from_slice(payload);
    frame
}

#[tokio::test]
async fn what_a_provider_did_not_look_at_is_sent_again_where_that_is_possible() {
    const REFUSED_STREAM: u8 = 7;
    const INTERNAL_ERROR: u8 = 2;
    const ENHANCE_YOUR_CALM: u8 = 11;
    const SAFE: &str = "GET /crm/ HTTP/1.1\r\n";
    const BODILESS: &str = "DELETE /crm/ HTTP/1.1\r\n";
    const EMPTY: &str = "POST /crm/ HTTP/1.1\r\nContent-Length: 0\r\n";
    const BODY: &str = "POST /crm/ HTTP/1.1\r\nContent-Length: 2\r\n";
    const TERMINATED: Option<&str> = Some("connection_terminated");
    const PROTOCOL: Option<&str> = Some("http_protocol_error");
    for (second, request, error) in [
        (Second::Reset(REFUSED_STREAM), SAFE, None),
        (Second::Reset(REFUSED_STREAM), BODILESS, None),
        (Second::Reset(REFUSED_STREAM), EMPTY, None),
        (Second::Reset(REFUSED_STREAM), BODY, TERMINATED),
        (Second::GoAway(0), SAFE, None),
        (Second::GoAway(0), BODILESS, None),
        (Second::GoAway(0), EMPTY, None),
        (Second::GoAway(0), BODY, TERMINATED),
        // Nobody knows what became of these.
        (Second::GoAwayAfter, SAFE, None),
        (Second::GoAwayAfter, EMPTY, TERMINATED),
        (Second::GoAway(ENHANCE_YOUR_CALM), EMPTY, TERMINATED),
        (Second::Reset(INTERNAL_ERROR), SAFE, PROTOCOL),
        (Second::Reset(INTERNAL_ERROR), EMPTY, PROTOCOL),
    ] {
        let (port, calls) = framing(second).await;
        let gateway = Harness::with(&format!("https://127.0.0.1:{port}"), trusting()).await;
        let content = if request == BODY { "hi" } else { "" };
        let request = format!("{request}Host: a\r\nConnection: close\r\n\r\n{content}");
        assert_eq!(status(&gateway.send(&request).await), 200, "{request}");
        let answer = gateway.send(&request).await;
        let context = format!("{second:?} {request} {answer}");
        let expected = if error.is_some() { 502 } else { 200 };
        assert_eq!(status(&answer), expected, "{context}");
        let word = error.map(|error| format!("headroom; error={error}"));
        assert_eq!(
            fields(&answer, "proxy-status"),
            word.iter().map(String::as_str).collect::<Vec<_>>(),
            "{context}"
        );
        let sent = if error.is_some() { 2 } else { 3 };
        assert_eq!(calls.load(Ordering::SeqCst), sent, "{context}");
    }
}
