//! What a simulated provider enforces: up to its limit and over it, and served again after exactly the wait that it told.

use std::sync::Arc;

use headroom::adapter::parse::parse;
use headroom::simulate::provider::{Account, Budgets, Provider};
use http::Method;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::{ADAPTERS, Exchange, admit, exchange, moment, use_up};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const MILLISECOND: SignedDuration = SignedDuration::from_millis(1);

/// The wait that a provider told in its own words, in seconds.
fn told(exchange: &Exchange) -> Option<u64> {
    let translation = &exchange.translation;
    let exhausted = translation
        .limits
        .iter()
        .filter(|limit| limit.is_exhausted());
    let resets = exhausted.filter_map(|limit| limit.reset);
    resets.chain(translation.retry_after).max()
}

#[test]
fn every_policy_serves_again_after_exactly_the_wait() {
    // Near the end of a minute, an hour, a day and a month, and in the middle of them.
    let moments = [at("2026-11-30T23:59:59.25Z"), at("2026-11-17T12:34:10.75Z")];
    let mut wrong = Vec::new();
    let (mut told_wait, mut silent) = (0, 0);
    for adapter in ADAPTERS.iter() {
        for index in 0..adapter.policies.len() {
            let policy = &adapter.policies[index];
            let name = format!("{} {}", adapter.id, policy.name);
            let is_documented = policy.window.is_some() || policy.refill.is_some();
            for now in moments {
                let mut used = use_up(adapter, index, now);
                let (refused, wait) = used.refusal.verdict.refused.unwrap();
                assert_eq!(refused, index, "{name}");
                let serves = |budgets: &Budgets, now| {
                    let mut budgets = budgets.clone();
                    let verdict = admit(&used.provider, &mut budgets, &used.call, now);
                    verdict.refused.is_none()
                };
                let Some(wait) = wait else {
                    // Requests at a time: until one of them ends.
                    assert!(!serves(&used.budgets, used.now), "{name}");
                    let first = used.served.remove(0);
                    used.provider.finish(&mut used.budgets, &first);
                    if !serves(&used.budgets, used.now) {
                        wrong.push(format!("{name}: not after the end of a request"));
                    }
                    continue;
                };
                if serves(&used.budgets, wait - MILLISECOND) {
                    wrong.push(format!("{name} at {now}: earlier than {wait}"));
                }
                if !serves(&used.budgets, wait) {
                    wrong.push(format!("{name} at {now}: not at {wait}"));
                }
                // Where the window is this test's own, no words of the provider's can tell it.
                if !used.refusal.translation.exhausted || !is_documented {
                    continue;
                }
                let Some(secs) = told(&used.refusal) else {
                    silent += 1;
                    continue;
                };
                told_wait += 1;
                let then = used.now + SignedDuration::from_secs(secs as i64);
                if then < wait || !serves(&used.budgets, then) {
                    wrong.push(format!("{name} at {now}: told {secs} s, and it is {wait}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Some tell no wait at all. Callers of the others could rely on it.
    assert!(told_wait > 2 * silent, "{told_wait} and {silent}");
}

/// What a provider of one policy says, in the language of adapters.
fn provider(keys: &str) -> Provider {
    with_account(keys, &Account::default())
}

fn with_account(keys: &str, account: &Account) -> Provider {
    let source = format!("name = \"Test\"\ndocs = [\"https://example.com\"]\n{keys}");
    let adapter = match parse("test", &source) {
        Ok(adapter) => Arc::new(adapter),
        Err(mistakes) => panic!("{}", mistakes.render("test", &source, false)),
    };
    Provider::new(adapter, account, at("2026-11-21T12:00:00Z")).unwrap()
}

struct Till<'p> {
    provider: &'p Provider,
    budgets: Budgets,
}

impl<'p> Till<'p> {
    fn new(provider: &'p Provider) -> Self {
        let budgets = Budgets::default();
        Self { provider, budgets }
    }

    fn call(&mut self, path: &str, now: Timestamp) -> Exchange {
        let call = (Method::GET, path.to_owned());
        exchange(self.provider, &mut self.budgets, &call, now)
    }

    /// What is left after a call, and when quota comes back.
    fn served(&mut self, path: &str, now: Timestamp) -> (u64, Option<Timestamp>) {
        let exchange = self.call(path, now);
        assert!(exchange.verdict.refused.is_none(), "{path} at {now}");
        state(&exchange)
    }

    /// When a refused call would have been served.
    fn refused(&mut self, path: &str, now: Timestamp) -> Option<Timestamp> {
        let exchange = self.call(path, now);
        let (_, wait) = exchange.verdict.refused.expect("it refuses");
        wait
    }
}

fn state(exchange: &Exchange) -> (u64, Option<Timestamp>) {
    let state = &exchange.verdict.states[0];
    let reset = state.reset.map(|reset| match reset {
        headroom::form::Moment::At(moment) => moment,
        headroom::form::Moment::In(_) => panic!("{reset:?}"),
    });
    (state.remaining.unwrap(), reset)
}

/// Nobody says how it moves: the gateway takes it as rolling, to be safe, and here it is a counter that expires.
#[test]
fn an_undescribed_window_begins_with_the_first_request() {
    let hour = provider("[policy.hourly]\nquota = 2\nwindow = \"1h\"");
    let mut till = Till::new(&hour);
    let end = at("2026-11-21T13:34:56Z");
    let first = till.served("/", at("2026-11-21T12:34:56Z"));
    assert_eq!(first, (1, Some(end)));
    till.served("/", end - MILLISECOND);
    assert_eq!(till.refused("/", end - MILLISECOND), Some(end));
    assert_eq!(till.served("/", end).0, 1);
}

#[test]
fn a_day_ends_at_midnight_of_its_zone() {
    let keys =
        "[policy.daily]\nquota = 2500\nwindow = \"day\"\nkind = \"clock\"\ntime_zone = \"account\"";
    let account = Account {
        zone: Some(TimeZone::get("Europe/Oslo").unwrap()),
        ..Account::default()
    };
    let oslo = with_account(keys, &account);
    // A day of 24 hours, one of 23 and one of 25.
    for (now, end) in [
        ("2026-11-21T12:00:00Z", "2026-11-21T23:00:00Z"),
        ("2026-03-28T23:30:00Z", "2026-03-29T22:00:00Z"),
        ("2026-10-24T22:30:00Z", "2026-10-25T23:00:00Z"),
    ] {
        let state = Till::new(&oslo).served("/", at(now));
        assert_eq!(state, (2499, Some(at(end))));
    }
}

#[test]
fn a_bucket_gives_back_unit_by_unit_and_tells_when_it_is_full() {
    let keys = "[policy.burst]\nquota = 40\nkind = \"bucket\"\nrefill = 2";
    let bucket = provider(keys);
    let mut till = Till::new(&bucket);
    let now = at("2026-11-21T12:00:00Z");
    for _ in 0..40 {
        till.served("/", now);
    }
    let refused = till.call("/", now);
    assert_eq!(state(&refused), (0, Some(at("2026-11-21T12:00:20Z"))));
    let wait = refused.verdict.refused.unwrap().1;
    assert_eq!(wait, Some(at("2026-11-21T12:00:00.5Z")));
    assert_eq!(till.served("/", at("2026-11-21T12:00:01Z")).0, 1);
}

#[test]
fn a_penalty_refuses_everything_for_its_time_and_then_nothing() {
    let keys = "uncounted = [{ path = \"/free\" }]
        [policy.second]\nquota = 5\nwindow = \"1s\"\nkind = \"fixed\"\npenalty = \"30s\"";
    let strict = provider(keys);
    let mut till = Till::new(&strict);
    let now = at("2026-11-21T12:00:00Z");
    let end = at("2026-11-21T12:00:30Z");
    for _ in 0..5 {
        till.served("/", now);
    }
    // What is not counted needs nothing to be left …
    assert_eq!(till.served("/free", now).0, 0);
    assert_eq!(till.refused("/", now), Some(end));
    // … but a penalty is for all, and asking again does not lengthen it.
    assert_eq!(till.refused("/free", now + MILLISECOND), Some(end));
    let refused = till.call("/", end - MILLISECOND);
    assert_eq!(state(&refused), (0, Some(end)));
    for left in (0..5).rev() {
        assert_eq!(till.served("/", end).0, left);
    }
    assert!(till.refused("/", end) > Some(end));
}

#[test]
fn a_refused_call_counts_where_the_provider_says_so() {
    for (rejected, wait) in [("counted", "12:01:30"), ("uncounted", "12:01:00")] {
        let keys = format!(
            "[policy.minute]\nquota = 2\nwindow = \"1m\"\nkind = \"rolling\"\nrejected = \"{rejected}\""
        );
        let rolling = provider(&keys);
        let mut till = Till::new(&rolling);
        let now = at("2026-11-21T12:00:00Z");
        till.served("/", now);
        till.served("/", now);
        let half = now + SignedDuration::from_secs(30);
        // The first refusal uses what the two calls give back.
        till.refused("/", half);
        let wait = at(&format!("2026-11-21T{wait}Z"));
        assert_eq!(till.refused("/", half), Some(wait), "{rejected}");
        till.served("/", wait);
    }
}

#[test]
fn a_call_that_one_policy_refuses_uses_nothing_of_the_others() {
    let keys = "[policy.small]\nquota = 1\nwindow = \"1m\"\napplies = { path = \"/small\" }
        [policy.large]\nquota = 5\nwindow = \"1m\"";
    let both = provider(keys);
    let mut till = Till::new(&both);
    let now = at("2026-11-21T12:00:00Z");
    till.served("/small", now);
    for _ in 0..10 {
        till.refused("/small", now);
    }
    assert_eq!(till.served("/", now).0, 3);
    let left = |policy| both.left(&mut till.budgets, policy, moment(now));
    assert_eq!(
        ["small", "large", "none"].map(left),
        [Some(0), Some(3), None]
    );
}

#[test]
fn callers_with_ever_new_budgets_fill_no_memory() {
    let keys = "[policy.each]\nquota = 1\nwindow = \"1m\"\npartition = [\"{thing}\"]\napplies = { path = \"/{thing}\" }";
    let many = provider(keys);
    let mut till = Till::new(&many);
    let now = at("2026-11-21T12:00:00Z");
    let call = |till: &mut Till<'_>, thing: u32, now| {
        let exchange = till.call(&format!("/{thing}"), now);
        // Served calls end.
        many.finish(&mut till.budgets, &exchange.verdict);
        exchange.verdict.refused.is_none()
    };
    for thing in 0..10_000 {
        assert!(call(&mut till, thing, now));
    }
    // No room for more: strangers share one budget, and nobody is forgotten.
    assert!(call(&mut till, 10_000, now));
    assert!(!call(&mut till, 10_001, now));
    assert!(!call(&mut till, 7, now));
    // Who has nothing to remember makes room.
    assert!(call(&mut till, 10_002, now + SignedDuration::from_secs(60)));
}

/// One of each kind, of a minute.
const KINDS: [&str; 5] = [
    "kind = \"fixed\"",
    "kind = \"clock\"",
    "kind = \"lazy\"",
    "kind = \"rolling\"",
    "kind = \"bucket\"",
];

proptest! {
    #[test]
    fn waiting_as_told_is_enough_and_less_is_not(
        quota in 1_u64..12,
        kind in 0_usize..KINDS.len(),
        penalty in any::<bool>(),
        steps in prop::collection::vec((0_i64..30_000, any::<bool>()), 1..60),
    ) {
        let penalty = if penalty { "penalty = \"20s\"" } else { "" };
        let keys = format!(
            "[policy.minute]\nquota = {quota}\nwindow = \"1m\"\n{}\n{penalty}\nweights = [{{ path = \"/dear\", cost = 2 }}]",
            KINDS[kind]
        );
        let provider = provider(&keys);
        let mut till = Till::new(&provider);
        let mut now = at("2026-11-21T12:00:07.25Z");
        for (pause, dear) in steps {
            now += SignedDuration::from_millis(pause);
            let path = if dear { "/dear" } else { "/" };
            let Some((_, wait)) = till.call(path, now).verdict.refused else { continue };
            if quota == 1 && dear {
                // It never fits, but a penalty has an end.
                continue;
            }
            let wait = wait.unwrap();
            prop_assert!(wait > now);
            for (then, served) in [(wait - MILLISECOND, false), (wait, true)] {
                let mut later = Till { provider: &provider, budgets: till.budgets.clone() };
                prop_assert_eq!(later.call(path, then).verdict.refused.is_none(), served);
            }
        }
    }
}

proptest! {
    /// Small quotas are remembered call by call, large ones in grains that come back late, never early.
    #[test]
    fn no_hour_admits_more_than_its_quota(
        quota in prop_oneof![1_u64..12, 1_001_u64..5_000],
        steps in prop::collection::vec((0_i64..400_000, any::<bool>()), 1..80),
    ) {
        let dear = quota / 5 + 1;
        let keys = format!(
            "[policy.hour]\nquota = {quota}\nwindow = \"1h\"\nkind = \"rolling\"\nweights = [{{ path = \"/dear\", cost = {dear} }}]"
        );
        let provider = provider(&keys);
        let mut till = Till::new(&provider);
        let mut now = at("2026-11-21T12:00:00Z");
        let mut admitted: Vec<(Timestamp, u64)> = Vec::new();
        for (pause, is_dear) in steps {
            now += SignedDuration::from_millis(pause);
            let (path, cost) = if is_dear { ("/dear", dear) } else { ("/", 1) };
            if till.call(path, now).verdict.refused.is_none() {
                admitted.push((now, cost));
            }
            let recent = admitted.iter().filter(|(then, _)| now.duration_since(*then) < SignedDuration::from_hours(1));
            prop_assert!(recent.map(|(_, cost)| cost).sum::<u64>() <= quota);
        }
    }
}

/// The window that the user gave where none is documented, and no more than its quota.
#[test]
fn a_window_of_the_account_holds() {
    let account = |secs| {
        let mut account = Account::default();
        account.quotas.insert("some".to_owned(), (3, secs));
        account
    };
    let keys = "[policy.some]\nkind = \"rolling\"";
    let endless = with_account(keys, &account(None));
    assert_eq!(endless.enforced().count(), 0);
    let minute = with_account(keys, &account(Some(60)));
    let mut till = Till::new(&minute);
    let now = at("2026-11-21T12:00:00Z");
    for _ in 0..3 {
        till.served("/", now);
    }
    assert_eq!(till.refused("/", now), Some(at("2026-11-21T12:01:00Z")));
}
