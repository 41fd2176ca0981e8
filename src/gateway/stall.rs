//! A connection to a provider as it is written to: what the provider takes nothing of for too long is an error. hyper (of
//! HTTP/2) looks at nothing else while it has something to write, and so keeps a connection for a call that nobody waits for any
//! more, with all that was to be sent on it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Beyond the time for an answer, so that calls somebody waits for end by that.
const LATER: Duration = Duration::from_secs(5);

/// A connection.
pub(super) struct Stall<S> {
    stream: S,
    patience: Duration,
    /// Since the other side took something last; only while it is waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// Has the system throw away what is not sent.
    reset: fn(&S),
}

impl<S> Stall<S> {
    /// One to a provider that has so long for an answer. `reset` has the system throw away what is not sent.
    pub(super) const fn new(stream: S, answer_timeout: Duration, reset: fn(&S)) -> Self {
        Self {
            stream,
            reset,
            patience: answer_timeout.saturating_add(LATER),
            timer: None,
        }
    }

    /// The connection itself.
    pub(super) const fn get_ref(&self) -> &S {
        &self.stream
    }

    fn watched<T>(
        &mut self,
        wrote: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.timer = None;
            return wrote;
        }
        let patience = self.patience;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        let over = timer.as_mut().poll(cx);
        over.map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Else the provider would hear of the end only behind all that it does not take.
impl<S> Drop for Stall<S> {
    fn drop(&mut self) {
        if self.timer.is_some() {
            (self.reset)(&self.stream);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stall<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stall<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watched(wrote, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.watched(wrote, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watched(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watched(ended, cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::clock;

    #[tokio::test(start_paused = true)]
    async fn what_nobody_takes_is_an_error_in_time_and_what_is_slow_is_none() {
        let (near, mut far) = tokio::io::duplex(10);
        let mut stall = Stall::new(near, Duration::from_secs(20), |_| {});
        let mut write =
            async || poll_fn(|cx| Pin::new(&mut stall).poll_write(cx, b"0123456789")).await;
        assert_eq!(write().await.unwrap(), 10);
        // A piece every 20 s.
        let reading = tokio::spawn(async move {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                far.read_exact(&mut [0; 10]).await.unwrap();
            }
            far
        });
        for _ in 0..3 {
            assert_eq!(write().await.unwrap(), 10);
        }
        let _far = reading.await.unwrap();
        let before = clock::monotonic();
        assert_eq!(write().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(before.elapsed().as_secs(), 25);
    }
}
