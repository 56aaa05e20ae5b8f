//! Files that a sink's task has written and not yet published. The first phase makes them durable,
//! and the second one publishes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;

use super::disk::{failed, remove_if_empty, sync_folder};
use super::index::Index;
use super::indexing::{Indexing, Times};
use super::inside::stay_inside;
use super::names::{PartitionName, Segment};
use super::pack::delete_text;
use super::store::Store;
use crate::epoch::{Prepared, Promise};
use crate::error::{Error, Kind, Result};
use crate::fault::point;

/// The folder beside the data that holds the files that aren't visible yet.
pub const STAGING: &str = "_staging";

/// One task's folder for files that aren't visible yet, `<all staging>/<run>/<sink>-<task>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Staging {
    /// The path of the folder.
    pub folder: PathBuf,
}

impl Staging {
    /// Returns the staging folder of a task, inside the staging folder of all tasks.
    pub fn new(all: &Path, run: &str, component: &str, task: usize) -> Self {
        Self { folder: all.join(run).join(format!("{component}-{task}")) }
    }

    /// Returns the folder of a partition while it isn't visible.
    pub fn partition(&self, partition: &PartitionName) -> PathBuf {
        self.folder.join(partition.to_string())
    }

    /// Returns the path of a file while it isn't visible.
    pub fn file(&self, segment: &Segment) -> PathBuf {
        self.folder.join(segment.to_string())
    }

    /// Returns the path of a file's text while the file is open. For a form without compression it
    /// is the path of the file itself.
    pub fn text(&self, segment: &Segment) -> PathBuf {
        let file = if segment.file.form.is_plain() {
            segment.file.to_string()
        } else {
            segment.file.number.to_string()
        };
        self.partition(&segment.partition).join(file)
    }

    /// Refuses a staging folder that is reached through a link below the staging folder of all
    /// tasks, because files are deleted there.
    ///
    /// # Errors
    /// If such a link exists.
    pub fn refuse_links(&self) -> Result<()> {
        let root = self.folder.ancestors().nth(3).unwrap_or(&self.folder);
        stay_inside(root, &self.folder).map_err(|cause| failed("use", &self.folder, cause))
    }

    /// Removes the empty staging folders, up to the one that all runs share.
    pub fn tidy(&self) {
        self.folder.ancestors().take(3).for_each(remove_if_empty);
    }

    /// Removes the folders of published promises whose task has ended.
    fn tidy_left(&self, published: &[Promise]) -> Result<()> {
        for promise in published {
            remove_if_empty(&self.partition(&named(promise)?.0.partition));
        }
        self.tidy();
        Ok(())
    }
}

/// A way to move closed files from the staging folder to the place where they are visible: by
/// renaming them in a folder, or by uploading them. A place is a text that says where files are
/// staged and where they go; see [`Promise::place`].
pub trait Publish: Send + Sync {
    /// Returns the staging folder of a place.
    ///
    /// # Errors
    /// If the text isn't a place.
    fn staging(&self, place: &str) -> Result<Staging>;

    /// Makes the closed ones of the promised files of a place visible. The call can be repeated,
    /// also after a crash in the middle: files that are already visible stay as they are.
    ///
    /// # Errors
    /// Transient ones, after which the call can be repeated; fatal ones if a file isn't as
    /// promised, doesn't exist anywhere, or if another process wrote a file of that name.
    fn publish(&self, place: &str, promises: &[Promise], durable: bool) -> Result<()>;

    /// Like [`publish`](Self::publish), for files of a task that ended, perhaps long ago: a file
    /// that was visible, and whose posts are now in another partition or erased, counts as
    /// published.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    fn publish_left(&self, place: &str, promises: &[Promise], durable: bool) -> Result<()>;

    /// Writes the index of a partition of a place, all of whose files are visible.
    ///
    /// # Errors
    /// If the index can't be written, which doesn't stop the topology.
    fn index(&self, _place: &str, _index: &Index, _durable: bool) -> Result<()> {
        Ok(())
    }

    /// Returns the lake that a place delivers to, for an index that is made from its files; `None`
    /// if no index is made there. Requests to it are repeated, so a caller may wait for a long
    /// time.
    ///
    /// # Errors
    /// If the text isn't a place.
    fn store(&self, _place: &str) -> Result<Option<Arc<dyn Store>>> {
        Ok(None)
    }
}

/// A file that was written and isn't published.
#[derive(Clone, Debug)]
pub struct Staged {
    /// The promise that can be made of it.
    pub promise: Promise,
    /// The path of the file.
    pub path: PathBuf,
    /// The open file; if it is closed, it is opened for the sync.
    pub file: Option<Arc<File>>,
    /// The posts' own times, once the file is closed.
    pub times: Times,
    /// The text that was compressed into this file. It can be deleted once the file is synced.
    pub text: Option<PathBuf>,
}

impl Staged {
    /// Syncs the file to the disk.
    ///
    /// # Errors
    /// If that fails, which is fatal.
    pub fn sync(&self) -> Result<()> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                Arc::new(File::open(&self.path).map_err(|cause| failed("open", &self.path, cause))?)
            }
        };
        // The kernel may have dropped what it couldn't write, so another sync that succeeds proves
        // nothing.
        point("lake.sync")
            .and_then(|()| file.sync_data())
            .and_then(|()| point("lake.synced"))
            .map_err(|cause| {
                Error::fatal(format!(
                    "can't sync \"{}\", so written data may be lost",
                    self.path.display()
                ))
                .because(cause)
            })
    }
}

