//! What a user of a simulated provider has to know: what is enforced, what is not, and what was chosen for the account.

use std::fmt;

use http::StatusCode;

use super::{Enforced, Provider};
use crate::adapter::{Call, Policy, WindowKind};
use crate::fields::Fields;
use crate::form::Moment;
use crate::quota::Unit;
use crate::simulate::budgets::untouched;
use crate::simulate::native::{Frame, State, write};
use crate::time::Now;

impl Provider {
    /// What a user has to know before the first request, as sentences.
    #[must_use]
    pub fn notices(&self, now: Now) -> Vec<String> {
        let mut notices = Vec::new();
        if let Some(plan) = self.plan.as_deref().filter(|_| self.plan_was_chosen) {
            notices.push(format!(
                "quotas differ by plan; the smallest, `{plan}`, is simulated (--plan {})",
                self.adapter.plans().join("|")
            ));
        }
        let enforced = self.enforced().map(|enforced| {
            let policy = enforced.policy;
            format!("{}: {enforced}{}", policy.name, footnotes(policy))
        });
        notices.extend(enforced);
        let unknown = |wanted: bool| -> Vec<&str> {
            let policies = self.adapter.policies.iter().enumerate();
            policies
                .filter(|(index, _)| self.rules.get(*index).is_some_and(Option::is_none))
                .filter(|(index, _)| self.terms.quota(*index).is_some() == wanted)
                .map(|(_, policy)| &*policy.name)
                .collect()
        };
        let (no_quota, no_window) = (unknown(false), unknown(true));
        let id = &self.adapter.id;
        if let Some(name) = no_quota.first() {
            notices.push(format!(
                "no quota is documented for {}, so nothing is enforced or told of it (--quota {id}.{name}=N, or N/60s with its window)",
                no_quota.join(", ")
            ));
        }
        if let Some(name) = no_window.first() {
            notices.push(format!(
                "no window is documented for {}, so it is not enforced (--quota {id}.{name}=N/60s)",
                no_window.join(", ")
            ));
        }
        if self.adapter.silent {
            let refuses = !self.adapter.exhausted.is_empty() || !self.adapter.refusals.is_empty();
            let how = if refuses {
                " before it refuses"
            } else {
                ", and how it refuses is not documented: here with a plain 429"
            };
            notices.push(format!("its answers tell nothing of its limits{how}"));
        }
        notices.extend(self.unwritable(now));
        notices
    }

    /// What the simulator has no words for.
    fn unwritable(&self, now: Now) -> Vec<String> {
        let method = http::Method::GET;
        let headers = Fields::new();
        let call = Call {
            method: &method,
            path: Some("/"),
            headers: Some(&headers),
            body: None,
        };
        let scene = self.scene(&call, now.wall());
        let states: Vec<State> = self
            .rules
            .iter()
            .enumerate()
            .filter_map(|(index, held)| {
                let held = held.as_ref()?;
                let (standing, reset) = untouched(held, now);
                self.state(index, held, &standing, reset)
            })
            .collect();
        let mut reasons: Vec<String> = Vec::new();
        // Each alone, so that none is in another's way.
        for state in states {
            let frame = Frame {
                status: StatusCode::TOO_MANY_REQUESTS,
                wait: Some(Moment::At(now.wall())),
                ..Frame::default()
            };
            let native = write(&scene, &[state], &frame);
            let unwritable = |reason: &String| reason.contains("has no `write`");
            reasons.extend(native.left_out.into_iter().filter(unwritable));
        }
        reasons.sort();
        reasons.dedup();
        reasons
            .into_iter()
            .map(|reason| format!("not sent: {reason}"))
            .collect()
    }
}

impl fmt::Display for Enforced<'_> {
    /// `30 requests in an hour`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, quota) = (&self.policy.unit, thousands(self.quota));
        match (self.policy.kind, self.window_secs) {
            (Some(WindowKind::Concurrent), _) => write!(f, "{quota} requests at a time"),
            (_, Some(secs)) if unit.as_str() == "percent" => {
                write!(f, "{quota} requests in {} are 100 percent", length(secs))
            }
            (_, Some(secs)) => write!(f, "{quota} {unit} in {}", length(secs)),
            (_, None) => write!(f, "{quota} {unit}"),
        }
    }
}

fn footnotes(policy: &Policy) -> String {
    let mut text = String::new();
    if let Some(secs) = policy.slower_than_secs {
        text.push_str(&format!(" that run for {secs} seconds or longer"));
    }
    let counts_requests = matches!(policy.unit, Unit::Requests | Unit::ConcurrentRequests)
        || policy.unit.as_str() == "percent";
    if !counts_requests && policy.weights.is_empty() {
        text.push_str(" (here, each request costs 1)");
    }
    if policy.soft {
        text.push_str(" (the provider may let more through, the simulator does not)");
    }
    text
}

/// A length of time for people.
fn length(secs: u64) -> String {
    let (count, unit) = [(86_400, "day"), (3_600, "hour"), (60, "minute")]
        .into_iter()
        .find(|(size, _)| secs > 0 && secs.is_multiple_of(*size))
        .map_or((secs, "second"), |(size, unit)| (secs / size, unit));
    match (count, unit) {
        (1, "hour") => "an hour".to_owned(),
        (1, unit) => format!("a {unit}"),
        (count, unit) => format!("{count} {unit}s"),
    }
}

/// A number for people: `250,000`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{length, thousands};

    #[test]
    fn numbers_and_lengths_are_for_people() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(thousands(number), text);
        }
        for (secs, text) in [
            (1, "a second"),
            (10, "10 seconds"),
            (60, "a minute"),
            (90, "90 seconds"),
            (3_600, "an hour"),
            (21_600, "6 hours"),
            (86_400, "a day"),
        ] {
            assert_eq!(length(secs), text);
        }
    }
}
