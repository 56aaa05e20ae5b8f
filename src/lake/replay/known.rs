//! Looks up the files that are read in the side-channel index. The index is optional: without a
//! readable one, a lake is replayed all the same. Files that the index names and that don't exist
//! are normal in a sample of a lake.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::place::Place;
use crate::lake::index::{self, File, Found, Index};
use crate::lake::store::Store;

/// The index entry of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The number of posts.
    pub posts: u64,
    /// Its length.
    pub bytes: u64,
    /// The CRC-32 of its bytes.
    pub crc32: u32,
}

impl Known {
    /// Returns the difference from the index, if there is one.
    pub fn differs(&self, found: &Self) -> Option<String> {
        let count = |what: &str, found: u64, known: u64| {
            (found != known).then(|| format!("it has {found} {what}, but {known} in the index"))
        };
        let checksum = || {
            let (found, known) = (found.crc32, self.crc32);
            (found != known)
                .then(|| format!("its checksum is {found:08x}, but {known:08x} in the index"))
        };
        count("posts", found.posts, self.posts)
            .or_else(|| count("bytes", found.bytes, self.bytes))
            .or_else(checksum)
    }
}

/// The indexes of a lake, each of which is read when it is needed.
#[derive(Clone)]
pub(crate) struct Indexes {
    store: Arc<dyn Store>,
    /// The partitions that have an index, from a single listing, if reading each index would cost a
    /// request.
    there: Option<Arc<OnceLock<BTreeSet<String>>>>,
}

impl Indexes {
    /// Returns the indexes of the lake at a place.
    pub(crate) fn of(place: &Place) -> Self {
        let there = match place {
            Place::Folder(_) => None,
            Place::Store(_) => Some(Arc::default()),
        };
        Self { store: place.store(), there }
    }

    /// Returns no indexes, for a lake whose files aren't compared with them.
    pub(crate) fn none(place: &Place) -> Self {
        Self { store: place.store(), there: Some(Arc::new(BTreeSet::new().into())) }
    }

    fn index(&self, partition: &str) -> Option<Index> {
        let list =
            || index::partitions(self.store.as_ref()).unwrap_or_default().into_iter().collect();
        if self.there.as_ref().is_some_and(|there| !there.get_or_init(list).contains(partition)) {
            return None;
        }
        match index::read(self.store.as_ref(), partition) {
            Ok(Found::Index(index)) => Some(index),
            Ok(Found::Missing | Found::Damaged(_)) | Err(_) => None,
        }
    }

    /// Returns the index entries of a partition's files, by their names.
    pub(crate) fn files(&self, partition: &str) -> BTreeMap<String, Known> {
        let known =
            |File { file, posts, bytes, crc32, .. }: File| (file, Known { posts, bytes, crc32 });
        self.index(partition)
            .map(|index| index.files.into_iter().map(known).collect())
            .unwrap_or_default()
    }
}
