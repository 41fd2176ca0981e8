//! Connecting to providers: names, TCP, TLS, and an end to waiting for them.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connection as _, HttpConnector};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
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

    /// Opens one.
    ///
    /// # Errors
    /// The name, the address or the handshake failed, or they took too long.
    pub(super) async fn dial(&self, uri: Uri) -> Result<(Stream, Protocol), BoxError> {
        let mut connector = self.connector.clone();
        poll_fn(|cx| connector.poll_ready(cx)).await?;
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let connecting = tokio::time::timeout(self.patience, connector.call(uri));
        let stream = connecting.await.map_err(late)??;
        let protocol = if stream.connected().is_negotiated_h2() {
            Protocol::Http2
        } else {
            Protocol::Http1
        };
        let socket = match stream {
            MaybeHttpsStream::Http(stream) => Socket::Plain(stream.into_inner()),
            MaybeHttpsStream::Https(stream) => Socket::Tls(Box::new(stream.into_inner())),
        };
        let stream = Stall::new(socket, self.answer_timeout, Socket::reset);
        Ok((stream, protocol))
    }
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// An open connection, watched for providers that take nothing.
pub(super) type Stream = Stall<Socket>;

/// An open connection.
pub(super) enum Socket {
    Plain(TcpStream),
    /// Boxed: it is large, and most of the time something waits that holds it.
    Tls(Box<TlsStream<TokioIo<TokioIo<TcpStream>>>>),
    #[cfg(test)]
    Test(tokio::io::DuplexStream),
}

impl Socket {
    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(stream) => Some(stream.get_ref().0.inner().inner()),
            #[cfg(test)]
            Self::Test(_) => None,
        }
    }

    /// The system has nothing for it, not even its end.
    pub(super) fn is_quiet(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        self.tcp().is_none_or(|stream| {
            let came = rustix::net::recv(stream, &mut [0; 1], flags);
            came.is_err_and(|error| error == Errno::AGAIN)
        })
    }

    /// The end of this connection is told at once, and without what is not sent.
    fn reset(&self) {
        if let Some(stream) = self.tcp() {
            // One that refuses this has ended.
            let _ended = stream.set_zero_linger();
        }
    }
}

/// Does the same with whatever it is.
macro_rules! each {
    ($socket:expr, $stream:ident => $what:expr) => {
        match $socket.get_mut() {
            Socket::Plain($stream) => $what,
            Socket::Tls($stream) => $what,
            #[cfg(test)]
            Socket::Test($stream) => $what,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        // TCP and TLS both take several pieces at once.
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

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
