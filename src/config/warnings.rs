//! `[warnings]` and `[[webhooks]]`: read, and checked beside the connections.

use std::time::Duration;

use super::consumers::check_names;
use super::reader::Reader;
use super::{Config, WarningsConfig, WebhookConfig};
use crate::adapter::catalog::Catalog;
use crate::diagnostic::Mistakes;
use crate::document::{Fields, Node};
use crate::ledger::lookout::MOST_THRESHOLDS;
use crate::warn::{Endpoint, EndpointUrl, Kind, Secrets};

impl Reader<'_> {
    pub(super) fn warnings(&mut self, fields: &Fields<'_>) -> WarningsConfig {
        let defaults = WarningsConfig::default();
        let longest = fields.get("min_window");
        let min_window = longest.and_then(|node| self.duration(node));
        WarningsConfig {
            thresholds: fields
                .get("thresholds")
                .map_or(defaults.thresholds, |node| self.thresholds(node)),
            forecast: fields.get("forecast").and_then(Node::boolean) != Some(false),
            min_window: min_window.map_or(defaults.min_window, Duration::from_secs),
        }
    }

    fn thresholds(&mut self, node: Node<'_>) -> Vec<u8> {
        let items = node.one_or_many();
        if items.len() > MOST_THRESHOLDS {
            self.mistakes.push(
                "too-many-thresholds",
                node.span(),
                format!("these are {} thresholds", items.len()),
                format!("write at most {MOST_THRESHOLDS}"),
            );
        }
        let mut thresholds = Vec::new();
        for item in items {
            let Some(number) = item.integer() else {
                continue;
            };
            match u8::try_from(number) {
                Ok(percent @ 1..=100) => thresholds.push(percent),
                _ => self.mistakes.push(
                    "bad-threshold",
                    item.span(),
                    format!("a quota cannot be used up to {number}%"),
                    "write per cent, from 1 to 100: thresholds = [80, 95, 100]",
                ),
            }
        }
        thresholds
    }

    pub(super) fn webhooks(&mut self, node: Node<'_>) -> Vec<WebhookConfig> {
        let mut webhooks: Vec<WebhookConfig> = Vec::new();
        for fields in node.one_or_many().into_iter().filter_map(Node::table) {
            let url = fields
                .get("url")
                .and_then(|node| Some((self.webhook_url(node)?, node.span())));
            let secrets = self.webhook_secrets(&fields);
            let mut connections = Vec::new();
            let named = fields.get("connections").map(|node| {
                connections = self.names(node);
                connections.iter().map(|(name, _)| name.clone()).collect()
            });
            if let Some((url, span)) = &url
                && webhooks.iter().any(|other| url.is(&other.endpoint))
            {
                self.mistakes.push(
                    "duplicate-webhook",
                    span.clone(),
                    "this receiver is there already",
                    "write each once; `events` and `connections` say what it is told",
                );
            }
            // Without one of them the configuration is not used.
            let (Some((url, _)), Some(secrets)) = (url, secrets) else {
                continue;
            };
            let mut endpoint = Endpoint::new(url, secrets);
            if let Some(node) = fields.get("events") {
                let words = node.one_or_many().into_iter();
                endpoint.events = words
                    .filter_map(|word| Kind::from_word(word.text()?))
                    .collect();
            }
            endpoint.connections = named;
            webhooks.push(WebhookConfig {
                endpoint,
                connections,
            });
        }
        webhooks
    }

    /// As with secrets: whoever knows the URL of a webhook may often send to it.
    fn webhook_url(&mut self, node: Node<'_>) -> Option<EndpointUrl> {
        self.mistakes.hide(node.span());
        let text = self.text(node)?;
        match EndpointUrl::parse(&text) {
            Ok(url) => Some(url),
            Err(problem) => {
                self.mistakes.push(
                    "bad-webhook-url",
                    node.span(),
                    problem,
                    "write an https URL, as in \"https://hooks.example.com/headroom\", or one of this machine",
                );
                None
            }
        }
    }

    /// The line is shown with each mistake in it, the secret never.
    fn webhook_secrets(&mut self, fields: &Fields<'_>) -> Option<Secrets> {
        let node = fields.get("secret")?;
        self.mistakes.hide(node.span());
        let text = self.text(node)?;
        match Secrets::parse(&text) {
            Ok(secrets) => Some(secrets),
            Err(problem) => {
                self.mistakes.push(
                    "bad-webhook-secret",
                    node.span(),
                    format!("`secret` cannot sign: {problem}"),
                    "make one: echo \"whsec_$(openssl rand -base64 32)\"",
                );
                None
            }
        }
    }
}

/// What shows only beside the connections.
pub(super) fn check(config: &Config, catalog: &Catalog, mistakes: &mut Mistakes) {
    for webhook in &config.webhooks {
        check_names(config, &webhook.connections, catalog, mistakes);
    }
}
