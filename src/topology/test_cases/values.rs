//! Reads the values of a test: RON as JSON, JSON as tuples, and RON as patterns.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::Pattern;
use crate::post::Post;
use crate::registry::ron_options;
use crate::topology::problem::{Report, quoted};
use crate::topology::syntax::{Kind, Node};
use crate::tuple::Fields;
use crate::value::Value;

/// Writes a value as JSON and keeps the order of members. Reports values that JSON can't express.
pub(crate) fn write_json(
    report: &mut Report,
    what: &str,
    node: &Node,
    into: &mut Vec<u8>,
) -> Option<()> {
    match &node.kind {
        Kind::Map(entries) => {
            into.push(b'{');
            for (position, (key, value)) in entries.iter().enumerate() {
                if position > 0 {
                    into.push(b',');
                }
                write_text(key_of(report, what, key)?, into);
                into.push(b':');
                write_json(report, what, value, into)?;
            }
            into.push(b'}');
        }
        Kind::List(items) => {
            into.push(b'[');
            for (position, item) in items.iter().enumerate() {
                if position > 0 {
                    into.push(b',');
                }
                write_json(report, what, item, into)?;
            }
            into.push(b']');
        }
        _ => into.extend_from_slice(scalar(report, what, node)?.to_string().as_bytes()),
    }
    Some(())
}

fn write_text(text: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}

/// Returns the key of a map's entry, which must be text.
pub(crate) fn key_of<'t>(report: &mut Report, what: &str, key: &'t Node) -> Option<&'t str> {
    let text = key.as_text();
    if text.is_none() {
        let found = key.describe();
        report.add(key.head(), format!("{what}: expected a name in quotes, found {found}"));
    }
    text
}

/// Reads null, true, false, a number or a text. JSON's `null` is accepted for `None`, so that JSON
/// can be pasted.
fn scalar(report: &mut Report, what: &str, node: &Node) -> Option<serde_json::Value> {
    let raw = report.sources.text(node.span);
    let value = match &node.kind {
        Kind::Text(text) => Some(serde_json::Value::from(text.as_str())),
        Kind::Bool => Some(serde_json::Value::from(raw == "true")),
        Kind::Name(name) if matches!(name.text.as_str(), "None" | "null") => {
            Some(serde_json::Value::Null)
        }
        Kind::Number => number(raw),
        _ => None,
    };
    if value.is_none() {
        let found = if matches!(node.kind, Kind::Number) { raw.into() } else { node.describe() };
        let what = format!(
            "{what}: expected a value as in JSON (a text, a number, true, false, null, \
             `[…]` or `{{\"name\": …}}`), found {found}"
        );
        report.add(node.head(), what);
    }
    value
}

/// Parses a number in the syntax of JSON or RON.
fn number(raw: &str) -> Option<serde_json::Value> {
    if let Ok(number) = serde_json::from_str::<serde_json::Number>(raw) {
        return Some(number.into());
    }
    let options = ron_options();
    if let Ok(number) = options.from_str::<i64>(raw) {
        return Some(number.into());
    }
    if let Ok(number) = options.from_str::<u64>(raw) {
        return Some(number.into());
    }
    let number = options.from_str::<f64>(raw).ok()?;
    serde_json::Number::from_f64(number).map(Into::into)
}

/// Returns the values of a tuple with these fields, from a JSON object that has each of them.
///
/// # Errors
/// If the text isn't such an object.
pub(crate) fn tuple_of_json(fields: &Fields, json: &str) -> Result<Vec<Value>, String> {
    let members: std::collections::HashMap<String, &RawValue> = serde_json::from_str(json)
        .map_err(|error| format!("expected a JSON object with the fields {fields}: {error}"))?;
    let names = || fields.names().iter().map(String::as_str);
    if let Some(unknown) = members.keys().find(|name| !names().any(|known| known == *name)) {
        return Err(format!("there is no field \"{unknown}\", but {}", quoted(names())));
    }
    let mut values = Vec::new();
    for name in names() {
        let Some(raw) = members.get(name) else {
            return Err(format!("the field \"{name}\" is missing"));
        };
        values.push(value_of_json(name, raw.get())?);
    }
    Ok(values)
}

fn value_of_json(name: &str, raw: &str) -> Result<Value, String> {
    let json: serde_json::Value = serde_json::from_str(raw).map_err(|error| error.to_string())?;
    Ok(match json {
        serde_json::Value::Object(_) if name == "post" => {
            Value::Post(Post::check(Bytes::copy_from_slice(raw.as_bytes()))?)
        }
        serde_json::Value::Object(_) => Value::Json(Bytes::copy_from_slice(raw.as_bytes())),
        other => simple(&other),
    })
}

fn simple(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(text) => Value::from(text.as_str()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(simple).collect()),
        object => Value::Json(object.to_string().into()),
    }
}

/// Reads the pattern of a value in an expected row.
pub(crate) fn pattern(report: &mut Report, what: &str, node: &Node) -> Option<Pattern> {
    match &node.kind {
        Kind::Map(entries) => {
            let mut members = Vec::new();
            for (key, value) in entries {
                let key = key_of(report, what, key)?.to_owned();
                members.push((key, pattern(report, what, value)?));
            }
            Some(Pattern::Object(members))
        }
        Kind::List(items) => {
            let mut patterns = Vec::new();
            for item in items {
                patterns.push(pattern(report, what, item)?);
            }
            Some(Pattern::List(patterns))
        }
        Kind::Name(name) if name.text == "Any" => Some(Pattern::Any),
        Kind::Tuple { name: Some(name), items } => {
            match (name.text.as_str(), items.as_slice()) {
                ("Some", [item]) => return pattern(report, what, item),
                ("Contains", [item]) if item.as_text().is_some() => {
                    return item.as_text().map(|part| Pattern::Contains(part.into()));
                }
                ("Between", [least, most]) => {
                    if let Some(bounds) = bounds(report, least, most) {
                        return Some(bounds);
                    }
                }
                _ => {}
            }
            let text = format!(
                "{what}: expected a value, `Any`, `Contains(\"text\")` or `Between(1, 2)`, \
                 found {}",
                node.describe()
            );
            report.add_unknown(name.span, text, &name.text, ["Any", "Contains", "Between"]);
            None
        }
        _ => scalar(report, what, node).map(Pattern::Is),
    }
}

fn bounds(report: &Report, least: &Node, most: &Node) -> Option<Pattern> {
    let of = |node: &Node| match node.kind {
        Kind::Number => number(report.sources.text(node.span))?.as_f64(),
        _ => None,
    };
    Some(Pattern::Between(of(least)?, of(most)?))
}
