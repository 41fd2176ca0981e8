//! Headroom's own count: a meter for each policy and partition, corrected by what providers say. No clock, no network:
//! time and randomness are arguments.
//!
//! [`crate::time`] is the two clocks, [`rule`] what a meter is held to, [`meter`] the pure machine; [`cell`] decides over several
//! meters at once, [`queue`] orders the calls that wait. A call gets a [`ticket`], which carries what it took until the last
//! byte of its answer; [`tell`] makes limits of meters. `store` keeps what must survive the process, [`lookout`]
//! notices which meters are worth a warning.
//!
//! `moka` holds the meters and decides nothing: a cache that is full forgets or refuses by its own lights, and both give
//! quota away. So it has no capacity here; [`Ledger::sweep`] takes out what nothing is lost by, and the house is full when
//! it is full.

pub mod account;
pub mod cell;
mod house;
mod kept;
mod learned;
pub mod lookout;
pub mod meter;
pub mod queue;
mod reload;
pub mod report;
mod roll;
pub mod rule;
mod slot;
mod store;
pub mod tell;
pub mod ticket;

pub use crate::time;
pub use slot::KeyHasher;

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use moka::sync::Cache;
use smallvec::smallvec;
use tokio::sync::watch;

use account::Account;
use cell::{Cell, Denied, Few, Outcome, Shared, Want, decide, decide_one};
use meter::{Caller, Cause, Obstacle, Until};
use queue::Place;
use rule::Rule;
use slot::Cells;
use ticket::Ticket;
use time::{Nanos, Now};

use crate::charge::Lesson;
use crate::quota::Mode;
use crate::state::State;

/// Everything that is counted.
pub struct Ledger {
    cells: Cells,
    /// Whoever makes a meter makes it alone.
    roll: Mutex<roll::Roll>,
    /// Meters there are, of callers that nobody vouches for and of all others.
    strangers: AtomicUsize,
    residents: AtomicUsize,
    settings: Settings,
    /// Numbers calls that wait.
    number: AtomicU64,
    learned: learned::Learned,
    names: RwLock<HashMap<u64, Arc<str>>>,
    /// Identities of accounts that the configuration has left. Their meters live on, in case it comes back.
    left: RwLock<HashSet<Arc<str>>>,
    store: Arc<store::Store>,
    /// Nobody waits any more.
    ending: watch::Sender<bool>,
}

/// How large the ledger may become.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Meters of callers without a key: anybody can make up a credential.
    pub max_strangers: usize,
    /// Meters of all others.
    pub max_residents: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_strangers: 100_000,
            max_residents: 1_000_000,
        }
    }
}

/// What a call wants of one policy.
pub struct Item {
    /// The policy, as an index into the account's rules.
    pub policy: usize,
    /// Identifies the meter.
    pub key: u128,
    /// Identifies the meter that stands for all partitions which may turn out to be this one.
    pub shared: u128,
    /// How much.
    pub cost: u64,
}

/// A call that asks to go.
pub struct Demand<'a> {
    /// Whose account it uses.
    pub account: &'a Arc<Account>,
    /// What it wants.
    pub items: Few<Item>,
    /// A label for the meter of the `n`-th item, if it has to be made.
    pub label: &'a (dyn Fn(usize) -> String + Sync),
    /// Who calls.
    pub caller: Caller,
    /// Somebody vouches for the caller: its meters are residents'.
    pub is_resident: bool,
    /// RFC 9218: 0 is the most urgent.
    pub urgency: u8,
    /// How long it waits at the most where a limit wants it to wait for itself.
    pub patience: Option<Duration>,
    /// How long it waits where the mode of a rule is to wait.
    pub mode_patience: Duration,
}

/// A call that may not go.
#[derive(Debug)]
pub struct Refused {
    /// The policy in its way (an index); `None`: there is no room for another meter.
    pub policy: Option<usize>,
    /// What is in its way.
    pub obstacle: Obstacle,
    /// Why it does not wait.
    pub why: Why,
    /// How long it waited, in vain.
    pub waited: Nanos,
    /// Its meters, for telling their state.
    pub cells: Few<(usize, Arc<Cell>)>,
}

/// Why a call does not wait for its quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It would wait for longer than it may, or it may not wait.
    NoRoom,
    /// Too many wait already.
    QueueFull,
    /// The process ends, see [`Ledger::end_waits`].
    Ending,
}

impl Ledger {
    /// An empty ledger, or what the store has kept.
    #[must_use]
    pub fn new(settings: Settings, state: Option<(State, crate::state::Loaded)>) -> Self {
        let (store, lessons) = store::Store::new(state);
        Self {
            cells: Cache::builder().build_with_hasher(BuildHasherDefault::default()),
            roll: Mutex::default(),
            strangers: AtomicUsize::new(0),
            residents: AtomicUsize::new(0),
            settings,
            number: AtomicU64::new(0),
            learned: learned::Learned::new(lessons),
            names: RwLock::default(),
            left: RwLock::default(),
            store: Arc::new(store),
            ending: watch::Sender::new(false),
        }
    }

