//! Timers that calls use one after the other. To begin one for each call, and to take it out again, takes much longer than to
//! look at one: that of an earlier call goes on until its own deadline, and is set anew then.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// More are not kept: they are as many as calls at a time.
const MOST: usize = 256;

/// Those that nobody uses. Of one runtime.
#[derive(Default)]
pub(super) struct Timers(Mutex<Vec<Pin<Box<Sleep>>>>);

/// A deadline, which can be put off.
pub(super) struct Deadline<'a> {
    timers: &'a Timers,
    /// May be over before, and never after.
    sleep: Option<Pin<Box<Sleep>>>,
    at: Instant,
}

impl Timers {
    /// A deadline at this moment.
    pub(super) fn until(&self, at: Instant) -> Deadline<'_> {
        let kept = self.kept().pop();
        let mut sleep = kept.unwrap_or_else(|| Box::pin(sleep_until(at)));
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        Deadline {
            timers: self,
            sleep: Some(sleep),
            at,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Pin<Box<Sleep>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deadline<'_> {
    /// When it is.
    pub(super) const fn at(&self) -> Instant {
        self.at
    }

    /// It is later than it was.
    pub(super) fn put_off(&mut self, at: Instant) {
        self.at = self.at.max(at);
    }

    /// What a future gives in time; it can be gone on with.
    pub(super) async fn limit<F: Future>(&mut self, mut future: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll_over(cx).map(|()| None),
        })
        .await
    }

    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Until it is given back.
        let Some(sleep) = &mut self.sleep else {
            return Poll::Ready(());
        };
        loop {
            // A future that is never without work uses up what a task may do at a time, and is limited nevertheless.
            ready!(pin!(unconstrained(sleep.as_mut())).poll(cx));
            if sleep.deadline() >= self.at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(self.at);
        }
    }
}

impl Drop for Deadline<'_> {
    fn drop(&mut self) {
        let mut kept = self.timers.kept();
        if kept.len() < MOST {
            kept.extend(self.sleep.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::task::coop::poll_proceed;

    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long it took, in seconds, and whether it was in time.
    async fn limited(timers: &Timers, secs: u64, takes: u64) -> (u64, bool) {
        let began = clock::monotonic();
        let mut deadline = timers.until(began + SECOND * u32::try_from(secs).unwrap());
        let future = pin!(tokio::time::sleep(Duration::from_secs(takes)));
        let in_time = deadline.limit(future).await.is_some();
        ((clock::monotonic() - began).as_secs(), in_time)
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_when_it_is_whoever_used_its_timer_before() {
        let timers = Timers::default();
        // Longer, shorter, in time and not, with a timer that has run, that runs, or that was over meanwhile.
        for (secs, takes) in [
            (10, 1),
            (10, 20),
            (3, 1),
            (60, 59),
            (60, 61),
            (1, 2),
            (5, 2),
            (4, 5),
        ] {
            for _ in 0..3 {
                let expected = (secs.min(takes), takes < secs);
                assert_eq!(
                    limited(&timers, secs, takes).await,
                    expected,
                    "{secs} {takes}"
                );
                assert_eq!(timers.kept().len(), 1);
            }
            tokio::time::sleep(SECOND * 7).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_is_put_off_is_later_and_never_sooner() {
        let timers = Timers::default();
        let began = clock::monotonic();
        let mut deadline = timers.until(began + SECOND * 5);
        assert_eq!(deadline.limit(pin!(pending::<()>())).await, None);
        assert_eq!(clock::monotonic() - began, SECOND * 5);
        deadline.put_off(began + SECOND * 8);
        deadline.put_off(began + SECOND * 6);
        assert_eq!(deadline.at(), began + SECOND * 8);
        assert_eq!(deadline.limit(pin!(pending::<()>())).await, None);
        assert_eq!(clock::monotonic() - began, SECOND * 8);
        // What is there is taken, also when it is late.
        assert_eq!(deadline.limit(pin!(ready(7))).await, Some(7));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_never_without_work_is_limited_too() {
        let timers = Timers::default();
        let mut deadline = timers.until(clock::monotonic() + SECOND);
        // Time does not pass by itself while somebody has work.
        let passes = tokio::spawn(tokio::time::advance(SECOND * 2));
        let mut rounds = 0;
        let busy = poll_fn(|cx| {
            rounds += 1;
            if rounds == 1_000 {
                return Poll::Ready(());
            }
            loop {
                ready!(poll_proceed(cx)).made_progress();
            }
        });
        assert_eq!(deadline.limit(pin!(busy)).await, None);
        passes.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn calls_at_a_time_have_a_timer_each() {
        let timers = Arc::new(Timers::default());
        let mut calls = tokio::task::JoinSet::new();
        for secs in 1..=400 {
            let timers = Arc::clone(&timers);
            calls.spawn(async move { (secs, limited(&timers, secs, 1_000).await) });
        }
        while let Some(call) = calls.join_next().await {
            let (secs, call) = call.unwrap();
            assert_eq!(call, (secs, false));
        }
        assert_eq!(timers.kept().len(), MOST);
    }
}
