//! The side towards callers, against hyper's server as the other one: what both are asked, both understand and answer alike.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Request, Response, Uri, Version};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::io::AsyncWriteExt as _;

use super::alike::{body, cut, line, room, runtime};
use super::*;
use crate::gateway::body::{Attended, Body as AnswerBody};
use crate::gateway::greeting::{Greeting, Line};
use crate::gateway::heads::{Reply, RequestHead};
use crate::gateway::present::Present;
use crate::gateway::pulse::Pulse;
use crate::limits::Limits;

/// What was understood of a request.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(super) struct Asked {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    pub(super) body: Result<(Bytes, Option<HeaderMap>), ()>,
}

pub(super) type Log = Arc<Mutex<Vec<Asked>>>;

/// Answers what it is told to by the path, after it has read the body.
pub(super) async fn answer<B>(request: Request<B>, log: Log) -> Response<axum::body::Body>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let (head, body) = request.into_parts();
    let whole = body.collect().await.map_err(drop);
    let body = whole.map(|whole| {
        let trailers = whole.trailers().cloned();
        let trailers = trailers.filter(|trailers| !trailers.is_empty());
        (whole.to_bytes(), trailers)
    });
    let is_broken = body.is_err();
    log.lock().unwrap().push(Asked {
        method: head.method.clone(),
        uri: head.uri.clone(),
        version: head.version,
        headers: head.headers,
        body,
    });
    let mut answer = Response::new(axum::body::Body::from("hello"));
    let headers = answer.headers_mut();
    headers.insert("x-limit", HeaderValue::from_static("7"));
    if head.method == Method::HEAD {
        headers.insert("x-head", HeaderValue::from_static("alone"));
    }
    match head.uri.path() {
        _ if is_broken => *answer.status_mut() = StatusCode::BAD_REQUEST,
        "/close" => {
            headers.insert("connection", HeaderValue::from_static("close"));
        }
        "/none" => {
            *answer.status_mut() = StatusCode::NO_CONTENT;
            *answer.body_mut() = axum::body::Body::empty();
        }
        "/same" => {
            headers.insert("content-length", HeaderValue::from_static("5"));
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            *answer.body_mut() = axum::body::Body::empty();
        }
        "/empty" => *answer.body_mut() = axum::body::Body::empty(),
        "/dated" => {
            let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
            headers.insert("date", date);
        }
        path if path.starts_with("/stream") => {
            headers.insert("trailer", HeaderValue::from_static("x-sum"));
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("3"));
            trailers.insert("x-other", HeaderValue::from_static("4"));
            let mut pieces = Pieces::new(&["a", "", "bc"]);
            pieces.frames.insert(1, None);
            if head.uri.path().contains("broken") {
                pieces.frames.push_back(Some(Err(Fault::Slow)));
            }
            pieces.frames.push_back(Some(Ok(Frame::trailers(trailers))));
            *answer.body_mut() = axum::body::Body::new(pieces);
        }
        _ => {}
    }
    answer
}

pub(super) struct Echo(pub(super) Log);

impl Host for Echo {
    type Call = Pin<Box<dyn Future<Output = Reply<Attended>> + Send>>;

    fn call(&self, head: RequestHead, body: Option<Inflow>) -> Self::Call {
        assert_eq!(head.present, Present::of(&head.headers));
        let log = Arc::clone(&self.0);
        let presence = Pulse::new(Limits::default()).begin();
        Box::pin(async move {
            let answer = match body {
                Some(body) => answer(head.to_request(body), log).await,
                None => answer(head.to_request(Pieces::default()), log).await,
            };
            Reply::from(answer).map(|body| Attended::new(AnswerBody::Page(body), presence, None))
        })
    }

    fn refuse(&self, unfit: Unfit) -> Reply<AnswerBody> {
        let mut answer = Response::new(AnswerBody::full(format!("{unfit:?}")));
        *answer.status_mut() = match unfit {
            Unfit::Invalid(_) => StatusCode::BAD_REQUEST,
            Unfit::TooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Unfit::TargetTooLong => StatusCode::URI_TOO_LONG,
        };
        answer.into()
    }
}

