//! Translations, as answers would have given them.

use std::sync::Arc;

use headroom::quota::{Origin, ServiceLimit, Source, Unit, binding};
use headroom::translate::{Spoken, Translation};

/// What the answer to a call told of the adapter's first policy.
pub(crate) fn told(
    policy: &str,
    limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<u64>,
    exhausted: bool,
) -> Translation {
    let mut translation = Translation::default();
    translation.limits.push(ServiceLimit {
        policy: Arc::from(policy),
        unit: Unit::Requests,
        limit,
        remaining,
        reset,
        window: None,
        source: Source {
            origin: Origin::Provider,
            estimated: false,
        },
    });
    translation.told.push(Spoken {
        policy: Some(0),
        limit: limit.is_some(),
        remaining: remaining.is_some(),
        reset: reset.is_some(),
        unbounded: (limit, remaining),
    });
    translation.binding = binding(&translation.limits);
    translation.exhausted = exhausted;
    translation
}
