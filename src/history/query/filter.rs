//! Which calls a report or a list is about.

use crate::state::history::Series;

/// What a call has to be. Several values of one kind: any of them; none: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the dimensions, as in Series")]
pub struct Filter {
    pub consumer: Vec<String>,
    pub connection: Vec<String>,
    pub provider: Vec<String>,
    pub method: Vec<String>,
    pub endpoint: Vec<String>,
    pub status: Vec<Status>,
    pub upstream_status: Vec<Status>,
    pub refused_by: Vec<String>,
    pub policy: Vec<String>,
}

/// A status, or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// This one.
    Is(u16),
    /// All that begin with this digit.
    Class(u16),
    /// There is none.
    None,
}

impl Status {
    /// `429`, `4xx`, `none`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "none" {
            return Some(Self::None);
        }
        if let Some(class) = text.strip_suffix("xx") {
            let class = class.parse().ok()?;
            return (1..=5).contains(&class).then_some(Self::Class(class));
        }
        let status = text.parse().ok()?;
        (100..=999).contains(&status).then_some(Self::Is(status))
    }

    const fn is(self, status: u16) -> bool {
        match self {
            Self::Is(wanted) => wanted == status,
            Self::Class(class) => status / 100 == class,
            Self::None => status == 0,
        }
    }
}

impl Filter {
    /// Whether calls of this kind are wanted; policies are not looked at.
    #[must_use]
    pub fn wants(&self, series: &Series) -> bool {
        has(&self.consumer, &series.consumer)
            && has(&self.connection, &series.connection)
            && has(&self.provider, &series.provider)
            && has(&self.method, &series.method)
            && has(&self.endpoint, &series.endpoint)
            && has(&self.refused_by, &series.refused_by)
            && is(&self.status, series.status)
            && is(&self.upstream_status, series.upstream_status)
    }

    /// Whether calls of this connection are wanted.
    #[must_use]
    pub fn wants_connection(&self, connection: &str) -> bool {
        has(&self.connection, connection)
    }
}

pub(super) fn has(wanted: &[String], value: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|one| one == value)
}

fn is(wanted: &[Status], status: u16) -> bool {
    wanted.is_empty() || wanted.iter().any(|one| one.is(status))
}
