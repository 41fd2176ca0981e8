//! Readings: where an answer tells a number or a time, and how it is spelled.

use http::HeaderName;
use regex::Regex;

use super::condition::ResponseCondition;
use super::pointer::Pointer;
use crate::form::{NumberForm, TimeForm};

/// A reading of one answer.
#[derive(Debug)]
pub struct Reading {
    /// Where it stands.
    pub source: Source,
    /// What is taken out of it.
    pub extract: Extract,
    /// For the form "unit": the header that names the unit.
    pub unit_header: Option<HeaderName>,
    /// Values that mean nothing.
    pub ignore: Vec<String>,
    /// When it speaks.
    pub when: Option<ResponseCondition>,
    /// How the simulator writes a pattern.
    pub write: Option<String>,
}

impl Reading {
    /// Both read the same part of the same header.
    #[must_use]
    pub fn shares_its_header_with(&self, other: &Self) -> bool {
        let (Source::Header(name), Source::Header(other_name)) = (&self.source, &other.source)
        else {
            return false;
        };
        let is_same_part = match (&self.extract, &other.extract) {
            (Extract::One(own, ..), Extract::One(other, ..)) => match (own, other) {
                (Narrow::Json(own), Narrow::Json(other)) => own == other,
                (Narrow::Key(own), Narrow::Key(other)) => own == other,
                (Narrow::Item(own), Narrow::Item(other)) => own == other,
                (Narrow::Pattern(own), Narrow::Pattern(other)) => own.as_str() == other.as_str(),
                _ => true,
            },
            _ => true,
        };
        name == other_name && is_same_part
    }
}

/// Where a reading stands.
#[derive(Debug)]
pub enum Source {
    /// In a header.
    Header(HeaderName),
    /// In every header whose lower-case name fits; the group `label` names the policy.
    Headers(Regex),
    /// In the body.
    Body,
}

/// What is taken out of it.
#[derive(Debug)]
pub enum Extract {
    /// One quantity.
    One(Narrow, Quantity, Spelling),
    /// `used/limit` or `remaining/limit`, the whole value or that of a key in `k=v; k=v`.
    Slash(Option<String>, Quantity),
    /// `100;w=21600`, or a list of such.
    Windowed,
    /// The named groups of a pattern (their indices).
    Groups(Regex, Vec<(usize, Quantity, Spelling)>),
    /// Members of JSON elements.
    Each(Pointer, Vec<(Pointer, Quantity, Spelling)>),
}

impl Extract {
    /// What it tells.
    #[must_use]
    pub fn quantities(&self) -> Vec<Quantity> {
        match self {
            Self::One(_, quantity, _) => vec![*quantity],
            Self::Slash(_, quantity) => vec![*quantity, Quantity::Limit],
            Self::Windowed => vec![Quantity::Limit, Quantity::Window],
            Self::Groups(_, parts) => parts.iter().map(|part| part.1).collect(),
            Self::Each(_, parts) => parts.iter().map(|part| part.1).collect(),
        }
    }
}

/// How a value is narrowed down to the part that counts.
#[derive(Debug)]
pub enum Narrow {
    /// The whole value.
    Whole,
    /// A JSON pointer.
    Json(Pointer),
    /// The value of a key in `k=v; k=v`.
    Key(String),
    /// A position of a comma list, from 0.
    Item(usize),
    /// The one group of a pattern.
    Pattern(Regex),
}

/// What a reading tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// The quota.
    Limit,
    /// What is left.
    Remaining,
    /// What has been used.
    Used,
    /// When quota comes back.
    Reset,
    /// The window's length.
    Window,
    /// What this request cost.
    Cost,
    /// The policy's name.
    Label,
}

impl Quantity {
    /// All of them, for names of groups and members.
    pub const ALL: [Self; 7] = [
        Self::Limit,
        Self::Remaining,
        Self::Used,
        Self::Reset,
        Self::Window,
        Self::Cost,
        Self::Label,
    ];

    /// The word of the language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Remaining => "remaining",
            Self::Used => "used",
            Self::Reset => "reset",
            Self::Window => "window",
            Self::Cost => "cost",
            Self::Label => "label",
        }
    }

    /// It is a time or a length of time.
    #[must_use]
    pub const fn is_time(self) -> bool {
        matches!(self, Self::Reset | Self::Window)
    }
}

/// How a value is spelled.
#[derive(Debug, Clone)]
pub enum Spelling {
    /// A number.
    Number(NumberForm),
    /// A time; the forms are tried in order.
    Time(Vec<TimeForm>),
    /// A name.
    Name,
}
