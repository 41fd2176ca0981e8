//! Answers as callers get them (RFC 9112, sections 4 to 7).

use http::StatusCode;
use http_body::Body as _;
use hyper::ext::ReasonPhrase;
use jiff::Timestamp;
use smallvec::SmallVec;

use super::head::has_no_body;
use super::outbound::{COPIED, Framing, Outbound};
use super::request::Terms;
use crate::clock;
use crate::fields::Value;
use crate::gateway::body::{Attended, Body};
use crate::gateway::fields;
use crate::gateway::heads::Reply;

/// What is added to the head of an answer takes at the most so much, in bytes.
const ADDED: usize = 160;

/// An answer, ready to be written, and whether the connection ends with it. `is_last`: it is to end.
pub(super) fn outbound(
    answer: Reply<Attended>,
    terms: Terms,
    is_last: bool,
) -> (Outbound<Attended>, bool) {
    let (head, body) = answer.parted();
    let has_none = terms.is_head || has_no_body(head.status);
    let length = if body.is_end_stream() {
        Some(0)
    } else {
        body.size_hint().exact()
    };
    let framing = match length {
        _ if has_none => Framing::Length(0),
        Some(length) => Framing::Length(length),
        None if terms.is_old => Framing::Close,
        None if terms.takes_trailers => Framing::chunked(&head.headers),
        None => Framing::Chunked(SmallVec::new()),
    };
    let of_head = length.filter(|length| *length > 0 && !has_no_body(head.status));
    let of_head = of_head.map(Framing::Length);
    // What a head alone says of a body stays as it is.
    let told = if has_none {
        of_head.as_ref()
    } else {
        Some(&framing)
    };
    let is_last = is_last || !terms.is_kept || matches!(framing, Framing::Close);
    let (written, is_last) = written(&head, told, (terms.is_head, terms.is_old), is_last);
    let outbound = if has_none {
        Outbound::whole(written)
    } else {
        Outbound::new(written, framing, body)
    };
    (outbound, is_last)
}

/// An answer of headroom's own to what is no request, after which nothing is believed.
pub(super) fn refusal(answer: Reply<Body>) -> Vec<u8> {
    let (head, body) = answer.parted();
    let body = body.into_full();
    let framing = Framing::Length(body.len() as u64);
    let (mut message, _) = written(&head, Some(&framing), (false, false), true);
    message.extend_from_slice(&body);
    message
}

/// The head as it is sent, and whether the connection ends with it, as `is_last` or the head says. `framing` is that of its body, if
/// it may have one. There is room behind it for a short body.
fn written(
    head: &Reply<()>,
    framing: Option<&Framing>,
    (is_head, is_old): (bool, bool),
    mut is_last: bool,
) -> (Vec<u8>, bool) {
    let status = head.status;
    let reason = head.reason.as_ref().map(ReasonPhrase::as_bytes);
    let known = || status.canonical_reason().unwrap_or("<none>").as_bytes();
    let reason = reason.unwrap_or_else(known);
    let fields = head.headers.written_length();
    let short = match framing {
        Some(Framing::Length(length)) => usize::try_from(*length).ok(),
        _ => None,
    };
    let short = short.filter(|length| *length <= COPIED).unwrap_or(0);
    let mut out = Vec::with_capacity(ADDED + reason.len() + fields + short);
    let version: &[u8] = if is_old { b"HTTP/1.0 " } else { b"HTTP/1.1 " };
    for piece in [version, status.as_str().as_bytes(), b" ", reason, b"\r\n"] {
        out.extend_from_slice(piece);
    }
    let mut digits = itoa::Buffer::new();
    let length = match framing {
        Some(Framing::Length(length)) => Some(digits.format(*length)),
        _ => None,
    };
    let may_tell_length = |told: Value<'_>| match framing {
        Some(_) => length.is_some_and(|length| length.as_bytes() == told.as_bytes()),
        // Of a 304 to GET not all readers know that it has no body.
        None => is_head && status != StatusCode::NO_CONTENT && !status.is_informational(),
    };
    let is_chunked = matches!(framing, Some(Framing::Chunked(_)));
    let (mut has_length, mut has_date) = (false, false);
    head.headers.write_to(&mut out, |name, value| match name {
        // Once.
        b"content-length" => may_tell_length(value) && !std::mem::replace(&mut has_length, true),
        b"connection" => {
            is_last |= fields::line_has(value, "close");
            false
        }
        b"date" => {
            has_date = true;
            true
        }
        b"transfer-encoding" => false,
        // Without chunks there is no place for trailers.
        b"trailer" => is_chunked,
        _ => true,
    });
    let connection: &[u8] = match (is_old, is_last) {
        (_, true) => b"connection: close\r\n",
        (true, false) => b"connection: keep-alive\r\n",
        (false, false) => b"",
    };
    out.extend_from_slice(connection);
    if let Some(length) = length.filter(|_| !has_length) {
        for piece in ["content-length: ", length, "\r\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
    }
    if is_chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    if !has_date && let Some(date) = date(clock::now()) {
        for piece in ["date: ", &date, "\r\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
    (out, is_last)
}

/// An IMF-fixdate (RFC 9110, section 5.6.7), which knows no time before 1970.
fn date(now: Timestamp) -> Option<String> {
    (now >= Timestamp::UNIX_EPOCH).then(|| httpdate::fmt_http_date(now.into()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::Response;
    use http::header::{CONTENT_TYPE, DATE};

    use super::*;

    fn text(answer: &Response<()>, framing: &Framing, is_last: bool) -> String {
        let head = Reply::from(answer.clone());
        let (written, is_told) = written(&head, Some(framing), (false, false), is_last);
        assert_eq!(is_told, is_last);
        String::from_utf8(written).unwrap()
    }

    #[test]
    fn a_head_is_written_with_what_its_provider_said_and_a_date() {
        let answer = Response::builder()
            .status(299)
            .header(CONTENT_TYPE, "text/event-stream")
            .header("x-a", "1")
            .header("x-a", "2");
        let mut answer = answer.body(()).unwrap();
        let chunked = Framing::Chunked(SmallVec::new());
        let all = text(&answer, &chunked, true);
        let (before, rest) = all.split_once("date: ").unwrap();
        assert_eq!(
            before,
            "HTTP/1.1 299 <none>\r\ncontent-type: text/event-stream\r\nx-a: 1\r\nx-a: 2\r\n\
             connection: close\r\ntransfer-encoding: chunked\r\n"
        );
        let date = rest.strip_suffix("\r\n\r\n").unwrap();
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
        let sunday = "Sun, 06 Nov 1994 08:49:37 GMT";
        answer
            .headers_mut()
            .insert(DATE, HeaderValue::from_static(sunday));
        let all = text(&answer, &chunked, false);
        assert_eq!(all.matches("date: ").count(), 1);
        assert!(!all.contains("connection"), "{all}");
        assert_eq!(date_of(784_111_777).as_deref(), Some(sunday));
        assert_eq!(date_of(-1), None);
    }

    fn date_of(second: i64) -> Option<String> {
        date(Timestamp::from_second(second).unwrap())
    }
}
