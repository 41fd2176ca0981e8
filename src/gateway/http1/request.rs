//! Heads of requests as callers write them (RFC 9112, sections 2, 3, 5, 6 and 9).

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRANSFER_ENCODING};
use http::{Method, Uri, Version};
use httparse::{Header, ParserConfig, Status};

use super::framing::Decoder;
use super::head::{self, Beginning, Bounds, Invalid, with_space};
use crate::fields::Fields;
use crate::gateway::fields;
use crate::gateway::heads::RequestHead;
use crate::gateway::present::Present;

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
    pub(super) head: RequestHead,
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

/// Heads up to this length are looked at whenever more of them comes, in bytes; longer ones when they have doubled.
const SHORT: usize = 512;

/// What has come of a head before it is whole.
#[derive(Debug, Default)]
pub(super) struct Reading {
    beginning: Beginning,
    /// In so many bytes nothing is wrong.
    probed: usize,
}

impl Reading {
    /// Nothing of it has come.
    pub(super) const fn is_empty(&self) -> bool {
        self.beginning.is_empty()
    }

    /// Goes on by what came: the head, and what follows it, once it is whole.
    ///
    /// # Errors
    /// It is none, or too large.
    pub(super) fn feed(
        &mut self,
        came: Bytes,
        bounds: Bounds,
    ) -> Result<Option<(Head, Bytes)>, Unfit> {
        let mut all = self.beginning.with(came);
        self.skip_lines(&mut all)?;
        let may_be_whole = self.beginning.may_be_whole(&all);
        if may_be_whole {
            match read(&all, bounds.fields)? {
                Some((head, length)) if length <= bounds.bytes => {
                    all.advance(length);
                    return Ok(Some((head, all)));
                }
                None if self.beginning.before > 0 => {
                    return Err(Invalid("its head is none").into());
                }
                _ => self.probed = all.len(),
            }
        }
        if all.len() > bounds.bytes {
            let line = memchr::memchr(b'\n', &all);
            let is_target = line.is_none_or(|line| line > bounds.bytes / 2);
            return Err(if is_target {
                Unfit::TargetTooLong
            } else {
                Unfit::TooLarge
            });
        }
        // Who speaks another language is told at once, and not when it has waited for long.
        let is_due = all.len() <= SHORT || all.len() >= self.probed * 2;
        if is_due && !may_be_whole {
            self.probed = all.len();
            read(&all, bounds.fields)?;
        }
        self.beginning.keep(all);
        Ok(None)
    }

    /// The same with what was just read, of which as little as possible is copied.
    ///
    /// # Errors
    /// The same.
    pub(super) fn feed_read(
        &mut self,
        came: &[u8],
        bounds: Bounds,
    ) -> Result<Option<(Head, Bytes)>, Unfit> {
        // Nearly all heads come in one piece.
        if self.is_empty()
            && let Ok(Some((head, length))) = read(came, bounds.fields)
            && length <= bounds.bytes
        {
            return Ok(Some((head, head::rest(came, length))));
        }
        self.feed(Bytes::copy_from_slice(came), bounds)
    }

    /// Empty lines before a request are left out (RFC 9112, section 2.2).
    fn skip_lines(&mut self, all: &mut Bytes) -> Result<(), Invalid> {
        loop {
            let line = match &**all {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                [b'\r', _, ..] => return Err(Invalid("it begins with half of a line break")),
                _ => return Ok(()),
            };
            all.advance(line);
            self.beginning.before = 0;
        }
    }
}

/// A head, if it is whole, and how long it is.
type Parsed = Result<Option<(Head, usize)>, Unfit>;

/// Reads what begins with a head.
fn read(all: &[u8], most_fields: usize) -> Parsed {
    with_space(most_fields, |space| parse(all, space)).map_err(|error| match error {
        httparse::Error::TooManyHeaders => Unfit::TooLarge,
        httparse::Error::HeaderName => Invalid("a field is not `name: value`").into(),
        httparse::Error::HeaderValue => Invalid("a field's value has control characters").into(),
        httparse::Error::Version => Invalid("its version is neither 1.0 nor 1.1").into(),
        _ => Invalid("its first line is not `METHOD target HTTP/1.1`").into(),
    })?
}

