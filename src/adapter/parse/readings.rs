//! Readings out of the tree.

use regex::{Regex, RegexBuilder};

use super::conditions::{self, bad_pattern};
use super::spellings::{no_form, part_spelling, spelling};
use super::{header_name, texts};
use crate::adapter::pointer::Pointer;
use crate::adapter::reading::{Extract, Narrow, Quantity, Reading, Source, Spelling};
use crate::diagnostic::{Mistakes, closest};
use crate::document::{Fields, Node};
use crate::form::{NumberForm, TimeForm};

/// A reading of a time to wait (`retry_after = …`).
pub(super) fn time_to_wait(node: Node<'_>, mistakes: &mut Mistakes) -> Option<Reading> {
    named(node, "retry_after", Quantity::Reset, mistakes)
}

/// A reading of one quantity: a header's name, or a table.
pub(super) fn one(node: Node<'_>, quantity: Quantity, mistakes: &mut Mistakes) -> Option<Reading> {
    named(node, quantity.name(), quantity, mistakes)
}

/// A reading of one quantity under the key `name`.
fn named(
    node: Node<'_>,
    name: &str,
    quantity: Quantity,
    mistakes: &mut Mistakes,
) -> Option<Reading> {
    let Some(fields) = node.table() else {
        let header = header_name(node, mistakes);
        if quantity.is_time() {
            no_form(node.span(), name, "form", mistakes);
        }
        let spelling = if quantity == Quantity::Label {
            Spelling::Name
        } else {
            Spelling::Number(NumberForm::Number)
        };
        return Some(Reading {
            source: Source::Header(header?),
            extract: Extract::One(Narrow::Whole, quantity, spelling),
            unit_header: None,
            ignore: Vec::new(),
            when: None,
            write: None,
        });
    };
    let mut narrow = None;
    for key in ["json", "key", "item", "pattern"] {
        let Some(node) = fields.get(key) else {
            continue;
        };
        if narrow.is_some() {
            mistakes.push(
                "two-sources",
                fields.key_span(key),
                "a reading is narrowed down in one way",
                "keep one of `json`, `key`, `item` and `pattern`",
            );
            continue;
        }
        narrow = match key {
            "json" => pointer(node, mistakes).map(Narrow::Json),
            "key" => node.text().map(|key| Narrow::Key(key.to_owned())),
            "item" => node
                .integer()
                .and_then(|item| usize::try_from(item).ok())
                .map(Narrow::Item),
            _ => one_group(node, mistakes).map(Narrow::Pattern),
        };
    }
    let (source, body_narrow) = source(&fields, node.span(), mistakes).unzip();
    let body_narrow = body_narrow.flatten();
    if body_narrow.is_some() && narrow.is_some() {
        mistakes.push(
            "two-sources",
            node.span(),
            "a reading of the body is narrowed down by its own pointer or pattern alone",
            "drop `json`, `key`, `item` or `pattern`",
        );
    }
    if fields.get("default").is_some() && quantity != Quantity::Window {
        mistakes.push(
            "key-without-effect",
            fields.key_span("default"),
            "only a `window` has a default",
            "drop it: what the answer does not tell is unknown",
        );
    }
    let spelling = spelling(&fields, ("form", name), quantity, node.span(), mistakes);
    let unit_header = fields
        .get("unit_header")
        .and_then(|node| header_name(node, mistakes));
    let needs_unit = matches!(&spelling, Some(Spelling::Time(forms)) if forms.iter().any(|form| matches!(form, TimeForm::Unit)));
    if spelling.is_some() && needs_unit != fields.get("unit_header").is_some() {
        mistakes.push(
            "form-does-not-fit",
            node.span(),
            "the form \"unit\" and `unit_header` belong together",
            "write { form = \"unit\", unit_header = \"X-RateLimit-Unit\" }",
        );
    }
    let write = fields.text("write").map(str::to_owned);
    if write.is_some() && fields.get("pattern").is_none() {
        mistakes.push(
            "key-without-effect",
            fields.key_span("write"),
            "`write` belongs to `pattern`",
            "drop it: other readings are written as they are read",
        );
    }
    let when = when(&fields, source.as_ref(), mistakes);
    Some(Reading {
        extract: Extract::One(
            body_narrow.or(narrow).unwrap_or(Narrow::Whole),
            quantity,
            spelling?,
        ),
        when,
        source: source?,
        unit_header,
        ignore: texts(fields.get("ignore")),
        write,
    })
}

