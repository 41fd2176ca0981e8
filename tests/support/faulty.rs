//! A provider that goes wrong, as data: what it does on each connection, act by act.

use std::io;
use std::time::Duration;

use super::upstream::{Peer, Upstream};

/// One act of a provider on a connection.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Reads one whole request and records it.
    Read,
    /// Reads a head, and leaves the body where it is.
    ReadHead,
    /// Says these bytes at once.
    Say(Vec<u8>),
    /// Says these bytes one by one, so far apart.
    Drip(Vec<u8>, Duration),
    /// Says a piece over and over until nobody listens.
    Babble(Vec<u8>),
    /// Gives what was said time to arrive, so that a reset does not overtake it.
    Settle,
    /// Says nothing more, and keeps the connection until the other side is gone.
    Stall,
    /// Ends the connection with a RST. Without this or `Stall` the script's end closes it in good order.
    Reset,
}

pub(crate) fn say(words: impl Into<Vec<u8>>) -> Act {
    Act::Say(words.into())
}

/// Runs the acts on every connection.
pub(crate) async fn playing(acts: Vec<Act>) -> Upstream {
    Upstream::scripted(move |peer, _| play(peer, acts.clone())).await
}

async fn play(mut peer: Peer, acts: Vec<Act>) -> io::Result<()> {
    for act in acts {
        match act {
            Act::Read => drop(peer.request().await?),
            Act::ReadHead => drop(peer.head().await?),
            Act::Say(words) => peer.write(words).await?,
            Act::Drip(words, pause) => {
                for byte in words {
                    peer.write([byte]).await?;
                    tokio::time::sleep(pause).await;
                }
            }
            Act::Babble(words) => loop {
                peer.write(&words).await?;
            },
            Act::Settle => tokio::time::sleep(Duration::from_millis(30)).await,
            Act::Stall => loop {
                peer.more().await?;
            },
            Act::Reset => return peer.reset(),
        }
    }
    Ok(())
}

/// What a caller must see of a fault.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seen {
    /// This whole body, with a 200.
    Whole(&'static str),
    /// The provider's head, and then a transfer that is visibly broken.
    Broken,
    /// Headroom's own answer, with the word of its `Proxy-Status`.
    Failed(u16, &'static str),
}

/// A provider that does this, and what its caller sees.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) acts: Vec<Act>,
    pub(crate) seen: Seen,
}

const SIZED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const PROTOCOL: Seen = Seen::Failed(502, "http_protocol_error");
const TERMINATED: Seen = Seen::Failed(502, "connection_terminated");
const SILENT: Seen = Seen::Failed(504, "http_response_timeout");

