//! Makes indexes for partitions that a crash, a roll-back or a rebalance ended. No task knows all
//! files of such a partition, so its index is made from the files, once all of them are visible.
//!
//! The index is optional. A separate thread makes the indexes; no checkpoint waits for it, and a
//! failure stops nothing. The partitions are recorded in a note in the staging folder of the sink's
//! first task until they are done, so that the next start continues after another crash.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::disk::make_folders;
use super::index::{self, is_partition};
use super::staging::{Publish, Staging};
use super::store::Store;
use super::view;
use crate::epoch::Promise;
use crate::error::{Error, Result};
use crate::panics::caught;

/// The name of the note in a task's staging.
const NOTE: &str = "unindexed";

/// The number of partitions that are remembered. Each costs some hundred bytes and, at the next
/// start, a listing; further ones have no index until `lake index --missing` makes it.
const PARTITIONS_MAX: usize = 1_000;

/// The time that the end of a topology waits for indexes that are being made. The next start makes
/// the others.
const END_WAIT: Duration = Duration::from_secs(10);

/// The place of an earlier task, and a partition in the lake that it delivers to.
type Partition = (String, String);

/// The partitions that a sink's earlier tasks left without an index.
#[derive(Clone, Default)]
pub struct LeftPartitions(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The partitions without an index, as the note lists them: place and partition.
    left: BTreeSet<Partition>,
    /// The places whose promised files aren't all visible yet.
    undelivered: BTreeSet<String>,
    /// The partitions that couldn't be indexed: the next start tries again.
    failed: BTreeSet<Partition>,
    /// True while the thread is running.
    is_running: bool,
    note: Option<PathBuf>,
}

impl std::fmt::Debug for LeftPartitions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeftPartitions")
    }
}

impl LeftPartitions {
    /// Finds such partitions in the staging of an earlier task, before that is recovered.
    pub fn find(&self, place: &str, staging: &Staging, promises: &[Promise]) {
        let mut found: Vec<Partition> = Vec::new();
        for promise in promises {
            let partition = promise.segment.split('/').next().unwrap_or_default();
            found.push((place.to_owned(), partition.to_owned()));
        }
        // A partition keeps its staging folder until it has ended, even if all of its files are
        // visible.
        for entry in fs::read_dir(&staging.folder).into_iter().flatten().flatten() {
            let partition = entry.file_name().to_str().unwrap_or_default().to_owned();
            found.push((place.to_owned(), partition));
        }
        let note = fs::read(staging.folder.join(NOTE)).ok();
        found.extend(
            note.and_then(|json| serde_json::from_slice::<Vec<Partition>>(&json).ok())
                .unwrap_or_default(),
        );
        found.retain(|(_, partition)| is_partition(partition));
        let mut state = self.lock();
        if !promises.is_empty() {
            state.undelivered.insert(place.to_owned());
        }
        let room = PARTITIONS_MAX.saturating_sub(state.left.len());
        state.left.extend(found.into_iter().take(room));
    }

    /// Records that the sink's first task begins: from now on the note is in its staging.
    pub fn begin(&self, publisher: &Arc<dyn Publish>, own: &Staging) {
        let mut state = self.lock();
        state.note = Some(own.folder.join(NOTE));
        state.failed.clear();
        state.write_note();
        self.make_ready(publisher, state);
    }

    /// Records that all promised files of these places are visible.
    pub fn delivered(&self, publisher: &Arc<dyn Publish>, places: &BTreeSet<String>) {
        let mut state = self.lock();
        state.undelivered.retain(|place| !places.contains(place));
        self.make_ready(publisher, state);
    }

