//! Text in, [`Adapter`] out, and every mistake on the way. A file with a mistake gives no adapter.

mod conditions;
mod partitions;
mod policies;
mod readings;
mod spellings;
mod words;

use std::str::FromStr;

use http::{HeaderName, HeaderValue, StatusCode};

use super::condition::{RequestCondition, ResponseCondition};
use super::reading::Source;
use super::{Adapter, CredentialPlace, Exhaustion, Policy, Refusal};
use crate::diagnostic::Mistakes;
use crate::document::{self, Fields, Node};

pub use words::{
    closest_zone, seconds as read_seconds, seconds_up_to as read_seconds_up_to, zone as read_zone,
};

/// Parses and checks one adapter file. `id` is the file's stem.
///
/// # Errors
/// All mistakes of the file.
pub fn parse(id: &str, source: &str) -> Result<Adapter, Mistakes> {
    let mut mistakes = Mistakes::default();
    let table = document::parse(source, &super::language::ADAPTER, &mut mistakes);
    let root = Fields::root(&table);
    if let Some((problem, help)) = unfit_id(id) {
        mistakes.push("bad-id", 0..0, problem, help);
    }
    let adapter = compile(id, &root, &mut mistakes);
    mistakes.drop_echoes(source);
    if mistakes.is_empty() {
        Ok(adapter)
    } else {
        Err(mistakes)
    }
}

/// Why this cannot be an adapter's id, and what to do: it stands in paths and configurations.
#[must_use]
pub fn unfit_id(id: &str) -> Option<(String, &'static str)> {
    let is_fit = !id.is_empty()
        && id.len() <= 64
        && !id.starts_with('-')
        && id
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
    if !is_fit {
        return Some((
            format!("\"{id}\" cannot be an adapter's id"),
            "name the file with lower-case letters, digits, `-` and `_`, as in \"my-provider\"",
        ));
    }
    (id == "generic").then(|| {
        (
            "`generic` reads any provider without an adapter".to_owned(),
            "name the file after its provider",
        )
    })
}

