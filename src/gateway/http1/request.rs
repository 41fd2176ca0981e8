//! Heads of requests as callers write them (RFC 9112, sections 2, 3, 5, 6 and 9).

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING};
use http::{HeaderMap, Method, Request, Uri, Version, request};
use httparse::{Header, ParserConfig, Status};

use super::framing::Decoder;
use super::head::{self, Bounds, Invalid, LONGEST, USUAL_FIELDS};
use crate::gateway::fields;

/// The longest target that can be kept, in bytes.
const LONGEST_TARGET: usize = u16::MAX as usize - 1;

/// Why a head is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gateway) enum Unfit {
    /// It is none, or one that two readers could take for two things.
    Invalid(Invalid),
    /// It is longer than it may be, or has more fields.
    TooLarge,
    /// Its target is.
    TargetTooLong,
}

impl From<Invalid> for Unfit {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// The head of a request, and what it says of its connection.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: request::Parts,
    pub(super) body: Decoder,
    pub(super) terms: Terms,
    /// The caller waits to be told before it sends its body (RFC 9110, section 10.1.1).
    pub(super) expects: bool,
}

/// What a request lets its answer be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Its answer has a head alone.
    pub(super) is_head: bool,
    /// The caller speaks HTTP/1.0, which knows no chunks.
    pub(super) is_old: bool,
    /// The caller takes trailers.
    pub(super) takes_trailers: bool,
    /// Another request may follow.
    pub(super) is_kept: bool,
}

/// What has come of a head before it is whole.
#[derive(Debug, Default)]
pub(super) struct Reading {
    has: BytesMut,
    /// It does not end in the first so many bytes.
    before: usize,
    /// In so many bytes nothing is wrong.
    probed: usize,
}

/// Heads up to this length are looked at whenever more of them comes, in bytes; longer ones when they have doubled.
const SHORT: usize = 512;

impl Reading {
    /// Begins with what came behind the last request.
    pub(super) fn after(rest: Bytes) -> Self {
        Self {
            has: BytesMut::from(rest),
            ..Self::default()
        }
    }

    /// Nothing of it has come.
    pub(super) fn is_empty(&self) -> bool {
        self.has.is_empty()
    }

    /// More has come.
    pub(super) fn feed(&mut self, came: &[u8]) {
        self.has.extend_from_slice(came);
    }

    /// The head and what follows it, once it is whole.
    ///
    /// # Errors
    /// It is none, or too large.
    pub(super) fn take(&mut self, bounds: Bounds) -> Result<Option<(Head, Bytes)>, Unfit> {
        self.skip_lines()?;
        let length = head::length(&self.has, self.before);
        match length.filter(|length| *length <= bounds.bytes) {
            Some(length) => {
                let mut whole = std::mem::take(&mut self.has).freeze();
                let head = read(&whole.split_to(length), bounds.fields)?;
                Ok(Some((head, whole)))
            }
            None if self.has.len() > bounds.bytes => {
                let line = self.has.iter().position(|byte| *byte == b'\n');
                let is_target = line.is_none_or(|line| line > bounds.bytes / 2);
                Err(if is_target {
                    Unfit::TargetTooLong
                } else {
                    Unfit::TooLarge
                })
            }
            None => {
                self.before = self.has.len();
                if self.before <= SHORT || self.before >= self.probed * 2 {
                    self.probed = self.before;
                    with_space(bounds.fields, |space| probe(&self.has, space))?;
                }
                Ok(None)
            }
        }
    }

    /// Empty lines before a request are left out (RFC 9112, section 2.2).
    fn skip_lines(&mut self) -> Result<(), Invalid> {
        loop {
            let line = match &*self.has {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                [b'\r', _, ..] => return Err(Invalid("it begins with half of a line break")),
                _ => return Ok(()),
            };
            self.has.advance(line);
            self.before = 0;
        }
    }
}

/// Reads a whole head.
fn read(whole: &Bytes, most_fields: usize) -> Result<Head, Unfit> {
    with_space(most_fields, |space| parse(whole, space))?
}

/// Looks at the fields of a head with room for as many as most have, and where that is not enough, for as many as there may be.
fn with_space<'a, T>(
    most_fields: usize,
    look: impl Fn(&mut [MaybeUninit<Header<'a>>]) -> Result<T, httparse::Error>,
) -> Result<T, Unfit> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    let most_usual = most_fields.min(USUAL_FIELDS);
    match look(usual.get_mut(..most_usual).unwrap_or_default()) {
        Err(httparse::Error::TooManyHeaders) if most_fields > USUAL_FIELDS => {
            look(&mut vec![MaybeUninit::uninit(); most_fields])
        }
        looked => looked,
    }
    .map_err(|error| match error {
        httparse::Error::TooManyHeaders => Unfit::TooLarge,
        httparse::Error::HeaderName => Invalid("the name of a field is none").into(),
        httparse::Error::HeaderValue => Invalid("the value of a field is none").into(),
        httparse::Error::Version => Invalid("its version is none").into(),
        _ => Invalid("its first line is none").into(),
    })
}

