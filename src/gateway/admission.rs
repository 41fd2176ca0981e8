//! Whether a call may go: who calls, what it uses of whose budget, and a ticket from the ledger.

use std::borrow::Cow;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, StatusCode};
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

use super::Gateway;
use super::body::Body;
use super::connection::Connection;
use super::error::Problem;
use super::heads::{Reply, RequestHead};
use super::memo::Memo;
use super::preferences::{self, Priority};
use super::present::Present;
use super::refusal::{Reason, Refused as Dressed, draining, queue_full, too_dear, used_up};
use super::route::Route;
use super::{keys, known, overrides};
use crate::adapter::{Call, CredentialPlace};
use crate::charge::{self, Charge};
use crate::clock;
use crate::consumer::{Consumer, Consumers, KEY_PREFIX, to_hex};
use crate::credential::decoded;
use crate::emit;
use crate::fields::Fields;
use crate::history::record::{Spent, Who};
use crate::ledger::meter::{Caller, Cause, Until};
use crate::ledger::ticket::{State, Ticket, states};
use crate::ledger::{Demand, Item, Refused, Why, tell};
use crate::quota::Origin;
use crate::time::Now;
use crate::translate::Translation;

/// Who calls.
pub(super) struct Visitor<'a> {
    consumer: Option<&'a Consumer>,
    /// A key of headroom's stands where the provider's credential would.
    pub(super) has_key: bool,
    /// A keyed hash of the credential that the provider gets, in hexadecimal digits; empty without one.
    credential: String,
    /// The same of the caller's own.
    hash: Option<u64>,
    caller: Caller,
}

impl<'a> Visitor<'a> {
    /// Finds out who calls.
    pub(super) fn new(
        head: &RequestHead,
        route: &Route<'_>,
        consumers: &'a Consumers,
        secret: (u64, u64),
    ) -> Result<Self, Problem> {
        let shown = keys::find(head, route)?;
        let consumer = match &shown.key {
            _ if consumers.is_empty() => None,
            None => return Err(Problem::NoKey),
            Some(key) => {
                let consumer = known::by_key(key, secret, consumers);
                Some(consumer.ok_or(Problem::UnknownKey)?)
            }
        };
        let hash_of = |credential: &[u8]| {
            let mut hasher = SipHasher13::new_with_keys(secret.0, secret.1);
            hasher.write(credential);
            hasher.finish()
        };
        let has_key = shown.as_credential;
        let hash = callers_own(head, route, has_key).map(|credential| hash_of(&credential));
        let identity = route.connection.access.identity();
        let provided = identity.map_or(hash, |identity| Some(hash_of(identity)));
        let caller = match consumer {
            Some(consumer) => Caller {
                id: consumer.number,
                is_named: true,
            },
            None => Caller {
                id: hash.unwrap_or(1).clamp(1, u64::MAX - 1),
                is_named: false,
            },
        };
        Ok(Self {
            consumer,
            has_key,
            credential: provided.map_or_else(String::new, |hash| to_hex(&hash.to_be_bytes())),
            hash,
            caller,
        })
    }

    /// Whether it may make this call.
    pub(super) fn check(&self, head: &RequestHead, route: &Route<'_>) -> Result<(), Problem> {
        let Some(rights) = self.consumer.and_then(Consumer::rights) else {
            return Ok(());
        };
        let name = &route.connection.name;
        if !rights.may_use(name) {
            return Err(Problem::ForbiddenConnection { name: name.clone() });
        }
        if !rights.may_call_with(&head.method)
            || (rights.methods.is_some() && overrides::method(head, route))
        {
            return Err(Problem::ForbiddenMethod);
        }
        if !rights.may_call(route.path())
            || (rights.paths.is_some() && overrides::path(&head.headers))
        {
            return Err(Problem::ForbiddenPath);
        }
        Ok(())
    }

    /// As the history knows it.
    pub(super) fn who(&self) -> Who {
        match (self.consumer, self.hash) {
            (Some(consumer), _) => Who::Named(Arc::clone(&consumer.name)),
            (None, Some(hash)) => Who::Credential(hash),
            (None, None) => Who::Anonymous,
        }
    }

    fn account<'b>(&'b self, connection: &Connection, secret: (u64, u64)) -> charge::Account<'b> {
        charge::Account {
            credential: &self.credential,
            configured: connection.configured,
            secret,
        }
    }
}

