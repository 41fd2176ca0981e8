//! `[admin]`: who may look at headroom's own pages.

use super::ConsumerConfig;
use super::reader::Reader;
use crate::address::literal;
use crate::document::{Fields, Node};
use crate::guard::Admin;

impl Reader<'_> {
    /// The table, and beside the consumers: a key that is one of theirs would open to it what is the admin's.
    pub(super) fn admin(&mut self, fields: &Fields<'_>, consumers: &[ConsumerConfig]) -> Admin {
        let key = fields.get("key_hash");
        let key_hash = key.and_then(|node| self.key_hash(node));
        if let (Some(node), Some(hash)) = (key, key_hash)
            && let Some(consumer) = consumers.iter().find(|one| one.key_hash == hash)
        {
            self.mistakes.push(
                "shared-key",
                node.span(),
                format!("the consumer `{}` has the same key", consumer.name),
                "give the pages a key of their own: headroom key new NAME --admin",
            );
        }
        let mut hosts = Vec::new();
        for node in fields.get("hosts").map_or_else(Vec::new, Node::one_or_many) {
            hosts.extend(self.host(node));
        }
        Admin {
            key_hash,
            hosts,
            has_open_metrics: fields.text("metrics") == Some("open"),
        }
    }

    /// A name without a port, in lower case.
    fn host(&mut self, node: Node<'_>) -> Option<String> {
        let text = self.text(node)?;
        let name = text.strip_suffix('.').unwrap_or(&text);
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = !name.is_empty() && name.len() <= 253 && name.bytes().all(is_of_name);
        if !is_name && literal(name).is_none() {
            self.mistakes.push(
                "bad-host",
                node.span(),
                format!("\"{text}\" is not the name of a host"),
                "write the name alone, without scheme and port: hosts = [\"headroom.example.com\"]",
            );
            return None;
        }
        Some(name.to_ascii_lowercase())
    }
}
