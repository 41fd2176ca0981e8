//! `headroom healthcheck`: asks a running gateway whether it is ready, for containers that have no curl.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use url::{Host, Url};

use super::loaded::authorities;
use super::{Failure, files, print};
use crate::gateway::{Trust, pinned_config};
use crate::identity;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Where the gateway is, instead of --listen; with https:// it is asked over TLS
    #[arg(long, value_name = "URL", env = "HEADROOM_URL")]
    url: Option<String>,
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
    /// A PEM file with certificate authorities to trust beside the system's, for https
    #[arg(long, value_name = "FILE", env = "HEADROOM_CA_FILE")]
    ca_file: Option<PathBuf>,
}

const PATIENCE: Duration = Duration::from_secs(5);

/// Whom to ask, and how.
struct Gateway {
    /// As people know it, and for `Host`.
    name: String,
    /// Where to try it, in this order.
    addresses: Vec<SocketAddr>,
    tls: Option<(ClientConfig, ServerName<'static>)>,
    /// The path of readiness.
    path: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let url = arguments.url.as_deref().filter(|url| !url.is_empty());
    let gateway = match url {
        Some(url) => named(url, arguments)?,
        None => listening(arguments)?,
    };
    let name = gateway.name.clone();
    let answer = gateway.ask().map_err(|error| {
        Failure::mistakes(format!("headroom: nobody answers on {name}: {error}"))
    })?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    let reason = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    if status == "200" {
        // `ready`, and what is not as it should be all the same.
        return print(reason);
    }
    Err(Failure::mistakes(format!(
        "headroom: {name} is not ready ({status}): {reason}"
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

/// By its address.
fn listening(arguments: &Arguments) -> Result<Gateway, Failure> {
    let address = reachable(arguments.listen);
    let certificate = arguments.certificate.as_deref();
    let tls = certificate.map(pinned).transpose()?;
    Ok(Gateway {
        name: address.to_string(),
        addresses: vec![address],
        tls: tls.map(|tls| (tls, address.ip().into())),
        path: "/-/readyz".to_owned(),
    })
}

/// By its URL.
fn named(text: &str, arguments: &Arguments) -> Result<Gateway, Failure> {
    // What may carry a password is not repeated.
    let shown = if text.contains('@') { "--url" } else { text };
    let wrong = |why: &str| {
        Failure::unreadable(format!(
            "headroom: `{shown}` is no address of a gateway: {why}; write --url https://headroom.example.com"
        ))
    };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it cannot carry a password"));
    }
    let server = match url.host() {
        Some(Host::Domain(name)) => ServerName::try_from(name.to_owned()).ok(),
        Some(Host::Ipv4(address)) => Some(std::net::IpAddr::V4(address).into()),
        Some(Host::Ipv6(address)) => Some(std::net::IpAddr::V6(address).into()),
        None => None,
    };
    let server = server.ok_or_else(|| wrong("there is no host in it"))?;
    let tls = match (url.scheme(), &arguments.certificate, &arguments.ca_file) {
        ("http", _, _) => None,
        ("https", Some(certificate), _) => Some(pinned(certificate)?),
        ("https", None, ca_file) => {
            let ca_file = ca_file.as_deref();
            let roots = ca_file.map(authorities).transpose()?.unwrap_or_default();
            let config = Trust::new(&roots).and_then(|trust| trust.client_config());
            Some(config.map_err(|error| Failure::unreadable(format!("headroom: {error}")))?)
        }
        _ => return Err(wrong("it is not HTTP")),
    };
    let name = url.authority().to_owned();
    let addresses = url.socket_addrs(|| None).map_err(|error| {
        Failure::mistakes(format!("headroom: nobody answers on {name}: {error}"))
    })?;
    Ok(Gateway {
        name,
        addresses,
        tls: tls.map(|tls| (tls, server)),
        path: format!("{}/-/readyz", url.path().trim_end_matches('/')),
    })
}

/// TLS with whoever shows the certificate in this file.
fn pinned(path: &Path) -> Result<ClientConfig, Failure> {
    let failure = |error: String| {
        let path = path.display();
        Failure::unreadable(format!("headroom: the certificate {path}: {error}"))
    };
    let chain = identity::certificates(&files::read(path)?).map_err(failure)?;
    pinned_config(chain).map_err(failure)
}

impl Gateway {
    fn ask(self) -> io::Result<String> {
        let stream = self.connect()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        match self.tls {
            Some((config, server)) => {
                let client = ClientConnection::new(Arc::new(config), server);
                let client = client.map_err(io::Error::other)?;
                converse(StreamOwned::new(client, stream), &self.name, &self.path)
            }
            None => converse(stream, &self.name, &self.path),
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for address in &self.addresses {
            match TcpStream::connect_timeout(address, PATIENCE) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn converse(mut stream: impl Read + Write, host: &str, path: &str) -> io::Result<String> {
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
