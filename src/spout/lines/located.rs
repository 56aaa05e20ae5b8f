//! Finds the files of a checkpoint again, for paths that aren't followed.
//!
//! A split is named after the path at which its file was first read, and keeps that name when the
//! file is renamed: device, inode and head in its cursor identify the file. A file that took the
//! path of another one gets a separate split, `<path>//2`. So no cursor ever moves from one split
//! to another, and after a crash between two checkpoints no cursor can have moved alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::follow::known;
use super::input::is_stream;
use super::mark::{FileId, FileMark, HEAD_BYTES, Mark};
use super::reader::{Source, is_at};
use crate::globs::Glob;
use crate::spout::Cursor;

/// The characters before the number of a second or later file of one path. An absolute path has no
/// two slashes in a row, except at its start.
const GENERATION: &str = "//";

/// The maximum number of files in a folder that are opened to find the copy of a missing file. Each
/// costs an open and a read of its head.
const BESIDE_MAX: usize = 1_000;

/// The maximum number of new files that are opened to find such copies. Each costs an open and a
/// kibibyte of memory.
const NEW_MAX: usize = 10_000;

/// A split, and the path of its file now.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LocatedSplit {
    pub id: String,
    pub path: String,
}

/// A file of the checkpoint that wasn't found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MissingFile {
    pub path: String,
    pub mark: FileMark,
}

/// The splits of all files, and the files that are missing.
#[derive(Debug, Default)]
pub(super) struct Located {
    pub splits: Vec<LocatedSplit>,
    pub missing: Vec<MissingFile>,
}

impl Located {
    /// Returns the path of the file of a split.
    pub(crate) fn path<'a>(&'a self, id: &'a str) -> &'a str {
        let split = self.splits.iter().find(|split| split.id == id);
        split.map_or_else(|| path_of(id), |split| &split.path)
    }
}

/// Returns the path at which the file of a split was first read.
pub(super) fn path_of(split: &str) -> &str {
    match split.rfind(GENERATION) {
        Some(end) if end > 0 => &split[..end],
        _ => split,
    }
}

/// Finds the file of each cursor again, and names the splits. `files` are the files that the paths
/// match now, and `globs` the paths. In the result, the splits of files that moved out of the paths
/// come first.
pub(super) fn locate(
    files: &[String],
    globs: &[Glob],
    cursors: &BTreeMap<String, Cursor>,
) -> Located {
    let mut search = Search::new(files, globs, cursors);
    let cursors = search.file_cursors();
    // A cursor at the start of a file has no head to compare, and an inode may be used again. So
    // such cursors come last, after the ones with a head.
    let tells_head = |cursor: &FileCursor| cursor.mark.mark.place.offset > 0;
    let (cursors, at_start): (Vec<_>, Vec<_>) = cursors.into_iter().partition(tells_head);
    let mut orphans = search.claim_by_inode(cursors);
    // Restored files, and those of states without inodes, are recognised by their heads.
    orphans.retain(|cursor| !search.claim_own_path(cursor));
    if orphans.iter().any(|cursor| search.may_be_copied(cursor)) {
        search.read_heads();
        orphans.retain(|cursor| !search.claim_copy(cursor));
    }
    let mut orphans_at_start = search.claim_by_inode(at_start);
    orphans_at_start.retain(|cursor| !search.claim_own_path(cursor));
    orphans.append(&mut orphans_at_start);
    let mut missing = Vec::new();
    for cursor in orphans {
        if search.is_missing(&cursor) {
            let FileCursor { path, mark, .. } = cursor;
            missing.push(MissingFile { path, mark });
        }
    }
    Located { splits: search.splits(), missing }
}

/// The cursor of a file, with the path at which the file was first read.
struct FileCursor {
    /// The split; `None` for a file that an earlier run followed.
    id: Option<String>,
    path: String,
    mark: FileMark,
}

/// The result of a search for an inode.
enum Found {
    At(String),
    /// Another split has the file, or its path was removed from the configuration.
    InHand,
    Nowhere,
}

struct Search<'a> {
    files: &'a [String],
    globs: &'a [Glob],
    cursors: &'a BTreeMap<String, Cursor>,
    listed: HashSet<&'a str>,
    inodes: HashMap<FileId, &'a str>,
    /// The ids of splits by the paths of their files.
    claimed: BTreeMap<String, String>,
    ids: HashSet<String>,
    /// The names in a folder by inode.
    folders: HashMap<PathBuf, HashMap<u64, OsString>>,
    /// Files of which no part was read, with their heads.
    new: Vec<(&'a str, Vec<u8>)>,
}

impl<'a> Search<'a> {
    fn new(files: &'a [String], globs: &'a [Glob], cursors: &'a BTreeMap<String, Cursor>) -> Self {
        let mut inodes = HashMap::new();
        for file in files {
            if let Some(id) = file_id(Path::new(file)) {
                inodes.insert(id, file.as_str());
            }
        }
        let mut search = Self {
            files,
            globs,
            cursors,
            listed: files.iter().map(String::as_str).collect(),
            inodes,
            claimed: BTreeMap::new(),
            ids: HashSet::new(),
            folders: HashMap::new(),
            new: Vec::new(),
        };
        // A cursor that isn't a position in a file belongs to the file at its path.
        for (id, cursor) in cursors {
            let is_place = matches!(cursor, Cursor::At(text) if text.parse::<FileMark>().is_ok());
            let is_listed = search.listed.contains(path_of(id));
            if is_listed && !is_place && *cursor != Cursor::Start {
                search.claim_for(path_of(id).to_owned(), id.clone());
            }
        }
        search
    }

