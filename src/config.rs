//! What the user says: `headroom.toml`. Text in, [`Config`] out, with every mistake; no files and no environment here, the
//! command line hands both in.

mod language;
mod references;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use jiff::tz::TimeZone;

pub use language::CONFIG;
pub use references::Outside;

use crate::adapter::catalog::Catalog;
use crate::adapter::parse::{closest_zone, read_zone};
use crate::adapter::terms::Terms;
use crate::diagnostic::{Mistakes, closest};
use crate::document::{self, Fields, Node};
use crate::emit::{LimitStyle, Style};

/// The whole configuration.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Where the gateway listens.
    pub listen: Option<SocketAddr>,
    /// Folders of adapters, as written: relative to the file.
    pub providers: Vec<String>,
    /// A file with certificate authorities to trust beside the system's, as written.
    pub ca_file: Option<String>,
    /// Headroom's name in `Via` (RFC 9110, section 7.6.3).
    pub via: Option<String>,
    /// How the standard headers are written.
    pub style: Style,
    /// The connections, in the order of the file.
    pub connections: Vec<ConnectionConfig>,
}

/// One `[connections.NAME]`.
#[derive(Debug, Clone)]
pub struct ConnectionConfig {
    /// The mount: `/NAME/`.
    pub name: String,
    /// The adapter's id.
    pub provider: String,
    /// Instead of the adapter's.
    pub base_url: Option<String>,
    /// The account's plan.
    pub plan: Option<String>,
    /// The account's zone.
    pub time_zone: Option<TimeZone>,
    /// The account's own quotas, by policy.
    pub quotas: BTreeMap<String, u64>,
    /// A port of its own.
    pub listen: Option<SocketAddr>,
    spans: Spans,
}

#[derive(Debug, Clone, Default)]
struct Spans {
    name: Range<usize>,
    provider: Range<usize>,
    plan: Range<usize>,
    quotas: Vec<(String, Range<usize>)>,
}

/// Parses and checks a configuration, as far as that goes without the adapters. With mistakes, the configuration is as good
/// as the text allows, so that [`Config::check`] can find the others too; it must not be used.
#[must_use]
pub fn parse(source: &str, outside: &dyn Outside) -> (Config, Mistakes) {
    let mut mistakes = Mistakes::default();
    let table = document::parse(source, &CONFIG, &mut mistakes);
    let root = Fields::root(&table);
    let mut reader = Reader {
        outside,
        mistakes: &mut mistakes,
    };
    let config = reader.config(&root);
    mistakes.drop_echoes(source);
    (config, mistakes)
}

impl Config {
    /// The mistakes that only show beside the adapters: unknown providers, plans and policies, missing hosts.
    #[must_use]
    pub fn check(&self, catalog: &Catalog) -> Mistakes {
        let mut mistakes = Mistakes::default();
        for connection in &self.connections {
            connection.check(catalog, &mut mistakes);
        }
        mistakes
    }
}

impl ConnectionConfig {
    fn check(&self, catalog: &Catalog, mistakes: &mut Mistakes) {
        let Some(adapter) = catalog.get(&self.provider) else {
            let near = closest(&self.provider, catalog.ids());
            mistakes.push(
                "unknown-provider",
                self.spans.provider.clone(),
                format!("there is no adapter `{}`", self.provider),
                near.map_or_else(
                    || "name one of `headroom providers` with `provider = \"…\"`, or write an adapter: headroom new".to_owned(),
                    |near| format!("did you mean provider = \"{near}\"? `headroom providers` lists them all"),
                ),
            );
            return;
        };
        if self.base_url.is_none() && (adapter.base_url.is_none() || adapter.base_url_is_template) {
            let example = adapter
                .base_url
                .as_deref()
                .unwrap_or("https://host.example.com");
            mistakes.push(
                "no-base-url",
                self.spans.name.clone(),
                format!("every account of {} has a host of its own", adapter.name),
                format!("write base_url = \"{example}\" with your own host in it"),
            );
        }
        if let Err(message) = Terms::new(&adapter, self.plan.as_deref(), None, &BTreeMap::new()) {
            mistakes.push(
                "unknown-plan",
                self.spans.plan.clone(),
                message,
                "write one of the adapter's plans, or the quota itself: quotas = { … }",
            );
        }
        for (policy, span) in &self.spans.quotas {
            let one = BTreeMap::from([(policy.clone(), 1)]);
            if let Err(message) = Terms::new(&adapter, None, None, &one) {
                mistakes.push(
                    "unknown-policy",
                    span.clone(),
                    message,
                    format!("`headroom providers {}` shows its policies", adapter.id),
                );
            }
        }
    }
}

struct Reader<'a> {
    outside: &'a dyn Outside,
    mistakes: &'a mut Mistakes,
}

