//! Who used how much of one budget, and what is left for whom: shares, a reserve, caps.

use super::{Cause, Meter, Standing, Until};
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

/// What is left of a quota, and for whom.
struct Parts {
    limit: u64,
    left: u64,
    /// Of what is left: for others than the caller.
    kept: u64,
    /// Of what is left: for the caller, whatever others do.
    mine: u64,
    /// Of the whole: for others than the caller.
    others: u64,
}

impl Parts {
    /// The most that the caller may use now.
    fn free(&self, may_be_short: bool) -> u64 {
        let free = self.left.saturating_sub(self.kept);
        let all = self.kept.saturating_add(self.mine);
        if !may_be_short || self.left >= all {
            return free;
        }
        // Not all can have what was kept for them: each has its part of what is left.
        let part = u128::from(self.left) * u128::from(self.mine);
        free.max(u64::try_from(part.div_ceil(u128::from(all))).unwrap_or(0))
    }
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

    pub(super) fn add(
        &mut self,
        who: u64,
        cost: u64,
        lent: u64,
        now: u64,
        shares: Option<&Shares>,
    ) {
        let has_rights = |who: u64| shares.is_some_and(|shares| shares.name(who));
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

    /// Counts what somebody used whom another meter knows too.
    pub(super) fn join(&mut self, who: u64, used: u64) {
        let known = self.users.iter().any(|user| user.who == who);
        let has_room = self.users.len() < MOST_USERS;
        let who = if known || has_room { who } else { REST };
        match self.users.iter_mut().find(|user| user.who == who) {
            Some(user) => user.used = user.used.saturating_add(used),
            None => self.restore(who, used),
        }
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
    pub(super) fn claim(
        &self,
        rule: &Rule,
        shares: &Shares,
        cost: u64,
        caller: u64,
        now: Now,
    ) -> Option<Until> {
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
        let parts = self.parts(rule, shares, who, caller, now)?;
        let fits = cost <= parts.free(self.may_be_short(rule));
        // What is simply used up is the quota's own obstacle.
        if fits || parts.left < cost {
            return None;
        }
        let fits_at = |at| {
            let parts = self.parts(rule, shares, who, caller, at);
            parts.is_some_and(|parts| cost <= parts.free(self.may_be_short(rule)))
        };
        Some(self.next_lent(rule, fits_at, now))
    }

    /// What is left of the quota, and for whom.
    fn parts(
        &self,
        rule: &Rule,
        shares: &Shares,
        who: &Who,
        caller: u64,
        now: Now,
    ) -> Option<Parts> {
        let (limit, _) = self.quota(rule)?;
        let mut parts = Parts {
            limit,
            left: limit.saturating_sub(self.amount(rule, limit, now)),
            kept: 0,
            mine: 0,
            others: 0,
        };
        for (holder, part) in &shares.sure {
            let sure = part_of(limit, *part);
            let still = self.still_kept(rule, sure, who.of(*holder), now);
            if *holder == caller {
                parts.mine = still;
            } else {
                parts.kept = parts.kept.saturating_add(still);
                parts.others = parts.others.saturating_add(sure);
            }
        }
        if !shares.reserved_for.contains(&caller) {
            let used: u64 = shares
                .reserved_for
                .iter()
                .map(|holder| who.of(*holder).used)
                .sum();
            let reserve = part_of(limit, shares.reserve);
            parts.kept = parts.kept.saturating_add(reserve.saturating_sub(used));
            parts.others = parts.others.saturating_add(reserve);
        }
        Some(parts)
    }

    /// Others, who do not come through headroom, may have used what was somebody's.
    const fn may_be_short(&self, rule: &Rule) -> bool {
        self.used != self.own || matches!(rule.motion, Motion::Bucket { .. })
    }

    /// The state at this moment, as it is for this caller: what it may still use where that is less than what is left for
    /// all, because it has a cap or because the rest is kept for others.
    pub(in crate::ledger) fn standing_for(
        &mut self,
        rule: &Rule,
        caller: u64,
        now: Now,
    ) -> Standing {
        let mut standing = self.standing(rule, now);
        let Some(shares) = &rule.shares else {
            return standing;
        };
        if !Cause::Share.is_enforced(rule) {
            return standing;
        }
        let empty = Who::default();
        let who = self.extra.as_deref().map_or(&empty, |extra| &extra.who);
        let mut tighten = |limit: u64, left: u64, cause: Cause| {
            if standing.remaining.is_none_or(|remaining| left < remaining) {
                standing.limit = Some(limit);
                standing.remaining = Some(left);
                standing.cause = cause;
            }
        };
        if let Some(parts) = self.parts(rule, shares, who, caller, now) {
            let left = parts.free(self.may_be_short(rule)).min(parts.left);
            // What others lend comes on top of what is nobody else's.
            let limit = parts.limit.saturating_sub(parts.others).max(left);
            // The part is the user's word; the quota that it is a part of may be another than the documented one.
            let cause = match self.quota(rule) {
                Some((_, Cause::Documented)) => Cause::Share,
                _ => Cause::Configured,
            };
            tighten(limit, left, cause);
        }
        let mut caps = shares.caps.iter();
        if let Some((_, cap)) = caps.find(|(holder, _)| *holder == caller) {
            let left = cap.saturating_sub(who.of(caller).used);
            tighten(*cap, left, Cause::Configured);
        }
        if standing.remaining == Some(0)
            && let Some(Until::At(at)) = self.claim(rule, shares, 1, caller, now)
        {
            standing.reset = Some(at);
        }
        standing
    }

    /// What others have of this caller's share, if it has one: from now on it is theirs.
    pub(super) fn lent(&self, rule: &Rule, caller: u64, now: Now) -> u64 {
        let mut sure = rule.shares.iter().flat_map(|shares| &shares.sure);
        let share = sure.find(|(holder, _)| *holder == caller);
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

    /// When so much will have been lent that it fits, at the latest at the end of the window: a reserve is never lent. What
    /// moves comes back unit by unit.
    fn next_lent(&self, rule: &Rule, fits_at: impl Fn(Now) -> bool, now: Now) -> Until {
        let Some((left, _)) = self.time_left(rule, now) else {
            return self.next_turn(rule, now);
        };
        let later = |millis: u64| Now {
            steady: now.steady.after(Nanos::from_millis(millis)),
            wall_ms: now
                .wall_ms
                .saturating_add(i64::try_from(millis).unwrap_or(i64::MAX)),
        };
        // As time goes by more is lent, never less.
        let (mut too_early, mut enough) = (0, left.0.div_ceil(1_000_000).max(1));
        while enough - too_early > 1 {
            let between = too_early + (enough - too_early) / 2;
            if fits_at(later(between)) {
                enough = between;
            } else {
                too_early = between;
            }
        }
        Until::At(later(enough).steady)
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
