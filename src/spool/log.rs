//! The log as its writer sees it: plain state and files, used under one lock.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::Options;
use super::disk::Disk;
use super::record::{self, MARK_BYTES};
use super::segment::{self, Segment};
use crate::error::{Error, Kind, Result};
use crate::fault::point;
use crate::lake::disk::{begin_writing_back, failed};

/// The bytes that are written before the operating system is asked to begin bringing them to the
/// disk, so that a sync finds little to do. With a smaller number the disk gets many small writes.
const WRITE_BACK_BYTES: u64 = 4 << 20;

/// The part of the log that one segment holds, as positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub base: u64,
    pub end: u64,
}

impl Extent {
    pub(crate) fn bytes(&self) -> u64 {
        self.end - self.base
    }
}

/// The outcome of writing a post.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The post is in the log; this is the position behind it.
    At(u64),
    /// The bound leaves no room for the post.
    Full,
    /// The log was closed.
    Closed,
}

/// The log; see the module.
pub(super) struct Log {
    pub options: Options,
    pub disk: Arc<dyn Disk>,
    pub folder: PathBuf,
    /// The extents of all segments; the last segment is being written.
    pub extents: VecDeque<Extent>,
    /// The size of all segments, without the headers.
    pub bytes: u64,
    pub active: Segment,
    /// Everything before this position is on the disk.
    pub synced: u64,
    /// True if posts were written since the last sync.
    pub dirty: bool,
    /// The position of a sync that no mark records yet.
    pub unmarked: Option<u64>,
    /// True if a write failed and may have left bytes behind the end of the log.
    pub ragged: bool,
    /// The position up to which the operating system was asked to write back.
    pub written_back: u64,
    /// The number of posts that were dropped at the bound.
    pub dropped: u64,
    /// The reason why the log can't be used any more.
    pub failure: Option<String>,
    pub closed: bool,
    /// A buffer that is kept between writes, for its memory.
    pub buffer: Vec<u8>,
}

/// A sync that runs without the lock.
pub(super) struct Syncing {
    pub file: Arc<File>,
    pub path: PathBuf,
    /// The position up to which the sync covers the log.
    pub until: u64,
}

impl Log {
    /// Returns the position behind the last record.
    pub(crate) fn end(&self) -> u64 {
        self.last().end
    }

    fn last(&self) -> Extent {
        *self.extents.back().expect("a log always has the segment that is being written")
    }

    /// Fails if the log can't be used any more.
    ///
    /// # Errors
    /// The failure that ended the log.
    pub(crate) fn check(&self) -> Result<()> {
        match &self.failure {
            None => Ok(()),
            Some(what) => Err(Error::fatal(what.clone())),
        }
    }

    /// Remembers an error after which the log can't be used.
    pub(crate) fn fail(&mut self, error: &Error) {
        self.failure.get_or_insert_with(|| error.chain());
    }

    /// Writes a post if there is room for it.
    pub(crate) fn append(&mut self, cursor: &[u8], post: &[u8]) -> Result<Written> {
        self.check()?;
        if self.closed {
            return Ok(Written::Closed);
        }
        let wanted = self.wanted(cursor, post)?;
        if self.bytes + wanted > self.options.bytes_max.0 {
            return Ok(Written::Full);
        }
        let last = self.last();
        if last.bytes() > 0 && last.bytes() + wanted > self.options.segment_bytes() {
            self.roll()?;
        }
        self.write_record(Some((cursor, post)))?;
        self.dirty = true;
        self.write_back();
        Ok(Written::At(self.end()))
    }

    /// Returns the size of a post, with room for a mark before it.
    fn wanted(&self, cursor: &[u8], post: &[u8]) -> Result<u64> {
        let (wanted, max) =
            (record::post_bytes(cursor, post) + MARK_BYTES as u64, self.options.segment_bytes());
        if wanted > max || cursor.len() > usize::from(u16::MAX) {
            return Err(Error::rejected(format!(
                "a post of {} bytes with a cursor of {} doesn't fit into the spool, whose records have at most {max}",
                post.len(),
                cursor.len()
            )));
        }
        Ok(wanted)
    }

