//! A provider that does as it is told: it records the exact bytes of each request and answers exact bytes.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What all connections of one upstream share.
#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<String>>,
    connections: AtomicUsize,
}

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    /// Runs `script` for each connection that is accepted, with its number from 0.
    pub(crate) async fn scripted<F>(script: impl Fn(Peer, usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = shared.connections.fetch_add(1, Ordering::SeqCst);
                let peer = Peer {
                    stream,
                    read: Vec::new(),
                    seen: Arc::clone(&shared),
                };
                tokio::spawn(script(peer, number));
            }
        });
        Self {
            address,
            seen,
            task,
        }
    }

    /// Answers each request, on whatever connection, with these bytes, and keeps the connection.
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = Arc::from(answer.into());
        Self::scripted(move |mut peer, _| {
            let answer = Arc::clone(&answer);
            async move {
                loop {
                    peer.request().await?;
                    peer.write(&answer).await?;
                }
            }
        })
        .await
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far, head and body as they came.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// The one request that came.
    pub(crate) fn request(&self) -> String {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:#?}");
        requests[0].clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }
}

/// One connection, from the provider's side.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    read: Vec<u8>,
    seen: Arc<Seen>,
}

impl Peer {
    /// Reads one whole request, framed by Content-Length or chunks, and records it.
    pub(crate) async fn request(&mut self) -> io::Result<String> {
        let head_end = self.head().await?;
        let head = String::from_utf8_lossy(&self.read[..head_end]).to_ascii_lowercase();
        let end = if let Some(length) = field(&head, "content-length") {
            head_end + length.parse::<usize>().unwrap()
        } else if head.contains("transfer-encoding: chunked") {
            loop {
                let body = &self.read[head_end..];
                // The last chunk, then trailers or nothing.
                if body.starts_with(b"0\r\n") || find(body, b"\r\n0\r\n").is_some() {
                    let last = if body.starts_with(b"0\r\n") {
                        0
                    } else {
                        find(body, b"\r\n0\r\n").unwrap() + 2
                    };
                    if let Some(end) = find(&body[last..], b"\r\n\r\n") {
                        break head_end + last + end + 4;
                    }
                }
                self.more().await?;
            }
        } else {
            head_end
        };
        while self.read.len() < end {
            self.more().await?;
        }
        let request: Vec<u8> = self.read.drain(..end).collect();
        let request = String::from_utf8_lossy(&request).into_owned();
        self.seen.requests.lock().unwrap().push(request.clone());
        Ok(request)
    }

    /// Reads to the end of a head; the body stays unread.
    pub(crate) async fn head(&mut self) -> io::Result<usize> {
        loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                return Ok(end + 4);
            }
            self.more().await?;
        }
    }

    /// Bytes that have come and that nobody has taken.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.read
    }

    pub(crate) async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    pub(crate) async fn write(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref()).await
    }

    /// Ends the connection with a RST.
    pub(crate) fn reset(self) -> io::Result<()> {
        self.stream.set_zero_linger()
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}
