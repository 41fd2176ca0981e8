//! The totals of one period as bytes: for each series its sums. Pure.
//!
//! A version; the shapes that rows have, each a word whose nibbles say how many bytes each sum takes (none: it is zero); then
//! the rows by the numbers of their series: the step from the number before, the shape, the sums' bytes, the lowest first.
//! [`PAD`] zero bytes end it, so that each sum can be read as a word. Rows of one shape are of one length, so a row that nobody
//! wants is stepped over, and one that is wanted is read without a branch on its bytes: reports read a million of them.

use hashbrown::HashMap;
use std::ops::Range;

use super::Sums;
use super::bytes::{Damaged, Reader, put};

const VERSION: u8 = 1;
const WORD: usize = size_of::<u64>();
const PAD: usize = WORD;

/// How many sums a row has: one for each nibble of a word.
const SUMS: usize = Sums::COUNT;
const _: () = assert!(SUMS <= 16, "a shape has 16 nibbles");

/// Sums that are only added up, in the order of [`Sums`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Values([u64; SUMS]);

impl Values {
    /// By their names.
    #[must_use]
    pub const fn sums(&self) -> Sums {
        Sums::from_values(self.0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (value, other) in self.0.iter_mut().zip(other.0) {
            *value = value.saturating_add(other);
        }
    }
}

impl From<&Sums> for Values {
    fn from(sums: &Sums) -> Self {
        Self(sums.values())
    }
}

/// One series' sums in a block.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    parts: &'a [Part],
    /// With a word more than the parts take.
    bytes: &'a [u8],
}

impl Row<'_> {
    /// Adds them to others.
    #[inline(always)]
    pub fn add_to(&self, values: &mut Values) {
        let mut at = 0;
        for part in self.parts {
            let sum = self.word(at) & part.mask;
            if let Some(value) = values.0.get_mut(part.sum) {
                *value = value.saturating_add(sum);
            }
            at += part.length;
        }
    }

    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        let word = self.bytes.get(at..at + WORD);
        let word = word.and_then(|bytes| bytes.try_into().ok());
        word.map_or(0, u64::from_le_bytes)
    }

    /// The calls alone, which are the first sum.
    #[inline]
    #[must_use]
    pub fn calls(&self) -> u64 {
        match self.parts.first() {
            Some(part) if part.sum == 0 => self.word(0) & part.mask,
            _ => 0,
        }
    }

    /// As they are.
    #[must_use]
    pub fn values(&self) -> Values {
        let mut values = Values::default();
        self.add_to(&mut values);
        values
    }
}

/// A sum that is not zero.
#[derive(Debug, Clone, Copy)]
struct Part {
    sum: usize,
    length: usize,
    mask: u64,
}

/// How rows look.
#[derive(Debug, Clone)]
struct Shape {
    parts: Range<usize>,
    length: usize,
}

/// A block that is read.
#[derive(Debug)]
pub(super) struct Block<'a> {
    parts: Vec<Part>,
    shapes: Vec<Shape>,
    rows: usize,
    rest: Reader<'a>,
}

impl<'a> Block<'a> {
    pub(super) fn open(data: &'a [u8]) -> Result<Self, Damaged> {
        let mut rest = Reader(data);
        if rest.byte()? != VERSION {
            return Err(Damaged);
        }
        let count = rest.count(WORD)?;
        let (mut parts, mut shapes) = (Vec::new(), Vec::with_capacity(count));
        for _ in 0..count {
            let shape = rest.take(WORD)?.try_into().map_err(|_| Damaged)?;
            shapes.push(Shape::read(u64::from_le_bytes(shape), &mut parts)?);
        }
        // Step and shape.
        let rows = rest.count(2)?;
        if rows == 0 && rest.0 != [0; PAD] {
            return Err(Damaged);
        }
        Ok(Self {
            parts,
            shapes,
            rows,
            rest,
        })
    }

    /// By the numbers of their series.
    pub(super) const fn rows(&self) -> Rows<'_> {
        Rows {
            block: self,
            left: self.rows,
            rest: self.rest,
            number: None,
        }
    }
}

