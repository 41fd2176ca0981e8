//! What a connection knows of its account, resolved once against the adapter: plan, zone, quotas of its own.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::{Adapter, Quota};
use crate::diagnostic::closest;

/// The terms of one account.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// For each policy of the adapter, the quota that is documented for the account's plan.
    pub(crate) documented: Vec<Option<u64>>,
    /// For each policy of the adapter, the quota that the user has set.
    pub(crate) own: Vec<Option<u64>>,
    /// For each policy of the adapter, whether its documented quota is that of a configured plan.
    pub(crate) by_plan: Vec<bool>,
    /// The account's zone.
    pub(crate) zone: Option<TimeZone>,
}

impl Terms {
    /// Resolves them.
    ///
    /// # Errors
    /// The plan or the name of a policy is not the adapter's; the message names the near one.
    pub fn new(
        adapter: &Adapter,
        plan: Option<&str>,
        zone: Option<&TimeZone>,
        overrides: &BTreeMap<String, u64>,
    ) -> Result<Self, String> {
        let plans = adapter.plans();
        if let Some(plan) = plan
            && !plans.contains(&plan)
        {
            return Err(unknown("plan", plan, &plans, &adapter.id));
        }
        let names: Vec<&str> = adapter
            .policies
            .iter()
            .map(|policy| &*policy.name)
            .collect();
        if let Some(name) = overrides
            .keys()
            .find(|name| !names.contains(&name.as_str()))
        {
            return Err(unknown("policy", name, &names, &adapter.id));
        }
        let mut terms = Self {
            zone: zone.cloned(),
            ..Self::default()
        };
        for policy in &adapter.policies {
            let documented = match &policy.quota {
                Quota::Unknown => None,
                Quota::Fixed(quota) => Some(*quota),
                Quota::ByPlan(quotas) => quotas
                    .iter()
                    .find(|(name, _)| Some(name.as_str()) == plan)
                    .map(|(_, quota)| *quota)
                    .or_else(|| {
                        plan.is_none()
                            .then(|| same_for_all(quotas, &plans))
                            .flatten()
                    }),
            };
            terms.documented.push(documented);
            let by_plan = plan.is_some() && matches!(policy.quota, Quota::ByPlan(_));
            terms.by_plan.push(by_plan && documented.is_some());
            terms.own.push(overrides.get(&*policy.name).copied());
        }
        Ok(terms)
    }

    /// The user has set the policy's quota.
    #[must_use]
    pub fn is_own(&self, policy: usize) -> bool {
        self.own.get(policy).copied().flatten().is_some()
    }

    /// The policy's quota is the documented one of the plan that the user configured.
    #[must_use]
    pub fn is_by_plan(&self, policy: usize) -> bool {
        self.by_plan.get(policy).copied().unwrap_or_default()
    }

    /// What is known of a policy's quota without the provider's word: the user's own, else the documented one.
    #[must_use]
    pub fn quota(&self, policy: usize) -> Option<u64> {
        let own = self.own.get(policy).copied().flatten();
        own.or_else(|| self.documented.get(policy).copied().flatten())
    }
}

/// The quota that every plan of the provider has: then the plan need not be known.
fn same_for_all(quotas: &[(String, u64)], plans: &[&str]) -> Option<u64> {
    // Where only one is on record there are others, of which nobody knows.
    if plans.len() < 2 {
        return None;
    }
    let (_, first) = quotas.first()?;
    let whole = plans
        .iter()
        .all(|plan| quotas.iter().any(|(name, _)| name == plan));
    (whole && quotas.iter().all(|(_, quota)| quota == first)).then_some(*first)
}

fn unknown(what: &str, name: &str, known: &[&str], id: &str) -> String {
    if known.is_empty() {
        return format!("the adapter `{id}` has no {what} by any name, so `{name}` has no effect");
    }
    let mut message = format!(
        "`{name}` is not a {what} of the adapter `{id}`; it has {}",
        known.join(", ")
    );
    if let Some(near) = closest(name, known.iter().copied()) {
        message.push_str(&format!(". Did you mean `{near}`?"));
    }
    message
}