/// Everything that a provider was thought capable of. Each reads a request first, unless the name says otherwise.
pub(crate) fn faults() -> Vec<Fault> {
    use Act::{Babble, Drip, Read, ReadHead, Reset, Settle, Stall};
    use Seen::{Broken, Whole};
    let moment = Duration::from_millis(1);
    let head = |fields: &str| say(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
    let many = |count: usize| {
        (0..count)
            .map(|one| format!("x-{one}: v\r\n"))
            .collect::<String>()
    };
    let table: Vec<(&'static str, Vec<Act>, Seen)> = vec![
        // Before the head.
        ("closes without a word", vec![Read], TERMINATED),
        ("resets without a word", vec![Read, Reset], TERMINATED),
        ("resets before it has read", vec![ReadHead, Reset], TERMINATED),
        ("says nothing", vec![Read, Stall], SILENT),
        ("drips a head for ever", vec![Read, Drip(b"HTTP/1.1 200 OK\r\nx: ".repeat(1_000), moment * 20)], SILENT),
        ("ends in the head", vec![Read, say("HTTP/1.1 200 OK\r\nx: y")], TERMINATED),
        ("resets in the head", vec![Read, say("HTTP/1.1 200 OK\r\nx: y"), Settle, Reset], TERMINATED),
        ("a head without end", vec![Read, say("HTTP/1.1 200 OK\r\nx: "), Babble(vec![b'v'; 65_536])], PROTOCOL),
        ("a head of 1 MiB", vec![Read, head(&format!("x: {}\r\n", "v".repeat(1 << 20))), Stall], PROTOCOL),
        ("1,000 fields", vec![Read, head(&format!("{}content-length: 0\r\n", many(1_000))), Stall], PROTOCOL),
        ("garbage", vec![Read, say("\0\x01\x02garbage\r\n\r\n")], PROTOCOL),
        ("HTTP/0.9", vec![Read, say("<html>hello</html>\r\n\r\n")], PROTOCOL),
        ("another version", vec![Read, say("HTTP/3.7 200 OK\r\n\r\n")], PROTOCOL),
        ("no number", vec![Read, say("HTTP/1.1 abc OK\r\n\r\n")], PROTOCOL),
        ("a number too large", vec![Read, say("HTTP/1.1 2000 OK\r\n\r\n")], PROTOCOL),
        ("NUL in a value", vec![Read, head("x: a\0b\r\ncontent-length: 0\r\n")], PROTOCOL),
        ("a space in a name", vec![Read, head("x y: z\r\ncontent-length: 0\r\n")], PROTOCOL),
        ("a folded line", vec![Read, head("x: a\r\n b\r\ncontent-length: 0\r\n")], PROTOCOL),
        // Lengths.
        ("two lengths that differ", vec![Read, head("content-length: 1\r\ncontent-length: 2\r\n"), say("xx")], PROTOCOL),
        ("a length with a sign", vec![Read, head("content-length: +2\r\n"), say("xx")], PROTOCOL),
        ("a length in hexadecimal", vec![Read, head("content-length: 0x2\r\n"), say("xx")], PROTOCOL),
        ("no length in the length", vec![Read, head("content-length:\r\n"), say("xx")], PROTOCOL),
        ("a length beyond numbers", vec![Read, head("content-length: 99999999999999999999\r\n"), say("xx")], PROTOCOL),
        (
            "a length and chunks",
            vec![Read, head("content-length: 3\r\ntransfer-encoding: chunked\r\n"), say("5\r\nhello\r\n0\r\n\r\n"), Stall],
            Whole("hello"),
        ),
        (
            "chunks and a length",
            vec![Read, head("transfer-encoding: chunked\r\ncontent-length: 3\r\n"), say("5\r\nhello\r\n0\r\n\r\n"), Stall],
            Whole("hello"),
        ),
        ("a coding under the chunks", vec![Read, head("transfer-encoding: gzip, chunked\r\n"), say("0\r\n\r\n")], PROTOCOL),
        ("chunks in chunks", vec![Read, head("transfer-encoding: chunked, chunked\r\n"), say("0\r\n\r\n")], PROTOCOL),
        ("no length, ended by closing", vec![Read, head(""), say("hello")], Whole("hello")),
        // In the body.
        ("closes in the body", vec![Read, say(SIZED), say("half")], Broken),
        ("resets in the body", vec![Read, say(SIZED), say("half"), Settle, Reset], Broken),
        ("stalls in the body", vec![Read, say(SIZED), say("half"), Stall], Broken),
        ("no byte of the body", vec![Read, say(SIZED)], Broken),
        ("closes between chunks", vec![Read, say(CHUNKED), say("4\r\nhalf\r\n")], Broken),
        ("closes in a chunk", vec![Read, say(CHUNKED), say("9\r\nhalf")], Broken),
        ("closes before the last line", vec![Read, say(CHUNKED), say("4\r\nhalf\r\n0\r\n")], Broken),
        ("resets between chunks", vec![Read, say(CHUNKED), say("4\r\nhalf\r\n"), Settle, Reset], Broken),
        ("stalls between chunks", vec![Read, say(CHUNKED), say("4\r\nhalf\r\n"), Stall], Broken),
        ("a chunk size that is none", vec![Read, say(CHUNKED), say("4\r\nhalf\r\nzz\r\n"), Stall], Broken),
        ("a chunk size beyond numbers", vec![Read, say(CHUNKED), say("4\r\nhalf\r\nfffffffffffffffff\r\n"), Stall], Broken),
        ("a chunk longer than it says", vec![Read, say(CHUNKED), say("4\r\nhalfway\r\n0\r\n\r\n"), Stall], Broken),
        ("resets a body ended by closing", vec![Read, head(""), say("half"), Settle, Reset], Broken),
        // Slow, and well.
        ("drips a whole answer", vec![Read, Drip([SIZED.as_bytes(), b"0123456789"].concat(), moment)], Whole("0123456789")),
        (
            "chunks with extensions and trailers",
            vec![Read, say(CHUNKED), say("5;a=b;c=\"d\"\r\nhello\r\n0;e\r\nx-sum: 1\r\n\r\n"), Stall],
            Whole("hello"),
        ),
        // Before the answer, and behind it.
        (
            "early hints",
            vec![Read, say("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"), say(SIZED), say("0123456789"), Stall],
            Whole("0123456789"),
        ),
        (
            "interim answers of all kinds",
            vec![Read, say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 199 What\r\n\r\n".repeat(20)), say(SIZED), say("0123456789"), Stall],
            Whole("0123456789"),
        ),
        ("interim answers for ever", vec![Read, Drip(b"HTTP/1.1 102 Processing\r\n\r\n".repeat(1_000), moment)], SILENT),
        (
            "another protocol that nobody asked for",
            vec![Read, say("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"), Stall],
            PROTOCOL,
        ),
        (
            "a second answer that nobody asked for",
            vec![Read, say(SIZED), say("0123456789"), say("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"), Stall],
            Whole("0123456789"),
        ),
        ("more than it said", vec![Read, say(SIZED), say("0123456789and more"), Stall], Whole("0123456789")),
    ];
    let fault = |(name, acts, seen)| Fault { name, acts, seen };
    table.into_iter().map(fault).collect()
}
