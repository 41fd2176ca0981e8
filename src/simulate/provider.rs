//! A simulated provider: what it enforces, and what it answers. Pure: no clock, no socket; the budgets are the caller's.

mod notices;

pub use notices::thousands;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

pub use super::budgets::Budgets;
use super::budgets::{Held, Permit, Want};
use super::json;
use super::native::{Frame, Native, Payload, Scene, State, write};
use super::refusal::{self, Refused};
use crate::adapter::pointer::Pointer;
use crate::adapter::terms::Terms;
use crate::adapter::{Adapter, Applies, Call, CredentialPlace, Learn, Policy, Quota, WindowKind};
use crate::charge::{self, Cost};
use crate::form::Moment;
use crate::ledger::meter::Standing;
use crate::time::Now;
use crate::translate::applies;

/// The identifier of everything that only an answer would tell, such as the organization of a workspace.
const ONLY_ID: &str = "1";

/// What the user says of the account.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Its plan; by default the smallest one.
    pub plan: Option<String>,
    /// Its zone; by default UTC.
    pub zone: Option<TimeZone>,
    /// Quotas of its own, by policy, with the window in seconds where that is not documented.
    pub quotas: BTreeMap<String, (u64, Option<u64>)>,
}

/// A simulated provider.
#[derive(Debug)]
pub struct Provider {
    adapter: Arc<Adapter>,
    terms: Terms,
    zone: TimeZone,
    plan: Option<String>,
    plan_was_chosen: bool,
    /// For each policy, what is enforced.
    rules: Vec<Option<Held>>,
}

/// What a simulated provider enforces of one policy.
#[derive(Debug, Clone, Copy)]
pub struct Enforced<'a> {
    /// The policy's index.
    pub index: usize,
    /// The policy.
    pub policy: &'a Policy,
    /// Its quota.
    pub quota: u64,
    /// The length of its window.
    pub window_secs: Option<u64>,
}

/// A request, as far as limits are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Method, path and headers.
    pub call: Call<'a>,
    /// What follows the `?`.
    pub query: Option<&'a str>,
}

/// What became of a request.
#[derive(Debug)]
pub struct Verdict {
    /// The state that the answer tells, the most important policy first.
    pub states: Vec<State>,
    /// The policy that refused (an index), and when there is room again.
    pub refused: Option<(usize, Option<Timestamp>)>,
    /// What has to be given back when the request ends.
    permits: Vec<Permit>,
}

