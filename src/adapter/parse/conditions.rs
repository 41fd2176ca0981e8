//! Conditions out of the tree.

use std::str::FromStr;

use http::{HeaderName, Method};
use regex::bytes::RegexBuilder;

use super::{status, texts};
use crate::adapter::condition::{Matcher, PathTemplate, RequestCondition, ResponseCondition};
use crate::adapter::pointer::Pointer;
use crate::diagnostic::Mistakes;
use crate::document::{Fields, Node};

pub(super) fn request(fields: &Fields<'_>, mistakes: &mut Mistakes) -> RequestCondition {
    let mut condition = RequestCondition::default();
    for node in nodes(fields, "method") {
        let Some(text) = node.text() else { continue };
        match Method::from_str(text) {
            Ok(method) if text.bytes().all(|b| b.is_ascii_uppercase()) => {
                condition.methods.push(method);
            }
            _ => mistakes.push(
                "bad-method",
                node.span(),
                format!("\"{text}\" is not a method"),
                "methods are written in capitals: \"GET\"",
            ),
        }
    }
    condition.paths = paths(fields, "path", mistakes);
    condition.not_paths = paths(fields, "not_path", mistakes);
    condition.headers = headers(fields, "request_header", mistakes);
    condition.body = members(fields, "request_body", mistakes);
    if let Some(node) = fields.get("request_body_pattern") {
        condition.body_pattern = bytes_pattern(node, mistakes);
    }
    for key in ["request_body", "request_body_pattern"] {
        if fields.get(key).is_some() && fields.get("path").is_none() {
            mistakes.push(
                "body-without-path",
                fields.key_span(key),
                "the condition would look at the body of every request",
                "name the `path` of the requests whose bodies it needs; other bodies stream through unread",
            );
        }
    }
    if fields.entries().all(|(name, ..)| name == "cost") {
        mistakes.push(
            "no-condition",
            fields.span(),
            "the condition fits every request",
            "name a `method`, a `path`, a `not_path` or a `request_header`",
        );
    }
    condition
}

pub(super) fn response(fields: &Fields<'_>, mistakes: &mut Mistakes) -> ResponseCondition {
    let mut condition = ResponseCondition::default();
    if ["method", "path", "not_path"]
        .iter()
        .any(|key| fields.get(key).is_some())
    {
        condition.request = request(fields, mistakes);
    }
    for node in nodes(fields, "status") {
        condition
            .statuses
            .extend(status(node, mistakes).map(|status| status.as_u16()));
    }
    condition.headers = headers(fields, "header", mistakes);
    condition.content_types = texts(fields.get("content_type"));
    condition.body = members(fields, "body", mistakes);
    if let Some(node) = fields.get("body_pattern") {
        condition.body_pattern = bytes_pattern(node, mistakes);
    }
    for key in ["body", "body_pattern"] {
        if fields.get(key).is_some() && fields.get("status").is_none() {
            mistakes.push(
                "body-without-status",
                fields.key_span(key),
                "the condition would look at every body",
                "name the `status` of the answers whose bodies it needs; other bodies stream through unread",
            );
        }
    }
    condition
}

fn paths(fields: &Fields<'_>, key: &str, mistakes: &mut Mistakes) -> Vec<PathTemplate> {
    let mut templates = Vec::new();
    for node in nodes(fields, key) {
        let Some(text) = node.text() else { continue };
        match PathTemplate::new(text) {
            Ok(template) => templates.push(template),
            Err(help) => mistakes.push(
                "bad-path",
                node.span(),
                format!("\"{text}\" is not a path template"),
                help,
            ),
        }
    }
    templates
}

fn nodes<'a>(fields: &Fields<'a>, key: &str) -> Vec<Node<'a>> {
    fields.get(key).map_or_else(Vec::new, Node::one_or_many)
}

fn headers(fields: &Fields<'_>, key: &str, mistakes: &mut Mistakes) -> Vec<(HeaderName, Matcher)> {
    let mut headers = Vec::new();
    if let Some(table) = fields.get(key).and_then(Node::table) {
        for (name, span, value) in table.entries() {
            match HeaderName::from_str(name) {
                Ok(name) => headers.extend(matcher(value, mistakes).map(|matcher| (name, matcher))),
                Err(_) => mistakes.push(
                    "bad-header-name",
                    span,
                    format!("\"{name}\" is not a header's name"),
                    "write the name alone, as in { X-RateLimit-Scope = \"user\" }",
                ),
            }
        }
    }
    headers
}

/// Members of a JSON body, each with what it is compared with.
fn members(fields: &Fields<'_>, key: &str, mistakes: &mut Mistakes) -> Vec<(Pointer, Matcher)> {
    let mut members = Vec::new();
    if let Some(table) = fields.get(key).and_then(Node::table) {
        for (name, span, value) in table.entries() {
            match Pointer::new(name) {
                Ok(pointer) => {
                    members.extend(matcher(value, mistakes).map(|matcher| (pointer, matcher)));
                }
                Err(help) => mistakes.push(
                    "bad-pointer",
                    span,
                    format!("\"{name}\" is not a JSON pointer"),
                    help,
                ),
            }
        }
    }
    members
}

fn matcher(node: Node<'_>, mistakes: &mut Mistakes) -> Option<Matcher> {
    if let Some(flag) = node.boolean() {
        return Some(Matcher::Present(flag));
    }
    if let Some(number) = node.integer() {
        return Some(Matcher::Is(vec![number.to_string()]));
    }
    let Some(fields) = node.table() else {
        return Some(Matcher::Is(texts(Some(node))));
    };
    match (fields.get("pattern"), fields.get("not")) {
        (Some(pattern), None) => bytes_pattern(pattern, mistakes).map(Matcher::Pattern),
        (None, Some(not)) => Some(Matcher::Not(texts(Some(not)))),
        _ => {
            mistakes.push(
                "two-sources",
                node.span(),
                "a comparison has either a `pattern` or a `not`",
                "write { pattern = '^core' } or { not = \"core\" }",
            );
            None
        }
    }
}

/// Compiles a pattern over bytes. Its size is bounded, so that no file can eat the memory.
fn bytes_pattern(node: Node<'_>, mistakes: &mut Mistakes) -> Option<regex::bytes::Regex> {
    match RegexBuilder::new(node.text()?).size_limit(1 << 20).build() {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            bad_pattern(node, &error, mistakes);
            None
        }
    }
}

/// Reports a pattern that does not compile.
pub(super) fn bad_pattern(node: Node<'_>, error: &regex::Error, mistakes: &mut Mistakes) {
    if let regex::Error::CompiledTooBig(_) = error {
        mistakes.push(
            "bad-pattern",
            node.span(),
            "the regular expression is too large",
            "write fewer or shorter repetitions: `{1000}` counts as a thousand copies",
        );
        return;
    }
    let text = error.to_string();
    // The last line of the error says what is wrong; those before draw the pattern again.
    let reason = text
        .lines()
        .last()
        .unwrap_or(&text)
        .trim_start_matches("error: ");
    mistakes.push(
        "bad-pattern",
        node.span(),
        format!("the regular expression does not compile: {reason}"),
        "write it in the syntax of the regex crate (no look-around, no back-references), best in '…' so that \\ needs no doubling",
    );
}
