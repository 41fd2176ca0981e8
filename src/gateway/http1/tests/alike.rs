//! Against hyper's client as the other reader: what both are shown, both understand alike.

use http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::runtime::Runtime;

use super::*;

pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// What a reader understood of an answer: the head, and the body with its trailers, if it was whole.
#[derive(Debug, PartialEq, Eq)]
struct Understood {
    status: StatusCode,
    headers: HeaderMap,
    reason: Option<String>,
    body: Result<(Bytes, Option<HeaderMap>), ()>,
}

async fn understood<B: HttpBody<Data = Bytes> + Unpin>(head: AnswerHead, body: B) -> Understood {
    let body = body.collect().await.map_err(drop);
    let reason = head.reason.as_ref();
    Understood {
        status: head.status,
        reason: reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned()),
        headers: head.headers.to_map(),
        body: body.map(|whole| {
            let trailers = whole.trailers().cloned();
            (
                whole.to_bytes(),
                trailers.filter(|trailers| !trailers.is_empty()),
            )
        }),
    }
}

async fn by_headroom(method: &Method, room: usize, pieces: Vec<Vec<u8>>) -> Result<Understood, ()> {
    let (connection, far) = pair(room);
    let far = tokio::spawn(answer(far, pieces));
    let answered = exchange(connection, method, &Fields::new(), Pieces::default()).await;
    let (head, body) = answered.map_err(drop)?;
    let understood = understood(head, body).await;
    far.abort();
    Ok(understood)
}

async fn by_hyper(method: &Method, room: usize, pieces: Vec<Vec<u8>>) -> Result<Understood, ()> {
    let (near, far) = tokio::io::duplex(room);
    let far = tokio::spawn(answer(far, pieces));
    let mut builder = hyper::client::conn::http1::Builder::new();
    builder.max_headers(BOUNDS.fields);
    let handshake = builder.handshake::<_, http_body_util::Empty<Bytes>>(TokioIo::new(near));
    let (mut sender, connection) = handshake.await.unwrap();
    let driver = tokio::spawn(connection);
    let mut request = Request::new(http_body_util::Empty::new());
    *request.method_mut() = method.clone();
    let answer = sender.send_request(request).await.map_err(drop)?;
    let (head, body) = AnswerHead::of(answer);
    let understood = understood(head, body).await;
    far.abort();
    driver.abort();
    Ok(understood)
}

/// How much is read at a time: heads come whole, or in pieces.
pub(super) fn room() -> impl Strategy<Value = usize> {
    select(vec![64, 100_000])
}

/// A line of a head, mostly a good one.
pub(super) fn line() -> impl Strategy<Value = &'static str> {
    select(vec![
        "content-length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "content-length: 0\r\n",
        "content-length: 05\r\n",
        "content-length: +5\r\n",
        "content-length: 12\r\n",
        "content-length: 18446744073709551616\r\n",
        "content-length: 18446744073709551615\r\n",
        "transfer-encoding: chunked\r\n",
        "Transfer-Encoding: gzip, Chunked\r\n",
        "transfer-encoding: identity\r\n",
        "connection: close\r\n",
        "connection: keep-alive\r\n",
        "x-ratelimit-remaining: 7\r\n",
        "X-RateLimit-Remaining:8 \r\n",
        "x-empty:\r\n",
        "x-bytes: \u{e4}\t\r\n",
        "x-bare: a\n",
        "x space: a\r\n",
        "x-before : a\r\n",
        " folded\r\n",
        "x-cr: a\rb\r\n",
        "x-nul: a\0b\r\n",
        "no colon\r\n",
        ": no name\r\n",
    ])
}

fn status_line() -> impl Strategy<Value = &'static str> {
    let good = select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 429 Slow down\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.1 304 Not Modified\r\n",
        "HTTP/1.0 200 OK\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 500 \r\n",
        "HTTP/1.1 999 What\r\n",
        "HTTP/1.1 200\r\n",
    ]);
    let bad = select(vec![
        "HTTP/1.1 99 Low\r\n",
        "HTTP/1.1 2000 Long\r\n",
        "HTTP/2.0 200 OK\r\n",
        "HTTP/1.1  200 OK\r\n",
        "ICY 200 OK\r\n",
        "\0\r\n",
    ]);
    prop_oneof![8 => good, 1 => bad]
}

pub(super) fn body() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "hello",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "2;a=\"b\"\r\nhi\r\n",
        "1 \r\nx\r\n",
        "A\r\n0123456789\r\n",
        "0\r\nx-sum: 1\r\n\r\n",
        "5\r\nhell",
        "g\r\n",
        "-1\r\n",
        "\r\n",
        "5\nhello\r\n",
        "0\r\nbad\r\n\r\n",
        "00000000000000001\r\nx\r\n",
        "fffffffffffffffff\r\n",
        "ffffffffffffffff\r\nx",
    ]);
    vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

pub(super) fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for cut in cuts {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces.push(rest.to_vec());
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn answers_are_understood_as_hyper_understands_them(
        method in select(vec![Method::GET, Method::HEAD, Method::POST]),
        first in status_line(),
        lines in vec(line(), 0..5),
        body in body(),
        cuts in vec(1..40_usize, 0..12),
        room in room(),
    ) {
        let whole = format!("{first}{}\r\n{body}", lines.concat());
        let pieces = cut(whole.as_bytes(), &cuts);
        let (ours, theirs) = runtime().block_on(async {
            (by_headroom(&method, room, pieces.clone()).await, by_hyper(&method, room, pieces).await)
        });
        prop_assert_eq!(ours, theirs, "{}", whole);
    }

    #[test]
    fn any_bytes_are_an_answer_or_an_error(bytes in vec(any::<u8>(), 0..200), cuts in vec(1..40_usize, 0..12), room in room()) {
        let mut whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        whole.extend(bytes);
        let _either = runtime().block_on(by_headroom(&Method::GET, room, cut(&whole, &cuts)));
    }
}
