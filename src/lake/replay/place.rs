//! The location of a lake that is replayed: a folder, which is read directly, or any other store.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::choice::Choice;
use crate::error::{Error, Result};
use crate::lake::address::is_remote;
use crate::lake::disk::failed;
use crate::lake::form::Form;
use crate::lake::lineage::{self, Progress, meant};
use crate::lake::listing::{self, Listing};
use crate::lake::names::FileNumber;
use crate::lake::reader::{Chunks, Input};
use crate::lake::scan::{ObjectReader, Trouble};
use crate::lake::store::local::LocalStore;
use crate::lake::store::{Store, open};
use crate::post::Post;

/// The number of bytes of a file that are read to find out when its posts begin.
const PEEK_BYTES: u64 = 64 << 10;

/// The location of a lake.
#[derive(Clone)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// Another store.
    Store(Arc<dyn Store>),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address(""))
    }
}

impl Place {
    /// Returns the place of the lake at `s3://bucket/prefix`, or in a folder.
    ///
    /// # Errors
    /// If the address is malformed.
    pub fn at(root: &str) -> Result<Self> {
        if is_remote(root) {
            return open(root).map(Self::Store);
        }
        let absolute = std::path::absolute(root);
        absolute
            .map(Self::Folder)
            .map_err(|cause| Error::fatal(format!("bad root \"{root}\"")).because(cause))
    }

    /// Returns the store that holds the lake.
    pub fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Folder(root) => Arc::new(LocalStore::new(root)),
            Self::Store(store) => Arc::clone(store),
        }
    }

    /// Returns the selected partitions under the names by which they are read, in order.
    ///
    /// # Errors
    /// If they can't be listed, the glob is malformed, or nothing matches it; but a lake may be
    /// empty for `*`.
    pub fn partitions(&self, choice: &Choice) -> Result<Vec<String>> {
        self.splits(choice, &Progress::new())
    }

    /// Returns the selected partitions, under the names by which earlier runs have read parts of
    /// them.
    ///
    /// # Errors
    /// As [`partitions`](Self::partitions), or if a partition that was partly read is gone.
    pub fn splits(&self, choice: &Choice, progress: &Progress) -> Result<Vec<String>> {
        if let Self::Folder(root) = self {
            std::fs::read_dir(root).map_err(|cause| failed("list", root, cause))?;
        }
        let (store, pattern) = (self.store(), listing::pattern(&choice.glob)?);
        let listing = Listing::read(store.as_ref())?;
        let of_any_shard = Choice { shard: None, ..choice.clone() };
        let means = |partition: &str| pattern.matches(partition) && of_any_shard.takes(partition);
        let mut chosen = listing.matching(store.as_ref(), &choice.glob)?;
        chosen.retain(|id| of_any_shard.takes(meant(id).0));
        let to_roots = choice.shard.is_some();
        let mut splits =
            lineage::splits(store.as_ref(), &listing, &chosen, &means, progress, to_roots)?;
        splits.retain(|id| choice.takes(meant(id).0));
        Ok(splits)
    }

    /// Returns the address of a key as shown to users.
    pub fn address(&self, key: &str) -> String {
        match self {
            Self::Folder(root) => root.join(key).display().to_string(),
            Self::Store(store) => store.address(key),
        }
    }

    /// Returns the first posts of a partition from a file on, as far as a first read shows. The
    /// result is only a hint, so anything that can't be read counts as empty.
    pub fn peek(&self, partition: &str, from: Option<FileNumber>) -> Vec<Post> {
        let look = || {
            let store = self.store();
            let files = listing::objects(store.as_ref(), meant(partition).0).ok()?;
            let mut left =
                files.into_iter().filter(|(name, _)| from.is_none_or(|from| name.number >= from));
            if let Some((_, first)) = left.next() {
                return beginning(store.as_ref(), &first.key);
            }
            // Reads the partition that replaced it, which doesn't begin later.
            let pieces = lineage::trace(store.as_ref(), partition).ok()??;
            let files = listing::objects(store.as_ref(), &pieces.first()?.partition).ok()?;
            beginning(store.as_ref(), &files.first()?.1.key)
        };
        look().unwrap_or_default()
    }
}

/// Returns the first posts of a file.
fn beginning(store: &dyn Store, key: &str) -> Option<Vec<Post>> {
    match Form::of(key) {
        // A Parquet file needs its footer to be read, so the whole reader is used.
        Form::Parquet => ObjectReader::new(store, key).next_posts().ok()?,
        form @ Form::Text(..) => {
            let mut bytes = Look(store.get_range(key, 0..PEEK_BYTES).ok()??);
            // The cut-off end counts as damage, but the posts before it are returned first.
            Chunks::of(form, bytes.0.len().max(1)).next_posts(&mut bytes).ok()?
        }
    }
}

/// The bytes of a text that the first read returned.
struct Look(Bytes);

impl Input for Look {
    fn fill(&mut self, to: &mut Vec<u8>) -> Result<bool, Trouble> {
        to.extend_from_slice(&self.0);
        Ok(false)
    }

    fn length(&mut self) -> Result<u64, Trouble> {
        Ok(self.0.len() as u64)
    }

    fn range(&mut self, _: Range<u64>) -> Result<Bytes, Trouble> {
        Ok(Bytes::new())
    }
}