/// Says these pieces, and reads what is answered until its end, or until nothing comes for long.
async fn say(far: DuplexStream, pieces: Vec<Vec<u8>>) -> Vec<u8> {
    let (mut read, mut write) = tokio::io::split(far);
    let saying = async {
        for piece in pieces {
            if write.write_all(&piece).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let mut answers = Vec::new();
    let reading = async {
        let read = read.read_to_end(&mut answers);
        let _until_then = tokio::time::timeout(Duration::from_secs(5), read).await;
    };
    tokio::join!(saying, reading);
    answers
}

/// What was understood, and what was answered.
async fn by_headroom(room: usize, pieces: Vec<Vec<u8>>) -> (Vec<Asked>, Vec<u8>) {
    let log = Log::default();
    let answers = served(room, Echo(Arc::clone(&log)), pieces).await;
    let log = log.lock().unwrap().clone();
    (log, answers)
}

/// So much is read at a time, in bytes: heads come whole, or in pieces.
pub(super) async fn served<H>(room: usize, host: H, pieces: Vec<Vec<u8>>) -> Vec<u8>
where
    H: Host<Call: Send> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(room);
    let line = Greeting::new(Line::Pipe(near), Pulse::new(Limits::default()));
    let mut serving = Serving::new(line, BOUNDS, host);
    let serving = tokio::spawn(async move {
        // However it ends, the connection is closed then.
        let _ended = poll_fn(|cx| serving.poll(cx)).await;
    });
    let answers = say(far, pieces).await;
    serving.abort();
    answers
}

async fn by_hyper(room: usize, pieces: Vec<Vec<u8>>) -> (Vec<Asked>, Vec<u8>) {
    let (near, far) = tokio::io::duplex(room);
    let log = Log::default();
    let own = Arc::clone(&log);
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let own = Arc::clone(&own);
        async move { Ok::<_, Infallible>(answer(request, own).await) }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.max_headers(BOUNDS.fields).header_read_timeout(None);
    let serving = tokio::spawn(builder.serve_connection(TokioIo::new(near), service));
    let answers = say(far, pieces).await;
    serving.abort();
    let log = log.lock().unwrap().clone();
    (log, answers)
}

/// An answer without what may differ: the time, in which piece of the head a field stands, what a refusal says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    first: String,
    fields: Vec<String>,
    has_date: bool,
    body: String,
}

const REFUSED: &str = "400 Bad Request";

/// All answers of a connection. What is refused is refused alike; the words are each one's own.
pub(super) fn answers(bytes: &[u8]) -> Vec<Answered> {
    let mut rest = String::from_utf8_lossy(bytes).into_owned();
    let mut all = Vec::new();
    while let Some((head, behind)) = rest.split_once("\r\n\r\n") {
        let mut lines = head.split("\r\n").map(str::to_owned);
        let first = lines.next().unwrap_or_default();
        let mut fields: Vec<String> = lines.collect();
        let has_date = fields.iter().any(|line| line.starts_with("date: "));
        let value = |name: &str| {
            let mut lines = fields.iter();
            lines.find_map(|line| {
                line.strip_prefix(name)?
                    .strip_prefix(": ")
                    .map(str::to_owned)
            })
        };
        let length = value("content-length").and_then(|length| length.parse::<usize>().ok());
        let is_chunked = value("transfer-encoding").is_some();
        let is_refused = value("x-limit").is_none() && !first.contains(" 100 ");
        let has_none = value("x-head").is_some()
            || [" 304 ", " 204 ", " 100 "]
                .iter()
                .any(|code| first.contains(code));
        let end = match length {
            _ if has_none => 0,
            Some(length) => length.min(behind.len()),
            None if is_chunked => behind.find("\r\n\r\n").map_or(behind.len(), |end| end + 4),
            None => behind.len(),
        };
        let (body, after) = behind.split_at(end);
        // hyper does not say that it closes behind a broken body, nor to HTTP/1.0 what is so there anyway, and says `keep-alive`
        // also where a body ends with the connection.
        let is_old = first.starts_with("HTTP/1.0");
        let is_broken = first.contains(" 400 ");
        fields.retain(|line| {
            let is_closed = line.starts_with("connection: close") && (is_old || is_broken);
            let is_kept = line == "connection: keep-alive" && is_old && length.is_none();
            !line.starts_with("date: ") && !is_closed && !is_kept
        });
        let first = if is_refused {
            fields.clear();
            // In the version that came last, or in one's own.
            first.split(' ').skip(1).collect::<Vec<_>>().join(" ")
        } else {
            first
        };
        fields.sort();
        all.push(Answered {
            first,
            fields,
            has_date,
            // In which chunks is nobody's business.
            body: if is_refused {
                String::new()
            } else if is_chunked {
                unchunked(body)
            } else {
                body.to_owned()
            },
        });
        rest = after.to_owned();
    }
    // Who has begun to send need not be told to go on (RFC 9110, section 10.1.1).
    all.retain(|answer| !answer.first.contains(" 100 "));
    all
}

