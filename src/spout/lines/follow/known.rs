//! The followed files in a checkpoint, and their splits.
//!
//! A file is recognised by device and inode and by its beginning. Its split is determined by its
//! first line, so a copy, a link and a rotated file are all in one split, and so in one task: none
//! of them is taken for a new file without comparing it to the others.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use super::super::mark::FileId;
use super::super::mark::{HEAD_BYTES, Mark};

/// The number of splits for followed files. The cursor of a split names all of its files, about 100
/// bytes each, and is written whenever one of them was read. More splits would make that cheaper
/// for thousands of files, but each split costs time at every barrier.
const BUCKETS: u64 = 128;

/// The prefix of the names of their splits, which no absolute path has.
const PREFIX: &str = "followed/";

/// Returns the splits of followed files.
pub(crate) fn splits() -> impl Iterator<Item = String> {
    (0..BUCKETS).map(split_name)
}

/// Returns the split whose task reports for files without a known split.
pub(crate) fn first_split() -> &'static str {
    "followed/000"
}

fn split_name(bucket: u64) -> String {
    format!("{PREFIX}{bucket:03}")
}

/// Returns true if a split is one of followed files.
pub(crate) fn is_followed(split: &str) -> bool {
    split.starts_with(PREFIX)
}

/// Returns the split of a file with this beginning; `None` until its first line, or its head, is
/// complete.
pub(crate) fn split_of(head: &[u8]) -> Option<String> {
    let line = match head.iter().position(|byte| *byte == b'\n') {
        Some(end) => &head[..end],
        None if head.len() >= HEAD_BYTES => head,
        None => return None,
    };
    Some(split_name(xxh3_64(line) % BUCKETS))
}

/// A file in a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub file: FileId,
    pub path: PathBuf,
    pub mark: Mark,
    /// The time of the last read, in seconds since 1970.
    pub read_at: i64,
}

/// The written form of an entry: device, inode, mark, time and path.
#[derive(Serialize, Deserialize)]
struct Written(u64, u64, String, i64, PathBuf);

impl Entry {
    /// Adds the entry to the cursor of its split, as a line.
    pub(crate) fn write(&self, cursor: &mut String) {
        let written = Written(
            self.file.0,
            self.file.1,
            self.mark.to_string(),
            self.read_at,
            self.path.clone(),
        );
        // Files whose paths aren't UTF-8 were skipped before.
        if let Ok(line) = serde_json::to_string(&written) {
            cursor.push_str(&line);
            cursor.push('\n');
        }
    }

    /// Reads the cursor of a split.
    pub(crate) fn read_all(cursor: &str) -> Result<Vec<Self>, String> {
        let mut entries = Vec::new();
        for line in cursor.lines() {
            let Written(device, inode, mark, read_at, path) =
                serde_json::from_str(line).map_err(|error| {
                    format!("expected device, inode, mark, time and path of a file: {error}")
                })?;
            entries.push(Self { file: (device, inode), path, mark: mark.parse()?, read_at });
        }
        Ok(entries)
    }

    /// Returns true if a file with this beginning can be the one of the entry.
    pub(crate) fn begins_like(&self, head: &[u8]) -> bool {
        Mark::new(self.mark.place, head) == self.mark
            && head.len() >= Mark::head_bytes(self.mark.place)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::splitter::Place;
    use super::*;

    #[test]
    fn entries_read_back() {
        let mark = Mark::new(Place { offset: 4, line: 1 }, b"abc\n");
        let entry = |path: &str| Entry { file: (1, 2), path: path.into(), mark, read_at: -3 };
        let entries = [entry("/a/b"), entry("/a/with \"\nline")];
        let mut cursor = String::new();
        entries.iter().for_each(|entry| entry.write(&mut cursor));
        assert_eq!(Entry::read_all(&cursor), Ok(entries.to_vec()));
        assert!(entries[0].begins_like(b"abc\nd") && !entries[0].begins_like(b"abc"));
        assert_eq!(Entry::read_all(""), Ok(vec![]));
        assert!(Entry::read_all("x").is_err());
    }

    #[test]
    fn the_first_line_tells_the_split() {
        assert_eq!(split_of(b"abc\nd"), split_of(b"abc\nother"));
        assert_eq!(split_of(b"abc"), None);
        assert!(splits().any(|split| Some(split) == split_of(b"abc\n")));
    }
}
