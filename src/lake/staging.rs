//! What a sink's task has written and not yet published: made durable in the first phase, and
//! published in the second.

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

/// The folder beside the data that holds what isn't visible yet.
pub const STAGING: &str = "_staging";

/// One task's folder for what isn't visible yet, `<all staging>/<run>/<sink>-<task>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Staging {
    /// Where it is.
    pub folder: PathBuf,
}

impl Staging {
    /// The staging of a task, inside the folder that holds the staging of all.
    pub fn new(all: &Path, run: &str, component: &str, task: usize) -> Self {
        Self { folder: all.join(run).join(format!("{component}-{task}")) }
    }

    /// The folder of a partition while it isn't visible.
    pub fn partition(&self, partition: &PartitionName) -> PathBuf {
        self.folder.join(partition.to_string())
    }

    /// A file while it isn't visible.
    pub fn file(&self, segment: &Segment) -> PathBuf {
        self.folder.join(segment.to_string())
    }

    /// The text of a file while it is open. It is the file itself, if that isn't packed when it
    /// closes.
    pub fn text(&self, segment: &Segment) -> PathBuf {
        let file = if segment.file.form.is_plain() {
            segment.file.to_string()
        } else {
            segment.file.number.to_string()
        };
        self.partition(&segment.partition).join(file)
    }

    /// Refuses a staging folder to which a link leads from the folder that the staging of all is
    /// in: files are deleted there.
    ///
    /// # Errors
    /// If there is such a link.
    pub fn refuse_links(&self) -> Result<()> {
        let root = self.folder.ancestors().nth(3).unwrap_or(&self.folder);
        stay_inside(root, &self.folder).map_err(|cause| failed("use", &self.folder, cause))
    }

    /// Removes the staging folders that are empty, up to the one that all runs share.
    pub fn tidy(&self) {
        self.folder.ancestors().take(3).for_each(remove_if_empty);
    }

    /// Removes the folders that published promises leave behind, where their task is gone.
    fn tidy_left(&self, published: &[Promise]) -> Result<()> {
        for promise in published {
            remove_if_empty(&self.partition(&named(promise)?.0.partition));
        }
        self.tidy();
        Ok(())
    }
}

/// The way of closed files from the staging to where they are visible: renamed in a folder, or
/// uploaded. A place is text that says where files are staged and where they go; see
/// [`Promise::place`].
pub trait Publish: Send + Sync {
    /// Where the files of a place are staged.
    ///
    /// # Errors
    /// If it is no place.
    fn staging(&self, place: &str) -> Result<Staging>;

    /// Makes those of the promised files of a place visible that are closed. It can be repeated,
    /// also after a crash in the middle: what is visible already stays as it is.
    ///
    /// # Errors
    /// Transient ones, after which it can be repeated; fatal ones if a file isn't what was
    /// promised, is nowhere, or if somebody else wrote one of that name.
    fn publish(&self, place: &str, promises: &[Promise], durable: bool) -> Result<()>;

    /// The same for files that a task left which is gone, perhaps for long: a file that was
    /// visible, and whose posts are in another partition by now, or erased, is done.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    fn publish_left(&self, place: &str, promises: &[Promise], durable: bool) -> Result<()>;

    /// Writes the index of a partition of a place, all of whose files are visible.
    ///
    /// # Errors
    /// If it can't be written, which is no reason to stop.
    fn index(&self, _place: &str, _index: &Index, _durable: bool) -> Result<()> {
        Ok(())
    }

    /// The lake that a place delivers to, for an index that is made from its files; none where
    /// there is no index. Its requests are repeated, so whoever asks it may wait for long.
    ///
    /// # Errors
    /// If it is no place.
    fn store(&self, _place: &str) -> Result<Option<Arc<dyn Store>>> {
        Ok(None)
    }
}

