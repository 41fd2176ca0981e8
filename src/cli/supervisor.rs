//! Whoever started headroom and watches over it, as systemd does: sockets that it has opened already, and what it is told
//! (sd_listen_fds(3), sd_notify(3)). Where nobody does, nothing happens.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;

use super::Failure;
use crate::clock;

/// A socket that was there before headroom.
pub(super) struct Inherited {
    /// `FileDescriptorName=` of its unit; systemd's own name for it where nobody gave one.
    pub(super) name: String,
    pub(super) socket: TcpListener,
}

/// Takes the sockets that are handed over. Later calls, and later processes, find none.
pub(super) fn inherited() -> Result<Vec<Inherited>, Failure> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut handed = ListenFd::from_env();
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for index in 0..handed.len() {
        let name = names.next().unwrap_or_default().to_owned();
        let failure = |error: io::Error| {
            Failure::unreadable(format!(
                "headroom: the socket that is handed over at place {index} cannot be used: {error}"
            ))
        };
        if let Some(socket) = handed.take_tcp_listener(index).map_err(failure)? {
            // Whoever opened it may have left it as it was; the runtime must never wait in it.
            socket.set_nonblocking(true).map_err(failure)?;
            sockets.push(Inherited { name, socket });
        }
    }
    Ok(sockets)
}

/// Where they listen.
pub(super) fn addresses(sockets: &[Inherited]) -> impl Iterator<Item = std::net::SocketAddr> {
    let addresses = sockets.iter().map(|one| one.socket.local_addr());
    addresses.filter_map(Result::ok)
}

/// Who is told how headroom is.
#[derive(Clone, Default)]
pub(super) struct Supervisor {
    ear: Option<Arc<(UnixDatagram, SocketAddr)>>,
    /// It wants to hear that headroom is alive, so often.
    every: Option<Duration>,
}

impl Supervisor {
    /// By what the environment says, for the process of this number.
    pub(super) fn new(variable: impl Fn(&str) -> Option<OsString>, process: u32) -> Self {
        let ear = variable("NOTIFY_SOCKET").and_then(|path| match ear(&path) {
            Ok(ear) => Some(Arc::new(ear)),
            Err(error) => {
                tracing::warn!(error = %error, "NOTIFY_SOCKET cannot be used.");
                None
            }
        });
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let is_own = variable("WATCHDOG_PID").is_none()
            || number("WATCHDOG_PID") == Some(u64::from(process));
        let limit = number("WATCHDOG_USEC").filter(|limit| is_own && *limit > 0);
        Self {
            ear,
            // Twice in the time after which it would be taken for dead.
            every: limit.map(|limit| Duration::from_micros(limit) / 2),
        }
    }

    /// Calls are taken.
    pub(super) fn ready(&self) {
        self.tell("READY=1\nSTATUS=Takes calls\n");
    }

    /// The files are read again; what follows is [`Self::ready`] or [`Self::kept`].
    pub(super) fn reloading(&self) {
        if self.ear.is_some() {
            let now = clock::monotonic_usec();
            self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={now}\n"));
        }
    }

    /// The files were read and have mistakes.
    pub(super) fn kept(&self) {
        self.tell("READY=1\nSTATUS=Takes calls; the files have mistakes, and what ran before them stays\n");
    }

    /// The calls in flight are finished, and no other is taken.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Finishes the calls in flight\n");
    }

    /// Says that headroom is alive, as long as the runtime is.
    pub(super) async fn beat(self) {
        let Some(every) = self.every else { return };
        loop {
            self.tell("WATCHDOG=1\n");
            tokio::time::sleep(every).await;
        }
    }

    fn tell(&self, message: &str) {
        let Some((socket, address)) = self.ear.as_deref() else {
            return;
        };
        if let Err(error) = socket.send_to_addr(message.as_bytes(), address) {
            tracing::debug!(error = %error, "The supervisor does not listen.");
        }
    }
}

/// A socket, and whom to send to: a path, or a name without one (`@`).
fn ear(path: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    let socket = UnixDatagram::unbound()?;
    // Nobody waits for a supervisor that does not listen.
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)]) -> Option<Duration> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(one, _)| *one == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Supervisor::new(variable, 7).every
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_fed() {
        let second = ("WATCHDOG_USEC", "2000000");
        let half = Some(Duration::from_secs(1));
        assert_eq!(told(&[second]), half);
        assert_eq!(told(&[second, ("WATCHDOG_PID", "7")]), half);
        assert_eq!(told(&[second, ("WATCHDOG_PID", "8")]), None);
        assert_eq!(told(&[second, ("WATCHDOG_PID", "x")]), None);
        assert_eq!(told(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(told(&[]), None);
    }
}