fn compile(id: &str, root: &Fields<'_>, mistakes: &mut Mistakes) -> Adapter {
    let base_url = root
        .get("base_url")
        .and_then(|node| base_url(node, mistakes));
    let policies = policies::all(root, mistakes);
    let exhausted = exhaustions(root, &policies, mistakes);
    let structured_fields = root
        .get("structured_fields")
        .and_then(Node::table)
        .and_then(|fields| {
            Some((
                header_name(fields.get("policy")?, mistakes)?,
                header_name(fields.get("limit")?, mistakes)?,
            ))
        });
    let retry_after = root.get("retry_after").map_or_else(Vec::new, |node| {
        node.one_or_many()
            .into_iter()
            .filter_map(|node| readings::time_to_wait(node, mistakes))
            .collect()
    });
    let uncounted = root.get("uncounted").map_or_else(Vec::new, |node| {
        node.one_or_many()
            .into_iter()
            .filter_map(Node::table)
            .map(|fields| conditions::request(&fields, mistakes))
            .collect()
    });
    for (index, policy) in policies.iter().enumerate() {
        let named = exhausted.iter().any(|rule| rule.policy == Some(index));
        // What is written but wrong has been reported.
        let told = policies::tells_something(root, &policy.name)
            // The answer names its policies itself.
            || root.get("structured_fields").is_some();
        // A plain 429 speaks of the only policy there is.
        let only = policies.len() == 1;
        if !told && !named && !only {
            mistakes.push(
                "policy-never-read",
                policy_span(root, &policy.name),
                format!("nothing can ever be known of the policy `{}`", policy.name),
                "give it a `quota`, a reading (`limit`, `remaining`, `used`, `read`), or name it in an [[exhausted]] rule",
            );
        }
    }
    if root.get("policy").is_none() && root.get("structured_fields").is_none() {
        mistakes.push(
            "no-policy",
            0..0,
            "the adapter has no policy",
            "write at least one [policy.NAME], or `structured_fields` where the provider names its policies itself",
        );
    }
    let mut body_statuses: Vec<u16> = Vec::new();
    {
        let mut wants = |condition: &ResponseCondition, own: bool| {
            if own || condition.needs_body() {
                body_statuses.extend(&condition.statuses);
            }
        };
        for policy in &policies {
            for condition in &policy.sent_when {
                wants(condition, false);
            }
        }
        let all = policies.iter().flat_map(|policy| &policy.readings);
        for reading in all.chain(&retry_after) {
            if let Some(when) = &reading.when {
                wants(when, matches!(reading.source, Source::Body));
            }
        }
        for rule in &exhausted {
            wants(&rule.when, false);
        }
    }
    body_statuses.sort_unstable();
    body_statuses.dedup();
    let looks_at_request_bodies = policies
        .iter()
        .flat_map(Policy::request_conditions)
        .chain(&uncounted)
        .any(RequestCondition::needs_body);
    let silent = structured_fields.is_none()
        && retry_after.is_empty()
        && policies.iter().all(|policy| policy.readings.is_empty());
    let docs: Vec<String> = texts(root.get("docs"));
    if root.get("docs").is_some() && docs.is_empty() {
        mistakes.push(
            "missing-key",
            root.key_span("docs"),
            "`docs` is empty",
            "name at least one page that the facts come from",
        );
    }
    Adapter {
        id: id.to_owned(),
        name: root.text("name").unwrap_or(id).to_owned(),
        base_url_is_template: base_url.as_deref().is_some_and(|url| url.contains('{')),
        base_url,
        docs,
        quota_endpoint: root.text("quota_endpoint").map(str::to_owned),
        credential: credential(root, mistakes),
        retry_after,
        structured_fields,
        rewrite_urls: root
            .get("rewrite_urls")
            .and_then(Node::boolean)
            .unwrap_or(false),
        refusals: root
            .get("refusal")
            .map_or_else(Vec::new, Node::one_or_many)
            .into_iter()
            .filter_map(Node::table)
            .filter_map(|fields| refusal(&fields, &policies, mistakes))
            .collect(),
        policies,
        exhausted,
        uncounted,
        body_statuses,
        looks_at_request_bodies,
        silent,
    }
}

fn policy_span(root: &Fields<'_>, name: &str) -> std::ops::Range<usize> {
    root.get("policy")
        .and_then(Node::table)
        .map_or(0..0, |policies| policies.key_span(name))
}

/// A string or a list of strings.
fn texts(node: Option<Node<'_>>) -> Vec<String> {
    node.map_or_else(Vec::new, |node| {
        node.one_or_many()
            .into_iter()
            .filter_map(Node::text)
            .map(str::to_owned)
            .collect()
    })
}

fn base_url(node: Node<'_>, mistakes: &mut Mistakes) -> Option<String> {
    let text = node.text()?;
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let fits = host
        .is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', '\\']));
    if !fits {
        mistakes.push(
            "bad-url",
            node.span(),
            format!("\"{text}\" is not scheme and host alone"),
            "write it without path, query or user, as in \"https://api.example.com\": a connection is mounted at the root of the host",
        );
        return None;
    }
    Some(text.to_owned())
}

fn header_name(node: Node<'_>, mistakes: &mut Mistakes) -> Option<HeaderName> {
    let text = node.text()?;
    let name = HeaderName::from_str(text).ok();
    if name.is_none() {
        mistakes.push(
            "bad-header-name",
            node.span(),
            format!("\"{text}\" is not a header's name"),
            "write the name alone, as in \"X-RateLimit-Remaining\"; for names that vary use `read` with `header_pattern`",
        );
    }
    name
}