impl Reader<'_> {
    fn config(&mut self, root: &Fields<'_>) -> Config {
        let mut style = Style::default();
        if let Some(headers) = root.get("headers").and_then(Node::table) {
            style.limit = match headers.text("limit") {
                Some("plain") => LimitStyle::Plain,
                Some("list") => LimitStyle::List,
                _ => LimitStyle::Windowed,
            };
            style.structured = headers.text("structured") != Some("off");
        }
        let mut connections = Vec::new();
        if let Some(table) = root.get("connections").and_then(Node::table) {
            for (name, span, node) in table.entries() {
                if let Some(fields) = node.table() {
                    connections.extend(self.connection(name, span, &fields));
                }
            }
        }
        Config {
            listen: self.address(root),
            providers: root.get("providers").map_or_else(Vec::new, |node| {
                node.one_or_many()
                    .into_iter()
                    .filter_map(|node| self.text(node))
                    .collect()
            }),
            ca_file: root.get("ca_file").and_then(|node| self.text(node)),
            via: root.get("via").and_then(|node| self.pseudonym(node)),
            style,
            connections,
        }
    }

    fn connection(
        &mut self,
        name: &str,
        span: Range<usize>,
        fields: &Fields<'_>,
    ) -> Option<ConnectionConfig> {
        // The name stands in paths and, before `.localhost`, in hosts: these mean the same in both.
        let fits = !name.is_empty()
            && name.len() <= 63
            && !name.starts_with('-')
            && !name.ends_with('-')
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if !fits {
            self.mistakes.push(
                "bad-connection-name",
                span.clone(),
                format!("\"{name}\" cannot be a connection's name"),
                "write lower-case letters, digits, `-` and `_`: the name stands in paths and hosts",
            );
        }
        let mut quotas = BTreeMap::new();
        let mut spans = Spans {
            name: span.clone(),
            provider: fields.get("provider").map_or(span, Node::span),
            plan: fields.get("plan").map_or(0..0, Node::span),
            quotas: Vec::new(),
        };
        if let Some(table) = fields.get("quotas").and_then(Node::table) {
            for (policy, span, value) in table.entries() {
                quotas.insert(policy.to_owned(), value.integer()?);
                spans.quotas.push((policy.to_owned(), span));
            }
        }
        Some(ConnectionConfig {
            name: name.to_owned(),
            provider: fields
                .get("provider")
                .and_then(|node| self.text(node))
                .unwrap_or_else(|| name.to_owned()),
            base_url: fields.get("base_url").and_then(|node| self.base_url(node)),
            plan: fields.get("plan").and_then(|node| self.text(node)),
            time_zone: fields.get("time_zone").and_then(|node| self.zone(node)),
            quotas,
            listen: self.address(fields),
            spans,
        })
    }

    /// A string with its references resolved.
    fn text(&mut self, node: Node<'_>) -> Option<String> {
        match references::resolve(node.text()?, self.outside) {
            Ok(text) => Some(text),
            Err((problem, help)) => {
                self.mistakes
                    .push("unresolved-reference", node.span(), problem, help);
                None
            }
        }
    }

    fn address(&mut self, fields: &Fields<'_>) -> Option<SocketAddr> {
        let node = fields.get("listen")?;
        let text = self.text(node)?;
        let address = text.parse().ok();
        if address.is_none() {
            self.mistakes.push(
                "bad-address",
                node.span(),
                format!("\"{text}\" is not an address to listen on"),
                "write address and port, as in \"127.0.0.1:8080\" or \"[::1]:8080\"",
            );
        }
        address
    }

    fn pseudonym(&mut self, node: Node<'_>) -> Option<String> {
        let text = self.text(node)?;
        let fits = !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !fits {
            self.mistakes.push(
                "bad-pseudonym",
                node.span(),
                format!("\"{text}\" cannot be a name in `Via`"),
                "write letters, digits, `-`, `.` and `_`: via = \"headroom-eu\"",
            );
        }
        Some(text)
    }

    fn base_url(&mut self, node: Node<'_>) -> Option<String> {
        let text = self.text(node)?;
        if let Err(problem) = crate::origin::Origin::parse(&text) {
            self.mistakes.push(
                "bad-url",
                node.span(),
                problem,
                "write scheme and host, as in \"https://api.example.com\"",
            );
        }
        Some(text)
    }

    fn zone(&mut self, node: Node<'_>) -> Option<TimeZone> {
        let text = self.text(node)?;
        let zone = read_zone(&text);
        if zone.is_none() {
            self.mistakes.push(
                "bad-time-zone",
                node.span(),
                format!("\"{text}\" is not a time zone"),
                closest_zone(&text).map_or_else(
                    || "write a name such as \"Europe/Oslo\" or \"UTC\"".to_owned(),
                    |near| format!("did you mean \"{near}\"?"),
                ),
            );
        }
        zone
    }
}
