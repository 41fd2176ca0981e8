//! Which calls a question tells apart, and what they are called.

use std::sync::Arc;

use hashbrown::HashMap;

use super::filter::has;
use super::{By, Counted, Question, Row};
use crate::history::plan::Cell;
use crate::state::history::{Dictionary, Places, Series};

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

/// Which series belong to which group, and what groups are called.
pub(super) struct Book {
    /// Where the sums of each series go that is wanted.
    pub(super) places: Places,
    pub(super) slots: Vec<Slot>,
    groups: Vec<Arc<Group>>,
}

/// What is added up as one: calls of a group that came out alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) group: usize,
    /// A status of its class; 0: there was none.
    pub(super) status: u16,
    /// Whether a quota was in the way.
    is_refused: bool,
}

/// What calls of all times have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Group {
    /// In the order of the columns, without time.
    pub keys: Vec<Key>,
    /// What the policy counts.
    pub unit: Option<Arc<str>>,
}

impl Book {
    pub(super) fn new(dictionary: &Dictionary, question: &Question) -> Self {
        let of_policies = question.by.contains(&By::Policy);
        let mut book = Self {
            places: Places::default(),
            slots: Vec::new(),
            groups: Vec::new(),
        };
        let mut known_groups: HashMap<Arc<Group>, usize> = HashMap::new();
        let mut known_slots: HashMap<Slot, usize> = HashMap::new();
        for (number, series) in dictionary.series() {
            let is_wanted = series.policy.is_empty() != of_policies
                && question.filter.wants(series)
                && (!of_policies || has(&question.filter.policy, &series.policy));
            if !is_wanted {
                continue;
            }
            let keys = question.by.iter().filter_map(|by| key(*by, series));
            let unit = of_policies.then(|| Arc::clone(&series.unit));
            let group = Group {
                keys: keys.collect(),
                unit,
            };
            let groups = &mut book.groups;
            let place = known_groups.get(&group).copied();
            let group = place.unwrap_or_else(|| {
                let group = Arc::new(group);
                groups.push(Arc::clone(&group));
                known_groups.insert(group, groups.len() - 1);
                groups.len() - 1
            });
            let slot = Slot {
                group,
                status: match series.status {
                    0 => 0,
                    100..=399 => 200,
                    _ => 500,
                },
                is_refused: !series.refused_by.is_empty(),
            };
            let slots = &mut book.slots;
            let place = *known_slots.entry(slot).or_insert_with(|| {
                slots.push(slot);
                slots.len() - 1
            });
            book.places.set(*number, place);
        }
        book
    }

    /// How many there are.
    pub(super) const fn groups(&self) -> usize {
        self.groups.len()
    }

    /// How the rows of a group stand to those of others: the columns before time, and those behind it.
    pub(super) fn ranks(&self, question: &Question) -> Vec<(usize, usize)> {
        let is_step = |by: &By| matches!(by, By::Step(_));
        let before = question.by.iter().position(is_step).unwrap_or(0);
        let first = ranks(&self.groups, |group| group.keys.get(..before));
        let then = ranks(&self.groups, |group| {
            (group.keys.get(before..), &group.unit)
        });
        first.into_iter().zip(then).collect()
    }

    /// A row for people.
    pub(super) fn row(&self, cells: &[Cell], counted: Counted) -> Option<Row> {
        Some(Row {
            group: Arc::clone(self.groups.get(counted.group)?),
            time: Arc::clone(&cells.get(counted.cell)?.label),
            numbers: counted.numbers,
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

/// The place of each in the order of what is looked at; those that are alike share one.
fn ranks<'a, T, K: Ord>(all: &'a [T], look: impl Fn(&'a T) -> K) -> Vec<usize> {
    let mut order: Vec<_> = all.iter().map(look).enumerate().collect();
    order.sort_unstable_by(|(_, a), (_, b)| a.cmp(b));
    let mut ranks = vec![0; all.len()];
    for (rank, alike) in order.chunk_by(|(_, a), (_, b)| a == b).enumerate() {
        for (at, _) in alike {
            if let Some(place) = ranks.get_mut(*at) {
                *place = rank;
            }
        }
    }
    ranks
}
