//! Providers behind TLS: whom the gateway trusts, and HTTP/2 where the provider offers it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use headroom::gateway::Settings;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::exchange::{body, fields, status};
use crate::support::harness::Harness;

/// A provider whose certificate is for 127.0.0.1. Its answers say what it saw.
async fn provider(protocols: &[&str]) -> u16 {
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
    let acceptor = TlsAcceptor::from(Arc::new(config));
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
    Ok(Response::new(Full::new(Bytes::from(text))))
}

fn trusting() -> Settings {
    let authority = CertificateDer::from_pem_file("tests/support/tls/authority.pem").unwrap();
    Settings {
        extra_roots: vec![authority],
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
