//! The meters, for people and programs: `GET /-/quota`.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};

use super::Ledger;
use super::account::Account;
use super::cell::{Cell, Inner, Shared};
use super::meter::Standing;
use super::rule::{Motion, Rule};
use super::tell;
use super::ticket::State;
use super::time::{Nanos, Now};
use crate::quota::Mode;

/// Meters that one report shows at the most.
const MOST: usize = 10_000;

/// Whoever used something and has no name, all of them together, where consumers are told.
pub const NAMELESS: &str = "(others)";

/// Which meters a report shows. What is not named is not looked at.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this connection.
    pub connection: Option<String>,
    /// Of which this consumer used something.
    pub consumer: Option<String>,
    /// Of this policy.
    pub policy: Option<String>,
    /// What is left is told as it is for this consumer, whom its cap and the shares of others leave less than all; for the one
    /// above, where nobody is named.
    pub left_for: Option<String>,
}

/// The meters.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// By connection, policy and partition.
    pub meters: Vec<MeterReport>,
    /// How many there are; more than are shown where there are very many.
    pub total: usize,
}

/// One meter. Numbers that are not known are `null`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeterReport {
    /// The connection.
    pub connection: String,
    /// The adapter's id.
    pub provider: String,
    /// The policy.
    pub policy: String,
    /// Whose budget it is; empty: the whole connection's.
    pub partition: String,
    /// What is counted.
    pub unit: String,
    /// The quota that holds.
    pub limit: Option<u64>,
    /// Used in this window, others included, as far as headroom knows.
    pub used: u64,
    /// What is left.
    pub remaining: Option<u64>,
    /// Seconds until quota comes back, rounded up.
    pub reset: Option<u64>,
    /// The window in seconds.
    pub window: Option<u64>,
    /// Who says so, as in `headroom-source`.
    pub source: String,
    /// What is done about it: `observe`, `enforce` or `wait`.
    pub mode: String,
    /// Seconds for which the provider wants no call; `null`: it is open.
    pub suspended: Option<u64>,
    /// What was let through and is not answered yet. Like what follows, only the operator is told what it is of all callers.
    #[serde(default)]
    pub in_flight: u64,
    /// Calls that wait for it.
    #[serde(default)]
    pub waiting: usize,
    /// Who used how much of it through headroom, the most first. Callers without a name are one: [`NAMELESS`].
    pub consumers: Vec<ConsumerReport>,
    /// Used outside headroom, as the provider's numbers show.
    #[serde(default)]
    pub others: u64,
    /// When it runs out at the pace of this window; `null`: not before its reset, or nobody knows.
    pub forecast: Option<Forecast>,
}

/// What one consumer used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerReport {
    /// Its name.
    pub consumer: String,
    /// What it used in this window.
    pub used: u64,
}

/// When a quota runs out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forecast {
    /// Seconds from now, rounded down.
    pub runs_out_in: u64,
    /// The moment (RFC 3339).
    pub runs_out_at: String,
}

impl Ledger {
    /// The meters at this moment. Where a connection goes to another origin than before, the meters of its earlier account,
    /// which live on until their windows end, are not told: they have the same names.
    #[must_use]
    pub fn report(&self, filter: &Filter, now: Now) -> Report {
        let names = Names(self.names());
        let left_for = filter.left_for.as_ref().or(filter.consumer.as_ref());
        let caller = left_for.and_then(|name| names.number(name));
        let accounts = self.shown_accounts();
        let mut total = 0;
        // There may be a million: only what is shown is put into words. Which ones are must not be chance.
        let mut first = BinaryHeap::new();
        for (_, cell) in &self.cells {
            let is = |wanted: &Option<String>, name: &str| {
                wanted.as_deref().is_none_or(|wanted| wanted == name)
            };
            if !is(&filter.connection, &cell.account.connection) || !accounts.has(&cell.account) {
                continue;
            }
            let policy = {
                let mut inner = cell.lock();
                let policy = Arc::clone(&inner.rule.policy);
                let consumer = filter.consumer.as_deref();
                if !is(&filter.policy, &policy)
                    || consumer.is_some_and(|wanted| !names.has(&mut inner, wanted, now))
                {
                    continue;
                }
                policy
            };
            total += 1;
            let shown = Shown { cell, policy };
            if first.len() < MOST {
                first.push(shown);
            } else if let Some(mut last) = first.peek_mut()
                && shown < *last
            {
                *last = shown;
            }
        }
        let meters = first.into_sorted_vec().into_iter().map(|shown| {
            let cell = &shown.cell;
            names.meter_report(cell, &mut cell.lock(), caller, now)
        });
        Report {
            meters: meters.collect(),
            total,
        }
    }
}

