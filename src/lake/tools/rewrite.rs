//! Replaces partitions by another one of the same timestamp, with the same posts or some of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;
use xxhash_rust::xxh3::Xxh3;

use crate::error::{Error, Result};
use crate::lake::columns;
use crate::lake::form::{Compression, Form};
use crate::lake::index::{File, Found, Generation, Index, describe, read};
use crate::lake::journal::{Attempt, generation};
use crate::lake::names::{FileName, FileNumber, PartitionName};
use crate::lake::pack::pack;
use crate::lake::scan::each_post;
use crate::lake::store::{Put, Store};
use crate::lake::{parallel, view};
use crate::post::Post;

/// The way in which a partition is rewritten.
pub struct Rewrite<'a> {
    /// `compact` or `erase`.
    pub why: &'static str,
    /// The maximum length of a new file's text; a larger post gets its own file.
    pub bytes_max: u64,
    /// The form of the new files; by default that of the old partition's first file.
    pub form: Option<Form>,
    /// Returns true if a post is kept.
    pub keep: &'a dyn Fn(&Post) -> bool,
    /// The current time.
    pub now: OffsetDateTime,
}

/// The result of a rewrite.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rewritten {
    /// The partition that was deleted.
    pub old: String,
    /// Other partitions that were joined with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The partition that replaced them; `None` if no post was kept.
    pub new: Option<String>,
    /// The number of files before.
    pub files_before: usize,
    /// The number of files after.
    pub files: usize,
    /// The number of posts that were kept.
    pub posts: u64,
    /// The number of posts that weren't kept.
    pub posts_erased: u64,
}

/// A file's name and its key.
type Numbered = (FileName, String);

/// A digest of posts in their order: their number and a hash of their bytes.
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

/// Rewrites a partition. Returns `None` if another process works on it, or has just replaced it, in
/// which case it has no files.
///
/// # Errors
/// If a file is damaged or changes during the rewrite, or if the posts that are read back aren't
/// those that were written: then the old partition stays as it is.
pub fn rewrite(store: &Arc<dyn Store>, old: &str, how: &Rewrite<'_>) -> Result<Option<Rewritten>> {
    join(store, &[old], how)
}

/// Rewrites partitions of one timestamp as one, in the order of their names. Returns `None` if
/// another process works on one of them, or has just replaced it.
///
/// # Errors
/// As [`rewrite`]; then all of them stay as they are.
pub fn join(store: &Arc<dyn Store>, old: &[&str], how: &Rewrite<'_>) -> Result<Option<Rewritten>> {
    let first = old.first().copied().unwrap_or_default();
    let name: PartitionName = first
        .parse()
        .map_err(|_| Error::fatal(format!("bad partition \"{first}\": expected <time>-<uuid>")))?;
    let new = PartitionName::begin(name.boundary, name.names).to_string();
    let Some(attempt) = Attempt::begin(store.as_ref(), old, &new, how.why, how.now)? else {
        return Ok(None);
    };
    match write(store, old, &new, how) {
        Ok(Some((index, rewritten))) => {
            attempt.done(store.as_ref(), index, how.now)?;
            Ok(Some(rewritten))
        }
        Ok(None) => attempt.undo(store.as_ref(), how.now).map(|()| None),
        Err(error) => {
            attempt.undo(store.as_ref(), how.now)?;
            Err(error)
        }
    }
}

/// An old partition that is read.
struct Old<'a> {
    partition: &'a str,
    files: Vec<Numbered>,
    erased: Erased,
    /// The number of posts of other partitions before its own in the new one.
    offset: u64,
    posts: u64,
}

