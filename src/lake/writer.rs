//! What one task writes: one partition after the other, one file of it after the other.

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

/// How many closed files are kept open until the barrier syncs them. The rest is opened again, so
/// that small files and many tasks don't use up the process's file handles.
const OPEN_FILES_MAX: usize = 16;

/// What a writer is made with.
pub struct Start {
    /// When a file closes.
    pub limits: epoch::MicroBatch,
    /// The boundary of the first partition.
    pub boundary: OffsetDateTime,
    /// Whether barriers will be durable.
    pub durable: bool,
    /// The clock that the age of a file begins by.
    pub clock: SharedClock,
    /// How partitions are named.
    pub names: Names,
    /// The form of the files: text.
    pub form: Form,
}

/// Writes posts into the lake for one task, in the two phases of a sink.
pub struct Writer {
    publisher: Arc<dyn Publish>,
    /// As promises name it.
    place: String,
    staging: Staging,
    ledger: SharedLedger,
    limits: epoch::MicroBatch,
    clock: SharedClock,
    names: Names,
    form: Form,
    /// The boundary of the partition that the next post goes to.
    boundary: OffsetDateTime,
    partition: Option<Partition>,
    open: Option<MicroBatch>,
    /// The own times of the posts in the open file.
    times: Times,
    /// Files that were closed since the last barrier, in order.
    closed: Vec<Staged>,
    /// Folders that got new names since then.
    folders: BTreeSet<PathBuf>,
    /// Staging folders of the partitions that ended since then.
    ended: Vec<PathBuf>,
    /// Whether barriers are durable, so that writing back early pays.
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
    /// A writer for one task. It makes nothing on the disk before the first post.
    ///
    /// # Errors
    /// If `place` is none of the publisher's.
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

    /// Makes the staging folder, to find out whether the lake can be written to.
    ///
    /// # Errors
    /// If it can't be made.
    pub fn make_staging(&mut self) -> Result<()> {
        let staging = self.staging.folder.clone();
        self.make_folders(&staging)
    }

    /// Writes a post, which is one JSON object on one line. On an error nothing of it counts, and
    /// it can be written again.
    ///
    /// # Errors
    /// If the disk doesn't take what was written before, or a new file.
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

    /// The first phase. What the barrier closes is closed, and everything is handed to the
    /// operating system; the job makes it durable.
    ///
    /// # Errors
    /// If the operating system doesn't take it; then preparing the same barrier can be tried again.
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

    /// The second phase: the job publishes closed files. It can be repeated.
    pub fn commit(&mut self, promises: Vec<Promise>) -> Job<()> {
        let (publisher, ledger) = (Arc::clone(&self.publisher), Arc::clone(&self.ledger));
        let (place, durable) = (self.place.clone(), self.durable);
        Box::new(move || commit(&*publisher, &place, &ledger, &promises, durable))
    }

    /// The file that takes a post of this size: the open one, or a new one if that is full.
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

    /// Begins the next file, in a new partition if there is none, or if its numbers are used up.
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

    /// A file whose close failed takes no other post, whatever size that has: closing goes on.
    fn close_what_is_closing(&mut self) -> Result<()> {
        if self.open.as_ref().is_some_and(MicroBatch::is_closed) { self.close() } else { Ok(()) }
    }

    /// Closes the open file. After an error it is still there, and closing can be tried again.
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
            // On the task's own thread: what packs more slowly than its posts come in holds them
            // up.
            Some(compression) => {
                let to = self.staging.folder.join(&open.promise().segment);
                // A new name: the folder is synced before the text goes.
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

    /// Closes what the barrier closes, and hands the rest to the operating system.
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
