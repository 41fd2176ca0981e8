//! The clients that calls go out with: for each kind of host, and for each identity that a connection shows its provider.
//! Connections are kept within one client, so nobody's call goes out on what was opened with another's certificate. Each worker
//! has its own: a connection is driven by the thread that opened it, and no call waits for another thread.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::connection::Reach;
use super::dial::Dialer;
use super::pool::Pool;
use super::tls::Trust;
use crate::identity::Identity;
use crate::limits::Limits;

/// All of them.
pub(super) struct Clients {
    trust: Trust,
    limits: Limits,
    /// By worker. Held for the length of a look, never across an await.
    made: Box<[RwLock<Made>]>,
}

/// What almost every call needs is found without looking for it.
struct Made {
    public: Arc<Pool>,
    anywhere: Arc<Pool>,
    /// For those who show a certificate.
    identified: HashMap<(Reach, Identity), Arc<Pool>>,
}

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

    /// Those for calls to hosts that may have these addresses, by who headroom is to them; made at the first call.
    pub(super) fn of(
        &self,
        reach: Reach,
        identity: Option<&Identity>,
        worker: usize,
    ) -> Result<Arc<Pool>, String> {
        let all = self.made.get(worker).or_else(|| self.made.first());
        let all = all.ok_or("there is no worker")?;
        let made = all.read().unwrap_or_else(PoisonError::into_inner);
        let kind = match (reach, identity) {
            (Reach::Public, None) => return Ok(Arc::clone(&made.public)),
            (Reach::Anywhere, None) => return Ok(Arc::clone(&made.anywhere)),
            (reach, Some(identity)) => (reach, identity.clone()),
        };
        if let Some(found) = made.identified.get(&kind) {
            return Ok(Arc::clone(found));
        }
        drop(made);
        let mut made = all.write().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: what is made here must not trust those from before a `renew`.
        let new = pool(kind.0, Some(&kind.1), &self.trust, &self.limits)?;
        Ok(Arc::clone(made.identified.entry(kind).or_insert(new)))
    }

    /// Lets go of those for identities that nobody has any more. Their calls in flight go on.
    pub(super) fn keep(&self, identities: &[Identity]) {
        for made in &self.made {
            let mut made = made.write().unwrap_or_else(PoisonError::into_inner);
            made.identified
                .retain(|(_, identity), _| identities.contains(identity));
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

/// What there is from the beginning.
fn common(trust: &Trust, limits: &Limits) -> Result<Made, String> {
    Ok(Made {
        public: pool(Reach::Public, None, trust, limits)?,
        anywhere: pool(Reach::Anywhere, None, trust, limits)?,
        identified: HashMap::new(),
    })
}

/// Connections of one kind.
fn pool(
    reach: Reach,
    identity: Option<&Identity>,
    trust: &Trust,
    limits: &Limits,
) -> Result<Arc<Pool>, String> {
    // Of its own: what a handshake left for the next one is of this identity.
    let tls = trust.client_config_as(identity)?;
    let dialer = Dialer::new(reach, tls, limits.connect_timeout, limits.answer_timeout);
    Ok(Pool::new(dialer, limits))
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
        let all = |worker| {
            kinds
                .clone()
                .map(|(reach, identity)| clients.of(reach, identity.as_ref(), worker).unwrap())
        };
        let (first, second) = (all(0), all(0));
        for (index, pools) in first.iter().enumerate() {
            for (other, again) in second.iter().enumerate() {
                assert_eq!(Arc::ptr_eq(pools, again), index == other);
            }
        }
        for (pools, others) in first.iter().zip(all(1)) {
            assert!(!Arc::ptr_eq(pools, &others));
        }
        let made = || [0, 1].map(|worker| clients.made[worker].read().unwrap().identified.len());
        clients.keep(&[identity()]);
        assert_eq!(made(), [2, 2]);
        clients.keep(&[]);
        assert_eq!(made(), [0, 0]);
        clients.renew().unwrap();
        assert!(!Arc::ptr_eq(
            &first[0],
            &clients.of(kinds[0].0, None, 0).unwrap()
        ));
    }
}
