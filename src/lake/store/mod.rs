//! Where a lake is kept: the few things that it needs of a folder, of memory and of S3 alike.
//!
//! A key is a path with `/` between its parts, relative to the lake's root, such as
//! `2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7/0000000`. Calls block; whoever wants
//! several at once makes them on several threads.

pub mod conformance;
pub mod local;
pub mod memory;
mod open;
pub mod retried;
pub mod s3;
#[cfg(test)]
pub mod watched;

use std::ops::Range;

use bytes::Bytes;
use time::OffsetDateTime;

use crate::error::Result;

pub use open::open;

/// An object, as a listing names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What became of an object that was put if it was absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there now, whole.
    Stored,
    /// There was one of this key already, which is as it was.
    Exists,
}

/// Keeps the objects of one lake. Every implementation passes the same conformance suite.
///
/// Errors are [`Kind::Transient`](crate::error::Kind::Transient) where trying again may help (a
/// timeout, a reset, a server that is busy, credentials that have just expired), and fatal where it
/// won't (no such bucket, no permission); their texts name the operation and the object's address,
/// and never a secret.
pub trait Store: Send + Sync {
    /// The address of a key for people, such as `s3://bucket/prefix/key` or a path.
    fn address(&self, key: &str) -> String;

    /// Puts a whole object if there is none of this key. Of several that try at the same time one
    /// finds [`Put::Stored`]. Nobody ever sees a part of it.
    ///
    /// # Errors
    /// If it isn't known to be stored; then it may be or not, and putting it again tells.
    fn put(&self, key: &str, bytes: Bytes) -> Result<Put>;

    /// Puts a whole object in the place of whatever was there.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    fn replace(&self, key: &str, bytes: Bytes) -> Result<()>;

    /// The whole object, or `None` if there is none.
    ///
    /// # Errors
    /// If it can't be read.
    fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// A range of an object, cut to its length; `None` if there is no such object.
    ///
    /// # Errors
    /// If it can't be read.
    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>>;

    /// The objects whose keys begin with `prefix` and come behind `after`, in the order of their
    /// keys (bytes), at most `max`. Fewer than `max` means that there are no more.
    ///
    /// # Errors
    /// If they can't be listed.
    fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<Object>>;

    /// The parts behind `prefix`, up to the next `/`, of the keys that begin with it, in order and
    /// each once: the names of folders (which end with `/`) and objects directly below it.
    ///
    /// # Errors
    /// If they can't be listed.
    fn names(&self, prefix: &str) -> Result<Vec<String>>;

    /// The keys of objects that no store could be asked for, such as `a//b`, `../a` or one with a
    /// line break: [`list`](Self::list) and [`names`](Self::names) pass over them. A folder has
    /// none.
    ///
    /// # Errors
    /// If they can't be listed.
    fn strays(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Deletes an object; that there is none is no error.
    ///
    /// # Errors
    /// If it can't be deleted.
    fn delete(&self, key: &str) -> Result<()>;

    /// All objects whose keys begin with `prefix`, in the order of their keys. By default page
    /// after page, since a server gives a thousand in one answer; a folder would be read once for
    /// each page.
    ///
    /// # Errors
    /// If they can't be listed.
    fn list_whole(&self, prefix: &str) -> Result<Vec<Object>> {
        let mut all: Vec<Object> = Vec::new();
        loop {
            let after = all.last().map(|object| object.key.as_str());
            let mut more = self.list(prefix, after, LIST_MAX)?;
            let ended = more.len() < LIST_MAX;
            all.append(&mut more);
            if ended {
                return Ok(all);
            }
        }
    }

    /// The length of an object; `None` if there is no such object. By default as a listing says it,
    /// which costs a folder as much as all of its files.
    ///
    /// # Errors
    /// If it can't be looked up.
    fn length(&self, key: &str) -> Result<Option<u64>> {
        let first = self.list(key, None, 1)?.pop();
        Ok(first.filter(|object| object.key == key).map(|object| object.bytes))
    }

    /// The keys that begin with `prefix`, up to the next `/`, and are links: they are read like
    /// what they lead to, and nothing is written or deleted through them. Only a folder has any.
    ///
    /// # Errors
    /// If they can't be listed.
    fn links(&self, _prefix: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// True if a writer may be at a partition, since it has files for it that aren't visible yet. A
    /// store over a network doesn't know.
    ///
    /// # Errors
    /// If that can't be looked up.
    fn is_being_written(&self, _partition: &str) -> Result<bool> {
        Ok(false)
    }

    /// Deletes what killed tools left half-written. Returns how many files.
    ///
    /// # Errors
    /// If something can't be listed or deleted.
    fn clean_up(&self, _now: OffsetDateTime) -> Result<usize> {
        Ok(0)
    }
}

/// How many objects are asked for in one go. Fewer would cost requests, more would hold up whoever
/// waits for the first ones.
const LIST_MAX: usize = 10_000;

/// All objects whose keys begin with `prefix`, in the order of their keys.
///
/// # Errors
/// If they can't be listed.
pub fn list_all(store: &dyn Store, prefix: &str) -> Result<Vec<Object>> {
    store.list_whole(prefix)
}

/// The length of an object; `None` if there is no such object.
///
/// # Errors
/// If it can't be looked up.
pub fn length(store: &dyn Store, key: &str) -> Result<Option<u64>> {
    store.length(key)
}
