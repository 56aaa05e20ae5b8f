//! Where a lake is that is replayed: a folder, which is read directly, or any other store.

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

/// How much of a file is looked at to see when it begins.
const PEEK_BYTES: u64 = 64 << 10;

/// A lake in its place.
#[derive(Clone)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// Something else.
    Store(Arc<dyn Store>),
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address(""))
    }
}

impl Place {
    /// The lake at `s3://bucket/prefix`, or in a folder.
    ///
    /// # Errors
    /// If it is no such address.
    pub fn at(root: &str) -> Result<Self> {
        if is_remote(root) {
            return open(root).map(Self::Store);
        }
        let absolute = std::path::absolute(root);
        absolute
            .map(Self::Folder)
            .map_err(|cause| Error::fatal(format!("bad root \"{root}\"")).because(cause))
    }

    /// The store that the lake is in.
    pub fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Folder(root) => Arc::new(LocalStore::new(root)),
            Self::Store(store) => Arc::clone(store),
        }
    }

    /// The partitions that are meant, by the names under which they are read, in order.
    ///
    /// # Errors
    /// If they can't be listed, the glob is none, or nothing matches it; but a lake may be empty
    /// for `*`.
    pub fn partitions(&self, choice: &Choice) -> Result<Vec<String>> {
        self.splits(choice, &Progress::new())
    }

    /// What is to be read of the partitions that are meant, where earlier runs have read some of
    /// it.
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

    /// The address of a key, for people.
    pub fn address(&self, key: &str) -> String {
        match self {
            Self::Folder(root) => root.join(key).display().to_string(),
            Self::Store(store) => store.address(key),
        }
    }

    /// The posts that a partition begins with from a file on, as far as a first look goes: a help
    /// only, so what can't be read is as good as empty.
    pub fn peek(&self, partition: &str, from: Option<FileNumber>) -> Vec<Post> {
        let look = || {
            let store = self.store();
            let files = listing::objects(store.as_ref(), meant(partition).0).ok()?;
            let mut left =
                files.into_iter().filter(|(name, _)| from.is_none_or(|from| name.number >= from));
            if let Some((_, first)) = left.next() {
                return beginning(store.as_ref(), &first.key);
            }
            // Of what took its place, which doesn't begin later.
            let pieces = lineage::trace(store.as_ref(), partition).ok()??;
            let files = listing::objects(store.as_ref(), &pieces.first()?.partition).ok()?;
            beginning(store.as_ref(), &files.first()?.1.key)
        };
        look().unwrap_or_default()
    }
}

/// The first posts of a file.
fn beginning(store: &dyn Store, key: &str) -> Option<Vec<Post>> {
    match Form::of(key) {
        // Its end says where it begins.
        Form::Parquet => ObjectReader::new(store, key).next_posts().ok()?,
        form @ Form::Text(..) => {
            let mut bytes = Look(store.get_range(key, 0..PEEK_BYTES).ok()??);
            // Where it is cut off there is a damage, but the posts before it come first.
            Chunks::of(form, bytes.0.len().max(1)).next_posts(&mut bytes).ok()?
        }
    }
}

/// What a first look saw of a text.
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
