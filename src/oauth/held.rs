//! The token that is there, and when the next is asked for. Pure: time and randomness are arguments.

use std::sync::Arc;

use super::{Reason, Token, Unavailable};
use crate::time::{Nanos, Steady};

/// A token is renewed so long before its end, or a quarter of its life before, if that is less.
const AHEAD: Nanos = Nanos::from_secs(60);

/// It is not used any more so long before its end, or a tenth of its life before: a call takes its time to arrive.
const MARGIN: Nanos = Nanos::from_secs(5);

/// Between two failures: twice as long each time, from the first of these to one of the others.
const FIRST_PAUSE: Nanos = Nanos::from_secs(1);
const LONGEST_PAUSE: Nanos = Nanos::from_secs(60);
/// Where the endpoint said no: asking again and again can lock an account.
const LONGEST_PAUSE_REFUSED: Nanos = Nanos::from_secs(300);

/// A 401 may mean other things than a token that is not good any more, so it makes headroom ask only so often.
const BETWEEN_REFUSALS: Nanos = Nanos::from_secs(30);

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Held {
    token: Option<Kept>,
    failures: u32,
    failed: Option<(Reason, Steady)>,
    /// When a 401 last made headroom ask.
    refused: Option<Steady>,
    /// There is no answer to that yet.
    is_suspected: bool,
}

#[derive(Debug)]
struct Kept {
    token: Arc<Token>,
    /// When to ask for the next, and when to stop using it; `None`: nobody said.
    until: Option<(Steady, Steady)>,
}

/// What to do for a call.
#[derive(Debug)]
pub(super) enum Look {
    /// This token is good.
    Use(Arc<Token>),
    /// It is good, and near its end.
    Renew(Arc<Token>),
    /// The provider has just refused it. It is worth waiting for the next one, and better than none.
    Suspected(Arc<Token>),
    /// There is none.
    Need,
    /// There is none, and it is too early to ask again.
    Unavailable(Unavailable),
}

/// What a 401 means.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Nothing for the token.
    Keep,
    /// There is another one already.
    Other(Arc<Token>),
    /// Another one is to be asked for.
    Renew,
}

impl Held {
    pub(super) fn look(&self, now: Steady) -> Look {
        let paused = self.failed.filter(|(_, until)| now < *until);
        match &self.token {
            Some(kept) if kept.until.is_none_or(|(_, end)| now < end) => {
                let is_near = kept.until.is_some_and(|(near, _)| now >= near);
                let token = Arc::clone(&kept.token);
                if self.is_suspected {
                    Look::Suspected(token)
                } else if is_near && paused.is_none() {
                    Look::Renew(token)
                } else {
                    Look::Use(token)
                }
            }
            _ => paused.map_or(Look::Need, |(reason, until)| {
                Look::Unavailable(unavailable(reason, until, now))
            }),
        }
    }

    /// There is a new one, which was asked for then. Gives whether asking had failed before.
    pub(super) fn succeeded(
        &mut self,
        token: &Arc<Token>,
        lifetime: Option<Nanos>,
        asked: Steady,
        random: u64,
    ) -> bool {
        let had_failed = self.failures > 0;
        *self = Self {
            token: Some(Kept {
                token: Arc::clone(token),
                until: lifetime.map(|life| ends(life, asked, random)),
            }),
            refused: self.refused,
            ..Self::default()
        };
        had_failed
    }

    /// There is none. Gives what callers are told, and whether it is news.
    pub(super) fn failed(
        &mut self,
        reason: Reason,
        now: Steady,
        random: u64,
    ) -> (Unavailable, bool) {
        let is_news = self.failed.is_none_or(|(before, _)| before != reason);
        let longest = if reason.is_refusal() {
            LONGEST_PAUSE_REFUSED
        } else {
            LONGEST_PAUSE
        };
        let doubled = FIRST_PAUSE.times(1 << self.failures.min(16));
        let pause = doubled.min(longest);
        // Up to a quarter longer: several gateways do not ask in step.
        let until = now.after(pause).after(part(Nanos(pause.0 / 4), random));
        self.is_suspected = false;
        self.failures = self.failures.saturating_add(1);
        self.failed = Some((reason, until));
        (unavailable(reason, until, now), is_news)
    }

    /// The provider answered 401 to a token.
    pub(super) fn refused(&mut self, token: &Arc<Token>, now: Steady) -> Verdict {
        match &self.token {
            Some(kept) if !Arc::ptr_eq(&kept.token, token) => {
                Verdict::Other(Arc::clone(&kept.token))
            }
            // A token that was never good does not become so by asking for another.
            Some(_) if !token.was_accepted() => Verdict::Keep,
            _ => {
                let too_early = |at: Steady| now.since(at) < BETWEEN_REFUSALS;
                let is_paused = self.failed.is_some_and(|(_, until)| now < until);
                if is_paused || self.refused.is_some_and(too_early) {
                    return Verdict::Keep;
                }
                self.refused = Some(now);
                self.is_suspected = true;
                Verdict::Renew
            }
        }
    }

    /// A 401 has made headroom ask for another token, and there is no answer yet.
    pub(super) const fn is_suspected(&self) -> bool {
        self.is_suspected
    }
}

/// When a token is renewed, and when it is not used any more. Up to half of the time ahead is added to it.
fn ends(life: Nanos, asked: Steady, random: u64) -> (Steady, Steady) {
    let before_end = |length: Nanos| asked.after(Nanos(life.0.saturating_sub(length.0)));
    let ahead = AHEAD.min(Nanos(life.0 / 4));
    let jitter = part(Nanos(ahead.0 / 2), random);
    let near = before_end(Nanos(ahead.0.saturating_add(jitter.0)));
    (near, before_end(MARGIN.min(Nanos(life.0 / 10))))
}

const fn part(length: Nanos, random: u64) -> Nanos {
    match random.checked_rem(length.0) {
        Some(part) => Nanos(part),
        None => Nanos(0),
    }
}

fn unavailable(reason: Reason, until: Steady, now: Steady) -> Unavailable {
    Unavailable {
        reason,
        retry_after: until.since(now).ceil_secs().max(1),
    }
}
