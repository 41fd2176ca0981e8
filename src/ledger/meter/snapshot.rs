//! A meter as it is stored: on the wall clock, because the steady one begins anew with each process.

use serde::{Deserialize, Serialize};

use super::change::Carried;
use super::{Closed, Extra, Meter, NONE, end_of_window, wall};
use crate::ledger::rule::{Meaning, Motion, Rule};
use crate::ledger::time::{Nanos, Now, Steady};

/// So long a row matters at least: clocks are set.
const LEAST: Nanos = Nanos::from_secs(86_400);

/// What is stored of a meter. There may be a million, so what most of them have nothing to say of is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    used: u64,
    own: u64,
    ends_ms: i64,
    #[serde(default, skip_serializing_if = "is_default")]
    limit: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    cap: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    cap_ends_ms: i64,
    #[serde(default, skip_serializing_if = "is_default")]
    hold_ms: i64,
    #[serde(default, skip_serializing_if = "is_default")]
    tries: u8,
    #[serde(default, skip_serializing_if = "is_default")]
    told: bool,
    /// Of a rolling window: when, how much, by whom.
    #[serde(default, skip_serializing_if = "is_default")]
    log: Vec<(i64, u64, u64)>,
    #[serde(default, skip_serializing_if = "is_default")]
    who: Vec<(u64, u64)>,
    /// Of the calendar: the window before, and when it was over.
    #[serde(default, skip_serializing_if = "is_default")]
    closed: Option<(u64, i64)>,
    /// Units that were used, whatever keeps them.
    #[serde(default)]
    counted: u64,
    /// What these numbers mean.
    #[serde(default)]
    meaning: Option<Meaning>,
    /// When it was made.
    made_ms: i64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Meter {
    /// What is stored, and how much is counted ahead with it: until `reserved` is used up, nothing need be stored again.
    #[must_use]
    pub fn snapshot(&mut self, rule: &Rule, now: Now) -> Snapshot {
        self.settle(rule, now);
        let at = |steady: u64| {
            if steady == 0 {
                0
            } else {
                // The wall clock's milliseconds are rounded down: nothing comes back before its time.
                now.wall_at(Steady(steady)).saturating_add(1)
            }
        };
        let extra = self.extra.as_deref();
        Snapshot {
            used: self.used,
            own: self.own,
            ends_ms: match &rule.motion {
                Motion::Aligned { .. } => super::signed(self.ends),
                _ => at(self.ends),
            },
            limit: (self.word().limit != NONE).then_some(self.word().limit),
            cap: (self.word().cap != NONE).then_some(self.word().cap),
            cap_ends_ms: at(self.word().cap_ends),
            hold_ms: at(self.word().hold),
            tries: self.word().tries,
            told: self.word().told,
            log: extra.map_or_else(Vec::new, |extra| {
                let entries = extra.log.entries();
                let past = |at: u64| {
                    let ago = now.steady.since(Steady(at)).0 / 1_000_000;
                    now.wall_ms
                        .saturating_sub(i64::try_from(ago).unwrap_or(i64::MAX))
                };
                entries
                    .map(|entry| (past(entry.at), entry.cost, entry.who))
                    .collect()
            }),
            who: self.users().map(|user| (user.who, user.used)).collect(),
            closed: extra
                .and_then(|extra| extra.closed)
                .map(|closed| (closed.used, super::signed(closed.ends))),
            counted: match &rule.motion {
                // Nothing is in flight in the next process.
                Motion::InFlight(_) => 0,
                _ => self.counted(rule, now),
            },
            meaning: Some(rule.meaning()),
            made_ms: now.wall_ms,
        }
    }

    /// The provider has asked to wait, and no call has found out yet that it is open again.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.word().hold != 0
    }

    /// From when on nothing of what is stored matters any more.
    #[must_use]
    pub fn matters_until(&self, rule: &Rule, now: Now) -> Steady {
        let ends = match &rule.motion {
            Motion::Aligned { .. } => now.steady_at(super::signed(self.ends)),
            _ => Steady(self.ends),
        };
        let window = now.steady.after(self.whole(rule).max(LEAST));
        let said = self.word().hold.max(self.word().cap_ends);
        window.max(ends).max(Steady(said))
    }

    /// A stored meter. `ahead` was counted ahead when it was stored: it may have been used before the process died.
    #[must_use]
    pub fn restore(rule: &Rule, snapshot: &Snapshot, ahead: u64, now: Now) -> Self {
        let mut meter = Self::default();
        let hold = soon(snapshot.hold_ms, snapshot.made_ms, now);
        if snapshot.limit.is_some() || snapshot.told || hold != 0 || snapshot.tries != 0 {
            let word = meter.word_mut();
            word.limit = snapshot.limit.unwrap_or(NONE);
            word.tries = snapshot.tries;
            word.hold = hold;
        }
        let made = snapshot.made_ms;
        let meaning = rule.meaning();
        if let Some(before) = snapshot.meaning.as_ref().filter(|one| **one != meaning) {
            if before.unit == meaning.unit {
                meter.carry_over(rule, snapshot, ahead, now);
            } else if let Some(word) = &mut meter.word {
                word.limit = NONE;
            }
            return meter;
        }
        match &rule.motion {
            Motion::InFlight(_) => return meter,
            // A window that is over takes everything with it: what was counted ahead was counted for it.
            Motion::Aligned { .. } => {
                meter.ends = u64::try_from(snapshot.ends_ms).unwrap_or(0);
                let is_over = meter.ends != 0 && meter.ends <= wall(now);
                // In case the clock is set back into it.
                let closed = if is_over && snapshot.used.saturating_add(ahead) > 0 {
                    Some((snapshot.used.saturating_add(ahead), snapshot.ends_ms))
                } else {
                    snapshot.closed
                };
                if let Some((used, ends)) = closed {
                    let ends = u64::try_from(ends).unwrap_or(0);
                    meter.extra.get_or_insert_default().closed = Some(Closed { used, ends });
                }
                if is_over {
                    meter.ends = 0;
                    return meter;
                }
            }
            Motion::Fixed(_) => {
                meter.ends = soon(snapshot.ends_ms, made, now);
                if snapshot.ends_ms != 0 && meter.ends == 0 {
                    return meter;
                }
            }
            Motion::Rolling(length) => {
                let extra = meter.extra.insert(Box::<Extra>::default());
                for (at, cost, who) in &snapshot.log {
                    let ago = now.wall_ms.saturating_sub(*at).max(0);
                    let ago = Nanos::from_millis(u64::try_from(ago).unwrap_or(0));
                    if ago < *length {
                        let at = now.steady.0.saturating_sub(ago.0);
                        extra.log.add(at, *cost, *who, *length, Some(0));
                    }
                }
                meter.used = extra.log.sum();
                meter.own = extra.log.own();
            }
            Motion::Bucket { .. } => {
                meter.ends = soon(snapshot.ends_ms, made, now);
            }
        }
        if !matches!(rule.motion, Motion::Rolling(_) | Motion::Bucket { .. }) {
            meter.used = snapshot.used;
            meter.own = snapshot.own;
        }
        if snapshot.told {
            meter.word_mut().told = true;
        }
        if let Some(cap) = snapshot.cap {
            meter.word_mut().cap_ends = soon(snapshot.cap_ends_ms, made, now);
            if meter.word().cap_ends != 0 {
                meter.word_mut().cap = cap;
            }
        }
        if !snapshot.who.is_empty() {
            let extra = meter.extra.get_or_insert_default();
            for (who, used) in &snapshot.who {
                extra.who.restore(*who, *used);
            }
        }
        if ahead > 0 {
            meter.count_ahead(rule, ahead, now);
        }
        meter
    }

    /// What a meter under another rule had used when it was stored, and what was counted ahead with it, unless the window
    /// that this rule has then is over.
    fn carry_over(&mut self, rule: &Rule, snapshot: &Snapshot, ahead: u64, now: Now) {
        // What was counted ahead may have been used until its window ended, or until now. Where the provider told what is
        // left, a row was made for each of its words.
        let last_ms = if ahead > 0 && !snapshot.told {
            snapshot.made_ms.max(snapshot.ends_ms.min(now.wall_ms))
        } else {
            snapshot.made_ms
        };
        let made = Now {
            wall_ms: last_ms,
            ..now
        };
        let is_over = match &rule.motion {
            Motion::Aligned { .. } => {
                end_of_window(rule, made).is_some_and(|ends| ends <= wall(now))
            }
            _ => {
                let ago = now.wall_ms.saturating_sub(last_ms).max(0);
                let ago = Nanos::from_millis(u64::try_from(ago).unwrap_or(0));
                ago >= self.whole(rule)
            }
        };
        if is_over {
            return;
        }
        let cap_ends = soon(snapshot.cap_ends_ms, snapshot.made_ms, now);
        let cap = snapshot.cap.filter(|_| cap_ends != 0);
        if cap.is_some() {
            self.word_mut().cap_ends = cap_ends;
        }
        let carried = Carried {
            used: snapshot.counted.saturating_add(ahead),
            own: snapshot.own.saturating_add(ahead),
            who: snapshot.who.clone(),
            left: cap.map(|cap| cap.saturating_sub(snapshot.used)),
        };
        self.carry(rule, &carried, now);
    }

    /// What was used, for a budget of which it may have been a part. Nobody is in flight in the copy.
    #[must_use]
    pub fn copy_of_use(&self) -> Self {
        let mut copy = self.clone();
        copy.admitted = 0;
        copy.answered = 0;
        copy.reserved = 0;
        copy.calls = 0;
        if let Some(word) = &mut copy.word {
            word.newest = 0;
            word.probing = false;
        }
        copy
    }

    /// What may have been used without being stored.
    fn count_ahead(&mut self, rule: &Rule, ahead: u64, now: Now) {
        let caller = super::Caller {
            id: super::claims::REST,
            is_named: false,
        };
        self.add(rule, ahead, caller, now);
    }
}

