//! Finds the files of a checkpoint again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::elsewhere::{unless_gone, whereabouts};
use super::known::{Entry, FileId, first_split, split_of};
use super::scan::{Found, id, modified};
use super::{Event, Follower, open};
use crate::error::{Error, Result};
use crate::spout::lines::mark::HEAD_BYTES;
use crate::spout::lines::spout::file_gone;

impl Follower {
    /// Finds the files of a checkpoint.
    ///
    /// # Errors
    /// If one can't be examined: if it counted as missing, it would be read again when it comes
    /// back.
    pub(super) fn resume(
        &mut self,
        present: &BTreeMap<FileId, Found>,
        now: Duration,
    ) -> Result<()> {
        let mut lost = Vec::new();
        let resumed = std::mem::take(&mut self.resumed);
        // Files that are still at their paths come first, so that none of them is taken for a copy
        // of another.
        let mut gone = Vec::new();
        for (split, entry) in resumed {
            let path = match present.get(&entry.file) {
                Some(found) => Some(found.path.clone()),
                None => {
                    let found = whereabouts(&entry.path, entry.file);
                    found.map_err(|error| unreadable(&entry, error))?.map(|(path, _)| path)
                }
            };
            match path {
                Some(path) if self.is_file_of(&entry, &path)? => {
                    self.go_on(split, &entry, entry.file, path, now)
                }
                _ => gone.push((split, entry)),
            }
        }
        let not_followed = std::mem::take(&mut self.not_followed);
        for entry in not_followed {
            let is_followed = self.globs.iter().any(|(_, glob)| glob.matches(&entry.path));
            if !is_followed || entry.mark.place.offset == 0 {
                continue;
            }
            let found = self.find_not_followed(&entry, present)?;
            let split = found.as_ref().and_then(|(_, path)| self.split_at(path));
            match (found, split) {
                (Some((id, path)), Some(split))
                    if self.fresh.contains(&split) && !self.by_id.contains_key(&id) =>
                {
                    self.go_on(split, &entry, id, path, now);
                }
                (None, _) if self.fresh.contains(first_split()) => lost.push(entry),
                _ => {}
            }
        }
        for (split, entry) in gone {
            let begins_like = |head: &[u8]| entry.begins_like(head) && entry.mark.place.offset > 0;
            let copy =
                self.copy(&entry.path, entry.file, entry.mark.place.offset, &begins_like, present);
            match copy {
                Some((id, path)) => self.go_on(split, &entry, id, path, now),
                // Reported even if no part of it was read, since it had a line when it was found.
                None => lost.push(entry),
            }
        }
        for entry in lost {
            let why = file_gone(&entry.path, entry.mark);
            self.events.push_back(Event::Lost { entry, why });
        }
        Ok(())
    }

    /// Finds a file that an earlier run has read without following it.
    fn find_not_followed(
        &self,
        entry: &Entry,
        present: &BTreeMap<FileId, Found>,
    ) -> Result<Option<(FileId, PathBuf)>> {
        let has_inode = entry.file != (0, 0);
        if has_inode
            && let Some((path, _)) =
                whereabouts(&entry.path, entry.file).map_err(|error| unreadable(entry, error))?
            && self.is_file_of(entry, &path)?
        {
            return Ok(Some((entry.file, path)));
        }
        let found =
            unless_gone(fs::metadata(&entry.path)).map_err(|error| unreadable(entry, error))?;
        if let Some(found) = found
            && self.is_file_of(entry, &entry.path)?
        {
            return Ok(Some((id(&found), entry.path.clone())));
        }
        let begins_like = |head: &[u8]| entry.begins_like(head);
        Ok(self.copy(&entry.path, entry.file, entry.mark.place.offset, &begins_like, present))
    }

    /// Continues to read after the mark of an entry.
    fn go_on(&mut self, split: String, entry: &Entry, id: FileId, path: PathBuf, now: Duration) {
        let head = open(&path, self.has_kind)
            .and_then(|source| source.head(HEAD_BYTES))
            .unwrap_or_default();
        let (size, modified) =
            fs::metadata(&path).map_or((0, (0, 0)), |found| (found.len(), modified(&found)));
        self.begin(split, id, Found { path, size, modified }, entry.mark.place, head, now);
    }

    /// Returns true if the file at this path has the beginning of the entry's file.
    fn is_file_of(&self, entry: &Entry, path: &Path) -> Result<bool> {
        let opened =
            unless_gone(open(path, self.has_kind)).map_err(|error| unreadable(entry, error))?;
        let Some(mut source) = opened else { return Ok(false) };
        match source.go_to(entry.mark) {
            Ok(place) => Ok(place.is_some()),
            // The file has changed: it has other content, or is compressed and damaged.
            Err(error) if is_about_content(&error) => Ok(false),
            Err(error) => Err(unreadable(entry, error)),
        }
    }

    fn split_at(&self, path: &Path) -> Option<String> {
        split_of(&open(path, self.has_kind).ok()?.head(HEAD_BYTES).ok()?)
    }
}

/// Returns true if the error is about the content of a file, and not about access to it.
fn is_about_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | Other | UnexpectedEof)
}

/// Returns the error for a file of the checkpoint that may or may not exist.
fn unreadable(entry: &Entry, error: io::Error) -> Error {
    let (path, place) = (entry.path.display(), entry.mark.place);
    Error::fatal(format!(
        "\"{path}\" can't be read now; it was read up to line {} (byte {}) before the restart. So that no part of it is \
         read twice, nothing is read until it is readable again, or deleted",
        place.line, place.offset
    ))
    .because(error)
}