    /// Returns the cursors of files, those with the largest offsets first: if two cursors belong to
    /// one file, the first counts.
    fn file_cursors(&self) -> Vec<FileCursor> {
        let mut cursors = Vec::new();
        for (id, cursor) in self.cursors {
            let Cursor::At(text) = cursor else { continue };
            if known::is_followed(id) {
                for entry in known::Entry::read_all(text).unwrap_or_default() {
                    let Some(path) = entry.path.to_str().map(str::to_owned) else { continue };
                    let file = Some(entry.file);
                    let read_at = entry.read_at;
                    let mark = FileMark { mark: entry.mark, file, read_at, is_end: false };
                    cursors.push(FileCursor { id: None, path, mark });
                }
            } else if let Ok(mark) = text.parse()
                && id.starts_with('/')
            {
                cursors.push(FileCursor { id: Some(id.clone()), path: path_of(id).into(), mark });
            }
        }
        // If a file was read both with following and without, the split of its path takes
        // precedence.
        cursors.sort_by_key(|cursor| (Reverse(cursor.mark.mark.place.offset), cursor.id.is_none()));
        cursors
    }

    /// Claims the files of cursors that are found by their inodes; returns the other cursors.
    fn claim_by_inode(&mut self, cursors: Vec<FileCursor>) -> Vec<FileCursor> {
        let mut orphans = Vec::new();
        for cursor in cursors {
            match self.find_inode(&cursor) {
                Found::At(path) => self.claim(path, &cursor),
                Found::InHand => {}
                Found::Nowhere => orphans.push(cursor),
            }
        }
        orphans
    }

    /// Assigns a file to the split of a cursor. If an earlier run followed the file, the split is
    /// named as if the file had been read at its current path, so that the next start finds it in
    /// the same way.
    fn claim(&mut self, path: String, cursor: &FileCursor) {
        let id = cursor.id.clone().unwrap_or_else(|| self.new_id(&cursor.path));
        self.claim_for(path, id);
    }

    fn claim_for(&mut self, path: String, id: String) {
        self.ids.insert(id.clone());
        self.claimed.insert(path, id);
    }

    /// Returns the name of a split for a file of which no part was read.
    fn new_id(&self, path: &str) -> String {
        let is_free = |id: &String| {
            let is_new = matches!(self.cursors.get(id), None | Some(Cursor::Start));
            is_new && !self.ids.contains(id)
        };
        let later = (2..).map(|number| format!("{path}{GENERATION}{number}"));
        let mut ids = std::iter::once(path.to_owned()).chain(later);
        ids.find(is_free).unwrap_or_else(|| path.to_owned())
    }

    /// Returns true if the topology's paths match a path, even if no such file exists.
    fn is_wanted(&self, path: &str) -> bool {
        self.listed.contains(path) || self.globs.iter().any(|glob| glob.matches(path))
    }

    /// Searches for the inode of a cursor among the files and beside its path.
    fn find_inode(&mut self, cursor: &FileCursor) -> Found {
        let Some(file) = cursor.mark.file else { return Found::Nowhere };
        let is_it = |path: &str| is_at(path, cursor.mark.mark);
        let found = match self.inodes.get(&file) {
            Some(path) if is_it(path) => (*path).to_owned(),
            Some(_) => return Found::Nowhere,
            None if !self.is_wanted(&cursor.path) => return Found::InHand,
            None => match self.beside(Path::new(&cursor.path), file) {
                Some(path) if is_it(&path) => path,
                _ => return Found::Nowhere,
            },
        };
        if self.claimed.contains_key(&found) { Found::InHand } else { Found::At(found) }
    }