/// Writes the new partition, and checks it. Returns `None` if one of the old partitions has no
/// files.
fn write(
    store: &Arc<dyn Store>,
    old: &[&str],
    new: &str,
    how: &Rewrite<'_>,
) -> Result<Option<(Index, Rewritten)>> {
    let mut all = Vec::new();
    for partition in old {
        let files = view::files(store.as_ref(), partition)?;
        if files.is_empty() {
            return Ok(None);
        }
        all.push(Old { partition, files, erased: Erased::default(), offset: 0, posts: 0 });
    }
    let first = all.iter().flat_map(|old| &old.files).next();
    let form = how.form.or_else(|| first.map(|(name, _)| name.form)).unwrap_or(Form::ARRAY);
    let mut writer = Writer::new(store, new, how.bytes_max, form);
    for old in &mut all {
        let keys: Vec<String> = old.files.iter().map(|(_, key)| key.clone()).collect();
        old.offset = writer.digest.posts;
        each_post(store, &keys, |post| {
            let is_kept = (how.keep)(post);
            old.erased.next(is_kept);
            if is_kept { writer.add(post) } else { Ok(()) }
        })?;
        old.posts = writer.digest.posts - old.offset;
    }
    let (digest, files) = writer.finish()?;
    prove(store, &files, digest)?;
    for Old { partition, files, .. } in &all {
        if view::files(store.as_ref(), partition)? != *files {
            let address = store.address(partition);
            return Err(Error::fatal(format!(
                "\"{address}\" changed while it was read: it isn't closed"
            )));
        }
    }
    let posts_erased = all.iter().map(|old| old.erased.posts()).sum();
    let files_before = all.iter().map(|old| old.files.len()).sum();
    let index = new_index(store, all, (new, &files), how)?;
    let new = (!files.is_empty()).then(|| new.to_owned());
    let mut old = old.iter().map(|name| (*name).to_owned());
    let (old, also) = (old.next().unwrap_or_default(), old.collect());
    let (posts, files) = (digest.0, files.len());
    Ok(Some((index, Rewritten { old, also, new, files_before, files, posts, posts_erased })))
}

/// The posts of a partition that weren't kept. A reader that has read a part of the old partition
/// finds the same position in the new one from them.
#[derive(Default)]
struct Erased {
    /// The number of posts so far.
    seen: u64,
    /// The number of the first post of each range and its length, as in
    /// [`Generation`](crate::lake::index::Generation).
    ranges: Vec<(u64, u64)>,
}

impl Erased {
    fn next(&mut self, is_kept: bool) {
        let number = self.seen;
        self.seen += 1;
        if is_kept {
            return;
        }
        match self.ranges.last_mut() {
            Some((first, posts)) if *first + *posts == number => *posts += 1,
            _ => self.ranges.push((number, 1)),
        }
    }

    fn posts(&self) -> u64 {
        self.ranges.iter().map(|(_, posts)| posts).sum()
    }
}

/// Reads the new files back, and compares their posts with those that were written.
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
        "{wanted} posts were written, but {found} posts or different ones were read back: nothing was replaced"
    )))
}

fn new_index(
    store: &Arc<dyn Store>,
    all: Vec<Old<'_>>,
    (new, files): (&str, &[Numbered]),
    how: &Rewrite<'_>,
) -> Result<Index> {
    let describe_all = |files: &[Numbered]| {
        let describe = |(name, key): &Numbered| {
            describe(store.as_ref(), *name, key).map_err(|trouble| trouble.of(store.as_ref(), key))
        };
        parallel::map(files, describe).into_iter().collect::<Result<Vec<File>>>()
    };
    let mut index = Index::new(new, describe_all(files)?);
    for Old { partition, files: before, erased, offset, posts } in all {
        let known = if let Found::Index(known) = read(store.as_ref(), partition)? {
            Some(known)
        } else {
            None
        };
        if let Some(known) = &known {
            index.replaces.extend(known.replaces.iter().cloned());
        }
        // An index that was made while a writer was at work may lack files, and the old files that
        // no index names would stay beside the new partition.
        let names =
            |files: &[File]| files.iter().map(|file| file.file.clone()).collect::<BTreeSet<_>>();
        let there: BTreeSet<_> = before.iter().map(|(name, _)| name.to_string()).collect();
        let old_files = match known.filter(|known| names(&known.files) == there) {
            Some(known) => known.files,
            None => describe_all(&before)?,
        };
        let into = (posts > 0).then(|| new.to_owned());
        let generation = generation(partition, &old_files, how.why, how.now);
        index.replaces.push(Generation { erased: erased.ranges, into, offset, ..generation });
    }
    Ok(index)
}

