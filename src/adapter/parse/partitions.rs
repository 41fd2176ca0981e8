//! Partitions out of the tree: whose budget a policy counts.

use std::collections::BTreeSet;
use std::str::FromStr;

use http::HeaderName;

use crate::adapter::condition::PathTemplate;
use crate::adapter::pointer::Pointer;
use crate::adapter::{Learn, PartitionPart};
use crate::diagnostic::{Mistakes, closest};
use crate::document::{Fields, Node};

pub(super) fn partition(
    fields: &Fields<'_>,
    captured: &BTreeSet<String>,
    mistakes: &mut Mistakes,
) -> Vec<PartitionPart> {
    let Some(node) = fields.get("partition") else {
        return vec![PartitionPart::Credential];
    };
    let mut parts = Vec::new();
    for node in node.one_or_many() {
        let Some(text) = node.text() else { continue };
        parts.push(match text {
            "credential" => PartitionPart::Credential,
            "account" => PartitionPart::Account,
            "address" => PartitionPart::Address,
            "host" => PartitionPart::Host,
            "endpoint" => PartitionPart::Endpoint,
            "method" => PartitionPart::Method,
            text => {
                let capture = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
                let header = text
                    .strip_prefix("header:")
                    .and_then(|name| HeaderName::from_str(name).ok());
                match (capture, header) {
                    (Some(name), _) if captured.contains(name) => {
                        PartitionPart::Capture(name.to_owned())
                    }
                    (None, Some(name)) => PartitionPart::Header(name),
                    (Some(_), _) => {
                        not_captured(node, captured, mistakes);
                        continue;
                    }
                    _ => {
                        let braced = captured.iter().map(|name| format!("{{{name}}}"));
                        let known: Vec<String> = PARTITIONS
                            .iter()
                            .map(|word| (*word).to_owned())
                            .chain(braced)
                            .collect();
                        let help = closest(text, known.iter().map(String::as_str)).map_or_else(
                            || "write \"credential\", \"account\", \"address\", \"host\", \"endpoint\", \"method\", \"header:NAME\", or \"{name}\" that a path of `applies` captures".to_owned(),
                            |near| format!("did you mean \"{near}\"?"),
                        );
                        mistakes.push(
                            "unknown-partition",
                            node.span(),
                            format!("\"{text}\" is not a partition"),
                            help,
                        );
                        continue;
                    }
                }
            }
        });
    }
    parts
}

/// The partitions that have no name of their own.
const PARTITIONS: [&str; 6] = [
    "credential",
    "account",
    "address",
    "host",
    "endpoint",
    "method",
];

/// Reports a name in braces (or without them) that no path captures.
fn not_captured(node: Node<'_>, captured: &BTreeSet<String>, mistakes: &mut Mistakes) {
    let text = node.text().unwrap_or_default();
    let name = text.trim_start_matches('{').trim_end_matches('}');
    let near = closest(name, captured.iter().map(String::as_str));
    mistakes.push(
        "unknown-partition",
        node.span(),
        format!("\"{text}\" is not captured by a path of `applies`"),
        near.map_or_else(
            || "write the name of a captured segment in braces: applies = { path = \"/items/{item}\" } captures \"{item}\"".to_owned(),
            |near| format!("did you mean \"{{{near}}}\"?"),
        ),
    );
}

pub(super) fn learn(
    fields: &Fields<'_>,
    captured: &BTreeSet<String>,
    mistakes: &mut Mistakes,
) -> Vec<Learn> {
    let Some(node) = fields.get("learn") else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    for fields in node.one_or_many().into_iter().filter_map(Node::table) {
        let mut names = ["partition", "from"].into_iter().filter_map(|key| {
            let node = fields.get(key)?;
            let text = node.text()?;
            let name = text
                .strip_prefix('{')
                .and_then(|text| text.strip_suffix('}'));
            match name.filter(|name| captured.contains(*name)) {
                Some(name) => Some(name.to_owned()),
                None => {
                    not_captured(node, captured, mistakes);
                    None
                }
            }
        });
        let (partition, from) = (names.next(), names.next());
        drop(names);
        let path = fields.get("path").and_then(|node| {
            let text = node.text()?;
            if let Err(help) = PathTemplate::new(text) {
                mistakes.push(
                    "bad-path",
                    node.span(),
                    format!("\"{text}\" is not a path template"),
                    help,
                );
            }
            Some(text.to_owned())
        });
        let json = fields.get("json").and_then(|node| {
            let text = node.text()?;
            if let Err(help) = Pointer::new(text) {
                mistakes.push(
                    "bad-pointer",
                    node.span(),
                    format!("\"{text}\" is not a JSON pointer"),
                    help,
                );
            }
            Some(text.to_owned())
        });
        if let (Some(partition), Some(from), Some(path), Some(json)) = (partition, from, path, json)
        {
            rules.push(Learn {
                partition,
                from,
                path,
                json,
            });
        }
    }
    rules
}