fn credential(root: &Fields<'_>, mistakes: &mut Mistakes) -> CredentialPlace {
    let Some(node) = root.get("credential") else {
        return CredentialPlace::Bearer;
    };
    if node.text() == Some("basic") {
        return CredentialPlace::Basic {
            before: String::new(),
            after: ":".to_owned(),
        };
    }
    let Some(fields) = node.table() else {
        return CredentialPlace::Bearer;
    };
    let format = fields.get("format");
    let one = (
        fields.get("header"),
        fields.text("query"),
        fields.get("basic"),
    );
    match one {
        (Some(header), None, None) => {
            let text = format.and_then(Node::text).unwrap_or("{credential}");
            let (prefix, suffix) = around(text, format.unwrap_or(header), mistakes);
            header_name(header, mistakes).map_or(CredentialPlace::Bearer, |name| {
                CredentialPlace::Header {
                    name,
                    prefix: prefix.to_owned(),
                    suffix: suffix.to_owned(),
                }
            })
        }
        (None, Some(query), None) if format.is_none() => CredentialPlace::Query(query.to_owned()),
        (None, None, Some(basic)) if format.is_none() => {
            let text = basic.text().unwrap_or("{credential}:");
            let (before, after) = around(text, basic, mistakes);
            if !before.contains(':') && !after.contains(':') {
                mistakes.push(
                    "bad-template",
                    basic.span(),
                    "user and password have no `:` between them",
                    "write both, as in \"{credential}:x\"; for a password that is empty \"basic\" is enough",
                );
            }
            CredentialPlace::Basic {
                before: before.to_owned(),
                after: after.to_owned(),
            }
        }
        _ => {
            mistakes.push(
                "two-sources",
                node.span(),
                "a credential stands in a header, in a query parameter, or as `basic`",
                "write { header = \"X-Auth-Token\" }, { query = \"api_key\" } or { basic = \"{credential}:x\" }",
            );
            CredentialPlace::Bearer
        }
    }
}

/// What stands before and behind the credential in a format.
fn around<'t>(text: &'t str, node: Node<'_>, mistakes: &mut Mistakes) -> (&'t str, &'t str) {
    let split = text.split_once("{credential}");
    if split.is_none() {
        mistakes.push(
            "bad-template",
            node.span(),
            "the format has no place for the credential",
            "write {credential} where it belongs, as in \"SSWS {credential}\"",
        );
    }
    // Whoever has no place for it has one mistake, not two.
    split.unwrap_or(("", ":"))
}

fn exhaustions(root: &Fields<'_>, policies: &[Policy], mistakes: &mut Mistakes) -> Vec<Exhaustion> {
    let Some(node) = root.get("exhausted") else {
        return Vec::new();
    };
    let mut rules = Vec::new();
    for fields in node.one_or_many().into_iter().filter_map(Node::table) {
        let when = conditions::response(&fields, mistakes);
        let needs_nothing_left = match fields.get("remaining") {
            None => false,
            Some(node) => {
                if node.integer().is_some_and(|number| number > 0) {
                    mistakes.push(
                        "key-without-effect",
                        node.span(),
                        "`remaining` can only ask whether nothing is left",
                        "write `remaining = 0`",
                    );
                }
                true
            }
        };
        let names_answers = ["status", "header", "body", "body_pattern"]
            .iter()
            .any(|key| fields.get(key).is_some());
        if !names_answers {
            mistakes.push(
                "no-condition",
                fields.span(),
                "the rule would take every answer for an exhausted quota",
                "name the `status`, and what tells it from other answers of that status",
            );
        }
        let policy = fields
            .get("policy")
            .and_then(|node| policy_index(node, policies, mistakes));
        rules.push(Exhaustion {
            when,
            needs_nothing_left,
            policy,
            retry_after_secs: fields
                .get("retry_after")
                .and_then(|node| words::seconds_of(node, mistakes)),
        });
    }
    rules
}