/// A writer of posts into the files of a new partition.
struct Writer<'a> {
    store: &'a Arc<dyn Store>,
    partition: &'a str,
    bytes_max: u64,
    form: Form,
    digest: Digest,
    /// The text of the current file so far.
    text: Vec<u8>,
    /// For Parquet, the posts of the current file so far, and their length.
    posts: Vec<Post>,
    posts_bytes: usize,
    next: Option<FileNumber>,
    files: Vec<Numbered>,
}

impl<'a> Writer<'a> {
    fn new(store: &'a Arc<dyn Store>, partition: &'a str, bytes_max: u64, form: Form) -> Self {
        Self {
            store,
            partition,
            bytes_max,
            form,
            digest: Digest::default(),
            text: Vec::new(),
            posts: Vec::new(),
            posts_bytes: 0,
            next: Some(FileNumber::FIRST),
            files: Vec::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.posts.is_empty()
    }

    fn add(&mut self, post: &Post) -> Result<()> {
        // The 1 is the comma before the post, or the end of its line.
        let longer = self.text.len() + self.posts_bytes + post.len() + 1 + self.form.end().len();
        if !self.is_empty() && longer as u64 > self.bytes_max {
            self.close()?;
        }
        self.digest.add(post);
        match self.form {
            Form::Text(format, _) => {
                let [before, behind] = format.around(self.text.is_empty());
                for part in [before, post, behind] {
                    self.text.extend_from_slice(part);
                }
            }
            Form::Parquet => {
                self.posts_bytes += post.len() + 1;
                self.posts.push(post.clone());
            }
        }
        Ok(())
    }

    /// Returns the bytes of the file that is being written.
    fn bytes(&mut self) -> Result<Bytes> {
        let posts = std::mem::take(&mut self.posts);
        self.posts_bytes = 0;
        let mut text = std::mem::take(&mut self.text);
        text.extend_from_slice(self.form.end());
        let bytes = match self.form {
            Form::Text(_, Compression::None) => text,
            Form::Text(_, compression) => {
                let mut packed = Vec::new();
                pack(compression, &mut &text[..], text.len() as u64, &mut packed)
                    .map_err(|cause| Error::fatal("can't pack a file").because(cause))?;
                packed
            }
            Form::Parquet => columns::write(&posts)
                .map_err(|cause| Error::fatal("can't make a file of Parquet").because(cause))?,
        };
        Ok(bytes.into())
    }

    fn close(&mut self) -> Result<()> {
        let bytes = self.bytes()?;
        let number = self
            .next
            .ok_or_else(|| Error::fatal("a partition can't have more files: choose larger ones"))?;
        let name = FileName::new(number, self.form);
        let key = format!("{}/{name}", self.partition);
        // An existing object may be this very file, if an answer was lost.
        if self.store.put(&key, bytes.clone())? == Put::Exists
            && self.store.get_range(&key, 0..bytes.len() as u64 + 1)? != Some(bytes)
        {
            return Err(Error::fatal(format!(
                "\"{}\" was written by somebody else",
                self.store.address(&key)
            )));
        }
        self.files.push((name, key));
        self.next = number.next();
        crate::fault::point("tools.step")
            .map_err(|cause| Error::transient("a step failed").because(cause))
    }

    fn finish(mut self) -> Result<((u64, u128), Vec<Numbered>)> {
        if !self.is_empty() {
            self.close()?;
        }
        Ok((self.digest.value(), self.files))
    }
}
