//! HTTP/2 as bytes (RFC 9113), for callers that no client would be.

use tokio::io::AsyncReadExt;

use super::harness::{Caller, PATIENCE};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The preface and empty settings.
pub(crate) fn opening() -> Vec<u8> {
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(),
        &frame(SETTINGS, 0, 0, &[]),
    ]
    .concat()
}

/// A length in HPACK behind a byte of seven bits (RFC 7541, section 5.1).
fn length(length: usize) -> Vec<u8> {
    let Some(mut rest) = length.checked_sub(127) else {
        return vec![u8::try_from(length).unwrap()];
    };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// A block of fields, each a literal that is not indexed: any bytes can be said.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.extend(length(text.len()));
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A call without a body.
pub(crate) fn call(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(fields))
}

/// What a server said, as kinds of frames.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The first byte of a head of an answer tells the common statuses (RFC 7541, appendix A).
    pub(crate) statuses: Vec<u8>,
    pub(crate) resets: usize,
    pub(crate) goaway: bool,
    pub(crate) closed: bool,
}

impl Said {
    /// A call was not taken, one way or another.
    pub(crate) fn refused(&self) -> bool {
        let is_200 = |status: &u8| *status == 0x88;
        !self.statuses.iter().any(is_200)
            && (self.resets > 0 || self.goaway || self.closed || !self.statuses.is_empty())
    }
}

/// Listens until something was said of a call, or the end.
pub(crate) async fn listen(caller: &mut Caller) -> Said {
    let mut said = Said::default();
    let reading = async {
        loop {
            let mut header = [0; 9];
            if caller.stream.read_exact(&mut header).await.is_err() {
                said.closed = true;
                return;
            }
            let [a, b, c, kind, ..] = header;
            let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
            if caller.stream.read_exact(&mut payload).await.is_err() {
                said.closed = true;
                return;
            }
            match kind {
                HEADERS => said.statuses.push(payload[0]),
                RESET => said.resets += 1,
                GOAWAY => said.goaway = true,
                _ => continue,
            }
            return;
        }
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .expect("a word");
    said
}
