//! How much is under way: calls altogether, and connections to each origin. Who finds no place waits in a bounded way, or
//! goes away at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hashbrown::HashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::clock;

/// A place among what is under way; free again when this is dropped.
pub(super) type Place = OwnedSemaphorePermit;

/// The calls under way.
pub(super) struct Load {
    most: usize,
    calls: Arc<Semaphore>,
    told: Mutex<Option<Instant>>,
}

/// That calls are refused is told once in so long.
const TELL_EVERY: Duration = Duration::from_secs(60);

fn places(most: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
}

impl Load {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            calls: places(most),
            told: Mutex::default(),
        }
    }

    /// A place for one more call, unless all are taken.
    pub(super) fn enter(&self) -> Option<Place> {
        let place = Arc::clone(&self.calls).try_acquire_owned().ok();
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
        let load = Load::new(1);
        let first = load.enter();
        assert!(first.is_some() && load.enter().is_none());
        drop(first);
        assert!(load.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn refused_calls_are_told_of_once_in_a_while() {
        let load = Load::new(1);
        let now = clock::monotonic();
        assert!(load.is_time_to_tell(now));
        assert!(!load.is_time_to_tell(now + TELL_EVERY / 2));
        assert!(load.is_time_to_tell(now + TELL_EVERY));
    }
}
