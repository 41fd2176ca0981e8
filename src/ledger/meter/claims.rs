//! Who used how much of one budget, and what is left for whom: shares, a reserve, caps.

use super::{Meter, Until};
use crate::ledger::rule::{Motion, Rule, Shares};
use crate::ledger::time::{Nanos, Now, Steady};

/// Others, who do not come through headroom.
pub const NOBODY: u64 = 0;

/// Callers beyond those that are remembered one by one.
pub(super) const REST: u64 = u64::MAX;

/// Callers of one window that are remembered one by one.
const MOST_USERS: usize = 32;

/// Parts are in millionths.
const WHOLE: u128 = 1_000_000;

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// A number that stands for it: a consumer's, or a hash of its credential. Never [`NOBODY`].
    pub id: u64,
    /// It is worth telling it from others.
    pub is_named: bool,
}

/// What one caller used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// The caller.
    pub who: u64,
    /// Units of this window.
    pub used: u64,
    /// When it last used something, on the steady clock; 0: not known.
    pub(super) last: u64,
    /// Of its share, what others had when it last used something: it does not come back in this window.
    lent: u64,
}

/// The callers of one window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Who {
    users: Vec<Use>,
}

impl Who {
    pub(super) fn iter(&self) -> impl Iterator<Item = Use> + '_ {
        self.users.iter().copied().filter(|user| user.used > 0)
    }

    pub(super) fn add(&mut self, who: u64, cost: u64, lent: u64, now: u64, shares: &Shares) {
        let has_rights = |who: u64| {
            let holds = |parts: &[(u64, u64)]| parts.iter().any(|(holder, _)| *holder == who);
            holds(&shares.sure) || holds(&shares.caps) || shares.reserved_for.contains(&who)
        };
        let known = self.users.iter().any(|user| user.who == who);
        if !known && self.users.len() >= MOST_USERS {
            // Those who used all back make room.
            self.users
                .retain(|user| user.used > 0 || has_rights(user.who));
        }
        let who = if known || self.users.len() < MOST_USERS || has_rights(who) {
            who
        } else {
            REST
        };
        match self.users.iter_mut().find(|user| user.who == who) {
            Some(user) => {
                user.used = user.used.saturating_add(cost);
                user.last = now;
                user.lent = user.lent.max(lent);
            }
            None => self.users.push(Use {
                who,
                used: cost,
                last: now,
                lent,
            }),
        }
    }

    pub(super) fn give_back(&mut self, who: u64, cost: u64) {
        let known = self.users.iter().any(|user| user.who == who);
        let who = if known { who } else { REST };
        if let Some(user) = self.users.iter_mut().find(|user| user.who == who) {
            user.used = user.used.saturating_sub(cost);
        }
    }

    pub(super) fn clear(&mut self) {
        self.users.clear();
    }

    pub(super) fn restore(&mut self, who: u64, used: u64) {
        let (last, lent) = (0, 0);
        self.users.push(Use {
            who,
            used,
            last,
            lent,
        });
    }

    fn of(&self, who: u64) -> Use {
        let user = self.users.iter().find(|user| user.who == who);
        user.copied().unwrap_or(Use {
            who,
            used: 0,
            last: 0,
            lent: 0,
        })
    }
}

impl Meter {
    /// Until when the caller may not have so much, because it has a cap or what is left belongs to others.
    ///
    /// A share is what its holder is sure of. What it does not use is lent: of a window that ends at once, as much as the
    /// part of the window that is over; of one that moves, all of it after a whole window without a call.
    pub(super) fn claim(&self, rule: &Rule, cost: u64, caller: u64, now: Now) -> Option<Until> {
        let shares = &*rule.shares;
        let empty = Who::default();
        let extra = self.extra.as_deref();
        let who = extra.map_or(&empty, |extra| &extra.who);
        let own = who.of(caller).used;
        let cap = shares.caps.iter().find(|(holder, _)| *holder == caller);
        if let Some((_, cap)) = cap
            && own.saturating_add(cost) > *cap
        {
            return Some(if cost > *cap {
                Until::Never
            } else {
                self.next_turn(rule, now)
            });
        }
        let (limit, _) = self.quota(rule)?;
        let left = limit.saturating_sub(self.amount(rule, limit, now));
        let (mut kept, mut mine) = (0_u64, 0_u64);
        for (holder, part) in &shares.sure {
            let still = self.still_kept(rule, part_of(limit, *part), who.of(*holder), now);
            if *holder == caller {
                mine = still;
            } else {
                kept = kept.saturating_add(still);
            }
        }
        if !shares.reserved_for.contains(&caller) {
            let used: u64 = shares
                .reserved_for
                .iter()
                .map(|holder| who.of(*holder).used)
                .sum();
            kept = kept.saturating_add(part_of(limit, shares.reserve).saturating_sub(used));
        }
        if left >= kept.saturating_add(cost) || left < cost {
            // What is simply used up is the quota's own obstacle.
            return None;
        }
        // Others, who do not come through headroom, used what was somebody's: all have their part of what is left.
        let all = kept.saturating_add(mine);
        let may_be_short = self.used != self.own || matches!(rule.motion, Motion::Bucket { .. });
        if may_be_short
            && left < all
            && u128::from(cost) * u128::from(all)
                < u128::from(left) * u128::from(mine) + u128::from(all)
        {
            return None;
        }
        Some(self.next_lent(rule, limit, now))
    }

