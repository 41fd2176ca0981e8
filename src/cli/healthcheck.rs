//! `headroom healthcheck`: asks a running gateway whether it is ready, for containers that have no curl.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;

use super::{Failure, print};

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
}

const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let address = reachable(arguments.listen);
    let answer = ask(address).map_err(|error| {
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

fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /-/readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
