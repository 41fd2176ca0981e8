//! `headroom healthcheck`: asks a running gateway whether it is ready, for containers that have no curl.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustls::{ClientConnection, StreamOwned};

use super::{Failure, files, print};
use crate::gateway::pinned_config;
use crate::identity;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the gateway listens
    #[arg(
        long,
        value_name = "ADDR",
        env = "HEADROOM_LISTEN",
        default_value = "127.0.0.1:8080"
    )]
    listen: SocketAddr,
    /// The certificate of `[tls]`: the gateway is asked over TLS, and has to show this one
    #[arg(long, value_name = "FILE", env = "HEADROOM_CERTIFICATE")]
    certificate: Option<PathBuf>,
}

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let address = reachable(arguments.listen);
    let certificate = arguments.certificate.as_deref();
    let client = certificate.map(|path| tls(path, address)).transpose()?;
    let answer = ask(address, client).map_err(|error| {
        Failure::mistakes(format!("headroom: nobody answers on {address}: {error}"))
    })?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    let reason = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    if status == "200" {
        // `ready`, and what is not as it should be all the same.
        return print(reason);
    }
    Err(Failure::mistakes(format!(
        "headroom: {address} is not ready ({status}): {reason}"
    )))
}

/// Where a gateway with this address can be asked: one that listens everywhere, on loopback.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// TLS with whoever shows the certificate in this file.
fn tls(path: &Path, address: SocketAddr) -> Result<ClientConnection, Failure> {
    let failure = |error: String| {
        let path = path.display();
        Failure::unreadable(format!("headroom: the certificate {path}: {error}"))
    };
    let chain = identity::certificates(&files::read(path)?).map_err(failure)?;
    let config = pinned_config(chain).map_err(failure)?;
    ClientConnection::new(Arc::new(config), address.ip().into())
        .map_err(|error| failure(error.to_string()))
}

fn ask(address: SocketAddr, client: Option<ClientConnection>) -> std::io::Result<String> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    match client {
        Some(client) => converse(StreamOwned::new(client, stream), address),
        None => converse(stream, address),
    }
}

fn converse(mut stream: impl Read + Write, address: SocketAddr) -> std::io::Result<String> {
    write!(
        stream,
        "GET /-/readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
