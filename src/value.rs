//! The values of tuples.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use compact_str::CompactString;

use crate::post::{DEPTH_MAX, Post};

/// Text of a tuple: up to 24 bytes are stored in place, without an allocation.
pub type Text = CompactString;

/// One value of a tuple.
#[derive(Clone, Debug)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number. In comparisons all NaNs are one value, and so are 0.0 and -0.0.
    Float(f64),
    /// Text.
    Text(Text),
    /// Several values.
    List(Arc<[Value]>),
    /// Raw, well-formed JSON of any type.
    Json(Bytes),
    /// A post.
    Post(Post),
}

impl Value {
    /// Returns the text, if the value is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the whole number, if the value is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the post, if the value is one.
    pub fn as_post(&self) -> Option<&Post> {
        match self {
            Self::Post(post) => Some(post),
            _ => None,
        }
    }

    /// Returns the size of the value in a batch, in bytes, including the data that it points to.
    #[inline]
    pub fn weight(&self) -> usize {
        // Most values are short texts and numbers. Two comparisons find them without a jump table,
        // which would cost several nanoseconds if kinds alternate.
        match self {
            Self::Text(text) if !text.is_heap_allocated() => size_of::<Self>(),
            Self::Int(_) => size_of::<Self>(),
            other => other.weight_of_any(),
        }
    }

    fn weight_of_any(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Text(text) if text.is_heap_allocated() => text.len(),
                Self::List(values) => values.iter().map(Self::weight).sum(),
                Self::Json(bytes) => bytes.len(),
                Self::Post(post) => post.len(),
                _ => 0,
            }
    }

    /// Returns the same value without references to the buffer it was read from, for use after its
    /// batch is dropped.
    #[must_use]
    pub fn detached(&self) -> Self {
        match self {
            Self::List(values) => Self::List(values.iter().map(Self::detached).collect()),
            Self::Json(bytes) => Self::Json(Bytes::copy_from_slice(bytes)),
            Self::Post(post) => Self::Post(post.detached()),
            other => other.clone(),
        }
    }

    /// Returns the bits that stand for a float in comparisons and hashes.
    pub(crate) fn float_bits(number: f64) -> u64 {
        if number.is_nan() { f64::NAN.to_bits() } else { (number + 0.0).to_bits() }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => Self::float_bits(*a) == Self::float_bits(*b),
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Json(a), Self::Json(b)) => a == b,
            (Self::Post(a), Self::Post(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Null => {}
            Self::Bool(value) => value.hash(state),
            Self::Int(value) => value.hash(state),
            Self::Float(value) => Self::float_bits(*value).hash(state),
            Self::Text(value) => value.hash(state),
            Self::List(values) => values.hash(state),
            Self::Json(value) => value.hash(state),
            Self::Post(value) => value.hash(state),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value.into())
    }
}

impl From<Text> for Value {
    fn from(value: Text) -> Self {
        Self::Text(value)
    }
}

impl From<Post> for Value {
    fn from(value: Post) -> Self {
        Self::Post(value)
    }
}

// The tags of values in their encoding. Saved states contain these numbers: a new kind of value
// gets a new number, and no number may be reused.
const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INT: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const LIST: u8 = 6;
const JSON: u8 = 7;
const POST: u8 = 8;

/// Appends values in a compact encoding for saved state. Each value is a tag byte followed by its
/// content: a whole number as zigzag LEB128; a float as its 8 bytes, little endian; text, JSON and
/// posts as a length (LEB128) and the bytes; a list as its length and its values. Equal values have
/// the same encoding, so it can serve as a key.
pub fn encode<'a>(values: impl IntoIterator<Item = &'a Value>, into: &mut Vec<u8>) {
    for value in values {
        match value {
            Value::Null => into.push(NULL),
            Value::Bool(false) => into.push(FALSE),
            Value::Bool(true) => into.push(TRUE),
            Value::Int(number) => {
                into.push(INT);
                encode_length(((number << 1) ^ (number >> 63)).cast_unsigned(), into);
            }
            Value::Float(number) => {
                into.push(FLOAT);
                into.extend_from_slice(&Value::float_bits(*number).to_le_bytes());
            }
            Value::Text(text) => encode_bytes(TEXT, text.as_bytes(), into),
            Value::List(values) => {
                into.push(LIST);
                encode_length(values.len() as u64, into);
                encode(values.iter(), into);
            }
            Value::Json(bytes) => encode_bytes(JSON, bytes, into),
            Value::Post(post) => encode_bytes(POST, post, into),
        }
    }
}