/// An answer in the provider's own words.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Provider {
    /// A provider for this account.
    ///
    /// # Errors
    /// The plan or a policy is not the adapter's.
    pub fn new(adapter: Arc<Adapter>, account: &Account, now: Timestamp) -> Result<Self, String> {
        let plan = account
            .plan
            .clone()
            .or_else(|| smallest_plan(&adapter).map(str::to_owned));
        let quotas = account
            .quotas
            .iter()
            .map(|(name, (quota, _))| (name.clone(), *quota))
            .collect();
        let zone = account.zone.clone().unwrap_or(TimeZone::UTC);
        let terms = Terms::new(&adapter, plan.as_deref(), Some(&zone), &quotas)?;
        let rules = adapter
            .policies
            .iter()
            .enumerate()
            .map(|(index, policy)| {
                let own_secs = account.quotas.get(&*policy.name).and_then(|own| own.1);
                Held::new(policy, index, &terms, own_secs, now)
            })
            .collect();
        Ok(Self {
            plan_was_chosen: account.plan.is_none() && plan.is_some(),
            adapter,
            terms,
            zone,
            plan,
            rules,
        })
    }

    /// The adapter that it stands in for.
    #[must_use]
    pub fn adapter(&self) -> &Arc<Adapter> {
        &self.adapter
    }

    /// The account's terms, as a gateway before it would know them.
    #[must_use]
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// The plan whose quotas are enforced, where there are plans.
    #[must_use]
    pub fn plan(&self) -> Option<&str> {
        self.plan.as_deref()
    }

    /// What is enforced.
    pub fn enforced(&self) -> impl Iterator<Item = Enforced<'_>> {
        let rules = self.adapter.policies.iter().zip(&self.rules).enumerate();
        rules.filter_map(|(index, (policy, held))| {
            let held = held.as_ref()?;
            Some(Enforced {
                index,
                policy,
                quota: held.quota,
                window_secs: held.window_secs,
            })
        })
    }

    /// Counts a request, or refuses it.
    #[must_use]
    pub fn admit(&self, budgets: &mut Budgets, request: &Request<'_>, now: Now) -> Verdict {
        let wants = self.wants(request);
        let outcome = budgets.admit(&wants, &self.rules, now);
        let refused = outcome.refused;
        let mut states: Vec<State> = wants
            .iter()
            .zip(outcome.standings)
            .filter_map(|(want, (standing, reset))| {
                let state = self.state(want.policy, want.held, &standing, reset)?;
                // A request that was refused has cost nothing.
                let cost = Some(want.cost).filter(|cost| *cost > 0 && refused.is_none());
                Some(State { cost, ..state })
            })
            .collect();
        let specific = |state: &State| {
            let policy = self.adapter.policies.get(state.policy);
            policy.is_some_and(|policy| matches!(policy.applies, Applies::When(_)))
        };
        // Where policies share a header, the one that refused speaks, else the one for these requests alone.
        states.sort_by_key(|state| {
            let refuses = refused.is_some_and(|(policy, _)| policy == state.policy);
            (!refuses, !specific(state))
        });
        Verdict {
            states,
            refused,
            permits: outcome.permits,
        }
    }

    /// What a request uses of the policies that it concerns.
    fn wants(&self, request: &Request<'_>) -> Vec<Want<'_>> {
        let call = &request.call;
        let free = self
            .adapter
            .uncounted
            .iter()
            .any(|condition| condition.holds(call) == Some(true));
        let mut wants = Vec::new();
        for (index, (policy, held)) in self.adapter.policies.iter().zip(&self.rules).enumerate() {
            let Some(held) = held else { continue };
            if !applies(&self.adapter, index, call) {
                continue;
            }
            let cost = match charge::cost(policy, call) {
                // It counts against another policy, and that is what its answer speaks of.
                Cost::Known(0) => continue,
                // It is counted by what it does, and simulated calls do next to nothing.
                Cost::Told => 1,
                Cost::Known(cost) => cost,
            };
            let in_flight = policy.kind == Some(WindowKind::Concurrent);
            wants.push(Want {
                held,
                policy: index,
                partition: self.partition(policy, request),
                // Such a policy does not count it at all, but its state can be told.
                cost: if free && !in_flight { 0 } else { cost },
            });
        }
        wants
    }

    /// The request has ended.
    pub fn finish(&self, budgets: &mut Budgets, verdict: &Verdict) {
        budgets.finish(&verdict.permits, &self.rules);
    }

    /// What is truly left of a policy to the one who has used most of it; `None`: it is not enforced.
    pub fn left(&self, budgets: &mut Budgets, policy: &str, now: Now) -> Option<u64> {
        let index = self
            .adapter
            .policies
            .iter()
            .position(|known| *known.name == *policy)?;
        let held = self.rules.get(index)?.as_ref()?;
        Some(budgets.left(index, held, now))
    }

    /// The provider's answer to a request, the `n`th.
    #[must_use]
    pub fn reply(&self, request: &Request<'_>, verdict: &Verdict, n: u64, now: Timestamp) -> Reply {
        let scene = self.scene(&request.call, now);
        let (status, native) = match verdict.refused {
            None => (StatusCode::OK, self.served(&scene, verdict, n)),
            Some((policy, wait)) => {
                let refused = Refused { policy, wait };
                refusal::dress(&scene, &self.terms, &verdict.states, &refused)
            }
        };
        Reply {
            status,
            headers: native.headers,
            body: native.body.to_bytes(),
        }
    }

    fn served(&self, scene: &Scene<'_>, verdict: &Verdict, n: u64) -> Native {
        let path = scene.call.path.unwrap_or("/");
        let mut body = json!({
            "simulated": true,
            "provider": self.adapter.id,
            "method": scene.call.method.as_str(),
            "path": path,
            "n": n,
        });
        // What a partition is learned from: every workspace is of the only organization.
        for learn in self
            .adapter
            .policies
            .iter()
            .flat_map(|policy| &policy.learn)
        {
            if learn.path.fits(path) {
                teach(&mut body, learn);
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        let frame = Frame {
            status: StatusCode::OK,
            headers,
            body: Payload::Json(body),
            ..Frame::default()
        };
        write(scene, &verdict.states, &frame)
    }

    fn scene<'a>(&'a self, call: &'a Call<'a>, now: Timestamp) -> Scene<'a> {
        Scene {
            adapter: &self.adapter,
            zone: Some(&self.zone),
            call,
            now,
        }
    }

    fn state(
        &self,
        index: usize,
        held: &Held,
        standing: &Standing,
        reset: Option<Timestamp>,
    ) -> Option<State> {
        let policy = self.adapter.policies.get(index)?;
        let left = standing.remaining.unwrap_or(held.quota);
        // Another quota than the documented one says how many requests are 100 percent.
        let (limit, remaining) = if policy.unit.as_str() == "percent" {
            let percent = u128::from(left) * 100 / u128::from(held.quota.max(1));
            (100, u64::try_from(percent).unwrap_or(100))
        } else {
            (held.quota, left)
        };
        Some(State {
            policy: index,
            label: Some(Arc::clone(&policy.name)),
            limit: Some(limit),
            remaining: Some(remaining),
            reset: reset.map(Moment::At),
            window: held.window_secs,
            cost: None,
        })
    }

    /// Whose budget a request counts against.
    fn partition(&self, policy: &Policy, request: &Request<'_>) -> u128 {
        let header = |name: &http::HeaderName| {
            let value = request.call.headers.and_then(|headers| headers.get(name));
            String::from_utf8_lossy(value.map_or(&b""[..], |value| value.as_bytes()))
        };
        let credential = match &self.adapter.credential {
            CredentialPlace::Bearer | CredentialPlace::Basic { .. } => header(&AUTHORIZATION),
            CredentialPlace::Header { name, .. } => header(name),
            CredentialPlace::Query(name) => parameter(request.query, name).into(),
        };
        // There is one account, and one machine that calls. Nobody sees the labels.
        let who = charge::Account {
            credential: &credential,
            configured: true,
            secret: (0, 0),
        };
        let only = |_: &str, _: &str, _: &str| Some(Arc::from(ONLY_ID));
        charge::partition::find(&self.adapter, policy, &request.call, &who, &only).key
    }
}

/// Writes into an answer what is learned from it: a list becomes one of the only element.
fn teach(body: &mut Value, learn: &Learn) {
    let each = learn.each.as_ref().map_or("", Pointer::as_str);
    if !each.is_empty() {
        *body = Value::Null;
    }
    for told in learn.key.iter().chain([&learn.json]) {
        if let Ok(pointer) = Pointer::new(&format!("{each}{}", told.as_str())) {
            json::overwrite(body, &pointer, json::scalar(ONLY_ID));
        }
    }
}

/// The value of a query parameter, as it was sent.
fn parameter<'q>(query: Option<&'q str>, name: &str) -> &'q str {
    let pairs = query.unwrap_or("").split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map_or("", |(_, value)| value)
}

/// The plan with the least of the first quota that depends on the plan.
fn smallest_plan(adapter: &Adapter) -> Option<&str> {
    let plans = adapter
        .policies
        .iter()
        .find_map(|policy| match &policy.quota {
            Quota::ByPlan(plans) => Some(plans),
            _ => None,
        })?;
    let (name, _) = plans.iter().min_by_key(|(_, quota)| *quota)?;
    Some(name)
}
