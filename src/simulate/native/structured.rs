//! The IETF's structured fields: `"daily";q=2500;w=86400` and `"daily";r=2499;t=50400`.

use http::HeaderName;

use super::{Native, Scene, State};
use crate::adapter::reading::Quantity;
use crate::quota::Unit;

/// The IETF's fields tell of the policies that have no readings of their own.
pub(super) fn write(
    scene: &Scene<'_>,
    states: &[State],
    (policies, limits): &(HeaderName, HeaderName),
    native: &mut Native,
) {
    let (mut quotas, mut left) = (Vec::new(), Vec::new());
    for state in states {
        let Some(policy) = scene.adapter.policies.get(state.policy) else {
            continue;
        };
        if !policy.readings.is_empty() {
            continue;
        }
        let name = state.label.as_deref().unwrap_or(&policy.name);
        let (Some(quota), Some(remaining)) = (state.limit, state.remaining) else {
            continue;
        };
        let mut item = format!("\"{name}\";q={quota}");
        if let Some(secs) = state.window {
            item.push_str(&format!(";w={secs}"));
        }
        if policy.unit != Unit::Requests {
            item.push_str(&format!(";qu=\"{}\"", policy.unit));
        }
        quotas.push(item);
        let mut item = format!("\"{name}\";r={remaining}");
        if let Some(reset) = state.reset {
            item.push_str(&format!(";t={}", reset.seconds_from(scene.now).max(0)));
            native.told.push((state.policy, Quantity::Reset));
        }
        left.push(item);
        native.told.push((state.policy, Quantity::Limit));
        native.told.push((state.policy, Quantity::Remaining));
    }
    for (name, items) in [(policies, quotas), (limits, left)] {
        if let Ok(value) = items.join(", ").parse()
            && !items.is_empty()
        {
            native.headers.insert(name.clone(), value);
        }
    }
}
