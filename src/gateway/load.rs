//! How much is under way: calls altogether, and connections to each origin. Who finds no place waits in a bounded way, or
//! goes away at once.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::clock;

/// A place at an origin; free again when this is dropped.
pub(super) type Place = OwnedSemaphorePermit;

/// A place among the calls under way; free again when this is dropped.
pub(super) struct CallPlace(Arc<AtomicUsize>);

impl Drop for CallPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The calls under way.
pub(super) struct Load {
    most: usize,
    /// Of each worker, so that they do not wait for each other.
    calls: Box<[Arc<AtomicUsize>]>,
    told: Mutex<Option<Instant>>,
}

/// That calls are refused is told once in so long.
const TELL_EVERY: Duration = Duration::from_secs(60);

fn places(most: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
}

impl Load {
    /// So many, of so many workers.
    pub(super) fn new(most: usize, workers: usize) -> Self {
        Self {
            most,
            calls: (0..workers.max(1)).map(|_| Arc::default()).collect(),
            told: Mutex::default(),
        }
    }

    /// A place for one more call, unless all are taken.
    pub(super) fn enter(&self, worker: usize) -> Option<CallPlace> {
        let own = self.calls.get(worker).or_else(|| self.calls.first())?;
        own.fetch_add(1, Ordering::SeqCst);
        let place = CallPlace(Arc::clone(own));
        // Counted in before all are counted: there are never more, though two at once may both find no place for one.
        let calls = self.calls.iter().map(|calls| calls.load(Ordering::SeqCst));
        let place = Some(place).filter(|_| calls.sum::<usize>() <= self.most);
        if place.is_none() && self.is_time_to_tell(clock::monotonic()) {
            tracing::warn!(
                calls = self.most,
                "As many calls are under way as there may be (`concurrent_calls`); more are refused with 503."
            );
        }
        place
    }

    fn is_time_to_tell(&self, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = told.is_none_or(|told| now.duration_since(told) >= TELL_EVERY);
        if is_time {
            *told = Some(now);
        }
        is_time
    }
}

/// The connections in use at each origin. As many origins as connections are configured, so the map is short.
pub(super) struct Origins {
    most: usize,
    patience: Duration,
    origins: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
}

impl Origins {
    /// So many for each, and so long one is waited for.
    pub(super) fn new(most: usize, patience: Duration) -> Self {
        Self {
            most,
            patience,
            origins: Mutex::default(),
        }
    }

    /// A place at this origin, in the order of arrival. `None`: none became free in time.
    pub(super) async fn enter(&self, origin: &Arc<str>) -> Option<Place> {
        let places = self.places(origin);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            return Some(place);
        }
        let free = tokio::time::timeout(self.patience, places.acquire_owned());
        free.await.ok()?.ok()
    }

    fn places(&self, origin: &Arc<str>) -> Arc<Semaphore> {
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = origins.get(origin) {
            return Arc::clone(found);
        }
        // Of what earlier configurations named, only what is in use is kept.
        origins.retain(|_, places| Arc::strong_count(places) > 1);
        let made = places(self.most);
        origins.insert(Arc::clone(origin), Arc::clone(&made));
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::Origin;

    #[tokio::test(start_paused = true)]
    async fn each_origin_has_its_own_places_and_waiting_for_one_has_an_end() {
        let origins = Origins::new(1, Duration::from_secs(3));
        let url = |text: &str| Arc::clone(Origin::parse(text).unwrap().name());
        let first = origins.enter(&url("http://a/x")).await;
        assert!(first.is_some());
        assert!(origins.enter(&url("http://b/")).await.is_some());
        assert!(origins.enter(&url("https://a/")).await.is_some());
        let before = crate::clock::monotonic();
        assert!(origins.enter(&url("http://a:80/z")).await.is_none());
        assert_eq!(before.elapsed().as_secs(), 3);
        drop(first);
        assert!(origins.enter(&url("http://a/")).await.is_some());
        // Nobody is there any more.
        origins.places(&url("http://c/"));
        assert_eq!(origins.origins.lock().unwrap().len(), 1);
    }

    #[test]
    fn a_call_too_many_has_no_place() {
        let load = Load::new(2, 2);
        let (first, second) = (load.enter(0), load.enter(1));
        assert!(first.is_some() && second.is_some());
        assert!(load.enter(0).is_none() && load.enter(1).is_none());
        drop(first);
        let again = load.enter(1);
        assert!(again.is_some() && load.enter(0).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn refused_calls_are_told_of_once_in_a_while() {
        let load = Load::new(1, 1);
        let now = clock::monotonic();
        assert!(load.is_time_to_tell(now));
        assert!(!load.is_time_to_tell(now + TELL_EVERY / 2));
        assert!(load.is_time_to_tell(now + TELL_EVERY));
    }
}
