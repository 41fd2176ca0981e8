//! The server side: accepting, serving HTTP/1.1 and HTTP/2 on one port, and draining.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Gateway;
use super::conversation::{Conversation, Protocols};
use super::greeting::{Greeting, Line};
use super::pulse::{Alarm, Overdue, Pulse};
use super::reception::Reception;
use super::route::Entrance;
use crate::clock;

/// A socket to accept on.
pub struct Listener {
    /// Bound and listening.
    pub socket: TcpListener,
    /// Every request here is for this connection; `None` for the gateway's main port.
    pub connection: Option<String>,
}

impl Gateway {
    /// Serves until `shutdown` is ready, and for the drain delay after it; then stops accepting and lets the calls in flight
    /// finish, for as long as the drain timeout allows. Calls that only wait for a quota are refused at once ([`super::refusal::Reason::Draining`]).
    pub async fn serve(
        self: Arc<Self>,
        listeners: Vec<Listener>,
        shutdown: impl Future<Output = ()>,
    ) {
        let (stop, stopped) = watch::channel(false);
        let mut doors = JoinSet::new();
        for listener in listeners {
            doors.spawn(Arc::clone(&self).accept(listener, stopped.clone()));
        }
        let keeper = tokio::spawn(keep_house(Arc::clone(&self)));
        let sweeper = tokio::spawn(sweep(Arc::clone(&self)));
        let recorder = tokio::spawn(keep_records(Arc::clone(&self)));
        shutdown.await;
        self.house.draining.store(true, Ordering::Relaxed);
        // Whoever asks for readiness sends its next calls elsewhere, before there is nobody to take them.
        tokio::time::sleep(self.settings.limits.drain_delay).await;
        // A call that waits for its quota was not sent: somebody else can send it, and sooner.
        self.ledger.end_waits();
        self.history.end_listening();
        // Nobody listens any more when there was no listener.
        let _ = stop.send(true);
        while doors.join_next().await.is_some() {}
        keeper.abort();
        sweeper.abort();
        recorder.abort();
        // What it was about to do is not left half done.
        let _aborted = recorder.await;
    }

    async fn accept(self: Arc<Self>, listener: Listener, stopped: watch::Receiver<bool>) {
        let Listener { socket, connection } = listener;
        let entrance = Entrance {
            connection,
            is_secure: self.acceptor.is_some(),
            ..Entrance::default()
        };
        let protocols = Arc::new(Protocols::new(&self.settings.limits));
        let mut callers = JoinSet::new();
        let mut order = stopped.clone();
        loop {
            tokio::select! {
                () = told(&mut order) => break,
                Some(_) = callers.join_next() => {}
                stream = next_caller(&socket) => {
                    let seat = self.crew.seat();
                    let entrance = Arc::new(entrance_of(&entrance, &stream, seat.worker));
                    let (gateway, protocols, stopped) = (Arc::clone(&self), Arc::clone(&protocols), stopped.clone());
                    let serve = |stream| gateway.welcome(stream, entrance, protocols, stopped);
                    self.crew.spawn(&mut callers, stream, seat, serve);
                }
            }
        }
        drop(socket);
        let ending = async { while callers.join_next().await.is_some() {} };
        let drain_timeout = self.settings.limits.drain_timeout;
        if tokio::time::timeout(drain_timeout, ending).await.is_err() {
            tracing::warn!(
                calls.left = callers.len(),
                "The time to finish is over; what is left is cut."
            );
        }
        callers.shutdown().await;
    }

    /// Serves a caller, behind a handshake where TLS is spoken. It has as long for that as for a head.
    async fn welcome(
        self: Arc<Self>,
        stream: TcpStream,
        entrance: Arc<Entrance>,
        protocols: Arc<Protocols>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let Some(acceptor) = &self.acceptor else {
            let line = Line::Plain(stream);
            return self.converse(line, entrance, protocols, stopped).await;
        };
        let patience = self.settings.limits.head_timeout;
        // Boxed, as the conversation below: callers without TLS need no room for it.
        let shaking = Box::pin(acceptor.accept(stream));
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(patience, shaking) => shaken,
            // Nothing was asked yet.
            () = told(&mut stopped) => return,
        };
        match shaken {
            Ok(Ok(stream)) => {
                let line = Line::Tls(Box::new(stream));
                let conversation = Arc::clone(&self).converse(line, entrance, protocols, stopped);
                Box::pin(conversation).await;
            }
            Ok(Err(error)) => tracing::debug!(error = %error, "A caller's handshake failed."),
            Err(_) => tracing::debug!("A caller's handshake took too long."),
        }
    }

    /// Serves one connection until it ends, is overdue, or was let go at the order to stop.
    async fn converse(
        self: Arc<Self>,
        line: Line,
        entrance: Arc<Entrance>,
        protocols: Arc<Protocols>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let pulse = Pulse::new(self.settings.limits);
        let line = Greeting::new(line, Arc::clone(&pulse));
        let mut alarm = Alarm::new(&pulse);
        let reception = Reception::new(self, entrance, Arc::clone(&pulse));
        let mut conversation = Conversation::new(line, reception, protocols);
        let mut dismissed = false;
        let mut order = Order::new(&mut stopped);
        loop {
            tokio::select! {
                biased;
                ended = poll_fn(|cx| conversation.poll(cx)) => {
                    if let Err(error) = ended {
                        tracing::debug!(error = %error, "A caller's connection ended badly.");
                    }
                    return;
                }
                () = &mut order, if !dismissed => {}
                overdue = alarm.overdue() => {
                    match overdue {
                        Overdue::Unread => pulse.take_back(),
                        Overdue::Deaf => pulse.look(),
                        _ => {}
                    }
                    if matches!(overdue, Overdue::Unread | Overdue::Deaf) {
                        continue;
                    }
                    if dismissed || overdue != Overdue::Call {
                        tracing::debug!(overdue = ?overdue, "A caller's connection is cut.");
                        return;
                    }
                }
            }
            dismissed = true;
            pulse.dismiss();
            conversation.end();
        }
    }
}

