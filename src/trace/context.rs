//! The fields of a trace (W3C Trace Context): `traceparent`, and `tracestate`, which passes as it is.

use http::{HeaderName, HeaderValue};

use super::Spans;
use crate::clock;
use crate::fields::Fields;

/// The trace and the span that a request is part of.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What vendors know of the trace.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Somebody records it.
const SAMPLED: u8 = 1;
/// The flags that are known: sampled, and that the trace's id is random.
const KNOWN: u8 = 3;

/// A span's id; never 0.
pub type SpanId = u64;

/// Which trace and which span of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The trace's id; never 0.
    pub trace: u128,
    /// The span.
    pub span: SpanId,
    flags: u8,
}

impl Context {
    /// What a request says. Lines that nobody can read, and several, say nothing.
    #[must_use]
    pub fn of(headers: &Fields) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT);
        let line = lines.next()?;
        if lines.next().is_some() {
            return None;
        }
        let line = line.as_bytes();
        let (known, rest) = line.split_at_checked(55)?;
        let known = std::str::from_utf8(known).ok()?;
        let mut parts = known.split('-');
        let version = hex(parts.next()?, 2)?;
        // A later version may have more behind it.
        let fits = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => matches!(rest.first(), None | Some(b'-')),
        };
        let trace = hex(parts.next()?, 32)?;
        let span = u64::try_from(hex(parts.next()?, 16)?).ok()?;
        let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
        let is_whole = parts.next().is_none() && fits && trace != 0 && span != 0;
        is_whole.then_some(Self {
            trace,
            span,
            flags: flags & KNOWN,
        })
    }

    /// Whether somebody records it.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    fn value(&self) -> Option<HeaderValue> {
        let Self { trace, span, flags } = self;
        let line = format!("00-{trace:032x}-{span:016x}-{flags:02x}");
        HeaderValue::try_from(line).ok()
    }
}

/// So many lower-case digits.
fn hex(digits: &str, count: usize) -> Option<u128> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let fits = digits.len() == count && digits.bytes().all(is_digit);
    fits.then(|| u128::from_str_radix(digits, 16).ok())?
}

impl Spans {
    /// The spans of a call with this head; `None`: its caller says that nobody records it, and it passes as it is.
    #[must_use]
    pub fn begin(headers: &Fields) -> Option<Self> {
        let caller = Context::of(headers);
        if caller.is_some_and(|caller| !caller.is_sampled()) {
            return None;
        }
        let random = || clock::random().max(1);
        let trace = || (u128::from(random()) << 64) | u128::from(random());
        Some(Self {
            told: Context {
                trace: caller.map_or_else(trace, |caller| caller.trace),
                span: random(),
                flags: caller.map_or(SAMPLED, |caller| caller.flags),
            },
            parent: caller.map(|caller| caller.span),
            server: random(),
        })
    }

    /// Tells the provider.
    pub fn write(&self, headers: &mut Fields) {
        let Some(value) = self.told.value() else {
            return;
        };
        headers.insert(&TRACEPARENT, &value);
        if self.parent.is_none() {
            // It was said of a trace that this is not.
            headers.remove(TRACESTATE);
        }
    }
}
