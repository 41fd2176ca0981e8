//! How long a caller's connection may take for what it does: a head, nothing at all, or leaving its answer where it is.
//!
//! The socket tells when bytes came, the calls
//! tell when they began and ended, and whoever drives the connection asks when something is overdue.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use super::body::Shelf;
use super::frames::Frames;
use super::unread::Unread;
use crate::clock;
use crate::limits::Limits;

/// How HTTP/2 begins.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Who is told to go has so long for going, unless a call is under way.
const FAREWELL: Duration = Duration::from_secs(1);

/// While not all is read that a caller sends, its end is looked for so often.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What a caller is too slow for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Nothing was asked of headroom for long: the connection may go in good order.
    Call,
    /// A head has begun and did not end.
    Head,
    /// An answer is there and is not taken.
    Reading,
    /// One of several answers is not taken, or was not a while ago: [`Pulse::take_back`] knows.
    Unread,
    /// What the caller sends is not all read, so nobody would notice that it has gone: [`Pulse::look`].
    Deaf,
}

/// The state of one connection, shared by its socket, its calls and its driver.
pub(super) struct Pulse {
    limits: Limits,
    state: Mutex<State>,
    /// Whether the caller is still there is to be looked at.
    looks: AtomicBool,
}

struct State {
    speech: Speech,
    /// Calls under way, and bodies that are being read behind their calls.
    calls: usize,
    /// When the last of them ended, or the caller came.
    free_since: Instant,
    head_since: Option<Instant>,
    blocked_since: Option<Instant>,
    /// Since when not everything is read that has come.
    deaf_since: Option<Instant>,
    unread: Unread,
    /// When the caller was told to go.
    dismissed: Option<Instant>,
}

/// What is spoken, as far as was heard.
enum Speech {
    /// So many bytes of the preface of HTTP/2 have come, and nothing else.
    Unknown(usize),
    Http1,
    Http2(Frames),
}

/// A call under way. It has ended when this is dropped.
pub(super) struct Presence {
    pulse: Arc<Pulse>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut state = self.pulse.state();
        state.calls = state.calls.saturating_sub(1);
        if state.calls == 0 {
            state.free_since = clock::monotonic();
        }
    }
}

impl Pulse {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            state: Mutex::new(State {
                speech: Speech::Unknown(0),
                calls: 0,
                free_since: clock::monotonic(),
                head_since: None,
                blocked_since: None,
                deaf_since: None,
                unread: Unread::default(),
                dismissed: None,
            }),
            looks: AtomicBool::new(false),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A head was read to its end.
    pub(super) fn begin(self: &Arc<Self>) -> Arc<Presence> {
        let mut state = self.state();
        state.calls += 1;
        if !matches!(state.speech, Speech::Http2(_)) {
            state.head_since = None;
        }
        drop(state);
        Arc::new(Presence {
            pulse: Arc::clone(self),
        })
    }

    /// The caller sent these bytes.
    pub(super) fn heard(&self, bytes: &[u8]) {
        if !bytes.is_empty() {
            let now = clock::monotonic();
            let mut state = self.state();
            state.deaf_since.get_or_insert(now);
            state.heard(bytes, now);
        }
    }

    /// Whatever the caller does next is noticed.
    pub(super) fn listens(&self) {
        self.state().deaf_since = None;
    }

    /// Has [`Pulse::is_to_look`] say so, once.
    pub(super) fn look(&self) {
        self.looks.store(true, Ordering::Relaxed);
        let mut state = self.state();
        if state.deaf_since.is_some() {
            state.deaf_since = Some(clock::monotonic());
        }
    }

    /// Somebody is to look whether the caller is still there.
    pub(super) fn is_to_look(&self) -> bool {
        self.looks.load(Ordering::Relaxed) && self.looks.swap(false, Ordering::Relaxed)
    }

    /// A piece of an answer was handed over, and the caller may not have room for it.
    pub(super) fn offers(&self, shelf: &Arc<Shelf>) {
        self.state().unread.offer(shelf, clock::monotonic());
    }

    /// The caller had room, or the answer is over.
    pub(super) fn took(&self, shelf: &Arc<Shelf>) {
        self.state().unread.take(shelf);
    }

    /// Takes the answers away that were not taken for too long. Their providers need not wait any longer; the caller will
    /// see a broken transfer when it asks for more.
    pub(super) fn take_back(&self) {
        let now = clock::monotonic();
        let overdue = self.state().unread.overdue(now, self.limits.send_timeout);
        for shelf in overdue {
            let held = shelf.lock().unwrap_or_else(PoisonError::into_inner).take();
            // The end of a call is told to this pulse, so neither may be locked.
            drop(held);
            tracing::debug!("A caller takes nothing of an answer; it is broken off.");
        }
    }

