//! `[consumers.NAME]`: read, and checked beside the connections.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use super::reader::Reader;
use super::{Config, ConnectionConfig, ConsumerConfig, ConsumerSpans, Named};
use crate::adapter::catalog::Catalog;
use crate::consumer::{self, PathPattern};
use crate::diagnostic::{Mistakes, closest};
use crate::document::{Fields, Node, quoted};
use crate::quota::{Share, percent};

/// The methods of RFC 9110 and 5789 that are passed on, and QUERY.
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY",
];

impl Reader<'_> {
    /// All consumers, in the order of the file.
    pub(super) fn consumers(&mut self, table: &Fields<'_>) -> Vec<ConsumerConfig> {
        let mut consumers: Vec<ConsumerConfig> = Vec::new();
        let mut known: BTreeMap<[u8; 32], &str> = BTreeMap::new();
        for (name, span, node) in table.entries() {
            let Some(fields) = node.table() else { continue };
            if !consumer::is_name(name) {
                self.mistakes.push(
                    "bad-consumer-name",
                    span,
                    format!("\"{name}\" cannot be a consumer's name"),
                    "write letters, digits, `-` and `_`, a letter or a digit first, at most 63 of them",
                );
            }
            let hash = fields
                .get("key_hash")
                .and_then(|node| Some((self.key_hash(node)?, node.span())));
            if let Some((hash, span)) = &hash
                && let Some(other) = known.insert(*hash, name)
            {
                self.mistakes.push(
                    "shared-key",
                    span.clone(),
                    format!("`{other}` has the same key, so nobody could tell the two apart"),
                    format!("give each its own: headroom key new {name}"),
                );
            }
            // Without a hash the configuration is not used.
            let hash = hash.map_or([0; 32], |(hash, _)| hash);
            consumers.push(self.consumer(name, hash, &fields));
        }
        consumers
    }

    fn consumer(&mut self, name: &str, key_hash: [u8; 32], fields: &Fields<'_>) -> ConsumerConfig {
        let mut spans = ConsumerSpans {
            share: fields.get("share").map_or(0..0, Node::span),
            ..ConsumerSpans::default()
        };
        let connections = fields.get("connections").map(|node| {
            spans.connections = self.names(node);
            let names = spans.connections.iter();
            names.map(|(name, _)| name.clone()).collect()
        });
        let methods = fields.get("methods").map(|node| self.methods(node));
        let paths = fields.get("paths").map(|node| self.paths(node));
        let mut cap = BTreeMap::new();
        let table = fields.get("cap").and_then(Node::table);
        for (policy, span, value) in table.iter().flat_map(Fields::entries) {
            spans.cap.push((policy.to_owned(), span));
            cap.extend(value.integer().map(|number| (policy.to_owned(), number)));
        }
        ConsumerConfig {
            name: name.to_owned(),
            key_hash,
            connections,
            methods,
            paths,
            share: fields.get("share").and_then(|node| self.share(node)),
            cap,
            spans,
        }
    }

    fn methods(&mut self, node: Node<'_>) -> Vec<Method> {
        let mut methods = Vec::new();
        for (name, span) in self.names(node) {
            if METHODS.contains(&&*name) {
                methods.extend(Method::from_bytes(name.as_bytes()));
                continue;
            }
            let near = closest(&name.to_ascii_uppercase(), METHODS);
            self.mistakes.push(
                "unknown-method",
                span,
                format!("\"{name}\" is not a method that headroom passes on"),
                near.map_or_else(
                    || format!("write some of {}", quoted(&METHODS)),
                    |near| format!("did you mean \"{near}\"? Methods have letter case"),
                ),
            );
        }
        methods
    }

    fn paths(&mut self, node: Node<'_>) -> Vec<PathPattern> {
        let mut paths = Vec::new();
        for (text, span) in self.names(node) {
            match PathPattern::new(&text) {
                Ok(pattern) => paths.push(pattern),
                Err(help) => self.mistakes.push(
                    "bad-path",
                    span,
                    format!("\"{text}\" is not a pattern of paths"),
                    help,
                ),
            }
        }
        paths
    }

    pub(super) fn key_hash(&mut self, node: Node<'_>) -> Option<[u8; 32]> {
        let text = self.text(node)?;
        let hash = consumer::from_hex(&text);
        if hash.is_none() {
            // The text itself is not repeated: it may be a secret out of the environment.
            let (message, help) = if text.starts_with(consumer::KEY_PREFIX) {
                let hash = consumer::to_hex(&consumer::hash_key(&text));
                (
                    "this is the key itself, which belongs to the program that calls",
                    format!("write its hash: key_hash = \"{hash}\""),
                )
            } else {
                (
                    "this is not the hash of a key",
                    "write the 64 hex digits that `headroom key new NAME` prints".to_owned(),
                )
            };
            self.mistakes
                .push("bad-key-hash", node.span(), message, help);
        }
        hash
    }
}

/// What shows only beside the connections and their adapters.
pub(super) fn check(config: &Config, catalog: &Catalog, mistakes: &mut Mistakes) {
    for connection in &config.connections {
        check_reserve(config, connection, mistakes);
    }
    for consumer in &config.consumers {
        check_names(config, &consumer.spans.connections, catalog, mistakes);
        check_cap(config, consumer, catalog, mistakes);
    }
    check_shares(config, mistakes);
}

