//! Where a lake is that is replayed: a folder, which is read directly, or any other store.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use glob::Pattern;

use super::choice::Choice;
use crate::error::{Error, Result};
use crate::lake::address::is_remote;
use crate::lake::form::Form;
use crate::lake::names::{FileName, FileNumber, in_order};
use crate::lake::partitions::{Partition, partitions};
use crate::lake::reader::{Chunks, Input};
use crate::lake::scan::{ObjectReader, Trouble};
use crate::lake::store::local::LocalStore;
use crate::lake::store::{Store, list_all, open};
use crate::lake::view;
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

/// A file of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub number: FileNumber,
    /// Its key.
    pub key: String,
    /// Its length, where the listing says it.
    pub bytes: u64,
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
        absolute.map(Self::Folder).map_err(|cause| Error::fatal(format!("bad root \"{root}\"")).because(cause))
    }

    /// The names of the partitions that are meant, in order.
    ///
    /// # Errors
    /// If they can't be listed, the glob is none, or nothing matches it; but a lake may be empty for `*`.
    pub fn partitions(&self, choice: &Choice) -> Result<Vec<String>> {
        let mut names = match self {
            Self::Folder(root) => partitions(root, &choice.glob)?.into_iter().map(|found| found.name).collect(),
            Self::Store(store) => matching(store.as_ref(), &choice.glob)?,
        };
        names.retain(|name| choice.takes(name));
        Ok(names)
    }

    /// The files of a partition, in order. Some may be missing.
    ///
    /// # Errors
    /// If they can't be listed, or two have the same number.
    pub fn files(&self, partition: &str) -> Result<Vec<Found>> {
        let key = |name: &FileName| format!("{partition}/{name}");
        match self {
            Self::Folder(root) => {
                let partition = Partition { name: partition.into(), folder: root.join(partition) };
                let found = |(name, _): (FileName, _)| Found { key: key(&name), number: name.number, bytes: 0 };
                Ok(partition.files()?.into_iter().map(found).collect())
            }
            Self::Store(store) => {
                let name = |found: &str| found.rsplit('/').next()?.parse().ok();
                let objects = list_all(store.as_ref(), &format!("{partition}/"))?.into_iter();
                let named = objects.filter_map(|object| Some((name(&object.key)?, object)));
                let named = named.filter(|(name, object)| object.key == key(name)).collect();
                let found = in_order(named, partition)?.into_iter();
                Ok(found.map(|(name, at)| Found { number: name.number, key: at.key, bytes: at.bytes }).collect())
            }
        }
    }

    /// The address of a key, for people.
    pub fn address(&self, key: &str) -> String {
        match self {
            Self::Folder(root) => root.join(key).display().to_string(),
            Self::Store(store) => store.address(key),
        }
    }

    /// The posts that a partition begins with from a file on, as far as a first look goes: a help only,
    /// so what can't be read is as good as empty.
    pub fn peek(&self, partition: &str, from: Option<FileNumber>) -> Vec<Post> {
        let look = || {
            let files = self.files(partition).ok()?;
            let first = files.into_iter().find(|file| from.is_none_or(|from| file.number >= from))?;
            match self {
                Self::Folder(root) => beginning(&LocalStore::new(root), &first.key),
                Self::Store(store) => beginning(store.as_ref(), &first.key),
            }
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

fn matching(store: &dyn Store, glob: &str) -> Result<Vec<String>> {
    let pattern = Pattern::new(glob).map_err(|cause| Error::fatal(format!("bad glob \"{glob}\"")).because(cause))?;
    let all = view::partitions(store)?;
    let others = all.len();
    let matching: Vec<_> = all.into_iter().filter(|name| pattern.matches(name)).collect();
    if matching.is_empty() && glob != "*" {
        let root = store.address("");
        return Err(Error::fatal(format!("no partition in \"{root}\" matches \"{glob}\"; there are {others} others")));
    }
    Ok(matching)
}
