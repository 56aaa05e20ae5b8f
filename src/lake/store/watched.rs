//! A store for tests that see every request, and can let it fail, count it, or act in between.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::memory::MemoryStore;
use super::{Object, Put, Store};
use crate::error::Result;

/// A request to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// An object is put if it is absent.
    Put(&'a str),
    /// An object is put whatever is there.
    Replace(&'a str),
    /// An object is read whole.
    Get(&'a str),
    /// A range of an object is read.
    GetRange(&'a str, Range<u64>),
    /// The objects are listed whose keys begin with this prefix.
    List(&'a str),
    /// The names are listed that follow this prefix.
    Names(&'a str),
    /// An object is deleted.
    Delete(&'a str),
}

impl Request<'_> {
    /// Returns true if the request changes an object.
    pub fn is_change(&self) -> bool {
        matches!(self, Self::Put(_) | Self::Replace(_) | Self::Delete(_))
    }

    /// Returns true if the request is a listing.
    pub fn is_listing(&self) -> bool {
        matches!(self, Self::List(_) | Self::Names(_))
    }
}

/// Called around each request.
type Watch = Box<dyn Fn(&Request<'_>) -> Result<()> + Send + Sync>;

/// A store in memory whose requests a test sees.
pub struct Watched {
    /// The store itself, for requests that the test doesn't see.
    pub store: Arc<MemoryStore>,
    before: Watch,
    after: Watch,
}

impl Watched {
    /// Creates a store that calls `before` before each request. If that returns an error, the
    /// request fails with it, and the store isn't called.
    pub fn before(
        store: &Arc<MemoryStore>,
        before: impl Fn(&Request<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::around(store, before, |_| Ok(()))
    }

    /// Creates a store that calls `before` before each request, and `after` after each that
    /// succeeded.
    pub fn around(
        store: &Arc<MemoryStore>,
        before: impl Fn(&Request<'_>) -> Result<()> + Send + Sync + 'static,
        after: impl Fn(&Request<'_>) -> Result<()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let store = Arc::clone(store);
        Arc::new(Self { store, before: Box::new(before), after: Box::new(after) })
    }

    fn ask<T>(
        &self,
        request: &Request<'_>,
        answer: impl FnOnce(&MemoryStore) -> Result<T>,
    ) -> Result<T> {
        (self.before)(request)?;
        let answer = answer(&self.store)?;
        (self.after)(request)?;
        Ok(answer)
    }
}

impl Store for Watched {
    fn address(&self, key: &str) -> String {
        self.store.address(key)
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<Put> {
        self.ask(&Request::Put(key), |store| store.put(key, bytes))
    }

    fn replace(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.ask(&Request::Replace(key), |store| store.replace(key, bytes))
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.ask(&Request::Get(key), |store| store.get(key))
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        let request = Request::GetRange(key, range.clone());
        self.ask(&request, |store| store.get_range(key, range))
    }

    fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<Object>> {
        self.ask(&Request::List(prefix), |store| store.list(prefix, after, max))
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>> {
        self.ask(&Request::Names(prefix), |store| store.names(prefix))
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.ask(&Request::Delete(key), |store| store.delete(key))
    }
}
