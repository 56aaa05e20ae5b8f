//! The spool: a durable local log for sources that can't resume, such as a live HTTP stream or
//! standard input. A post is appended, with the source's own cursor, before the post enters the
//! topology.
//!
//! **Guarantees.** `kill -9` loses no appended post. A power loss loses at most the posts that were
//! appended since the last sync, and always from the end: the posts that remain are a prefix of the
//! appended ones. No synced post is ever skipped without an error that names file and offset.
//!
//! **Positions.** The log is one endless sequence of bytes, and a position counts them from the
//! beginning. The position behind a record identifies the record: the engine saves this position as
//! the source's checkpoint cursor, opening takes it, and reading continues from it. Segments are
//! pieces of the sequence, each in a file that is named by the position of its first byte; headers
//! don't count. A segment's header is synced before its first record is written, so a bad header
//! with bytes behind it is always damage.
//!
//! **Group commit.** Appending only writes, into the page cache. A thread syncs when `sync_every`
//! has passed since the first post that isn't synced. After each sync the thread writes a *sync
//! mark*, "everything before X is synced", and a whole segment is synced before the next one
//! begins. These marks distinguish damage from a torn end. On opening, a bad record is **damage in
//! the middle** if a mark with an X beyond the record follows, or if its segment isn't the last: a
//! fatal error. Otherwise it is a **torn tail**, which no sync had covered: the tail is cut off and
//! reported. (A flipped bit in the part that was synced last, whose mark is lost too, looks like a
//! torn tail, and is reported as one.) After a failed sync the log can't be used any more: the
//! kernel may have dropped data that it couldn't write, and a second attempt would find nothing to
//! do.
//!
//! **Opening** begins at the checkpoint's position, since a complete checkpoint covers everything
//! before it. If the log ends before that position (the power was lost after the posts had become
//! durable elsewhere), a new segment begins at the position; its header has the end of the segment
//! before, so that the gap isn't taken for a lost file.
//!
//! **Writing and reading are decoupled.** All readers read the files, which are in the page cache,
//! at their own pace, and are woken by the writer. So a burst of posts takes disk, and not memory.
//!
//! **The bound.** The spool takes at most `bytes_max` on the disk. At the bound a post waits until
//! a checkpoint trims the log, or is dropped and counted. Trimming deletes whole segments, of which
//! at least eight fit below the bound, and keeps the newest `retain` bytes before the checkpoint:
//! from these bytes a dedup by id rebuilds its set of seen posts.
//!
//! **A full disk** makes an append fail with `Kind::NoRoom`, and leaves the log unchanged.

mod disk;
mod history;
mod log;
mod open;
mod options;
mod reader;
mod record;
mod segment;
mod shared;
mod verify;

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use self::disk::{Disk, RealDisk};
pub use self::history::Records;
pub use self::open::{Missing, Torn};
pub use self::options::{OnFull, Options};
pub use self::reader::{Batch, Reader};
use self::shared::{Owner, Shared};
pub use self::verify::{Damage, Findings, verify};
use crate::error::{Error, Result};
use crate::lake::disk::{failed, make_folders, sync_folder};

/// A post as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The source's own cursor.
    pub cursor: Bytes,
    /// The post.
    pub post: Bytes,
    /// The position behind the post, at which reading continues.
    pub position: u64,
}

/// The outcome of appending a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// The post survives the process; this is the position behind it.
    At(u64),
    /// There was no room, and the option is [`OnFull::Drop`].
    Dropped,
    /// The spool was closed; the post isn't in it.
    Closed,
}

/// An open spool. Clones are the same spool, which closes with the last of them.
#[derive(Clone)]
pub struct Spool {
    owner: Arc<Owner>,
}

