//! The stores of lakes: the few operations that a lake needs from a folder, from memory and from
//! S3.
//!
//! A key is a path with `/` between its parts, relative to the lake's root, such as
//! `2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7/0000000`. Calls block; a caller that
//! needs several at once uses several threads.

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

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its length in bytes.
    pub bytes: u64,
}

/// The result of putting an object only if it is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The object is now stored, whole.
    Stored,
    /// An object with this key already existed, and is unchanged.
    Exists,
}

/// The objects of one lake. Every implementation passes the same conformance suite.
///
/// Errors are [`Kind::Transient`](crate::error::Kind::Transient) if another attempt may succeed
/// (after a timeout, a reset, a busy server, or just expired credentials), and fatal if not (no
/// such bucket, no permission); their texts name the operation and the object's address, and never
/// a secret.
pub trait Store: Send + Sync {
    /// Returns the address of a key as shown to users, such as `s3://bucket/prefix/key` or a path.
    fn address(&self, key: &str) -> String;

    /// Puts a whole object if no object has this key. If several callers try at the same time, one
    /// of them gets [`Put::Stored`]. Readers never see a part of it.
    ///
    /// # Errors
    /// If the object isn't known to be stored; it may be stored or not, and another put tells.
    fn put(&self, key: &str, bytes: Bytes) -> Result<Put>;

    /// Puts a whole object, and replaces an existing one.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    fn replace(&self, key: &str, bytes: Bytes) -> Result<()>;

    /// Reads the whole object; `None` if it doesn't exist.
    ///
    /// # Errors
    /// If it can't be read.
    fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// Reads a range of an object, cut off at its end; `None` if the object doesn't exist.
    ///
    /// # Errors
    /// If it can't be read.
    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>>;

    /// Lists the objects whose keys begin with `prefix` and come after `after`, in the order of
    /// their keys (bytes), at most `max`. A result with fewer than `max` objects is complete.
    ///
    /// # Errors
    /// If they can't be listed.
    fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<Object>>;

    /// Lists the parts of keys that follow `prefix`, up to the next `/`, in order and each once:
    /// the names of folders (which end with `/`) and objects directly below it.
    ///
    /// # Errors
    /// If they can't be listed.
    fn names(&self, prefix: &str) -> Result<Vec<String>>;

    /// Lists the keys of objects that can't be requested from any store, such as `a//b`, `../a` or
    /// one with a line break: [`list`](Self::list) and [`names`](Self::names) skip them. A folder
    /// has no such keys.
    ///
    /// # Errors
    /// If they can't be listed.
    fn strays(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Deletes an object. An object that doesn't exist is no error.
    ///
    /// # Errors
    /// If it can't be deleted.
    fn delete(&self, key: &str) -> Result<()>;

    /// Lists all objects whose keys begin with `prefix`, in the order of their keys. The default
    /// implementation lists page by page, since a server returns a thousand per answer; a folder
    /// would be read once for each page.
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

    /// Returns the length of an object; `None` if it doesn't exist. The default implementation
    /// takes it from a listing, which in a folder would cost as much as listing all of its files.
    ///
    /// # Errors
    /// If it can't be looked up.
    fn length(&self, key: &str) -> Result<Option<u64>> {
        let first = self.list(key, None, 1)?.pop();
        Ok(first.filter(|object| object.key == key).map(|object| object.bytes))
    }

    /// Lists the keys that begin with `prefix`, up to the next `/`, and are links: they are read
    /// like their targets, and nothing is written or deleted through them. Only a folder has links.
    ///
    /// # Errors
    /// If they can't be listed.
    fn links(&self, _prefix: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Returns true if a writer may be working on a partition, because it has files for it that
    /// aren't visible yet. A store on a network doesn't know.
    ///
    /// # Errors
    /// If that can't be looked up.
    fn is_being_written(&self, _partition: &str) -> Result<bool> {
        Ok(false)
    }

    /// Deletes the temporary files of killed tools. Returns the number of deleted files.
    ///
    /// # Errors
    /// If a file can't be listed or deleted.
    fn clean_up(&self, _now: OffsetDateTime) -> Result<usize> {
        Ok(0)
    }
}

/// The number of objects per listing. Fewer would cost more requests, more would delay the first
/// ones.
const LIST_MAX: usize = 10_000;

/// Lists all objects whose keys begin with `prefix`, in the order of their keys.
///
/// # Errors
/// If they can't be listed.
pub fn list_all(store: &dyn Store, prefix: &str) -> Result<Vec<Object>> {
    store.list_whole(prefix)
}

/// Returns the length of an object; `None` if it doesn't exist.
///
/// # Errors
/// If it can't be looked up.
pub fn length(store: &dyn Store, key: &str) -> Result<Option<u64>> {
    store.length(key)
}
