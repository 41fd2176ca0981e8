//! The first bytes of a connection: they say whether it is HTTP/1.1 or HTTP/2, and they must come in time.
//!
//! hyper times the heads of HTTP/1.1 requests, but not the moment before it knows which protocol it speaks: without
//! this, a connection that says nothing, or half of HTTP/2's preface, would stay open for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::farewell::Line;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A caller's connection.
pub(super) struct Greeting {
    stream: TcpStream,
    line: Arc<Line>,
    /// Bytes of the preface that have come; nothing to wait for once it is whole or another word was said.
    heard: usize,
    patience: Option<Pin<Box<Sleep>>>,
}

impl Greeting {
    pub(super) fn new(stream: TcpStream, line: Arc<Line>, patience: Duration) -> Self {
        Self {
            stream,
            line,
            heard: 0,
            patience: Some(Box::pin(tokio::time::sleep(patience))),
        }
    }

    fn listen(&mut self, words: &[u8]) {
        let expected = &PREFACE[self.heard..];
        let length = words.len().min(expected.len());
        self.heard += length;
        let is_other = words[..length] != expected[..length];
        if is_other || self.heard == PREFACE.len() {
            self.patience = None;
            if !is_other {
                self.line.is_http2();
            }
        }
    }
}

impl AsyncRead for Greeting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_ready() {
            self.line.heard();
        }
        if self.patience.is_none() {
            return read;
        }
        if read.is_ready() {
            self.listen(&buf.filled()[before..]);
            return read;
        }
        let out_of_patience = self
            .patience
            .as_mut()
            .is_some_and(|patience| patience.as_mut().poll(cx).is_ready());
        if out_of_patience {
            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
        } else {
            Poll::Pending
        }
    }
}

impl AsyncWrite for Greeting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.line.wrote(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
        self.line.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