impl Spool {
    /// Opens the spool in this folder, or makes it, and starts its sync thread. `position` is the
    /// position of the newest complete checkpoint, 0 without one. Also returns the end that was cut
    /// off, if there was one.
    ///
    /// # Errors
    /// Fatal if the log is damaged or in use, or doesn't continue at `position`.
    pub fn open(folder: &Path, position: u64, options: Options) -> Result<(Self, Option<Torn>)> {
        Self::open_on(Arc::new(RealDisk), folder, position, options)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        folder: &Path,
        at: u64,
        options: Options,
    ) -> Result<(Self, Option<Torn>)> {
        options.check()?;
        for changed in make_folders(folder).map_err(|cause| failed("make", folder, cause))? {
            sync_folder(&changed).map_err(|cause| failed("sync", &changed, cause))?;
        }
        let lock = lock(folder)?;
        let opened = open::open(disk, folder, at, options)?;
        Ok((Self { owner: Arc::new(Owner::start(Shared::new(opened.log, lock))?) }, opened.torn))
    }

    /// Appends a post on a separate thread: at the bound this call blocks.
    ///
    /// # Errors
    /// `NoRoom` if the disk is full: the log is unchanged, and the same post may be tried again.
    /// Rejected if the post is larger than a segment. Fatal after a failed sync.
    pub fn append(&self, cursor: &[u8], post: &[u8]) -> Result<Appended> {
        self.shared().append(cursor, post)
    }

    /// Appends a post in a task: at the bound the future waits without blocking. The call may block
    /// for some milliseconds when a segment ends and is synced. If the future is dropped, nothing
    /// is appended.
    ///
    /// # Errors
    /// If [`append`](Self::append) would fail.
    pub async fn append_async(&self, cursor: &[u8], post: &[u8]) -> Result<Appended> {
        self.shared().append_async(cursor, post).await
    }

    /// Syncs now, if posts were appended since the last sync. Blocks.
    ///
    /// # Errors
    /// Fatal if the sync fails: the spool can't be used any more.
    pub fn sync(&self) -> Result<()> {
        self.shared().sync()
    }

    /// Reports that a complete checkpoint covers everything before `position`, and makes room.
    ///
    /// # Errors
    /// If a file can't be deleted.
    pub fn trim(&self, position: u64) -> Result<()> {
        self.shared().trim(position)
    }

    /// Returns a reader that begins at a position of a checkpoint, or at one that a reader
    /// returned.
    pub fn reader(&self, position: u64) -> Reader {
        Reader::new(self.owner.shared.clone(), position)
    }

    /// Returns the records that still exist up to now, retained ones included. `position` is the
    /// checkpoint's position: damage before it is returned as an error, and reading continues
    /// behind the damage.
    pub fn records_from_oldest(&self, position: u64) -> Records {
        Records::new(&self.shared().lock(), position)
    }

    /// Returns the position behind the last post.
    pub fn end(&self) -> u64 {
        self.shared().lock().end()
    }

    /// Returns the position before which a power loss loses nothing.
    pub fn synced(&self) -> u64 {
        self.shared().lock().synced
    }

    /// Returns the spool's size on the disk, in bytes.
    pub fn bytes(&self) -> u64 {
        self.shared().lock().bytes
    }

    /// Returns the number of posts that were dropped at the bound since the spool was opened.
    pub fn dropped(&self) -> u64 {
        self.shared().lock().dropped
    }

    /// Tells the readers that no more posts come, since the source has ended.
    pub fn finish(&self) {
        self.shared().finish();
    }

    /// Syncs and closes the spool, so that it can be opened again, even if clones exist. Callers
    /// that wait for room, and later appends, get [`Appended::Closed`]; readers end behind the last
    /// post.
    ///
    /// # Errors
    /// If [`sync`](Self::sync) would fail.
    pub fn close(&self) -> Result<()> {
        self.owner.close()
    }

    fn shared(&self) -> &Shared {
        &self.owner.shared
    }
}

/// Locks the folder for this spool, until the file is closed.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|cause| failed("open", &path, cause))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            Err(Error::fatal(format!("the spool \"{}\" is in use", folder.display())))
        }
        other => other.map(|()| file).map_err(|errno| failed("lock", &path, errno.into())),
    }
}

#[cfg(test)]
mod tests;
