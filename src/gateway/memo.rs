//! What is remembered of a call while it goes on. However it ends, it makes one record of it, and only one.

use std::hash::{BuildHasher, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::DefaultHashBuilder;
use http::header::{AGE, CACHE_CONTROL, CONTENT_LENGTH, ETAG, LAST_MODIFIED};
use http::{Method, StatusCode};
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;

use super::forward::Received;
use super::heads::RequestHead;
use super::local::Own;
use super::present::Present;
use super::route::Route;
use crate::fields::Fields;
use crate::history::History;
use crate::history::poll::{Poll, Seen};
use crate::history::record::{Outcome, Record, Refuser, Spent, Who};
use crate::ledger::account::Account;
use crate::ledger::rule::Rule;
use crate::time::{Nanos, Steady};
use crate::trace::{Spans, Traced, Tracer};
use crate::translate::Translation;
use crate::{charge, clock};

/// Bodies up to this length are compared, in bytes.
const COMPARED: u64 = 64 * 1024;

/// What is remembered of one call.
pub(super) struct Memo(Option<Box<Call>>);

struct Call {
    history: Own<History>,
    record: Record,
    arrived: Steady,
    sent: Option<Steady>,
    /// When the head of the provider's answer was there.
    received: Option<Steady>,
    /// The provider's status.
    native: Option<u16>,
    /// What was waited for bodies before there was a head to hand over.
    aside: Nanos,
    /// Waits cannot be told from work.
    unclear: bool,
    /// Bytes that the caller has sent.
    uploaded: Option<Arc<AtomicU64>>,
    watched: Option<Watched>,
    traced: Option<Tracing>,
}

/// A call that somebody wants to see in a trace.
struct Tracing {
    tracer: Arc<Tracer>,
    spans: Spans,
    /// Host and port of the provider.
    server: (String, u16),
}

/// A GET, which may repeat another one.
struct Watched {
    target: u64,
    is_conditional: bool,
    has_validator: bool,
    fresh_secs: u64,
    answer: Option<Fingerprint>,
}

/// What tells one answer from another.
enum Fingerprint {
    /// Of its entity tag, or of nothing but its status.
    Known(u64),
    /// Of its body, as it comes.
    Body(SipHasher13),
}

impl Memo {
    pub(super) fn new(
        history: &Own<History>,
        tracer: Option<&Arc<Tracer>>,
        head: &RequestHead,
        route: &Route<'_>,
    ) -> Self {
        let connection = &*route.connection;
        let traced = tracer.and_then(|tracer| {
            let spans = Spans::begin(&head.headers)?;
            Some(Tracing {
                tracer: Arc::clone(tracer),
                spans,
                server: connection.origin.server(),
            })
        });
        let record = Record {
            // Until it ends.
            ended_ms: 0,
            connection: Arc::clone(&connection.account.connection),
            provider: Arc::clone(&connection.account.provider),
            consumer: Who::Anonymous,
            method: registered(&head.method),
            endpoint: charge::endpoint(route.path()),
            status: None,
            upstream_status: None,
            refused_by: None,
            policy: None,
            spent: SmallVec::new(),
            outcome: Outcome::Left,
            waited: Nanos(0),
            duration: Nanos(0),
            upstream: Nanos(0),
            overhead: None,
            bytes_in: 0,
            bytes_out: 0,
            poll: Poll::default(),
        };
        Self(Some(Box::new(Call {
            history: Arc::clone(history),
            record,
            arrived: clock::steady(),
            sent: None,
            received: None,
            native: None,
            aside: Nanos(0),
            unclear: false,
            uploaded: None,
            watched: None,
            traced,
        })))
    }

    /// The spans of the call, where it is traced.
    pub(super) fn spans(&self) -> Option<Spans> {
        Some(self.0.as_ref()?.traced.as_ref()?.spans)
    }

    /// Who calls, and what it is that it may have called before.
    pub(super) fn by(&mut self, who: Who, head: &RequestHead, route: &Route<'_>) {
        let Some(call) = &mut self.0 else { return };
        if head.method == Method::GET {
            let is_conditional = head.present.has(Present::CONDITION);
            call.watched = Some(Watched {
                target: hash(&(&*route.connection.name, &who, &*route.target)),
                is_conditional,
                has_validator: false,
                fresh_secs: 0,
                answer: None,
            });
        }
        call.record.consumer = who;
    }

    /// It was held for its quota.
    pub(super) fn waited(&mut self, waited: Nanos) {
        if let Some(call) = &mut self.0 {
            call.record.waited = waited;
        }
    }

    /// Since then, others were waited for.
    pub(super) fn aside(&mut self, since: Steady) {
        if let Some(call) = &mut self.0 {
            let length = clock::steady().since(since);
            call.aside = Nanos(call.aside.0.saturating_add(length.0));
        }
    }

    /// It broke off while it waited, and nobody knows for how long.
    pub(super) fn unclear(&mut self) {
        if let Some(call) = &mut self.0 {
            call.unclear = true;
        }
    }

    /// There is a head of an answer to hand over.
    pub(super) fn hands_over(&mut self) {
        if let Some(call) = &mut self.0
            && !call.unclear
        {
            call.record.overhead = Some(call.overhead(clock::steady()));
        }
    }

    /// It is about to be sent, and what it uses of which policies.
    pub(super) fn sends(&mut self, spent: SmallVec<[Spent; 2]>, uploaded: Option<Arc<AtomicU64>>) {
        if let Some(call) = &mut self.0 {
            call.record.spent = spent;
            call.uploaded = uploaded;
            call.sent = Some(clock::steady());
        }
    }

    /// Moves it to whoever knows when the call ends.
    pub(super) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    /// The provider has never seen it.
    pub(super) fn unsent(&mut self) {
        if let Some(call) = &mut self.0 {
            call.record.spent.clear();
        }
    }

    /// The head of the provider's answer is there.
    pub(super) fn received(&mut self, status: StatusCode, now: Steady) {
        if let Some(call) = &mut self.0 {
            call.native = Some(status.as_u16());
            call.received = Some(now);
            call.record.upstream = call.sent.map_or(Nanos(0), |sent| now.since(sent));
        }
    }

    /// What the answer is.
    pub(super) fn translated(&mut self, received: &Received, translation: &Translation) {
        let Some(call) = &mut self.0 else { return };
        let native = received.status.as_u16();
        let told = translation.status.map_or(native, |status| status.as_u16());
        if translation.exhausted {
            let limit = translation.binding_limit();
            call.record.refused_by = Some(Refuser::Provider);
            call.record.policy = limit.map(|limit| Arc::clone(&limit.policy));
        }
        call.record.status = Some(told);
        call.record.upstream_status = (told != native).then_some(native);
        let Some(watched) = &mut call.watched else {
            return;
        };
        let headers = &received.headers;
        let etag = headers.get(ETAG);
        watched.has_validator = etag.is_some() || headers.contains_key(LAST_MODIFIED);
        watched.fresh_secs = fresh_secs(headers);
        watched.answer = match (native, etag) {
            // As before, says the provider: the tag of a 304 is that of the answer it stands for.
            (200 | 304, Some(etag)) => Some(Fingerprint::Known(hash(&(200, etag.as_bytes())))),
            (200, None) if length(headers).is_none_or(|length| length <= COMPARED) => {
                Some(Fingerprint::Body(SipHasher13::new()))
            }
            (204, _) => Some(Fingerprint::Known(hash(&(204, b"")))),
            _ => None,
        };
    }

    /// What it used is what the answer tells, and nothing where refusals do not count.
    pub(super) fn costs(&mut self, account: &Account, translation: &Translation) {
        let Some(call) = &mut self.0 else { return };
        for spent in &mut call.record.spent {
            let of_policy = |rule: &&Arc<Rule>| rule.policy == spent.policy;
            let Some(rule) = account.rules.iter().find(of_policy) else {
                continue;
            };
            if translation.exhausted && rule.rejected_counts == Some(false) {
                spent.cost = 0;
            }
            let told = translation.costs.iter().filter(|(index, _)| {
                let told = account.rules.get(*index);
                told.is_some_and(|told| told.policy == spent.policy)
            });
            if let Some(cost) = told.map(|(_, cost)| *cost).max() {
                spent.cost = cost;
            }
        }
        // The policy that was in the way may be another one than those that were thought to count the call.
        if let Some(policy) = &call.record.policy
            && call.record.spent.iter().all(|one| one.policy != *policy)
            && let Some(rule) = account.rules.iter().find(|rule| rule.policy == *policy)
        {
            call.record.spent.push(nothing(rule));
        }
    }

    /// It is not sent, for want of quota.
    pub(super) fn refused(&mut self, rule: Option<&Arc<Rule>>) {
        if let Some(call) = &mut self.0 {
            call.record.refused_by = Some(Refuser::Headroom);
            call.record.policy = rule.map(|rule| Arc::clone(&rule.policy));
            call.record.spent.extend(rule.map(|rule| nothing(rule)));
        }
    }

    /// A piece of the answer's body.
    pub(super) fn piece(&mut self, data: &[u8]) {
        let Some(call) = &mut self.0 else { return };
        call.record.bytes_out += data.len() as u64;
        if call.record.bytes_out > COMPARED
            && let Some(watched) = &mut call.watched
            && matches!(watched.answer, Some(Fingerprint::Body(_)))
        {
            watched.answer = None;
        }
        if let Some(Watched {
            answer: Some(Fingerprint::Body(hasher)),
            ..
        }) = &mut call.watched
        {
            hasher.write(data);
        }
    }

    /// The answer is headroom's own.
    pub(super) fn answered(mut self, status: StatusCode, bytes: u64) {
        self.hands_over();
        if let Some(call) = &mut self.0 {
            call.record.status = Some(status.as_u16());
            call.record.bytes_out = bytes;
            call.watched = None;
        }
        self.ends(Outcome::Complete);
    }

    /// It has ended.
    pub(super) fn ends(&mut self, outcome: Outcome) {
        // Where it lies: it is large.
        let Some(mut call) = self.0.take() else {
            return;
        };
        let now = clock::moment();
        let watched = call.watched.take();
        let traced = call.traced.take();
        let (history, record) = (&call.history, &mut call.record);
        record.ended_ms = now.wall_ms;
        record.duration = now.steady.since(call.arrived);
        record.outcome = outcome;
        let uploaded = call.uploaded.as_ref();
        record.bytes_in = uploaded.map_or(0, |bytes| bytes.load(Ordering::Relaxed));
        if outcome == Outcome::Complete
            && let Some(watched) = watched
            && let Some(answer) = watched.answer
        {
            record.poll = history.polls().see(&Seen {
                target: watched.target,
                answer: match answer {
                    Fingerprint::Known(hash) => hash,
                    Fingerprint::Body(hasher) => hash(&(200, hasher.finish())),
                },
                at_ms: now.wall_ms,
                fresh_until_ms: match watched.fresh_secs {
                    0 => 0,
                    secs => {
                        let ms = i64::try_from(secs.saturating_mul(1_000)).unwrap_or(i64::MAX);
                        now.wall_ms.saturating_add(ms)
                    }
                },
                has_validator: watched.has_validator,
                is_conditional: watched.is_conditional,
            });
        }
        if let Some(traced) = traced {
            let sent = call.sent.map(|sent| sent.since(call.arrived));
            traced.finish(record, sent, call.native);
        }
        history.record(record);
    }
}

impl Tracing {
    fn finish(self, record: &Record, sent: Option<Nanos>, native: Option<u16>) {
        let ended_ms = u64::try_from(record.ended_ms).unwrap_or(0);
        self.tracer.finish(Traced {
            spans: self.spans,
            ended_ns: ended_ms.saturating_mul(1_000_000),
            duration: record.duration,
            sent,
            upstream: native.map(|_| record.upstream),
            waited: record.waited,
            connection: Arc::clone(&record.connection),
            provider: Arc::clone(&record.provider),
            server: self.server,
            consumer: record.consumer.clone(),
            method: record.method,
            endpoint: record.endpoint.clone(),
            status: record.status,
            upstream_status: native,
            refused_by: record.refused_by,
            policy: record.policy.clone(),
            outcome: record.outcome,
        });
    }
}

impl Call {
    /// What of the time until now was headroom's own.
    const fn overhead(&self, now: Steady) -> Nanos {
        let own = match (self.sent, self.received) {
            (None, _) => now.since(self.arrived).0,
            // The provider took the rest, and has not answered.
            (Some(sent), None) => sent.since(self.arrived).0,
            (Some(sent), Some(received)) => sent.since(self.arrived).0 + now.since(received).0,
        };
        let waited = self.record.waited.0.saturating_add(self.aside.0);
        Nanos(own.saturating_sub(waited))
    }
}

/// Nobody waits for the answer any more, or for the rest of it.
impl Drop for Memo {
    fn drop(&mut self) {
        self.ends(Outcome::Left);
    }
}

/// The policy was in the way, and counted nothing.
fn nothing(rule: &Rule) -> Spent {
    Spent {
        policy: Arc::clone(&rule.policy),
        unit: rule.unit.clone(),
        cost: 0,
    }
}

/// The same in this process for the same value.
fn hash(value: &impl std::hash::Hash) -> u64 {
    static HASHER: std::sync::OnceLock<DefaultHashBuilder> = std::sync::OnceLock::new();
    HASHER
        .get_or_init(DefaultHashBuilder::default)
        .hash_one(value)
}

fn length(headers: &Fields) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.text()?.parse().ok()
}

/// For how many seconds a private cache could keep it without asking (RFC 9111, section 4.2), by `max-age` alone.
fn fresh_secs(headers: &Fields) -> u64 {
    let mut fresh = None;
    for line in headers.get_all(CACHE_CONTROL) {
        for directive in line.as_bytes().split(|byte| *byte == b',') {
            let directive = directive.trim_ascii();
            if directive.eq_ignore_ascii_case(b"no-store")
                || directive.eq_ignore_ascii_case(b"no-cache")
            {
                return 0;
            }
            let name = directive.split_at_checked(b"max-age=".len());
            if let Some((name, secs)) = name
                && name.eq_ignore_ascii_case(b"max-age=")
            {
                let secs = str::from_utf8(secs).unwrap_or_default();
                fresh = secs.trim_matches('"').parse::<u64>().ok();
            }
        }
    }
    // What is never fresh does not become older.
    let Some(fresh) = fresh.filter(|fresh| *fresh > 0) else {
        return 0;
    };
    let age = headers.get(AGE).and_then(|age| age.text()?.parse().ok());
    fresh.saturating_sub(age.unwrap_or(0))
}

/// Methods that anybody can make up are one.
pub(super) fn registered(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