/// The caller's own credential, as far as it has one.
fn callers_own<'a>(
    head: &'a RequestHead,
    route: &'a Route<'_>,
    has_key: bool,
) -> Option<Cow<'a, [u8]>> {
    // A key of headroom's is none of the provider's.
    let header = |name: &HeaderName| {
        let value = head
            .headers
            .get(name)
            .filter(|value| !(has_key && keys::is_key(*value)))?;
        Some(Cow::Borrowed(value.as_bytes()))
    };
    let own = match &route.connection.adapter.credential {
        CredentialPlace::Header { name, .. } => header(name),
        CredentialPlace::Query(name) => route.target.split_once('?').and_then(|(_, query)| {
            query.split('&').find_map(|pair| {
                let (key, value) = pair.split_once('=')?;
                let is_key = decoded(value).starts_with(KEY_PREFIX);
                (key == name && !is_key).then_some(Cow::Borrowed(value.as_bytes()))
            })
        }),
        CredentialPlace::Bearer | CredentialPlace::Basic { .. } => None,
    };
    own.or_else(|| header(&AUTHORIZATION))
}

/// A call that may go.
pub(super) struct Admitted {
    pub(super) ticket: Ticket,
    /// The seconds that the caller said it would wait.
    pub(super) wait: Option<u64>,
    /// What it uses.
    pub(super) spent: SmallVec<[Spent; 2]>,
}

impl Gateway {
    /// Asks the ledger for a ticket, and waits for it as long as the caller and the configuration allow.
    pub(super) async fn admit(
        &self,
        head: &RequestHead,
        route: &Route<'_>,
        call: &Call<'_>,
        visitor: &Visitor<'_>,
        memo: &mut Memo,
    ) -> Result<Admitted, Box<Reply<Body>>> {
        let connection = &*route.connection;
        let account = &connection.account;
        let who = visitor.account(connection, self.settings.secret);
        let learned = |partition: &str, from: &str, value: &str| {
            self.ledger.learned(account, partition, from, value)
        };
        let charges = charge::charges(&connection.adapter, call, &who, &learned);
        let has = |field| head.present.has(field);
        let wait = has(Present::PREFER)
            .then(|| preferences::wait(&head.headers, connection.max_wait.as_secs()))
            .flatten();
        let priority = has(Present::PRIORITY).then(|| Priority::of(&head.headers));
        if let Some(consumer) = visitor.consumer {
            self.ledger
                .name(visitor.caller.id, || Arc::clone(&consumer.name));
        }
        let label = |index: usize| {
            let policy = charges
                .get(index)
                .map_or(usize::MAX, |charge| charge.policy);
            charge::label(&connection.adapter, policy, call, &who, &learned)
        };
        let demand = Demand {
            account,
            items: charges
                .iter()
                .map(|charge| item(connection, charge))
                .collect(),
            label: &label,
            caller: visitor.caller,
            is_resident: visitor.consumer.is_some() || connection.configured,
            urgency: priority.unwrap_or_default().urgency,
            patience: wait.map(Duration::from_secs),
            mode_patience: connection.max_wait,
        };
        match self.ledger.admit(&demand, clock::moment).await {
            Ok(ticket) => {
                memo.waited(ticket.waited);
                Ok(Admitted {
                    ticket,
                    wait,
                    spent: spent(connection, &charges),
                })
            }
            Err(refused) => {
                memo.waited(refused.waited);
                if refused.why != Why::Ending {
                    let rule = refused.policy.and_then(|policy| account.rules.get(policy));
                    memo.refused(rule);
                }
                let of_policy = |charge: &&Charge| Some(charge.policy) == refused.policy;
                let charge = charges.iter().find(of_policy);
                let cost = charge.map_or(1, |charge| charge.cost.before_answer().max(1));
                Err(Box::new(self.turn_away(
                    head,
                    route,
                    call,
                    visitor.caller,
                    &refused,
                    cost,
                )))
            }
        }
    }

