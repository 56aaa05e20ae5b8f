//! Reading a spool at a reader's own pace.

use std::sync::Arc;

use tokio::sync::watch;

use super::Record;
use super::segment::Segment;
use super::shared::{Progress, Shared};
use crate::error::{Error, Result};

/// A batch of consecutive posts.
#[derive(Debug)]
pub struct Batch {
    /// The posts: 1 to 1,000, of about 1 MiB or a single larger one. They share one buffer.
    pub records: Vec<Record>,
    /// The position behind the last post.
    pub position: u64,
}

/// A reader from a position on, which also reads posts that are appended later.
pub struct Reader {
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    position: u64,
    /// The segment that was read last.
    segment: Option<Segment>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, position: u64) -> Self {
        let progress = shared.progress.subscribe();
        Self { shared, progress, position, segment: None }
    }

    /// Returns the position at which the next batch begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the next posts, as soon as there are any; `None` if there are none and no more come.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// Fatal if the log is damaged, or a sync has failed.
    pub async fn next_batch(&mut self) -> Result<Option<Batch>> {
        loop {
            let progress = *self.progress.borrow_and_update();
            if progress.failed {
                self.shared.lock().check()?;
            }
            if let Some(batch) = self.read(progress.end)? {
                return Ok(Some(batch));
            }
            // The sender can't be gone: this reader holds it.
            if progress.finished || self.progress.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Returns the next posts before `end`.
    fn read(&mut self, end: u64) -> Result<Option<Batch>> {
        while self.position < end {
            let (segment, until) = self.segment()?;
            let read = segment.read(segment.base.max(self.position), until)?;
            if let (true, Some(bad)) = (read.records.is_empty(), read.bad) {
                return Err(segment.damaged(read.next, bad));
            }
            self.segment = Some(segment);
            self.position = read.next;
            if let Some(last) = read.records.last() {
                return Ok(Some(Batch { position: last.position, records: read.records }));
            }
        }
        Ok(None)
    }

    /// Returns the segment to read, and the position up to which it is written.
    fn segment(&mut self) -> Result<(Segment, u64)> {
        let (folder, extent) = {
            let log = self.shared.lock();
            (log.folder.clone(), log.extent_behind(self.position))
        };
        let gone = || {
            Error::fatal(format!(
                "position {} of the spool \"{}\" is gone",
                self.position,
                folder.display()
            ))
        };
        let extent = extent.ok_or_else(gone)?;
        match self.segment.take() {
            Some(segment) if segment.base == extent.base => Ok((segment, extent.end)),
            _ => Ok((Segment::open(&folder, extent.base, false)?, extent.end)),
        }
    }
}
