//! How values are spelled, out of the tree.

use jiff::tz::TimeZone;

use super::words;
use crate::adapter::reading::{Quantity, Spelling};
use crate::diagnostic::{Mistakes, closest};
use crate::document::{Fields, Node, quoted};
use crate::form::{NumberForm, TimeForm};

/// The spelling of a group or member of `read`.
pub(super) fn part_spelling(
    fields: &Fields<'_>,
    quantity: Quantity,
    span: std::ops::Range<usize>,
    mistakes: &mut Mistakes,
) -> Option<Spelling> {
    match quantity {
        Quantity::Reset => spelling(fields, ("reset_form", "reset"), quantity, span, mistakes),
        Quantity::Window if fields.get("window_form").is_some() => {
            spelling(fields, ("window_form", "window"), quantity, span, mistakes)
        }
        Quantity::Window => Some(Spelling::Time(vec![TimeForm::Seconds])),
        Quantity::Label => Some(Spelling::Name),
        _ => Some(Spelling::Number(NumberForm::Number)),
    }
}

/// The spelling of a quantity that stands under `name`; `key` is where its forms stand.
pub(super) fn spelling(
    fields: &Fields<'_>,
    (key, name): (&str, &str),
    quantity: Quantity,
    span: std::ops::Range<usize>,
    mistakes: &mut Mistakes,
) -> Option<Spelling> {
    let nodes = fields.get(key).map_or_else(Vec::new, Node::one_or_many);
    if !quantity.is_time() && fields.get("time_zone").is_some() {
        mistakes.push(
            "key-without-effect",
            fields.key_span("time_zone"),
            "only a time has a zone",
            "drop it",
        );
    }
    if quantity == Quantity::Label {
        if fields.get(key).is_some() {
            mistakes.push(
                "key-without-effect",
                fields.key_span(key),
                "a name has no form",
                "drop it",
            );
        }
        return Some(Spelling::Name);
    }
    if !quantity.is_time() {
        let Some(node) = nodes.first() else {
            return Some(Spelling::Number(NumberForm::Number));
        };
        if let Some(second) = nodes.get(1) {
            mistakes.push(
                "key-without-effect",
                second.span(),
                "a number has one form: the first reads everything",
                "write the form alone, as in form = \"fraction\"",
            );
        }
        let text = node.text()?;
        let form = NumberForm::from_name(text);
        if form == Some(NumberForm::PerSecond) && quantity != Quantity::Limit {
            mistakes.push(
                "form-does-not-fit",
                node.span(),
                format!("`{name}` cannot be a rate"),
                "\"per-second\" is a form of `limit`",
            );
        }
        if form.is_none() {
            unknown_form(*node, text, name, quantity, mistakes);
        }
        return form.map(Spelling::Number);
    }
    if nodes.is_empty() {
        no_form(span, name, key, mistakes);
        return None;
    }
    let zone = fields
        .get("time_zone")
        .and_then(|node| words::named_zone_of(node, mistakes));
    let mut forms = Vec::new();
    let mut local = false;
    for node in nodes {
        let Some(text) = node.text() else { continue };
        if text.contains('%') {
            local = true;
            if zone.is_none() && fields.get("time_zone").is_none() {
                mistakes.push(
                    "no-time-zone",
                    node.span(),
                    "a local time means nothing without its zone",
                    "write `time_zone` beside it, as in \"UTC\" or \"Europe/Oslo\"",
                );
            }
            match TimeForm::local(text, zone.clone().unwrap_or(TimeZone::UTC)) {
                Ok(form) => forms.push(form),
                Err(error) => mistakes.push(
                    "unknown-form",
                    node.span(),
                    error,
                    "write it in strftime's letters, as in \"%Y-%m-%d %H:%M:%S\"",
                ),
            }
            continue;
        }
        match TimeForm::from_name(text) {
            // A window is a length, so a moment in the calendar cannot be one.
            Some(form) if quantity == Quantity::Window && !is_length(&form) => mistakes.push(
                "form-does-not-fit",
                node.span(),
                format!("a window's length cannot be \"{text}\""),
                "write \"seconds\", \"milliseconds\", \"minutes\", \"hours\" or \"duration\"",
            ),
            Some(form) => forms.push(form),
            None => unknown_form(node, text, name, quantity, mistakes),
        }
    }
    if !local && fields.get("time_zone").is_some() {
        mistakes.push(
            "key-without-effect",
            fields.key_span("time_zone"),
            "`time_zone` belongs to a local form",
            "drop it: the form tells the zone by itself",
        );
    }
    Some(Spelling::Time(forms))
}

const fn is_length(form: &TimeForm) -> bool {
    matches!(
        form,
        TimeForm::Seconds
            | TimeForm::Milliseconds
            | TimeForm::Minutes
            | TimeForm::Hours
            | TimeForm::Duration
            | TimeForm::Unit
    )
}

fn unknown_form(
    node: Node<'_>,
    text: &str,
    name: &str,
    quantity: Quantity,
    mistakes: &mut Mistakes,
) {
    let (fitting, other) = if quantity.is_time() {
        (TimeForm::NAMES, NumberForm::NAMES)
    } else {
        (NumberForm::NAMES, TimeForm::NAMES)
    };
    if other.contains(&text) {
        mistakes.push(
            "form-does-not-fit",
            node.span(),
            format!("`{name}` cannot be spelled as \"{text}\""),
            format!("write one of {}", quoted(fitting)),
        );
    } else {
        mistakes.push(
            "unknown-form",
            node.span(),
            format!("\"{text}\" is not a form"),
            closest(text, fitting.iter().copied()).map_or_else(
                || format!("write one of {}", quoted(fitting)),
                |near| format!("did you mean \"{near}\"? The forms are {}", quoted(fitting)),
            ),
        );
    }
}

/// Reports a time without a form.
pub(super) fn no_form(
    span: std::ops::Range<usize>,
    name: &str,
    key: &str,
    mistakes: &mut Mistakes,
) {
    mistakes.push(
        "no-form",
        span,
        format!("the form of `{name}` is not named, and the same header carries seconds at one provider and an epoch at another"),
        format!(
            "write {} with one of {}",
            match key {
                "form" => "{ header = \"…\", form = \"…\" }".to_owned(),
                key => format!("{key} = \"…\" beside the pattern"),
            },
            quoted(TimeForm::NAMES)
        ),
    );
}