/// A reading of several quantities (`read = …`).
pub(super) fn many(node: Node<'_>, mistakes: &mut Mistakes) -> Option<Reading> {
    let fields = node.table()?;
    let ways: Vec<&str> = ["form", "pattern", "each", "body_pattern"]
        .into_iter()
        .filter(|key| fields.get(key).is_some())
        .collect();
    let [way] = ways.as_slice() else {
        mistakes.push(
            "two-sources",
            node.span(),
            "`read` takes a value apart in one way",
            "write one of `form`, `pattern`, `each` and `body_pattern`",
        );
        return None;
    };
    let source = match (fields.get("header"), fields.get("header_pattern"), *way) {
        (Some(node), None, "form" | "pattern" | "each") => {
            header_name(node, mistakes).map(Source::Header)
        }
        (None, Some(node), "form" | "pattern" | "each") => {
            pattern(node, mistakes).map(Source::Headers)
        }
        (None, None, "body_pattern") => Some(Source::Body),
        _ => {
            no_source(node, mistakes);
            None
        }
    };
    let when = when(&fields, source.as_ref(), mistakes);
    let key = fields.text("key").map(str::to_owned);
    if key.is_some()
        && !fields
            .text("form")
            .is_some_and(|form| form.ends_with("/limit"))
    {
        mistakes.push(
            "key-without-effect",
            fields.key_span("key"),
            "`key` belongs to the forms \"used/limit\" and \"remaining/limit\"",
            "drop it, or name such a form",
        );
    }
    let extract = match *way {
        "form" => match fields.text("form") {
            Some("used/limit") => Extract::Slash(key, Quantity::Used),
            Some("remaining/limit") => Extract::Slash(key, Quantity::Remaining),
            _ => Extract::Windowed,
        },
        "each" => {
            let each = pointer(fields.get("each")?, mistakes);
            let mut parts = Vec::new();
            for quantity in Quantity::ALL {
                if let Some(part) = fields.get(quantity.name()) {
                    let spelling = part_spelling(&fields, quantity, part.span(), mistakes);
                    parts.extend(
                        pointer(part, mistakes)
                            .zip(spelling)
                            .map(|(pointer, spelling)| (pointer, quantity, spelling)),
                    );
                }
            }
            Extract::Each(each?, parts)
        }
        way => {
            let node = fields.get(way)?;
            let regex = pattern(node, mistakes)?;
            let mut parts = Vec::new();
            for (index, name) in regex.capture_names().enumerate() {
                let Some(name) = name else { continue };
                let Some(quantity) = Quantity::ALL.into_iter().find(|q| q.name() == name) else {
                    let names = Quantity::ALL.map(Quantity::name);
                    mistakes.push(
                        "bad-group",
                        node.span(),
                        format!("the group `{name}` is not a quantity"),
                        closest(name, names).map_or_else(
                            || format!("the groups are {}", names.join(", ")),
                            |near| format!("did you mean `{near}`?"),
                        ),
                    );
                    continue;
                };
                let spelling = part_spelling(&fields, quantity, node.span(), mistakes);
                parts.extend(spelling.map(|spelling| (index, quantity, spelling)));
            }
            Extract::Groups(regex, parts)
        }
    };
    check_parts(&extract, &fields, node, mistakes);
    Some(Reading {
        extract,
        when,
        source: source?,
        unit_header: None,
        ignore: texts(fields.get("ignore")),
        write: fields.text("write").map(str::to_owned),
    })
}

