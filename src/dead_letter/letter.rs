//! Dead letters read back, so that they can be sent again.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::post::{DEPTH_MAX, Post};
use crate::value::{Value, decode};

/// A dead letter as [`DeadLetter`](super::DeadLetter) or [`of_tuple`](super::of_tuple) wrote it.
#[derive(Debug)]
pub(crate) struct Letter {
    /// The component that refused the input.
    pub component: String,
    /// The reason.
    pub error: String,
    /// The refused input.
    pub refused: Refused,
}

/// The input that a component refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// A tuple that a bolt or sink refused.
    Tuple {
        /// The input by which the tuple came: `component` or `component:stream`.
        from: String,
        /// The names of the tuple's fields.
        fields: Vec<String>,
        /// The tuple's values, exactly as they were.
        values: Vec<Value>,
    },
    /// Input from outside that a spout refused.
    Raw {
        /// The bytes as they were read.
        bytes: Bytes,
        /// True if these are only the beginning of the input.
        cut: bool,
    },
}

#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(borrow)]
    dead: Inner<'a>,
}

#[derive(Deserialize)]
struct Inner<'a> {
    component: String,
    error: String,
    from: Option<String>,
    #[serde(borrow)]
    tuple: Option<Entries<'a>>,
    values: Option<String>,
    raw: Option<String>,
    base64: Option<String>,
    #[serde(default)]
    cut: bool,
}

/// The fields of a tuple, in order.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of fields")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Letter {
    /// Reads a post of the kind `dead`; `None` if the post isn't a dead letter, or is damaged.
    pub(crate) fn read(post: &[u8]) -> Option<Self> {
        let Outer { dead } = serde_json::from_slice(post).ok()?;
        let refused = match (dead.from, dead.tuple) {
            (Some(from), Some(Entries(entries))) => {
                let values = match dead.values {
                    Some(exact) => decode(&STANDARD.decode(exact).ok()?)?,
                    None => entries
                        .iter()
                        .map(|(_, json)| plain(json, DEPTH_MAX))
                        .collect::<Option<_>>()?,
                };
                let fields: Vec<_> = entries.into_iter().map(|(name, _)| name).collect();
                (fields.len() == values.len()).then_some(Refused::Tuple { from, fields, values })?
            }
            _ => {
                let bytes = match (dead.raw, dead.base64) {
                    (Some(text), _) => text.into(),
                    (None, base64) => STANDARD.decode(base64?).ok()?.into(),
                };
                Refused::Raw { bytes, cut: dead.cut }
            }
        };
        Some(Self { component: dead.component, error: dead.error, refused })
    }
}

/// Returns the value of JSON in a letter without exact values: a whole number is an `Int`, any
/// other a `Float`, an array a `List`; an object is a `Post` if it can be one, and else `Json`.
fn plain(json: &RawValue, depth: usize) -> Option<Value> {
    let text = json.get();
    Some(match text.as_bytes().first()? {
        b'n' => Value::Null,
        b't' => Value::Bool(true),
        b'f' => Value::Bool(false),
        b'"' => Value::from(serde_json::from_str::<String>(text).ok()?),
        b'[' => {
            let depth = depth.checked_sub(1)?;
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            Value::List(items.into_iter().map(|item| plain(item, depth)).collect::<Option<_>>()?)
        }
        b'{' => {
            let raw = Bytes::copy_from_slice(text.as_bytes());
            Post::check(raw.clone()).map_or(Value::Json(raw), Value::Post)
        }
        _ => text.parse().map(Value::Int).or_else(|_| text.parse().map(Value::Float)).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::OffsetDateTime;

    use super::*;
    use crate::dead_letter::{DeadLetter, of_tuple};
    use crate::tuple::{Fields, Tuple};
    use crate::value::tests::any_value;

    /// Writes the letter of a tuple with these values, and reads the values back.
    fn sent(values: &[Value]) -> (String, Vec<Value>) {
        let fields = Fields::new((0..values.len()).map(|n| format!("f\"{n}")));
        let now = OffsetDateTime::UNIX_EPOCH;
        let post = of_tuple("count", "no }", now, "in:odd", &fields, Tuple::new(values, 0));
        assert!(
            serde_json::from_slice::<&RawValue>(&post).is_ok() && !post.contains(&b'\n'),
            "{post:?}"
        );
        let letter = Letter::read(&post).unwrap();
        assert_eq!((&letter.component[..], &letter.error[..]), ("count", "no }"));
        let Refused::Tuple { from, fields: names, values } = letter.refused else {
            panic!("a tuple was sent")
        };
        assert_eq!((&from[..], &names[..]), ("in:odd", fields.names()));
        (String::from_utf8(post.to_vec()).unwrap(), values)
    }

    proptest! {
        #[test]
        fn values_of_all_types_come_back_as_they_were(
            values in prop::collection::vec(any_value(), 0..6),
        ) {
            let back = sent(&values).1;
            prop_assert_eq!(back, values);
        }

        #[test]
        fn raw_bytes_come_back_as_they_were(raw in any::<Vec<u8>>(), cut in any::<bool>()) {
            let letter = DeadLetter { raw: raw.clone().into(), error: "no".into(), cut };
            let letter = Letter::read(&letter.to_json("in", OffsetDateTime::UNIX_EPOCH)).unwrap();
            let Refused::Raw { bytes, cut: was_cut } = letter.refused else {
                panic!("no tuple was sent")
            };
            prop_assert_eq!((bytes.to_vec(), was_cut), (raw, cut));
        }
    }

    #[test]
    fn only_what_json_loses_is_encoded_beside_it() {
        let post = Value::Post(Post::trusted("{\"tweet\":{\"n\":1.50}}".into()));
        let list =
            Value::List([Value::Int(1), Value::Float(1.0), Value::Null, Value::from("1")].into());
        let json = |text: &'static str| Value::Json(text.into());
        let readable =
            [post, list, Value::Bool(true), Value::Float(1e300), json("{\"a\":1, \"b\":2}")];
        assert!(!sent(&readable).0.contains("\"values\""));
        for lost in [
            json("1"),
            json("{\"a\":1}"),
            json("{\"a\":\n1,\"b\":2}"),
            json("oops"),
            Value::Float(f64::NAN),
        ] {
            let (letter, back) = sent(std::slice::from_ref(&lost));
            assert!(letter.contains("\"values\":\""), "{letter}");
            assert_eq!(back, [lost]);
        }
        let deep = (0..DEPTH_MAX).fold(Value::Int(1), |inner, _| Value::List([inner].into()));
        assert_eq!(sent(std::slice::from_ref(&deep)).1, [deep]);
    }

    #[test]
    fn what_is_no_letter_is_not_read() {
        let head = r#""component":"a","error":"b""#;
        for rest in [
            "",
            r#","base64":"?""#,
            r#","from":"x","tuple":{"a":1},"values":"""#,
            r#","from":"x","tuple":[]"#,
        ] {
            assert!(
                Letter::read(format!("{{\"dead\":{{{head}{rest}}}}}").as_bytes()).is_none(),
                "{rest}"
            );
        }
        assert!(Letter::read(br#"{"note":1}"#).is_none());
        assert!(
            Letter::read(format!("{{\"dead\":{{{head},\"raw\":\"x\"}}}}").as_bytes()).is_some()
        );
    }
}
