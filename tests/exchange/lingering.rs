//! Callers that write their whole request before they look for an answer, where the answer is there before.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::exchange::{fields, status};
use crate::support::harness::{Caller, Harness, PATIENCE};

const MIB: usize = 1 << 20;

/// A caller as simple as they come: blocking, and deaf while it writes.
struct Deaf {
    stream: TcpStream,
}

impl Deaf {
    /// Sends a head, and waits until it is answered.
    fn begin(address: SocketAddr, head: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.peek(&mut [0]).unwrap();
        // Time to close, for whoever would close now.
        std::thread::sleep(Duration::from_millis(50));
        Self { stream }
    }

    /// One answer whose body is as long as it says.
    fn answer(&mut self) -> io::Result<String> {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            answer.extend(byte);
        }
        let head = String::from_utf8(answer).unwrap();
        let length = fields(&head, "content-length")[0].parse().unwrap();
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(head + &String::from_utf8(body).unwrap())
    }
}

#[tokio::test]
async fn who_writes_first_and_reads_then_gets_its_answer_and_keeps_its_connection() {
    let gateway = Harness::new("http://127.0.0.1:1").await;
    let address = gateway.address;
    // Nobody is there, nothing is there, and the page has no such method: each is known before the body.
    for (target, expected) in [("/crm/", 502), ("/nothing/", 404), ("/-/quota", 405)] {
        for is_chunked in [false, true] {
            let exchange = move || {
                let framing = if is_chunked {
                    "Transfer-Encoding: chunked".to_owned()
                } else {
                    format!("Content-Length: {}", 4 * MIB)
                };
                let head =
                    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n");
                let mut caller = Deaf::begin(address, &head);
                for _ in 0..4 {
                    if is_chunked {
                        write!(caller.stream, "{MIB:x}\r\n")?;
                    }
                    caller.stream.write_all(&vec![b'x'; MIB])?;
                    if is_chunked {
                        caller.stream.write_all(b"\r\n")?;
                    }
                }
                if is_chunked {
                    caller.stream.write_all(b"0\r\n\r\n")?;
                }
                let first = caller.answer()?;
                let next = b"GET /-/healthz HTTP/1.1\r\nHost: a\r\n\r\n";
                caller.stream.write_all(next)?;
                io::Result::Ok((status(&first), status(&caller.answer()?)))
            };
            let answers = tokio::task::spawn_blocking(exchange).await.unwrap();
            let what = format!("{target}, chunked: {is_chunked}");
            assert_eq!(answers.expect(&what), (expected, 200), "{what}");
        }
    }
}

#[tokio::test]
async fn a_body_without_end_is_not_read_for_ever() {
    let gateway = Harness::new("http://127.0.0.1:1").await;
    let address = gateway.address;
    let exchange = move || {
        let length = 1_usize << 40;
        let head =
            format!("POST /nothing/ HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        let mut caller = Deaf::begin(address, &head);
        // Who listens has its answer long before.
        assert_eq!(status(&caller.answer().unwrap()), 404);
        let piece = vec![b'x'; MIB];
        // What the system keeps in between is not headroom's.
        (0..64).position(|_| caller.stream.write_all(&piece).is_err())
    };
    let written = tokio::task::spawn_blocking(exchange).await.unwrap();
    assert!(written.is_some_and(|pieces| pieces >= 8), "{written:?}");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let gateway = Harness::new("http://127.0.0.1:1").await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write("POST /nothing/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nx")
        .await;
    assert_eq!(status(&caller.rest().await), 404);
}

#[tokio::test]
async fn who_asks_before_it_writes_is_not_told_to() {
    let gateway = Harness::new("http://127.0.0.1:1").await;
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .write(
            "POST /nothing/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nExpect: 100-continue\r\n\r\n",
        )
        .await;
    let answer = caller.rest().await;
    assert_eq!(status(&answer), 404, "{answer}");
}
