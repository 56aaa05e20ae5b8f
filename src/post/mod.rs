//! The post: one JSON object with one key that names its kind, kept as the raw bytes that were
//! read.

pub(crate) mod check;
pub(crate) mod fields;
pub(crate) mod html;
mod kinds;
pub(crate) mod looks;
mod marks;
pub(crate) mod pointer;
mod skip;
mod stream;

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use memchr::memchr2;

use self::check::Checked;
pub(crate) use self::kinds::own_time;
pub use self::kinds::{
    Author, AuthorProfile, Content, Counts, Deletion, DeletionReach, Entities, Labels, Media,
    PostFacts, PostVersion, Relation,
};
pub use self::stream::{COUNTS, DELETES, EDITS, GAPS, PostStream, REFRESHED};

/// One post, `{"tweet": {…}}`: a slice of the buffer that it was read into, which is cheap to
/// clone. It was checked once to be one well-formed JSON object (UTF-8, nested at most
/// [`DEPTH_MAX`] deep, no line break) and is never changed after that.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Post(Bytes);

/// The maximum nesting depth of a post; its own object is the first level. A complete parser needs
/// a stack frame for each level, so this bound protects its stack.
pub const DEPTH_MAX: usize = 128;

impl Post {
    /// Creates a post from bytes that are known to be one post, because this crate wrote or checked
    /// them.
    pub(crate) fn trusted(bytes: Bytes) -> Self {
        debug_assert!(bytes.first() == Some(&b'{') && bytes.last() == Some(&b'}'));
        Self(bytes)
    }

    /// Creates a post from external bytes, if they are one post: one well-formed JSON object in
    /// UTF-8 with exactly one key, nested at most [`DEPTH_MAX`] deep. White space around it is
    /// removed; line breaks inside it become spaces, which is the only case in which it is copied.
    /// Everything else stays as it is, byte for byte, even text that a strict parser refuses later:
    /// lone surrogates, numbers beyond any type.
    ///
    /// # Errors
    /// If the bytes aren't one post: the error says why, and at which byte (from 1).
    pub fn check(bytes: Bytes) -> Result<Self, String> {
        let Checked { range, line_breaks } = check::post(&bytes)?;
        if line_breaks {
            let mut post = bytes[range].to_vec();
            break_no_lines(&mut post);
            return Ok(Self::trusted(post.into()));
        }
        Ok(Self::trusted(if range.len() == bytes.len() { bytes } else { bytes.slice(range) }))
    }

    /// Creates a post of the given kind from one well-formed JSON object with any keys:
    /// `{"kind":<object>}`, which is nested at most [`DEPTH_MAX`] deep with its wrapping.
    ///
    /// # Errors
    /// If the object is malformed: the error says why, and at which byte (from 1).
    pub fn wrap(kind: &str, object: &[u8]) -> Result<Self, String> {
        let Checked { range, line_breaks } = check::object(object, DEPTH_MAX - 1)?;
        let mut post = Vec::with_capacity(kind.len() + range.len() + 8);
        post.push(b'{');
        serde_json::to_writer(&mut post, kind).expect("text is written into memory");
        post.push(b':');
        post.extend_from_slice(&object[range]);
        post.push(b'}');
        if line_breaks {
            break_no_lines(&mut post);
        }
        Ok(Self::trusted(post.into()))
    }

    /// Returns the post's bytes, as they were received.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns the same post in a separate buffer, for use after its batch is dropped.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }
}

/// Puts JSON on one line. A JSON string can't contain a raw line break, so each one that is found
/// is white space between two elements.
pub(crate) fn break_no_lines(json: &mut [u8]) {
    let mut from = 0;
    while let Some(found) = memchr2(b'\n', b'\r', &json[from..]) {
        json[from + found] = b' ';
        from += found + 1;
    }
}

impl Deref for Post {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Post({})", String::from_utf8_lossy(&self.0))
    }
}

#[cfg(test)]
mod tests;
