//! Finds out what happened to followed files, and which files are new.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::elsewhere::{Orphan, whereabouts};
use super::known::{Entry, FileId, split_of};
use super::{COPY_GRACE, Event, File, Follower, MOVED_GRACE, Twin, open};
use crate::spout::lines::mark::{HEAD_BYTES, Mark};
use crate::spout::lines::paths::walk;
use crate::spout::lines::splitter::Place;

/// A file that one of the paths matches.
#[derive(Clone)]
pub(super) struct Found {
    pub path: PathBuf,
    pub size: u64,
    pub modified: (i64, i64),
}

/// Returns device and inode of a file.
pub(super) fn id(found: &Metadata) -> FileId {
    (found.dev(), found.ino())
}

pub(super) fn modified(found: &Metadata) -> (i64, i64) {
    (found.mtime(), found.mtime_nsec())
}

impl Follower {
    /// Lists the paths, and finds out what changed.
    pub(super) fn scan(&mut self, now: Duration) {
        let present = self.list();
        if std::mem::take(&mut self.is_first_scan) {
            if let Err(error) = self.resume(&present, now) {
                self.has_failed = true;
                self.events.clear();
                self.events.push_back(Event::Failed(error));
                return;
            }
            self.events.push_back(Event::Scanned);
        }
        let mut orphans = Vec::new();
        let mut numbers: Vec<u64> = self.files.keys().copied().collect();
        numbers.sort_unstable();
        for number in numbers {
            let found = self.files.get(&number).and_then(|file| present.get(&file.id)).cloned();
            let is_whole = match found {
                Some(found) => self.see(number, found, now),
                None => self.miss(number, now),
            };
            if let Some(was_cut) = is_whole.err()
                && let Some(file) = self.take_out(number)
            {
                orphans.push(Orphan { number, file, was_cut });
            }
        }
        for orphan in orphans {
            self.settle(orphan, &present, now);
        }
        let mut new: Vec<_> =
            present.iter().filter(|(id, _)| !self.by_id.contains_key(id)).collect();
        new.sort_by(|a, b| a.1.path.cmp(&b.1.path));
        for (id, found) in new {
            self.meet(*id, found, now);
        }
        self.twins.retain(|id, _| present.contains_key(id));
        self.passed_over.retain(|id, _| present.contains_key(id));
    }

    /// Returns all ordinary files that the paths match, each once.
    fn list(&mut self) -> BTreeMap<FileId, Found> {
        let mut present: BTreeMap<FileId, Found> = BTreeMap::new();
        let mut said = Vec::new();
        for (text, glob) in &self.globs {
            let mut unlisted = Vec::new();
            let paths = walk(glob, &mut unlisted);
            for what in unlisted {
                said.push(format!("\"{}\" can't be listed: {}", what.folder.display(), what.cause));
            }
            if paths.is_empty() && self.is_first_scan {
                said.push(format!("\"{text}\" matches no file yet: waiting for one"));
            }
            for path in paths {
                let Ok(found) = fs::metadata(&path) else { continue };
                if !found.is_file() {
                    continue;
                }
                if path.to_str().is_none() {
                    said.push(format!(
                        "\"{}\" is skipped: its name is not UTF-8; rename it",
                        path.display()
                    ));
                    continue;
                }
                let id = id(&found);
                let new = Found { path, size: found.len(), modified: modified(&found) };
                let known = self.by_id.get(&id).and_then(|number| self.files.get(number));
                match present.get_mut(&id) {
                    None => drop(present.insert(id, new)),
                    Some(other) if known.is_some_and(|file| file.path == new.path) => *other = new,
                    Some(other)
                        if known.is_none() && is_link(&other.path) && !is_link(&new.path) =>
                    {
                        *other = new
                    }
                    Some(_) => {}
                }
            }
        }
        for what in said {
            self.say_once(what);
        }
        present
    }

    /// Handles a known file that a path matches. Returns `Err(true)` if its content was replaced.
    fn see(&mut self, number: u64, found: Found, now: Duration) -> Result<(), bool> {
        let Some(file) = self.files.get_mut(&number) else { return Ok(()) };
        file.moved = None;
        if file.path != found.path {
            file.path.clone_from(&found.path);
            let moved = Event::Moved { number, file: file.id, path: found.path.clone() };
            self.events.push_back(moved);
        }
        self.check(number, &found, now)
    }

    /// Does the same as `see` between scans, for an open file.
    pub(super) fn compare(&mut self, number: u64, found: &Metadata, now: Duration) {
        let found = Found { path: PathBuf::new(), size: found.len(), modified: modified(found) };
        if self.check(number, &found, now).is_err() {
            // The scan, which is now due, searches for the old content.
            self.next_scan = now;
        }
    }

    /// Adds a file to the queue if it grew. Returns `Err(true)` if its content was replaced.
    fn check(&mut self, number: u64, found: &Found, now: Duration) -> Result<(), bool> {
        let Some(file) = self.files.get_mut(&number) else { return Ok(()) };
        let is_same = (found.size, found.modified) == (file.size, file.modified);
        let is_behind = !file.is_packed && found.size > file.offset;
        if is_same && (!is_behind || file.source.is_some()) {
            return Ok(());
        }
        if !file.is_packed && found.size < file.offset || !begins_as_read(file, self.has_kind) {
            return Err(true);
        }
        if found.size > file.size {
            file.grew = now;
        }
        (file.size, file.modified) = (found.size, found.modified);
        if file.is_packed {
            file.source = None;
        }
        if is_behind || file.is_packed {
            self.make_ready(number);
        }
        Ok(())
    }

