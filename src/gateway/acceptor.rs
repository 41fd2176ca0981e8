//! TLS towards callers: the handshake, and a certificate that can be replaced while headroom runs.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::greeting::throw_away;
use crate::identity::Identity;

/// Makes TLS of callers' connections.
pub(super) struct Acceptor {
    tls: TlsAcceptor,
    shown: Arc<Shown>,
}

/// The certificate that callers are shown.
#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

/// What a caller gets that speaks HTTP where TLS is spoken.
const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: 57\r\n\r\nheadroom speaks TLS on this port: begin with \"https://\".\n";

impl Acceptor {
    pub(super) fn new(identity: &Identity) -> Result<Self, String> {
        let shown = Arc::new(Shown(RwLock::new(identity.certified())));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::<Shown>::clone(&shown);
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            tls: TlsAcceptor::from(Arc::new(config)),
            shown,
        })
    }

    /// Callers that come from now on are shown this one.
    pub(super) fn show(&self, identity: &Identity) {
        let mut shown = self.shown.0.write().unwrap_or_else(PoisonError::into_inner);
        *shown = identity.certified();
    }

    /// The handshake. Who speaks HTTP instead is told so, and that is the end of it.
    pub(super) async fn accept(&self, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        stream.peek(&mut first).await?;
        // Every record of a handshake begins with 22, every method with a letter.
        if first.iter().all(u8::is_ascii_alphabetic) {
            stream.write_all(PLAIN).await?;
            throw_away(stream).await;
            return Err(io::Error::other("the caller speaks HTTP without TLS"));
        }
        self.tls.accept(stream).await
    }
}
