//! The JSON schema of topology files, derived from the schemas of the registered components.

use serde_json::{Map, Value, json};

use crate::component::Role;
use crate::registry::{Entry, Registry};

/// The dialect of the schema.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Schemas below these words of a schema are named, and not part of it.
const MAPS_OF_SCHEMAS: [&str; 2] = ["properties", "patternProperties"];

/// Words of a schema behind which lists of schemas stand.
const LISTS_OF_SCHEMAS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];

/// Words of a schema behind which a schema stands.
const SCHEMAS: [&str; 2] = ["items", "additionalProperties"];

/// Returns the JSON schema of a topology file in the form that
/// [`file_as_json`](super::file_as_json) gives it.
pub fn json_schema(registry: &Registry) -> Value {
    let mut definitions = Map::new();
    definitions.insert("Outside".into(), outside());
    definitions.insert("Text".into(), text_or_outside(json!({ "type": "string" })));
    definitions.insert("OnError".into(), on_error());
    definitions.insert("Input".into(), input());
    definitions.insert("Test".into(), record("Test", &[], test_fields()));
    let mut runs = [Vec::new(), Vec::new()];
    for entry in registry.entries() {
        let is_spout = entry.role == Role::Spout;
        let key = format!("{}.{}", if is_spout { "spout" } else { "bolt" }, entry.name);
        component(entry, &key, &mut definitions);
        let place = &mut runs[usize::from(!is_spout)];
        for name in entry.aliases.iter().copied().chain([entry.name]) {
            place.push(json!({
                "type": "object",
                "properties": { name: { "$ref": format!("#/$defs/{key}") } },
                "required": [name],
                "additionalProperties": false,
            }));
            if !needs_fields(&definitions[&key]) {
                place.push(json!({ "const": name }));
            }
        }
    }
    let [spouts, bolts] = runs;
    definitions.insert("Spout".into(), record("Spout", &["run"], spout_fields(spouts)));
    definitions.insert("Bolt".into(), record("Bolt", &["run", "inputs"], bolt_fields(bolts)));
    let mut schema = record("Topology", &[], topology_fields());
    schema["$schema"] = DIALECT.into();
    schema["title"] = "Topology of Waterspout".into();
    schema["description"] =
        "A topology file as JSON: `Name(field: 1)` is {\"Name\": {\"field\": 1}}, \
        `Name(\"text\")` is {\"Name\": \"text\"}, and a bare `Name` is \"Name\"."
            .into();
    schema["$defs"] = definitions.into();
    schema
}

/// Puts the schema of a component, and what it refers to, under the definitions.
fn component(entry: &Entry, key: &str, definitions: &mut Map<String, Value>) {
    let mut schema = entry.schema().to_value();
    let own = schema.as_object_mut().and_then(|schema| {
        schema.remove("$schema");
        schema.remove("$defs")
    });
    for (name, definition) in own.as_ref().and_then(Value::as_object).into_iter().flatten() {
        let adapted = adapt(definition, key);
        let adapted = match adapted.get("properties") {
            // The name of a struct may be written or left out.
            Some(_) => json!({ "anyOf": [adapted, wrapped(name, adapted.clone())] }),
            None => adapted,
        };
        definitions.insert(format!("{key}.{name}"), adapted);
    }
    definitions.insert(key.to_owned(), adapt(&schema, key));
}

/// Returns true if a component can't stand as a bare name.
fn needs_fields(schema: &Value) -> bool {
    schema["required"].as_array().is_some_and(|required| !required.is_empty())
}

/// Makes of a component's schema one of its RON as JSON: references lead to the component's own
/// definitions, no unknown field is allowed, and text may come from outside.
fn adapt(schema: &Value, key: &str) -> Value {
    let Some(object) = schema.as_object() else { return schema.clone() };
    let mut adapted = Map::new();
    for (word, held) in object {
        let word = word.as_str();
        let held = match held {
            Value::Object(all) if MAPS_OF_SCHEMAS.contains(&word) => {
                let all = all.iter().map(|(name, one)| (name.clone(), adapt(one, key)));
                Value::Object(all.collect())
            }
            Value::Array(all) if LISTS_OF_SCHEMAS.contains(&word) => {
                all.iter().map(|one| adapt(one, key)).collect()
            }
            held if SCHEMAS.contains(&word) => adapt(held, key),
            Value::String(path) if word == "$ref" => {
                path.replace("#/$defs/", &format!("#/$defs/{key}.")).into()
            }
            held => held.clone(),
        };
        adapted.insert(word.to_owned(), held);
    }
    if adapted.contains_key("properties") && !adapted.contains_key("additionalProperties") {
        adapted.insert("additionalProperties".into(), false.into());
    }
    let adapted = Value::Object(adapted);
    if is_text(&adapted) { text_or_outside(adapted) } else { adapted }
}

/// Returns true for any text, as against a word of a list.
fn is_text(schema: &Value) -> bool {
    let kind = &schema["type"];
    let has_text =
        kind == "string" || kind.as_array().is_some_and(|all| all.contains(&json!("string")));
    has_text && schema.get("enum").is_none() && schema.get("const").is_none()
}

/// Text that may be written as `Env("NAME")` or `File("path")` too. A secret may only be written so;
/// a path may not.
fn text_or_outside(mut schema: Value) -> Value {
    let format = schema["format"].as_str().unwrap_or_default().to_owned();
    let outside = json!({ "$ref": "#/$defs/Outside" });
    let mut described = Map::new();
    if let Some(object) = schema.as_object_mut() {
        for word in ["title", "description", "default"] {
            described.extend(object.remove_entry(word));
        }
    }
    let may_be_missing = schema["type"].is_array();
    let options = match format.as_str() {
        "path" => vec![schema],
        "secret" if may_be_missing => vec![outside, json!({ "type": "null" })],
        "secret" => vec![outside],
        _ => vec![schema, outside],
    };
    described.insert("anyOf".into(), options.into());
    Value::Object(described)
}

