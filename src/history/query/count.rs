//! Adding totals up by what a question tells apart.

use std::collections::HashMap;
use std::sync::Arc;

use super::filter::has;
use super::{By, MOST_ROWS, Question, Row};
use crate::history::plan::{self, Cell};
use crate::state::ReadError;
use crate::state::history::{Series, Snapshot, Sums};

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// There is none: nobody refused it, the caller was gone before a status, the provider's status was the same.
    None,
    /// A status.
    Number(u16),
    /// A name or a time.
    Text(Arc<str>),
}

/// How many, and how much. Each call is one of ok, failed, refused, exhausted and unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// All calls.
    pub calls: u64,
    /// The caller got the whole of an answer with a status below 400.
    pub ok: u64,
    /// A status from 400 on that is no refusal, or an answer that broke off.
    pub failed: u64,
    /// Refused by headroom.
    pub refused: u64,
    /// Refused by the provider for want of quota.
    pub exhausted: u64,
    /// The caller went away before an answer.
    pub unanswered: u64,
    /// Of a policy: what it counted.
    pub cost: u64,
    /// Calls that waited for quota.
    pub waited: u64,
    /// How long, in microseconds.
    pub waited_us: u64,
    /// From head to end, in microseconds.
    pub duration_us: u64,
    /// Of that, waiting for the provider's head, in microseconds.
    pub upstream_us: u64,
    /// From callers.
    pub bytes_in: u64,
    /// To callers.
    pub bytes_out: u64,
}

impl Numbers {
    fn add(&mut self, status: u16, sums: &Sums) {
        self.calls += sums.calls;
        self.refused += sums.refused;
        self.exhausted += sums.exhausted;
        // Refused first, because that is what was recorded of it.
        let rest = sums.calls.saturating_sub(sums.refused + sums.exhausted);
        match status {
            0 => self.unanswered += rest,
            100..=399 => {
                let broken = sums.broken.min(rest);
                self.failed += broken;
                self.ok += rest - broken;
            }
            _ => self.failed += rest,
        }
        self.cost = self.cost.saturating_add(sums.cost);
        self.waited += sums.waited;
        self.waited_us = self.waited_us.saturating_add(sums.waited_us);
        self.duration_us = self.duration_us.saturating_add(sums.duration_us);
        self.upstream_us = self.upstream_us.saturating_add(sums.upstream_us);
        self.bytes_in = self.bytes_in.saturating_add(sums.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(sums.bytes_out);
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        self.calls += other.calls;
        self.ok += other.ok;
        self.failed += other.failed;
        self.refused += other.refused;
        self.exhausted += other.exhausted;
        self.unanswered += other.unanswered;
        self.cost = self.cost.saturating_add(other.cost);
        self.waited += other.waited;
        self.waited_us = self.waited_us.saturating_add(other.waited_us);
        self.duration_us = self.duration_us.saturating_add(other.duration_us);
        self.upstream_us = self.upstream_us.saturating_add(other.upstream_us);
        self.bytes_in = self.bytes_in.saturating_add(other.bytes_in);
        self.bytes_out = self.bytes_out.saturating_add(other.bytes_out);
    }
}

/// Which series belong to which group, and what groups are called.
pub(super) struct Book {
    /// The group and the status of each series that is wanted.
    members: HashMap<i64, (usize, u16)>,
    groups: Vec<Group>,
}

/// Keys without time, and the unit of a policy.
type Group = (Vec<Key>, Option<Arc<str>>);

impl Book {
    pub(super) fn new(dictionary: Vec<(i64, Series)>, question: &Question) -> Self {
        let of_policies = question.by.contains(&By::Policy);
        let mut members = HashMap::new();
        let mut groups = Vec::new();
        let mut known: HashMap<Group, usize> = HashMap::new();
        for (number, series) in dictionary {
            let is_wanted = series.policy.is_empty() != of_policies
                && question.filter.wants(&series)
                && (!of_policies || has(&question.filter.policy, &series.policy));
            if !is_wanted {
                continue;
            }
            let keys = question.by.iter().filter_map(|by| key(*by, &series));
            let unit = of_policies.then(|| Arc::clone(&series.unit));
            let group: Group = (keys.collect(), unit);
            let index = *known.entry(group.clone()).or_insert_with(|| {
                groups.push(group);
                groups.len() - 1
            });
            members.insert(number, (index, series.status));
        }
        Self { members, groups }
    }

    /// A row for people.
    pub(super) fn row(
        &self,
        question: &Question,
        cells: &[Cell],
        cell: usize,
        group: usize,
        numbers: Numbers,
    ) -> Option<Row> {
        let (keys, unit) = self.groups.get(group)?;
        let mut keys = keys.iter();
        let label = &cells.get(cell)?.label;
        let whole = question.by.iter().map(|by| match by {
            By::Step(_) => Some(Key::Text(label.as_str().into())),
            _ => keys.next().cloned(),
        });
        Some(Row {
            keys: whole.collect::<Option<_>>()?,
            unit: unit.clone(),
            numbers,
        })
    }
}

fn key(by: By, series: &Series) -> Option<Key> {
    let text = |text: &Arc<str>| {
        if text.is_empty() {
            Key::None
        } else {
            Key::Text(Arc::clone(text))
        }
    };
    let number = |number: u16| {
        if number == 0 {
            Key::None
        } else {
            Key::Number(number)
        }
    };
    Some(match by {
        By::Consumer => text(&series.consumer),
        By::Connection => text(&series.connection),
        By::Provider => text(&series.provider),
        By::Method => text(&series.method),
        By::Endpoint => text(&series.endpoint),
        By::Status => number(series.status),
        By::UpstreamStatus => number(series.upstream_status),
        By::RefusedBy => text(&series.refused_by),
        By::Policy => text(&series.policy),
        By::Step(_) => return None,
    })
}

/// What was counted, by cell and group.
pub(super) fn tally(
    snapshot: &Snapshot<'_>,
    cells: &[Cell],
    book: &Book,
) -> Result<HashMap<(usize, usize), Numbers>, ReadError> {
    let mut counted: HashMap<(usize, usize), Numbers> = HashMap::new();
    let mut cell = 0;
    for scan in plan::scans(cells) {
        snapshot.totals(scan.level, scan.from, scan.to, |start, series, sums| {
            let Some((group, status)) = book.members.get(&series) else {
                return;
            };
            // Totals come in the order of time.
            while cells.get(cell).is_some_and(|cell| cell.end <= start) {
                cell += 1;
            }
            let key = (cell, *group);
            // One more than may be: the answer is not given, and takes no more memory than one that is.
            if counted.len() <= MOST_ROWS || counted.contains_key(&key) {
                counted.entry(key).or_default().add(*status, sums);
            }
        })?;
    }
    Ok(counted)
}