fn encode_bytes(tag: u8, bytes: &[u8], into: &mut Vec<u8>) {
    into.push(tag);
    encode_length(bytes.len() as u64, into);
    into.extend_from_slice(bytes);
}

fn encode_length(mut number: u64, into: &mut Vec<u8>) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Decodes all values that [`encode`] wrote; `None` if it didn't write these bytes.
pub fn decode(mut bytes: &[u8]) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    while !bytes.is_empty() {
        values.push(decode_one(&mut bytes, DEPTH_MAX)?);
    }
    Some(values)
}

/// Decodes one value. `depth` is the number of further levels of lists that are allowed: damaged
/// state mustn't overflow the stack.
fn decode_one(bytes: &mut &[u8], depth: usize) -> Option<Value> {
    let tag = bytes.split_off_first()?;
    Some(match *tag {
        NULL => Value::Null,
        FALSE => Value::Bool(false),
        TRUE => Value::Bool(true),
        INT => {
            let number = decode_length(bytes)?;
            Value::Int((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
        }
        FLOAT => Value::Float(f64::from_le_bytes(bytes.split_off(..8)?.try_into().ok()?)),
        TEXT => Value::Text(std::str::from_utf8(decode_bytes(bytes)?).ok()?.into()),
        LIST => {
            let length = decode_length(bytes)?;
            let depth = depth.checked_sub(1)?;
            Value::List((0..length).map(|_| decode_one(bytes, depth)).collect::<Option<_>>()?)
        }
        JSON => Value::Json(Bytes::copy_from_slice(decode_bytes(bytes)?)),
        POST => match decode_bytes(bytes)? {
            raw @ [b'{', .., b'}'] => Value::Post(Post::trusted(Bytes::copy_from_slice(raw))),
            _ => return None,
        },
        _ => return None,
    })
}

fn decode_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_length(bytes)?).ok()?;
    bytes.split_off(..length)
}

fn decode_length(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        let bits = u64::from(byte & 0x7f);
        if (bits << shift) >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Generates any value, with a few levels of nesting.
    pub(crate) fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            prop::num::f64::ANY.prop_map(Value::Float),
            ".{0,40}".prop_map(Value::from),
            any::<Vec<u8>>().prop_map(|raw| Value::Json(raw.into())),
            "[a-z]{0,40}".prop_map(|id| Value::Post(Post::trusted(
                format!(r#"{{"tweet":{{"id":"{id}"}}}}"#).into()
            ))),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop::collection::vec(inner, 0..4).prop_map(|v| Value::List(v.into()))
        })
    }

    fn encoded(values: &[Value]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(values, &mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn what_is_encoded_reads_back(values in prop::collection::vec(any_value(), 0..5)) {
            prop_assert_eq!(decode(&encoded(&values)), Some(values));
        }

        #[test]
        fn a_detached_value_is_the_same_value(value in any_value()) {
            prop_assert_eq!(value.detached(), value);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(0_u8..12, 0..200)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn an_encoding_that_was_cut_is_refused(
            value in any_value(),
            at in any::<prop::sample::Index>(),
        ) {
            let bytes = encoded(&[value]);
            let cut = at.index(bytes.len());
            prop_assert!(cut == 0 || decode(&bytes[..cut]).is_none());
        }
    }

    #[test]
    fn equal_floats_have_one_encoding() {
        assert_eq!(encoded(&[Value::Float(0.0)]), encoded(&[Value::Float(-0.0)]));
        assert_eq!(encoded(&[Value::Float(f64::NAN)]), encoded(&[Value::Float(-f64::NAN)]));
    }

    #[test]
    fn small_values_take_few_bytes() {
        assert_eq!(encoded(&["storm".into(), Value::Int(-1)]), b"\x05\x05storm\x03\x01");
    }

    #[test]
    fn damaged_encodings_are_refused_and_the_stack_is_safe() {
        let endless_list = [LIST, 1].repeat(100_000);
        let many = [&[LIST][..], &[0xff; 9], &[1]].concat();
        let long = [&[INT][..], &[0xff; 10], &[1]].concat();
        for damaged in
            [&endless_list[..], &many, &long, &[INT], &[POST, 1, b'{'], &[TEXT, 1, 0xff], &[99]]
        {
            assert_eq!(decode(damaged), None);
        }
    }
}