    /// Waits, for a short time at most, for indexes that are being made.
    pub fn wait(&self) {
        let waited =
            self.0.changed.wait_timeout_while(self.lock(), END_WAIT, |state| state.is_running);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Makes the indexes that can be made, on a separate thread.
    fn make_ready(&self, publisher: &Arc<dyn Publish>, mut state: MutexGuard<'_, State>) {
        if state.is_running || state.ready().is_none() {
            return;
        }
        let (left, publisher) = (self.clone(), Arc::clone(publisher));
        let started = thread::Builder::new()
            .name("left-index".into())
            .spawn(move || left.make_all(&publisher));
        state.is_running = started.is_ok();
    }

    fn make_all(&self, publisher: &Arc<dyn Publish>) {
        loop {
            let mut state = self.lock();
            let Some(next) = state.ready() else {
                state.is_running = false;
                self.0.changed.notify_all();
                return;
            };
            drop(state);
            let made = caught(|| make(publisher, &next))
                .unwrap_or_else(|_| Err(Error::fatal("making an index panicked")));
            let mut state = self.lock();
            if made.is_ok() {
                state.left.remove(&next);
                state.write_note();
            } else {
                state.failed.insert(next);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is never left half-changed, so a panic elsewhere doesn't matter.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns a partition whose files are all visible and that wasn't tried yet.
    fn ready(&self) -> Option<Partition> {
        let is_ready =
            |one: &&Partition| !self.undelivered.contains(&one.0) && !self.failed.contains(*one);
        self.left.iter().find(is_ready).cloned()
    }

    /// Writes the note, or deletes it if no partition is left. The note isn't synced: a power loss
    /// costs only optional indexes.
    fn write_note(&self) {
        let Some(path) = &self.note else { return };
        if self.left.is_empty() {
            let _ = fs::remove_file(path);
            return;
        }
        let Ok(json) = serde_json::to_vec(&self.left) else { return };
        let _ =
            path.parent().map_or(Ok(Vec::new()), make_folders).and_then(|_| fs::write(path, json));
    }
}

/// Makes the index of a partition that has files and no index that names them.
fn make(publisher: &Arc<dyn Publish>, (place, partition): &Partition) -> Result<()> {
    let Some(store) = publisher.store(place)? else { return Ok(()) };
    let store: &dyn Store = store.as_ref();
    if view::files(store, partition)?.is_empty() || index::is_current(store, partition)? {
        return Ok(());
    }
    index::renew(store, partition).map(drop)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::lake::index::{Found, read};
    use crate::lake::publish::{Place, Rename};
    use crate::lake::store::local::LocalStore;

    const NIGHT: &str = "2015-12-18T00:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7";
    const MORNING: &str = "2015-12-18T06:00:00-0fa5ac3a-e695-4f96-aca2-d24c7527aed7";
    const NOON: &str = "2015-12-18T12:00:00-0fa5ac3a-e695-4f96-aca2-d24c7527aed7";

    fn write(root: &Path, partition: &str, content: &str) {
        fs::create_dir_all(root.join(partition)).unwrap();
        fs::write(root.join(partition).join("0000000"), content).unwrap();
    }

    fn is_indexed(root: &Path, partition: &str) -> bool {
        matches!(read(&LocalStore::new(root), partition).unwrap(), Found::Index(index) if index.posts() == 1)
    }

    /// Tests that the partitions that one crash left are in the note of the next run, and that the
    /// run after that makes their indexes, even if everything failed in between.
    #[test]
    fn what_was_left_is_indexed_once_it_is_visible_also_after_another_crash() {
        let root = tempfile::tempdir().unwrap();
        let (root, publisher): (_, Arc<dyn Publish>) = (root.path(), Arc::new(Rename));
        let place = |run: &str| Place::new(root.into(), run, "lake", 0);
        let (first, second, third) = (place("first"), place("second"), place("third"));
        write(root, NIGHT, "[{\"a\":1}]");
        write(root, MORNING, "[{\"a\":");
        // All files of one partition were visible, and its staging folder is empty; a file of
        // another is promised.
        fs::create_dir_all(first.staging.folder.join(NIGHT)).unwrap();
        fs::create_dir_all(first.staging.folder.join("no partition")).unwrap();
        let name = first.name().unwrap();
        let segment = format!("{MORNING}/0000000");
        let promise = Promise {
            place: name.clone(),
            segment,
            length: 1,
            posts: 1,
            checksum: 0,
            closed: true,
        };
        let left = LeftPartitions::default();
        left.find(&name, &first.staging, &[promise]);
        left.begin(&publisher, &second.staging);
        left.wait();
        assert!(
            !is_indexed(root, NIGHT) && !is_indexed(root, MORNING),
            "the place has more to deliver"
        );
        left.delivered(&publisher, &[name].into());
        left.wait();
        assert!(is_indexed(root, NIGHT) && !is_indexed(root, MORNING), "it is damaged");

        write(root, MORNING, "[{\"a\":1}]");
        write(root, NOON, "[{\"a\":1}]");
        fs::create_dir_all(second.staging.folder.join(NOON)).unwrap();
        let left = LeftPartitions::default();
        left.find(&second.name().unwrap(), &second.staging, &[]);
        left.begin(&publisher, &third.staging);
        left.wait();
        assert!(is_indexed(root, MORNING) && is_indexed(root, NOON));
        assert!(!third.staging.folder.join(NOTE).exists(), "nothing is left");
    }
}