    /// The answer to a call that may not go.
    fn turn_away(
        &self,
        head: &RequestHead,
        route: &Route<'_>,
        call: &Call<'_>,
        caller: Caller,
        refused: &Refused,
        cost: u64,
    ) -> Reply<Body> {
        let connection = &*route.connection;
        let Some(policy) = refused.policy else {
            return self.refuse(head, Some(route), &Problem::HouseFull, None);
        };
        let now = clock::moment();
        let states = states(
            refused.cells.iter().map(|(policy, cell)| (*policy, cell)),
            caller,
            now,
        );
        let mut known = Translation::default();
        tell::complete(&mut known, &connection.adapter, &states, now);
        let blocked = states.iter().find(|state| state.policy == policy);
        let name = blocked.map_or("", |state| &*state.rule.policy);
        let limit = blocked.and_then(|state| state.standing.limit);
        let retry_after = retry_after(refused, blocked, now);
        exhaust(&mut known, name, retry_after);
        let whose = whose(refused.obstacle.cause);
        let (reason, detail) = match refused.why {
            Why::NoRoom if refused.obstacle.until == Until::Never => {
                (Reason::QuotaExceeded, too_dear(name, limit, whose, cost))
            }
            Why::NoRoom => (
                Reason::QuotaExceeded,
                used_up(name, limit, whose, retry_after),
            ),
            Why::QueueFull => {
                let waiting = connection.account.waiting() as u64;
                (Reason::QueueFull, queue_full(name, waiting, retry_after))
            }
            Why::Ending => (Reason::Draining, draining(name, retry_after)),
        };
        tracing::debug!(
            connection = connection.name,
            policy = name,
            cause = ?refused.obstacle.cause,
            "A call was refused."
        );
        let dressed = Dressed {
            connection: &connection.name,
            adapter: &connection.adapter,
            terms: &connection.terms,
            call,
            reason,
            policies: &[name],
            limit,
            whose,
            detail: &detail,
            retry_after,
            reset: known
                .binding_limit()
                .and_then(|limit| limit.reset)
                .and_then(|secs| i64::try_from(secs).ok())
                .and_then(|secs| {
                    now.wall()
                        .checked_add(jiff::SignedDuration::from_secs(secs))
                        .ok()
                }),
            now: now.wall(),
        };
        let standard = |headers: &mut Fields, status: StatusCode| {
            emit::write_headers(headers, &known, status, &connection.style);
        };
        dressed
            .response(&self.settings.pseudonym, standard)
            .map(Body::full)
    }
}

fn item(connection: &Connection, charge: &Charge) -> Item {
    let account = &connection.account;
    Item {
        policy: charge.policy,
        key: account.key(charge.policy, charge.partition.key),
        shared: account.key(charge.policy, charge.partition.shared),
        cost: charge.cost.before_answer(),
    }
}

/// What the call uses, for the history.
fn spent(connection: &Connection, charges: &[Charge]) -> SmallVec<[Spent; 2]> {
    let of = |charge: &Charge| {
        let rule = connection.account.rules.get(charge.policy)?;
        Some(Spent {
            policy: Arc::clone(&rule.policy),
            unit: rule.unit.clone(),
            cost: charge.cost.before_answer(),
        })
    };
    charges.iter().filter_map(of).collect()
}

/// Seconds until it is worth trying again, at least 1.
fn retry_after(refused: &Refused, blocked: Option<&State>, now: Now) -> u64 {
    let secs = match refused.obstacle.until {
        Until::At(moment) => moment.since(now.steady).ceil_secs(),
        // Nobody knows when another call ends.
        Until::Released => 1,
        // It will never fit. When the window turns, somebody may have changed the quota.
        Until::Never => blocked.map_or(1, |state| tell::whole_reset(state, now)),
    };
    secs.max(1)
}

/// For this caller nothing is left, whatever others may have.
fn exhaust(known: &mut Translation, policy: &str, retry_after: u64) {
    if let Some(limit) = known
        .limits
        .iter_mut()
        .find(|limit| *limit.policy == *policy)
        && limit.remaining != Some(0)
    {
        limit.remaining = Some(0);
        limit.reset = Some(retry_after);
    }
    known.binding = crate::quota::binding(&known.limits);
}

const fn whose(cause: Cause) -> Origin {
    match cause {
        Cause::Suspended | Cause::Probing | Cause::Told | Cause::Documented | Cause::Plan => {
            Origin::Provider
        }
        Cause::Configured | Cause::Share | Cause::Paced | Cause::Queued => Origin::Own,
    }
}
