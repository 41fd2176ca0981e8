//! Where headroom listens.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::Failure;
use super::supervisor::Inherited;
use crate::config::Config;
use crate::gateway::Listener;

/// Where the gateway listens when nobody says otherwise.
const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// The sockets to accept on. What was handed over takes the place of what would have been opened: under the name of a
/// connection that has an address of its own, of that; else, of the main one.
pub(super) async fn listeners(
    listen: Option<SocketAddr>,
    config: &Config,
    inherited: Vec<Inherited>,
) -> Result<Vec<Listener>, Failure> {
    let own = || config.connections.iter().filter(|one| one.listen.is_some());
    let mut listeners = Vec::new();
    for Inherited { name, socket } in inherited {
        let socket = TcpListener::from_std(socket).map_err(|error| {
            Failure::unreadable(format!("headroom: a socket that was handed over: {error}"))
        })?;
        listeners.push(Listener {
            socket,
            connection: own()
                .find(|one| one.name == name)
                .map(|one| one.name.clone()),
        });
    }
    if listeners
        .iter()
        .all(|listener| listener.connection.is_some())
    {
        let address = listen.or(config.listen).unwrap_or(DEFAULT_LISTEN);
        let main = Listener {
            socket: bind(address).await?,
            connection: None,
        };
        listeners.insert(0, main);
    }
    for connection in own() {
        let name = Some(&connection.name);
        let is_there = listeners.iter().any(|one| one.connection.as_ref() == name);
        if let Some(address) = connection.listen.filter(|_| !is_there) {
            listeners.push(Listener {
                socket: bind(address).await?,
                connection: Some(connection.name.clone()),
            });
        }
    }
    Ok(listeners)
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        Failure::unreadable(format!(
            "headroom: cannot listen on {address}: {error}; choose another address with --listen"
        ))
    })
}
