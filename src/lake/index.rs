//! The side-channel index: one small object for each partition, `_index/<partition>.json`, that
//! describes the contents of each micro-batch. The index is optional: everything works without it,
//! and it can be rebuilt.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::names::{FileName, PartitionName};
use super::scan::{ObjectReader, Trouble};
use super::store::{Store, list_all};
use super::{journal, listing, parallel, replaced, room, view};
use crate::error::{Kind, Result};

/// The folder of the index, relative to the lake's root.
pub const INDEX: &str = "_index/";

/// The version of the format that is written, which is also the newest version that can be read.
const VERSION: u32 = 1;

/// The index of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The version of the format.
    pub version: u32,
    /// The partition's name.
    pub partition: String,
    /// Its files, in number order.
    pub files: Vec<File>,
    /// The partitions that this partition replaced, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<Generation>,
}

/// The index entry of a micro-batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name: seven digits, and the extension that tells its form.
    pub file: String,
    /// The number of posts in it.
    pub posts: u64,
    /// Its length.
    pub bytes: u64,
    /// The CRC-32 of its bytes.
    pub crc32: u32,
    /// The oldest post's own time.
    #[serde(with = "time::serde::rfc3339::option")]
    pub first: Option<OffsetDateTime>,
    /// The newest post's own time.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last: Option<OffsetDateTime>,
}

/// A partition that no longer exists because another one replaced it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its name.
    pub partition: String,
    /// The files that it had.
    pub files: Vec<String>,
    /// The number of posts in those files.
    pub posts: u64,
    /// The total length of those files, in bytes.
    pub bytes: u64,
    /// `compact` or `erase`.
    pub why: String,
    /// The time of the replacement.
    #[serde(with = "time::serde::rfc3339")]
    pub when: OffsetDateTime,
    /// The number of posts in each of `files`. Empty if an earlier version wrote the entry, which
    /// didn't record where posts went: then `erased`, `into` and `offset` have no meaning either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<u64>,
    /// The posts that weren't kept, numbered from 0 over all files: the first number, and the
    /// number of posts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erased: Vec<(u64, u64)>,
    /// The partition that has the posts now. `None` if no post was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
    /// The number of posts of other partitions that precede them in that partition.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Index {
    /// Creates an index without replaced partitions.
    pub fn new(partition: &str, files: Vec<File>) -> Self {
        Self { version: VERSION, partition: partition.into(), files, replaces: Vec::new() }
    }

    /// Returns the number of posts in the partition.
    pub fn posts(&self) -> u64 {
        self.files.iter().map(|file| file.posts).sum()
    }

    /// Returns the total length of its files, in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// The result of reading an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A valid index.
    Index(Index),
    /// No index exists.
    Missing,
    /// An object that can't be parsed as an index, and the reason.
    Damaged(String),
}

/// Returns the key of a partition's index.
pub fn key(partition: &str) -> String {
    format!("{INDEX}{partition}.json")
}

/// Reads a partition's index.
///
/// # Errors
/// If the store fails. A missing or damaged index is no error.
pub fn read(store: &dyn Store, partition: &str) -> Result<Found> {
    match room::read_note(store, &key(partition), |json| parse(partition, json)) {
        Ok(found) => Ok(found.unwrap_or(Found::Missing)),
        // The name belongs to a FIFO or something else that isn't a file.
        Err(error) if error.kind() == Kind::Rejected => Ok(Found::Damaged(error.chain())),
        Err(error) => Err(error),
    }
}

fn parse(partition: &str, bytes: &[u8]) -> Found {
    let index: Index = match serde_json::from_slice(bytes) {
        Ok(index) => index,
        Err(error) => return Found::Damaged(error.to_string()),
    };
    if index.version > VERSION {
        return Found::Damaged(format!(
            "expected a version up to {VERSION}, found {}",
            index.version
        ));
    }
    if index.partition != partition {
        return Found::Damaged(format!("it is that of \"{}\"", index.partition));
    }
    let names: Result<Vec<FileName>, _> =
        index.files.iter().map(|file| file.file.parse()).collect();
    match names {
        Ok(names) if names.is_sorted_by(|a, b| a.number < b.number) => Found::Index(index),
        _ => Found::Damaged("expected the numbers of files in order".into()),
    }
}

