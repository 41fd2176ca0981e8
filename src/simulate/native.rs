//! The translator's inverse: (adapter, state of its policies) → native headers and body, such that translating them gives
//! the state back. Pure: no clock, no I/O. What cannot be written is left out and said, never invented.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, StatusCode};
use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use super::draft::Payload;
use super::draft::{Draft, Piece};
use super::example;
use crate::adapter::condition::{Body, Matcher, ResponseCondition};
use crate::adapter::reading::{Extract, Narrow, Quantity, Reading, Source, Spelling};
use crate::adapter::{Adapter, Answer, Call, Policy};
use crate::form::{Decimal, Moment, TimeForm};
use crate::quota::Unit;
use crate::translate::window;

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
            match pen.spell(reading) {
                Ok(Some((header, piece, quantities))) => writings.push(Writing {
                    policy: Some(state.policy),
                    reading,
                    header,
                    piece,
                    quantities,
                    dropped: false,
                }),
                Ok(None) => {}
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
        write_structured(scene, states, fields, &mut native);
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
        let answer = Answer {
            status: frame.status,
            headers: &headers,
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
        match pen.spell(reading) {
            Ok(Some((header, piece, quantities))) => writings.push(Writing {
                policy: None,
                reading,
                header,
                piece,
                quantities,
                dropped: false,
            }),
            Ok(None) => {}
            Err(reason) => {
                left_out.insert(format!("retry_after: {reason}"));
            }
        }
    }
}

/// Header (or body), piece and quantities of a reading.
type Spelled<'a> = (Option<HeaderName>, Piece<'a>, Vec<Quantity>);

/// Writes one state.
struct Pen<'a, 's> {
    scene: &'s Scene<'a>,
    state: &'s State,
    /// The documented window in seconds, which rates refer to.
    window: Option<u64>,
}

impl<'a> Pen<'a, '_> {
    /// `Ok(None)`: the state does not know what the reading tells.
    fn spell(&self, reading: &'a Reading) -> Result<Option<Spelled<'a>>, String> {
        let header = match &reading.source {
            Source::Header(name) => Some(name.clone()),
            Source::Body => None,
            Source::Headers(pattern) => {
                let Some(label) = self.state.label.as_deref() else {
                    return Err(format!(
                        "the name of the header `{pattern}` is not known without a label"
                    ));
                };
                let name = example::text(pattern.as_str(), Some(label))
                    .and_then(|name| name.parse::<HeaderName>().ok());
                if name.is_none() {
                    return Err(format!("no header `{pattern}` can be named by `{label}`"));
                }
                name
            }
        };
        let spelled = match &reading.extract {
            Extract::One(narrow, quantity, spelling) => {
                let Some(text) = self.text(*quantity, spelling, reading)? else {
                    return Ok(None);
                };
                (narrowed(narrow, text, reading)?, vec![*quantity])
            }
            Extract::Slash(first) => {
                let plain = Spelling::Number(crate::form::NumberForm::Number);
                let left = self.text(*first, &plain, reading)?;
                let limit = self.text(Quantity::Limit, &plain, reading)?;
                let Some((left, limit)) = left.zip(limit) else {
                    return Ok(None);
                };
                let piece = Piece::Whole(format!("{left}/{limit}"));
                (piece, vec![*first, Quantity::Limit])
            }
            Extract::Windowed => {
                let Some(limit) = self.state.limit else {
                    return Ok(None);
                };
                match self.state.window {
                    Some(secs) => (
                        Piece::Whole(format!("{limit};w={secs}")),
                        vec![Quantity::Limit, Quantity::Window],
                    ),
                    None => (Piece::Whole(limit.to_string()), vec![Quantity::Limit]),
                }
            }
            Extract::Groups(pattern, parts) => return self.groups(pattern, parts, reading, header),
            Extract::Each(each, parts) => {
                let mut members = Vec::new();
                let mut quantities = Vec::new();
                let mut identity = None;
                for (pointer, quantity, spelling) in parts {
                    // One member that means nothing does not silence the others.
                    if let Ok(Some(text)) = self.text(*quantity, spelling, reading) {
                        if *quantity == Quantity::Label {
                            identity = Some(members.len());
                        }
                        members.push((pointer, text));
                        quantities.push(*quantity);
                    }
                }
                if quantities
                    .iter()
                    .all(|quantity| *quantity == Quantity::Label)
                {
                    return Ok(None);
                }
                (Piece::Element(each, members, identity), quantities)
            }
        };
        let (piece, quantities) = spelled;
        Ok(Some((header, piece, quantities)))
    }

    /// A pattern with several groups, as its template spells it.
    fn groups(
        &self,
        pattern: &regex::Regex,
        parts: &[(usize, Quantity, Spelling)],
        reading: &Reading,
        header: Option<HeaderName>,
    ) -> Result<Option<Spelled<'a>>, String> {
        let Some(template) = reading.write.as_ref().filter(|_| header.is_some()) else {
            return Err(format!("the pattern `{pattern}` has no `write`"));
        };
        let mut text = template.clone();
        let mut quantities = Vec::new();
        for (_, quantity, spelling) in parts {
            let place = format!("{{{}}}", quantity.name());
            if !text.contains(&place) {
                continue;
            }
            let Some(value) = self.text(*quantity, spelling, reading)? else {
                return Ok(None);
            };
            text = text.replace(&place, &value);
            quantities.push(*quantity);
        }
        if !pattern.is_match(&text) {
            return Err(format!("`{text}` does not fit the pattern `{pattern}`"));
        }
        Ok(Some((header, Piece::Part(text), quantities)))
    }

    /// The text of a quantity. `Ok(None)`: the state does not know it.
    fn text(
        &self,
        quantity: Quantity,
        spelling: &Spelling,
        reading: &Reading,
    ) -> Result<Option<String>, String> {
        let state = self.state;
        let number = match quantity {
            Quantity::Limit => state.limit,
            Quantity::Remaining => state.remaining,
            Quantity::Used => state
                .limit
                .zip(state.remaining)
                .map(|(limit, left)| limit.saturating_sub(left)),
            Quantity::Cost => state.cost,
            Quantity::Reset | Quantity::Window | Quantity::Label => None,
        };
        let moment = match quantity {
            Quantity::Reset => state.reset,
            Quantity::Window => state
                .window
                .and_then(|secs| i64::try_from(secs).ok())
                .map(|secs| Moment::In(jiff::SignedDuration::from_secs(secs))),
            _ => None,
        };
        let text = match spelling {
            Spelling::Name => state.label.as_deref().map(str::to_owned),
            Spelling::Number(form) => match number {
                Some(number) => Some(
                    form.write(Decimal::from(number), self.window)
                        .ok_or_else(|| {
                            format!("{number} cannot be written as \"{}\"", form.name())
                        })?,
                ),
                None => None,
            },
            Spelling::Time(forms) => match moment {
                Some(moment) => Some(self.time(quantity, forms, moment).ok_or_else(|| {
                    format!("its {} cannot be written in its form", quantity.name())
                })?),
                None => None,
            },
        };
        let ignored = text.as_deref().is_some_and(|text| {
            reading
                .ignore
                .iter()
                .any(|ignored| ignored.eq_ignore_ascii_case(text))
        });
        if ignored {
            return Err(format!(
                "a {} of {} means nothing here",
                quantity.name(),
                text.unwrap_or_default()
            ));
        }
        Ok(text)
    }

    /// The first form is the one that the provider sends today.
    fn time(&self, quantity: Quantity, forms: &[TimeForm], moment: Moment) -> Option<String> {
        let now = self.scene.now;
        forms.iter().find_map(|form| match quantity {
            Quantity::Window => form.write(moment, now, Some(UNIT)),
            _ => form.write_up(moment, now, Some(UNIT)),
        })
    }
}

