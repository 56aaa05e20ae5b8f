//! The second phase of a sink of a lake in a store: uploads closed files from the outbox, several
//! at once, and deletes them there.
//!
//! After a crash there are only three possible states: the file in the outbox, both, or the object.
//! The object's key is the segment's name, which is unique, and its bytes are the promised ones; so
//! an object that already exists is either that file, or a reason to stop.

mod compare;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io, vec};

use bytes::Bytes;

use self::compare::{Found, compare};
use super::backlog::Backlog;
use super::disk::failed;
use super::index::{self, Index};
use super::names::Segment;
use super::pack::is_as_promised;
use super::publish::{another_writer, gone, not_as_promised};
use super::replaced::{Replaced, has_now};
use super::staging::{Staging, named};
use super::store::{Put, Store};
use crate::detached::{Detached, UnderWay};
use crate::epoch::Promise;
use crate::error::{Error, Kind, Result};
use crate::fault::point;

/// The number of files that a task uploads at once. Each one costs a thread and a connection.
pub const UPLOADS_MAX: usize = 8;

/// The number of bytes of these files in memory at once. A larger file is uploaded alone.
pub const UPLOAD_BYTES_MAX: u64 = 64 << 20;

/// The time that a commit waits for an index, whose upload takes a hundredth of that of the files.
/// A longer wait would hold up commits for an optional object.
const INDEX_WAIT_MAX: Duration = Duration::from_secs(2);

/// The name of the threads.
const THREAD: &str = "upload";

/// The uploads of one task.
#[derive(Default)]
pub struct Uploader {
    /// The promised segments that a commit delivered before it failed; the commit will be tried
    /// again.
    delivered: Arc<Mutex<BTreeSet<String>>>,
    detached: Detached,
    /// True after a failure: an object may have been stored although its answer was lost, and its
    /// partition may have been replaced since.
    in_doubt: AtomicBool,
    /// The bytes in use in the outbox.
    pub backlog: Arc<Backlog>,
}

impl Uploader {
    /// Records that the task ends: uploads under way aren't waited for any more.
    pub fn stop(&self) {
        self.detached.stop();
    }

    /// Uploads the closed files. The call can be repeated, also after a crash in the middle.
    ///
    /// # Errors
    /// As [`Publish::publish`](super::staging::Publish::publish).
    pub fn upload(
        &self,
        store: &Arc<dyn Store>,
        staging: &Staging,
        promises: &[Promise],
    ) -> Result<()> {
        self.upload_all(store, staging, promises, self.in_doubt.load(Ordering::Relaxed))
    }

    /// Uploads closed files of an ended task, except those whose partition was replaced since they
    /// were uploaded.
    ///
    /// # Errors
    /// As [`upload`](Self::upload).
    pub fn upload_left(
        &self,
        store: &Arc<dyn Store>,
        staging: &Staging,
        promises: &[Promise],
    ) -> Result<()> {
        self.upload_all(store, staging, promises, true)
    }

    /// Uploads in rounds. After a round with a transient error the next one follows at once if at
    /// least one file was uploaded; the caller has to wait only if none was.
    fn upload_all(
        &self,
        store: &Arc<dyn Store>,
        staging: &Staging,
        promises: &[Promise],
        mut asks_what_was_replaced: bool,
    ) -> Result<()> {
        loop {
            let delivered = lock(&self.delivered).len();
            let replaced = asks_what_was_replaced.then(Mutex::default);
            let Err(error) = self.upload_round(store, staging, promises, replaced) else {
                return Ok(());
            };
            let got_on = lock(&self.delivered).len() > delivered && !self.detached.is_stopped();
            if error.kind() != Kind::Transient || !got_on {
                return Err(error);
            }
            asks_what_was_replaced = true;
        }
    }

    fn upload_round(
        &self,
        store: &Arc<dyn Store>,
        staging: &Staging,
        promises: &[Promise],
        replaced: Option<Mutex<Replaced>>,
    ) -> Result<()> {
        let round = Arc::new(Round {
            store: Arc::clone(store),
            staging: staging.clone(),
            files: Mutex::new(self.missing(promises)?.into_iter()),
            memory: UnderWay::new(UPLOAD_BYTES_MAX),
            over: AtomicBool::new(false),
            delivered: Arc::clone(&self.delivered),
            backlog: Arc::clone(&self.backlog),
            replaced,
        });
        let threads = UPLOADS_MAX.min(lock(&round.files).len());
        let work = Arc::new({
            let round = Arc::clone(&round);
            move || round.run()
        });
        let uploaded = self.detached.run_on_threads(threads, THREAD, &work);
        round.over.store(true, Ordering::Relaxed);
        self.in_doubt.store(uploaded.is_err(), Ordering::Relaxed);
        uploaded?;
        let mut delivered = lock(&self.delivered);
        for promise in promises {
            delivered.remove(&promise.segment);
        }
        Ok(())
    }

