//! TOML with spans, checked against a shape. The shape is data: one table of keys gives the checks that need no knowledge
//! of the subject (unknown keys, types, choices), the JSON Schema for editors and the comments of `headroom new`.
//!
//! serde is not used here: it stops at the first mistake, and its spans break under untagged and flattened structs.

pub mod schema;

use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Mistakes, closest};

/// A table of the language: its keys.
#[derive(Debug)]
pub struct Shape {
    /// What the table is, for the schema.
    pub title: &'static str,
    /// The keys in the order in which they are best written.
    pub keys: &'static [Key],
}

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What may stand behind it.
    pub kind: Kind,
    /// What it means, in a sentence or two.
    pub doc: &'static str,
    /// The file is wrong without it.
    pub required: bool,
}

/// A key that may be left out.
#[must_use]
pub const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        doc,
        required: false,
    }
}

/// A key without which the file is wrong.
#[must_use]
pub const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        doc,
        required: true,
    }
}

/// What may stand behind a key.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number, not negative.
    Integer,
    /// A number with or without decimals, not negative.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list of these.
    List(&'static Self),
    /// A table with these keys.
    Table(&'static Shape),
    /// A table whose keys the author chooses, with these values.
    Map(&'static Self),
    /// Any of these; no two of them of the same TOML type, but for text beside words.
    Any(&'static [Self]),
}

impl Kind {
    /// For messages: "a string".
    fn expected(&self) -> String {
        match self {
            Self::Text => "a string".into(),
            Self::Word(words) => format!("one of {}", quoted(words)),
            Self::Integer => "a whole number".into(),
            Self::Number => "a number".into(),
            Self::Boolean => "true or false".into(),
            Self::List(item) => format!("a list (each {})", item.expected()),
            Self::Table(_) => "a table".into(),
            Self::Map(item) => format!("a table (each value {})", item.expected()),
            Self::Any(kinds) => {
                let parts: Vec<String> = kinds.iter().map(Self::expected).collect();
                parts.join(" or ")
            }
        }
    }

    fn takes_type_of(&self, value: &DeValue<'_>) -> bool {
        match self {
            Self::Text | Self::Word(_) => value.is_str(),
            Self::Integer => value.is_integer(),
            Self::Number => value.is_integer() || value.is_float(),
            Self::Boolean => value.is_bool(),
            Self::List(_) => value.is_array(),
            Self::Table(_) | Self::Map(_) => value.is_table(),
            Self::Any(kinds) => kinds.iter().any(|kind| kind.takes_type_of(value)),
        }
    }
}

/// `"a", "b" or "c"`.
#[must_use]
pub fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.join(""),
    }
}

/// What the text of a word stands for, which is at that place. `None`: nothing, which has been reported.
pub type Resolve<'r> = dyn FnMut(&str, Range<usize>, &mut Mistakes) -> Option<String> + 'r;

/// Parses TOML and checks it against the shape. The tree is as good as the text allows; the mistakes say what is not.
#[must_use]
pub fn parse<'t>(
    source: &'t str,
    shape: &'static Shape,
    mistakes: &mut Mistakes,
) -> Spanned<DeTable<'t>> {
    let itself = &mut |text: &str, _, _: &mut Mistakes| Some(text.to_owned());
    parse_resolved(source, shape, itself, mistakes)
}

/// The same, where words can be references: the tree has what they stand for. Other texts stay as they are written.
#[must_use]
pub fn parse_resolved<'t>(
    source: &'t str,
    shape: &'static Shape,
    resolve: &mut Resolve<'_>,
    mistakes: &mut Mistakes,
) -> Spanned<DeTable<'t>> {
    let (mut table, errors) = DeTable::parse_recoverable(source);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().trim().replace('\n', "; ");
        if message.contains("duplicate key") {
            let key = source.get(span.clone()).unwrap_or_default();
            mistakes.push(
                "duplicate-key",
                span,
                format!("`{key}` is there already"),
                "write each key and each table once; to describe two things, give them two names",
            );
        } else {
            // The commonest mistake of all: a regular expression in the quotes that have escapes.
            let help = if message.contains("escape") {
                "in \"…\" a backslash begins an escape: write regular expressions in '…', which has none"
            } else {
                "write valid TOML: strings in quotes, `key = value`, tables as [name]"
            };
            mistakes.push("syntax", span, message, help);
        }
    }
    // What a file lacks as a whole is told at its beginning.
    check_table(table.get_mut(), 0..0, shape, resolve, mistakes);
    table
}