/// The data, and behind `|` what stands behind it.
fn unchunked(body: &str) -> String {
    let mut data = String::new();
    let mut rest = body;
    while let Some((size, behind)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(size, 16).unwrap();
        if length == 0 {
            return data + "|" + behind;
        }
        data += &behind[..length];
        rest = &behind[length + 2..];
    }
    data
}

fn first_line() -> impl Strategy<Value = String> {
    let method = select(vec!["GET", "GET", "HEAD", "POST", "OPTIONS", "PURGE"]);
    let path = select(vec![
        "/",
        "/close",
        "/none",
        "/same",
        "/empty",
        "/dated",
        "/stream",
        "/?a=%2F",
        "http://h/",
        "*",
    ]);
    let version = select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]);
    let good = (method, path, version)
        .prop_map(|(method, path, version)| format!("{method} {path} {version}\r\n"));
    let bad = select(vec![
        "GET / HTTP/1.2\r\n",
        "GET / HTTP/2.0\r\n",
        "GET  / HTTP/1.1\r\n",
        "GET /\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\n",
        "\nGET / HTTP/1.1\n",
        " GET / HTTP/1.1\r\n",
        "G@T / HTTP/1.1\r\n",
        "GET /\u{e4} HTTP/1.1\r\n",
        "GET http:// HTTP/1.1\r\n",
        "\0\r\n",
    ])
    .prop_map(str::to_owned);
    prop_oneof![8 => good, 1 => bad]
}

/// A line of a head that is for requests alone, or is any.
fn field() -> impl Strategy<Value = &'static str> {
    let own = select(vec![
        "host: h\r\n",
        "te: trailers\r\n",
        "TE: gzip, Trailers\r\n",
        "expect: 100-continue\r\n",
        "Expect: 100-Continue\r\n",
        "expect: other\r\n",
        "content-length: 5\r\n",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: ,chunked\r\n",
        "Connection: Close\r\n",
        "connection: Keep-Alive, x\r\n",
    ]);
    // A length that cannot be counted is wrong to one and too large to the other.
    let other = line().prop_filter("too long", |line| !line.contains("551615"));
    prop_oneof![2 => own, 1 => other]
}