fn wrapped(name: &str, held: Value) -> Value {
    json!({
        "type": "object",
        "properties": { name: held },
        "required": [name],
        "additionalProperties": false,
    })
}

/// A struct of the engine's own, whose name may be left out.
fn record(name: &str, required: &[&str], fields: Value) -> Value {
    let body = json!({
        "type": "object",
        "properties": fields,
        "required": required,
        "additionalProperties": false,
    });
    json!({ "anyOf": [wrapped(name, body.clone()), body] })
}

/// A variant with something in it.
fn outside() -> Value {
    let path = json!({ "type": "string", "minLength": 1 });
    json!({
        "description": "Text from the environment or from a file.",
        "anyOf": [wrapped("Env", path.clone()), wrapped("File", path)],
    })
}

fn text() -> Value {
    json!({ "$ref": "#/$defs/Text" })
}

fn whole(min: u64) -> Value {
    json!({ "type": "integer", "minimum": min })
}

/// The fields of `Topology(…)`. A part of a topology, which others include, needs none of them.
fn topology_fields() -> Value {
    let map_of = |name: &str| {
        let held = json!({ "$ref": format!("#/$defs/{name}") });
        json!({ "type": "object", "additionalProperties": held })
    };
    let checkpoint = record("Checkpoint", &[], json!({ "every": text() }));
    json!({
        "name": text(),
        "spouts": map_of("Spout"),
        "bolts": map_of("Bolt"),
        "include": { "type": "array", "items": { "type": "string" } },
        "checkpoint": { "anyOf": [{ "const": "Off" }, checkpoint] },
        "micro_batch": record("MicroBatch", &[], json!({ "posts": whole(1), "bytes": text(), "age": text() })),
        "partition": record("Partition", &[], json!({ "every": text() })),
        "memory": text(),
        "restarts": record("Restarts", &[], json!({ "max": whole(0), "within": text() })),
        "tests": map_of("Test"),
    })
}

fn spout_fields(runs: Vec<Value>) -> Value {
    json!({
        "run": { "anyOf": runs },
        "parallelism_hint": { "type": "integer", "minimum": 1, "maximum": super::PARALLELISM_HINT_MAX },
        "batch": { "type": "integer", "minimum": 1, "maximum": super::component::BATCH_MAX },
        "linger": { "anyOf": [text(), { "type": "null" }] },
    })
}

fn bolt_fields(runs: Vec<Value>) -> Value {
    let mut fields = spout_fields(runs);
    fields["inputs"] =
        json!({ "type": "array", "items": { "$ref": "#/$defs/Input" }, "minItems": 1 });
    fields["on_error"] = json!({ "$ref": "#/$defs/OnError" });
    fields
}

/// An input: a grouping, the component that emits, and for some the fields to group by.
fn input() -> Value {
    let name = json!({ "type": "string" });
    let keys = json!({ "type": "array", "items": name.clone(), "minItems": 1 });
    let options: Vec<_> = super::inputs::GROUPINGS
        .iter()
        .map(|grouping| match super::inputs::has_keys(grouping) {
            true => {
                let both = [name.clone(), keys.clone()];
                let held =
                    json!({ "type": "array", "prefixItems": both, "minItems": 2, "maxItems": 2 });
                wrapped(grouping, held)
            }
            false => wrapped(grouping, name.clone()),
        })
        .collect();
    json!({ "anyOf": options })
}

fn on_error() -> Value {
    let then = json!({ "enum": ["DeadLetter", "Stop"] });
    let retry = record("Retry", &[], json!({ "times": whole(0), "then": then }));
    json!({ "anyOf": [{ "enum": ["Retry", "DeadLetter", "Stop"] }, retry] })
}

/// A test has posts and rows of any form.
fn test_fields() -> Value {
    json!({
        "clock": { "type": "string" },
        "ends": { "type": "boolean" },
        "env": { "type": "object", "additionalProperties": { "type": "string" } },
        "input": { "type": "object" },
        "expect": { "type": "object" },
        "dead_letters": {},
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::component::{BOLT_FIELDS, SPOUT_FIELDS};
    use super::super::settings::TOPOLOGY_FIELDS;
    use super::super::test_cases::TEST_FIELDS;
    use super::*;

    #[track_caller]
    fn same_names(fields: &Value, expected: &[&str]) {
        let found: BTreeSet<_> = fields.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found, expected.iter().copied().collect());
    }

    #[test]
    fn the_schema_knows_the_fields_that_the_loader_knows() {
        same_names(&topology_fields(), &TOPOLOGY_FIELDS);
        same_names(&spout_fields(Vec::new()), &SPOUT_FIELDS);
        same_names(&bolt_fields(Vec::new()), &BOLT_FIELDS);
        same_names(&test_fields(), &TEST_FIELDS);
    }

    #[test]
    fn each_component_and_all_that_it_refers_to_is_in_the_schema() {
        let registry = crate::components::standard();
        let schema = json_schema(&registry);
        let text = schema.to_string();
        for entry in registry.entries() {
            assert!(text.contains(&format!("\"{}\":{{\"$ref\"", entry.name)), "{}", entry.name);
        }
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let path = reference.split('"').next().unwrap();
            assert!(schema.pointer(path).is_some(), "{path}");
        }
    }
}
