//! The side towards callers: one call after the other on a connection, each answered before the next is looked at.
//!
//! Whoever drives the connection reads heads, has the calls answered, and writes the answers. The body of a request is read by
//! its call, which may go on elsewhere, so both share the connection; of a call without a body nobody else has any of it.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::AsyncWrite;

use super::head::Bounds;
use super::intake::{Intake, poll_read};
use super::outbound::{Failed, Outbound};
use super::reply;
use super::request::{Reading, Terms, Unfit};
use crate::gateway::body::{Attended, Body, BoxError};
use crate::gateway::greeting::Greeting;
use crate::gateway::heads::{Reply, RequestHead};

/// What a caller is told who waits for that before it sends a body (RFC 9110, section 15.2.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Who answers what is asked on a connection.
pub(in crate::gateway) trait Host {
    /// A call that is being answered.
    type Call: Future<Output = Reply<Attended>> + Unpin;

    /// Begins to answer a request; without a body where it has none.
    fn call(&self, head: RequestHead, body: Option<Inflow>) -> Self::Call;

    /// The answer to what is no request.
    fn refuse(&self, unfit: Unfit) -> Reply<Body>;
}

/// A caller's connection.
pub(in crate::gateway) struct Serving<H: Host> {
    host: H,
    bounds: Bounds,
    wire: Arc<Mutex<Wire>>,
    step: Step<H::Call>,
    /// It is to end with what is under way.
    is_last: bool,
}

enum Step<C> {
    /// A head is waited for.
    Head(Reading),
    Call(C, Terms),
    /// An answer is written; whether the connection ends with it.
    Answer(Box<Outbound<Attended>>, bool),
    /// It is written; the same.
    Answered(bool),
    /// Nothing more is said.
    Over,
}

/// What a call and its connection share.
struct Wire {
    line: Greeting,
    /// The body of the request, and what has come behind it.
    intake: Intake,
    /// How many requests had a body: whoever reads an earlier one has nothing to do with this.
    turn: u64,
    /// The body's call may read on.
    is_wanted: bool,
    /// What the caller waits for before it sends its body, as far as it is not written.
    interim: &'static [u8],
    /// Whoever drives the connection, to be woken when the body is not read any more.
    waiter: Option<Waker>,
}

/// The body of a request.
pub(in crate::gateway) struct Inflow {
    wire: Arc<Mutex<Wire>>,
    turn: u64,
}

fn lock(wire: &Mutex<Wire>) -> MutexGuard<'_, Wire> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<H: Host> Serving<H> {
    pub(in crate::gateway) fn new(line: Greeting, bounds: Bounds, host: H) -> Self {
        let wire = Wire {
            line,
            intake: Intake::none(),
            turn: 0,
            is_wanted: false,
            interim: &[],
            waiter: None,
        };
        Self {
            host,
            bounds,
            wire: Arc::new(Mutex::new(wire)),
            step: Step::Head(Reading::default()),
            is_last: false,
        }
    }

    /// Ends it after the call that is under way.
    pub(in crate::gateway) const fn end(&mut self) {
        self.is_last = true;
    }

    /// Goes on until it is over.
    ///
    /// # Errors
    /// It did not end well.
    pub(in crate::gateway) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        loop {
            self.step = match &mut self.step {
                Step::Head(_) => match self.poll_head(cx)? {
                    Poll::Ready(step) => step,
                    Poll::Pending if self.is_last && self.has_nothing() => Step::Over,
                    Poll::Pending => return Poll::Pending,
                },
                Step::Call(call, terms) => match Pin::new(call).poll(cx) {
                    Poll::Ready(answer) => {
                        let is_last = self.is_last || lock(&self.wire).is_cut();
                        let (outbound, is_last) = reply::outbound(answer, *terms, is_last);
                        self.begin_answer(outbound, is_last)
                    }
                    Poll::Pending => {
                        lock(&self.wire).listen(cx)?;
                        return Poll::Pending;
                    }
                },
                Step::Answer(outbound, is_last) => match outbound.poll(&mut Pen(&self.wire), cx) {
                    Poll::Ready(Ok(())) => Step::Answered(*is_last),
                    Poll::Ready(Err(Failed::Connection(error))) => {
                        return Poll::Ready(Err(error.into()));
                    }
                    Poll::Ready(Err(Failed::Body(error))) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        lock(&self.wire).listen(cx)?;
                        return Poll::Pending;
                    }
                },
                Step::Answered(is_last) => {
                    let mut wire = lock(&self.wire);
                    if *is_last {
                        ready!(Pin::new(&mut wire.line).poll_shutdown(cx))?;
                    }
                    if wire.is_read() {
                        wire.look_and_wait(cx)?;
                        return Poll::Pending;
                    }
                    if *is_last || wire.is_cut() {
                        Step::Over
                    } else {
                        Step::Head(Reading::default())
                    }
                }
                Step::Over => return Poll::Ready(Ok(())),
            };
        }
    }

    /// Nothing of a head has come.
    fn has_nothing(&self) -> bool {
        matches!(&self.step, Step::Head(reading) if reading.is_empty())
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Step<H::Call>>> {
        let Step::Head(reading) = &mut self.step else {
            return Poll::Pending;
        };
        let mut wire = lock(&self.wire);
        let (head, rest) = loop {
            // What came behind the last call is the beginning.
            let came = std::mem::take(wire.intake.rest());
            let fed = if came.is_empty() {
                let feed = |came: &[u8]| reading.feed_read(came, self.bounds);
                match ready!(poll_read(&mut wire.line, cx, feed))? {
                    Some(fed) => fed,
                    // A head that breaks off is no call.
                    None => return Poll::Ready(Ok(Step::Over)),
                }
            } else {
                reading.feed(came, self.bounds)
            };
            match fed {
                Ok(Some(read)) => break read,
                Ok(None) => {}
                Err(unfit) => {
                    tracing::debug!(why = ?unfit, "A caller's head is not taken.");
                    let refusal = reply::refusal(self.host.refuse(unfit));
                    let outbound = Box::new(Outbound::whole(refusal));
                    return Poll::Ready(Ok(Step::Answer(outbound, true)));
                }
            }
        };
        let has_body = !head.body.is_done();
        wire.intake = Intake::new(head.body, rest, self.bounds.fields);
        wire.is_wanted = has_body;
        wire.interim = if head.expects { CONTINUE } else { &[] };
        wire.turn += u64::from(has_body);
        let turn = wire.turn;
        drop(wire);
        let body = has_body.then(|| Inflow {
            wire: Arc::clone(&self.wire),
            turn,
        });
        let call = self.host.call(head.head, body);
        Poll::Ready(Ok(Step::Call(call, head.terms)))
    }

    fn begin_answer(&self, mut outbound: Outbound<Attended>, is_last: bool) -> Step<H::Call> {
        // Who is answered need not be told to go on; what has begun is said to its end.
        let interim = std::mem::take(&mut lock(&self.wire).interim);
        if (1..CONTINUE.len()).contains(&interim.len()) {
            outbound.put_before(interim);
        }
        Step::Answer(Box::new(outbound), is_last)
    }
}