fn request() -> impl Strategy<Value = String> {
    (first_line(), vec(field(), 0..4), body())
        .prop_map(|(first, lines, body)| format!("{first}{}\r\n{body}", lines.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn requests_are_understood_and_answered_as_by_hyper(
        requests in vec(request(), 1..3),
        cuts in vec(1..60_usize, 0..12),
        room in room(),
    ) {
        let whole = requests.concat();
        // Lengths beside chunks are looked at by hyper if they come first.
        let is_chunked = |one: &String| one.to_ascii_lowercase().contains("transfer-encoding");
        let has_length = |one: &String| one.to_ascii_lowercase().contains("content-length");
        prop_assume!(!requests.iter().any(|one| is_chunked(one) && has_length(one)));
        let pieces = cut(whole.as_bytes(), &cuts);
        let (ours, theirs) = runtime().block_on(async {
            (by_headroom(room, pieces.clone()).await, by_hyper(room, pieces).await)
        });
        prop_assert_eq!(&ours.0, &theirs.0, "{:?}", whole);
        let (mut answers, theirs) = (answers(&ours.1), answers(&theirs.1));
        // hyper goes without a word from some of what comes behind a call and is none.
        if answers.len() > theirs.len() && answers.last().is_some_and(|last| last.first == REFUSED) {
            answers.pop();
        }
        prop_assert_eq!(answers, theirs, "{:?}", whole);
    }

    #[test]
    fn any_bytes_are_requests_or_the_end(bytes in vec(any::<u8>(), 0..200), cuts in vec(1..40_usize, 0..12), room in room()) {
        let mut whole = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        whole.extend(bytes);
        let _either = runtime().block_on(by_headroom(room, cut(&whole, &cuts)));
    }
}

/// What is said byte by byte is understood as what is said at once.
#[test]
fn a_call_may_come_byte_by_byte() {
    let whole = "\r\n\n\r\nPOST /?a HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\nhello\r\nGET / HTTP/1.0\r\n\r\n";
    let bytes = whole.bytes().map(|byte| vec![byte]).collect();
    let (asked, answered) = runtime().block_on(by_headroom(64, bytes));
    let at_once = runtime().block_on(by_headroom(100_000, vec![whole.into()]));
    assert_eq!((asked.len(), &asked), (2, &at_once.0));
    assert_eq!(asked[0].body, Ok((Bytes::from("hello"), None)));
    assert_eq!(answers(&answered), answers(&at_once.1));
}

/// Who speaks another language is told at once, and not when it has waited for the end of a head.
#[test]
fn what_begins_no_head_is_refused_before_its_end() {
    for beginning in [
        "\u{16}\u{3}\u{1}",
        "GET / HTTP/2.0\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n",
        "\rGET",
    ] {
        let (asked, answered) = runtime().block_on(by_headroom(64, vec![beginning.into()]));
        assert_eq!(asked, [], "{beginning:?}");
        let [answer] = &*answers(&answered) else {
            panic!("{beginning:?}: {answered:?}");
        };
        assert_eq!(answer.first, REFUSED, "{beginning:?}");
    }
}

/// What came before the end of the world is written, and nothing that looks like an end.
#[test]
fn an_answer_that_breaks_off_has_no_end() {
    for (version, framing) in [("1.1", "2\r\nbc\r\n"), ("1.0", "abc")] {
        let call = format!("GET /stream/broken HTTP/{version}\r\n\r\nGET / HTTP/1.1\r\n\r\n");
        let (asked, answered) = runtime().block_on(by_headroom(64, vec![call.into()]));
        let answered = String::from_utf8(answered).unwrap();
        assert_eq!(asked.len(), 1);
        assert!(answered.ends_with(framing), "{answered}");
    }
}

#[test]
fn a_head_is_as_large_as_it_may_be_and_no_larger() {
    let many = |fields: usize| "a: b\r\n".repeat(fields);
    for (head, status) in [
        (many(BOUNDS.fields), "200 OK"),
        (
            many(BOUNDS.fields + 1),
            "431 Request Header Fields Too Large",
        ),
        (format!("x: {}\r\n", "y".repeat(4_000)), "200 OK"),
        (
            format!("x: {}\r\n", "y".repeat(4_090)),
            "431 Request Header Fields Too Large",
        ),
    ] {
        let whole = format!("GET / HTTP/1.1\r\n{head}\r\n");
        for pieces in [
            cut(whole.as_bytes(), &[]),
            cut(whole.as_bytes(), &[700, 5, 900]),
        ] {
            let (_, answered) = runtime().block_on(by_headroom(64, pieces));
            let first = &answers(&answered)[0].first;
            assert!(first.ends_with(status), "{first} {}", head.len());
        }
    }
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(5_000));
    let (_, answered) = runtime().block_on(by_headroom(64, vec![long.into()]));
    assert_eq!(answers(&answered)[0].first, "414 URI Too Long");
}
