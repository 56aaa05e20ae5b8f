//! Writes the files of one task: one partition after the other, and in it one file after the other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;

use super::closing::{self, Decision, Open};
use super::disk::{failed, make_folders};
use super::form::Form;
use super::indexing::Times;
use super::micro_batch::MicroBatch;
use super::names::{FileName, FileNumber, Names, PartitionName, Segment};
use super::pack::{compression, pack_file};
use super::staging::{Prepare, Publish, SharedLedger, Staged, Staging, commit};
use crate::clock::SharedClock;
use crate::epoch::{self};
use crate::epoch::{Barrier, Job, Prepared, Promise};
use crate::error::Result;

/// The number of closed files that are kept open until the barrier syncs them. The others are
/// opened again, so that small files and many tasks don't use up the process's file handles.
const OPEN_FILES_MAX: usize = 16;

/// The settings of a new writer.
pub struct Start {
    /// The limits at which a file closes.
    pub limits: epoch::MicroBatch,
    /// The boundary of the first partition.
    pub boundary: OffsetDateTime,
    /// True if barriers will be durable.
    pub durable: bool,
    /// The clock for the time at which a file is begun.
    pub clock: SharedClock,
    /// The notation of partitions' names.
    pub names: Names,
    /// The form of the files, which is a form of text.
    pub form: Form,
}

/// A writer of one task's posts into the lake, in the two phases of a sink.
pub struct Writer {
    publisher: Arc<dyn Publish>,
    /// The name of the place in promises.
    place: String,
    staging: Staging,
    ledger: SharedLedger,
    limits: epoch::MicroBatch,
    clock: SharedClock,
    names: Names,
    form: Form,
    /// The boundary of the partition that takes the next post.
    boundary: OffsetDateTime,
    partition: Option<Partition>,
    open: Option<MicroBatch>,
    /// The own times of the posts in the open file.
    times: Times,
    /// Files that were closed since the last barrier, in order.
    closed: Vec<Staged>,
    /// Folders that got new entries since the last barrier.
    folders: BTreeSet<PathBuf>,
    /// Staging folders of the partitions that ended since the last barrier.
    ended: Vec<PathBuf>,
    /// True if barriers are durable, so that early write-back is worthwhile.
    durable: bool,
}

/// The partition that is being written.
#[derive(Clone, Copy)]
struct Partition {
    name: PartitionName,
    /// The number of its next file; `None` after the last that a name can express.
    next: Option<FileNumber>,
}

impl Partition {
    fn begin(boundary: OffsetDateTime, names: Names) -> Self {
        Self { name: PartitionName::begin(boundary, names), next: Some(FileNumber::FIRST) }
    }
}

impl Writer {
    /// Creates a writer for one task. Nothing is created on the disk before the first post.
    ///
    /// # Errors
    /// If `place` isn't a place of the publisher.
    pub fn new(publisher: Arc<dyn Publish>, place: String, start: Start) -> Result<Self> {
        let Start { limits, boundary, durable, clock, names, form } = start;
        Ok(Self {
            staging: publisher.staging(&place)?,
            publisher,
            place,
            ledger: SharedLedger::default(),
            limits,
            clock,
            names,
            form,
            boundary,
            partition: None,
            open: None,
            times: Times::default(),
            closed: Vec::new(),
            folders: BTreeSet::new(),
            ended: Vec::new(),
            durable,
        })
    }

    /// Creates the staging folder, to check that the lake can be written to.
    ///
    /// # Errors
    /// If the folder can't be created.
    pub fn make_staging(&mut self) -> Result<()> {
        let staging = self.staging.folder.clone();
        self.make_folders(&staging)
    }

    /// Writes a post, which is one JSON object on one line. After an error no part of it counts,
    /// and it can be written again.
    ///
    /// # Errors
    /// If the disk refuses earlier posts or a new file.
    pub fn write(&mut self, post: &[u8]) -> Result<()> {
        let durable = self.durable;
        let file = self.file_for(post.len() as u64)?;
        file.append(post)?;
        if durable {
            file.begin_writing_back();
        }
        self.times.see(post);
        Ok(())
    }

