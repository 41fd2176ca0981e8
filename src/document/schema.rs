//! The JSON Schema of a shape, for editors. Draft 7: their TOML plug-ins stop there.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Key, Kind, Shape};

/// The schema of a document of this shape.
#[must_use]
pub fn schema(shape: &'static Shape, title: &str) -> Value {
    let mut definitions = BTreeMap::new();
    let mut root = table(shape, &mut definitions);
    let definitions: Map<String, Value> = definitions.into_iter().collect();
    if let Some(members) = root.as_object_mut() {
        members.insert(
            "$schema".into(),
            "http://json-schema.org/draft-07/schema#".into(),
        );
        members.insert("title".into(), title.into());
        members.insert("definitions".into(), definitions.into());
    }
    root
}

type Definitions = BTreeMap<String, Value>;

fn table(shape: &'static Shape, definitions: &mut Definitions) -> Value {
    let properties: Map<String, Value> = shape
        .keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key, definitions)))
        .collect();
    let required: Vec<&str> = shape
        .keys
        .iter()
        .filter(|key| key.required)
        .map(|key| key.name)
        .collect();
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn property(key: &'static Key, definitions: &mut Definitions) -> Value {
    let schema = kind(&key.kind, definitions);
    // Draft 7 ignores what stands beside a reference, so the description wraps it.
    if schema.get("$ref").is_some() {
        return json!({ "description": key.doc, "allOf": [schema] });
    }
    let mut described = json!({ "description": key.doc });
    if let (Some(described), Value::Object(members)) = (described.as_object_mut(), schema) {
        described.extend(members);
    }
    described
}

fn kind(kind_of: &'static Kind, definitions: &mut Definitions) -> Value {
    match kind_of {
        Kind::Text => json!({ "type": "string" }),
        Kind::Word(words) => json!({ "type": "string", "enum": words }),
        Kind::Integer => json!({ "type": "integer", "minimum": 0 }),
        Kind::Number => json!({ "type": "number", "minimum": 0 }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::List(item) => json!({ "type": "array", "items": kind(item, definitions) }),
        Kind::Map(item) => {
            json!({ "type": "object", "additionalProperties": kind(item, definitions) })
        }
        Kind::Any(kinds) => {
            let kinds: Vec<Value> = kinds.iter().map(|one| kind(one, definitions)).collect();
            json!({ "anyOf": kinds })
        }
        Kind::Table(shape) => {
            let name = shape.title.replace(' ', "-");
            if !definitions.contains_key(&name) {
                // Entered first, so that a shape inside itself ends.
                definitions.insert(name.clone(), Value::Null);
                let schema = table(shape, definitions);
                definitions.insert(name.clone(), schema);
            }
            json!({ "$ref": format!("#/definitions/{name}") })
        }
    }
}
