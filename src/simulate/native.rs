//! The translator's inverse: (adapter, state of its policies) → native headers and body, such that translating them gives
//! the state back. Pure: no clock, no I/O. What cannot be written is left out and said, never invented.

mod pen;
mod structured;

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use super::draft::Payload;
use super::draft::{Draft, Piece};
use super::example;
use crate::adapter::condition::{Body, Matcher, ResponseCondition};
use crate::adapter::reading::{Quantity, Reading, Source};
use crate::adapter::{Adapter, Answer, Call, Policy};
use crate::fields::Fields;
use crate::form::Moment;
use crate::translate::window;
use pen::Pen;

/// The unit that a time of the form "unit" is written in.
const UNIT: &str = "seconds";

/// The state of one policy at one moment. What is `None` is not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The policy, as an index into the adapter's.
    pub policy: usize,
    /// The name that the provider gives it in an answer.
    pub label: Option<Arc<str>>,
    /// The quota.
    pub limit: Option<u64>,
    /// What is left.
    pub remaining: Option<u64>,
    /// When quota comes back.
    pub reset: Option<Moment>,
    /// The window's length in seconds.
    pub window: Option<u64>,
    /// What this request cost.
    pub cost: Option<u64>,
}

/// The answer that the state is written into.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// Its status.
    pub status: StatusCode,
    /// Headers that stand there whatever the state is.
    pub headers: HeaderMap,
    /// Headers that stand there unless the state says otherwise.
    pub defaults: HeaderMap,
    /// Headers that must not be there.
    pub without: Vec<HeaderName>,
    /// Its body.
    pub body: Payload,
    /// How long the caller has to wait, for the adapter's own readings of it.
    pub wait: Option<Moment>,
}

/// What was written.
#[derive(Debug, Clone, Default)]
pub struct Native {
    /// All headers of the answer.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Payload,
    /// What the answer tells, of which policy (an index).
    pub told: Vec<(usize, Quantity)>,
    /// What it does not tell, and why.
    pub left_out: BTreeSet<String>,
}

impl Native {
    /// Whether the answer tells this quantity of this policy.
    #[must_use]
    pub fn tells(&self, policy: usize, quantity: Quantity) -> bool {
        self.told.contains(&(policy, quantity))
    }
}

/// What is known where the state is written down.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The provider.
    pub adapter: &'a Adapter,
    /// The account's zone.
    pub zone: Option<&'a TimeZone>,
    /// The request.
    pub call: &'a Call<'a>,
    /// The moment.
    pub now: Timestamp,
}

impl std::fmt::Debug for Scene<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene")
            .field("adapter", &self.adapter.id)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// Writes the state of policies. Where two of them share a header, the first one has it.
#[must_use]
pub fn write(scene: &Scene<'_>, states: &[State], frame: &Frame) -> Native {
    let mut native = Native::default();
    let mut writings = Vec::new();
    for state in states {
        let Some(policy) = scene.adapter.policies.get(state.policy) else {
            continue;
        };
        for reading in &policy.readings {
            let pen = Pen {
                scene,
                state,
                window: window::length_secs(policy, scene.zone, scene.now),
            };
            match Writing::new(&pen, Some(state.policy), reading) {
                Ok(writing) => writings.extend(writing),
                Err(reason) => {
                    native.left_out.insert(format!("{}: {reason}", policy.name));
                }
            }
        }
    }
    if let Some(wait) = frame.wait {
        write_wait(scene, wait, &mut writings, &mut native.left_out);
    }
    let draft = settle(scene, frame, &mut writings, &mut native);
    let (headers, body) = draft.finish();
    native.headers = headers;
    native.body = body;
    if let Some(fields) = &scene.adapter.structured_fields {
        structured::write(scene, states, fields, &mut native);
    }
    native
}

/// What one reading has to find.
struct Writing<'a> {
    /// `None`: the time to wait.
    policy: Option<usize>,
    reading: &'a Reading,
    /// `None`: in the body.
    header: Option<HeaderName>,
    piece: Piece<'a>,
    quantities: Vec<Quantity>,
    /// Its condition does not hold in the answer that came out.
    dropped: bool,
}

impl<'a> Writing<'a> {
    /// What the pen makes of a reading; `None` where the state has nothing to tell.
    fn new(
        pen: &Pen<'a, '_>,
        policy: Option<usize>,
        reading: &'a Reading,
    ) -> Result<Option<Self>, String> {
        let spelled = pen.spell(reading)?;
        Ok(spelled.map(|(header, piece, quantities)| Self {
            policy,
            reading,
            header,
            piece,
            quantities,
            dropped: false,
        }))
    }
}