    /// Prepares a barrier, which is the first phase. Closes the open file if the barrier ends it,
    /// and hands everything to the operating system; the returned job makes it durable.
    ///
    /// # Errors
    /// If the operating system refuses it; then preparing the same barrier can be tried again.
    pub fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        self.durable = barrier.durable;
        self.settle(barrier)?;
        let mut prepare = Prepare {
            closed: std::mem::take(&mut self.closed),
            folders: std::mem::take(&mut self.folders),
            open: self
                .open
                .as_ref()
                .map(|open| (staged(open, true, Times::default()), open.since())),
            ended: std::mem::take(&mut self.ended),
            durable: barrier.durable,
            last: barrier.last,
        };
        let (staging, ledger) = (self.staging.clone(), Arc::clone(&self.ledger));
        Ok(Box::new(move || prepare.run(&staging, &ledger)))
    }

    /// Commits promises, which is the second phase: the returned job publishes closed files, and
    /// can be repeated.
    pub fn commit(&mut self, promises: Vec<Promise>) -> Job<()> {
        let (publisher, ledger) = (Arc::clone(&self.publisher), Arc::clone(&self.ledger));
        let (place, durable) = (self.place.clone(), self.durable);
        Box::new(move || commit(&*publisher, &place, &ledger, &promises, durable))
    }

    /// Returns the file that takes a post of this size: the open one, or a new one if that is full.
    fn file_for(&mut self, bytes: u64) -> Result<&mut MicroBatch> {
        if let Some(open) = self.open_now()
            && let Decision::Close(_) = closing::before_post(&open, bytes, &self.limits)
        {
            self.close()?;
        }
        self.close_what_is_closing()?;
        let open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        Ok(self.open.insert(open))
    }

    fn open_now(&self) -> Option<Open> {
        let (open, partition) = self.open.as_ref().zip(self.partition)?;
        Some(Open {
            posts: open.posts(),
            length: open.length(),
            since: open.since(),
            boundary: partition.name.boundary,
        })
    }

    /// Begins the next file, in a new partition if none is open or its numbers are used up.
    fn begin(&mut self) -> Result<MicroBatch> {
        if self.partition.is_some_and(|partition| partition.next.is_none()) {
            self.end_partition();
        }
        let (boundary, names) = (self.boundary, self.names);
        let partition = self.partition.get_or_insert_with(|| Partition::begin(boundary, names));
        let (name, number) =
            (partition.name, partition.next.expect("one whose numbers are used up has just ended"));
        let folder = self.staging.partition(&name);
        self.make_folders(&folder)?;
        let segment = Segment { partition: name, file: FileName::new(number, self.form) };
        let file = MicroBatch::begin(
            self.staging.text(&segment),
            [self.place.clone(), segment.to_string()],
            self.clock.now(),
        )?;
        self.folders.insert(folder);
        self.partition = Some(Partition { name, next: number.next() });
        Ok(file)
    }

    fn make_folders(&mut self, folder: &Path) -> Result<()> {
        let changed = make_folders(folder).map_err(|cause| failed("make", folder, cause))?;
        self.folders.extend(changed);
        Ok(())
    }

    /// Finishes closing a file whose close failed. It takes no more posts, whatever their size.
    fn close_what_is_closing(&mut self) -> Result<()> {
        if self.open.as_ref().is_some_and(MicroBatch::is_closed) { self.close() } else { Ok(()) }
    }

    /// Closes the open file. After an error it remains open, and closing can be tried again.
    fn close(&mut self) -> Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.close()?;
        let keep = self.durable && self.closed.len() < OPEN_FILES_MAX;
        let times = std::mem::take(&mut self.times);
        let staged = match compression(&open.promise()) {
            None => {
                if self.durable {
                    open.begin_writing_back();
                }
                staged(open, keep, times)
            }
            // Compression runs on the task's own thread, so posts that come in faster than they are
            // compressed are held up.
            Some(compression) => {
                let to = self.staging.folder.join(&open.promise().segment);
                // The compressed file has a new name: the folder is synced before the text is
                // deleted.
                self.folders.extend(to.parent().map(std::path::Path::to_path_buf));
                let packed = pack_file(compression, open.path(), to, open.promise())?;
                Staged { file: packed.file.filter(|_| keep), times, ..packed }
            }
        };
        self.closed.push(staged);
        self.open = None;
        Ok(())
    }

    fn end_partition(&mut self) {
        if let Some(partition) = self.partition.take() {
            self.ended.push(self.staging.partition(&partition.name));
        }
    }

    /// Closes the open file if the barrier ends it, and otherwise hands its bytes to the operating
    /// system.
    fn settle(&mut self, barrier: &Barrier) -> Result<()> {
        self.close_what_is_closing()?;
        match self.open_now().map(|open| closing::at_barrier(&open, barrier, &self.limits)) {
            Some(Decision::Close(_)) => self.close()?,
            Some(Decision::Keep) => self.open.as_mut().map_or(Ok(()), MicroBatch::flush)?,
            None => {}
        }
        if barrier.last || barrier.boundary != self.boundary {
            self.end_partition();
        }
        self.boundary = barrier.boundary;
        Ok(())
    }
}

fn staged(file: &MicroBatch, keep_open: bool, times: Times) -> Staged {
    Staged {
        promise: file.promise(),
        path: file.path().to_path_buf(),
        file: keep_open.then(|| file.file()),
        times,
        text: None,
    }
}

#[cfg(test)]
mod tests;
