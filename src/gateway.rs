//! The gateway: a call comes in on one of headroom's addresses, goes to the one origin of its connection, and the
//! answer comes back with the standard headers on it.
//!
//! In reading order: [`connection`] is what a call can be for, `pipeline` the request path on one screen, and its
//! phases `route`, `forward`, `upstream` with its `clients` and their `dial`, `links` and `body`; [`preferences`] is what a caller asks of headroom itself,
//! [`refusal`] what it gets where a quota has no room, `error` maps every other problem to its answer; `pages` is
//! headroom's own `/-/`, [`server`] accepts and drains, `crew` shares callers among threads, `pulse` is how long a caller may take, `load` how much may be under
//! way. No files, no environment; time only through [`crate::clock`].

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::runtime::Handle;

use crate::admin::Books;
use crate::history::History;
use crate::identity::Identity;
use crate::ledger::Ledger;
use crate::limits::Limits;
use crate::trace::{Counters, Exporter, Tracer};

mod accept;
mod acceptor;
mod admission;
mod body;
mod clients;
mod coding;
pub mod connection;
mod conversation;
mod crew;
mod dial;
mod door;
mod error;
mod failure;
mod fields;
mod forward;
mod frames;
mod grant;
mod greeting;
pub mod heads;
mod http1;
mod keys;
mod known;
mod linger;
mod links;
mod load;
mod local;
mod memo;
mod overrides;
mod pages;
mod pipeline;
mod pool;
pub mod preferences;
mod present;
mod pulse;
mod reception;
pub mod refusal;
mod request_id;
mod rewritten;
mod route;
pub mod server;
mod stall;
mod target;
mod timers;
mod tls;
mod unread;
mod upload;
mod upstream;

pub use connection::{Access, Catalogue, Connection, Connections, Lookup, Reach};
pub use server::Listener;
pub use tls::Trust;
pub(crate) use tls::pinned_config;

/// What an operator can choose.
#[derive(Clone)]
pub struct Settings {
    /// What is taken of callers and providers, and for how long they are waited for.
    pub limits: Limits,
    /// How long an answer's head may wait for a body that translation wants to read; then it goes without.
    pub read_ahead_timeout: Duration,
    /// Headroom's name in `Via`. A call that already went through it is a loop, so two gateways in a row need two.
    pub pseudonym: String,
    /// Who headroom is to its callers; with it, they all speak TLS.
    pub identity: Option<Identity>,
    /// Whom to trust at the other end; `None`: the system's certificate authorities alone.
    pub trust: Option<Trust>,
    /// The runtimes that serve callers, each of one thread; where there are none, that on which [`Gateway::serve`] is called.
    pub workers: Vec<Handle>,
    /// What credentials are hashed with; the same as long as the store is.
    pub secret: (u64, u64),
    /// Takes calls that ended to a collector of traces, where there is one.
    pub tracer: Option<Arc<Tracer>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            read_ahead_timeout: Duration::from_secs(10),
            pseudonym: "headroom".to_owned(),
            identity: None,
            trust: None,
            workers: Vec::new(),
            secret: (0, 0),
            tracer: None,
        }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            limits,
            read_ahead_timeout,
            pseudonym,
            identity,
            trust: _,
            workers,
            // Who knows it can look for credentials in what is stored and shown.
            secret: _,
            tracer: _,
        } = self;
        out.debug_struct("Settings")
            .field("limits", limits)
            .field("read_ahead_timeout", read_ahead_timeout)
            .field("pseudonym", pseudonym)
            .field("identity", identity)
            .field("workers", &workers.len())
            .finish_non_exhaustive()
    }
}

/// Why a gateway could not be made.
#[derive(Debug)]
pub struct SetupError(String);

impl std::fmt::Display for SetupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SetupError {}

/// A tracer to this collector, which is trusted as providers are.
///
/// # Errors
///
/// The endpoint is no address, or the client side cannot be set up; a sentence for people.
pub fn tracer(endpoint: &str, trust: &Trust) -> Result<(Arc<Tracer>, Exporter), String> {
    Tracer::new(endpoint, trust.client_config()?)
}

/// Everything that calls share.
pub struct Gateway {
    settings: Settings,
    house: Arc<House>,
    ledger: Arc<Ledger>,
    history: Arc<History>,
    trust: Trust,
    upstream: upstream::Upstream,
    acceptor: Option<acceptor::Acceptor>,
    crew: crew::Crew,
    load: load::Load,
    pages: pages::Pages,
    locals: local::Locals,
}

