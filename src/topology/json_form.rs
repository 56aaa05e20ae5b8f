//! A topology file as JSON, in the form that [`json_schema`](super::json_schema) describes.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::include::Files;
use super::problem::{Problems, Report};
use super::syntax::{Field, Kind, Name, Node};
use crate::registry::ron_options;

/// Reads a topology file with everything that it includes, as JSON. Only its syntax and the names of
/// the topology's own fields are checked.
///
/// # Errors
/// If it can't be read, isn't RON, or isn't a `Topology`.
pub fn file_as_json(path: &Path) -> Result<Value, Problems> {
    let mut report = Report::default();
    let tree = Files::new(&mut report, None).file(path, None);
    match tree {
        Some(root) if report.count() == 0 => Ok(json_of(&report, &root)),
        _ => Err(report.finish()),
    }
}

fn json_of(report: &Report, node: &Node) -> Value {
    let spelling = report.sources.text(node.span);
    match &node.kind {
        Kind::Text(text) => text.as_str().into(),
        Kind::Number => number(spelling),
        Kind::Bool => Value::Bool(spelling == "true"),
        Kind::Char => {
            ron_options().from_str::<char>(spelling).map_or(Value::Null, |c| c.to_string().into())
        }
        Kind::Bytes => spelling.into(),
        Kind::Name(name) if name.text == "None" => Value::Null,
        Kind::Name(name) => name.text.as_str().into(),
        Kind::List(items) => list(report, items),
        Kind::Map(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                let key = key.as_text().unwrap_or_else(|| report.sources.text(key.span));
                map.insert(key.to_owned(), json_of(report, value));
            }
            Value::Object(map)
        }
        Kind::Struct { name, fields } => named(name.as_ref(), object(report, fields)),
        Kind::Tuple { name, items } => match (name, items.as_slice()) {
            (name, []) => named(name.as_ref(), json!({})),
            (Some(name), [one]) if name.text == "Some" => json_of(report, one),
            (Some(name), [one]) => named(Some(name), json_of(report, one)),
            (name, items) => named(name.as_ref(), list(report, items)),
        },
    }
}

/// `Name(…)` is an object with one member.
fn named(name: Option<&Name>, held: Value) -> Value {
    match name {
        Some(name) => json!({ name.text.as_str(): held }),
        None => held,
    }
}

fn list(report: &Report, items: &[Node]) -> Value {
    items.iter().map(|item| json_of(report, item)).collect()
}

fn object(report: &Report, fields: &[Field]) -> Value {
    let mut object = Map::new();
    for field in fields {
        object.insert(field.name.text.clone(), json_of(report, &field.value));
    }
    Value::Object(object)
}

/// A number in the spelling of RON, such as `1_000` or `0xff`. One that JSON can't hold (`inf`) stays
/// text.
fn number(spelling: &str) -> Value {
    if let Ok(whole) = ron_options().from_str::<u64>(spelling) {
        return whole.into();
    }
    if let Ok(whole) = ron_options().from_str::<i64>(spelling) {
        return whole.into();
    }
    let number = ron_options().from_str::<f64>(spelling).ok();
    let number = number.and_then(serde_json::Number::from_f64);
    number.map_or_else(|| spelling.into(), Value::Number)
}