fn check_table(
    table: &mut DeTable<'_>,
    span: Range<usize>,
    shape: &'static Shape,
    resolve: &mut Resolve<'_>,
    mistakes: &mut Mistakes,
) {
    for (key, value) in table.iter_mut() {
        let name = key.get_ref().as_ref();
        match shape.keys.iter().find(|known| known.name == name) {
            Some(known) => check_value(value, &known.kind, known.name, resolve, mistakes),
            None => unknown_key(name, key.span(), shape, mistakes),
        }
    }
    for key in shape.keys.iter().filter(|key| key.required) {
        if !table.contains_key(key.name) {
            mistakes.push(
                "missing-key",
                span.clone(),
                format!("`{}` is missing in {}", key.name, shape.title),
                format!("write `{} = …`: {}", key.name, key.doc),
            );
        }
    }
}

fn unknown_key(name: &str, span: Range<usize>, shape: &Shape, mistakes: &mut Mistakes) {
    let known: Vec<&str> = shape.keys.iter().map(|key| key.name).collect();
    let help = closest(name, known.iter().copied()).map_or_else(
        || format!("the keys here are {}", known.join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    mistakes.push(
        "unknown-key",
        span,
        format!("`{name}` is not a key of {}", shape.title),
        help,
    );
}

fn check_value(
    value: &mut Spanned<DeValue<'_>>,
    kind: &'static Kind,
    name: &str,
    resolve: &mut Resolve<'_>,
    mistakes: &mut Mistakes,
) {
    if !kind.takes_type_of(value.get_ref()) {
        mistakes.push(
            "wrong-type",
            value.span(),
            format!("`{name}` cannot be {}", found(value.get_ref())),
            advice(value.get_ref(), kind, name),
        );
        return;
    }
    let span = value.span();
    let number = |value: &Spanned<DeValue<'_>>| Node(value).number().is_some();
    let integer = |value: &Spanned<DeValue<'_>>| Node(value).integer().is_some();
    match kind {
        Kind::Any(kinds) => {
            // Text beside words: a word that is not among them may still be free text.
            if let Some(fitting) = kinds
                .iter()
                .filter(|kind| kind.takes_type_of(value.get_ref()))
                .max_by_key(|kind| matches!(kind, Kind::Text))
            {
                check_value(value, fitting, name, resolve, mistakes);
            }
        }
        Kind::Integer if !integer(value) => mistakes.push(
            "number-out-of-range",
            span,
            format!("`{name}` is out of range"),
            format!("write a whole number from 0 to {}", i64::MAX),
        ),
        Kind::Number if !number(value) => mistakes.push(
            "number-out-of-range",
            span,
            format!("`{name}` is out of range"),
            "write a number that is not negative, as in 0.5",
        ),
        _ => match (kind, value.get_mut()) {
            (Kind::Word(words), DeValue::String(text)) => {
                if let Some(resolved) = resolve(text, span.clone(), mistakes) {
                    check_word(&resolved, span, words, name, mistakes);
                    *text = resolved.into();
                }
            }
            (Kind::List(item), DeValue::Array(items)) => {
                for element in items.iter_mut() {
                    check_value(element, item, name, resolve, mistakes);
                }
            }
            (Kind::Table(shape), DeValue::Table(table)) => {
                check_table(table, span, shape, resolve, mistakes);
            }
            (Kind::Map(item), DeValue::Table(table)) => {
                for (key, element) in table.iter_mut() {
                    check_value(element, item, key.get_ref(), resolve, mistakes);
                }
            }
            _ => {}
        },
    }
}

fn check_word(text: &str, span: Range<usize>, words: &[&str], name: &str, mistakes: &mut Mistakes) {
    if words.contains(&text) {
        return;
    }
    let help = closest(text, words.iter().copied()).map_or_else(
        || match words {
            [only] => format!("write \"{only}\""),
            _ => format!("write one of {}", quoted(words)),
        },
        |near| match words {
            [_] => format!("did you mean \"{near}\"?"),
            _ => format!("did you mean \"{near}\"? The choices are {}", quoted(words)),
        },
    );
    mistakes.push(
        "unknown-word",
        span,
        format!("`{name}` cannot be \"{text}\""),
        help,
    );
}

/// What to write instead of a value of another type.
fn advice(value: &DeValue<'_>, kind: &Kind, name: &str) -> String {
    let takes = |wanted: fn(&Kind) -> bool| match kind {
        Kind::Any(kinds) => kinds.iter().any(wanted),
        kind => wanted(kind),
    };
    let expected = format!("write {}", kind.expected());
    match value {
        DeValue::String(text)
            if takes(|kind| matches!(kind, Kind::Integer | Kind::Number))
                && text.parse::<f64>().is_ok() =>
        {
            format!("write it without quotes: {name} = {text}")
        }
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_)
            if takes(|kind| matches!(kind, Kind::Text)) =>
        {
            format!("{expected}; a string stands in quotes")
        }
        DeValue::Table(_)
            if takes(|kind| matches!(kind, Kind::List(item) if matches!(item, Kind::Table(_)))) =>
        {
            format!("there can be several: write [[{name}]], or {name} = [{{ … }}]")
        }
        DeValue::Array(_)
            if takes(|kind| matches!(kind, Kind::Map(item) if matches!(item, Kind::Table(_)))) =>
        {
            format!("each has a name: write [{name}.NAME]")
        }
        _ => expected,
    }
}

fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with decimals",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A value of the tree. The getters answer `None` for a value of another type: [`parse`] has reported it.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a>(&'a Spanned<DeValue<'a>>);

impl<'a> Node<'a> {
    /// The value's place in the source.
    #[must_use]
    pub fn span(self) -> Range<usize> {
        self.0.span()
    }

    /// A string.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        self.0.get_ref().as_str()
    }

    /// A whole number from 0.
    #[must_use]
    pub fn integer(self) -> Option<u64> {
        let integer = self.0.get_ref().as_integer()?;
        let value = i64::from_str_radix(integer.as_str(), integer.radix()).ok()?;
        u64::try_from(value).ok()
    }

    /// A number from 0.
    #[must_use]
    pub fn number(self) -> Option<f64> {
        if let Some(float) = self.0.get_ref().as_float() {
            let value: f64 = float.as_str().parse().ok()?;
            return (value.is_finite() && value >= 0.0).then_some(value);
        }
        let integer = self.integer()?;
        // Numbers of adapters are small; above 2^53 a rate has no meaning anyway.
        u32::try_from(integer).ok().map(f64::from)
    }

    /// `true` or `false`.
    #[must_use]
    pub fn boolean(self) -> Option<bool> {
        self.0.get_ref().as_bool()
    }

    /// A table.
    #[must_use]
    pub fn table(self) -> Option<Fields<'a>> {
        self.0.get_ref().as_table().map(|table| Fields {
            table,
            span: self.0.span(),
        })
    }

    /// The elements of a list, or the value itself: most keys take one or many.
    #[must_use]
    pub fn one_or_many(self) -> Vec<Self> {
        self.0.get_ref().as_array().map_or_else(
            || vec![self],
            |items| {
                (0..items.len())
                    .filter_map(|i| items.get(i))
                    .map(Node)
                    .collect()
            },
        )
    }
}

/// A table of the tree.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    table: &'a DeTable<'a>,
    span: Range<usize>,
}

impl<'a> Fields<'a> {
    /// The root of a document.
    #[must_use]
    pub fn root(table: &'a Spanned<DeTable<'a>>) -> Self {
        Self {
            table: table.get_ref(),
            span: table.span(),
        }
    }

    /// The table's place in the source.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Node<'a>> {
        self.table.get(key).map(Node)
    }

    /// A string behind a key.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.text()
    }

    /// All entries: name, place of the name, value.
    pub fn entries(&self) -> impl Iterator<Item = (&'a str, Range<usize>, Node<'a>)> + use<'a> {
        self.table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), Node(value)))
    }

    /// The place of a key's name, for mistakes about its being there.
    #[must_use]
    pub fn key_span(&self, name: &str) -> Range<usize> {
        self.table
            .get_key_value(name)
            .map_or_else(|| self.span(), |(key, _)| key.span())
    }
}
