//! The JSON Schemas: what is committed is what the code says, every shipped adapter satisfies it, and what the language
//! refuses by its shape alone the schema refuses too.

use std::fs;

use serde_json::Value;

use super::{repository, run};
use crate::support::cases::snapshots;

fn committed() -> Value {
    let text = fs::read_to_string(repository().join("providers/adapter.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn document(source: &str) -> Option<Value> {
    toml::from_str(source).ok()
}

/// A validator for the words that headroom's schemas use; any other word is a failure, so that none is passed over.
fn check(root: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let members = schema.as_object().unwrap();
    for (word, rule) in members {
        match word.as_str() {
            "$schema" | "title" | "description" | "definitions" => {}
            "$ref" => {
                let name = rule
                    .as_str()
                    .unwrap()
                    .strip_prefix("#/definitions/")
                    .unwrap();
                let target = root["definitions"]
                    .get(name)
                    .unwrap_or_else(|| panic!("{name}"));
                wrong.extend(check(root, target, value, place));
            }
            "type" => {
                let fits = match rule.as_str().unwrap() {
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("the type {other}"),
                };
                if !fits {
                    wrong.push(format!("{place} is no {rule}"));
                }
            }
            "enum" => {
                if !rule.as_array().unwrap().contains(value) {
                    wrong.push(format!("{place} is none of {rule}"));
                }
            }
            "minimum" => {
                if value
                    .as_f64()
                    .is_some_and(|number| number < rule.as_f64().unwrap())
                {
                    wrong.push(format!("{place} is below {rule}"));
                }
            }
            "required" => {
                for key in rule.as_array().unwrap() {
                    if value.is_object() && value.get(key.as_str().unwrap()).is_none() {
                        wrong.push(format!("{place} has no {key}"));
                    }
                }
            }
            "properties" => {
                for (key, schema) in rule.as_object().unwrap() {
                    if let Some(member) = value.get(key) {
                        wrong.extend(check(root, schema, member, &format!("{place}/{key}")));
                    }
                }
            }
            "additionalProperties" => {
                let known = members.get("properties").and_then(Value::as_object);
                for (key, member) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(key)) {
                        continue;
                    }
                    match rule {
                        Value::Bool(false) => wrong.push(format!("{place} cannot have {key}")),
                        schema => {
                            wrong.extend(check(root, schema, member, &format!("{place}/{key}")))
                        }
                    }
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    wrong.extend(check(root, rule, item, &format!("{place}/{index}")));
                }
            }
            "allOf" => {
                for schema in rule.as_array().unwrap() {
                    wrong.extend(check(root, schema, value, place));
                }
            }
            "anyOf" => {
                let all: Vec<Vec<String>> = rule
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|schema| check(root, schema, value, place))
                    .collect();
                if all.iter().all(|wrong| !wrong.is_empty()) {
                    wrong.extend(all.concat());
                }
            }
            other => panic!("this validator does not know `{other}`"),
        }
    }
    wrong
}

#[test]
fn the_committed_schema_is_what_the_code_says() {
    let printed = run(&["schema", "adapter"], "");
    assert_eq!(printed.code, 0);
    let committed = fs::read_to_string(repository().join("providers/adapter.schema.json")).unwrap();
    assert!(
        printed.stdout == committed,
        "write it anew: headroom schema adapter > providers/adapter.schema.json"
    );
    let config = run(&["schema", "config"], "");
    let config: Value = serde_json::from_str(&config.stdout).unwrap();
    let sample = "listen = \"127.0.0.1:8080\"\n[connections.crm]\nprovider = \"hubspot\"\nquotas = { daily = 500 }\nmode = { daily = \"wait\" }\n\
                  reserve = { share = \"10%\", consumers = [] }\n[connections.time]\nmode = \"observe\"\n\
                  [history]\nkeep_events = \"2h\"\nmax_events = 5\nkeep_minutes = \"26h\"\nkeep_hours = \"8d\"\nkeep_days = \"8d\"\nmax_size = 16777216\n";
    assert_eq!(
        check(&config, &config, &document(sample).unwrap(), ""),
        [""; 0]
    );
    for wrong in [
        "listn = 1\n",
        "[history]\nkeep_weeks = \"2h\"\n",
        "[history]\nmax_size = \"900MiB\"\n",
    ] {
        let wrong = document(wrong).unwrap();
        assert_eq!(check(&config, &config, &wrong, "").len(), 1, "{wrong}");
    }
}

#[test]
fn every_shipped_adapter_satisfies_the_schema() {
    let schema = committed();
    for (id, source) in headroom::adapter::catalog::shipped() {
        let document = document(source).unwrap_or_else(|| panic!("{id}"));
        assert_eq!(check(&schema, &schema, &document, ""), [""; 0], "{id}");
    }
}

/// An editor underlines what `headroom check` refuses, as far as a schema can tell.
#[test]
fn the_schema_refuses_what_the_shape_refuses() {
    let schema = committed();
    let shape = ["unknown-key", "missing-key", "wrong-type", "unknown-word"];
    let mut seen = 0;
    for entry in fs::read_dir(snapshots().join("_rejected")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let Some(document) = document(&fs::read_to_string(&path).unwrap()) else {
            continue;
        };
        // An empty list of pages is there, so the schema has nothing against it.
        let by_shape =
            shape.iter().any(|code| stem.starts_with(code)) && stem != "missing-key-empty-docs";
        if by_shape {
            assert!(!check(&schema, &schema, &document, "").is_empty(), "{stem}");
            seen += 1;
        } else if !stem.starts_with("many-") && !stem.starts_with("number-out-of-range") {
            assert_eq!(check(&schema, &schema, &document, ""), [""; 0], "{stem}");
        }
    }
    assert!(seen > 10, "{seen}");
}