fn parse<'a>(
    all: &'a [u8],
    space: &mut [MaybeUninit<Header<'a>>],
) -> Result<Parsed, httparse::Error> {
    let mut head = httparse::Request::new(&mut []);
    let config = ParserConfig::default();
    Ok(
        match config.parse_request_with_uninit_headers(&mut head, all, space)? {
            Status::Partial => Ok(None),
            Status::Complete(length) => understand(all, &head).map(|head| Some((head, length))),
        },
    )
}

fn understand(whole: &[u8], head: &httparse::Request<'_, '_>) -> Result<Head, Unfit> {
    let method = head.method.unwrap_or_default().as_bytes();
    let target = head.path.unwrap_or_default().as_bytes();
    if target.len() > LONGEST_TARGET {
        return Err(Unfit::TargetTooLong);
    }
    // The parser of targets would leave it out, with all that is behind it.
    if memchr::memchr(b'#', target).is_some() {
        return Err(Invalid("its target has a fragment (`#`, which is written `%23`)").into());
    }
    let method = Method::from_bytes(method).map_err(|_| Invalid("its method is not one"))?;
    let uri = Uri::try_from(target)
        .map_err(|_| Invalid("its target is not one (RFC 9112, section 3.2)"))?;
    let is_old = head.version == Some(0);
    let mut headers = head::fields(whole, head.headers, (0, 0))?;
    let present = Present::of(&headers);
    let has = |field| present.has(field);
    let length = if has(Present::CONTENT_LENGTH) {
        length(&mut headers)?
    } else {
        None
    };
    let is_chunked = has(Present::TRANSFER_ENCODING) && is_chunked(&headers, is_old)?;
    // Told in two ways, it is read by the one that counts; the other goes no further, and nothing that follows is believed
    // (RFC 9112, section 6.1).
    let is_ambiguous = is_chunked && length.is_some();
    if is_ambiguous {
        headers.remove(CONTENT_LENGTH);
    }
    let body = if is_chunked {
        Decoder::chunked()
    } else {
        length.map_or(Decoder::Done, Decoder::of_length)
    };
    let says =
        |option| has(Present::CONNECTION) && fields::has_token(&headers, &CONNECTION, option);
    let terms = Terms {
        is_head: method == Method::HEAD,
        is_old,
        takes_trailers: has(Present::TE) && fields::has_token(&headers, &TE, "trailers"),
        is_kept: !is_ambiguous && !says("close") && (!is_old || says("keep-alive")),
    };
    let expects = !is_old
        && !body.is_done()
        && headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let version = if is_old {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    Ok(Head {
        head: RequestHead {
            method,
            uri,
            version,
            headers,
            present,
        },
        body,
        terms,
        expects,
    })
}

/// Whether the body comes in chunks (RFC 9112, section 6.3).
fn is_chunked(headers: &Fields, is_old: bool) -> Result<bool, Invalid> {
    // The last coding of the last line, also where that is none.
    let Some(last) = headers.get_all(TRANSFER_ENCODING).last() else {
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
fn length(headers: &mut Fields) -> Result<Option<u64>, Invalid> {
    let mut length = None;
    let mut is_repeated = false;
    for line in headers.get_all(CONTENT_LENGTH) {
        let number = head::length_of(line.as_bytes());
        let number = number.ok_or(Invalid("its Content-Length is not a number"))?;
        if let Some(other) = length.replace(number) {
            if other != number {
                return Err(Invalid("it has two lengths"));
            }
            is_repeated = true;
        }
    }
    if is_repeated {
        let mut has_first = false;
        headers.retain(|name, _| {
            name != CONTENT_LENGTH.as_str().as_bytes() || !std::mem::replace(&mut has_first, true)
        });
    }
    Ok(length)
}
