//! The root of the configuration, and the values that stand in several of its tables.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::references::{self, Outside};
use super::secrets::Found;
use super::{Config, Named, Waiting};
use crate::adapter::parse::{closest_zone, read_seconds, read_zone};
use crate::diagnostic::Mistakes;
use crate::document::{Fields, Node};
use crate::emit::{LimitStyle, Style};
use crate::quota::Share;
use crate::secret::Secret;

/// Reads the tree; what is wrong goes to the mistakes.
pub(super) struct Reader<'a> {
    pub(super) outside: &'a dyn Outside,
    pub(super) mistakes: &'a mut Mistakes,
    resolved: &'a mut Vec<Resolved>,
}

/// A value that stands elsewhere: in the environment or in a file of its own. It may be a secret, whatever its key is. Or one
/// that is written out, and a secret by its key.
#[derive(Clone)]
pub(super) struct Resolved {
    span: Range<usize>,
    value: Secret,
    /// As it may be shown.
    written: String,
}

impl Resolved {
    /// What is written out, and a secret. Where a list is not closed, it may be taken for its elements.
    pub(super) fn written_out(found: Found) -> Self {
        Self {
            value: Secret::from(found.value),
            span: found.span,
            written: "(secret)".to_owned(),
        }
    }
}

impl fmt::Debug for Resolved {
    /// As it was written.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.written)
    }
}

/// Mistakes show such a value as it was written.
pub(super) fn hide(resolved: &[Resolved], mistakes: &mut Mistakes) {
    for one in resolved {
        let value = one.value.expose();
        let quoted = |text: &str| [format!("\"{text}\""), format!("`{text}`")];
        mistakes.rewrite(&one.span, |text| {
            let mut text = text.to_owned();
            for (from, to) in quoted(value).iter().zip(quoted(&one.written)) {
                text = text.replace(from, &to);
            }
            // Short ones are words of every sentence.
            if value.len() >= 4 && text.contains(value) {
                return "what this stands for does not fit here".to_owned();
            }
            text
        });
    }
}

impl<'a> Reader<'a> {
    pub(super) const fn new(
        outside: &'a dyn Outside,
        mistakes: &'a mut Mistakes,
        resolved: &'a mut Vec<Resolved>,
    ) -> Self {
        Self {
            outside,
            mistakes,
            resolved,
        }
    }

    pub(super) fn config(&mut self, root: &Fields<'_>) -> Config {
        let mut style = Style::default();
        if let Some(headers) = root.get("headers").and_then(Node::table) {
            style.limit = match headers.text("limit") {
                Some("plain") => LimitStyle::Plain,
                Some("list") => LimitStyle::List,
                _ => LimitStyle::Windowed,
            };
            style.structured = headers.text("structured") != Some("off");
        }
        let defaults = Config::default();
        let waiting = self.waiting(root, defaults.waiting);
        let mut connections = Vec::new();
        if let Some(table) = root.get("connections").and_then(Node::table) {
            for (name, span, node) in table.entries() {
                if let Some(fields) = node.table() {
                    connections.extend(self.connection(name, span, &fields, waiting));
                }
            }
        }
        let consumers = root.get("consumers").and_then(Node::table);
        let consumers = consumers.map_or_else(Vec::new, |table| self.consumers(&table));
        let admin = root.get("admin").and_then(Node::table);
        Config {
            listen: self.address(root),
            open_to_all: root.get("open_to_all").and_then(Node::boolean) == Some(true),
            admin: admin.map_or_else(Default::default, |table| self.admin(&table, &consumers)),
            providers: root.get("providers").map_or_else(Vec::new, |node| {
                node.one_or_many()
                    .into_iter()
                    .filter_map(|node| self.text(node))
                    .collect()
            }),
            authorities: root
                .get("ca_file")
                .and_then(|node| self.authorities(node))
                .unwrap_or_default(),
            identity: root
                .get("tls")
                .and_then(Node::table)
                .and_then(|tls| self.identity(&tls, ["certificate", "key"])),
            via: root.get("via").and_then(|node| self.pseudonym(node)),
            state_dir: root.get("state_dir").and_then(|node| self.state_dir(node)),
            otlp_endpoint: root
                .get("telemetry")
                .and_then(Node::table)
                .and_then(|telemetry| self.collector(&telemetry)),
            count_block: root
                .get("count_block")
                .and_then(|node| self.count_block(node))
                .unwrap_or(defaults.count_block),
            waiting,
            style,
            history: root
                .get("history")
                .and_then(Node::table)
                .map_or(defaults.history, |table| self.history(&table)),
            limits: root
                .get("limits")
                .and_then(Node::table)
                .map_or(defaults.limits, |table| self.limits(&table)),
            warnings: root
                .get("warnings")
                .and_then(Node::table)
                .map_or(defaults.warnings, |table| self.warnings(&table)),
            webhooks: root
                .get("webhooks")
                .map_or_else(Vec::new, |node| self.webhooks(node)),
            connections,
            consumers,
            listen_span: root.get("listen").map_or(0..0, Node::span),
            resolved: Vec::new(),
        }
    }

