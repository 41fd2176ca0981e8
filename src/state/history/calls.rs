//! Single calls that were written together, as bytes. Pure.
//!
//! A version; the texts that occur, each once; then the calls in the order of their numbers, each number and time as the step
//! from the one before.

use hashbrown::HashMap;

use super::bytes::{Damaged, Reader, put, put_signed, put_text};

const VERSION: u8 = 1;

/// More than this are several blocks: who reads one event reads its block.
pub(super) const MOST: usize = 4_096;

/// Bytes that a call takes at the least.
const LEAST: usize = 11;

/// An event as it is stored: what it was is a number of the dictionary. For its fields see [`super::EventRow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "those of EventRow")]
pub struct EventLine<'a> {
    pub id: i64,
    pub at_ms: i64,
    pub series: i64,
    pub outcome: &'a str,
    pub policy: &'a str,
    pub spent: &'a str,
    pub waited_us: u64,
    pub duration_us: u64,
    pub upstream_us: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
}

pub(super) fn encode(calls: &[EventLine<'_>]) -> Vec<u8> {
    let mut texts: Vec<&str> = Vec::new();
    let mut places: HashMap<&str, u64> = HashMap::new();
    let mut rows = Vec::with_capacity(calls.len() * 24);
    let (mut id, mut at_ms) = (0, 0);
    for call in calls {
        put_signed(&mut rows, call.id.wrapping_sub(id));
        put_signed(&mut rows, call.at_ms.wrapping_sub(at_ms));
        (id, at_ms) = (call.id, call.at_ms);
        put_signed(&mut rows, call.series);
        for text in [call.outcome, call.policy, call.spent] {
            let place = *places.entry(text).or_insert_with(|| {
                texts.push(text);
                texts.len() as u64 - 1
            });
            put(&mut rows, place);
        }
        put(&mut rows, call.waited_us);
        put(&mut rows, call.upstream_us);
        // The rest of the answer is short, mostly.
        let rest = call.duration_us.wrapping_sub(call.upstream_us);
        put_signed(&mut rows, rest.cast_signed());
        put(&mut rows, call.bytes_in);
        put(&mut rows, call.bytes_out);
    }
    let mut data = vec![VERSION];
    put(&mut data, texts.len() as u64);
    for text in texts {
        put_text(&mut data, text);
    }
    put(&mut data, calls.len() as u64);
    data.extend_from_slice(&rows);
    data
}

pub(super) fn decode(data: &[u8]) -> Result<Vec<EventLine<'_>>, Damaged> {
    let mut rest = Reader(data);
    if rest.byte()? != VERSION {
        return Err(Damaged);
    }
    let texts = (0..rest.count(1)?).map(|_| rest.text());
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    let text = |rest: &mut Reader<'_>| {
        let place = usize::try_from(rest.number()?).map_err(|_| Damaged)?;
        texts.get(place).copied().ok_or(Damaged)
    };
    let count = rest.count(LEAST)?;
    let (mut calls, mut id, mut at_ms) = (Vec::with_capacity(count), 0_i64, 0_i64);
    for _ in 0..count {
        id = id.wrapping_add(rest.signed()?);
        at_ms = at_ms.wrapping_add(rest.signed()?);
        let series = rest.signed()?;
        let [outcome, policy, spent] = [text(&mut rest)?, text(&mut rest)?, text(&mut rest)?];
        let (waited_us, upstream_us) = (rest.number()?, rest.number()?);
        calls.push(EventLine {
            id,
            at_ms,
            series,
            outcome,
            policy,
            spent,
            waited_us,
            duration_us: upstream_us.wrapping_add(rest.signed()?.cast_unsigned()),
            upstream_us,
            bytes_in: rest.number()?,
            bytes_out: rest.number()?,
        });
    }
    if !rest.0.is_empty() {
        return Err(Damaged);
    }
    Ok(calls)
}

#[cfg(test)]
mod tests;