/// Writes a partition's index, and replaces an existing one.
///
/// # Errors
/// If the index can't be stored.
pub fn write(store: &dyn Store, index: &Index) -> Result<()> {
    store.replace(&key(&index.partition), to_bytes(index))
}

/// Returns the bytes of an index as they are stored.
pub fn to_bytes(index: &Index) -> Bytes {
    serde_json::to_vec(index).expect("an index has only text and numbers").into()
}

/// Lists the partitions that have an index, with a single listing.
///
/// # Errors
/// If they can't be listed.
pub fn partitions(store: &dyn Store) -> Result<Vec<String>> {
    // Only objects directly in this folder are listed; subfolders may hold many more.
    let names = store.names(INDEX)?;
    Ok(names.iter().filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect())
}

/// Reads the indexes of several partitions, which a listing has found.
///
/// # Errors
/// As [`read`].
pub fn read_all(store: &dyn Store, names: &[String]) -> Result<Vec<Found>> {
    let there: std::collections::BTreeSet<_> = partitions(store)?.into_iter().collect();
    let read =
        |name: &String| if there.contains(name) { read(store, name) } else { Ok(Found::Missing) };
    parallel::map(names, read).into_iter().collect()
}

/// Builds a partition's index from its files. The list of replaced partitions isn't in the files,
/// so it is copied from the existing index.
///
/// # Errors
/// If a file can't be read, or is damaged.
pub fn build(store: &dyn Store, partition: &str) -> Result<Index> {
    let keys = view::files(store, partition)?;
    let files = parallel::map(&keys, |(name, key)| {
        describe(store, *name, key).map_err(|bad| bad.of(store, key))
    });
    let mut index = Index::new(partition, files.into_iter().collect::<Result<_>>()?);
    match read(store, partition)? {
        Found::Index(old) => index.replaces = old.replaces,
        // The process that has just replaced another partition by this one may not have written the
        // index yet.
        Found::Missing | Found::Damaged(_) => {
            let done = journal::read(store)?.done;
            let found = done.into_values().find(|index| index.partition == partition);
            index.replaces = found.map(|index| index.replaces).unwrap_or_default();
        }
    }
    Ok(index)
}

/// Builds a partition's index and writes it. Returns `None` if another partition has replaced this
/// one since: then its index is deleted.
///
/// # Errors
/// As [`build`], or if the index can't be stored.
pub fn renew(store: &dyn Store, partition: &str) -> Result<Option<Index>> {
    let built = build(store, partition).and_then(|index| write(store, &index).map(|()| index));
    // Checked after the write, because a process that replaces this partition deletes its index,
    // perhaps before this write.
    if is_left(store, partition)? {
        return built.map(Some);
    }
    store.delete(&key(partition))?;
    Ok(None)
}

/// Deletes the indexes of replaced partitions, which may exist because a run ended between two
/// steps.
///
/// # Errors
/// If an object can't be read or deleted.
pub fn sweep(store: &dyn Store) -> Result<()> {
    let replaced = replaced::names(store)?;
    for partition in partitions(store)? {
        if replaced.contains(&partition) && !is_left(store, &partition)? {
            store.delete(&key(&partition))?;
        }
    }
    Ok(())
}

/// Returns true if a partition has files other than those whose posts are now in another partition.
fn is_left(store: &dyn Store, partition: &str) -> Result<bool> {
    Ok(!listing::late_files(store, partition)?.is_empty())
}

/// Returns true if a partition has an index that names exactly the existing files, with their
/// lengths.
///
/// # Errors
/// If the store fails.
pub fn is_current(store: &dyn Store, partition: &str) -> Result<bool> {
    let Found::Index(index) = read(store, partition)? else { return Ok(false) };
    let there = list_all(store, &format!("{partition}/"))?;
    let there = there
        .iter()
        .map(|object| (object.key.rsplit('/').next().unwrap_or_default(), object.bytes));
    Ok(index.files.iter().map(|file| (file.file.as_str(), file.bytes)).eq(there))
}

