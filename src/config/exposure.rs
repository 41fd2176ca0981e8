//! Addresses that other machines reach while nobody has to say who calls: only where the user says so twice.

use std::net::SocketAddr;

use super::Config;
use crate::address::is_loopback;
use crate::diagnostic::Mistakes;

impl Config {
    /// Whether strangers must not reach headroom: there are no consumers, and nobody said that all may call.
    #[must_use]
    pub const fn is_private(&self) -> bool {
        self.consumers.is_empty() && !self.open_to_all
    }

    /// The addresses of the file that other machines reach although headroom is private. Its own one is not looked at where
    /// the command line goes before it.
    #[must_use]
    pub fn check_exposure(&self, is_overridden: bool) -> Mistakes {
        let mut mistakes = Mistakes::default();
        if !self.is_private() {
            return mistakes;
        }
        let own = self.listen.filter(|_| !is_overridden);
        let own = own.map(|address| (address, &self.listen_span));
        let others = self.connections.iter();
        let others = others.filter_map(|one| Some((one.listen?, &one.spans.listen)));
        for (address, span) in own.into_iter().chain(others) {
            if let Err(problem) = reject_exposed(address) {
                mistakes.push(
                    "open-to-all",
                    span.clone(),
                    problem,
                    "make keys (`headroom key new NAME`), listen on 127.0.0.1, or say that all may call: open_to_all = true",
                );
            }
        }
        mistakes
    }
}

/// Whether only this machine reaches an address.
///
/// # Errors
/// Others do; a sentence for people.
pub fn reject_exposed(address: SocketAddr) -> Result<(), String> {
    if is_loopback(address.ip()) {
        return Ok(());
    }
    Err(format!(
        "other machines can reach {address}, and there are no consumers: everybody there could call"
    ))
}