    /// A string with its references resolved.
    pub(super) fn text(&mut self, node: Node<'_>) -> Option<String> {
        self.resolve(node.text()?, node.span())
    }

    /// The text at that place, with its references resolved.
    pub(super) fn resolve(&mut self, written: &str, span: Range<usize>) -> Option<String> {
        match references::resolve(written, self.outside) {
            Ok(text) => {
                if text != written {
                    self.resolved.push(Resolved {
                        span,
                        value: Secret::from(text.as_str()),
                        written: written.to_owned(),
                    });
                }
                Some(text)
            }
            Err((problem, help)) => {
                self.mistakes
                    .push("unresolved-reference", span, problem, help);
                None
            }
        }
    }

    pub(super) fn address(&mut self, fields: &Fields<'_>) -> Option<SocketAddr> {
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

    fn collector(&mut self, telemetry: &Fields<'_>) -> Option<String> {
        let node = telemetry.get("otlp_endpoint")?;
        let text = self.bare_url(node)?;
        let fits = url::Url::parse(&text).is_ok_and(|url| {
            let is_bare = url.username().is_empty() && url.password().is_none();
            matches!(url.scheme(), "http" | "https") && url.query().is_none() && is_bare
        });
        if !fits {
            let shown = if text.contains(['@', '?']) {
                "this".to_owned()
            } else {
                format!("\"{text}\"")
            };
            self.mistakes.push(
                "bad-url",
                node.span(),
                format!("{shown} is not the address of a collector"),
                "write scheme, host and port: otlp_endpoint = \"http://127.0.0.1:4318\"",
            );
            return None;
        }
        Some(text)
    }

    /// A URL in which no credential belongs. Where there may be one all the same, its line is shown without it.
    fn bare_url(&mut self, node: Node<'_>) -> Option<String> {
        let text = self.text(node)?;
        if text.contains(['@', '?']) {
            self.mistakes.hide(node.span());
        }
        Some(text)
    }

    pub(super) fn base_url(&mut self, node: Node<'_>) -> Option<String> {
        let text = self.bare_url(node)?;
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

    pub(super) fn zone(&mut self, node: Node<'_>) -> Option<TimeZone> {
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

    /// `max_waiting` and `max_wait`.
    pub(super) fn waiting(&mut self, fields: &Fields<'_>, default: Waiting) -> Waiting {
        let number = fields.get("max_waiting").and_then(Node::integer);
        let longest = fields
            .get("max_wait")
            .and_then(|node| self.duration(node))
            .map(Duration::from_secs);
        Waiting {
            // A number that does not fit is more than can wait in any memory.
            max_waiting: number.map_or(default.max_waiting, |number| {
                usize::try_from(number).unwrap_or(usize::MAX)
            }),
            max_wait: longest.unwrap_or(default.max_wait),
        }
    }

    pub(super) fn duration(&mut self, node: Node<'_>) -> Option<u64> {
        let text = self.text(node)?;
        let seconds = read_seconds(&text);
        if seconds.is_none() {
            self.mistakes.push(
                "bad-duration",
                node.span(),
                format!("\"{text}\" is not a length of time"),
                "write a number and its unit: \"10s\", \"15m\", \"1h\", \"7d\" (at most 366 days)",
            );
        }
        seconds
    }

    /// A part of a quota.
    pub(super) fn share(&mut self, node: Node<'_>) -> Option<Share> {
        let text = self.text(node)?;
        let share = Share::from_percent(&text);
        if share.is_none() {
            self.mistakes.push(
                "bad-share",
                node.span(),
                format!("\"{text}\" is not a part of a quota"),
                "write more than 0% and at most 100%, with at most four decimals: \"30%\", \"12.5%\"",
            );
        }
        share
    }

    /// A list of names, each with its place.
    pub(super) fn names(&mut self, node: Node<'_>) -> Named {
        node.one_or_many()
            .into_iter()
            .filter_map(|node| Some((self.text(node)?, node.span())))
            .collect()
    }

    fn count_block(&mut self, node: Node<'_>) -> Option<u64> {
        let number = node.integer()?;
        if number == 0 {
            self.mistakes.push(
                "number-out-of-range",
                node.span(),
                "`count_block` is out of range",
                "write at least 1: then each call is written down before it is sent",
            );
        }
        Some(number)
    }

    fn state_dir(&mut self, node: Node<'_>) -> Option<String> {
        let text = self.text(node)?;
        if text.is_empty() {
            self.mistakes.push(
                "no-state-dir",
                node.span(),
                "`state_dir` names no folder",
                "name a folder, or leave it out; to keep no state: headroom serve --no-state",
            );
        }
        Some(text)
    }
}