impl Ledger {
    /// The meters that are nearest to having nothing left, those first. What is not known is last. Meters of an earlier
    /// account of a connection are neither told nor counted.
    #[must_use]
    pub fn tightest(&self, most: usize, now: Now) -> Report {
        let names = Names(self.names());
        let accounts = self.shown_accounts();
        let mut total = 0;
        let mut first = BinaryHeap::new();
        for (_, cell) in &self.cells {
            if !accounts.has(&cell.account) {
                continue;
            }
            total += 1;
            let (left, policy) = {
                let mut inner = cell.lock();
                let Inner { meter, rule, .. } = &mut *inner;
                (left(&meter.standing(rule, now)), Arc::clone(&rule.policy))
            };
            let shown = (left, Shown { cell, policy });
            if first.len() < most {
                first.push(shown);
            } else if let Some(mut last) = first.peek_mut()
                && shown < *last
            {
                *last = shown;
            }
        }
        let meters = first.into_sorted_vec().into_iter().map(|(_, shown)| {
            let cell = &shown.cell;
            names.meter_report(cell, &mut cell.lock(), None, now)
        });
        Report {
            meters: meters.collect(),
            total,
        }
    }
}

/// Which accounts are told.
struct Accounts {
    /// For each connection the account that the latest configuration holds to its rules, of those that have meters.
    newest: HashMap<Arc<str>, (u64, Arc<str>)>,
    /// Those that the configuration has left.
    left: HashSet<Arc<str>>,
}

impl Accounts {
    fn has(&self, account: &Account) -> bool {
        let newest = self.newest.get(&account.connection);
        newest.is_none_or(|(_, identity)| *identity == account.identity)
            && !self.left.contains(&account.identity)
    }
}

impl Ledger {
    fn shown_accounts(&self) -> Accounts {
        let mut newest: HashMap<Arc<str>, (u64, Arc<str>)> = HashMap::new();
        for (_, cell) in &self.cells {
            let account = &cell.account;
            let generation = cell.lock().rule.generation;
            match newest.get_mut(&account.connection) {
                Some(known) => {
                    if (generation, &account.identity) > (known.0, &known.1) {
                        *known = (generation, Arc::clone(&account.identity));
                    }
                }
                None => {
                    let known = (generation, Arc::clone(&account.identity));
                    newest.insert(Arc::clone(&account.connection), known);
                }
            }
        }
        let left = self.left.read().unwrap_or_else(PoisonError::into_inner);
        Accounts {
            newest,
            left: left.clone(),
        }
    }
}

/// What is left, in millionths of the quota.
fn left(standing: &Standing) -> u64 {
    if standing.suspended.is_some() {
        return 0;
    }
    let (Some(remaining), Some(limit)) = (standing.remaining, standing.limit) else {
        return u64::MAX;
    };
    let left = u128::from(remaining) * 1_000_000 / u128::from(limit.max(1));
    u64::try_from(left).unwrap_or(u64::MAX - 1)
}

/// A meter of a report, in the report's order.
struct Shown {
    cell: Arc<Cell>,
    policy: Arc<str>,
}

impl Shown {
    fn key(&self) -> (&str, &str, &str) {
        let cell = &self.cell;
        (&cell.account.connection, &self.policy, cell.label())
    }
}