impl Gateway {
    /// A gateway for these connections; nothing is opened yet.
    ///
    /// # Errors
    ///
    /// When the settings do not fit (a pseudonym that is no token) or the client side cannot be set up.
    pub fn new(
        catalogue: Arc<dyn Catalogue>,
        books: Books,
        settings: Settings,
    ) -> Result<Self, SetupError> {
        let (ledger, history) = (Arc::clone(&books.ledger), Arc::clone(&books.history));
        let token = !settings.pseudonym.is_empty()
            && settings
                .pseudonym
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let workers = settings.workers.len();
        let locals = local::Locals::new(workers, &settings.pseudonym, &history, &catalogue);
        let locals = locals.filter(|_| token).ok_or_else(|| {
            SetupError(format!(
                "the pseudonym {:?} is not a token",
                settings.pseudonym
            ))
        })?;
        let house = Arc::new(House {
            catalogue: RwLock::new(catalogue),
            draining: AtomicBool::new(false),
            books,
            traces: settings
                .tracer
                .as_ref()
                .map(|tracer| Arc::clone(tracer.counters())),
        });
        let acceptor = settings.identity.as_ref().map(acceptor::Acceptor::new);
        let trust = settings.trust.clone();
        let trust = trust.map_or_else(|| Trust::new(&[]), Ok);
        let trust = trust.map_err(SetupError)?;
        let upstream =
            upstream::Upstream::new(trust.clone(), &settings.limits, settings.workers.len());
        Ok(Self {
            ledger,
            history,
            trust,
            upstream: upstream.map_err(SetupError)?,
            acceptor: acceptor.transpose().map_err(SetupError)?,
            crew: crew::Crew::new(settings.workers.clone()),
            load: load::Load::new(settings.limits.concurrent_calls, workers),
            pages: pages::Pages::new(Arc::clone(&house), settings.secret),
            locals,
            settings,
            house,
        })
    }

    /// The connections as they are now.
    #[must_use]
    pub fn catalogue(&self) -> Arc<dyn Catalogue> {
        self.house.catalogue()
    }

    /// Shows callers another certificate from now on, where they speak TLS at all.
    pub fn show(&self, identity: &Identity) {
        if let Some(acceptor) = &self.acceptor {
            acceptor.show(identity);
        }
    }

    /// Trusts these certificate authorities beside the system's from now on, and no others. Nothing but the calls in flight goes
    /// on with connections to providers that were opened before.
    ///
    /// # Errors
    ///
    /// They cannot be used; for people.
    pub fn trust(&self, extra_roots: &[CertificateDer<'static>]) -> Result<(), String> {
        if self.trust.replace(extra_roots)? {
            self.upstream.clients().renew()?;
        }
        Ok(())
    }

    /// Puts another catalogue in place. Calls in flight keep theirs, and so do the connections to providers; calls that wait
    /// are judged by its rules. Goes through all meters: a million take a moment.
    pub fn replace(&self, catalogue: Arc<dyn Catalogue>) {
        let (mut renewed, mut left) = (Vec::new(), HashSet::new());
        for before in self.ledger.accounts() {
            match catalogue.connection(&before.connection) {
                Lookup::Found(connection) if connection.account.identity == before.identity => {
                    connection.account.succeed(&before);
                    renewed.push(Arc::clone(&connection.account));
                }
                // It goes to another origin now, or there is none.
                Lookup::Found(_) | Lookup::Unknown => {
                    left.insert(Arc::clone(&before.identity));
                }
                Lookup::Broken(_) => {}
            }
        }
        self.ledger.leave(left);
        self.upstream.clients().keep(&catalogue.identities());
        self.locals.replace(&catalogue);
        *self
            .house
            .catalogue
            .write()
            .unwrap_or_else(PoisonError::into_inner) = catalogue;
        self.ledger.renew(&renewed, crate::clock::moment());
    }
}

/// What the pages and the request path both look at.
struct House {
    /// Held for the length of a clone, never across an await.
    catalogue: RwLock<Arc<dyn Catalogue>>,
    draining: AtomicBool,
    books: Books,
    traces: Option<Arc<Counters>>,
}

impl House {
    fn catalogue(&self) -> Arc<dyn Catalogue> {
        Arc::clone(
            &self
                .catalogue
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_not_written_out() {
        let settings = Settings {
            secret: (7_777_777, 8_888_888),
            ..Settings::default()
        };
        for text in [format!("{settings:?}"), format!("{settings:#?}")] {
            assert!(text.contains("pseudonym: \"headroom\""), "{text}");
            assert!(
                !text.contains("7777777") && !text.contains("8888888"),
                "{text}"
            );
        }
    }
}