/// A file that was written and isn't published.
#[derive(Clone, Debug)]
pub struct Staged {
    /// What can be promised of it.
    pub promise: Promise,
    /// Where it is.
    pub path: PathBuf,
    /// It is opened for the sync if it isn't open any more.
    pub file: Option<Arc<File>>,
    /// The own times of its posts, once it is closed.
    pub times: Times,
    /// The text that it was packed of, which nobody needs once it is synced.
    pub text: Option<PathBuf>,
}

impl Staged {
    /// Brings it to the disk.
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
                    "can't sync \"{}\", so what was written may be lost",
                    self.path.display()
                ))
                .because(cause)
            })
    }
}

/// What a sink's jobs know of each other: prepares run beside commits.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Closed files that can be promised and aren't published, in order.
    promised: Vec<Promise>,
    /// What the last commit published. A barrier that was underway meanwhile promises it once more.
    published: BTreeSet<String>,
    /// Staging folders of partitions that have ended.
    ended: Vec<PathBuf>,
    /// What is known for the index.
    indexing: Indexing,
    /// Nothing comes any more.
    last: bool,
}

/// The ledger as a task's jobs share it.
pub type SharedLedger = Arc<Mutex<Ledger>>;

/// Locks a ledger. It is never left half-changed, so a panic elsewhere doesn't matter.
fn lock(ledger: &SharedLedger) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// A commit has published these. Gives the indexes that can be written now.
    fn published(&mut self, promises: &[Promise]) -> Vec<Index> {
        let Self { promised, published, indexing, .. } = self;
        *published = promises.iter().map(|promise| promise.segment.clone()).collect();
        promised.retain(|promise| !published.contains(&promise.segment));
        indexing.take(promised)
    }

    /// Removes the staging folders that nobody needs any more.
    fn tidy(&mut self, staging: &Staging) {
        self.ended.retain(|folder| std::fs::remove_dir(folder).is_err() && folder.exists());
        if self.last && self.promised.is_empty() {
            staging.tidy();
        }
    }
}

/// The first phase: everything that a task wrote between two barriers.
#[derive(Debug)]
pub struct Prepare {
    /// Files that were closed, in order.
    pub closed: Vec<Staged>,
    /// Folders that have new names in them.
    pub folders: BTreeSet<PathBuf>,
    /// The open file, and when it was begun. The promise holds its length at the barrier; the task
    /// goes on writing into it meanwhile.
    pub open: Option<(Staged, OffsetDateTime)>,
    /// Staging folders of partitions that ended.
    pub ended: Vec<PathBuf>,
    /// Whether to sync at all.
    pub durable: bool,
    /// Nothing comes after this.
    pub last: bool,
}

impl Prepare {
    /// Syncs all of it, and tells what can be promised.
    ///
    /// # Errors
    /// If something can't be synced; it can be tried again unless the error is fatal.
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
        // Names come last, so that none is ever durable without what it names.
        self.folders.iter().try_for_each(|folder| {
            sync_folder(folder).map_err(|cause| failed("sync", folder, cause))
        })
    }
}

/// A promise whose name was read, so that it can't lead out of its folder.
///
/// # Errors
/// If it isn't the name of a segment.
pub fn named(promise: &Promise) -> Result<(Segment, &Promise)> {
    let segment = promise.segment.parse().map_err(|_| {
        Error::fatal(format!(
            "bad segment \"{}\" in a promise: expected <partition>/<number>",
            promise.segment
        ))
    })?;
    Ok((segment, promise))
}

/// The second phase: publishes files that were promised, but for those that the last one published.
/// Those of other places than the task's `own` were left by tasks that are gone.
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
        // Whatever fails after this, it isn't looked at again.
        lock(ledger).published.extend(promises.iter().map(|promise| promise.segment.clone()));
    }
    let staging = publisher.staging(own)?;
    let complete = lock(ledger).published(promises);
    for index in complete {
        // Nothing waits for an index: it is tried again, or there is none.
        if publisher.index(own, &index, durable).is_err_and(|error| error.kind() != Kind::Fatal) {
            lock(ledger).indexing.put_back(index);
        }
    }
    lock(ledger).tidy(&staging);
    Ok(())
}
