//! Both ends in one process, over a pipe.

use std::collections::VecDeque;
use std::time::Duration;

use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, DuplexStream};

use super::*;
use crate::gateway::dial::Socket;

mod alike;
mod hoarded;
mod served;

const BOUNDS: Bounds = Bounds {
    bytes: 4096,
    fields: 100,
};

/// A body in pieces, of which each `None` is a look in vain.
#[derive(Default)]
struct Pieces {
    frames: VecDeque<Option<Result<Frame<Bytes>, Fault>>>,
    length: Option<u64>,
}

impl Pieces {
    fn new(pieces: &[&'static str]) -> Self {
        let frame = |piece: &&'static str| Some(Ok(Frame::data(Bytes::from(*piece))));
        Self {
            frames: pieces.iter().map(frame).collect(),
            length: None,
        }
    }

    fn sized(mut self) -> Self {
        let pieces = self.frames.iter().flatten().flatten();
        let length = pieces
            .filter_map(Frame::data_ref)
            .map(Bytes::len)
            .sum::<usize>();
        self.length = Some(length as u64);
        self
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.frames.pop_front() {
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Some(frame)) => Poll::Ready(Some(frame)),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let unknown = if self.frames.is_empty() {
            Some(0)
        } else {
            None
        };
        self.length
            .or(unknown)
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn pair(room: usize) -> (Connection, DuplexStream) {
    let (near, far) = tokio::io::duplex(room);
    let stream = Stream::new(Socket::Test(near), Duration::from_secs(60), |_| {});
    (Connection::new(stream), far)
}

fn headers(lines: &[(&'static str, &'static str)]) -> Fields {
    let line = |&(name, value)| {
        (
            http::HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    lines.iter().map(line).collect()
}

async fn exchange(
    connection: Connection,
    method: &Method,
    headers: &Fields,
    body: Pieces,
) -> Result<(AnswerHead, Body), BoxError> {
    let line = (
        method,
        &PathAndQuery::from_static("/a?b"),
        &HeaderValue::from_static("h"),
    );
    connection.exchange(line, headers, body, BOUNDS).await
}

/// Answers with these pieces, and closes.
async fn answer(mut far: DuplexStream, pieces: Vec<Vec<u8>>) {
    let mut request = [0; 1024];
    if far.read(&mut request).await.unwrap() == 0 {
        return;
    }
    for piece in pieces {
        // Who has understood enough takes no more.
        if far.write_all(&piece).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Reads all that comes until it ends, or nothing comes for long.
async fn read_all(far: &mut DuplexStream) -> String {
    let mut all = Vec::new();
    let read = far.read_to_end(&mut all);
    let _until_then = tokio::time::timeout(Duration::from_secs(1), read).await;
    String::from_utf8(all).unwrap()
}

/// What the provider gets of a request.
async fn sent(room: usize, lines: &[(&'static str, &'static str)], body: Pieces) -> String {
    let (connection, mut far) = pair(room);
    let headers = headers(lines);
    let method = Method::POST;
    let exchange = exchange(connection, &method, &headers, body);
    let (got, answered) = tokio::join!(
        async {
            let got = read_all(&mut far).await;
            drop(far);
            got
        },
        exchange
    );
    assert!(answered.is_err());
    got.strip_prefix("POST /a?b HTTP/1.1\r\nhost: h\r\n")
        .unwrap()
        .to_owned()
}

const LONG: &str = const {
    const BYTES: [u8; 5000] = [b'x'; 5000];
    match std::str::from_utf8(&BYTES) {
        Ok(text) => text,
        Err(_) => "",
    }
};

#[tokio::test(start_paused = true)]
async fn requests_are_framed_as_their_heads_say() {
    for room in [1, 16, 100_000] {
        let lengthy = Pieces::new(&["ab", LONG, "c"]).sized();
        let got = sent(room, &[("content-length", "5003"), ("x-a", "1")], lengthy).await;
        assert_eq!(
            got,
            format!("content-length: 5003\r\nx-a: 1\r\n\r\nab{LONG}c")
        );

        let mut chunked = Pieces::new(&["ab", "", LONG, LONG, "c"]);
        chunked.frames.insert(1, None);
        let lines = [("transfer-encoding", "chunked"), ("trailer", "x-sum, host")];
        let trailers = headers(&[("x-sum", "1"), ("host", "evil"), ("x-unannounced", "2")]);
        chunked
            .frames
            .push_back(Some(Ok(Frame::trailers(trailers.to_map()))));
        let got = sent(room, &lines, chunked).await;
        let head = "transfer-encoding: chunked\r\ntrailer: x-sum, host\r\n\r\n";
        let long = format!("1388\r\n{LONG}\r\n").repeat(2);
        assert_eq!(
            got,
            format!("{head}2\r\nab\r\n{long}1\r\nc\r\n0\r\nx-sum: 1\r\n\r\n")
        );

        let got = sent(room, &[], Pieces::default()).await;
        assert_eq!(got, "\r\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_breaks_off_does_not_look_whole() {
    let mut broken = Pieces::new(&["ab"]);
    broken.frames.extend([None, Some(Err(Fault::Slow))]);
    let got = sent(100, &[("transfer-encoding", "chunked")], broken).await;
    assert!(!got.contains("0\r\n\r\n"), "{got}");
    for (length, piece) in [(3, "ab"), (1, "ab")] {
        let mut unlike = Pieces::new(&[piece]);
        unlike.length = Some(length);
        let (connection, _far) = pair(1000);
        let answered = exchange(connection, &Method::PUT, &Fields::new(), unlike).await;
        assert!(
            answered
                .err()
                .unwrap()
                .to_string()
                .contains("than its Content-Length")
        );
    }
}

/// An exchange of a request without a body, whose answer comes in these pieces and does not end the connection.
async fn answered(method: &Method, pieces: &[&str]) -> (AnswerHead, Body, DuplexStream) {
    let (connection, mut far) = pair(100_000);
    let (headers, none) = (Fields::new(), Pieces::default());
    let exchange = exchange(connection, method, &headers, none);
    let (exchanged, far) = tokio::join!(exchange, async {
        for piece in pieces {
            tokio::time::sleep(Duration::from_millis(1)).await;
            far.write_all(piece.as_bytes()).await.unwrap();
        }
        far
    });
    let (head, body) = exchanged.unwrap();
    (head, body, far)
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again_only_where_nothing_can_follow_the_answer() {
    for (is_kept, answer) in [
        (true, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        (true, "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            true,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ),
        (
            true,
            "HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nok",
        ),
        (false, "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        (
            false,
            "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\nok",
        ),
        (false, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok!"),
        (
            false,
            "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ),
        (
            false,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n0\r\n\r\n",
        ),
    ] {
        let (_, mut body, far) = answered(&Method::GET, &[answer]).await;
        while let Some(frame) = body.frame().await {
            frame.unwrap();
        }
        let connection = body.connection();
        assert_eq!(connection.is_some(), is_kept, "{answer}");
        if let Some(mut connection) = connection {
            assert!(connection.is_open());
            drop(far);
            assert!(!connection.is_open());
        }
    }
    // With all of its body there, it is given back before that is read; with a part of it missing, it is not.
    let (_, mut body, _far) = answered(
        &Method::GET,
        &["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"],
    )
    .await;
    assert!(body.connection().is_some());
    assert_eq!(body.collect().await.unwrap().to_bytes(), "ok");
    let (_, mut body, mut far) = answered(
        &Method::GET,
        &["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no"],
    )
    .await;
    assert!(body.connection().is_none());
    far.write_all(b"k").await.unwrap();
    let mut rest = body.take_kept().unwrap();
    assert_eq!((&mut rest).collect().await.unwrap().to_bytes(), "ok");
    assert!(rest.connection().is_some());
    // An answer to HEAD has the length of another.
    let (_, mut body, _far) = answered(
        &Method::HEAD,
        &["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"],
    )
    .await;
    assert!(body.connection().is_some());
}

#[tokio::test(start_paused = true)]
async fn heads_are_bounded_however_they_come() {
    let field = format!("x: {}\r\n", "a".repeat(100));
    let long = format!("HTTP/1.1 200 OK\r\n{}\r\n", field.repeat(40));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: a\r\n".repeat(101));
    let endless = "HTTP/1.1 200 OK\r\n".to_owned() + &"a".repeat(5000);
    for (bytes, words) in [
        (long, "too large"),
        (many, "too many fields"),
        (endless, "too large"),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
            "another protocol",
        ),
    ] {
        for size in [1, 7, 100_000] {
            let (connection, far) = pair(100_000);
            let pieces = bytes.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
            let far = tokio::spawn(answer(far, pieces));
            let answered =
                exchange(connection, &Method::GET, &Fields::new(), Pieces::default()).await;
            let error = answered.err().unwrap();
            assert!(
                error.is::<Invalid>() && error.to_string().contains(words),
                "{error}"
            );
            far.abort();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn besides_of_chunks_are_bounded() {
    let extensions = format!("1;{}\r\nx\r\n", "a".repeat(1000)).repeat(17);
    let trailers = format!("0\r\n{}", format!("x: {}\r\n", "a".repeat(1000)).repeat(17));
    for bytes in [
        extensions.as_str(),
        trailers.as_str(),
        "0\r\nx: 1\n\r\n",
        "0\r\n\n\n",
        "1;a\0\r\nx\r\n0\r\n\r\n",
        "1;\"\r\n\"\r\nx\r\n0\r\n\r\n",
    ] {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let (_, mut body, _far) = answered(&Method::GET, &[head, bytes]).await;
        let ended = loop {
            match body.frame().await {
                Some(Ok(_)) => {}
                ended => break ended,
            }
        };
        let error = ended.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{bytes}");
        // And that is its end.
        assert!(body.frame().await.is_none() && body.connection().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_may_come_before_the_request_is_sent_and_both_go_on() {
    let (connection, mut far) = pair(16);
    let mut upload = Pieces::new(&[LONG, LONG]).sized();
    upload.frames.insert(1, None);
    let headers = headers(&[("content-length", "10000")]);
    let provider = tokio::spawn(async move {
        far.write_all(b"HTTP/1.1 200 OK\r\n\r\nfirst")
            .await
            .unwrap();
        let mut request =
            vec![
                0;
                "POST /a?b HTTP/1.1\r\nhost: h\r\ncontent-length: 10000\r\n\r\n".len() + 10_000
            ];
        far.read_exact(&mut request).await.unwrap();
        far.write_all(b" last").await.unwrap();
    });
    let (_, mut body) = exchange(connection, &Method::POST, &headers, upload)
        .await
        .unwrap();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "first"
    );
    // Nobody reads the answer meanwhile.
    provider.await.unwrap();
    assert_eq!((&mut body).collect().await.unwrap().to_bytes(), " last");
    assert!(body.connection().is_none());
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_request_ends_with_its_answer() {
    let (connection, mut far) = pair(64);
    let upload = Pieces::new(&[LONG]).sized();
    far.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let exchanged = exchange(connection, &Method::POST, &Fields::new(), upload).await;
    drop(exchanged);
    assert!(read_all(&mut far).await.len() < 5000);
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_says_before_it_closes_is_its_answer() {
    let (connection, mut far) = pair(100);
    let upload = Pieces::new(&[LONG, LONG]).sized();
    far.write_all(b"HTTP/1.1 413 Too Large\r\n\r\n")
        .await
        .unwrap();
    drop(far);
    let (head, mut body) = exchange(connection, &Method::POST, &Fields::new(), upload)
        .await
        .unwrap();
    assert_eq!(head.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(body.frame().await.is_none());
    // And where it says nothing, why is told.
    let (connection, far) = pair(100);
    drop(far);
    let upload = Pieces::new(&[LONG, LONG]).sized();
    let error = exchange(connection, &Method::POST, &Fields::new(), upload)
        .await
        .err()
        .unwrap();
    assert_eq!(
        error.downcast_ref::<io::Error>().unwrap().kind(),
        io::ErrorKind::BrokenPipe
    );
}

#[tokio::test(start_paused = true)]
async fn long_answers_are_whole_in_whatever_pieces_they_come() {
    for (pieces, size) in [(3_000, 100), (20, 300_000)] {
        let (connection, mut far) = pair(1 << 20);
        let provider = tokio::spawn(async move {
            far.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            for number in 0..pieces {
                far.write_all(&vec![(number % 251) as u8; size])
                    .await
                    .unwrap();
            }
        });
        let exchanged = exchange(connection, &Method::GET, &Fields::new(), Pieces::default()).await;
        let body = exchanged.unwrap().1.collect().await.unwrap().to_bytes();
        let expected =
            (0..pieces).flat_map(|number| std::iter::repeat_n((number % 251) as u8, size));
        assert!(body.iter().copied().eq(expected));
        provider.await.unwrap();
    }
}