    /// Puts an index beside the uploaded files. Waits only while the task runs, and only for a
    /// short time, since the index is optional.
    ///
    /// # Errors
    /// If the index isn't known to be stored.
    pub fn index(&self, store: &Arc<dyn Store>, index: &Index) -> Result<()> {
        let (store, index) = (Arc::clone(store), index.clone());
        let write = move || index::write(store.as_ref(), &index);
        if self.detached.run_within(INDEX_WAIT_MAX, THREAD, write)?.is_some() {
            return Ok(());
        }
        // The upload may still finish, so the index isn't put once more.
        Err(Error::fatal("stopped waiting for an index"))
    }

    /// Returns the files that aren't delivered yet, in order.
    fn missing(&self, promises: &[Promise]) -> Result<Vec<(Segment, Promise)>> {
        let delivered = lock(&self.delivered);
        let closed = promises
            .iter()
            .filter(|promise| promise.closed && !delivered.contains(&promise.segment));
        let mut files: Vec<_> = closed
            .map(|promise| Ok((named(promise)?.0, promise.clone())))
            .collect::<Result<_>>()?;
        files.sort_by_key(|(segment, _)| *segment);
        Ok(files)
    }
}

/// One attempt of a commit.
struct Round {
    store: Arc<dyn Store>,
    staging: Staging,
    files: Mutex<vec::IntoIter<(Segment, Promise)>>,
    memory: UnderWay,
    /// True after a failure, or if no caller waits any more: no further file is begun.
    over: AtomicBool,
    delivered: Arc<Mutex<BTreeSet<String>>>,
    backlog: Arc<Backlog>,
    /// Notes on the partitions of ended tasks, or of files in doubt. `None` if no notes are read.
    replaced: Option<Mutex<Replaced>>,
}

impl Round {
    fn run(&self) -> Result<()> {
        while let Some((segment, promise)) = self.next() {
            let memory = self.memory.take(promise.length);
            if let Err(error) = self.deliver(&segment, &promise) {
                self.over.store(true, Ordering::Relaxed);
                return Err(error);
            }
            drop(memory);
            self.backlog.delivered(&promise.segment);
            lock(&self.delivered).insert(promise.segment);
        }
        Ok(())
    }

    fn next(&self) -> Option<(Segment, Promise)> {
        if self.over.load(Ordering::Relaxed) { None } else { lock(&self.files).next() }
    }

    fn deliver(&self, segment: &Segment, promise: &Promise) -> Result<()> {
        let path = self.staging.file(segment);
        if self.is_replaced(segment)? {
            // An earlier attempt may have put the object once more, and ended before it checked.
            self.store.delete(&segment.to_string())?;
            return delete(&path);
        }
        let bytes = match fs::read(&path) {
            Ok(bytes) => Some(Bytes::from(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(cause) => return Err(failed("read", &path, cause)),
        };
        let faulty = |cause| failed("upload", &path, cause);
        let Some(bytes) = bytes else { return self.compare(segment, promise, None) };
        check(&path, &bytes, promise)?;
        point("s3.put").map_err(faulty)?;
        if self.store.put(&segment.to_string(), bytes.clone())? == Put::Exists {
            self.compare(segment, promise, Some(&bytes))?;
        } else if self.replaced.is_some() && has_now(self.store.as_ref(), segment)? {
            // The object existed before, and its partition was replaced after the note was read.
            self.store.delete(&segment.to_string())?;
        }
        point("s3.stored").map_err(faulty)?;
        delete(&path)?;
        point("s3.deleted").map_err(faulty)
    }

    /// Returns true if the file was uploaded, and its posts are now in another partition, or
    /// erased.
    fn is_replaced(&self, segment: &Segment) -> Result<bool> {
        let Some(replaced) = &self.replaced else { return Ok(false) };
        lock(replaced).has(self.store.as_ref(), segment)
    }

    /// Checks that the object in the store is as promised; or, if compressed, that an earlier
    /// recovery made it from the same text. The object may also be gone again, together with its
    /// partition.
    fn compare(&self, segment: &Segment, promise: &Promise, ours: Option<&[u8]>) -> Result<()> {
        let key = segment.to_string();
        let address = self.store.address(&key);
        match compare(self.store.as_ref(), &key, promise, ours)? {
            Found::Ours => Ok(()),
            Found::Other => Err(another_writer(&address)),
            Found::Nothing if has_now(self.store.as_ref(), segment)? => Ok(()),
            Found::Nothing if ours.is_some() => {
                let what =
                    format!("\"{address}\" existed, and is gone again: it will be put once more");
                Err(Error::transient(what))
            }
            Found::Nothing => Err(gone(&self.staging.file(segment), &address)),
        }
    }
}

/// Checks that the bytes to upload are those that were synced.
fn check(path: &Path, bytes: &[u8], promise: &Promise) -> Result<()> {
    if is_as_promised(bytes, promise) {
        Ok(())
    } else if bytes.len() as u64 == promise.length {
        let path = path.display();
        Err(Error::fatal(format!(
            "\"{path}\" has other bytes than were promised: it was damaged after it was synced"
        )))
    } else {
        Err(not_as_promised(path, bytes.len() as u64, promise))
    }
}

fn delete(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        // An upload that no caller waited for has finished.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|cause| failed("remove", path, cause)),
    }
}

/// Locks a mutex. Its value is never left half-changed, so a panic elsewhere doesn't matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
