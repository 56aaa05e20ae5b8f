//! What a sink's task has written and not yet published, and the first phase: making it durable.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;

use super::disk::{remove_if_empty, sync_folder, transient};
use super::names::{PartitionName, Segment};
use crate::error::{Error, Result};
use crate::sink::{Prepared, Promise};

/// The folder beside the data that holds what isn't visible yet.
pub const STAGING: &str = "_staging";

/// Where one task of a sink writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder that holds the partitions.
    pub root: PathBuf,
    /// The task's own folder for what isn't visible yet, on the same file system.
    pub staging: PathBuf,
}

impl Place {
    /// The place of a task whose partitions are in `root`, staged below `lake`. The two differ for
    /// the dead letters, which have a root of their own inside the lake.
    pub fn new(root: PathBuf, lake: &Path, run: &str, component: &str, task: usize) -> Self {
        Self { root, staging: lake.join(STAGING).join(run).join(format!("{component}-{task}")) }
    }

    /// The folder of a partition while it isn't visible.
    pub fn staged_partition(&self, partition: &PartitionName) -> PathBuf {
        self.staging.join(partition.to_string())
    }

    /// A file while it isn't visible.
    pub fn staged(&self, segment: &Segment) -> PathBuf {
        self.staging.join(segment.to_string())
    }

    /// Removes the staging folders that are empty, up to the one that all runs share.
    pub fn tidy(&self) {
        self.staging.ancestors().take(3).for_each(remove_if_empty);
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
}

impl Staged {
    fn sync(&self) -> Result<()> {
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => Arc::new(File::open(&self.path).map_err(|cause| transient("open", &self.path, cause))?),
        };
        // The kernel may have dropped what it couldn't write, so another sync that succeeds proves nothing.
        file.sync_data().map_err(|cause| {
            Error::fatal(format!("can't sync \"{}\", so what was written may be lost", self.path.display()))
                .because(cause)
        })
    }
}

/// What a sink's jobs know of each other. They run one after the other, beside the task.
#[derive(Debug, Default)]
pub struct Ledger {
    /// What an earlier job failed to sync.
    unsynced: Unsynced,
    /// Closed files that are durable and not yet published, in order.
    promised: Vec<Promise>,
    /// Staging folders of partitions that have ended.
    ended: Vec<PathBuf>,
    /// Nothing comes any more.
    last: bool,
}

/// The ledger as the task and its jobs share it.
pub type SharedLedger = Arc<Mutex<Ledger>>;

/// Locks a ledger. It is never left half-changed, so a panic elsewhere doesn't matter.
fn lock(ledger: &SharedLedger) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was written since the last barrier.
#[derive(Debug, Default)]
pub struct Unsynced {
    /// Files that were closed, in order.
    pub closed: Vec<Staged>,
    /// Folders that have new names in them.
    pub folders: BTreeSet<PathBuf>,
}

impl Unsynced {
    fn put_behind(&mut self, mut earlier: Self) {
        earlier.closed.append(&mut self.closed);
        earlier.folders.append(&mut self.folders);
        *self = earlier;
    }

    fn sync(&self) -> Result<()> {
        self.closed.iter().try_for_each(Staged::sync)?;
        let sync = |folder: &PathBuf| sync_folder(folder).map_err(|cause| transient("sync", folder, cause));
        self.folders.iter().try_for_each(sync)
    }
}

/// The first phase: everything that a task wrote until a barrier.
pub struct Prepare {
    /// What was written since the barrier before.
    pub unsynced: Unsynced,
    /// The open file, and when it was begun. The promise holds its length at the barrier; the task
    /// goes on writing into it meanwhile.
    pub open: Option<(Staged, OffsetDateTime)>,
    /// Staging folders of partitions that ended since the barrier before.
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
    /// If something can't be synced. What was closed stays in the ledger for the next barrier.
    pub fn run(mut self, place: &Place, ledger: &SharedLedger) -> Result<Prepared> {
        self.unsynced.put_behind(std::mem::take(&mut lock(ledger).unsynced));
        let synced = if self.durable { self.sync() } else { Ok(()) };
        let mut ledger = lock(ledger);
        ledger.ended.append(&mut self.ended);
        ledger.last |= self.last;
        if let Err(error) = synced {
            ledger.unsynced = self.unsynced;
            return Err(error);
        }
        ledger.promised.extend(self.unsynced.closed.into_iter().map(|staged| staged.promise));
        ledger.tidy(place);
        let (open, open_since) = self.open.unzip();
        let promises = ledger.promised.iter().cloned().chain(open.map(|open| open.promise)).collect();
        Ok(Prepared { promises, open_since })
    }

    fn sync(&self) -> Result<()> {
        self.open.iter().try_for_each(|(open, _)| open.sync())?;
        self.unsynced.sync()
    }
}

impl Ledger {
    /// Removes the staging folders that nobody needs any more.
    fn tidy(&mut self, place: &Place) {
        self.ended.retain(|folder| std::fs::remove_dir(folder).is_err() && folder.exists());
        if self.last && self.promised.is_empty() {
            place.tidy();
        }
    }
}

/// Takes published files out of the ledger, and empty folders out of the staging.
pub fn forget(place: &Place, ledger: &SharedLedger, published: &[Promise]) {
    let published: BTreeSet<&str> = published.iter().map(|promise| promise.segment.as_str()).collect();
    let mut ledger = lock(ledger);
    ledger.promised.retain(|promise| !published.contains(promise.segment.as_str()));
    ledger.tidy(place);
}
