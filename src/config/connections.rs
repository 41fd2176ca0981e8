//! `[connections.NAME]`: read, and checked beside its adapter.

use std::collections::BTreeMap;
use std::ops::Range;

use super::reader::Reader;
use super::{ConnectionConfig, Modes, Named, Reserve, Spans, Waiting};
use crate::adapter::catalog::Catalog;
use crate::adapter::terms::Terms;
use crate::diagnostic::{Mistakes, closest};
use crate::document::{Fields, Node};
use crate::origin::Origin;
use crate::quota::Mode;

impl ConnectionConfig {
    pub(super) fn check(&self, catalog: &Catalog, mistakes: &mut Mistakes) {
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
        let base_url = self.base_url.as_ref().or(adapter.base_url.as_ref());
        let is_plain =
            base_url.is_some_and(|url| Origin::parse(url).is_ok_and(|origin| origin.is_plain()));
        if is_plain && !self.spans.client_certificate.is_empty() {
            let spans = [&self.spans.base_url, &self.spans.client_certificate];
            let span = spans.into_iter().find(|span| !span.is_empty());
            mistakes.push(
                "bad-url",
                span.cloned().unwrap_or_default(),
                "over http nobody asks for a certificate",
                "write a base_url that begins with https://, or take `client_certificate` out",
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
        self.check_credential(&adapter, mistakes);
        for (policy, span) in &self.spans.policies {
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

impl Reader<'_> {
    pub(super) fn connection(
        &mut self,
        name: &str,
        span: Range<usize>,
        fields: &Fields<'_>,
        waiting: Waiting,
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
            credential: fields.get("credential").map_or(0..0, Node::span),
            base_url: fields.get("base_url").map_or(0..0, Node::span),
            client_certificate: fields.get("client_certificate").map_or(0..0, Node::span),
            listen: fields.get("listen").map_or(0..0, Node::span),
            ..Spans::default()
        };
        if let Some(table) = fields.get("quotas").and_then(Node::table) {
            for (policy, span, value) in table.entries() {
                // What is no quota has been reported.
                if let Some(quota) = value.integer() {
                    quotas.insert(policy.to_owned(), quota);
                }
                spans.policies.push((policy.to_owned(), span));
            }
        }
        Some(ConnectionConfig {
            name: name.to_owned(),
            provider: fields
                .get("provider")
                .and_then(|node| self.text(node))
                .unwrap_or_else(|| name.to_owned()),
            base_url: fields.get("base_url").and_then(|node| self.base_url(node)),
            access: self.access(fields),
            identity: self.client_identity(fields),
            plan: fields.get("plan").and_then(|node| self.text(node)),
            time_zone: fields.get("time_zone").and_then(|node| self.zone(node)),
            quotas,
            listen: self.address(fields),
            modes: fields
                .get("mode")
                .map_or_else(Modes::default, |node| modes(node, &mut spans.policies)),
            pace: fields.get("pace").and_then(Node::boolean) == Some(true),
            waiting: self.waiting(fields, waiting),
            reserve: fields
                .get("reserve")
                .and_then(Node::table)
                .and_then(|table| self.reserve(&table, &mut spans.reserved_for)),
            spans,
        })
    }

    fn reserve(&mut self, fields: &Fields<'_>, reserved_for: &mut Named) -> Option<Reserve> {
        let share = fields.get("share").and_then(|node| self.share(node));
        if let Some(node) = fields.get("consumers") {
            *reserved_for = self.names(node);
        }
        Some(Reserve {
            share: share?,
            consumers: reserved_for.iter().map(|(name, _)| name.clone()).collect(),
        })
    }
}

/// `mode = "wait"`, or by policy. A word that is none has been reported.
fn modes(node: Node<'_>, policies: &mut Named) -> Modes {
    let mut modes = Modes {
        all: node.text().and_then(Mode::from_word),
        ..Modes::default()
    };
    for (policy, span, value) in node.table().iter().flat_map(Fields::entries) {
        policies.push((policy.to_owned(), span));
        if let Some(mode) = value.text().and_then(Mode::from_word) {
            modes.policies.insert(policy.to_owned(), mode);
        }
    }
    modes
}