/// Whether what has come of a head can be the beginning of one: who speaks another language is told at once, and not when it
/// has waited for long.
fn probe<'a>(
    beginning: &'a [u8],
    space: &mut [MaybeUninit<Header<'a>>],
) -> Result<(), httparse::Error> {
    let mut head = httparse::Request::new(&mut []);
    let config = ParserConfig::default();
    config.parse_request_with_uninit_headers(&mut head, beginning, space)?;
    Ok(())
}

type Parsed = Result<Head, Unfit>;

fn parse<'a>(
    whole: &'a Bytes,
    space: &mut [MaybeUninit<Header<'a>>],
) -> Result<Parsed, httparse::Error> {
    let mut head = httparse::Request::new(&mut []);
    let config = ParserConfig::default();
    let parsed = config.parse_request_with_uninit_headers(&mut head, whole, space)?;
    if parsed != Status::Complete(whole.len()) {
        return Ok(Err(Invalid("its head is none").into()));
    }
    Ok(understand(whole, &head))
}

fn understand(whole: &Bytes, head: &httparse::Request<'_, '_>) -> Parsed {
    let method = head.method.unwrap_or_default().as_bytes();
    let target = head.path.unwrap_or_default().as_bytes();
    if target.len() > LONGEST_TARGET {
        return Err(Unfit::TargetTooLong);
    }
    // The parser of targets would leave it out, with all that is behind it.
    if memchr::memchr(b'#', target).is_some() {
        return Err(Invalid("its target has a fragment (`#`, which is written `%23`)").into());
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = Method::from_bytes(method).map_err(|_| Invalid("its method is none"))?;
    parts.uri = Uri::from_maybe_shared(whole.slice_ref(target))
        .map_err(|_| Invalid("its target is none"))?;
    parts.version = match head.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    parts.headers = head::fields(whole, head.headers)?;
    let is_old = parts.version == Version::HTTP_10;
    let length = length(&mut parts.headers)?;
    let is_chunked = is_chunked(&parts.headers, is_old)?;
    // Told in two ways, it is read by the one that counts; the other goes no further, and nothing that follows is believed
    // (RFC 9112, section 6.1).
    let is_ambiguous = is_chunked && length.is_some();
    if is_ambiguous {
        parts.headers.remove(CONTENT_LENGTH);
    }
    let body = if is_chunked {
        Decoder::chunked()
    } else {
        length.map_or(Decoder::Done, Decoder::of_length)
    };
    let headers = &parts.headers;
    let says = |option| fields::has_token(headers, &CONNECTION, option);
    let terms = Terms {
        is_head: parts.method == Method::HEAD,
        is_old,
        takes_trailers: fields::has_token(headers, &TE, "trailers"),
        is_kept: !is_ambiguous && !says("close") && (!is_old || says("keep-alive")),
    };
    let expects = !is_old
        && !body.is_done()
        && headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    Ok(Head {
        parts,
        body,
        terms,
        expects,
    })
}

/// Whether the body comes in chunks (RFC 9112, section 6.3).
fn is_chunked(headers: &HeaderMap, is_old: bool) -> Result<bool, Invalid> {
    // The last coding of the last line, also where that is none.
    let Some(last) = headers.get_all(TRANSFER_ENCODING).iter().next_back() else {
        return Ok(false);
    };
    if is_old {
        return Err(Invalid("HTTP/1.0 knows no Transfer-Encoding"));
    }
    let last = last.as_bytes().rsplit(|byte| *byte == b',').next();
    let is_chunked =
        last.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"));
    if !is_chunked {
        return Err(Invalid("the end of its body cannot be told"));
    }
    Ok(true)
}

/// What `Content-Length` says: digits, also several times the same, of which one is left.
fn length(headers: &mut HeaderMap) -> Result<Option<u64>, Invalid> {
    let mut length = None;
    let mut is_repeated = false;
    for line in headers.get_all(CONTENT_LENGTH) {
        let digits = line.as_bytes();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let number = std::str::from_utf8(digits).ok().filter(|_| is_number);
        let number: Option<u64> = number.and_then(|digits| digits.parse().ok());
        let number = number.filter(|number| *number <= LONGEST);
        let number = number.ok_or(Invalid("its Content-Length is none"))?;
        if let Some(other) = length.replace(number) {
            if other != number {
                return Err(Invalid("it has two lengths"));
            }
            is_repeated = true;
        }
    }
    if let Some(first) = headers.get(CONTENT_LENGTH).filter(|_| is_repeated) {
        let first = first.clone();
        headers.insert(CONTENT_LENGTH, first);
    }
    Ok(length)
}