    /// Handles a known file that no path matches. Returns `Err(false)` if it is gone, `Err(true)`
    /// if its content was replaced.
    fn miss(&mut self, number: u64, now: Duration) -> Result<(), bool> {
        let Some(file) = self.files.get_mut(&number) else { return Ok(()) };
        let was_gone = file.moved.is_some();
        let since = *file.moved.get_or_insert(now);
        let found = match whereabouts(&file.path, file.id) {
            Ok(found) => found,
            Err(error) => {
                // Only files that are known to be gone are forgotten: another one would be read
                // again when it comes back.
                let what = format!(
                    "\"{}\" can't be examined, waiting for it: {error}",
                    file.path.display()
                );
                self.say_once(what);
                return Ok(());
            }
        };
        if let Some((path, found)) = found {
            let idle = now.saturating_sub(file.grew.max(since)) > MOVED_GRACE;
            let found = Found { path, size: found.len(), modified: modified(&found) };
            if idle && found.size == file.size {
                self.close(number);
                return Ok(());
            }
            if file.path != found.path {
                file.path.clone_from(&found.path);
                let moved = Event::Moved { number, file: file.id, path: found.path.clone() };
                self.events.push_back(moved);
            }
            return self.check(number, &found, now);
        }
        let open = file.source.as_ref().and_then(|source| source.metadata().ok());
        let Some(open) = open else { return Err(false) };
        if !file.is_packed && open.len() > file.offset {
            file.size = open.len();
            self.make_ready(number);
            return Ok(());
        }
        let elsewhere = open.nlink() > 0 && now.saturating_sub(file.grew.max(since)) <= MOVED_GRACE;
        if elsewhere || !was_gone { Ok(()) } else { Err(false) }
    }

    /// Handles an unknown file.
    fn meet(&mut self, id: FileId, found: &Found, now: Duration) {
        let seen = (found.size, found.modified);
        if self.passed_over.get(&id) == Some(&seen) {
            return;
        }
        let head = open(&found.path, self.has_kind).and_then(|source| source.head(HEAD_BYTES));
        let head = match head {
            Ok(head) => head,
            Err(error) => {
                // The format of a file stays the same until it is written, but permissions may
                // change without that.
                if matches!(error.kind(), io::ErrorKind::Other | io::ErrorKind::InvalidData) {
                    self.passed_over.insert(id, seen);
                }
                if error.kind() != io::ErrorKind::NotFound {
                    self.say_once(format!("\"{}\" is skipped: {error}", found.path.display()));
                }
                return;
            }
        };
        let Some(split) = split_of(&head).filter(|split| self.splits.contains(split)) else {
            self.passed_over.insert(id, seen);
            return;
        };
        let original = self.files.values().filter(|file| {
            let common = file.head.len().min(head.len());
            common > 0 && file.head[..common] == head[..common]
        });
        let mut is_twin = false;
        let mut is_moved = false;
        for file in original {
            is_twin = true;
            is_moved |= file.moved.is_some();
        }
        if is_twin {
            let twin = self.twins.entry(id).or_insert(Twin { since: now, size: found.size });
            if twin.size != found.size {
                *twin = Twin { since: now, size: found.size };
            }
            if is_moved || now.saturating_sub(twin.since) < COPY_GRACE {
                return;
            }
        }
        self.twins.remove(&id);
        self.passed_over.remove(&id);
        self.begin(split, id, found.clone(), Place::default(), head, now);
    }

    /// Begins to read a file at a place.
    pub(super) fn begin(
        &mut self,
        split: String,
        id: FileId,
        found: Found,
        place: Place,
        head: Vec<u8>,
        now: Duration,
    ) {
        let Found { path, size, modified } = found;
        let number = self.next_number;
        self.next_number += 1;
        let file = File {
            id,
            path: path.clone(),
            source: None,
            offset: place.offset,
            head: head.clone(),
            size,
            modified,
            grew: now,
            is_ready: false,
            moved: None,
            is_packed: false,
        };
        let entry = Entry { file: id, path, mark: Mark::new(place, &head), read_at: 0 };
        let head = head[..head.len().min(Mark::head_bytes(place))].to_vec();
        self.events.push_back(Event::Opened { number, split, entry, head });
        self.put_in(number, file);
        self.make_ready(number);
    }

    fn close(&mut self, number: u64) {
        if self.take_out(number).is_some() {
            self.events.push_back(Event::Closed { number });
        }
    }

    pub(super) fn put_in(&mut self, number: u64, file: File) {
        self.by_id.insert(file.id, number);
        self.files.insert(number, file);
    }

    fn take_out(&mut self, number: u64) -> Option<File> {
        let file = self.files.remove(&number)?;
        self.by_id.remove(&file.id);
        if file.is_ready {
            self.ready.retain(|other| *other != number);
        }
        Some(file)
    }
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}

/// Returns true if a file still has the beginning that was read. A file that can't be opened is
/// checked later.
fn begins_as_read(file: &File, has_kind: bool) -> bool {
    let head = match &file.source {
        Some(source) => source.head(file.head.len()),
        None => open(&file.path, has_kind).and_then(|source| source.head(file.head.len())),
    };
    head.map_or(true, |head| head == file.head)
}