    /// Returns the name that an inode has in the folder of a path.
    fn beside(&mut self, path: &Path, file: FileId) -> Option<String> {
        let folder = path.parent()?;
        if !self.folders.contains_key(folder) {
            let mut names = HashMap::new();
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                names.insert(entry.ino(), entry.file_name());
            }
            self.folders.insert(folder.to_path_buf(), names);
        }
        let found = folder.join(self.folders.get(folder)?.get(&file.1)?);
        (file_id(&found) == Some(file)).then_some(found)?.into_os_string().into_string().ok()
    }

    /// Claims the file at the path of a cursor, if its beginning equals that of the file that was
    /// read there. Returns true if it did.
    fn claim_own_path(&mut self, cursor: &FileCursor) -> bool {
        let FileCursor { path, mark, .. } = cursor;
        let is_free = self.listed.contains(path.as_str()) && !self.claimed.contains_key(path);
        // Without a head, every file would match.
        let is_told = mark.mark.place.offset > 0 || mark.file.is_none() || mark.is_end;
        if !is_free || !is_told || is_stream(path) || !is_at(path, mark.mark) {
            return false;
        }
        self.claim(path.clone(), cursor);
        true
    }

    fn may_be_copied(&self, cursor: &FileCursor) -> bool {
        cursor.mark.mark.place.offset > 0 && self.is_wanted(&cursor.path)
    }

    /// Reads the heads of files of which no part was read.
    fn read_heads(&mut self) {
        for file in self.files {
            if self.new.len() == NEW_MAX {
                return;
            }
            if self.claimed.contains_key(file) || is_stream(file) {
                continue;
            }
            let head = Source::open(file, true).and_then(|source| source.head(HEAD_BYTES));
            if let Ok(head) = head {
                self.new.push((file, head));
            }
        }
    }

    /// Claims the copy of a missing file: a file of which no part was read, that has the same
    /// beginning and is at least as long as the part that was read of the original. For compressed
    /// files the content counts. Returns true if it found one.
    fn claim_copy(&mut self, cursor: &FileCursor) -> bool {
        if !self.may_be_copied(cursor) {
            return false;
        }
        let mark = cursor.mark.mark;
        let mut candidates = Vec::new();
        for (file, head) in &self.new {
            if begins_like(head, mark) && !self.claimed.contains_key(*file) {
                candidates.push((*file).to_owned());
            }
        }
        // A file that was read to its end, and whose name no longer exists, was deleted.
        if !cursor.mark.is_end || self.is_replaced(cursor) {
            candidates.extend(self.named_alike(Path::new(&cursor.path)));
        }
        let Some(copy) = candidates.into_iter().find(|path| is_at(path, mark)) else {
            return false;
        };
        self.claim(copy, cursor);
        true
    }

    /// Returns the files beside a path that the topology's paths don't match, and whose names have
    /// the same first part.
    fn named_alike(&self, path: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let (Some(folder), Some(name)) =
            (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return found;
        };
        let stem = name.split('.').find(|part| !part.is_empty()).unwrap_or(name);
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let other = entry.file_name();
            let begins_alike =
                other.to_str().is_some_and(|other| other.trim_start_matches('.').starts_with(stem));
            let is_file = || fs::metadata(entry.path()).is_ok_and(|found| found.is_file());
            if !begins_alike || !is_file() {
                continue;
            }
            let Ok(path) = entry.path().into_os_string().into_string() else { continue };
            if !self.listed.contains(path.as_str()) && !self.claimed.contains_key(&path) {
                found.push(path);
            }
            if found.len() == BESIDE_MAX {
                break;
            }
        }
        found.sort();
        found
    }

    /// Returns true if another file has the name under which the file of a cursor was last seen.
    fn is_replaced(&self, cursor: &FileCursor) -> bool {
        let Some(id) = &cursor.id else { return self.listed.contains(cursor.path.as_str()) };
        // The fate of earlier files of the path was reported when they were replaced.
        let is_newest = matches!(self.cursors.get(&next_id(id)), None | Some(Cursor::Start));
        is_newest && self.listed.contains(cursor.path.as_str())
    }

    /// Returns true if lines of the file of a cursor may be missing.
    fn is_missing(&self, cursor: &FileCursor) -> bool {
        if !cursor.mark.may_miss_lines() || !self.is_wanted(&cursor.path) {
            return false;
        }
        if cursor.id.is_none() {
            // A run that didn't follow may have read the file since.
            let is_read_since = |other: &FileMark| {
                other.file == cursor.mark.file
                    && other.mark.place.offset >= cursor.mark.mark.place.offset
            };
            let plain = self.cursors.iter().filter(|(id, _)| id.starts_with('/'));
            for (_, other) in plain {
                let Cursor::At(text) = other else { continue };
                if text.parse().is_ok_and(|other| is_read_since(&other)) {
                    return false;
                }
            }
        }
        !cursor.mark.is_end || self.is_replaced(cursor)
    }

    /// Names the splits of all files.
    fn splits(self) -> Vec<LocatedSplit> {
        let mut splits = Vec::new();
        for (path, id) in &self.claimed {
            if !self.listed.contains(path.as_str()) {
                splits.push(LocatedSplit { id: id.clone(), path: path.clone() });
            }
        }
        for path in self.files {
            let id = if is_stream(path) {
                path.clone()
            } else {
                self.claimed.get(path).cloned().unwrap_or_else(|| self.new_id(path))
            };
            splits.push(LocatedSplit { id, path: path.clone() });
        }
        splits
    }
}

/// Returns the name of the split after this one.
fn next_id(id: &str) -> String {
    let path = path_of(id);
    let number = id.get(path.len() + GENERATION.len()..).and_then(|number| number.parse().ok());
    format!("{path}{GENERATION}{}", number.unwrap_or(1_u64) + 1)
}

fn begins_like(head: &[u8], mark: Mark) -> bool {
    head.len() >= Mark::head_bytes(mark.place) && Mark::new(mark.place, head) == mark
}

/// Returns device and inode of an ordinary file.
fn file_id(path: &Path) -> Option<FileId> {
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((found.dev(), found.ino()))
}

#[cfg(test)]
mod tests;
