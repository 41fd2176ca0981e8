//! The gateway itself before a provider who answers with any bytes.
//!
//! The caller gets one well-formed answer or none, and an end. What is an answer to a strict reader reaches it byte for byte; what
//! breaks off does not look whole.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::request::{PATIENCE, check_answers, connection, panics, runtime, serve};
use super::wire::{Framing, Head};

/// The first byte says in how long pieces the others are sent.
pub(crate) fn run(data: &[u8]) {
    thread_local! {
        static SITE: Site = Site::new();
    }
    let Some((size, answer)) = data.split_first() else {
        return;
    };
    let pieces = answer
        .chunks(usize::from(*size).max(1))
        .map(<[u8]>::to_vec)
        .collect();
    let before = panics();
    let got = SITE.with(|site| {
        *site.pieces.lock().unwrap_or_else(PoisonError::into_inner) = pieces;
        site.runtime.block_on(call(site.address))
    });
    assert_eq!(before, panics(), "a panic at {}", data.escape_ascii());
    if let Err(why) = check(answer, &got) {
        panic!("{why}: {} of {}", got.escape_ascii(), data.escape_ascii());
    }
}

type Pieces = Arc<Mutex<Vec<Vec<u8>>>>;

struct Site {
    runtime: Runtime,
    address: SocketAddr,
    pieces: Pieces,
}

impl Site {
    fn new() -> Self {
        let runtime = runtime();
        let pieces = Pieces::default();
        let address = runtime.block_on(async {
            let provider = TcpListener::bind("127.0.0.1:0").await?;
            let base_url = format!("http://{}", provider.local_addr()?);
            let pieces = Arc::clone(&pieces);
            tokio::spawn(async move {
                while let Ok((stream, _)) = provider.accept().await {
                    let pieces = pieces
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .clone();
                    tokio::spawn(provide(stream, pieces));
                }
            });
            serve(vec![connection("open", "\"bearer\"", false, &base_url)]).await
        });
        Self {
            runtime,
            address: address.expect("a gateway"),
            pieces,
        }
    }
}

async fn provide(mut stream: TcpStream, pieces: Vec<Vec<u8>>) {
    let mut request = [0; 4096];
    if stream.read(&mut request).await.is_ok() {
        for piece in pieces {
            // Who has understood enough takes no more.
            if stream.write_all(&piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn call(address: SocketAddr) -> Vec<u8> {
    let mut caller = TcpStream::connect(address).await.expect("a connection");
    caller.set_zero_linger().expect("an open socket");
    let request = b"GET /open/x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    caller.write_all(request).await.expect("an open socket");
    let mut got = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, caller.read_to_end(&mut got)).await;
    assert!(ended.is_ok(), "no end");
    got
}

fn check(answer: &[u8], got: &[u8]) -> Result<(), String> {
    check_answers(got, false)?;
    let head = Head::read(got)?.ok_or("no head")?;
    let is_own = head.all("headroom-source").is_empty() || !head.all("proxy-status").is_empty();
    // To other readers than a strict one it may be an answer or none.
    let Ok(Some(sent)) = Head::read(answer) else {
        return Ok(());
    };
    if is_own
        || !sent.first.starts_with("HTTP/1.1 200 ")
        || sent
            .all("content-type")
            .iter()
            .any(|kind| kind.ends_with(b"json"))
    {
        return Ok(());
    }
    let Ok(Framing::Length(length)) = sent.framing() else {
        return Ok(());
    };
    let body = answer.get(sent.length..).unwrap_or_default();
    let body = body.get(..length).unwrap_or(body);
    let passed = got.get(head.length..).unwrap_or_default();
    let is_whole = matches!(head.framing()?, Framing::Length(length) if length == passed.len());
    if body.len() == length && passed != body {
        return Err("another body".to_owned());
    }
    if body.len() < length && is_whole {
        return Err("whole, though the provider's is not".to_owned());
    }
    Ok(())
}