fn check_reserve(config: &Config, connection: &ConnectionConfig, mistakes: &mut Mistakes) {
    let names = || config.consumers.iter().map(|consumer| &*consumer.name);
    for (name, span) in &connection.spans.reserved_for {
        let Some(consumer) = config.consumers.iter().find(|one| one.name == *name) else {
            mistakes.push(
                "unknown-consumer",
                span.clone(),
                format!("there is no consumer `{name}`"),
                closest(name, names()).map_or_else(
                    || format!("write [consumers.{name}], or name one that is there"),
                    |near| format!("did you mean \"{near}\"?"),
                ),
            );
            continue;
        };
        if !consumer.may_use(&connection.name) {
            mistakes.push(
                "key-without-effect",
                span.clone(),
                format!(
                    "the consumer `{name}` may not use the connection `{}`, so it cannot touch its reserve",
                    connection.name
                ),
                format!(
                    "add \"{}\" to its `connections`, or leave it out here",
                    connection.name
                ),
            );
        }
    }
}

/// Connections that are named are there.
pub(super) fn check_names(
    config: &Config,
    named: &Named,
    catalog: &Catalog,
    mistakes: &mut Mistakes,
) {
    let mut known: Vec<&str> = config
        .connections
        .iter()
        .map(|connection| &*connection.name)
        .collect();
    known.extend(catalog.ids());
    for (name, span) in named {
        if !known.contains(&name.as_str()) {
            mistakes.push(
                "unknown-connection",
                span.clone(),
                format!("there is no connection `{name}`"),
                closest(name, known.iter().copied()).map_or_else(
                    || format!("write [connections.{name}], or name one of `headroom providers`"),
                    |near| format!("did you mean \"{near}\"?"),
                ),
            );
        }
    }
}

/// A policy is known by the connections that the consumer may use. Where one of them is not known itself, nothing is said.
fn check_cap(
    config: &Config,
    consumer: &ConsumerConfig,
    catalog: &Catalog,
    mistakes: &mut Mistakes,
) {
    if consumer.spans.cap.is_empty() {
        return;
    }
    let provider = |name: &str| {
        let configured = config.connections.iter().find(|one| one.name == name);
        configured.map_or_else(|| name.to_owned(), |one| one.provider.clone())
    };
    let providers: BTreeSet<String> = match &consumer.connections {
        Some(names) => names.iter().map(|name| provider(name)).collect(),
        None => {
            let configured = config.connections.iter().map(|one| one.provider.clone());
            let all = catalog.ids().into_iter().map(str::to_owned);
            configured.chain(all).collect()
        }
    };
    let adapters: Option<Vec<_>> = providers.iter().map(|id| catalog.get(id)).collect();
    let Some(adapters) = adapters else { return };
    let policies = || {
        let policies = adapters.iter().flat_map(|adapter| &adapter.policies);
        policies.map(|policy| &*policy.name)
    };
    for (policy, span) in &consumer.spans.cap {
        if policies().any(|known| known == policy) {
            continue;
        }
        mistakes.push(
            "unknown-policy",
            span.clone(),
            format!(
                "`{policy}` is not a policy of any connection that `{}` may use",
                consumer.name
            ),
            closest(policy, policies()).map_or_else(
                || "`headroom providers ID` shows a provider's policies".to_owned(),
                |near| format!("did you mean `{near}`?"),
            ),
        );
    }
}

/// Shares of one connection are parts of one whole, its reserve among them.
fn check_shares(config: &Config, mistakes: &mut Mistakes) {
    let configured = config.connections.iter().map(|one| &*one.name);
    let listed = config.consumers.iter().flat_map(|one| &one.connections);
    let listed = listed.flatten().map(String::as_str);
    let mut seen = BTreeSet::new();
    let names = configured.chain(listed).filter(|name| seen.insert(*name));
    // `None` stands for the connections that nobody names: they belong to all who have no list.
    let all: Vec<Option<&str>> = names.map(Some).chain([None]).collect();
    let mut told = BTreeSet::new();
    for name in all {
        let may_use = |consumer: &&ConsumerConfig| match name {
            Some(name) => consumer.may_use(name),
            None => consumer.connections.is_none(),
        };
        let connection = config
            .connections
            .iter()
            .find(|connection| Some(&*connection.name) == name);
        let reserve = connection.and_then(|connection| connection.reserve.as_ref());
        let mut sum = reserve.map_or(0, |reserve| u64::from(reserve.share.millionths()));
        for consumer in config.consumers.iter().filter(may_use) {
            let Some(share) = consumer.share else {
                continue;
            };
            sum += u64::from(share.millionths());
            if sum <= u64::from(Share::WHOLE.millionths()) {
                continue;
            }
            if told.insert(consumer.spans.share.start) {
                let whose = name.map_or_else(
                    || "every connection".to_owned(),
                    |name| format!("the connection `{name}`"),
                );
                let reserved = reserve.map_or("", |_| " and its reserve");
                mistakes.push(
                    "shares-exceed-whole",
                    consumer.spans.share.clone(),
                    format!(
                        "with this one the shares of {whose}{reserved} add up to {}",
                        percent(sum)
                    ),
                    "write shares that add up to at most 100%; what one does not use is lent to the others",
                );
            }
            break;
        }
    }
}
