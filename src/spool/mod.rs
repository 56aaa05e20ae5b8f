//! The spool: a durable local log for sources that can't resume, such as a live HTTP stream or
//! standard input. A post is appended, with the source's own cursor, before it enters the topology.
//!
//! **What it promises.** `kill -9` loses nothing that was appended. A power loss loses at most what
//! was appended since the last sync, and always from the end: what is read after it is a prefix of
//! what was appended. Nothing that was synced is ever skipped without an error that names file and
//! offset.
//!
//! **Positions.** The log is one endless row of bytes, and a position counts them from its
//! beginning. Each record is known by the position behind it: the engine saves that as the source's
//! checkpoint cursor, opening takes it, and reading goes on from it. Segments are pieces of the
//! row, each in a file that is named by the position of its first byte; headers don't count. A
//! segment's header is synced before its first record is written, so a bad header with something
//! behind it is always damage.
//!
//! **Group commit.** Appending only writes, into the page cache. A thread syncs when `sync_every`
//! has gone by since the first post that isn't synced. After each sync it writes a *sync mark*,
//! "everything before X is synced", and a segment is synced whole before the next begins. That
//! tells damage from a torn end. On opening, a bad record is **damage in the middle** if a mark
//! with an X beyond it follows, or if its segment isn't the last: a fatal error. Else it is a
//! **torn tail**, which no sync had covered: it is cut off and reported. (A flipped bit in what was
//! synced last, of which the mark is lost too, looks like a torn tail; it is reported as one.)
//! After a failed sync the log can't be used any more: the kernel may have dropped what it couldn't
//! write, and a second try would find nothing to do.
//!
//! **Opening** begins at the checkpoint's position, since a complete checkpoint covers what lies
//! before it. If the log ends before that (the power was lost after the posts had become durable
//! elsewhere), a new segment begins at that position; its header tells where the one before ended,
//! so that the gap isn't taken for a lost file.
//!
//! **Writing and reading are decoupled.** All readers read the files, which are in the page cache,
//! at their own pace, and are woken by the writer. So a source that comes in bursts takes disk, not
//! memory.
//!
//! **The bound.** The spool takes at most `bytes_max` on the disk. At the bound a post waits for a
//! checkpoint to trim the log, or is dropped and counted. Trimming deletes whole segments, of which
//! at least eight fit below the bound, and keeps the newest `retain` bytes before the checkpoint:
//! the overlap from which a dedup by id rebuilds what it has seen.
//!
//! **A full disk** fails an append with `Kind::NoRoom` and leaves the log as it was.

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
    /// The position behind it, where reading goes on.
    pub position: u64,
}

/// The fate of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Appended {
    /// It survives the process; the position behind it.
    At(u64),
    /// There was no room, and [`OnFull::Drop`] says so.
    Dropped,
    /// The spool was closed; the post isn't in it.
    Closed,
}

/// An open spool. Clones are the same spool; it closes with the last of them.
#[derive(Clone)]
pub struct Spool {
    owner: Arc<Owner>,
}

impl Spool {
    /// Opens the spool in this folder, or makes it, and starts its sync thread. `position` is that
    /// of the newest complete checkpoint, 0 without one. Also tells what was cut off its end.
    ///
    /// # Errors
    /// Fatal if the log is damaged or in use, or doesn't go on at `position`.
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

    /// Appends a post, for a thread of its own: at the bound it waits.
    ///
    /// # Errors
    /// `NoRoom` if the disk is full: the log is as before, and the same post may be tried again.
    /// Rejected if the post is larger than a segment. Fatal after a failed sync.
    pub fn append(&self, cursor: &[u8], post: &[u8]) -> Result<Appended> {
        self.shared().append(cursor, post)
    }

    /// Appends a post, for a task: at the bound it waits without blocking. It may block for some
    /// milliseconds where a segment ends and is synced. Dropping the future appends nothing.
    ///
    /// # Errors
    /// As of [`append`](Self::append).
    pub async fn append_async(&self, cursor: &[u8], post: &[u8]) -> Result<Appended> {
        self.shared().append_async(cursor, post).await
    }

    /// Syncs now, if something was appended since the last sync. Blocks.
    ///
    /// # Errors
    /// Fatal if it fails: the spool can't be used any more.
    pub fn sync(&self) -> Result<()> {
        self.shared().sync()
    }

    /// Tells that a complete checkpoint covers everything before `position`, and makes room.
    ///
    /// # Errors
    /// If a file can't be deleted.
    pub fn trim(&self, position: u64) -> Result<()> {
        self.shared().trim(position)
    }

    /// A reader that begins at a position: that of a checkpoint, or one that a reader gave.
    pub fn reader(&self, position: u64) -> Reader {
        Reader::new(self.owner.shared.clone(), position)
    }

    /// Returns the records that are still there, also of what was trimmed but retained, up to now.
    /// `position` is that of the checkpoint: damage before it is given as an error, and reading
    /// goes on behind it.
    pub fn records_from_oldest(&self, position: u64) -> Records {
        Records::new(&self.shared().lock(), position)
    }

    /// The position behind the last post.
    pub fn end(&self) -> u64 {
        self.shared().lock().end()
    }

    /// A power loss loses nothing before this position.
    pub fn synced(&self) -> u64 {
        self.shared().lock().synced
    }

    /// Returns its size on the disk, in bytes.
    pub fn bytes(&self) -> u64 {
        self.shared().lock().bytes
    }

    /// Returns the number of posts that were dropped at the bound since it was opened.
    pub fn dropped(&self) -> u64 {
        self.shared().lock().dropped
    }

    /// Tells the readers that nothing more comes: the source has ended.
    pub fn finish(&self) {
        self.shared().finish();
    }

    /// Syncs, and lets others open it, although there may be clones: who waits for room, and who
    /// appends later, is told that it is closed; readers end behind the last post.
    ///
    /// # Errors
    /// As of [`sync`](Self::sync).
    pub fn close(&self) -> Result<()> {
        self.owner.close()
    }

    fn shared(&self) -> &Shared {
        &self.owner.shared
    }
}

/// Takes the folder for this spool alone, for as long as the file is open.
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
