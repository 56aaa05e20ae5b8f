//! A lake in memory, for tests.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Object, Put, Store};
use crate::error::Result;

/// A store that keeps objects in a map.
#[derive(Debug, Default)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, Bytes>>,
}

impl MemoryStore {
    /// Locks the map. It is never left half-changed, so a panic elsewhere doesn't matter.
    fn objects(&self) -> MutexGuard<'_, BTreeMap<String, Bytes>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn address(&self, key: &str) -> String {
        format!("memory:{key}")
    }

    fn put(&self, key: &str, bytes: Bytes) -> Result<Put> {
        let mut objects = self.objects();
        if objects.contains_key(key) {
            return Ok(Put::Exists);
        }
        objects.insert(key.to_owned(), bytes);
        Ok(Put::Stored)
    }

    fn replace(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.objects().insert(key.to_owned(), bytes);
        Ok(())
    }

    fn get(&self, key: &str) -> Result<Option<Bytes>> {
        Ok(self.objects().get(key).cloned())
    }

    fn get_range(&self, key: &str, range: Range<u64>) -> Result<Option<Bytes>> {
        Ok(self.objects().get(key).map(|bytes| {
            let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            bytes.slice(within(range.start)..within(range.end).max(within(range.start)))
        }))
    }

    fn list(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<Vec<Object>> {
        let from = after.map_or(Bound::Included(prefix), |after| {
            if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) }
        });
        let objects = self.objects();
        let found = objects
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        Ok(found
            .take(max)
            .map(|(key, bytes)| Object { key: key.clone(), bytes: bytes.len() as u64 })
            .collect())
    }

    fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let objects = self.objects();
        let behind =
            objects.range(prefix.to_owned()..).map_while(|(key, _)| key.strip_prefix(prefix));
        let mut names: Vec<String> =
            behind.map(|key| key.split_inclusive('/').next().unwrap_or(key).into()).collect();
        names.dedup();
        Ok(names)
    }

    fn delete(&self, key: &str) -> Result<()> {
        self.objects().remove(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::store::conformance::conformance;

    #[test]
    fn it_is_a_store() {
        conformance(&MemoryStore::default());
    }
}
