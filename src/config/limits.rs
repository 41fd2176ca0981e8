//! `[limits]`: what is taken of callers and providers, and how long they are waited for.

use std::time::Duration;

use super::reader::Reader;
use crate::document::Fields;
use crate::limits::Limits;

/// Below it ordinary browsers' cookies would not fit.
const LEAST_HEAD: u64 = 8 * 1024;
/// A head is held in memory as a whole, for each call.
const MOST_HEAD: u64 = 1024 * 1024;
/// Ordinary clients send up to a dozen, and a few proxies add theirs.
const LEAST_FIELDS: u64 = 32;
const MOST_FIELDS: u64 = 8 * 1024;
/// More would not fit into any memory, or any range of ports.
const MOST_CALLS: u64 = 1_000_000;
const MOST_CONNECTIONS: u64 = 60_000;
/// Who wants to wait for longer does not want a limit.
const MOST_SECONDS: u64 = 86_400;

impl Reader<'_> {
    pub(super) fn limits(&mut self, fields: &Fields<'_>) -> Limits {
        let defaults = Limits::default();
        let most_calls = defaults.concurrent_calls;
        let connections = defaults.connections_per_origin;
        Limits {
            header_bytes: self.size(
                fields,
                "header_bytes",
                (LEAST_HEAD, MOST_HEAD),
                defaults.header_bytes,
            ),
            header_fields: self.size(
                fields,
                "header_fields",
                (LEAST_FIELDS, MOST_FIELDS),
                defaults.header_fields,
            ),
            body_bytes: self.within(fields, "body_bytes", (1, u64::MAX)),
            head_timeout: self.timeout(fields, "head_timeout", defaults.head_timeout),
            body_timeout: self.timeout(fields, "body_timeout", defaults.body_timeout),
            send_timeout: self.timeout(fields, "send_timeout", defaults.send_timeout),
            idle_timeout: self.timeout(fields, "idle_timeout", defaults.idle_timeout),
            connect_timeout: self.timeout(fields, "connect_timeout", defaults.connect_timeout),
            answer_timeout: self.timeout(fields, "answer_timeout", defaults.answer_timeout),
            silence_timeout: self.timeout(fields, "silence_timeout", defaults.silence_timeout),
            concurrent_calls: self.size(fields, "concurrent_calls", (1, MOST_CALLS), most_calls),
            connections_per_origin: self.size(
                fields,
                "connections_per_origin",
                (1, MOST_CONNECTIONS),
                connections,
            ),
            drain_delay: self.delay(fields, "drain_delay", defaults.drain_delay),
            drain_timeout: self.timeout(fields, "drain_timeout", defaults.drain_timeout),
        }
    }

    fn size(&mut self, fields: &Fields<'_>, key: &str, range: (u64, u64), default: usize) -> usize {
        let number = self.within(fields, key, range);
        number.map_or(default, |number| usize::try_from(number).unwrap_or(default))
    }

    /// A number in its range; what is refused counts as left out.
    fn within(&mut self, fields: &Fields<'_>, key: &str, (least, most): (u64, u64)) -> Option<u64> {
        let node = fields.get(key)?;
        let number = node.integer()?;
        if (least..=most).contains(&number) {
            return Some(number);
        }
        let help = if most == u64::MAX {
            format!("write at least {least}, or leave it out for no limit")
        } else {
            format!("write a number from {least} to {most}")
        };
        let problem = format!("`{key}` is out of range");
        self.mistakes
            .push("number-out-of-range", node.span(), problem, help);
        None
    }

    fn timeout(&mut self, fields: &Fields<'_>, key: &str, default: Duration) -> Duration {
        self.time(fields, key, "1s", default)
    }

    /// A time that may be none.
    fn delay(&mut self, fields: &Fields<'_>, key: &str, default: Duration) -> Duration {
        let node = fields.get(key);
        let is_none = node.and_then(|node| self.text(node)).as_deref() == Some("0s");
        if is_none {
            return Duration::ZERO;
        }
        self.time(fields, key, "0s", default)
    }

    fn time(&mut self, fields: &Fields<'_>, key: &str, least: &str, default: Duration) -> Duration {
        let Some(node) = fields.get(key) else {
            return default;
        };
        let Some(seconds) = self.duration(node) else {
            return default;
        };
        if (1..=MOST_SECONDS).contains(&seconds) {
            return Duration::from_secs(seconds);
        }
        self.mistakes.push(
            "bad-duration",
            node.span(),
            format!("`{key}` is out of range"),
            format!("write a time from \"{least}\" to \"24h\""),
        );
        default
    }
}