/// The state that a sink's jobs share, since prepares run beside commits.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Closed files that can be promised and aren't published, in order.
    promised: Vec<Promise>,
    /// The segments that the last commit published. A barrier that was under way at that time
    /// promises them once more.
    published: BTreeSet<String>,
    /// Staging folders of partitions that have ended.
    ended: Vec<PathBuf>,
    /// The collected facts for the index.
    indexing: Indexing,
    /// True if no more posts will come.
    last: bool,
}

/// A ledger that a task's jobs share.
pub type SharedLedger = Arc<Mutex<Ledger>>;

/// Locks a ledger. It is never left half-changed, so a panic elsewhere doesn't matter.
fn lock(ledger: &SharedLedger) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// Records the promises that a commit has published. Returns the indexes that can be written
    /// now.
    fn published(&mut self, promises: &[Promise]) -> Vec<Index> {
        let Self { promised, published, indexing, .. } = self;
        *published = promises.iter().map(|promise| promise.segment.clone()).collect();
        promised.retain(|promise| !published.contains(&promise.segment));
        indexing.take(promised)
    }

    /// Removes the staging folders that are no longer needed.
    fn tidy(&mut self, staging: &Staging) {
        self.ended.retain(|folder| std::fs::remove_dir(folder).is_err() && folder.exists());
        if self.last && self.promised.is_empty() {
            staging.tidy();
        }
    }
}

/// The job of the first phase, with everything that a task wrote between two barriers.
#[derive(Debug)]
pub struct Prepare {
    /// Files that were closed, in order.
    pub closed: Vec<Staged>,
    /// Folders with new entries.
    pub folders: BTreeSet<PathBuf>,
    /// The open file, and the time at which it was begun. The promise holds the file's length at
    /// the barrier; the task continues to write into it.
    pub open: Option<(Staged, OffsetDateTime)>,
    /// Staging folders of partitions that ended.
    pub ended: Vec<PathBuf>,
    /// True if files and folders are synced.
    pub durable: bool,
    /// True if no more posts will come.
    pub last: bool,
}

impl Prepare {
    /// Syncs everything, and returns the promises.
    ///
    /// # Errors
    /// If a sync fails; the call can be repeated unless the error is fatal.
    pub fn run(&mut self, staging: &Staging, ledger: &SharedLedger) -> Result<Prepared> {
        if self.durable {
            self.sync()?;
        }
        self.closed.iter().filter_map(|staged| staged.text.as_deref()).try_for_each(delete_text)?;
        let mut ledger = lock(ledger);
        for Staged { promise, times, .. } in self.closed.drain(..) {
            ledger.indexing.file(&promise, times);
            ledger.promised.push(promise);
        }
        let ended = self.ended.iter().filter_map(|folder| folder.file_name()?.to_str());
        ended.for_each(|partition| ledger.indexing.ended(partition));
        ledger.ended.append(&mut self.ended);
        ledger.last |= self.last;
        ledger.tidy(staging);
        let (open, open_since) = self.open.take().unzip();
        let promises =
            ledger.promised.iter().cloned().chain(open.map(|open| open.promise)).collect();
        Ok(Prepared { promises, open_since })
    }

    fn sync(&self) -> Result<()> {
        let open = self.open.iter().map(|(open, _)| open);
        self.closed.iter().chain(open).try_for_each(Staged::sync)?;
        // Folders are synced last, so that no name is durable before its content.
        self.folders.iter().try_for_each(|folder| {
            sync_folder(folder).map_err(|cause| failed("sync", folder, cause))
        })
    }
}

/// Returns a promise with its parsed segment, which ensures that its path can't leave the folder.
///
/// # Errors
/// If the name isn't that of a segment.
pub fn named(promise: &Promise) -> Result<(Segment, &Promise)> {
    let segment = promise.segment.parse().map_err(|_| {
        Error::fatal(format!(
            "bad segment \"{}\" in a promise: expected <partition>/<number>",
            promise.segment
        ))
    })?;
    Ok((segment, promise))
}

/// Publishes, in the second phase, the promised files that the last commit hasn't published. Files
/// in other places than the task's `own` were left by tasks that have ended.
///
/// # Errors
/// As [`Publish::publish`].
pub fn commit(
    publisher: &dyn Publish,
    own: &str,
    ledger: &SharedLedger,
    promises: &[Promise],
    durable: bool,
) -> Result<()> {
    let published = lock(ledger).published.clone();
    let mut new: BTreeMap<&str, Vec<Promise>> = BTreeMap::new();
    for promise in promises.iter().filter(|promise| !published.contains(&promise.segment)) {
        new.entry(&promise.place).or_default().push(promise.clone());
    }
    for (place, promises) in &new {
        if *place == own {
            publisher.publish(place, promises, durable)?;
        } else {
            publisher.publish_left(place, promises, durable)?;
            publisher.staging(place)?.tidy_left(promises)?;
        }
        // Whatever fails after this point, these files aren't published again.
        lock(ledger).published.extend(promises.iter().map(|promise| promise.segment.clone()));
    }
    let staging = publisher.staging(own)?;
    let complete = lock(ledger).published(promises);
    for index in complete {
        // Nothing waits for an index: after a transient error the next commit tries again,
        // otherwise the partition has none.
        if publisher.index(own, &index, durable).is_err_and(|error| error.kind() != Kind::Fatal) {
            lock(ledger).indexing.put_back(index);
        }
    }
    lock(ledger).tidy(&staging);
    Ok(())
}
