//! Tuples, the fields that name their values, and the streams on which they are emitted.

use std::fmt;
use std::sync::Arc;

use crate::event_time::EventTime;
use crate::value::Value;

/// The names of the values of a stream's tuples, in order.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Fields(Arc<[String]>);

impl Fields {
    /// Creates fields with these names.
    pub fn new<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// Returns the fields that every source of posts declares: `post`, `kind`, `topics`.
    pub fn of_posts() -> Self {
        Self::new(["post", "kind", "topics"])
    }

    /// Returns the position of a field.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|field| field == name)
    }

    /// Returns the names, in order.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Returns the number of values of a tuple.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if a tuple has no values.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.join("\", \""))
    }
}

/// The name of the stream to which a component emits by default.
pub const DEFAULT_STREAM: &str = "default";

/// The declared streams of a component. A stream's [`StreamId`] is its position in name order,
/// except that `default`, if declared, is always the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streams(Vec<(String, Fields)>);

/// A stream's position among its component's streams, resolved once when the topology is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub usize);

impl StreamId {
    /// The stream `default` of a component that declares it.
    pub const DEFAULT: Self = Self(0);
}

impl Streams {
    /// Creates an empty list of streams, as a sink declares it.
    pub fn none() -> Self {
        Self::default()
    }

    /// Creates the stream `default` with these fields.
    pub fn default_with(fields: Fields) -> Self {
        Self(vec![(DEFAULT_STREAM.into(), fields)])
    }

    /// Adds a named stream.
    #[must_use]
    pub fn and(mut self, name: &str, fields: Fields) -> Self {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.into(), fields));
        self.0.sort_by(|(a, _), (b, _)| (a != DEFAULT_STREAM, a).cmp(&(b != DEFAULT_STREAM, b)));
        self
    }

    /// Returns the position of a stream.
    pub fn id(&self, name: &str) -> Option<StreamId> {
        self.0.iter().position(|(known, _)| known == name).map(StreamId)
    }

    /// Returns the fields of a stream.
    pub fn fields(&self, id: StreamId) -> &Fields {
        &self.0[id.0].1
    }

    /// Iterates over the name and the fields of every stream, in the order of the ids.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Fields)> {
        self.0.iter().map(|(name, fields)| (name.as_str(), fields))
    }

    /// Returns the number of declared streams.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if no stream is declared.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One tuple as a bolt sees it: its values, and its input. The inputs have the order and the fields
/// with which the bolt was built.
#[derive(Clone, Copy, Debug)]
pub struct Tuple<'a> {
    /// The values, one for each declared field of the stream.
    pub values: &'a [Value],
    /// The position of the input among the bolt's inputs.
    pub input: usize,
    /// Its event time: [`EventTime::UNKNOWN`] if it has none, or if no bolt of the topology [uses
    /// it](crate::bolt::BoltConfig::uses_event_time).
    pub time: EventTime,
}

impl<'a> Tuple<'a> {
    /// Creates a tuple without event time.
    pub fn new(values: &'a [Value], input: usize) -> Self {
        Self { values, input, time: EventTime::UNKNOWN }
    }

    /// Returns the value at a position that was resolved from the input's fields.
    pub fn value(&self, position: usize) -> &'a Value {
        &self.values[position]
    }
}

/// Appends a tuple as a JSON object of its fields, for `Stdout` and for the dead letters. Posts and
/// JSON values are inserted unchanged.
pub fn to_json(fields: &Fields, values: &[Value], into: &mut Vec<u8>) {
    into.push(b'{');
    for (i, (name, value)) in fields.names().iter().zip(values).enumerate() {
        if i > 0 {
            into.push(b',');
        }
        json_text(name, into);
        into.push(b':');
        value_to_json(value, into);
    }
    into.push(b'}');
}

/// Appends one value as JSON. A float that JSON can't express (NaN, an infinity) becomes `null`.
pub fn value_to_json(value: &Value, into: &mut Vec<u8>) {
    match value {
        Value::Null => into.extend_from_slice(b"null"),
        Value::Bool(true) => into.extend_from_slice(b"true"),
        Value::Bool(false) => into.extend_from_slice(b"false"),
        Value::Int(number) => into.extend_from_slice(number.to_string().as_bytes()),
        Value::Float(number) => {
            // serde_json writes the shortest text that is parsed as the same number.
            serde_json::to_writer(into, number).expect("a number is written into memory");
        }
        Value::Text(text) => json_text(text, into),
        Value::List(values) => {
            into.push(b'[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    into.push(b',');
                }
                value_to_json(value, into);
            }
            into.push(b']');
        }
        Value::Json(raw) => into.extend_from_slice(raw),
        Value::Post(post) => into.extend_from_slice(post),
    }
}

fn json_text(text: &str, into: &mut Vec<u8>) {
    serde_json::to_writer(into, text).expect("text is written into memory");
}
