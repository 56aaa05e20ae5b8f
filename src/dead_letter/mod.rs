//! Dead letters: the input that a component refused, as posts of the kind `dead`.

mod bound;
mod letter;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::post::break_no_lines;
use crate::post::looks::hint;
use crate::tuple::{Fields, Tuple, to_json};
use crate::value::{Value, encode};

pub use bound::LetterLimits;
pub(crate) use bound::{CUT_RAW_BYTES_MAX, Letters};
pub(crate) use letter::{Letter, Refused};

/// The id of the hidden sink, and of the stream that every component has to it. Ids in a topology
/// file begin with a letter, so none can be the same.
pub const DEAD: &str = "_dead";

/// Input from outside that can't become a post.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The bytes as they were read.
    pub raw: Bytes,
    /// The place where they were read, and the problem: `in.ndjson:12: expected an object, found an
    /// array`.
    pub error: String,
    /// True if `raw` is only the beginning of the input, so that it can't be sent again.
    pub cut: bool,
}

impl DeadLetter {
    /// Adds a hint to the error, if the bytes look like a known form of file: the form, and how to
    /// make posts of it.
    #[must_use]
    pub fn with_hint(mut self) -> Self {
        if let Some(hint) = hint(&self.raw) {
            self.error = format!("{}; {hint}", self.error);
        }
        self
    }

    /// Returns `{"dead": {"component", "error", "time", "raw"}}`, with `base64` instead of `raw` if
    /// the bytes aren't UTF-8, and with `"cut": true` if they aren't complete.
    pub fn to_json(&self, component: &str, now: OffsetDateTime) -> Bytes {
        let (key, raw) = match std::str::from_utf8(&self.raw) {
            Ok(text) => ("raw", text.to_owned()),
            Err(_) => ("base64", STANDARD.encode(&self.raw)),
        };
        let mut dead =
            json!({ "component": component, "error": self.error, "time": rfc3339(now), key: raw });
        if self.cut {
            dead["cut"] = true.into();
        }
        json!({ "dead": dead }).to_string().into()
    }
}

/// Returns `{"dead": {"component", "error", "time", "from", "tuple"}}` for a tuple that a bolt
/// refused: `tuple` has the values by the names of their fields, and `from` the input by which the
/// tuple came. If JSON can't express the values exactly (JSON that reads as text or a number, NaN),
/// `values` has all of them too, [encoded](crate::value::encode) and in base64; `Letter` reads them
/// back.
pub fn of_tuple(
    component: &str,
    error: &str,
    now: OffsetDateTime,
    from: &str,
    fields: &Fields,
    tuple: Tuple<'_>,
) -> Bytes {
    let head =
        json!({ "component": component, "error": error, "time": rfc3339(now), "from": from })
            .to_string();
    let head = head.trim_end_matches('}');
    let plain = letter(head, fields, tuple.values, None);
    let read = match Letter::read(&plain).map(|letter| letter.refused) {
        Some(Refused::Tuple { fields: names, values, .. }) if names == fields.names() => {
            Some(values)
        }
        _ => None,
    };
    if read.as_ref().is_some_and(|values| values == tuple.values) {
        return plain.into();
    }
    let mut exact = Vec::new();
    encode(tuple.values, &mut exact);
    // A component may have made a `Json` value that isn't JSON; it must not damage the letter's
    // file.
    let nothing = vec![Value::Null; fields.len()];
    let shown = if read.is_some() { tuple.values } else { &nothing };
    letter(head, fields, shown, Some(&exact)).into()
}

/// Writes a letter on one line.
fn letter(head: &str, fields: &Fields, values: &[Value], exact: Option<&[u8]>) -> Vec<u8> {
    let mut letter = format!("{{\"dead\":{head},\"tuple\":").into_bytes();
    to_json(fields, values, &mut letter);
    if let Some(exact) = exact {
        letter.extend_from_slice(format!(",\"values\":\"{}\"", STANDARD.encode(exact)).as_bytes());
    }
    letter.extend_from_slice(b"}}");
    break_no_lines(&mut letter);
    letter
}

fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_bytes_that_are_not_utf_8_are_kept_as_base64() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let letter = |raw: &'static [u8]| DeadLetter {
            raw: Bytes::from_static(raw),
            error: "a:1: no".into(),
            cut: false,
        };
        let text: serde_json::Value =
            serde_json::from_slice(&letter(b"[\"x\"").to_json("in", now)).unwrap();
        assert_eq!(
            text,
            json!({"dead": {
                "component": "in",
                "error": "a:1: no",
                "time": "1970-01-01T00:00:00Z",
                "raw": "[\"x\""
            }})
        );
        let bytes: serde_json::Value =
            serde_json::from_slice(&letter(b"\xff\x00").to_json("in", now)).unwrap();
        assert_eq!(bytes["dead"]["base64"], "/wA=");
    }

    #[test]
    fn a_tuple_is_kept_by_the_names_of_its_fields() {
        let fields = Fields::new(["word", "count"]);
        let values = [Value::from("a\"}"), Value::Int(3)];
        let letter = of_tuple(
            "count",
            "it is }",
            OffsetDateTime::UNIX_EPOCH,
            "words",
            &fields,
            Tuple::new(&values, 0),
        );
        let letter: serde_json::Value = serde_json::from_slice(&letter).unwrap();
        assert_eq!(letter["dead"]["tuple"], json!({"word": "a\"}", "count": 3}));
        assert_eq!(letter["dead"]["error"], "it is }");
    }
}
