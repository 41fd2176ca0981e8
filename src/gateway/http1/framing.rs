//! Where bodies end (RFC 9112, sections 6 and 7), byte by byte and without I/O.

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

use super::head::{self, Invalid};

/// What extensions of chunks, and trailers, may take altogether, in bytes.
const MOST_BESIDES: usize = 16 * 1024;

/// How a body that comes in ends.
#[derive(Debug)]
pub(super) enum Decoder {
    /// After so many more bytes; never none.
    Length(u64),
    Chunked(Chunked),
    /// With its connection.
    Close,
    /// It has ended.
    Done,
}

/// Where a body in chunks is.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    place: Place,
    /// Of the chunk that has begun: bytes that have not come.
    left: u64,
    /// Of extensions, so far.
    besides: usize,
    /// As far as they have come.
    trailers: BytesMut,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first digit of a size.
    #[default]
    Start,
    Size,
    /// White space behind a size.
    Space,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
}

impl Decoder {
    pub(super) const fn of_length(length: u64) -> Self {
        match length {
            0 => Self::Done,
            _ => Self::Length(length),
        }
    }

    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunked::default())
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Takes the next piece off what has come. `None`: there is none before more comes, or it has ended.
    ///
    /// # Errors
    /// It is not framed as it says.
    pub(super) fn decode(
        &mut self,
        has: &mut Bytes,
        most_fields: usize,
    ) -> Result<Option<Frame<Bytes>>, Invalid> {
        match self {
            Self::Done => Ok(None),
            Self::Close => Ok((!has.is_empty()).then(|| Frame::data(std::mem::take(has)))),
            Self::Length(left) => {
                let piece = take(has, left);
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(piece.map(Frame::data))
            }
            Self::Chunked(chunked) => {
                if let Some(piece) = chunked.data(has)? {
                    return Ok(Some(Frame::data(piece)));
                }
                if chunked.place != Place::Trailers {
                    return Ok(None);
                }
                let Some(trailers) = chunked.trailers(has, most_fields)? else {
                    return Ok(None);
                };
                *self = Self::Done;
                Ok((!trailers.is_empty()).then(|| Frame::trailers(trailers)))
            }
        }
    }

    /// The connection has ended. Whether the body has too.
    pub(super) fn close(&mut self) -> bool {
        if matches!(self, Self::Close) {
            *self = Self::Done;
        }
        self.is_done()
    }
}

/// So much of what has come as is wanted, if there is any.
fn take(has: &mut Bytes, left: &mut u64) -> Option<Bytes> {
    let length = usize::try_from(*left).map_or(has.len(), |left| left.min(has.len()));
    if length == 0 {
        return None;
    }
    *left -= length as u64;
    Some(has.split_to(length))
}

impl Chunked {
    /// The next piece of a chunk.
    fn data(&mut self, has: &mut Bytes) -> Result<Option<Bytes>, Invalid> {
        loop {
            if self.place == Place::Data {
                let piece = take(has, &mut self.left);
                if self.left == 0 {
                    self.place = Place::DataCr;
                }
                return Ok(piece);
            }
            let Some(&byte) = has.first().filter(|_| self.place != Place::Trailers) else {
                return Ok(None);
            };
            has.advance(1);
            self.place = self.step(byte)?;
        }
    }

    /// One byte of what stands between two chunks.
    fn step(&mut self, byte: u8) -> Result<Place, Invalid> {
        Ok(match (self.place, byte) {
            (Place::Start | Place::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                let left = self.left.checked_mul(16);
                self.left = left.ok_or(Invalid("the size of a chunk is too large"))? + digit;
                Place::Size
            }
            (Place::Size | Place::Space, b' ' | b'\t') => self.beside(Place::Space)?,
            (Place::Size | Place::Space, b';') => self.beside(Place::Extension)?,
            (Place::Size | Place::Space | Place::Extension, b'\r') => Place::SizeLf,
            (Place::Extension, b'\t' | b' '..=b'~' | 0x80..) => self.beside(Place::Extension)?,
            (Place::SizeLf, b'\n') if self.left == 0 => Place::Trailers,
            (Place::SizeLf, b'\n') => Place::Data,
            (Place::DataCr, b'\r') => Place::DataLf,
            (Place::DataLf, b'\n') => Place::Start,
            _ => return Err(Invalid("a chunk is badly framed")),
        })
    }

    const fn beside(&mut self, place: Place) -> Result<Place, Invalid> {
        self.besides += 1;
        if self.besides > MOST_BESIDES {
            return Err(Invalid("the extensions of chunks are too long"));
        }
        Ok(place)
    }

    /// What stands behind the last chunk, once all of it has come.
    fn trailers(
        &mut self,
        has: &mut Bytes,
        most_fields: usize,
    ) -> Result<Option<HeaderMap>, Invalid> {
        let before = self.trailers.len();
        let room = (MOST_BESIDES + 1).saturating_sub(before).min(has.len());
        self.trailers
            .extend_from_slice(has.get(..room).unwrap_or_default());
        if self.trailers.starts_with(b"\r\n") {
            has.advance(2 - before.min(2));
            return Ok(Some(HeaderMap::new()));
        }
        if self.trailers.starts_with(b"\n") {
            return Err(Invalid("its trailers are none"));
        }
        let Some(length) = head::length(&self.trailers, before) else {
            let is_too_long = self.trailers.len() > MOST_BESIDES;
            has.advance(room);
            return if is_too_long {
                Err(Invalid("the trailers are too long"))
            } else {
                Ok(None)
            };
        };
        has.advance(length - before);
        let trailers = std::mem::take(&mut self.trailers).freeze().slice(..length);
        head::trailers(&trailers, most_fields).map(Some)
    }
}
