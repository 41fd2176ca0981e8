//! Heads of requests as they are written, and of answers as they are read (RFC 9112, sections 2 to 6).

use std::fmt;
use std::io;
use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use httparse::{Header, ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::framing::Decoder;
use crate::fields::{Fields, Unwritable};
use crate::gateway::fields;
use crate::gateway::heads::AnswerHead;
use crate::gateway::present::Present;
use crate::limits::Limits;

/// Room for as many fields as nearly all heads have.
const USUAL_FIELDS: usize = 64;
/// Fields that headroom adds to an answer, and a few more, and what they take, in bytes.
const ADDED_FIELDS: usize = 8;
const ADDED_BYTES: usize = 320;

/// No body is longer, in bytes: what counts them has room for more.
const LONGEST: u64 = u64::MAX >> 1;

/// What came is no message, or one that two readers could take for two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) struct Invalid(pub(super) &'static str);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not valid HTTP/1.1: {}", self.0)
    }
}

impl std::error::Error for Invalid {}

impl From<Invalid> for io::Error {
    fn from(invalid: Invalid) -> Self {
        Self::new(io::ErrorKind::InvalidData, invalid)
    }
}

/// How much a head may be.
#[derive(Debug, Clone, Copy)]
pub(in crate::gateway) struct Bounds {
    pub(in crate::gateway) bytes: usize,
    pub(in crate::gateway) fields: usize,
}

impl Bounds {
    /// Above the limits, so that a head that is a little too long is told so with its connection's limits.
    pub(in crate::gateway) const fn of(limits: &Limits) -> Self {
        Self {
            bytes: limits.header_bytes.saturating_mul(2),
            fields: limits.header_fields,
        }
    }
}

/// The head of an answer, and what it says of its connection.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) head: AnswerHead,
    pub(super) body: Decoder,
    /// Another request may follow when its body has ended.
    pub(super) is_kept: bool,
}

/// A request's head as it is sent.
pub(super) fn write(
    method: &Method,
    path: &PathAndQuery,
    host: &HeaderValue,
    headers: &Fields,
) -> Vec<u8> {
    let path = path.as_str().as_bytes();
    let mut head = Vec::with_capacity(48 + path.len() + host.len() + headers.written_length());
    for piece in [
        method.as_str().as_bytes(),
        b" ",
        path,
        b" HTTP/1.1\r\nhost: ",
    ] {
        head.extend_from_slice(piece);
    }
    head.extend_from_slice(host.as_bytes());
    head.extend_from_slice(b"\r\n");
    headers.write_to(&mut head, |_, _| true);
    head.extend_from_slice(b"\r\n");
    head
}

/// Up to the end of the empty line that ends a head; it does not end in the first `before` bytes.
pub(super) fn length(bytes: &[u8], before: usize) -> Option<usize> {
    // The line break before the empty line may be among them.
    let from = before.saturating_sub(2);
    memchr::memchr_iter(b'\n', bytes.get(from..)?).find_map(|at| {
        let next = from + at + 1;
        match bytes.get(next..)? {
            [b'\n', ..] => Some(next + 1),
            [b'\r', b'\n', ..] => Some(next + 2),
            _ => None,
        }
    })
}

/// What has come of a head before it is whole.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    has: Bytes,
    /// It does not end in the first so many bytes.
    pub(super) before: usize,
}

impl Beginning {
    /// Nothing of it has come.
    pub(super) const fn is_empty(&self) -> bool {
        self.has.is_empty()
    }

    /// All that has come, with this behind it.
    pub(super) fn with(&mut self, came: Bytes) -> Bytes {
        if self.has.is_empty() {
            return came;
        }
        // Not copied: nobody else has any of it.
        let mut all = BytesMut::from(std::mem::take(&mut self.has));
        all.extend_from_slice(&came);
        all.freeze()
    }

    /// It may be whole. Who looks for the first time reads it at once, instead of looking for its end before.
    pub(super) fn may_be_whole(&self, all: &Bytes) -> bool {
        self.before == 0 || length(all, self.before).is_some()
    }

