//! Numbers and texts as bytes, and back. What is read may be damaged: nothing here trusts it.

use std::fmt;

use crate::state::ReadError;

/// What is there is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a part of it is damaged")
    }
}

impl std::error::Error for Damaged {}

impl From<Damaged> for ReadError {
    fn from(damaged: Damaged) -> Self {
        Self::new(damaged.to_string())
    }
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
pub(super) fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(low(number) | 0x80);
        number >>= 7;
    }
    out.push(low(number));
}

const fn low(number: u64) -> u8 {
    (number & 0x7F) as u8
}

/// Small numbers take few bytes on both sides of zero.
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Its length, and it.
pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.0.split_first().ok_or(Damaged)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    pub(super) fn number(&mut self) -> Result<u64, Damaged> {
        // Most are of one byte.
        if let [first @ 0..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Ok(u64::from(*first));
        }
        self.long_number()
    }

    fn long_number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits > u64::MAX >> shift {
                return Err(Damaged);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    pub(super) fn signed(&mut self) -> Result<i64, Damaged> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// How many of something follow, each of which takes so many bytes at least.
    pub(super) fn count(&mut self, least: usize) -> Result<usize, Damaged> {
        let count = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        let bytes = count.checked_mul(least).ok_or(Damaged)?;
        if bytes > self.0.len() {
            return Err(Damaged);
        }
        Ok(count)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Damaged> {
        let length = self.count(1)?;
        std::str::from_utf8(self.take(length)?).map_err(|_| Damaged)
    }
}
