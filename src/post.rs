//! The post: one JSON object with one key that names its kind, kept as the raw bytes that were read.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

/// One post, `{"tweet": {…}}`: a cheap-to-clone slice of the buffer it was read in. It was checked
/// once to be one well-formed JSON object (UTF-8, nested at most [`DEPTH_MAX`] deep, no line break)
/// and is never changed after that.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Post(Bytes);

/// How deep a post may be nested: serde_json's own recursion limit, so that the stack is safe.
pub const DEPTH_MAX: usize = 128;

impl Post {
    /// Takes bytes that are known to be one post, because this crate wrote or checked them.
    pub(crate) fn trusted(bytes: Bytes) -> Self {
        debug_assert!(bytes.first() == Some(&b'{') && bytes.last() == Some(&b'}'));
        Self(bytes)
    }

    /// The post's bytes, as they came in.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The same post in a buffer of its own, for whatever outlives its batch.
    #[must_use]
    pub fn detached(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
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