    /// It is not whole.
    pub(super) fn keep(&mut self, all: Bytes) {
        self.before = all.len();
        self.has = all;
    }
}

/// What has come of an answer before its head is whole.
#[derive(Debug, Default)]
pub(super) struct Reading(Beginning);

impl Reading {
    /// Goes on by what came: the head, and what follows it, once it is whole. Interim answers are left out (RFC 9110, section
    /// 15.2).
    ///
    /// # Errors
    /// It is none, or too large.
    fn feed(
        &mut self,
        came: Bytes,
        method: &Method,
        bounds: Bounds,
    ) -> Result<Option<(Head, Bytes)>, Invalid> {
        let mut all = self.0.with(came);
        while self.0.may_be_whole(&all) {
            match read(&all, method, bounds.fields)? {
                Some((_, length)) if length > bounds.bytes => break,
                Some((head, length)) => {
                    all.advance(length);
                    if let Some(head) = head {
                        return Ok(Some((head, all)));
                    }
                    self.0.before = 0;
                }
                None if self.0.before > 0 => return Err(Invalid("its head is none")),
                None => break,
            }
        }
        if all.len() > bounds.bytes {
            return Err(Invalid("its head is too large"));
        }
        self.0.keep(all);
        Ok(None)
    }

    /// The same with what was just read, of which as little as possible is copied.
    ///
    /// # Errors
    /// The same.
    pub(super) fn feed_read(
        &mut self,
        came: &[u8],
        method: &Method,
        bounds: Bounds,
    ) -> Result<Option<(Head, Bytes)>, Invalid> {
        // Nearly all heads come in one piece.
        if self.0.is_empty()
            && let Ok(Some((Some(head), length))) = read(came, method, bounds.fields)
            && length <= bounds.bytes
        {
            return Ok(Some((head, rest(came, length))));
        }
        self.feed(Bytes::copy_from_slice(came), method, bounds)
    }
}

/// What came behind so many bytes.
pub(super) fn rest(came: &[u8], length: usize) -> Bytes {
    match came.get(length..) {
        Some(rest) if !rest.is_empty() => Bytes::copy_from_slice(rest),
        _ => Bytes::new(),
    }
}

/// Looks at the fields of a head with room for as many as most have, and where that is not enough, for as many as there may be.
pub(super) fn with_space<'a, T>(
    most_fields: usize,
    look: impl Fn(&mut [MaybeUninit<Header<'a>>]) -> Result<T, httparse::Error>,
) -> Result<T, httparse::Error> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    let most_usual = most_fields.min(USUAL_FIELDS);
    match look(usual.get_mut(..most_usual).unwrap_or_default()) {
        Err(httparse::Error::TooManyHeaders) if most_fields > USUAL_FIELDS => {
            look(&mut vec![MaybeUninit::uninit(); most_fields])
        }
        looked => looked,
    }
}

/// What a head is, how long it is, and whether it is whole; `None` is an interim one.
type Parsed = Result<Option<(Option<Head>, usize)>, Invalid>;

/// Reads what begins with a head, if that is whole.
fn read(all: &[u8], method: &Method, most_fields: usize) -> Parsed {
    with_space(most_fields, |space| parse(all, method, space)).map_err(|error| match error {
        httparse::Error::TooManyHeaders => Invalid("it has too many fields"),
        httparse::Error::HeaderName => Invalid("the name of a field is none"),
        httparse::Error::HeaderValue => Invalid("the value of a field is none"),
        httparse::Error::Status => Invalid("its status is none"),
        httparse::Error::Version => Invalid("its version is none"),
        _ => Invalid("its head is none"),
    })?
}

fn parse<'a>(
    all: &'a [u8],
    method: &Method,
    space: &mut [MaybeUninit<Header<'a>>],
) -> Result<Parsed, httparse::Error> {
    let mut head = httparse::Response::new(&mut []);
    let config = ParserConfig::default();
    Ok(
        match config.parse_response_with_uninit_headers(&mut head, all, space)? {
            Status::Partial => Ok(None),
            Status::Complete(length) => {
                understand(all, method, &head).map(|head| Some((head, length)))
            }
        },
    )
}

