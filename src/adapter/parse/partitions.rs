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
                    (None, Some(name)) if is_secret(&name) => PartitionPart::SecretHeader(name),
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

/// Whether a header's name sounds like a secret. Partitions are shown to people, and what is shown once cannot be taken
/// back, so it is better to hide too much.
fn is_secret(name: &HeaderName) -> bool {
    [
        "auth",
        "cookie",
        "credential",
        "key",
        "pass",
        "secret",
        "session",
        "signature",
        "token",
    ]
    .iter()
    .any(|word| name.as_str().contains(word))
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
        rules.extend(rule(&fields, captured, mistakes));
    }
    rules
}

fn rule(
    fields: &Fields<'_>,
    captured: &BTreeSet<String>,
    mistakes: &mut Mistakes,
) -> Option<Learn> {
    let partition = braced(fields.get("partition"), captured, mistakes);
    let from = braced(fields.get("from"), captured, mistakes);
    let path = fields.get("path").and_then(|node| {
        let text = node.text()?;
        match PathTemplate::new(text) {
            Ok(path) => Some(path),
            Err(help) => {
                mistakes.push(
                    "bad-path",
                    node.span(),
                    format!("\"{text}\" is not a path template"),
                    help,
                );
                None
            }
        }
    });
    let each = pointer(fields.get("each"), mistakes);
    let key = pointer(fields.get("key"), mistakes);
    let json = pointer(fields.get("json"), mistakes);
    let (from, path) = (from?, path?);
    let in_path = path.names().any(|name| name == from);
    match (in_path, fields.get("key"), fields.get("each")) {
        (true, Some(key), _) => mistakes.push(
            "two-sources",
            key.span(),
            format!("both `path` and `key` tell {{{from}}}"),
            format!("drop `key`, or write `*` for {{{from}}} in `path`"),
        ),
        (true, None, Some(each)) => mistakes.push(
            "key-without-effect",
            each.span(),
            format!("`path` names one {{{from}}}, and every element would teach the same of it"),
            format!("add a `key` that names the {{{from}}} of each element, and write `*` for it in `path`"),
        ),
        (false, None, _) => mistakes.push(
            "no-source",
            fields.key_span("path"),
            format!("neither `path` nor `key` tells {{{from}}}"),
            "capture it in `path`, or write where the answer names it: key = \"/id\"",
        ),
        _ => {}
    }
    Some(Learn {
        partition: partition?.into(),
        from: from.into(),
        path,
        each,
        key,
        json: json?,
    })
}

/// The name of a captured segment, in braces.
fn braced<'a>(
    node: Option<Node<'a>>,
    captured: &BTreeSet<String>,
    mistakes: &mut Mistakes,
) -> Option<&'a str> {
    let node = node?;
    let name = node
        .text()?
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .filter(|name| captured.contains(*name));
    if name.is_none() {
        not_captured(node, captured, mistakes);
    }
    name
}

fn pointer(node: Option<Node<'_>>, mistakes: &mut Mistakes) -> Option<Pointer> {
    let node = node?;
    let text = node.text()?;
    match Pointer::new(text) {
        Ok(pointer) => Some(pointer),
        Err(help) => {
            mistakes.push(
                "bad-pointer",
                node.span(),
                format!("\"{text}\" is not a JSON pointer"),
                help,
            );
            None
        }
    }
}
