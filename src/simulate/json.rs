//! Writing into JSON by the pointers that adapters read with. No I/O.

use serde_json::{Map, Value};

use crate::adapter::pointer::Pointer;

/// The member under which an object is filled whose keys only the provider knows.
const ANY_KEY: &str = "simulated";

/// The place that a pointer leads to, made where it is missing. Where the pointer says `*` for the last time, the first
/// element that `fits` is taken, else a new one. `None`: something else stands in the way.
pub(super) fn place<'v>(
    root: &'v mut Value,
    pointer: &Pointer,
    fits: &dyn Fn(&Value) -> bool,
) -> Option<&'v mut Value> {
    let steps: Vec<Option<&str>> = pointer.steps().collect();
    descend(root, &steps, fits)
}

/// Writes a scalar; `false` when another value stands there.
pub(super) fn set(root: &mut Value, pointer: &Pointer, scalar: &Value) -> bool {
    match place(root, pointer, &|_| true) {
        Some(place) if place.is_null() => {
            *place = scalar.clone();
            true
        }
        Some(place) => place == scalar,
        None => false,
    }
}

/// Writes a scalar over whatever scalar stands there.
pub(super) fn overwrite(root: &mut Value, pointer: &Pointer, scalar: Value) {
    if let Some(place) = place(root, pointer, &|_| true) {
        *place = scalar;
    }
}

/// A text as the JSON value that it most likely is: an integer as a number, all else as a string.
pub(super) fn scalar(text: &str) -> Value {
    match text.parse::<i64>() {
        // Not `007`, which would come back as `7`.
        Ok(number) if number.to_string() == text => number.into(),
        _ => match text.parse::<f64>() {
            Ok(number) if number.is_finite() && number.to_string() == text => number.into(),
            _ => text.into(),
        },
    }
}

fn descend<'v>(
    value: &'v mut Value,
    steps: &[Option<&str>],
    fits: &dyn Fn(&Value) -> bool,
) -> Option<&'v mut Value> {
    let Some((step, rest)) = steps.split_first() else {
        return Some(value);
    };
    if value.is_null() {
        let list = match step {
            Some(name) => *name == "0",
            // Meta's usage is an object of lists: the last `*` is the list.
            None => !rest.contains(&None),
        };
        *value = if list {
            Value::Array(Vec::new())
        } else {
            Value::Object(Map::new())
        };
    }
    match (value, step) {
        (Value::Object(members), Some(name)) => {
            let member = members.entry((*name).to_owned()).or_insert(Value::Null);
            descend(member, rest, fits)
        }
        (Value::Object(members), None) => {
            let key = members
                .keys()
                .next()
                .cloned()
                .unwrap_or_else(|| ANY_KEY.to_owned());
            descend(members.entry(key).or_insert(Value::Null), rest, fits)
        }
        (Value::Array(items), step) => {
            let index = match step {
                Some(name) => name.parse().ok()?,
                None if rest.is_empty() => items.iter().position(fits).unwrap_or(items.len()),
                None => 0,
            };
            if index == items.len() {
                items.push(Value::Null);
            }
            descend(items.get_mut(index)?, rest, fits)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pointer(text: &str) -> Pointer {
        Pointer::new(text).unwrap()
    }

    #[test]
    fn what_is_set_is_found_by_the_same_pointer() {
        for text in [
            "/policyName",
            "/0/errorCode",
            "/errors/*/extensions/code",
            "/*/*",
            "/extensions/cost/throttleStatus/maximumAvailable",
        ] {
            let mut root = Value::Null;
            assert!(set(&mut root, &pointer(text), &json!(7)), "{text}");
            assert_eq!(pointer(text).first(&root), Some(&json!(7)), "{root}");
            assert!(set(&mut root, &pointer(text), &json!(7)), "again: {text}");
            assert!(!set(&mut root, &pointer(text), &json!(8)), "{text}");
        }
    }

    #[test]
    fn lists_and_objects_are_those_that_providers_send() {
        let mut root = Value::Null;
        set(&mut root, &pointer("/0/errorCode"), &json!("X"));
        assert_eq!(root, json!([{ "errorCode": "X" }]));
        let mut root = Value::Null;
        set(&mut root, &pointer("/*/*"), &json!(1));
        assert_eq!(root, json!({ "simulated": [1] }));
    }

    #[test]
    fn scalars_keep_their_spelling() {
        for (text, value) in [
            ("7", json!(7)),
            ("007", json!("007")),
            ("0.5", json!(0.5)),
            ("-3", json!(-3)),
            ("DAILY", json!("DAILY")),
            ("NaN", json!("NaN")),
            ("1e3", json!("1e3")),
        ] {
            assert_eq!(scalar(text), value, "{text}");
        }
    }
}