/// Writes on the connection. It is not locked while an answer is looked at: that may be where its request's body is let go.
struct Pen<'a>(&'a Mutex<Wire>);

impl AsyncWrite for Pen<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut lock(self.0).line).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut lock(self.0).line).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(self.0).line).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(self.0).line).poll_shutdown(cx)
    }
}

impl Wire {
    /// A call reads the body, or is to.
    const fn is_read(&self) -> bool {
        self.is_wanted && !self.intake.is_done()
    }

    /// A body was broken, or nobody reads the rest of it: what follows cannot be told from it.
    const fn is_cut(&self) -> bool {
        !self.is_wanted && !self.intake.is_done()
    }

    /// Hears whether the caller goes. What else it says is for later: a piece of it is kept, and then the pulse watches instead.
    fn listen(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.is_read() {
            return self.look_and_wait(cx);
        }
        // Behind a body that is not read to its end there is nothing to listen for.
        while self.intake.is_done() && !self.intake.has_come() {
            match poll_read(&mut self.line, cx, Bytes::copy_from_slice)? {
                Poll::Pending => break,
                Poll::Ready(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(Some(came)) => *self.intake.rest() = came,
            }
        }
        self.line.look()
    }

    /// Whoever reads the body hears whether the caller goes, as long as it reads.
    fn look_and_wait(&mut self, cx: &Context<'_>) -> io::Result<()> {
        match &mut self.waiter {
            Some(waiter) => waiter.clone_from(cx.waker()),
            waiter => *waiter = Some(cx.waker().clone()),
        }
        self.line.look()
    }

    /// Who waits for the end of the body is told, unless it is the one who asks.
    fn wake(&mut self, but: Option<&Context<'_>>) {
        let waiter = self.waiter.take();
        if let Some(waiter) =
            waiter.filter(|waiter| but.is_none_or(|cx| !waiter.will_wake(cx.waker())))
        {
            waiter.wake();
        }
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.interim.is_empty() {
            match ready!(Pin::new(&mut self.line).poll_write(cx, self.interim))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.interim.advance(length),
            }
            if self.interim.is_empty() {
                ready!(Pin::new(&mut self.line).poll_flush(cx))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Frame<Bytes>>>> {
        if self.intake.has_come() {
            // Who sends does not wait to be told.
            if self.interim.len() == CONTINUE.len() {
                self.interim = &[];
            }
        }
        ready!(self.poll_interim(cx))?;
        self.intake.poll_next(Some(&mut self.line), cx)
    }
}

impl Inflow {
    /// The connection, while what comes on it is this body.
    fn wire(&self) -> Option<MutexGuard<'_, Wire>> {
        let wire = lock(&self.wire);
        (wire.turn == self.turn && wire.is_wanted).then_some(wire)
    }
}

impl HttpBody for Inflow {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let Some(mut wire) = self.wire() else {
            return Poll::Ready(None);
        };
        let next = ready!(wire.poll_body(cx));
        if next.is_err() {
            // Nothing follows what is broken: it is not read on, and not at its end.
            wire.is_wanted = false;
        }
        if !wire.is_read() {
            wire.wake(Some(cx));
        }
        Poll::Ready(next.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.wire().is_none_or(|wire| wire.intake.is_done())
    }

    fn size_hint(&self) -> SizeHint {
        let none = SizeHint::with_exact(0);
        self.wire().map_or(none, |wire| wire.intake.size_hint())
    }
}

impl Drop for Inflow {
    fn drop(&mut self) {
        if let Some(mut wire) = self.wire() {
            wire.is_wanted = false;
            wire.wake(None);
        }
    }
}
