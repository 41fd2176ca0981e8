//! What answers teach of partitions that no path names: which organization a workspace belongs to.

use http::{Method, StatusCode};
use serde_json::Value;

use super::partition::decoded;
use crate::adapter::condition::Body;
use crate::adapter::pointer::{Pointer, scalar_text};
use crate::adapter::{Adapter, Call, Learn};

/// One thing learned: where the path has `value` for `from`, the call counts against `learned` of `partition`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson<'a> {
    /// What is known now, without braces: `organization`.
    pub partition: &'a str,
    /// What the path has instead: `workspace`.
    pub from: &'a str,
    /// Its value.
    pub value: String,
    /// What belongs to it.
    pub learned: String,
}

/// Whether the answer to this call may teach something, so that its body is worth reading.
#[must_use]
pub fn may_teach(adapter: &Adapter, call: &Call<'_>, status: StatusCode) -> bool {
    // An answer to HEAD has no body.
    status.is_success() && *call.method != Method::HEAD && rules(adapter, call).next().is_some()
}

/// The rules that the call's path fits.
fn rules<'a>(adapter: &'a Adapter, call: &Call<'a>) -> impl Iterator<Item = (&'a Learn, &'a str)> {
    let path = call.path;
    adapter
        .policies
        .iter()
        .flat_map(|policy| &policy.learn)
        .filter_map(move |rule| Some((rule, path.filter(|path| rule.path.fits(path))?)))
}

/// What an answer teaches. Its body has to be whole; whatever is not as the adapter says teaches nothing.
#[must_use]
pub fn lessons<'a>(adapter: &'a Adapter, call: &Call<'a>, body: &[u8]) -> Vec<Lesson<'a>> {
    let body = Body::new(Some(body));
    let mut lessons = Vec::new();
    for (rule, path) in rules(adapter, call) {
        let Some(root) = body.json() else { break };
        let mut learn = |element: &Value| {
            let value = match &rule.key {
                Some(key) => text(key, element),
                None => rule.path.capture(path, &rule.from).map(|value| {
                    // As `partition` asks for it.
                    String::from_utf8_lossy(&decoded(value)).into_owned()
                }),
            };
            if let (Some(value), Some(learned)) = (value, text(&rule.json, element)) {
                lessons.push(Lesson {
                    partition: &rule.partition,
                    from: &rule.from,
                    value,
                    learned,
                });
            }
        };
        match &rule.each {
            Some(each) => each.select(root, &mut learn),
            None => learn(root),
        }
    }
    lessons
}

/// The scalar that a pointer leads to. An empty one names nothing.
fn text(pointer: &Pointer, element: &Value) -> Option<String> {
    let text = scalar_text(pointer.first(element)?)?;
    (!text.is_empty()).then(|| text.into_owned())
}
