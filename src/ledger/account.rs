//! What a connection is, for its meters.

use std::hash::Hash;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::queue::{Order, Turns};
use super::rule::{Rule, Wishes};
use super::store::Store;
use crate::adapter::Adapter;
use crate::adapter::terms::Terms;

/// One account at a provider, as far as counting is concerned.
#[derive(Debug)]
pub struct Account {
    /// The connection's name.
    pub connection: Arc<str>,
    /// The adapter's id.
    pub provider: Arc<str>,
    /// Name and origin: another origin is another account, so its counts are others.
    pub identity: Arc<str>,
    /// For each policy of the adapter, what its meters are held to.
    pub rules: Vec<Arc<Rule>>,
    /// For each rule, what tells the keys of its meters from those of others.
    seeds: Vec<u128>,
    /// So many calls may wait at once.
    pub max_waiting: usize,
    /// Shared with the accounts before and after it, so that a new configuration lets nobody overtake.
    turns: OnceLock<Arc<Mutex<Turns>>>,
    /// Where its meters are kept, if they are.
    store: OnceLock<Arc<Store>>,
}

impl Account {
    /// A connection's account at the origin where its calls go.
    #[must_use]
    pub fn new(
        connection: &str,
        origin: &str,
        adapter: &Adapter,
        terms: &Terms,
        wishes: &dyn Fn(&str) -> Wishes,
        max_waiting: usize,
    ) -> Self {
        let identity = format!("{connection}{AT}{origin}");
        let seeds = adapter.policies.iter();
        let seeds = seeds.map(|policy| seed(&identity, &policy.name)).collect();
        let rules = adapter.policies.iter().enumerate();
        Self {
            seeds,
            connection: Arc::from(connection),
            provider: Arc::from(adapter.id.as_str()),
            identity: Arc::from(identity),
            rules: rules
                .map(|(index, policy)| {
                    Arc::new(Rule::new(policy, index, terms, &wishes(&policy.name)))
                })
                .collect(),
            max_waiting,
            turns: OnceLock::new(),
            store: OnceLock::new(),
        }
    }

    /// Its meters are kept here, if there is anything to keep them in.
    pub(super) fn keep_in(&self, store: &Arc<Store>) {
        if store.is_there() {
            self.store.get_or_init(|| Arc::clone(store));
        }
    }

    /// Where its meters are kept, if they are.
    pub(super) fn store(&self) -> Option<&Store> {
        self.store.get().map(|store| &**store)
    }

    /// Takes the place of an earlier account with the same identity: calls that wait there wait among its own. To be said
    /// before anybody uses it.
    pub fn succeed(&self, before: &Self) {
        self.turns.get_or_init(|| Arc::clone(before.turns()));
    }

    /// The rule of a policy.
    pub(super) fn rule(&self, policy: &str) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| *rule.policy == *policy)
    }

    /// The key of a policy's meter for a partition with this key.
    #[must_use]
    pub fn key(&self, policy: usize, partition: u128) -> u128 {
        partition ^ self.seeds.get(policy).copied().unwrap_or_default()
    }

    /// A turn for a call that begins to wait; `None`: too many wait already.
    pub(super) fn draw(&self, urgency: u8, caller: u64, cost: u64, number: u64) -> Option<Order> {
        let mut turns = self.lock_turns();
        if turns.waiting() >= self.max_waiting {
            return None;
        }
        let turn = turns.draw(caller, cost);
        Some(Order {
            urgency,
            turn,
            number,
        })
    }

    /// A call no longer waits.
    pub(super) fn leave(&self, order: Order, went: bool) {
        self.lock_turns().leave(order.turn, went);
    }

    /// How many calls wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock_turns().waiting()
    }

    fn turns(&self) -> &Arc<Mutex<Turns>> {
        self.turns.get_or_init(Arc::default)
    }

    fn lock_turns(&self) -> std::sync::MutexGuard<'_, Turns> {
        self.turns().lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Between name and origin in an account's identity. No name has a space in it.
const AT: &str = " at ";

/// The connection's name in an account's identity.
pub(super) fn connection_of(identity: &str) -> &str {
    identity.split_once(AT).map_or(identity, |(name, _)| name)
}

/// Keys of partitions are secret hashes; this only has to differ between policies.
fn seed(identity: &str, policy: &str) -> u128 {
    let mut hasher = SipHasher13::new();
    identity.hash(&mut hasher);
    policy.hash(&mut hasher);
    hasher.finish128().as_u128()
}
