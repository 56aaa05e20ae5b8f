//! Converts values of tuples to values of jq, and back.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use jaq_json::{Map, Num, Val};

use crate::error::{Error, Result};
use crate::post::DEPTH_MAX;
use crate::post::check::is_one_value;
use crate::value::{Text, Value};

/// Parses JSON of a tuple.
///
/// # Errors
/// If jq's parser refuses it.
pub(crate) fn from_json(json: &[u8]) -> Result<Val> {
    if let Ok(value) = jaq_json::read::parse_single(json) {
        return Ok(value);
    }
    // JSON with half of a surrogate pair is well-formed, but isn't valid text.
    let mended = without_lone_surrogates(json);
    jaq_json::read::parse_single(&mended)
        .map_err(|error| Error::rejected("jq can't read the JSON").because(error))
}

/// Returns the JSON with U+FFFD in place of each half of a surrogate pair.
fn without_lone_surrogates(json: &[u8]) -> Cow<'_, [u8]> {
    let mut mended = Vec::with_capacity(json.len());
    let mut at = 0;
    while at < json.len() {
        let Some(unit) = escaped_unit(json, at) else {
            // A backslash and the next byte belong together.
            let length = if json[at] == b'\\' { 2 } else { 1 };
            mended.extend_from_slice(&json[at..(at + length).min(json.len())]);
            at += length;
            continue;
        };
        let low = escaped_unit(json, at + 6).filter(|low| (0xdc00..0xe000).contains(low));
        match unit {
            0xd800..0xdc00 if low.is_some() => {
                mended.extend_from_slice(&json[at..at + 12]);
                at += 6;
            }
            0xd800..0xe000 => mended.extend_from_slice(b"\\ufffd"),
            _ => mended.extend_from_slice(&json[at..at + 6]),
        }
        at += 6;
    }
    Cow::Owned(mended)
}

/// Returns the number in `\uXXXX`.
fn escaped_unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Converts a value of a tuple to a value of jq.
///
/// # Errors
/// If it has JSON that jq can't parse.
pub(crate) fn from_value(value: &Value) -> Result<Val> {
    Ok(match value {
        Value::Null => Val::Null,
        Value::Bool(value) => Val::Bool(*value),
        Value::Int(number) => Val::Num(Num::from_integral(*number)),
        Value::Float(number) => Val::Num(Num::Float(*number)),
        Value::Text(text) => Val::utf8_str(Bytes::copy_from_slice(text.as_bytes())),
        Value::List(values) => {
            let values: Result<Vec<_>> = values.iter().map(from_value).collect();
            values?.into_iter().collect()
        }
        Value::Json(json) => from_json(json)?,
        Value::Post(post) => from_json(post)?,
    })
}

/// Converts fields of a tuple to an object of jq.
///
/// # Errors
/// If one of them can't be converted.
pub(crate) fn from_fields<'a>(
    fields: impl Iterator<Item = (&'a String, &'a Value)>,
) -> Result<Val> {
    let mut object = Map::default();
    for (name, value) in fields {
        object.insert(Val::from(name.clone()), from_value(value)?);
    }
    Ok(Val::obj(object))
}

/// Converts a value of jq to a value of a tuple: an object becomes JSON, and so does a whole number
/// beyond 64 bits, with all its digits.
///
/// # Errors
/// If JSON can't represent it.
pub(crate) fn into_value(value: &Val) -> Result<Value> {
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(value) => Value::Bool(*value),
        Val::Num(number) => match (number.as_isize().and_then(|n| i64::try_from(n).ok()), number) {
            (Some(number), _) => Value::Int(number),
            (None, Num::Float(number)) => Value::Float(*number),
            (None, Num::Dec(digits)) => Value::Float(digits.parse().unwrap_or(f64::NAN)),
            (None, _) => Value::Json(into_json(value)?.into()),
        },
        Val::TStr(text) | Val::BStr(text) => Value::Text(Text::from_utf8_lossy(text)),
        Val::Arr(elements) => {
            let values: Result<Arc<[Value]>> = elements.iter().map(into_value).collect();
            Value::List(values?)
        }
        Val::Obj(_) => Value::Json(into_json(value)?.into()),
    })
}

/// Converts a value of jq to JSON on one line.
///
/// # Errors
/// If it has an object with keys that aren't texts.
pub(crate) fn into_json(value: &Val) -> Result<Vec<u8>> {
    let mut json = Vec::new();
    write_json(value, &mut json)?;
    Ok(json)
}

fn write_json(value: &Val, json: &mut Vec<u8>) -> Result<()> {
    match value {
        Val::Null => json.extend_from_slice(b"null"),
        Val::Bool(true) => json.extend_from_slice(b"true"),
        Val::Bool(false) => json.extend_from_slice(b"false"),
        Val::Num(number) => write_number(number, json),
        Val::TStr(text) | Val::BStr(text) => write_text(text, json),
        Val::Arr(elements) => {
            json.push(b'[');
            for (i, element) in elements.iter().enumerate() {
                if i > 0 {
                    json.push(b',');
                }
                write_json(element, json)?;
            }
            json.push(b']');
        }
        Val::Obj(members) => {
            json.push(b'{');
            for (i, (key, value)) in members.iter().enumerate() {
                if i > 0 {
                    json.push(b',');
                }
                let Val::TStr(key) = key else {
                    return Err(Error::rejected(
                        "the jq filter makes an object with a key that \
                                                isn't text, which JSON can't say",
                    ));
                };
                write_text(key, json);
                json.push(b':');
                write_json(value, json)?;
            }
            json.push(b'}');
        }
    }
    Ok(())
}

fn write_text(text: &[u8], json: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(text);
    serde_json::to_writer(json, &text).expect("text is written into memory");
}

/// Writes a number as it was written, with all its digits. NaN and the infinities become `null`.
fn write_number(number: &Num, json: &mut Vec<u8>) {
    let float = match number {
        Num::Float(float) => *float,
        Num::Dec(digits) if is_json_number(digits) => {
            json.extend_from_slice(digits.as_bytes());
            return;
        }
        Num::Dec(digits) => digits.parse().unwrap_or(f64::NAN),
        whole => {
            json.extend_from_slice(whole.to_string().as_bytes());
            return;
        }
    };
    serde_json::to_writer(json, &float).expect("a number is written into memory");
}

/// Returns true if a strict reader accepts these digits: jq itself also accepts `+1.0`.
fn is_json_number(digits: &str) -> bool {
    let begins = digits.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    begins && is_one_value(digits.as_bytes(), DEPTH_MAX)
}