/// A `read` must give something, and has no keys that do nothing.
fn check_parts(extract: &Extract, fields: &Fields<'_>, node: Node<'_>, mistakes: &mut Mistakes) {
    let quantities = extract.quantities();
    if quantities
        .iter()
        .all(|quantity| *quantity == Quantity::Label)
    {
        mistakes.push(
            "bad-group",
            node.span(),
            "`read` gives no quantity",
            "name the groups of the pattern: '(?<used>\\d+)/(?<limit>\\d+)'",
        );
    }
    let each = matches!(extract, Extract::Each(..));
    for quantity in Quantity::ALL {
        if fields.get(quantity.name()).is_some() && !each {
            mistakes.push(
                "key-without-effect",
                fields.key_span(quantity.name()),
                format!("`{}` is a pointer that belongs to `each`", quantity.name()),
                "give the pattern a named group instead",
            );
        }
    }
    for (key, quantity) in [
        ("reset_form", Quantity::Reset),
        ("window_form", Quantity::Window),
    ] {
        if fields.get(key).is_some() && !quantities.contains(&quantity) {
            mistakes.push(
                "key-without-effect",
                fields.key_span(key),
                format!("nothing here reads a {}", quantity.name()),
                "drop it, or name the group",
            );
        }
    }
    if fields.get("write").is_some() && !matches!(extract, Extract::Groups(..)) {
        mistakes.push(
            "key-without-effect",
            fields.key_span("write"),
            "`write` belongs to `pattern`",
            "drop it: other readings are written as they are read",
        );
    }
}

fn when(
    fields: &Fields<'_>,
    source: Option<&Source>,
    mistakes: &mut Mistakes,
) -> Option<crate::adapter::condition::ResponseCondition> {
    let when = fields
        .get("when")
        .and_then(Node::table)
        .map(|fields| conditions::response(&fields, mistakes));
    let names_status = when.as_ref().is_some_and(|when| !when.statuses.is_empty());
    if matches!(source, Some(Source::Body)) && !names_status {
        mistakes.push(
            "body-without-status",
            fields.span(),
            "the reading would look at every body",
            "name the statuses whose bodies it needs: when = { status = 429 }",
        );
    }
    when
}

fn source(
    fields: &Fields<'_>,
    span: std::ops::Range<usize>,
    mistakes: &mut Mistakes,
) -> Option<(Source, Option<Narrow>)> {
    match (
        fields.get("header"),
        fields.get("body"),
        fields.get("body_pattern"),
    ) {
        (Some(node), None, None) => Some((Source::Header(header_name(node, mistakes)?), None)),
        (None, Some(node), None) => {
            Some((Source::Body, Some(Narrow::Json(pointer(node, mistakes)?))))
        }
        (None, None, Some(node)) => Some((
            Source::Body,
            Some(Narrow::Pattern(one_group(node, mistakes)?)),
        )),
        _ => {
            mistakes.push(
                "no-source",
                span,
                "a reading stands in exactly one place",
                "write one of `header`, `body` and `body_pattern`",
            );
            None
        }
    }
}

fn no_source(node: Node<'_>, mistakes: &mut Mistakes) {
    mistakes.push(
        "no-source",
        node.span(),
        "`read` stands in exactly one place",
        "write one of `header` and `header_pattern` (with `form`, `pattern` or `each`), or `body_pattern` alone",
    );
}

fn pointer(node: Node<'_>, mistakes: &mut Mistakes) -> Option<Pointer> {
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

fn pattern(node: Node<'_>, mistakes: &mut Mistakes) -> Option<Regex> {
    match RegexBuilder::new(node.text()?).size_limit(1 << 20).build() {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            bad_pattern(node, &error, mistakes);
            None
        }
    }
}

fn one_group(node: Node<'_>, mistakes: &mut Mistakes) -> Option<Regex> {
    let pattern = pattern(node, mistakes)?;
    if pattern.captures_len() != 2 {
        mistakes.push(
            "bad-group",
            node.span(),
            format!("the pattern has {} groups", pattern.captures_len() - 1),
            "write exactly one group around the value: 'used=(\\d+)'; others as (?:…)",
        );
        return None;
    }
    Some(pattern)
}
