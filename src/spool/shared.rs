//! The log shared by threads that wait for room, for posts and for the next sync.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::watch;

use super::log::{Log, Written};
use super::{Appended, OnFull};
use crate::error::{Error, Result};

/// The state that readers watch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// The position behind the last post.
    pub end: u64,
    /// True if no more posts will come.
    pub finished: bool,
    /// True if the log has failed; the log has the reason.
    pub failed: bool,
}

/// A log that several threads use.
pub(super) struct Shared {
    log: Mutex<Log>,
    /// Notified when the log becomes dirty or is closed.
    work: Condvar,
    /// Notified, like `trimmed`, when there may be room.
    room: Condvar,
    /// The number of times when there may have been room.
    trimmed: watch::Sender<u64>,
    pub progress: watch::Sender<Progress>,
    /// The lock on the folder, until the log is closed.
    lock: Mutex<Option<File>>,
}

impl Shared {
    pub(crate) fn new(log: Log, lock: File) -> Arc<Self> {
        let progress = Progress { end: log.end(), ..Progress::default() };
        Arc::new(Self {
            log: Mutex::new(log),
            work: Condvar::new(),
            room: Condvar::new(),
            trimmed: watch::Sender::new(0),
            progress: watch::Sender::new(progress),
            lock: Mutex::new(Some(lock)),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Log> {
        // The log changes its state after the I/O that may fail, so its state is consistent even
        // after a panic.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn append(&self, cursor: &[u8], post: &[u8]) -> Result<Appended> {
        let mut log = self.lock();
        loop {
            if let Some(appended) = self.try_append(&mut log, cursor, post)? {
                return Ok(appended);
            }
            log = self.room.wait(log).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) async fn append_async(&self, cursor: &[u8], post: &[u8]) -> Result<Appended> {
        // Subscribes before the attempt, so that room that is made in between isn't missed.
        let mut trimmed = None;
        loop {
            let room = trimmed.get_or_insert_with(|| self.trimmed.subscribe());
            room.mark_unchanged();
            if let Some(appended) = self.try_append(&mut self.lock(), cursor, post)? {
                return Ok(appended);
            }
            room.changed().await.map_err(|_| Error::fatal("the spool is gone"))?;
        }
    }

    /// Appends a post, unless it has to wait for room.
    fn try_append(&self, log: &mut Log, cursor: &[u8], post: &[u8]) -> Result<Option<Appended>> {
        let was_dirty = log.dirty;
        let written = log.append(cursor, post);
        match written.inspect_err(|_| self.tell_failure(log))? {
            Written::At(position) => {
                if !was_dirty {
                    self.work.notify_one();
                }
                self.progress.send_modify(|progress| progress.end = position);
                Ok(Some(Appended::At(position)))
            }
            Written::Full if log.options.on_full == OnFull::Drop => {
                log.dropped += 1;
                Ok(Some(Appended::Dropped))
            }
            Written::Full => Ok(None),
            Written::Closed => Ok(Some(Appended::Closed)),
        }
    }

    pub(crate) fn sync(&self) -> Result<()> {
        let (disk, sync) = {
            let mut log = self.lock();
            (log.disk.clone(), log.begin_sync()?)
        };
        let Some(sync) = sync else { return Ok(()) };
        let result = disk.sync(&sync.file);
        let mut log = self.lock();
        log.end_sync(&sync, result).inspect_err(|_| self.tell_failure(&log))
    }

    /// Wakes all threads and tasks that wait on a log that has failed.
    fn tell_failure(&self, log: &Log) {
        if log.failure.is_some() {
            self.progress.send_modify(|progress| progress.failed = true);
            self.tell_room();
        }
    }

    fn tell_room(&self) {
        self.room.notify_all();
        self.trimmed.send_modify(|count| *count += 1);
    }

    pub(crate) fn trim(&self, position: u64) -> Result<()> {
        let mut log = self.lock();
        let trimmed = log.trim(position);
        self.tell_room();
        trimmed
    }

    pub(crate) fn finish(&self) {
        self.progress.send_modify(|progress| progress.finished = true);
    }
}

/// The owner of the log, which closes it.
pub(super) struct Owner {
    pub shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    /// Starts the sync thread.
    pub(crate) fn start(shared: Arc<Shared>) -> Result<Self> {
        let log = shared.clone();
        let thread =
            thread::Builder::new().name("spool-sync".into()).spawn(move || keep_synced(&log));
        let thread = thread.map_err(|cause| {
            Error::fatal("can't start the sync thread of the spool").because(cause)
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn close(&self) -> Result<()> {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
        self.shared.tell_room();
        self.shared.finish();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread was printed; the sync below finds out if the log works.
            let _ = thread.join();
        }
        let synced = self.shared.sync();
        self.shared.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        synced
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // A caller that needs the result has called `close`. Unsynced posts now survive everything
        // but a power loss.
        let _ = self.close();
    }
}

/// Syncs when `sync_every` has passed since the first post that isn't synced, until the log is
/// closed or fails.
fn keep_synced(shared: &Shared) {
    loop {
        let log = shared.lock();
        let log = shared
            .work
            .wait_while(log, |log| !log.dirty && !log.closed)
            .unwrap_or_else(PoisonError::into_inner);
        let every = log.options.sync_every.0;
        let waited = shared.work.wait_timeout_while(log, every, |log| !log.closed);
        let closed = waited.unwrap_or_else(PoisonError::into_inner).0.closed;
        // A failed sync is final; the next append and the readers report it.
        if closed || shared.sync().is_err() {
            return;
        }
    }
}
