//! Answers that last: streams of events (server-sent events), on which nothing may come for hours. They are written here, in chunks
//! (RFC 9112, section 7.1), with no more memory than waits for the caller.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, TRAILER, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, Method, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::ext::ReasonPhrase;
use jiff::Timestamp;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::body::{Attended, BoxError};
use super::fields;
use super::greeting::{Greeting, Line};
use super::http1::write_fields;
use crate::adapter::is_event_stream;
use crate::clock;

/// What is ready is written together up to so many bytes.
const TOGETHER: usize = 16 * 1024;
/// So much is read at a time of what the caller says meanwhile, in bytes.
const AHEAD: usize = 512;

/// What a request lets its answer be.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// Its answer may be taken from hyper: it has no other calls beside it, and chunks are understood.
    may_last: bool,
    /// The caller wants the connection to end with it.
    is_last: bool,
}

impl Terms {
    pub(super) fn of(request: &Parts) -> Self {
        Self {
            may_last: request.version == Version::HTTP_11 && request.method != Method::HEAD,
            is_last: fields::has_token(&request.headers, &CONNECTION, "close"),
        }
    }

    /// The answer is a stream of events, and nothing is in the way of writing it here.
    pub(super) fn fit(self, answer: &Response<Attended>) -> bool {
        let headers = answer.headers();
        let has = |name: &HeaderName| headers.contains_key(name);
        self.may_last
            && answer.body().size_hint().exact().is_none()
            && is_event_stream(headers)
            && ![CONNECTION, CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING]
                .iter()
                .any(has)
            && !matches!(
                answer.status(),
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            )
            && answer.body().has_heard_all()
    }
}

/// Such an answer.
pub(super) struct Lasting {
    /// Until it is written.
    head: Option<Response<()>>,
    /// Until its end.
    body: Option<Attended>,
    /// What is to be written.
    out: Vec<u8>,
    /// So much of it is.
    written: usize,
    /// The connection ends with it.
    is_last: bool,
}

impl Lasting {
    pub(super) fn new(answer: Response<Attended>, terms: Terms) -> Self {
        let (head, body) = answer.into_parts();
        Self {
            head: Some(Response::from_parts(head, ())),
            body: Some(body),
            out: Vec::new(),
            written: 0,
            is_last: terms.is_last,
        }
    }

    /// The connection is to end with it.
    pub(super) const fn end(&mut self) {
        self.is_last = true;
    }

    /// Writes it to its end; whether the connection goes on.
    ///
    /// # Errors
    /// It broke off, or the caller is gone.
    pub(super) fn poll<S: Line>(
        &mut self,
        line: &mut Greeting<S>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, BoxError>> {
        if let Some(head) = self.head.take() {
            self.out = written(&head, self.is_last);
        }
        loop {
            if self.out.is_empty() && self.fill(cx)?.is_pending() {
                break;
            }
            if self.flush(line, cx)?.is_pending() {
                break;
            }
            if self.body.is_none() {
                if self.is_last {
                    ready!(Pin::new(line).poll_shutdown(cx))?;
                }
                return Poll::Ready(Ok(!self.is_last));
            }
        }
        listen(line, cx)?;
        // Also where nothing is to be flushed: whether the caller is gone is looked at here.
        let _ = Pin::new(line).poll_flush(cx)?;
        Poll::Pending
    }

    /// Takes what there is of the body. What was taken before is written: a body breaks off behind what came of it.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        while let Some(body) = &mut self.body
            && self.out.len() < TOGETHER
        {
            match Pin::new(body).poll_frame(cx) {
                // Trailers go only where the head has told of them.
                Poll::Ready(Some(frame)) => {
                    if let Ok(data) = frame?.into_data() {
                        chunk(&mut self.out, &data);
                    }
                }
                Poll::Ready(None) => {
                    self.body = None;
                    self.out.extend_from_slice(b"0\r\n\r\n");
                }
                Poll::Pending if self.out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn flush<S: Line>(
        &mut self,
        line: &mut Greeting<S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut *line).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                length => self.written += length,
            }
        }
        // Not kept for the next event, which may be hours away.
        self.out = Vec::new();
        self.written = 0;
        Pin::new(line).poll_flush(cx)
    }
}