/// A stored moment on this process's steady clock; 0 when it is over. It is no further off than it was when it was stored:
/// where the clock says so, it was set back.
fn soon(ms: i64, made_ms: i64, now: Now) -> u64 {
    if ms <= now.wall_ms {
        return 0;
    }
    let ahead = ms.saturating_sub(now.wall_ms.max(made_ms)).max(0);
    let ahead = Nanos::from_millis(u64::try_from(ahead).unwrap_or(0));
    now.steady.after(ahead).0
}

#[cfg(test)]
mod tests {
    use super::Snapshot;

    /// As headroom wrote every row once, and what it leaves out of it now.
    #[test]
    fn a_row_that_says_all_is_read_as_one_that_leaves_out() {
        let all = r#"{"used":3,"own":2,"ends_ms":5,"limit":null,"cap":null,"cap_ends_ms":0,"hold_ms":0,"tries":0,"told":false,"log":[],"who":[],"closed":null,"counted":4,"meaning":null,"made_ms":1}"#;
        let short = r#"{"used":3,"own":2,"ends_ms":5,"counted":4,"meaning":null,"made_ms":1}"#;
        let read = |text: &str| serde_json::from_str::<Snapshot>(text).unwrap();
        assert_eq!(read(all), read(short));
        assert_eq!(serde_json::to_string(&read(all)).unwrap(), short);
    }

    #[test]
    fn a_row_with_something_in_each_place_stays_as_it_is() {
        let all = r#"{"used":3,"own":2,"ends_ms":5,"limit":100,"cap":90,"cap_ends_ms":6,"hold_ms":7,"tries":2,"told":true,"log":[[1,2,3]],"who":[[4,5]],"closed":[8,9],"counted":4,"meaning":null,"made_ms":1}"#;
        let read = serde_json::from_str::<Snapshot>(all).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), all);
    }
}