impl Ord for Shown {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Shown {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Shown {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Shown {}

/// Callers' names, by their numbers.
struct Names(HashMap<u64, Arc<str>>);

impl Names {
    /// Whether this consumer used something of a meter.
    fn has(&self, inner: &mut Inner, wanted: &str, now: Now) -> bool {
        let Inner { meter, rule, .. } = inner;
        // Who used something of a window that is over is forgotten with it.
        let _ = meter.standing(rule, now);
        meter.users().any(|user| self.name_of(user.who) == wanted)
    }

    /// The number of a caller.
    fn number(&self, wanted: &str) -> Option<u64> {
        let mut names = self.0.iter();
        names.find_map(|(number, name)| (**name == *wanted).then_some(*number))
    }

    /// As it is for all, or for a caller.
    fn meter_report(
        &self,
        cell: &Cell,
        inner: &mut Inner,
        caller: Option<u64>,
        now: Now,
    ) -> MeterReport {
        // At the pace of all.
        let forecast = forecast(&inner.rule, &inner.meter.standing(&inner.rule, now), now);
        let state = State::of(inner, 0, true, caller, now);
        let (standing, limit) = (state.standing, tell::limit(&state, now));
        let Inner { meter, rule, .. } = inner;
        let mut consumers: Vec<ConsumerReport> = meter
            .users()
            .map(|user| ConsumerReport {
                consumer: self.name_of(user.who).to_owned(),
                used: user.used,
            })
            .collect();
        // Those without a name are one.
        consumers.sort_by(|a, b| a.consumer.cmp(&b.consumer));
        consumers.dedup_by(|next, kept| {
            let same = next.consumer == kept.consumer;
            if same {
                kept.used = kept.used.saturating_add(next.used);
            }
            same
        });
        consumers.sort_by_key(|user| std::cmp::Reverse(user.used));
        let in_flight = meter.in_flight();
        MeterReport {
            connection: cell.account.connection.to_string(),
            provider: cell.account.provider.to_string(),
            policy: rule.policy.to_string(),
            partition: cell.label().to_owned(),
            unit: rule.unit.to_string(),
            limit: limit.limit,
            used: standing.used,
            remaining: limit.remaining,
            reset: limit.reset,
            window: limit.window,
            source: limit.source.as_str().to_owned(),
            mode: mode(rule, &standing).to_owned(),
            suspended: standing
                .suspended
                .map(|until| until.since(now.steady).ceil_secs()),
            in_flight,
            waiting: inner.queue.len(),
            consumers,
            others: standing.used.saturating_sub(standing.own),
            forecast,
        }
    }

    fn name_of(&self, caller: u64) -> &str {
        self.0.get(&caller).map_or(NAMELESS, |name| name)
    }
}

const fn mode(rule: &Rule, standing: &Standing) -> &'static str {
    match rule.mode {
        Some(Mode::Observe) => "observe",
        Some(Mode::Enforce) => "enforce",
        Some(Mode::Wait) => "wait",
        None if standing.cause.is_observed_by_default() => "observe",
        // Only the provider's refusals stop calls.
        None if rule.soft && standing.suspended.is_none() => "observe",
        None => "enforce",
    }
}

/// At the pace of the window so far. A pace needs some time to be one.
pub(super) fn forecast(rule: &Rule, standing: &Standing, now: Now) -> Option<Forecast> {
    let (remaining, reset) = (standing.remaining?, standing.reset?);
    if !matches!(rule.motion, Motion::Fixed(_) | Motion::Aligned { .. }) || standing.used == 0 {
        return None;
    }
    let left = reset.since(now.steady);
    let whole = Nanos::from_secs(rule.window_secs?);
    let gone = whole.0.checked_sub(left.0)?;
    if gone < whole.0 / 100 {
        return None;
    }
    let runs_out = u128::from(remaining) * u128::from(gone) / u128::from(standing.used);
    let runs_out = u64::try_from(runs_out).ok().filter(|out| *out < left.0)?;
    let at = now.wall_at(now.steady.after(Nanos(runs_out)));
    let at = jiff::Timestamp::from_millisecond(at).ok()?;
    Some(Forecast {
        runs_out_in: runs_out / 1_000_000_000,
        runs_out_at: at.round(jiff::Unit::Second).ok()?.to_string(),
    })
}