fn narrowed<'a>(narrow: &'a Narrow, text: String, reading: &Reading) -> Result<Piece<'a>, String> {
    Ok(match narrow {
        Narrow::Whole => Piece::Whole(text),
        Narrow::Json(pointer) => Piece::Json(pointer, text),
        Narrow::Key(key) => Piece::Key(key, text),
        Narrow::Item(item) => Piece::Item(*item, text),
        Narrow::Pattern(pattern) => {
            let template = reading
                .write
                .as_ref()
                .filter(|_| !matches!(reading.source, Source::Body));
            let Some(template) = template else {
                return Err(format!("the pattern `{pattern}` has no `write`"));
            };
            let whole = template.replace("{}", &text);
            let found = pattern.captures(&whole).and_then(|found| found.get(1));
            if found.is_none_or(|found| found.as_str() != text) {
                return Err(format!("`{whole}` does not fit the pattern `{pattern}`"));
            }
            Piece::Part(whole)
        }
    })
}

/// The IETF's fields tell of the policies that have no readings of their own.
fn write_structured(
    scene: &Scene<'_>,
    states: &[State],
    (policies, limits): &(HeaderName, HeaderName),
    native: &mut Native,
) {
    let (mut quotas, mut left) = (Vec::new(), Vec::new());
    for state in states {
        let Some(policy) = scene.adapter.policies.get(state.policy) else {
            continue;
        };
        if !policy.readings.is_empty() {
            continue;
        }
        let name = state.label.as_deref().unwrap_or(&policy.name);
        let (Some(quota), Some(remaining)) = (state.limit, state.remaining) else {
            continue;
        };
        let mut item = format!("\"{name}\";q={quota}");
        if let Some(secs) = state.window {
            item.push_str(&format!(";w={secs}"));
        }
        if policy.unit != Unit::Requests {
            item.push_str(&format!(";qu=\"{}\"", policy.unit));
        }
        quotas.push(item);
        let mut item = format!("\"{name}\";r={remaining}");
        if let Some(reset) = state.reset {
            item.push_str(&format!(";t={}", reset.seconds_from(scene.now).max(0)));
            native.told.push((state.policy, Quantity::Reset));
        }
        left.push(item);
        native.told.push((state.policy, Quantity::Limit));
        native.told.push((state.policy, Quantity::Remaining));
    }
    for (name, items) in [(policies, quotas), (limits, left)] {
        if let Ok(value) = items.join(", ").parse()
            && !items.is_empty()
        {
            native.headers.insert(name.clone(), value);
        }
    }
}
