//! A partition is replaced by another of the same timestamp, with the same posts or some of them.

use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use crate::lake::index::{File, Found, Index, describe, read};
use crate::lake::journal::{Attempt, generation};
use crate::lake::names::{FileNumber, PartitionName};
use crate::lake::scan::each_post;
use crate::lake::store::{Put, Store};
use crate::lake::{parallel, view};
use crate::post::Post;

/// How a partition is rewritten.
pub struct Rewrite<'a> {
    /// `compact` or `erase`.
    pub why: &'static str,
    /// The length that a new file may have; a larger post gets one for itself.
    pub bytes_max: u64,
    /// Which posts are kept.
    pub keep: &'a dyn Fn(&Post) -> bool,
    /// The time.
    pub now: OffsetDateTime,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rewritten {
    /// The partition that is gone.
    pub old: String,
    /// The one in its place; none if no post was kept.
    pub new: Option<String>,
    /// How many files there were.
    pub files_before: usize,
    /// How many there are.
    pub files: usize,
    /// How many posts were kept.
    pub posts: u64,
    /// How many were not.
    pub posts_erased: u64,
}

/// A file's number and its key.
type Numbered = (FileNumber, String);

/// Posts in their order, as a count and a hash of their bytes.
#[derive(Default)]
struct Digest {
    posts: u64,
    hash: Xxh3,
}

impl Digest {
    fn add(&mut self, post: &[u8]) {
        self.posts += 1;
        self.hash.update(&(post.len() as u64).to_le_bytes());
        self.hash.update(post);
    }

    fn value(&self) -> (u64, u128) {
        (self.posts, self.hash.digest128())
    }
}

/// Rewrites a partition. None if another process is at it.
///
/// # Errors
/// If a file is damaged or changes meanwhile, or what was written isn't what is read back: then the
/// old partition stays as it is.
pub fn rewrite(store: &Arc<dyn Store>, old: &str, how: &Rewrite<'_>) -> Result<Option<Rewritten>> {
    let name: PartitionName =
        old.parse().map_err(|_| Error::fatal(format!("bad partition \"{old}\": expected <time>-<uuid>")))?;
    let new = PartitionName::begin(name.boundary).to_string();
    let Some(attempt) = Attempt::begin(store.as_ref(), old, &new, how.why, how.now)? else { return Ok(None) };
    match write(store, old, &new, how) {
        Ok((index, rewritten)) => {
            attempt.done(store.as_ref(), index, how.now)?;
            Ok(Some(rewritten))
        }
        Err(error) => {
            attempt.undo(store.as_ref(), how.now)?;
            Err(error)
        }
    }
}

/// Writes the new partition, and proves that it is what it should be.
fn write(store: &Arc<dyn Store>, old: &str, new: &str, how: &Rewrite<'_>) -> Result<(Index, Rewritten)> {
    let before = view::files(store.as_ref(), old)?;
    let keys: Vec<String> = before.iter().map(|(_, key)| key.clone()).collect();
    let (mut writer, mut erased) = (Writer::new(store, new, how.bytes_max), 0);
    each_post(store, &keys, |post| {
        if (how.keep)(post) {
            return writer.add(post);
        }
        erased += 1;
        Ok(())
    })?;
    let (digest, files) = writer.finish()?;
    prove(store, &files, digest)?;
    if view::files(store.as_ref(), old)? != before {
        return Err(Error::fatal(format!("\"{}\" changed while it was read: it isn't closed", store.address(old))));
    }
    let index = new_index(store, old, new, &files, how)?;
    let new = (!files.is_empty()).then(|| new.to_owned());
    let (posts, files_before, files) = (digest.0, before.len(), files.len());
    Ok((index, Rewritten { old: old.into(), new, files_before, files, posts, posts_erased: erased }))
}

/// Reads what was written, which has to be what was to be written.
fn prove(store: &Arc<dyn Store>, files: &[Numbered], wanted: (u64, u128)) -> Result<()> {
    let keys: Vec<String> = files.iter().map(|(_, key)| key.clone()).collect();
    let mut found = Digest::default();
    each_post(store, &keys, |post| {
        found.add(post);
        Ok(())
    })?;
    if found.value() == wanted {
        return Ok(());
    }
    let (found, wanted) = (found.posts, wanted.0);
    Err(Error::fatal(format!(
        "{wanted} posts were written, and {found} or others were read back: nothing was replaced"
    )))
}

fn new_index(store: &Arc<dyn Store>, old: &str, new: &str, files: &[Numbered], how: &Rewrite<'_>) -> Result<Index> {
    let describe_all = |files: &[Numbered]| {
        let describe = |(number, key): &Numbered| {
            describe(store.as_ref(), *number, key).map_err(|trouble| trouble.of(store.as_ref(), key))
        };
        parallel::map(files, describe).into_iter().collect::<Result<Vec<File>>>()
    };
    let mut index = Index::new(new, describe_all(files)?);
    let old_files = match read(store.as_ref(), old)? {
        Found::Index(known) => {
            index.replaces = known.replaces;
            known.files
        }
        _ => describe_all(&view::files(store.as_ref(), old)?)?,
    };
    index.replaces.push(generation(old, &old_files, how.why, how.now));
    Ok(index)
}

/// Writes posts into the files of a new partition.
struct Writer<'a> {
    store: &'a Arc<dyn Store>,
    partition: &'a str,
    bytes_max: u64,
    digest: Digest,
    buffer: Vec<u8>,
    next: Option<FileNumber>,
    files: Vec<Numbered>,
}

impl<'a> Writer<'a> {
    fn new(store: &'a Arc<dyn Store>, partition: &'a str, bytes_max: u64) -> Self {
        let (digest, buffer, files) = (Digest::default(), Vec::new(), Vec::new());
        Self { store, partition, bytes_max, digest, buffer, next: Some(FileNumber::FIRST), files }
    }

    fn add(&mut self, post: &[u8]) -> Result<()> {
        // The 2 are the comma before the post, and the bracket at the end.
        if !self.buffer.is_empty() && (self.buffer.len() + post.len() + 2) as u64 > self.bytes_max {
            self.close()?;
        }
        self.buffer.push(if self.buffer.is_empty() { b'[' } else { b',' });
        self.buffer.extend_from_slice(post);
        self.digest.add(post);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.buffer.push(b']');
        let number = self.next.ok_or_else(|| Error::fatal("a partition can't have more files: choose larger ones"))?;
        let key = format!("{}/{number}", self.partition);
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        // What is there may be this, if an answer was lost on the way.
        if self.store.put(&key, bytes.clone())? == Put::Exists && self.store.get(&key)? != Some(bytes) {
            return Err(Error::fatal(format!("\"{}\" was written by somebody else", self.store.address(&key))));
        }
        self.files.push((number, key));
        self.next = number.next();
        crate::fault::point("tools.step").map_err(|cause| Error::transient("a step failed").because(cause))
    }

    fn finish(mut self) -> Result<((u64, u128), Vec<Numbered>)> {
        if !self.buffer.is_empty() {
            self.close()?;
        }
        Ok((self.digest.value(), self.files))
    }
}
