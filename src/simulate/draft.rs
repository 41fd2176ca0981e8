//! An answer in the making: several readings of one header, or of the body, put together into one value. No I/O.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::json;
use crate::adapter::pointer::Pointer;

/// What one reading contributes to a header or to the body.
#[derive(Debug, Clone)]
pub(super) enum Piece<'a> {
    /// The whole value.
    Whole(String),
    /// A member of a JSON value.
    Json(&'a Pointer, String),
    /// Members of one element; the first is the one that tells the elements apart, if there is one.
    Element(&'a Pointer, Vec<(&'a Pointer, String)>, Option<usize>),
    /// The value of a key in `k=v; k=v`.
    Key(&'a str, String),
    /// A position of a comma list.
    Item(usize, String),
    /// A part of its own, as a template spells it.
    Part(String),
}

/// A value in the making.
#[derive(Debug, Clone)]
enum Slot {
    Whole(String),
    Json(Value),
    Keys(Vec<(String, String)>),
    Items(BTreeMap<usize, String>),
    Parts(Vec<String>),
}

impl Slot {
    fn new(piece: &Piece<'_>) -> Self {
        match piece {
            Piece::Whole(text) => Self::Whole(text.clone()),
            Piece::Json(..) | Piece::Element(..) => Self::Json(Value::Null),
            Piece::Key(..) => Self::Keys(Vec::new()),
            Piece::Item(..) => Self::Items(BTreeMap::new()),
            Piece::Part(_) => Self::Parts(Vec::new()),
        }
    }

    /// Puts a piece in; `false` when another value already stands in its place.
    fn put(&mut self, piece: &Piece<'_>) -> bool {
        match (self, piece) {
            (Self::Whole(old), Piece::Whole(new)) => old == new,
            (Self::Json(root), piece) => put_json(root, piece),
            (Self::Keys(keys), Piece::Key(key, new)) => {
                match keys
                    .iter()
                    .find(|(known, _)| known.eq_ignore_ascii_case(key))
                {
                    Some((_, old)) => old == new,
                    None => {
                        keys.push(((*key).to_owned(), new.clone()));
                        true
                    }
                }
            }
            (Self::Items(items), Piece::Item(item, new)) => {
                items.entry(*item).or_insert_with(|| new.clone()) == new
            }
            (Self::Parts(parts), Piece::Part(new)) => {
                if !parts.contains(new) {
                    parts.push(new.clone());
                }
                true
            }
            _ => false,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Whole(text) => text.clone(),
            Self::Json(root) => root.to_string(),
            Self::Keys(keys) => {
                let parts: Vec<String> = keys
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                parts.join("; ")
            }
            Self::Items(items) => {
                let last = items.keys().next_back().copied().unwrap_or(0);
                let values: Vec<&str> = (0..=last)
                    .map(|item| items.get(&item).map_or("", String::as_str))
                    .collect();
                values.join(",")
            }
            Self::Parts(parts) => {
                // A part with parameters of its own (`150;w=60`) is a member of a list.
                let list = parts.iter().any(|part| part.contains(';'));
                parts.join(if list { ", " } else { "; " })
            }
        }
    }
}

fn put_json(root: &mut Value, piece: &Piece<'_>) -> bool {
    match piece {
        Piece::Json(pointer, text) => json::set(root, pointer, &json::scalar(text)),
        Piece::Element(each, members, identity) => {
            let identity = identity.and_then(|index| members.get(index));
            let fits = |element: &Value| {
                identity.is_none_or(|(pointer, text)| {
                    pointer.first(element) == Some(&json::scalar(text))
                })
            };
            let Some(element) = json::place(root, each, &fits) else {
                return false;
            };
            members.iter().fold(true, |all, (pointer, text)| {
                json::set(element, pointer, &json::scalar(text)) && all
            })
        }
        _ => false,
    }
}

/// The body of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Payload {
    /// None.
    #[default]
    Empty,
    /// A JSON value.
    Json(Value),
    /// Any other text.
    Text(String),
}

impl Payload {
    /// The bytes as they are sent.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Empty => Vec::new(),
            Self::Json(value) => value.to_string().into_bytes(),
            Self::Text(text) => text.clone().into_bytes(),
        }
    }
}

/// An answer in the making.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    slots: Vec<(HeaderName, Slot)>,
    body: Payload,
}

impl Draft {
    /// A draft with what stands in it whatever the readings say.
    pub(super) fn new(headers: &HeaderMap, body: &Payload) -> Self {
        let whole = |(name, value): (&HeaderName, &HeaderValue)| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.clone(), Slot::Whole(text))
        };
        Self {
            slots: headers.iter().map(whole).collect(),
            body: body.clone(),
        }
    }

    /// The header is there.
    pub(super) fn has(&self, name: &HeaderName) -> bool {
        self.slots.iter().any(|(known, _)| known == name)
    }

    /// Puts a piece into a header (`None`: into the body); `false` when another value already stands in its place.
    pub(super) fn put(&mut self, header: Option<&HeaderName>, piece: &Piece<'_>) -> bool {
        let Some(name) = header else {
            if self.body == Payload::Empty {
                self.body = Payload::Json(Value::Null);
            }
            return match &mut self.body {
                Payload::Json(root) => put_json(root, piece),
                _ => false,
            };
        };
        let known = self.slots.iter_mut().find(|(known, _)| known == name);
        if let Some((_, slot)) = known {
            return slot.put(piece);
        }
        let mut slot = Slot::new(piece);
        let fits = slot.put(piece) && HeaderValue::from_str(&slot.text()).is_ok();
        if fits {
            self.slots.push((name.clone(), slot));
        }
        fits
    }

    /// The headers and the body as they are sent.
    pub(super) fn finish(&self) -> (HeaderMap, Payload) {
        let mut headers = HeaderMap::new();
        for (name, slot) in &self.slots {
            if let Ok(value) = HeaderValue::from_str(&slot.text()) {
                headers.insert(name.clone(), value);
            }
        }
        (headers, self.body.clone())
    }
}