/// Describes one file for the index.
///
/// # Errors
/// If the file can't be read, or is damaged.
pub fn describe(store: &dyn Store, name: FileName, key: &str) -> Result<File, Trouble> {
    let mut reader = ObjectReader::new(store, key);
    let (mut first, mut last) = (None, None);
    while let Some(posts) = reader.next_posts()? {
        for time in posts.iter().filter_map(crate::post::Post::created_at) {
            first = Some(first.map_or(time, |first: OffsetDateTime| first.min(time)));
            last = last.max(Some(time));
        }
    }
    let (posts, bytes, crc32) = (reader.posts(), reader.bytes(), reader.checksum());
    Ok(File { file: name.to_string(), posts, bytes, crc32, first, last })
}

/// Returns true if a text is the name of a partition.
pub fn is_partition(name: &str) -> bool {
    name.parse::<PartitionName>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::store::memory::MemoryStore;

    const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";

    fn lake() -> MemoryStore {
        let store = MemoryStore::default();
        let post = |day| format!("{{\"toot\":{{\"created_at\":\"2015-12-{day}T00:00:00Z\"}}}}");
        let put = |file: &str, content: String| {
            store.replace(&format!("{NIGHT}/{file}"), content.into()).unwrap()
        };
        put("0000000", format!("[{},{}]", post(19), post(18)));
        put("0000001", "[{\"note\":1}]".into());
        store
    }

    #[test]
    fn an_index_says_what_each_file_holds() {
        let store = lake();
        let index = build(&store, NIGHT).unwrap();
        let days =
            |file: &File| (file.first.map(|time| time.day()), file.last.map(|time| time.day()));
        assert_eq!(
            index.files.iter().map(days).collect::<Vec<_>>(),
            [(Some(18), Some(19)), (None, None)]
        );
        assert_eq!((index.posts(), index.bytes()), (3, 107));
        assert_eq!(index.files[1].crc32, crc32fast::hash(b"[{\"note\":1}]"));
        write(&store, &index).unwrap();
        assert_eq!(read(&store, NIGHT).unwrap(), Found::Index(index.clone()));
        assert_eq!(
            read_all(&store, &[NIGHT.into(), "x".into()]).unwrap(),
            [Found::Index(index), Found::Missing]
        );
    }

    #[test]
    fn building_it_again_keeps_the_generations() {
        let store = lake();
        let mut index = build(&store, NIGHT).unwrap();
        let (why, when) = ("compact".into(), OffsetDateTime::UNIX_EPOCH);
        index.replaces.push(Generation {
            partition: "a".into(),
            files: vec![],
            posts: 1,
            bytes: 2,
            why,
            when,
            counts: vec![],
            erased: vec![],
            into: None,
            offset: 0,
        });
        write(&store, &index).unwrap();
        assert_eq!(build(&store, NIGHT).unwrap(), index);
    }

    #[test]
    fn a_damaged_index_is_no_error() {
        let store = lake();
        for bad in ["", "{", "{}", "{\"version\":2,\"partition\":\"x\",\"files\":[]}"] {
            store.replace(&key(NIGHT), bad.into()).unwrap();
            assert!(matches!(read(&store, NIGHT).unwrap(), Found::Damaged(_)), "{bad}");
        }
        let other = Index::new("x", vec![]);
        store.replace(&key(NIGHT), serde_json::to_vec(&other).unwrap().into()).unwrap();
        assert_eq!(read(&store, NIGHT).unwrap(), Found::Damaged("it is that of \"x\"".into()));
        assert_eq!(build(&store, NIGHT).unwrap().posts(), 3);
    }

    #[test]
    fn an_index_is_current_until_a_file_comes_goes_or_grows() {
        let store = lake();
        assert!(!is_current(&store, NIGHT).unwrap());
        write(&store, &build(&store, NIGHT).unwrap()).unwrap();
        assert!(is_current(&store, NIGHT).unwrap());
        store.put(&format!("{NIGHT}/0000002"), "[]".into()).unwrap();
        assert!(!is_current(&store, NIGHT).unwrap());
        store.delete(&format!("{NIGHT}/0000002")).unwrap();
        store.replace(&format!("{NIGHT}/0000001"), "[]".into()).unwrap();
        assert!(!is_current(&store, NIGHT).unwrap());
    }

    #[test]
    fn a_damaged_file_has_no_index() {
        let store = lake();
        store.replace(&format!("{NIGHT}/0000001"), "[{\"note\":".into()).unwrap();
        assert!(
            build(&store, NIGHT).unwrap_err().chain().contains("0000001\" is damaged at byte 9")
        );
    }
}