    /// The caller took something, or did not.
    pub(super) fn wrote(&self, is_blocked: bool) {
        let mut state = self.state();
        if !is_blocked {
            state.blocked_since = None;
        } else if state.blocked_since.is_none() {
            state.blocked_since = Some(clock::monotonic());
        }
    }

    /// Whether HTTP/2 is spoken, or HTTP/1.1, as soon as that can be told.
    pub(super) fn is_http2(&self) -> Option<bool> {
        match self.state().speech {
            Speech::Unknown(_) => None,
            Speech::Http1 => Some(false),
            Speech::Http2(_) => Some(true),
        }
    }

    /// The caller is in the middle of a head.
    pub(super) fn is_in_head(&self) -> bool {
        self.state().head_since.is_some()
    }

    /// The caller is told to go: neither a head nor silence is waited for any longer than that takes.
    pub(super) fn dismiss(&self) {
        self.state().dismissed.get_or_insert_with(clock::monotonic);
    }

    /// What is overdue next, and when.
    fn due(&self) -> Option<(Instant, Overdue)> {
        let state = self.state();
        let limits = &self.limits;
        let end = |since: Instant, patience: Duration| match state.dismissed {
            Some(dismissed) => since.max(dismissed) + patience.min(FAREWELL),
            None => since + patience,
        };
        let head = state
            .head_since
            .map(|since| end(since, limits.head_timeout));
        let reading = state.blocked_since.map(|since| since + limits.send_timeout);
        let is_free = state.calls == 0 && state.head_since.is_none();
        let call = is_free.then(|| end(state.free_since, limits.idle_timeout));
        let unread = state
            .unread
            .since()
            .map(|since| since + limits.send_timeout);
        let deaf = state.deaf_since.filter(|_| state.calls > 0);
        let all = [
            unread.map(|at| (at, Overdue::Unread)),
            deaf.map(|since| (since + LOOK_EVERY, Overdue::Deaf)),
            head.map(|at| (at, Overdue::Head)),
            reading.map(|at| (at, Overdue::Reading)),
            call.map(|at| (at, Overdue::Call)),
        ];
        all.into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

impl State {
    fn heard(&mut self, bytes: &[u8], now: Instant) {
        match &mut self.speech {
            Speech::Unknown(heard) => {
                let expected = PREFACE.get(*heard..).unwrap_or_default();
                let length = bytes.len().min(expected.len());
                let (beginning, rest) = bytes.split_at(length);
                if !expected.starts_with(beginning) {
                    self.speech = Speech::Http1;
                } else if length == expected.len() {
                    self.speech = Speech::Http2(Frames::default());
                    self.head_since = None;
                    if !rest.is_empty() {
                        self.heard(rest, now);
                    }
                    return;
                } else {
                    *heard += length;
                }
                self.head_since.get_or_insert(now);
            }
            // What comes meanwhile is a body, or the next head, which is looked at when its turn has come.
            Speech::Http1 if self.calls > 0 => {}
            Speech::Http1 => {
                self.head_since.get_or_insert(now);
            }
            Speech::Http2(frames) => {
                let has_finished = frames.feed(bytes);
                if has_finished || !frames.is_in_head() {
                    self.head_since = None;
                }
                if frames.is_in_head() {
                    self.head_since.get_or_insert(now);
                }
            }
        }
    }
}

/// Tells the driver of a connection what is overdue. One timer, which is seldom set: most connections never need it.
pub(super) struct Alarm {
    pulse: Arc<Pulse>,
    timer: Pin<Box<Sleep>>,
}

impl Alarm {
    pub(super) fn new(pulse: &Arc<Pulse>) -> Self {
        Self {
            pulse: Arc::clone(pulse),
            timer: Box::pin(tokio::time::sleep(pulse.limits.head_timeout)),
        }
    }

    /// Waits until something is overdue. To be asked after each look at the connection, in the same task.
    pub(super) async fn overdue(&mut self) -> Overdue {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Overdue> {
        loop {
            let due = self.pulse.due();
            if let Some((at, _)) = due
                && at < self.timer.deadline()
            {
                self.timer.as_mut().reset(at);
            }
            ready!(self.timer.as_mut().poll(cx));
            let now = clock::monotonic();
            match due {
                Some((at, overdue)) if at <= now => return Poll::Ready(overdue),
                Some((at, _)) => self.timer.as_mut().reset(at),
                // Whatever begins now is not overdue before.
                None => {
                    let limits = &self.pulse.limits;
                    let soonest = limits.idle_timeout.min(limits.send_timeout);
                    self.timer
                        .as_mut()
                        .reset(now + soonest.min(limits.head_timeout));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pulse() -> Arc<Pulse> {
        Pulse::new(Limits::default())
    }

    async fn overdue(pulse: &Arc<Pulse>) -> (Overdue, u64) {
        let before = clock::monotonic();
        let overdue = Alarm::new(pulse).overdue().await;
        (overdue, before.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_heads_have_their_own_times() {
        let idle = pulse();
        assert_eq!(overdue(&idle).await, (Overdue::Call, 75));
        for beginning in ["P", "PRI * HT", "GET / HTTP/1.1\r\nx: "] {
            let slow = pulse();
            slow.heard(beginning.as_bytes());
            tokio::time::advance(Duration::from_secs(4)).await;
            // A byte now and then does not help.
            slow.heard(b"x");
            assert_eq!(overdue(&slow).await, (Overdue::Head, 6), "{beginning}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_not_hurried_and_then_the_time_begins_anew() {
        let pulse = pulse();
        pulse.heard(b"GET / HTTP/1.1\r\n\r\n");
        let call = pulse.begin();
        pulse.heard(b"a body");
        pulse.listens();
        let waiting = tokio::time::timeout(Duration::from_secs(3_600), overdue(&pulse));
        waiting.await.unwrap_err();
        drop(call);
        assert_eq!(overdue(&pulse).await, (Overdue::Call, 75));
        pulse.heard(b"G");
        assert_eq!(overdue(&pulse).await, (Overdue::Head, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_not_heard_to_the_end_is_looked_at_now_and_then() {
        let pulse = pulse();
        pulse.heard(b"GET / HTTP/1.1\r\n\r\nGET");
        let _call = pulse.begin();
        for _ in 0..3 {
            assert_eq!(overdue(&pulse).await, (Overdue::Deaf, 0));
            assert!(!pulse.is_to_look());
            pulse.look();
            assert!(pulse.is_to_look() && !pulse.is_to_look());
        }
        pulse.listens();
        let waiting = tokio::time::timeout(Duration::from_secs(3_600), overdue(&pulse));
        waiting.await.unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_overdue_and_who_takes_a_little_is_not() {
        let pulse = pulse();
        let _call = pulse.begin();
        pulse.wrote(true);
        tokio::time::advance(Duration::from_secs(50)).await;
        pulse.wrote(true);
        assert_eq!(overdue(&pulse).await, (Overdue::Reading, 10));
        pulse.wrote(false);
        pulse.wrote(true);
        assert_eq!(overdue(&pulse).await, (Overdue::Reading, 60));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_told_to_go_has_a_second_and_its_call_has_its_time() {
        let idle = pulse();
        tokio::time::advance(Duration::from_secs(20)).await;
        idle.dismiss();
        assert_eq!(overdue(&idle).await, (Overdue::Call, 1));
        let slow = pulse();
        slow.heard(b"GET");
        slow.dismiss();
        assert_eq!(overdue(&slow).await, (Overdue::Head, 1));
        let busy = pulse();
        let call = busy.begin();
        busy.dismiss();
        let waiting = tokio::time::timeout(Duration::from_secs(3_600), overdue(&busy));
        waiting.await.unwrap_err();
        drop(call);
        assert_eq!(overdue(&busy).await, (Overdue::Call, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn in_http_2_a_head_is_a_block_of_fields() {
        let pulse = pulse();
        pulse.heard(&PREFACE[..10]);
        pulse.heard(&PREFACE[10..]);
        // SETTINGS, and a call that is under way.
        pulse.heard(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
        assert!(!pulse.is_in_head());
        let _call = pulse.begin();
        // HEADERS without END_HEADERS.
        pulse.heard(&[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82]);
        pulse.listens();
        assert_eq!(overdue(&pulse).await, (Overdue::Head, 10));
        // CONTINUATION with END_HEADERS, and the beginning of the next.
        pulse.heard(&[0, 0, 1, 9, 4, 0, 0, 0, 1, 0x84, 0]);
        pulse.listens();
        assert_eq!(overdue(&pulse).await, (Overdue::Head, 10));
    }
}
