//! What a call can be for: a connection, its origin, and the catalogue that knows them by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use url::Url;

use super::target;
use crate::adapter::Adapter;
use crate::adapter::terms::Terms;
use crate::emit::Style;

/// One account at a provider, mounted at `/<name>/`.
pub struct Connection {
    /// The first path segment, or the label before `.localhost`.
    pub name: String,
    /// The only place its calls can reach.
    pub origin: Origin,
    /// How the provider speaks of its limits.
    pub adapter: Arc<Adapter>,
    /// What this account is known to have.
    pub terms: Terms,
    /// How its standard headers are written.
    pub style: Style,
}

/// Where a connection's calls go: scheme, host, port, and a path before every path where the base URL has one.
#[derive(Debug, Clone)]
pub struct Origin {
    /// `https://api.example.com` as a URL, so that it is parsed once.
    root: Url,
    /// The same as text, without the slash at the end.
    base: String,
    /// Lower-case host with its port where that is not the scheme's own.
    authority: String,
    /// `""` or `/v2`: never with a slash at the end.
    prefix: String,
}

impl Origin {
    /// Reads a base URL.
    ///
    /// # Errors
    ///
    /// A sentence for people when it is no `http` or `https` URL, or carries credentials, a query or a fragment.
    pub fn parse(base_url: &str) -> Result<Self, String> {
        let url =
            Url::parse(base_url).map_err(|error| format!("`{base_url}` is not a URL: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("`{base_url}` is neither http nor https"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a base URL cannot carry credentials".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("`{base_url}` cannot have a query or a fragment"));
        }
        let base = url.origin().ascii_serialization();
        let authority = base
            .split_once("://")
            .map(|(_, authority)| authority.to_owned())
            .unwrap_or_default();
        let prefix = url.path().trim_end_matches('/').to_owned();
        let root = Url::parse(&base).map_err(|error| format!("`{base}` is not a URL: {error}"))?;
        Ok(Self {
            root,
            base,
            authority,
            prefix,
        })
    }

    /// The URL of a raw path and query, byte for byte; `None` where that cannot be had.
    pub(super) fn url(&self, target: &str) -> Option<Url> {
        target::exact_url(&self.root, [&self.base, &self.prefix, target])
    }

    /// What follows the base URL in `reference`, when it is an absolute URL (or one without a scheme) within it.
    pub(super) fn strip<'a>(&self, reference: &'a str) -> Option<&'a str> {
        let scheme = self.root.scheme();
        let rest = match reference.split_once("//")? {
            ("", rest) => rest,
            (before, rest) => {
                before
                    .strip_suffix(':')
                    .filter(|found| found.eq_ignore_ascii_case(scheme))?;
                rest
            }
        };
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let default_port = if scheme == "https" { ":443" } else { ":80" };
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        if !authority.eq_ignore_ascii_case(&self.authority) {
            return None;
        }
        let path = path.strip_prefix(self.prefix.as_str())?;
        (path.is_empty() || path.starts_with(['/', '?', '#'])).then_some(path)
    }

    /// What URLs of this API begin with, for looking in bodies.
    pub(super) fn base_url(&self) -> String {
        format!("{}{}", self.base, self.prefix)
    }

    /// Without TLS the provider speaks HTTP/1.1 for certain.
    pub(super) fn is_plain(&self) -> bool {
        self.root.scheme() == "http"
    }
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
}

/// A catalogue of connections that are all made already.
#[derive(Default)]
pub struct Connections(BTreeMap<String, Arc<Connection>>);

impl FromIterator<Connection> for Connections {
    fn from_iter<I: IntoIterator<Item = Connection>>(connections: I) -> Self {
        Self(
            connections
                .into_iter()
                .map(|one| (one.name.clone(), Arc::new(one)))
                .collect(),
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
}