    /// Lets the call go, now or when its limits allow it.
    ///
    /// # Errors
    /// It may not go, or not in time.
    pub async fn admit(
        &self,
        demand: &Demand<'_>,
        clock: impl Fn() -> Now,
    ) -> Result<Ticket, Refused> {
        let begun = clock();
        match self.try_admit(demand, None, begun) {
            Attempt::Admitted(ticket) => Ok(ticket),
            // Most calls go at once: what waiting needs is only there for those that wait.
            other => Box::pin(self.admit_later(demand, other, begun, clock)).await,
        }
    }

    /// Lets the call go now, or tells what is in its way.
    pub fn try_admit(
        &self,
        demand: &Demand<'_>,
        mut waiting: Option<&mut Waiting>,
        now: Now,
    ) -> Attempt {
        if let ([item], None) = (&*demand.items, &waiting) {
            // Most calls have one meter and go at once.
            match self.try_one(demand, item, now) {
                Some(attempt) => return attempt,
                None => return Attempt::Full,
            }
        }
        let wants = wants(demand);
        loop {
            let Some(cells) = self.cells(demand, now) else {
                return Attempt::Full;
            };
            let place = waiting.as_mut().map(|waiting| {
                waiting.cells.clone_from(&cells);
                &mut waiting.place
            });
            return match decide(&cells, &wants, demand.caller, place, now) {
                Outcome::Admitted(taken) => {
                    Attempt::Admitted(Ticket::new(&demand.items, cells, taken))
                }
                Outcome::Unstored(indices) => Attempt::Unstored(cells, indices),
                Outcome::Blocked(index, obstacle) => Attempt::Blocked(cells, index, obstacle),
                Outcome::Stale => continue,
            };
        }
    }

    /// The same for one meter. `None`: the house is full.
    fn try_one(&self, demand: &Demand<'_>, item: &Item, now: Now) -> Option<Attempt> {
        let rule = demand.account.rules.get(item.policy)?;
        let want = Want {
            rule,
            cost: item.cost,
        };
        loop {
            let cell = match self.find(item.key) {
                Some(cell) => cell,
                None => self.make(demand, 0, item, now)?,
            };
            let decided = decide_one(cell.lock(), &want, demand.caller, None, now);
            return Some(match decided {
                Ok(taken) => Attempt::Admitted(Ticket::one(item.policy, cell, taken)),
                Err(Denied::Unstored) => Attempt::Unstored(smallvec![cell], smallvec![0]),
                Err(Denied::Blocked(obstacle)) => Attempt::Blocked(smallvec![cell], 0, obstacle),
                Err(Denied::Stale) => continue,
            });
        }
    }

    async fn admit_later(
        &self,
        demand: &Demand<'_>,
        mut attempt: Attempt,
        begun: Now,
        clock: impl Fn() -> Now,
    ) -> Result<Ticket, Refused> {
        let mut waiting: Option<Waiting> = None;
        let mut now = begun;
        loop {
            let (cells, index, obstacle) = match attempt {
                Attempt::Admitted(mut ticket) => {
                    if let Some(waiting) = &mut waiting {
                        waiting.went = true;
                        ticket.waited = now.steady.since(begun.steady);
                    }
                    return Ok(ticket);
                }
                Attempt::Full => return Err(full()),
                Attempt::Unstored(cells, indices) => {
                    let behind = indices.into_iter();
                    let behind = behind.filter_map(|index| {
                        Some((cells.get(index)?.clone(), demand.items.get(index)?.cost))
                    });
                    self.store.count_ahead(behind, now).await;
                    now = clock();
                    attempt = self.try_admit(demand, waiting.as_mut(), now);
                    continue;
                }
                Attempt::Blocked(cells, index, obstacle) => (cells, index, obstacle),
            };
            let policy = demand.items.get(index).map(|item| item.policy);
            // The configuration may have been read again since the call came in.
            let rule = cells.get(index).map(|cell| Arc::clone(&cell.lock().rule));
            let waited = match &waiting {
                Some(_) => now.steady.since(begun.steady),
                None => Nanos(0),
            };
            let refused = |cells: Few<Arc<Cell>>, why| {
                let policies = demand.items.iter().map(|item| item.policy);
                Refused {
                    policy,
                    obstacle,
                    why,
                    waited,
                    cells: policies.zip(cells).collect(),
                }
            };
            let left = patience(demand, rule.as_deref(), obstacle)
                .saturating_sub(now.steady.since(begun.steady).into());
            let until = match obstacle.until {
                Until::At(moment) => Some(Duration::from(moment.since(now.steady))),
                Until::Released => None,
                Until::Never => return Err(refused(cells, Why::NoRoom)),
            };
            // A wait that is known to be in vain is none.
            if left.is_zero() || until.is_some_and(|until| until > left) {
                return Err(refused(cells, Why::NoRoom));
            }
            if *self.ending.borrow() {
                return Err(refused(cells, Why::Ending));
            }
            match &mut waiting {
                None => {
                    let Some(place) = self.place(demand) else {
                        return Err(refused(cells, Why::QueueFull));
                    };
                    waiting = Some(Waiting {
                        account: Arc::clone(demand.account),
                        cells,
                        place,
                        went: false,
                    });
                    // Again, with a place to wait in.
                }
                Some(waiting) => {
                    let watch = until.filter(|_| waiting.place.is_first()).unwrap_or(left);
                    let sleep = tokio::time::sleep(watch.min(left));
                    let mut ending = self.ending.subscribe();
                    tokio::select! {
                        () = waiting.place.signal().notified() => {}
                        () = sleep => {}
                        _ = ending.wait_for(|ends| *ends) => {}
                    }
                }
            }
            now = clock();
            attempt = self.try_admit(demand, waiting.as_mut(), now);
        }
    }

