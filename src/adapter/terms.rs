//! What a connection knows of its account, resolved once against the adapter: plan, zone, quotas of its own.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::{Adapter, Quota};
use crate::diagnostic::closest;

/// The terms of one account.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// For each policy of the adapter, the quota that holds without the provider's word.
    pub(crate) quotas: Vec<Option<u64>>,
    /// For each policy of the adapter, whether that quota was set by the user and so bounds what the provider says.
    pub(crate) own: Vec<bool>,
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
            let own = overrides.get(&*policy.name).copied();
            let documented = match &policy.quota {
                Quota::Unknown => None,
                Quota::Fixed(quota) => Some(*quota),
                Quota::ByPlan(plans) => plans
                    .iter()
                    .find(|(name, _)| Some(name.as_str()) == plan)
                    .map(|(_, quota)| *quota)
                    .or_else(|| plan.is_none().then(|| same_for_all(plans)).flatten()),
            };
            terms.quotas.push(own.or(documented));
            terms.own.push(own.is_some());
        }
        Ok(terms)
    }
}

/// The quota that every plan has: then the plan need not be known.
fn same_for_all(plans: &[(String, u64)]) -> Option<u64> {
    let (_, first) = plans.first()?;
    plans
        .iter()
        .all(|(_, quota)| quota == first)
        .then_some(*first)
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
