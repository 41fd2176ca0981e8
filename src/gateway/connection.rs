//! What a call can be for: a connection, its origin, and the catalogue that knows them by name.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::adapter::Adapter;
use crate::adapter::terms::Terms;
use crate::consumer::Consumers;
use crate::credential::Credential;
use crate::emit::Style;
use crate::guard::Admin;
use crate::identity::Identity;
use crate::ledger::account::Account;
use crate::oauth::Tokens;
use crate::origin::Origin;

/// One account at a provider, mounted at `/<name>/`.
pub struct Connection {
    /// The first path segment, or the label before `.localhost`.
    pub name: String,
    /// The only place its calls can reach.
    pub origin: Origin,
    /// What its calls show the provider.
    pub access: Access,
    /// The certificate that headroom shows the provider when that asks for one.
    pub identity: Option<Identity>,
    /// How the provider speaks of its limits.
    pub adapter: Arc<Adapter>,
    /// What this account is known to have.
    pub terms: Terms,
    /// How its standard headers are written.
    pub style: Style,
    /// What its meters are held to.
    pub account: Arc<Account>,
    /// Which addresses its host may have.
    pub reach: Reach,
    /// The user has described it: it is one account. A mount of the catalogue serves whoever comes with a credential.
    pub configured: bool,
    /// The longest that a call is held.
    pub max_wait: Duration,
}

impl Connection {
    /// The provider takes its calls for the operator's own, whoever made them.
    #[must_use]
    pub(super) const fn vouches(&self) -> bool {
        self.access.is_own() || self.identity.is_some()
    }
}

/// Whose credential the provider gets.
#[derive(Debug, Default)]
pub enum Access {
    /// That of each caller, as it came.
    #[default]
    Callers,
    /// The connection's own.
    Own(Credential),
    /// A token of OAuth 2 that is the connection's own.
    Tokens(Arc<Tokens>),
}

impl Access {
    /// It is not the callers'.
    #[must_use]
    pub const fn is_own(&self) -> bool {
        !matches!(self, Self::Callers)
    }

    /// What tells it from other credentials, also when its token is another one: to be hashed, never to be shown.
    pub(super) fn identity(&self) -> Option<&[u8]> {
        match self {
            Self::Callers => None,
            Self::Own(credential) => Some(credential.as_bytes()),
            Self::Tokens(tokens) => Some(tokens.identity()),
        }
    }
}

/// Which addresses a connection's host may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Those of the public internet: the host is one of the built-in catalogue, and who answers for its name in the DNS, or
    /// breaks into it, must not lead calls into the operator's own network.
    Public,
    /// Any: the operator named the host.
    Anywhere,
}

/// What a name stands for.
pub enum Lookup {
    /// A connection.
    Found(Arc<Connection>),
    /// Nothing of that name.
    Unknown,
    /// There is one, but it cannot be used; the reason is for people.
    Broken(String),
}

/// Connections by name. Asked on each call, so it must be quick; it may make a connection on the first asking.
pub trait Catalogue: Send + Sync {
    /// The connection of this name.
    fn connection(&self, name: &str) -> Lookup;
    /// All names, in the order to show them.
    fn names(&self) -> Vec<String>;
    /// Who headroom is to providers that want to see a certificate.
    fn identities(&self) -> Vec<Identity>;
    /// The programs that may call; empty: everybody may.
    fn consumers(&self) -> &Consumers;
    /// Who may look at headroom's own pages.
    fn admin(&self) -> &Admin;
}

/// A catalogue of connections that are all made already.
#[derive(Default)]
pub struct Connections(BTreeMap<String, Arc<Connection>>, Consumers, Admin);

impl FromIterator<Connection> for Connections {
    fn from_iter<I: IntoIterator<Item = Connection>>(connections: I) -> Self {
        Self(
            connections
                .into_iter()
                .map(|one| (one.name.clone(), Arc::new(one)))
                .collect(),
            Consumers::default(),
            Admin::default(),
        )
    }
}

impl Catalogue for Connections {
    fn connection(&self, name: &str) -> Lookup {
        self.0
            .get(name)
            .map_or(Lookup::Unknown, |found| Lookup::Found(Arc::clone(found)))
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    fn identities(&self) -> Vec<Identity> {
        let all = self.0.values();
        all.filter_map(|one| one.identity.clone()).collect()
    }

    fn consumers(&self) -> &Consumers {
        &self.1
    }

    fn admin(&self) -> &Admin {
        &self.2
    }
}