    /// Writes the sync mark that is due, if there is one, and the post, in one write.
    fn write_record(&mut self, post: Option<(&[u8], &[u8])>) -> Result<()> {
        let (at, salt) = (self.end(), self.active.salt);
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        if let Some(synced) = self.unmarked {
            record::encode_mark(&mut buffer, salt, at, synced);
        }
        if let Some((cursor, post)) = post {
            let behind_mark = at + buffer.len() as u64;
            record::encode_post(&mut buffer, salt, behind_mark, cursor, post);
        }
        let written = self.write(&buffer, at);
        self.buffer = buffer;
        written
    }

    /// Writes at the end, which moves only if everything was written.
    fn write(&mut self, bytes: &[u8], at: u64) -> Result<()> {
        let path = &self.active.path;
        let offset = self.active.offset(at);
        if self.ragged {
            self.active.file.set_len(offset).map_err(|cause| failed("cut", path, cause))?;
            self.ragged = false;
        }
        if let Err(cause) = self.disk.write(&self.active.file, bytes, offset) {
            self.ragged = self.active.file.set_len(offset).is_err();
            return Err(failed("write", path, cause));
        }
        self.unmarked = None;
        let last =
            self.extents.back_mut().expect("a log always has the segment that is being written");
        last.end += bytes.len() as u64;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn write_back(&mut self) {
        let new = self.end() - self.written_back;
        if new >= WRITE_BACK_BYTES {
            begin_writing_back(&self.active.file, self.active.offset(self.written_back), new);
            self.written_back = self.end();
        }
    }

    /// Ends the segment after a sync, and begins the next one.
    fn roll(&mut self) -> Result<()> {
        let begun = self.sync_now().and_then(|()| {
            let end = self.end();
            Segment::create(&*self.disk, &self.folder, end, end)
        });
        let next = begun.inspect_err(|error| {
            if error.kind() == Kind::Fatal {
                self.fail(error);
            }
        })?;
        self.extents.push_back(Extent { base: next.base, end: next.base });
        self.written_back = next.base;
        self.active = next;
        Ok(())
    }

    /// Syncs under the lock.
    fn sync_now(&mut self) -> Result<()> {
        if self.synced < self.end() {
            let done = self.disk.sync(&self.active.file);
            done.map_err(|cause| segment::unsynced(&self.active.path, cause))?;
            self.synced = self.end();
            self.dirty = false;
        }
        // The next segment's existence shows that this one is synced.
        self.unmarked = None;
        Ok(())
    }

    /// Returns the work of a sync without the lock; `None` if no posts were written since the last
    /// sync.
    pub(crate) fn begin_sync(&mut self) -> Result<Option<Syncing>> {
        self.check()?;
        if !self.dirty {
            return Ok(None);
        }
        Ok(Some(Syncing {
            file: self.active.file.clone(),
            path: self.active.path.clone(),
            until: self.end(),
        }))
    }

    /// Takes the result of a sync, and writes a mark for it.
    pub(crate) fn end_sync(&mut self, sync: &Syncing, result: io::Result<()>) -> Result<()> {
        if let Err(cause) = result {
            let error = segment::unsynced(&sync.path, cause);
            self.fail(&error);
            return Err(error);
        }
        if sync.until <= self.synced {
            // The segment was ended, and so synced, before this sync ended.
            return Ok(());
        }
        self.synced = sync.until;
        self.dirty = self.end() > sync.until;
        self.unmarked = Some(sync.until);
        // If there is no room for the mark, it is written before the next post.
        let _ = self.write_record(None);
        Ok(())
    }

    /// Deletes the segments that lie completely before `position`, except for the bytes that are to
    /// be retained.
    pub(crate) fn trim(&mut self, position: u64) -> Result<()> {
        let position = position.saturating_sub(self.options.retain.0);
        while self.extents.len() > 1 && self.extents[0].end <= position {
            let path = segment::path(&self.folder, self.extents[0].base);
            // If a power loss brings a deleted name back, opening trims it again.
            match point("spool.trim").and_then(|()| fs::remove_file(&path)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|cause| failed("delete", &path, cause))?,
            }
            self.bytes -= self.extents.pop_front().map_or(0, |extent| extent.bytes());
        }
        Ok(())
    }

    /// Returns the segment in which reading continues at `position`: the first that ends behind it.
    pub(crate) fn extent_behind(&self, position: u64) -> Option<Extent> {
        self.extents.iter().find(|extent| extent.end > position).copied()
    }
}