/// Puts the writings together. Those whose condition does not hold in the result are dropped, and as that may free the
/// place of another one, it is done again until nothing changes: each round drops at least one.
fn settle<'a>(
    scene: &Scene<'a>,
    frame: &Frame,
    writings: &mut [Writing<'a>],
    native: &mut Native,
) -> Draft {
    loop {
        let mut draft = Draft::new(&frame.headers, &frame.body);
        let mut taken = vec![false; writings.len()];
        for (writing, taken) in writings.iter().zip(&mut taken) {
            let unwanted = writing
                .header
                .as_ref()
                .is_some_and(|name| frame.without.contains(name));
            let unit = writing.reading.unit_header.as_ref();
            *taken = !writing.dropped
                && !unwanted
                && draft.put(writing.header.as_ref(), &writing.piece)
                && unit.is_none_or(|name| draft.put(Some(name), &Piece::Whole(UNIT.to_owned())));
        }
        for (writing, taken) in writings.iter().zip(&taken) {
            let policy = writing
                .policy
                .filter(|_| *taken)
                .and_then(|index| scene.adapter.policies.get(index));
            if let Some(policy) = policy {
                wish(policy, frame, &mut draft);
            }
        }
        for (name, value) in &frame.defaults {
            if !draft.has(name) && !frame.without.contains(name) {
                let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
                draft.put(Some(name), &Piece::Whole(text));
            }
        }
        let (headers, body) = draft.finish();
        let bytes = body.to_bytes();
        let fields = Fields::from(&headers);
        let answer = Answer {
            status: frame.status,
            headers: &fields,
            body: Some(&bytes),
        };
        let body = Body::new(Some(&bytes));
        let holds = |condition: &ResponseCondition| condition.holds(scene.call, &answer, &body);
        let mut stable = true;
        for (writing, taken) in writings.iter_mut().zip(&taken) {
            let policy = writing
                .policy
                .and_then(|index| scene.adapter.policies.get(index));
            let speaks = policy.is_none_or(|policy| {
                policy.sent_when.is_empty() || policy.sent_when.iter().any(holds)
            });
            if *taken && !(speaks && writing.reading.when.as_ref().is_none_or(holds)) {
                writing.dropped = true;
                stable = false;
            }
        }
        if stable {
            report(scene, writings, &taken, native);
            return draft;
        }
    }
}

fn report(scene: &Scene<'_>, writings: &[Writing<'_>], taken: &[bool], native: &mut Native) {
    for (writing, taken) in writings.iter().zip(taken) {
        if *taken {
            let told = writing.policy.into_iter().flat_map(|policy| {
                writing
                    .quantities
                    .iter()
                    .map(move |quantity| (policy, *quantity))
            });
            native.told.extend(told);
            continue;
        }
        let name = writing
            .policy
            .and_then(|index| scene.adapter.policies.get(index))
            .map_or("retry_after", |policy| &*policy.name);
        let place = place(writing);
        native.left_out.insert(if writing.dropped {
            format!(
                "{name}: {place} tells it only under a condition that this answer does not meet"
            )
        } else {
            format!("{name}: {place} already tells something else")
        });
    }
}

fn place(writing: &Writing<'_>) -> String {
    writing
        .header
        .as_ref()
        .map_or_else(|| "the body".to_owned(), ToString::to_string)
}

/// Adds the headers that a policy's first condition asks for, where nothing else has written them. A header that the
/// policy reads itself says what the state says, or nothing.
fn wish(policy: &Policy, frame: &Frame, draft: &mut Draft) {
    let Some(condition) = policy.sent_when.first() else {
        return;
    };
    for (name, matcher) in &condition.headers {
        let read =
            |reading: &Reading| matches!(&reading.source, Source::Header(header) if header == name);
        if draft.has(name) || frame.without.contains(name) || policy.readings.iter().any(read) {
            continue;
        }
        if let Some(value) = wanted(matcher, &policy.name) {
            draft.put(Some(name), &Piece::Whole(value));
        }
    }
}

/// A value that a header must have; `None` where none is asked for.
pub(super) fn wanted(matcher: &Matcher, policy: &str) -> Option<String> {
    match matcher {
        Matcher::Is(values) => values.first().cloned(),
        Matcher::Pattern(pattern) => {
            // A provider that names the policy most likely does so by its name.
            let upper = policy.to_ascii_uppercase().replace('-', "_");
            [policy, &upper]
                .into_iter()
                .find(|name| pattern.is_match(name.as_bytes()))
                .map(str::to_owned)
                .or_else(|| example::text(pattern.as_str(), None))
        }
        Matcher::Present(_) | Matcher::Not(_) => None,
    }
}

fn write_wait<'a>(
    scene: &Scene<'a>,
    wait: Moment,
    writings: &mut Vec<Writing<'a>>,
    left_out: &mut BTreeSet<String>,
) {
    let state = State {
        policy: usize::MAX,
        label: None,
        limit: None,
        remaining: None,
        reset: Some(wait),
        window: None,
        cost: None,
    };
    for reading in &scene.adapter.retry_after {
        let pen = Pen {
            scene,
            state: &state,
            window: None,
        };
        match Writing::new(&pen, None, reading) {
            Ok(writing) => writings.extend(writing),
            Err(reason) => {
                left_out.insert(format!("retry_after: {reason}"));
            }
        }
    }
}
