//! Connecting to providers: names, TCP, TLS, and an end to waiting for them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::connection::Reach;
use super::failure::{DnsError, ProhibitedError};
use super::stall::Stall;
use crate::address::is_public;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// After so long without a byte the system asks whether the other side is still there.
const PROBE: Duration = Duration::from_secs(15);

/// Opens connections.
#[derive(Clone)]
pub(super) struct Dialer {
    connector: HttpsConnector<HttpConnector<SystemResolver>>,
    patience: Duration,
    answer_timeout: Duration,
}

impl Dialer {
    /// To hosts of this reach, with this TLS, over HTTP/2 where the other side has it. `patience` is for all of it: the name, TCP
    /// and the handshake. `answer_timeout` is for what comes after it.
    pub(super) fn new(
        reach: Reach,
        tls: ClientConfig,
        patience: Duration,
        answer_timeout: Duration,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(SystemResolver { reach });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(PROBE));
        tcp.set_keepalive_interval(Some(PROBE));
        tcp.set_keepalive_retries(Some(3));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        Self {
            connector,
            patience,
            answer_timeout,
        }
    }
}

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

impl Service<Uri> for Dialer {
    type Response = Stall<MaybeHttpsStream<TokioIo<TcpStream>>>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        ready!(self.connector.poll_ready(cx))?;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.patience, self.connector.call(uri));
        let answer_timeout = self.answer_timeout;
        Box::pin(async move {
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let stream = connecting.await.map_err(late)??;
            Ok(Stall::new(stream, answer_timeout, reset))
        })
    }
}

/// The end of this connection is told at once, and without what is not sent.
fn reset(stream: &MaybeHttpsStream<TokioIo<TcpStream>>) {
    let stream = match stream {
        MaybeHttpsStream::Http(stream) => stream.inner(),
        MaybeHttpsStream::Https(stream) => stream.inner().get_ref().0.inner().inner(),
    };
    // One that refuses this has ended.
    let _ended = stream.set_zero_linger();
}

/// The system's resolver, with its errors marked as such. What it finds is what is connected to, so nobody can answer one
/// thing when an address is looked at and another when it is used.
#[derive(Clone)]
struct SystemResolver {
    reach: Reach,
}

impl Service<Name> for SystemResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = Connecting<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let reach = self.reach;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map_err(DnsError)?;
            let mut addresses: Vec<SocketAddr> = found.collect();
            if reach == Reach::Public {
                addresses.retain(|address| is_public(address.ip()));
                if addresses.is_empty() {
                    return Err(ProhibitedError.into());
                }
            }
            Ok(addresses.into_iter())
        })
    }
}
