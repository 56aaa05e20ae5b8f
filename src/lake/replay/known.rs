//! What the side-channel index says of the files that are read: a help only. Where there is none,
//! or it can't be read, a lake is replayed all the same; files that it names and that aren't there
//! are a sample's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::place::Place;
use crate::lake::index::{self, File, Found, Index};
use crate::lake::store::Store;

/// What the index says of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// How many posts it holds.
    pub posts: u64,
    /// Its length.
    pub bytes: u64,
    /// The CRC-32 of its bytes.
    pub crc32: u32,
}

impl Known {
    /// What is other than the index says, if anything.
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

/// The indexes of a lake, each read when it is asked for.
#[derive(Clone)]
pub struct Indexes {
    store: Arc<dyn Store>,
    /// The partitions that have one, where asking for each costs a request: by one listing of all.
    there: Option<Arc<OnceLock<BTreeSet<String>>>>,
}

impl Indexes {
    /// Of the lake at a place.
    pub fn of(place: &Place) -> Self {
        let there = match place {
            Place::Folder(_) => None,
            Place::Store(_) => Some(Arc::default()),
        };
        Self { store: place.store(), there }
    }

    /// Of a lake whose files aren't held against the index.
    pub fn none(place: &Place) -> Self {
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

    /// What is known of the files of a partition, by their names.
    pub fn files(&self, partition: &str) -> BTreeMap<String, Known> {
        let known =
            |File { file, posts, bytes, crc32, .. }: File| (file, Known { posts, bytes, crc32 });
        self.index(partition)
            .map(|index| index.files.into_iter().map(known).collect())
            .unwrap_or_default()
    }
}