    /// From now on nobody waits for a quota: who does is refused, and so is who would. What has its quota goes as before.
    pub fn end_waits(&self) {
        self.ending.send_replace(true);
    }

    /// A place to wait in; `None`: too many wait already.
    fn place(&self, demand: &Demand<'_>) -> Option<Place> {
        let cost = demand.items.iter().map(|item| item.cost).max().unwrap_or(1);
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (account, caller) = (demand.account, demand.caller.id);
        let order = account.draw(demand.urgency, caller, cost, number)?;
        Some(Place::new(order))
    }

    /// Remembers what an answer has taught.
    pub fn learn(&self, account: &Account, lesson: &Lesson<'_>, now: Now) {
        if self.learned.add(&account.identity, lesson) {
            self.store.learn(&account.identity, lesson, now);
        }
    }

    /// What has been learned.
    #[must_use]
    pub fn learned(
        &self,
        account: &Account,
        partition: &str,
        from: &str,
        value: &str,
    ) -> Option<Arc<str>> {
        self.learned.get(&account.identity, partition, from, value)
    }

    /// Gives a caller's number a name for reports.
    pub fn name(&self, caller: u64, name: impl FnOnce() -> Arc<str>) {
        let known = |names: &HashMap<u64, Arc<str>>| names.contains_key(&caller);
        if known(&self.names.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if names.len() < self.settings.max_strangers {
            names.entry(caller).or_insert_with(name);
        }
    }

    /// The names by the callers' numbers, as they are now.
    fn names(&self) -> HashMap<u64, Arc<str>> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.clone()
    }

    /// Writes what changed since the last time. To be called about once a second.
    pub async fn flush(&self, now: Now) {
        if self.store.has_lost_rows(now) {
            for (number, (_, cell)) in self.cells.iter().enumerate() {
                if cell.lock().touch_again() {
                    self.store.touch(&cell);
                }
                // There may be a million, and callers on this thread.
                if number % roll::MOST == roll::MOST - 1 {
                    tokio::task::yield_now().await;
                }
            }
        }
        self.store.flush(now).await;
    }

    /// Writes everything, for the end. Blocks.
    pub fn close(&self, now: Now) {
        self.store
            .close(self.cells.iter().map(|(_, cell)| cell), now);
    }

    /// Why the last write failed.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        self.store.health()
    }
}

/// What became of a call that asked.
#[must_use]
pub enum Attempt {
    /// It may go.
    Admitted(Ticket),
    /// It may not go now: its meters, the one in its way, and what that says.
    Blocked(Few<Arc<Cell>>, usize, Obstacle),
    /// It may go when these of its meters have counted it ahead in the store.
    Unstored(Few<Arc<Cell>>, Few<usize>),
    /// There is no room for another meter.
    Full,
}

/// A call that waits. However it stops doing that, it leaves the queue.
pub struct Waiting {
    account: Arc<Account>,
    cells: Few<Arc<Cell>>,
    place: Place,
    went: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(cell) = self.place.meter().and_then(|index| self.cells.get(index)) {
            self.place.leave(&mut cell.lock());
        }
        self.account.leave(self.place.order(), self.went);
    }
}

fn wants<'a>(demand: &Demand<'a>) -> Few<Want<'a>> {
    let rules = &demand.account.rules;
    let want = |item: &Item| {
        Some(Want {
            rule: rules.get(item.policy)?,
            cost: item.cost,
        })
    };
    demand.items.iter().filter_map(want).collect()
}

/// How long the call waits for this.
fn patience(demand: &Demand<'_>, rule: Option<&Rule>, obstacle: Obstacle) -> Duration {
    let waits = rule.is_some_and(|rule| {
        rule.mode == Some(Mode::Wait)
            || (rule.pace && matches!(obstacle.cause, Cause::Paced | Cause::Queued))
    });
    let by_mode = if waits {
        demand.mode_patience
    } else {
        Duration::ZERO
    };
    demand.patience.unwrap_or(by_mode)
}

fn full() -> Refused {
    Refused {
        policy: None,
        obstacle: Obstacle {
            cause: Cause::Queued,
            until: Until::Released,
        },
        why: Why::NoRoom,
        waited: Nanos(0),
        cells: Few::new(),
    }
}
