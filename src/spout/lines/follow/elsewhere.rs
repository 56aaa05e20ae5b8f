//! Finds files that disappeared from their paths, or whose content did, under another name or in a
//! copy.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::known::FileId;
use super::scan::{Found, id};
use super::{Event, File, Follower, open};
use crate::spout::lines::mark::HEAD_BYTES;

/// The maximum number of files in a folder that are opened to find the copy of a missing file. Each
/// costs an open and a read of its head, once for each missing file.
const BESIDE_MAX: usize = 1_000;

/// A file that is missing from its path, or whose content was replaced.
pub(super) struct Orphan {
    pub number: u64,
    pub file: File,
    /// True if its inode still exists, with other content.
    pub was_cut: bool,
}

impl Follower {
    /// Continues with the copy of a missing file, or reports the part that is known to be missing.
    pub(super) fn settle(
        &mut self,
        orphan: Orphan,
        present: &BTreeMap<FileId, Found>,
        now: Duration,
    ) {
        let Orphan { number, mut file, was_cut } = orphan;
        let begins_like = |head: &[u8]| !file.head.is_empty() && head.starts_with(&file.head);
        let copy = self.copy(&file.path, file.id, file.offset, &begins_like, present);
        if let Some((id, path)) = copy {
            let moved = (!present.contains_key(&id)).then_some(now);
            self.events.push_back(Event::Moved { number, file: id, path: path.clone() });
            (file.id, file.path, file.moved, file.source) = (id, path, moved, None);
            (file.size, file.modified) = (0, (0, 0));
            file.is_ready = false;
            self.put_in(number, file);
            self.make_ready(number);
            return;
        }
        let path = file.path.display();
        let left = if file.is_packed { 0 } else { file.size.saturating_sub(file.offset) };
        let read = file.offset;
        let why = match (was_cut, left) {
            (true, 0) if read == 0 => None,
            (true, 0) => Some(format!(
                "\"{path}\" was cut or rewritten after {read} bytes of it were read: lines written \
                 between that and the cut may be missing; it is read from its start"
            )),
            (true, left) => Some(format!(
                "\"{path}\" was cut or rewritten after {read} bytes of it were read, and before its last {left} \
                 bytes were; it is read from its start"
            )),
            (false, 0) => None,
            (false, left) => {
                Some(format!("\"{path}\" was deleted before its last {left} bytes were read"))
            }
        };
        if let Some(why) = why {
            self.events.push_back(Event::Lost { entry: file.entry(), why });
        }
        self.events.push_back(Event::Closed { number });
    }

    /// Returns an unknown file with the same beginning, which is at least as long as the part that
    /// was read of the original: among the paths, or in the same folder under a name with the same
    /// first part.
    pub(super) fn copy(
        &self,
        path: &Path,
        not: FileId,
        offset: u64,
        begins_like: &dyn Fn(&[u8]) -> bool,
        present: &BTreeMap<FileId, Found>,
    ) -> Option<(FileId, PathBuf)> {
        let mut candidates: Vec<PathBuf> = Vec::new();
        let name = path.file_name()?.to_str()?;
        let stem = name.split('.').find(|part| !part.is_empty()).unwrap_or(name);
        for entry in fs::read_dir(path.parent()?).into_iter().flatten().flatten() {
            let begins_alike = entry
                .file_name()
                .to_str()
                .is_some_and(|other| other.trim_start_matches('.').starts_with(stem));
            if begins_alike && candidates.len() < BESIDE_MAX {
                candidates.push(entry.path());
            }
        }
        candidates.sort();
        // Files that are being read, or don't belong to this task, aren't copies; the others among
        // the paths are new. An inode that is used again belongs to another file.
        let is_passed_over =
            |id, found: &Found| self.passed_over.get(id) == Some(&(found.size, found.modified));
        let is_new = |id, found| !self.by_id.contains_key(id) && !is_passed_over(id, found);
        let new = present.iter().filter(|(id, found)| is_new(*id, *found));
        candidates.extend(new.take(BESIDE_MAX).map(|(_, found)| found.path.clone()));
        for path in candidates {
            let Ok(found) = fs::metadata(&path) else { continue };
            if !found.is_file() || id(&found) == not || self.by_id.contains_key(&id(&found)) {
                continue;
            }
            let Ok(mut source) = open(&path, self.has_kind) else { continue };
            let is_alike = source.head(HEAD_BYTES).is_ok_and(|head| begins_like(&head));
            if is_alike && source.skip_to(offset).unwrap_or(false) {
                return Some((id(&found), path));
            }
        }
        None
    }
}

/// Returns the name that a file has now: its old one, or another one in the same folder. `None` if
/// it has none.
///
/// # Errors
/// If that can't be determined: missing permission, an unreachable network disk.
pub(super) fn whereabouts(path: &Path, wanted: FileId) -> io::Result<Option<(PathBuf, Metadata)>> {
    if let Some(found) = unless_gone(fs::metadata(path))?
        && id(&found) == wanted
    {
        return Ok(Some((path.to_path_buf(), found)));
    }
    let Some(folder) = path.parent() else { return Ok(None) };
    for entry in unless_gone(fs::read_dir(folder))?.into_iter().flatten() {
        let entry = entry?;
        if entry.ino() != wanted.1 {
            continue;
        }
        if let Some(found) = unless_gone(fs::metadata(entry.path()))?
            && id(&found) == wanted
        {
            return Ok(Some((entry.path(), found)));
        }
    }
    Ok(None)
}

/// Returns `None` if the file doesn't exist. Any other error leaves that open.
pub(super) fn unless_gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