/// Waits for the order to stop.
async fn told(stopped: &mut watch::Receiver<bool>) {
    // Who could give it is gone only after it was given.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// The same for whoever is woken often. All who wait for the order stand in a few lists, and two threads that look into one wait
/// for each other: so that is done once, and again only when the order has come.
struct Order<'a> {
    stopped: watch::Receiver<bool>,
    told: Pin<Box<dyn Future<Output = ()> + Send + 'a>>,
    waker: Option<Waker>,
}

impl<'a> Order<'a> {
    fn new(stopped: &'a mut watch::Receiver<bool>) -> Self {
        Self {
            stopped: stopped.clone(),
            told: Box::pin(told(stopped)),
            waker: None,
        }
    }
}

impl Future for Order<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let is_waited_for = |waker: &Waker| waker.will_wake(cx.waker());
        // Who could give it is gone only after it was given.
        let is_quiet = self.stopped.has_changed().is_ok_and(|changed| !changed);
        if is_quiet && self.waker.as_ref().is_some_and(is_waited_for) {
            return Poll::Pending;
        }
        self.waker = Some(cx.waker().clone());
        self.told.as_mut().poll(cx)
    }
}

/// Where this caller came in.
fn entrance_of(entrance: &Entrance, stream: &TcpStream, worker: usize) -> Entrance {
    let ip = |address: io::Result<SocketAddr>| address.ok().map(|address| address.ip());
    Entrance {
        worker,
        ..entrance.between(ip(stream.local_addr()), ip(stream.peer_addr()))
    }
}

/// Accepts one connection. While that fails for want of something, as when file descriptors have run out, it waits,
/// longer each time: trying on at once would only take the time that calls in flight need to end.
async fn next_caller(socket: &TcpListener) -> TcpStream {
    const LONGEST: Duration = Duration::from_secs(1);
    let mut wait = Duration::from_millis(5);
    loop {
        match socket.accept().await {
            Ok((stream, _)) => {
                // Answers are small and somebody waits for them. A socket that refuses this is about to fail anyway.
                let _ = stream.set_nodelay(true);
                return stream;
            }
            Err(error) if is_callers_fault(&error) => {}
            Err(error) => {
                tracing::warn!(error = %error, wait_ms = wait.as_millis(), "Accepting failed; waiting.");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST);
            }
        }
    }
}

/// The caller was gone before it was accepted; the next one need not wait for that.
fn is_callers_fault(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// What a crash may forget of the provider's words is a second's worth.
const FLUSH_EVERY: Duration = Duration::from_secs(1);
/// Between two sweeps of all meters.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Between two steps of a sweep, fifty times as long as the last one took: there may be a million meters, and callers do not wait
/// for them. A step that took long because all of the machine stood still is no reason to sweep less.
fn rest_after(took: Duration) -> Duration {
    took.saturating_mul(50).min(SWEEP_EVERY)
}

/// Who looks at the live stream sees a call so long after its end, at the most.
const RECORD_EVERY: Duration = Duration::from_millis(250);

/// Names that nobody uses any more are forgotten so often.
const NAMES_EVERY: Duration = Duration::from_secs(86_400);

/// Writes what was called.
async fn keep_records(gateway: Arc<Gateway>) {
    let mut renewed = clock::monotonic();
    loop {
        tokio::time::sleep(RECORD_EVERY).await;
        let now_ms = clock::now().as_millisecond();
        gateway.history.flush(now_ms).await;
        if clock::monotonic().duration_since(renewed) >= NAMES_EVERY {
            renewed = clock::monotonic();
            if let Err(error) = gateway.history.renew_names(now_ms).await {
                tracing::warn!(error = %error, "Names that nobody uses any more are not forgotten.");
            }
        }
    }
}

/// Writes what changed.
async fn keep_house(gateway: Arc<Gateway>) {
    loop {
        tokio::time::sleep(FLUSH_EVERY).await;
        gateway.ledger.flush(clock::moment()).await;
    }
}

/// Forgets what is over.
async fn sweep(gateway: Arc<Gateway>) {
    // A round that panics is not the last one. Whoever ends this ends the round.
    let mut round = JoinSet::new();
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        round.spawn(sweep_once(Arc::clone(&gateway)));
        if let Some(Err(error)) = round.join_next().await {
            tracing::error!(error = %error, "Not all meters could be swept.");
        }
    }
}

async fn sweep_once(gateway: Arc<Gateway>) {
    let mut next = Some(0);
    while let Some(part) = next {
        let begun = clock::monotonic();
        next = gateway.ledger.sweep_part(part, clock::moment());
        let took = clock::monotonic().duration_since(begun);
        tokio::time::sleep(rest_after(took)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeping_takes_a_fiftieth_of_a_thread_but_goes_on() {
        for (took_us, rest_us) in [(0, 0), (200, 10_000), (600_000, 30_000_000)] {
            let rest = rest_after(Duration::from_micros(took_us));
            assert_eq!(rest, Duration::from_micros(rest_us), "{took_us}");
        }
        for took in [Duration::from_secs(600), Duration::MAX] {
            assert_eq!(rest_after(took), SWEEP_EVERY);
        }
    }
}
