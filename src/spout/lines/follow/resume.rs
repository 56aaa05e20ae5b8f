//! Where files of a checkpoint are now.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::known::{Entry, FileId, first_split, split_of};
use super::scan::{Found, beside, id, modified};
use super::{Event, Follower, open};
use crate::spout::lines::mark::HEAD_BYTES;

impl Follower {
    /// Finds the files of a checkpoint.
    pub(super) fn resume(&mut self, present: &BTreeMap<FileId, Found>, now: Duration) {
        let mut lost = Vec::new();
        let resumed = std::mem::take(&mut self.resumed);
        let known: HashSet<FileId> = resumed.iter().map(|(_, entry)| entry.file).collect();
        // Files that are where they were go first, so that none of them is taken for another's copy.
        let mut gone = Vec::new();
        for (split, entry) in resumed {
            let path = present.get(&entry.file).map(|found| found.path.clone());
            let by_inode = || beside(&entry.path, entry.file).map(|(path, _)| path);
            let path = path.or_else(by_inode).filter(|path| self.is_file_of(&entry, path));
            match path {
                Some(path) => self.go_on(split, &entry, entry.file, path, now),
                None => gone.push((split, entry)),
            }
        }
        let by_path = std::mem::take(&mut self.by_path);
        for (path, mark) in by_path {
            let entry = Entry { file: (0, 0), path: path.into(), mark, read_at: 0 };
            let is_followed = self.globs.iter().any(|(_, glob)| glob.matches(&entry.path));
            if !is_followed || mark.place.offset == 0 {
                continue;
            }
            let found = fs::metadata(&entry.path).ok().filter(|_| self.is_file_of(&entry, &entry.path));
            let found = found.map(|found| (id(&found), entry.path.clone()));
            let begins_like = |head: &[u8]| entry.begins_like(head);
            let found = found.or_else(|| self.copy(&entry.path, (0, 0), mark.place.offset, &begins_like, present));
            let split = found.as_ref().and_then(|(_, path)| self.split_at(path));
            match (found, split) {
                (Some((id, path)), Some(split)) if self.fresh.contains(&split) && !self.by_id.contains_key(&id) => {
                    self.go_on(split, &entry, id, path, now);
                }
                (None, _) if self.fresh.contains(first_split()) => lost.push(entry),
                _ => {}
            }
        }
        for (split, entry) in gone {
            let begins_like = |head: &[u8]| entry.begins_like(head) && entry.mark.place.offset > 0;
            let mut copy = self.copy(&entry.path, entry.file, entry.mark.place.offset, &begins_like, present);
            copy = copy.filter(|(id, _)| !known.contains(id));
            match copy {
                Some((id, path)) => self.go_on(split, &entry, id, path, now),
                None if entry.mark.place.offset > 0 => lost.push(entry),
                None => {}
            }
        }
        for entry in lost {
            let why = format!(
                "\"{}\" is gone, or another file is there: what was written to it after the last checkpoint (line {}, \
                 byte {}) is found neither there nor beside",
                entry.path.display(),
                entry.mark.place.line,
                entry.mark.place.offset
            );
            self.events.push_back(Event::Lost { entry, why });
        }
    }

    /// Reads on behind the mark of an entry.
    fn go_on(&mut self, split: String, entry: &Entry, id: FileId, path: PathBuf, now: Duration) {
        let head = open(&path, self.has_kind).and_then(|source| source.head(HEAD_BYTES)).unwrap_or_default();
        let (size, modified) = fs::metadata(&path).map_or((0, (0, 0)), |found| (found.len(), modified(&found)));
        self.begin(split, id, Found { path, size, modified }, entry.mark.place, head, now);
    }

    fn is_file_of(&self, entry: &Entry, path: &Path) -> bool {
        let Ok(mut source) = open(path, self.has_kind) else { return false };
        matches!(source.go_to(entry.mark), Ok(Some(_)))
    }

    fn split_at(&self, path: &Path) -> Option<String> {
        split_of(&open(path, self.has_kind).ok()?.head(HEAD_BYTES).ok()?)
    }
}