/// The policy that a rule names.
fn policy_index(node: Node<'_>, policies: &[Policy], mistakes: &mut Mistakes) -> Option<usize> {
    let name = node.text()?;
    let index = policies.iter().position(|policy| &*policy.name == name);
    if index.is_none() {
        let names: Vec<&str> = policies.iter().map(|policy| &*policy.name).collect();
        mistakes.push(
            "unknown-policy",
            node.span(),
            format!("there is no policy `{name}`"),
            match (
                crate::diagnostic::closest(name, names.iter().copied()),
                names.as_slice(),
            ) {
                (Some(near), _) => format!("did you mean \"{near}\"?"),
                (None, []) => "describe it in [policy.NAME]".to_owned(),
                (None, [only]) => format!("the only policy is \"{only}\""),
                (None, names) => format!("write one of {}", document::quoted(names)),
            },
        );
    }
    index
}

/// The placeholders of a refusal's body and headers.
const PLACEHOLDERS: [&str; 6] = [
    "detail",
    "policy",
    "limit",
    "retry_after",
    "reset_epoch",
    "reset_http_date",
];

/// Reports words in braces that are no placeholders. Only words: JSON has braces of its own.
fn check_template(node: Node<'_>, mistakes: &mut Mistakes) {
    let mut rest = node.text().unwrap_or_default();
    while let Some((_, after)) = rest.split_once('{') {
        rest = after;
        let Some((word, _)) = after.split_once('}') else {
            return;
        };
        let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if is_word && !PLACEHOLDERS.contains(&word) {
            mistakes.push(
                "bad-template",
                node.span(),
                format!("{{{word}}} is not a placeholder"),
                format!("the placeholders are {{{}}}", PLACEHOLDERS.join("}, {")),
            );
        }
    }
}

fn refusal(fields: &Fields<'_>, policies: &[Policy], mistakes: &mut Mistakes) -> Option<Refusal> {
    let policy = fields.get("policy").and_then(|node| {
        policy_index(node, policies, mistakes)?;
        node.text().map(str::to_owned)
    });
    let status = fields.get("status").and_then(|node| status(node, mistakes));
    let content_type = fields.get("content_type").and_then(|node| {
        let value = HeaderValue::from_str(node.text()?).ok();
        if value.is_none() {
            mistakes.push(
                "bad-header-value",
                node.span(),
                "this cannot stand in a header",
                "write a media type, as in \"application/json\"",
            );
        }
        value
    });
    let body = fields.text("body").unwrap_or_default();
    if let Some(node) = fields.get("body") {
        check_template(node, mistakes);
    }
    let mut headers = Vec::new();
    if let Some(table) = fields.get("headers").and_then(Node::table) {
        for (name, span, value) in table.entries() {
            let Some(text) = value.text() else { continue };
            check_template(value, mistakes);
            if HeaderValue::from_str(text).is_err() {
                mistakes.push(
                    "bad-header-value",
                    value.span(),
                    "this cannot stand in a header",
                    "write visible characters and blanks in one line",
                );
            }
            match HeaderName::from_str(name) {
                Ok(name) => headers.push((name, text.to_owned())),
                Err(_) => mistakes.push(
                    "bad-header-name",
                    span,
                    format!("\"{name}\" is not a header's name"),
                    "write the name alone, as in { X-RateLimit-Scope = \"user\" }",
                ),
            }
        }
    }
    Some(Refusal {
        policy,
        status: status?,
        content_type,
        body: body.to_owned(),
        headers,
    })
}

fn status(node: Node<'_>, mistakes: &mut Mistakes) -> Option<StatusCode> {
    let number = node.integer()?;
    let status = u16::try_from(number)
        .ok()
        .filter(|number| (200..=599).contains(number))
        .and_then(|number| StatusCode::from_u16(number).ok());
    if status.is_none() {
        mistakes.push(
            "bad-status",
            node.span(),
            format!("{number} is not the status of an answer"),
            "write a number from 200 to 599",
        );
    }
    status
}
