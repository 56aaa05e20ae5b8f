//! Reading a spool at one's own pace.

use std::sync::Arc;

use tokio::sync::watch;

use super::Record;
use super::segment::Segment;
use super::shared::{Progress, Shared};
use crate::error::{Error, Result};

/// Some posts in a row.
#[derive(Debug)]
pub struct Batch {
    /// At least one post: at most 1,000, of about 1 MiB or a single larger one. They share one
    /// buffer.
    pub records: Vec<Record>,
    /// The position behind the last of them.
    pub position: u64,
}

/// Reads from a position on, also what is appended later.
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

    /// The position at which the next batch begins.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next posts, as soon as there are any; `None` if there are none and nothing more comes.
    /// Nothing is lost if the future is dropped.
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

    /// The posts that are there, up to `end`.
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

    /// The segment to read in, and up to where it is written.
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
