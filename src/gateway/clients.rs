//! The clients that calls go out with: for each kind of host, and for each identity that a connection shows its provider.
//! Connections are kept within one client, so nobody's call goes out on what was opened with another's certificate. Each worker
//! has its own: a connection is driven by the thread that opened it, and no call waits for another thread.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connection::Reach;
use super::dial::Dialer;
use super::tls::Trust;
use super::upstream::{Freshness, Sent};
use crate::identity::Identity;
use crate::limits::Limits;

type Client = legacy::Client<Dialer, Sent>;

/// How long a connection counts as fresh after its last use. Servers that close idle ones wait for longer.
const FRESH: Duration = Duration::from_secs(2);
/// Below the 60 s after which common servers close, so that headroom mostly closes first.
const KEPT: Duration = Duration::from_secs(50);
/// The longest head of a provider's answer in HTTP/2. The client's own 16 KiB are less than what passes in HTTP/1.1.
const HTTP2_HEAD_BYTES: u32 = 256 * 1024;

/// What an HTTP/2 provider may send ahead of each answer, in bytes: so much waits for a caller that takes nothing.
const HTTP2_WINDOW: u32 = 256 * 1024;

/// Which addresses the host may have, and who headroom is to it.
type Kind = (Reach, Option<Identity>);

/// All of them.
pub(super) struct Clients {
    trust: Trust,
    limits: Limits,
    /// By worker. Held for the length of a look, never across an await.
    made: Box<[RwLock<Made>]>,
}

type Made = HashMap<Kind, Arc<Pools>>;

impl Clients {
    /// For so many workers.
    pub(super) fn new(trust: Trust, limits: Limits, workers: usize) -> Result<Self, String> {
        let made = (0..workers.max(1)).map(|_| common(&trust, &limits).map(RwLock::new));
        Ok(Self {
            made: made.collect::<Result<_, _>>()?,
            trust,
            limits,
        })
    }

    /// Those for this kind of call, made at the first one.
    pub(super) fn of(&self, kind: &Kind, worker: usize) -> Result<Arc<Pools>, String> {
        let all = self.made.get(worker).or_else(|| self.made.first());
        let all = all.ok_or("there is no worker")?;
        let made = all.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = made.get(kind) {
            return Ok(Arc::clone(found));
        }
        drop(made);
        let mut made = all.write().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: what is made here must not trust those from before a `renew`.
        let new = Arc::new(Pools::new(kind, &self.trust, &self.limits)?);
        Ok(Arc::clone(made.entry(kind.clone()).or_insert(new)))
    }

    /// Lets go of those for identities that nobody has any more. Their calls in flight go on.
    pub(super) fn keep(&self, identities: &[Identity]) {
        for made in &self.made {
            let mut made = made.write().unwrap_or_else(PoisonError::into_inner);
            made.retain(|(_, identity), _| {
                let identity = identity.as_ref();
                identity.is_none_or(|identity| identities.contains(identity))
            });
        }
    }

    /// Begins anew with what is trusted now. Calls in flight go on, and no other goes out on their connections.
    pub(super) fn renew(&self) -> Result<(), String> {
        for made in &self.made {
            let next = common(&self.trust, &self.limits)?;
            *made.write().unwrap_or_else(PoisonError::into_inner) = next;
        }
        Ok(())
    }
}

/// What almost every call needs.
fn common(trust: &Trust, limits: &Limits) -> Result<Made, String> {
    let kinds = [(Reach::Public, None), (Reach::Anywhere, None)];
    let made = kinds.map(|kind| Pools::new(&kind, trust, limits).map(|made| (kind, made)));
    let made = made.into_iter();
    made.map(|made| made.map(|(kind, pools)| (kind, Arc::new(pools))))
        .collect()
}

/// Connections of one kind, by how fresh they have to be.
pub(super) struct Pools {
    kept: Client,
    fresh: Client,
    new: Client,
}

impl Pools {
    fn new((reach, identity): &Kind, trust: &Trust, limits: &Limits) -> Result<Self, String> {
        // Of its own: what a handshake left for the next one is of this identity.
        let tls = trust.client_config_as(identity.as_ref())?;
        let dialer = Dialer::new(*reach, tls, limits.connect_timeout, limits.answer_timeout);
        let client = |idle_timeout, kept_connections| {
            legacy::Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(idle_timeout)
                .pool_max_idle_per_host(kept_connections)
                .http1_max_headers(limits.header_fields)
                // What waits for a caller that takes nothing: a long answer fills this, and no more.
                .http1_max_buf_size(limits.header_bytes.saturating_mul(2))
                .http2_initial_stream_window_size(HTTP2_WINDOW)
                // Streams of callers that take nothing must not keep the others' from going on.
                .http2_initial_connection_window_size(i32::MAX.unsigned_abs())
                .http2_max_header_list_size(HTTP2_HEAD_BYTES)
                // One HTTP/2 connection carries all callers, so a dead one must be noticed.
                .http2_keep_alive_interval(Duration::from_secs(20))
                .http2_keep_alive_timeout(Duration::from_secs(10))
                .build(dialer.clone())
        };
        Ok(Self {
            kept: client(KEPT, limits.connections_per_origin),
            fresh: client(FRESH, limits.connections_per_origin),
            new: client(FRESH, 0),
        })
    }

    /// The client whose connections are so fresh.
    pub(super) const fn client(&self, freshness: Freshness) -> &Client {
        match freshness {
            Freshness::Kept => &self.kept,
            Freshness::Fresh => &self.fresh,
            Freshness::New => &self.new,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = include_str!("../../tests/support/tls/server.pem");
    const KEY: &str = include_str!("../../tests/support/tls/server.key");

    #[test]
    fn each_identity_has_its_own_until_nobody_has_it() {
        let clients = Clients::new(Trust::new(&[]).unwrap(), Limits::default(), 2).unwrap();
        let identity = || Identity::parse(CERTIFICATE, KEY).unwrap();
        let kinds = [
            (Reach::Anywhere, None),
            (Reach::Public, None),
            (Reach::Anywhere, Some(identity())),
            (Reach::Public, Some(identity())),
        ];
        let all = |worker| kinds.clone().map(|kind| clients.of(&kind, worker).unwrap());
        let (first, second) = (all(0), all(0));
        for (index, pools) in first.iter().enumerate() {
            for (other, again) in second.iter().enumerate() {
                assert_eq!(Arc::ptr_eq(pools, again), index == other);
            }
        }
        for (pools, others) in first.iter().zip(all(1)) {
            assert!(!Arc::ptr_eq(pools, &others));
        }
        let made = || [0, 1].map(|worker| clients.made[worker].read().unwrap().len());
        clients.keep(&[identity()]);
        assert_eq!(made(), [4, 4]);
        clients.keep(&[]);
        assert_eq!(made(), [2, 2]);
        clients.renew().unwrap();
        assert!(!Arc::ptr_eq(&first[0], &clients.of(&kinds[0], 0).unwrap()));
    }
}
