//! A caller's connection as the server reads and writes it: what passes is told to its [`Pulse`].
//!
//! Where a caller is told that its head is not taken, it may still be writing it. Closing at once would reset the
//! connection, and the caller would not see why; so what is left of such a head is thrown away for a while.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_rustls::server::TlsStream;

use super::pulse::{PREFACE, Pulse};

/// So much of a head that was refused is thrown away, in bytes,
const MOST: usize = 1 << 20;
/// for so long.
const LONGEST: Duration = Duration::from_secs(2);

/// What callers come on.
pub(super) enum Line {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Where both ends are in one process.
    #[cfg(test)]
    Pipe(tokio::io::DuplexStream),
}

impl Line {
    /// The other side has ended it, also where that stands behind what nobody has read yet.
    fn is_gone(&self) -> bool {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
            #[cfg(test)]
            Self::Pipe(_) => return false,
        };
        let ready = pin!(stream.ready(Interest::READABLE));
        // Nobody waits for it: what the system has told so far is enough.
        match ready.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(ready)) => ready.is_read_closed(),
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        }
    }
}

macro_rules! each {
    ($line:expr, $stream:ident => $what:expr) => {
        match $line {
            Line::Plain($stream) => $what,
            Line::Tls($stream) => $what,
            #[cfg(test)]
            Line::Pipe($stream) => $what,
        }
    };
}

impl AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }
}

/// A caller's connection.
pub(super) struct Greeting {
    /// Only gone while this is dropped.
    stream: Option<Line>,
    pulse: Arc<Pulse>,
    /// What was read and is to be read again; the pulse has heard it.
    again: Vec<u8>,
    /// The last word was said.
    is_shut: bool,
}

impl Greeting {
    pub(super) const fn new(stream: Line, pulse: Arc<Pulse>) -> Self {
        Self {
            stream: Some(stream),
            pulse,
            again: Vec::new(),
            is_shut: false,
        }
    }

    /// Hears the caller's first words; whether they are those of HTTP/2. `None`: it has gone without any. They are read again.
    pub(super) fn poll_protocol(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<bool>>> {
        loop {
            if let Some(is_http2) = self.pulse.is_http2() {
                return Poll::Ready(Ok(Some(is_http2)));
            }
            let mut words = [0; PREFACE.len()];
            let missing = words.get_mut(self.again.len()..).unwrap_or_default();
            let mut words = ReadBuf::new(missing);
            ready!(self.poll_line(cx, &mut words))?;
            if words.filled().is_empty() {
                // What it has begun to say is no call; who reads it says so.
                return Poll::Ready(Ok((!self.again.is_empty()).then_some(false)));
            }
            self.again.extend_from_slice(words.filled());
        }
    }

    /// Looks whether the caller is still there, where its [`Pulse`] has that looked at.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn look(&self) -> io::Result<()> {
        if self.pulse.is_to_look() && self.stream.as_ref().is_some_and(Line::is_gone) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    /// Reads what was not read before.
    fn poll_line(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = self.stream()?.poll_read(cx, buf);
        self.pulse
            .heard(buf.filled().get(before..).unwrap_or_default());
        if read.is_pending() {
            self.pulse.listens();
        }
        read
    }

    /// What is read again, as far as there is room.
    fn read_again(&mut self, buf: &mut ReadBuf<'_>) {
        let length = self.again.len().min(buf.remaining());
        let rest = self.again.split_off(length);
        let again = std::mem::replace(&mut self.again, rest);
        buf.put_slice(&again);
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Line>> {
        let stream = self.stream.as_mut().map(Pin::new);
        stream.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn told(&self, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.pulse.wrote(wrote.is_pending());
        wrote
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        let refused = self.is_shut && self.pulse.is_in_head();
        let stream = self.stream.take().filter(|_| refused);
        if let (Some(stream), Ok(runtime)) = (stream, Handle::try_current()) {
            runtime.spawn(throw_away(stream));
        }
    }
}

/// Reads on until the end, or until it is enough.
pub(super) async fn throw_away(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let reading = async {
        stream.shutdown().await?;
        let mut left = MOST;
        let mut buffer = [0; 4096];
        loop {
            let length = stream.read(&mut buffer).await?;
            match left.checked_sub(length) {
                Some(rest) if length > 0 => left = rest,
                _ => return io::Result::Ok(()),
            }
        }
    };
    // However it ended, the connection is closed now.
    let _ = tokio::time::timeout(LONGEST, reading).await;
}

impl AsyncRead for Greeting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.again.is_empty() {
            return self.poll_line(cx, buf);
        }
        self.read_again(buf);
        if buf.remaining() > 0 {
            // With what came behind it, so that one look takes a whole head. If that is an error, the next look finds it too.
            let _ = self.poll_line(cx, buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Greeting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = self.stream()?.poll_write(cx, buf);
        self.told(wrote)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper (of HTTP/2) flushes at each look at a connection, also where it has no room to read on.
        self.look()?;
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut = true;
        self.stream()?.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = self.stream()?.poll_write_vectored(cx, buffers);
        self.told(wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }
}
