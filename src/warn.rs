//! Warnings of headroom: a quota is used up to a threshold, it has recovered, or it will run out before its reset. Told in
//! the log, to metrics, to whoever listens, and by signed webhooks, which a crash does not lose.
//!
//! The request path only notices that a meter took a step ([`crate::ledger::lookout`]). Everything else happens in one task,
//! which looks at what was noticed at once, and each second at the meters that were told of: a window turns also when
//! nobody calls. `episode` decides what is told, `outbox` when it is sent, [`webhook`] signs it, [`client`] sends it;
//! `keeper` holds all of it, and this file runs it.

pub mod client;
mod counters;
mod episode;
mod keeper;
mod outbox;
pub mod warning;
pub mod webhook;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;
use tokio::task::{Id, JoinSet};
use tokio::time::MissedTickBehavior;

pub use client::{Client, Post, Refusal};
pub use counters::{Counters, Raised};
pub use warning::{Data, Kind, Warning};
pub use webhook::{Endpoint, EndpointUrl, Secrets};

use keeper::Keeper;
use outbox::Address;

use crate::clock;
use crate::ledger::Ledger;
use crate::ledger::lookout::Bell;
use crate::state::{State, WarningRow};

/// Warnings that a listener may be behind before it misses some.
const BEHIND: usize = 256;

/// How often meters that were told of are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A letter on its way.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Who gets it.
    pub endpoint: Arc<Endpoint>,
    /// `webhook-id`: the same at each attempt.
    pub id: Arc<str>,
    /// `webhook-timestamp`: of this attempt, in Unix seconds.
    pub timestamp: i64,
    /// The body.
    pub body: Arc<str>,
}

/// What the gateway, its pages and the task of warnings share.
#[derive(Debug)]
pub struct Warnings {
    bell: Arc<Bell>,
    endpoints: Mutex<Arc<[Arc<Endpoint>]>>,
    counters: Counters,
    /// Rows of a store that was opened later.
    late: Mutex<Vec<WarningRow>>,
    told: broadcast::Sender<Arc<Warning>>,
}

impl Warnings {
    /// Warnings that these receivers are told of.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>) -> Arc<Self> {
        let (told, _) = broadcast::channel(BEHIND);
        Arc::new(Self {
            bell: Arc::default(),
            endpoints: Mutex::new(shared(endpoints)),
            counters: Counters::default(),
            late: Mutex::default(),
            told,
        })
    }

    /// Where meters say that they took a step.
    #[must_use]
    pub const fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// Numbers for metrics.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Every warning from here on. Who reads too slowly misses the oldest.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<Warning>> {
        self.told.subscribe()
    }

    /// Other receivers from here on. What waits for those that are gone is dropped.
    pub fn replace(&self, endpoints: Vec<Endpoint>) {
        *self.lock() = shared(endpoints);
        self.bell.ring();
    }

    /// Goes on with what a store has kept that could not be opened at the start.
    pub fn take_over(&self, rows: Vec<WarningRow>) {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        late.extend(rows);
        drop(late);
        self.bell.ring();
    }

    fn take_late(&self) -> Vec<WarningRow> {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *late)
    }

    fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        Arc::clone(&self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Arc<[Arc<Endpoint>]>> {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The task: runs for as long as headroom does. `kept` is the store and what an earlier process left in it.
    pub async fn run(
        self: Arc<Self>,
        ledger: Arc<Ledger>,
        kept: Option<(State, Vec<WarningRow>)>,
        post: impl Post,
    ) {
        let post = Arc::new(post);
        let (state, rows) = kept.map_or((None, Vec::new()), |(state, rows)| (Some(state), rows));
        let mut keeper = Keeper::new(Arc::clone(&self), rows, clock::moment());
        resume(&mut keeper, &ledger).await;
        let mut sending: JoinSet<Result<(), Refusal>> = JoinSet::new();
        let mut addresses: HashMap<Id, Address> = HashMap::new();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut is_tick = false;
            tokio::select! {
                () = self.bell.rung() => {}
                _ = ticks.tick() => is_tick = true,
                Some(done) = sending.join_next_with_id(), if !sending.is_empty() => {
                    let (id, result) = match done {
                        Ok((id, result)) => (id, result),
                        Err(error) => (error.id(), Err(Refusal {
                            reason: "sending it failed within headroom".to_owned(),
                            is_gone: false,
                        })),
                    };
                    if let Some(address) = addresses.remove(&id) {
                        keeper.sent(&address, result, clock::random(), clock::moment());
                    }
                }
            }
            let now = clock::moment();
            keeper.put_endpoints(self.endpoints());
            let late = self.take_late();
            if !late.is_empty() {
                keeper.restore_late(late, now);
                resume(&mut keeper, &ledger).await;
            }
            keeper.notice(self.bell.take(), now);
            if is_tick {
                keeper.look(now);
            }
            // First stored, then sent.
            keeper.save(state.as_ref(), now).await;
            for (address, attempt) in keeper.due(clock::moment()) {
                let post = Arc::clone(&post);
                let task = sending.spawn(async move { post.deliver(attempt).await });
                addresses.insert(task.id(), address);
            }
        }
    }
}

/// Finds the meters that an earlier process has told of; a million of them take a moment.
async fn resume(keeper: &mut Keeper, ledger: &Arc<Ledger>) {
    let (known, ledger) = (keeper.known(), Arc::clone(ledger));
    let steps = tokio::task::spawn_blocking(move || {
        ledger.steps(|sight| known.contains(&keeper::key(sight)), clock::moment())
    })
    .await;
    match steps {
        Ok(steps) => keeper.resume(steps, clock::moment()),
        Err(error) => tracing::error!(error = %error, "The meters could not be looked at."),
    }
}

fn shared(endpoints: Vec<Endpoint>) -> Arc<[Arc<Endpoint>]> {
    endpoints.into_iter().map(Arc::new).collect()
}
