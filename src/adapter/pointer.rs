//! JSON pointers (RFC 6901) with `*` for every element of an array or object.

use serde_json::Value;

/// A compiled pointer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Every,
}

impl Pointer {
    /// Compiles a pointer.
    ///
    /// # Errors
    /// It is neither empty nor begins with `/`.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err("a JSON pointer begins with `/`, as in \"/error/code\"");
        }
        let steps = text
            .split('/')
            .skip(1)
            .map(|step| match step {
                "*" => Step::Every,
                name => Step::Name(name.replace("~1", "/").replace("~0", "~")),
            })
            .collect();
        Ok(Self {
            text: text.to_owned(),
            steps,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names on the way, `None` for `*`.
    pub fn steps(&self) -> impl Iterator<Item = Option<&str>> {
        self.steps.iter().map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Every => None,
        })
    }

    /// Hands every value it points to to `visit`.
    pub fn select<'v>(&self, root: &'v Value, visit: &mut dyn FnMut(&'v Value)) {
        descend(&self.steps, root, visit);
    }

    /// The first value it points to.
    #[must_use]
    pub fn first<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        let mut found = None;
        self.select(root, &mut |value| {
            found.get_or_insert(value);
        });
        found
    }
}

fn descend<'v>(steps: &[Step], value: &'v Value, visit: &mut dyn FnMut(&'v Value)) {
    let Some((step, rest)) = steps.split_first() else {
        visit(value);
        return;
    };
    match (step, value) {
        (Step::Every, Value::Array(items)) => {
            for item in items {
                descend(rest, item, visit);
            }
        }
        (Step::Every, Value::Object(members)) => {
            for item in members.values() {
                descend(rest, item, visit);
            }
        }
        (Step::Name(name), Value::Object(members)) => {
            if let Some(item) = members.get(name) {
                descend(rest, item, visit);
            }
        }
        (Step::Name(name), Value::Array(items)) => {
            if let Some(item) = name
                .parse::<usize>()
                .ok()
                .and_then(|index| items.get(index))
            {
                descend(rest, item, visit);
            }
        }
        _ => {}
    }
}

/// The text of a scalar: strings as they are, numbers and booleans as JSON spells them.
#[must_use]
pub fn scalar_text(value: &Value) -> Option<std::borrow::Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(flag) => Some(if *flag { "true" } else { "false" }.into()),
        _ => None,
    }
}