    /// What others have of this caller's share, if it has one: from now on it is theirs.
    pub(super) fn lent(&self, rule: &Rule, caller: u64, now: Now) -> u64 {
        let share = rule
            .shares
            .sure
            .iter()
            .find(|(holder, _)| *holder == caller);
        let (Some((_, part)), Some((limit, _)), Some(_)) =
            (share, self.quota(rule), self.time_left(rule, now))
        else {
            return 0;
        };
        let extra = self.extra.as_deref();
        let used = extra.map_or_else(|| Who::default().of(caller), |extra| extra.who.of(caller));
        let sure = part_of(limit, *part);
        sure.saturating_sub(used.used)
            .saturating_sub(self.still_kept(rule, sure, used, now))
    }

    /// How much of a share is kept for its holder.
    fn still_kept(&self, rule: &Rule, sure: u64, holder: Use, now: Now) -> u64 {
        let unlent = self.unlent(rule, sure, holder.last, now);
        sure.saturating_sub(holder.used)
            .saturating_sub(holder.lent)
            .min(unlent)
    }

    /// How much of a share is not lent because of the time.
    fn unlent(&self, rule: &Rule, sure: u64, last: u64, now: Now) -> u64 {
        match self.time_left(rule, now) {
            Some((left, whole)) => {
                let kept = u128::from(sure) * u128::from(left.0);
                u64::try_from(kept.div_ceil(u128::from(whole.0.max(1)))).unwrap_or(sure)
            }
            None => {
                let length = self.whole(rule);
                let since = self.extra.as_ref().map_or(0, |extra| extra.who_since);
                let last = last.max(since);
                let idle = last != 0 && now.steady.since(Steady(last)) >= length;
                if idle { 0 } else { sure }
            }
        }
    }

    /// Of a window that ends at once: the time that is left, and its length.
    fn time_left(&self, rule: &Rule, now: Now) -> Option<(Nanos, Nanos)> {
        let whole = self.whole(rule);
        let left = match &rule.motion {
            Motion::Fixed(_) | Motion::Aligned { .. } if self.ends == 0 => whole,
            Motion::Fixed(_) => Steady(self.ends).since(now.steady),
            Motion::Aligned { .. } => now.steady_at(super::signed(self.ends)).since(now.steady),
            _ => return None,
        };
        Some((left.min(whole), whole))
    }

    /// The length of the window.
    pub(super) fn whole(&self, rule: &Rule) -> Nanos {
        match &rule.motion {
            Motion::Bucket { .. } => {
                let limit = self.quota(rule).map_or(1, |(limit, _)| limit);
                self.unit_for(rule, limit).times(limit)
            }
            Motion::Rolling(length) => *length,
            _ => Nanos::from_secs(rule.window_secs.unwrap_or(3_600)),
        }
    }

    /// When one more unit will have been lent, or come back.
    fn next_lent(&self, rule: &Rule, limit: u64, now: Now) -> Until {
        match self.time_left(rule, now) {
            Some((left, whole)) => {
                let step = Nanos(whole.0 / limit.max(1)).max(Nanos::from_millis(1));
                Until::At(now.steady.after(step.min(left)))
            }
            None => self.next_turn(rule, now),
        }
    }

    /// When quota comes back.
    fn next_turn(&self, rule: &Rule, now: Now) -> Until {
        let limit = self.quota(rule).map(|(limit, _)| limit);
        self.reset(rule, limit, now).map_or(Until::Released, |at| {
            Until::At(at.max(now.steady.after(Nanos::from_millis(1))))
        })
    }
}

fn part_of(limit: u64, part: u64) -> u64 {
    u64::try_from(u128::from(limit) * u128::from(part) / WHOLE).unwrap_or(u64::MAX)
}
