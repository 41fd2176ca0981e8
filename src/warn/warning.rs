//! What is told: the same object in the log, in webhooks and to whoever listens.

use serde::{Deserialize, Serialize};

use crate::ledger::lookout::Sight;
use crate::time::Now;

/// What a warning is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A quota is used up to a threshold.
    #[serde(rename = "quota.threshold")]
    Threshold,
    /// It is below the lowest threshold again.
    #[serde(rename = "quota.recovered")]
    Recovered,
    /// It will run out before its reset at this pace.
    #[serde(rename = "quota.forecast")]
    Forecast,
}

impl Kind {
    /// The words of the configuration, which are the types of the events.
    pub const WORDS: &'static [&'static str] =
        &["quota.threshold", "quota.recovered", "quota.forecast"];

    /// By its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "quota.threshold" => Some(Self::Threshold),
            "quota.recovered" => Some(Self::Recovered),
            "quota.forecast" => Some(Self::Forecast),
            _ => None,
        }
    }

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Threshold => "quota.threshold",
            Self::Recovered => "quota.recovered",
            Self::Forecast => "quota.forecast",
        }
    }
}

/// One warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// When it was noticed (RFC 3339).
    pub timestamp: String,
    /// The meter at that moment.
    pub data: Data,
}

/// A meter at the moment of a warning. Numbers that are not known are `null`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data {
    /// The connection.
    pub connection: String,
    /// The adapter's id.
    pub provider: String,
    /// The policy.
    pub policy: String,
    /// Whose budget it is; empty: the whole connection's.
    pub partition: String,
    /// What is counted.
    pub unit: String,
    /// Per cent of the quota: the threshold that was crossed, or the one that it fell below. Not of a forecast.
    pub threshold: Option<u8>,
    /// The quota that holds.
    pub limit: Option<u64>,
    /// Used in this window, as far as headroom knows.
    pub used: Option<u64>,
    /// What is left.
    pub remaining: Option<u64>,
    /// When quota comes back (RFC 3339).
    pub reset_at: Option<String>,
    /// Who says so, as in `headroom-source`.
    pub source: String,
    /// When it runs out at this pace (RFC 3339). Only of a forecast.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub runs_out_at: Option<String>,
}

impl Warning {
    pub(super) fn new(kind: Kind, data: Data, now: Now) -> Self {
        Self {
            kind,
            timestamp: now.wall().to_string(),
            data,
        }
    }
}

impl Data {
    pub(super) fn of(sight: &Sight, now: Now) -> Self {
        let (account, limit) = (&sight.cell.account, &sight.limit);
        Self {
            connection: account.connection.to_string(),
            provider: account.provider.to_string(),
            policy: limit.policy.to_string(),
            partition: sight.cell.label().to_owned(),
            unit: limit.unit.to_string(),
            threshold: None,
            limit: limit.limit,
            used: Some(sight.used),
            remaining: limit.remaining,
            reset_at: limit.reset.and_then(|secs| moment(secs, now)),
            source: limit.source.as_str().to_owned(),
            runs_out_at: None,
        }
    }

    /// What is left of it when the meter itself is gone: its window is over, and nobody has counted since.
    pub(super) fn unknown(self) -> Self {
        Self {
            used: None,
            remaining: None,
            reset_at: None,
            runs_out_at: None,
            ..self
        }
    }
}

/// So many seconds from now.
fn moment(secs: u64, now: Now) -> Option<String> {
    let secs = jiff::SignedDuration::from_secs(i64::try_from(secs).ok()?);
    let at = now.wall().checked_add(secs).ok()?;
    Some(at.round(jiff::Unit::Second).ok()?.to_string())
}

/// Tells it in the log.
pub(super) fn log(warning: &Warning) {
    let Data {
        connection,
        provider,
        policy,
        partition,
        unit,
        threshold,
        limit,
        used,
        remaining,
        reset_at,
        source,
        runs_out_at,
    } = &warning.data;
    macro_rules! event {
        ($level:ident, $($message:tt)+) => {
            tracing::$level!(
                event = warning.kind.as_str(),
                connection,
                provider,
                policy,
                partition,
                unit,
                threshold,
                limit,
                used,
                remaining,
                reset_at,
                source,
                runs_out_at,
                $($message)+
            )
        };
    }
    match warning.kind {
        Kind::Threshold => event!(
            warn,
            "{}% of the quota `{policy}` of {connection} is used.",
            threshold.unwrap_or(0)
        ),
        Kind::Recovered => event!(
            info,
            "The quota `{policy}` of {connection} is below {}% again.",
            threshold.unwrap_or(0)
        ),
        Kind::Forecast => event!(
            warn,
            "The quota `{policy}` of {connection} will run out before its reset at this pace."
        ),
    }
}
