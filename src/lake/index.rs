//! The side-channel index: one small object for each partition, `_index/<partition>.json`, that
//! says what each micro-batch holds. A help only: everything works without it, and it can be built
//! again.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::names::{FileName, PartitionName};
use super::scan::{ObjectReader, Trouble};
use super::store::{Store, list_all};
use super::{journal, listing, parallel, replaced, room, view};
use crate::error::{Kind, Result};

/// Where the index is.
pub const INDEX: &str = "_index/";

/// The version of the format that is written, and the newest one that is read.
const VERSION: u32 = 1;

/// What the index says of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The version of the format.
    pub version: u32,
    /// The partition's name.
    pub partition: String,
    /// Its files, in number order.
    pub files: Vec<File>,
    /// What this partition took the place of, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<Generation>,
}

/// What the index says of a micro-batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name: seven digits, and the extension that tells its form.
    pub file: String,
    /// How many posts it holds.
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

/// A partition that isn't there any more, because another took its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Its name.
    pub partition: String,
    /// The files that it had.
    pub files: Vec<String>,
    /// How many posts those held.
    pub posts: u64,
    /// Their length.
    pub bytes: u64,
    /// `compact` or `erase`.
    pub why: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub when: OffsetDateTime,
    /// How many posts each of `files` held. Empty where an earlier version wrote it, which didn't
    /// say where posts went: then `erased`, `into` and `offset` say nothing either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<u64>,
    /// The posts that weren't kept, numbered from 0 over all files: the first and how many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erased: Vec<(u64, u64)>,
    /// The partition that has the posts now. None if no post was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub into: Option<String>,
    /// How many posts of other partitions stand before them there.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Index {
    /// An index without generations.
    pub fn new(partition: &str, files: Vec<File>) -> Self {
        Self { version: VERSION, partition: partition.into(), files, replaces: Vec::new() }
    }

    /// How many posts the partition holds.
    pub fn posts(&self) -> u64 {
        self.files.iter().map(|file| file.posts).sum()
    }

    /// The length of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// What was found at the index's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A good one.
    Index(Index),
    /// None.
    Missing,
    /// An object that can't be read as one, and why.
    Damaged(String),
}

/// The key of a partition's index.
pub fn key(partition: &str) -> String {
    format!("{INDEX}{partition}.json")
}

/// Reads a partition's index.
///
/// # Errors
/// If the store can't say what is there. A missing or damaged index is no error.
pub fn read(store: &dyn Store, partition: &str) -> Result<Found> {
    match room::read_note(store, &key(partition), |json| parse(partition, json)) {
        Ok(found) => Ok(found.unwrap_or(Found::Missing)),
        // A FIFO under its name, or another thing that is no file.
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

/// Writes a partition's index in the place of the one that was there.
///
/// # Errors
/// If it can't be stored.
pub fn write(store: &dyn Store, index: &Index) -> Result<()> {
    store.replace(&key(&index.partition), to_bytes(index))
}

/// An index as it is stored.
pub fn to_bytes(index: &Index) -> Bytes {
    serde_json::to_vec(index).expect("an index has only text and numbers").into()
}

/// The partitions that have an index, by one listing.
///
/// # Errors
/// If they can't be listed.
pub fn partitions(store: &dyn Store) -> Result<Vec<String>> {
    // Only what is directly there: what is in folders below may be more.
    let names = store.names(INDEX)?;
    Ok(names.iter().filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect())
}

/// Reads the indexes of several partitions, which one listing says are there.
///
/// # Errors
/// As [`read`].
pub fn read_all(store: &dyn Store, names: &[String]) -> Result<Vec<Found>> {
    let there: std::collections::BTreeSet<_> = partitions(store)?.into_iter().collect();
    let read =
        |name: &String| if there.contains(name) { read(store, name) } else { Ok(Found::Missing) };
    parallel::map(names, read).into_iter().collect()
}

/// Builds a partition's index from its files. What replaced what isn't in the files, and is taken
/// over from the index that was there.
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
        // Who has just replaced another partition by it may be about to write it.
        Found::Missing | Found::Damaged(_) => {
            let done = journal::read(store)?.done;
            let found = done.into_values().find(|index| index.partition == partition);
            index.replaces = found.map(|index| index.replaces).unwrap_or_default();
        }
    }
    Ok(index)
}

/// Builds a partition's index and writes it. None if another partition took its place meanwhile:
/// then nothing of it is left.
///
/// # Errors
/// As [`build`], or if it can't be stored.
pub fn renew(store: &dyn Store, partition: &str) -> Result<Option<Index>> {
    let built = build(store, partition).and_then(|index| write(store, &index).map(|()| index));
    // Asked behind the write: whoever replaces it deletes its index, and may have done so before.
    if is_left(store, partition)? {
        return built.map(Some);
    }
    store.delete(&key(partition))?;
    Ok(None)
}

/// Deletes the indexes of partitions that were replaced, which a run that ended in between may have
/// written.
///
/// # Errors
/// If something can't be read or deleted.
pub fn sweep(store: &dyn Store) -> Result<()> {
    let replaced = replaced::names(store)?;
    for partition in partitions(store)? {
        if replaced.contains(&partition) && !is_left(store, &partition)? {
            store.delete(&key(&partition))?;
        }
    }
    Ok(())
}

/// Whether a partition has files, other than those whose posts are elsewhere by now.
fn is_left(store: &dyn Store, partition: &str) -> Result<bool> {
    Ok(!listing::late_files(store, partition)?.is_empty())
}

/// Whether a partition has an index that names the files which are there, with their lengths.
///
/// # Errors
/// If the store can't say what is there.
pub fn is_current(store: &dyn Store, partition: &str) -> Result<bool> {
    let Found::Index(index) = read(store, partition)? else { return Ok(false) };
    let there = list_all(store, &format!("{partition}/"))?;
    let there = there
        .iter()
        .map(|object| (object.key.rsplit('/').next().unwrap_or_default(), object.bytes));
    Ok(index.files.iter().map(|file| (file.file.as_str(), file.bytes)).eq(there))
}

/// What the index says of one file.
///
/// # Errors
/// If it can't be read, or is damaged.
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

/// Whether a text is the name of a partition.
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