/// The head as it is sent.
fn written(head: &Response<()>, is_last: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let status = head.status();
    let reason = head.extensions().get::<ReasonPhrase>();
    let reason = reason.map(ReasonPhrase::as_bytes);
    let known = || status.canonical_reason().unwrap_or("<none>").as_bytes();
    for piece in [
        b"HTTP/1.1 ",
        status.as_str().as_bytes(),
        b" ",
        reason.unwrap_or_else(known),
        b"\r\n",
    ] {
        out.extend_from_slice(piece);
    }
    write_fields(&mut out, head.headers().iter());
    let date = (!head.headers().contains_key(DATE)).then(|| date(clock::now()));
    if let Some(date) = date.flatten() {
        out.extend_from_slice(format!("date: {date}\r\n").as_bytes());
    }
    if is_last {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
    out
}

/// An IMF-fixdate (RFC 9110, section 5.6.7), which knows no time before 1970.
fn date(now: Timestamp) -> Option<String> {
    (now >= Timestamp::UNIX_EPOCH).then(|| httpdate::fmt_http_date(now.into()))
}

/// One chunk. An empty one would be the last.
fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        out.extend_from_slice(format!("{:X}\r\n", data.len()).as_bytes());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// Hears whether the caller goes. What else it says is for later: a piece of it is kept, and then the pulse watches instead.
fn listen<S: Line>(line: &mut Greeting<S>, cx: &mut Context<'_>) -> io::Result<()> {
    while !line.has_put_back() {
        let mut piece = [0; AHEAD];
        let mut piece = ReadBuf::new(&mut piece);
        match Pin::new(&mut *line).poll_read(cx, &mut piece)? {
            Poll::Pending => break,
            Poll::Ready(()) if piece.filled().is_empty() => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Poll::Ready(()) => line.put_back(piece.filled()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;
    use http::{HeaderMap, HeaderValue};

    use super::*;

    #[test]
    fn a_head_is_written_with_what_its_provider_said_and_a_date() {
        let answer = Response::builder()
            .status(299)
            .header(CONTENT_TYPE, "text/event-stream")
            .header("x-a", "1")
            .header("x-a", "2");
        let mut answer = answer.body(()).unwrap();
        let text = String::from_utf8(written(&answer, true)).unwrap();
        let (before, rest) = text.split_once("date: ").unwrap();
        assert_eq!(
            before,
            "HTTP/1.1 299 <none>\r\ncontent-type: text/event-stream\r\nx-a: 1\r\nx-a: 2\r\n"
        );
        let (date, rest) = rest.split_once("\r\n").unwrap();
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
        assert_eq!(
            rest,
            "connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let sunday = "Sun, 06 Nov 1994 08:49:37 GMT";
        answer
            .headers_mut()
            .insert(DATE, HeaderValue::from_static(sunday));
        let text = String::from_utf8(written(&answer, false)).unwrap();
        assert_eq!(text.matches("date: ").count(), 1);
        assert!(!text.contains("connection"), "{text}");
        assert_eq!(date_of(784_111_777).as_deref(), Some(sunday));
        assert_eq!(date_of(-1), None);
    }

    fn date_of(second: i64) -> Option<String> {
        date(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn an_empty_piece_is_no_chunk() {
        let mut out = Vec::new();
        for piece in ["", "a", &"b".repeat(26)] {
            chunk(&mut out, piece.as_bytes());
        }
        let expected = format!("1\r\na\r\n1A\r\n{}\r\n", "b".repeat(26));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn events_are_known_by_their_type() {
        for (media_type, is) in [
            ("text/event-stream", true),
            ("Text/Event-Stream; charset=utf-8", true),
            ("text/event", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            assert_eq!(is_event_stream(&headers), is, "{media_type}");
        }
        assert!(!is_event_stream(&HeaderMap::new()));
    }
}
