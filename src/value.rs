//! The values that tuples are made of.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use compact_str::CompactString;

use crate::post::Post;

/// Text of a tuple: up to 24 bytes are held in place, without an allocation.
pub type Text = CompactString;

/// One value of a tuple.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number; all NaNs are one value, and so are 0.0 and -0.0, wherever values are compared.
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
    /// The text, if this is text.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number, if this is one.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            _ => None,
        }
    }

    /// The post, if this is one.
    pub fn as_post(&self) -> Option<&Post> {
        match self {
            Self::Post(post) => Some(post),
            _ => None,
        }
    }

    /// What this value weighs in a batch, in bytes: its own size and that of what it points to.
    pub fn weight(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Text(text) if text.is_heap_allocated() => text.len(),
                Self::List(values) => values.iter().map(Self::weight).sum(),
                Self::Json(bytes) => bytes.len(),
                Self::Post(post) => post.len(),
                _ => 0,
            }
    }

    /// The same value without any share in a buffer it was read from, for whatever outlives its batch.
    #[must_use]
    pub fn detached(&self) -> Self {
        match self {
            Self::List(values) => Self::List(values.iter().map(Self::detached).collect()),
            Self::Json(bytes) => Self::Json(Bytes::copy_from_slice(bytes)),
            Self::Post(post) => Self::Post(post.detached()),
            other => other.clone(),
        }
    }

    /// The bits that stand for a float in comparisons and hashes.
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