impl Shape {
    fn read(nibbles: u64, parts: &mut Vec<Part>) -> Result<Self, Damaged> {
        let first = parts.len();
        let mut total = 0;
        for sum in 0..16 {
            let length = (nibbles >> (4 * sum)) & 0xF;
            if length == 0 {
                continue;
            }
            if length > 8 || sum >= SUMS {
                return Err(Damaged);
            }
            let mask = u64::MAX >> (64 - 8 * length);
            let length = usize::try_from(length).map_err(|_| Damaged)?;
            total += length;
            parts.push(Part { sum, length, mask });
        }
        Ok(Self {
            parts: first..parts.len(),
            length: total,
        })
    }
}

/// The rows of a block. After one that is damaged there is none.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    block: &'a Block<'a>,
    left: usize,
    rest: Reader<'a>,
    number: Option<i64>,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn read(&mut self) -> Result<(i64, Row<'a>), Damaged> {
        let step = i64::try_from(self.rest.number()?).map_err(|_| Damaged)?;
        let shape = usize::try_from(self.rest.number()?).map_err(|_| Damaged)?;
        let shape = self.block.shapes.get(shape).ok_or(Damaged)?;
        let parts = self.block.parts.get(shape.parts.clone());
        let parts = parts.ok_or(Damaged)?;
        let number = match self.number {
            None => step,
            Some(_) if step == 0 => return Err(Damaged),
            Some(before) => before.checked_add(step).ok_or(Damaged)?,
        };
        self.number = Some(number);
        let bytes = self.rest.0.get(..shape.length + PAD).ok_or(Damaged)?;
        self.rest.take(shape.length)?;
        if self.left == 0 && self.rest.0 != [0; PAD] {
            return Err(Damaged);
        }
        Ok((number, Row { parts, bytes }))
    }
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<(i64, Row<'a>), Damaged>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let read = self.read();
        if read.is_err() {
            self.left = 0;
        }
        Some(read)
    }
}

/// A block that is written.
#[derive(Debug, Default)]
pub(super) struct Writer {
    shapes: Vec<u64>,
    places: HashMap<u64, u64>,
    rows: Vec<u8>,
    count: u64,
    last: u64,
}

impl Writer {
    /// The next row; numbers of series are positive and rise.
    pub(super) fn push(&mut self, number: i64, values: &Values) {
        debug_assert!(self.count == 0 || number.cast_unsigned() > self.last);
        put(
            &mut self.rows,
            number.cast_unsigned().wrapping_sub(self.last),
        );
        self.last = number.cast_unsigned();
        self.count += 1;
        let mut shape = 0;
        for (sum, value) in values.0.iter().enumerate() {
            shape |= u64::from(length(*value)) << (4 * sum);
        }
        let shapes = &mut self.shapes;
        let place = *self.places.entry(shape).or_insert_with(|| {
            shapes.push(shape);
            shapes.len() as u64 - 1
        });
        put(&mut self.rows, place);
        for value in values.0 {
            let bytes = value.to_le_bytes();
            let taken = bytes.get(..length(value) as usize);
            self.rows.extend_from_slice(taken.unwrap_or_default());
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let mut data = Vec::with_capacity(self.rows.len() + self.shapes.len() * WORD + 16);
        data.push(VERSION);
        put(&mut data, self.shapes.len() as u64);
        for shape in self.shapes {
            data.extend_from_slice(&shape.to_le_bytes());
        }
        put(&mut data, self.count);
        data.extend_from_slice(&self.rows);
        data.extend_from_slice(&[0; PAD]);
        data
    }
}

/// Bytes that a number takes.
const fn length(value: u64) -> u32 {
    (u64::BITS - value.leading_zeros()).div_ceil(8)
}

/// A block and sums that are added to it, which are by the numbers of their series, too.
pub(super) fn merge(old: Option<&[u8]>, new: &[(i64, Values)]) -> Result<Vec<u8>, Damaged> {
    let mut merged = Writer::default();
    let mut new = new.iter().peekable();
    if let Some(old) = old {
        for row in Block::open(old)?.rows() {
            let (number, row) = row?;
            while let Some((earlier, values)) = new.next_if(|(other, _)| *other < number) {
                merged.push(*earlier, values);
            }
            let mut values = row.values();
            if let Some((_, more)) = new.next_if(|(other, _)| *other == number) {
                values.add(more);
            }
            merged.push(number, &values);
        }
    }
    for (number, values) in new {
        merged.push(*number, values);
    }
    Ok(merged.finish())
}

#[cfg(test)]
mod tests;