fn understand(
    whole: &[u8],
    method: &Method,
    head: &httparse::Response<'_, '_>,
) -> Result<Option<Head>, Invalid> {
    let code = head.code.unwrap_or_default();
    let status = StatusCode::from_u16(code).map_err(|_| Invalid("its status is none"))?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Invalid(
            "it goes over to another protocol, which nobody asked for",
        ));
    }
    if status.is_informational() {
        return Ok(None);
    }
    let is_usual = head.reason == status.canonical_reason();
    let reason = head.reason.filter(|_| !is_usual);
    let headers = fields(whole, head.headers, (ADDED_FIELDS, ADDED_BYTES))?;
    let present = Present::of(&headers);
    let head = AnswerHead {
        status,
        version: match head.version {
            Some(0) => Version::HTTP_10,
            _ => Version::HTTP_11,
        },
        reason: reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok()),
        headers,
        present,
    };
    let body = body(method, &head)?;
    let says = |option| {
        present.has(Present::CONNECTION) && fields::has_token(&head.headers, &CONNECTION, option)
    };
    let may_stay = !says("close") && (head.version == Version::HTTP_11 || says("keep-alive"));
    let is_kept = may_stay && !matches!(body, Decoder::Close);
    Ok(Some(Head {
        head,
        body,
        is_kept,
    }))
}

/// The fields that were found in a message, with room for others and for their bytes.
pub(super) fn fields(
    whole: &[u8],
    found: &[Header<'_>],
    room: (usize, usize),
) -> Result<Fields, Invalid> {
    Fields::parsed(whole, found, room).map_err(|Unwritable| Invalid("the name of a field is none"))
}

/// A length as it is written in `Content-Length`: digits.
pub(super) fn length_of(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    digits.parse().ok().filter(|length| *length <= LONGEST)
}

/// An answer with this status has no body, whatever its head says (RFC 9112, section 6.3).
pub(in crate::gateway) fn has_no_body(status: StatusCode) -> bool {
    let is_without = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    is_without || status.is_informational()
}

/// How the body ends (RFC 9112, section 6.3).
fn body(method: &Method, head: &AnswerHead) -> Result<Decoder, Invalid> {
    let (headers, present) = (&head.headers, head.present);
    if has_no_body(head.status) || *method == Method::HEAD {
        return Ok(Decoder::Done);
    }
    if present.has(Present::TRANSFER_ENCODING) {
        if head.version == Version::HTTP_10 {
            return Err(Invalid("HTTP/1.0 knows no Transfer-Encoding"));
        }
        let last = fields::tokens(headers, &TRANSFER_ENCODING).last();
        let is_chunked = last.is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        return Ok(if is_chunked {
            Decoder::chunked()
        } else {
            Decoder::Close
        });
    }
    let mut length = None;
    for line in headers.get_all(CONTENT_LENGTH) {
        for number in line.as_bytes().split(|&byte| byte == b',') {
            let number = length_of(number.trim_ascii());
            let number = number.ok_or(Invalid("its Content-Length is none"))?;
            if length.replace(number).is_some_and(|other| other != number) {
                return Err(Invalid("it has two lengths"));
            }
        }
    }
    Ok(length.map_or(Decoder::Close, Decoder::of_length))
}

/// Reads the fields behind the last chunk, up to the end of their empty line.
pub(super) fn trailers(whole: &Bytes, most_fields: usize) -> Result<HeaderMap, Invalid> {
    // Senders end their lines with both (RFC 9112, section 2.2); of a head, a reader may be lenient, here nothing is old.
    let is_bare = |at: usize| at == 0 || whole.get(at - 1) != Some(&b'\r');
    if memchr::memchr_iter(b'\n', whole).any(is_bare) {
        return Err(Invalid("its trailers are none"));
    }
    let mut space = vec![httparse::EMPTY_HEADER; most_fields];
    match httparse::parse_headers(whole, &mut space) {
        Ok(Status::Complete((length, found))) if length == whole.len() => {
            fields(whole, found, (0, 0)).map(|fields| fields.to_map())
        }
        _ => Err(Invalid("its trailers are none")),
    }
}
