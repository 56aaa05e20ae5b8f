//! `Local`: writes posts into a lake in a folder.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{Barrier, Job, Prepared, Promise, Sink, SinkConfig, SinkContext};
use crate::bolt::Problem;
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::lake::closing::{self, Decision, Open};
use crate::lake::disk::{make_folders, transient};
use crate::lake::micro_batch::MicroBatch;
use crate::lake::names::{FileNumber, PartitionName, Segment};
use crate::lake::publish::publish;
use crate::lake::staging::{Place, Prepare, SharedLedger, Staged, Unsynced, forget};
use crate::registry::Component;
use crate::topology;
use crate::tuple::{Fields, Tuple};
use crate::value::Value;

/// Writes posts into a lake in a folder: `<root>/<boundary>-<uuid>/0000000`, each file one JSON array.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// The folder of the lake. It is made if it is missing; any number of tasks and processes may
    /// write into one.
    pub root: PathBuf,
}

impl Component for Local {
    const NAME: &'static str = "Local";
    const GUARANTEE: &'static str = "each post of a completed checkpoint is in exactly one file, synced and never torn; \
         a file becomes visible whole, when the checkpoint after its close is complete";
}

impl Local {
    fn root(&self) -> Result<PathBuf> {
        std::path::absolute(&self.root)
            .map_err(|cause| Error::fatal(format!("bad root \"{}\"", self.root.display())).because(cause))
    }
}

impl SinkConfig for Local {
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        if self.root.as_os_str().is_empty() {
            problems.push(Problem { field: "root", what: "expected a folder, found nothing".into(), candidates: None });
        }
        problems.extend(inputs.iter().filter(|fields| fields.position(POST).is_none()).map(no_post));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let root = self.root()?;
        let place = Place::new(root.clone(), &root, &context.run, &context.component, context.task);
        let mut sink = LocalSink::new(place, context)?;
        // A folder that can't be written should stop the start, not the first post.
        sink.make_folders_of(&sink.place.staging.clone())?;
        Ok(Box::new(sink))
    }

    fn lake_root(&self) -> Option<PathBuf> {
        self.root().ok()
    }
}

/// The field that is written.
const POST: &str = "post";

fn no_post(fields: &Fields) -> Problem {
    let what = format!(
        "Local writes the field \"{POST}\", but this input declares {fields}; take the input from a source of posts, \
         or name a field \"{POST}\" where it is emitted"
    );
    Problem { field: "inputs", what, candidates: None }
}

/// How many closed files are kept open until the barrier syncs them. The rest is opened again, so
/// that small files and many tasks don't use up the process's file handles.
const OPEN_FILES_MAX: usize = 16;

/// One task that writes a lake.
pub(crate) struct LocalSink {
    place: Arc<Place>,
    ledger: SharedLedger,
    limits: topology::MicroBatch,
    clock: SharedClock,
    /// The position of the post, for each input.
    positions: Vec<usize>,
    /// The boundary of the partition that the next post goes to.
    boundary: OffsetDateTime,
    partition: Option<Partition>,
    open: Option<(MicroBatch, PathBuf)>,
    unsynced: Unsynced,
    ended: Vec<PathBuf>,
    /// As the last barrier said; until the first, as it is by default.
    durable: bool,
}

/// The partition that is being written.
struct Partition {
    name: PartitionName,
    next: Option<FileNumber>,
}

impl LocalSink {
    /// The sink of one task at a place; nothing is made on the disk before the first post.
    pub(crate) fn new(place: Place, context: SinkContext) -> Result<Self> {
        let position = |fields: &Fields| fields.position(POST).ok_or_else(|| Error::fatal(no_post(fields).what));
        Ok(Self {
            place: Arc::new(place),
            ledger: SharedLedger::default(),
            limits: context.micro_batch,
            clock: context.clock,
            positions: context.inputs.iter().map(position).collect::<Result<_>>()?,
            boundary: context.boundary,
            partition: None,
            open: None,
            unsynced: Unsynced::default(),
            ended: Vec::new(),
            durable: true,
        })
    }

    fn make_folders_of(&mut self, folder: &Path) -> Result<()> {
        let changed = make_folders(folder).map_err(|cause| transient("make", folder, cause))?;
        self.unsynced.folders.extend(changed);
        Ok(())
    }

    /// The file that takes a post of this size: the open one, or a new one if that is full.
    fn file_for(&mut self, bytes: u64) -> Result<&mut MicroBatch> {
        if let Some(open) = self.open_state()
            && let Decision::Close(_) = closing::before_post(&open, bytes, &self.limits)
        {
            self.close()?;
        }
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        Ok(&mut self.open.as_mut().expect("it was begun just now").0)
    }

    fn open_state(&self) -> Option<Open> {
        let ((open, _), partition) = self.open.as_ref().zip(self.partition.as_ref())?;
        let boundary = partition.name.boundary;
        Some(Open { posts: open.posts(), length: open.length(), since: open.since(), boundary })
    }

    /// Begins the next file, in a new partition if there is none, or if its numbers are used up.
    fn begin(&mut self) -> Result<(MicroBatch, PathBuf)> {
        if self.partition.as_ref().is_some_and(|partition| partition.next.is_none()) {
            self.end_partition();
        }
        let partition = self.partition.get_or_insert_with(|| Partition {
            name: PartitionName::begin(self.boundary),
            next: Some(FileNumber::FIRST),
        });
        let number = partition.next.expect("a partition without a next number has just ended");
        let segment = Segment { partition: partition.name, number };
        let folder = self.place.staged_partition(&segment.partition);
        self.make_folders_of(&folder)?;
        let path = self.place.staged(&segment);
        let file = MicroBatch::begin(path.clone(), segment.to_string(), self.clock.now())?;
        self.unsynced.folders.insert(folder);
        if let Some(partition) = &mut self.partition {
            partition.next = number.next();
        }
        Ok((file, path))
    }

    /// Closes the open file. After an error it is still there, and closing can be tried again.
    fn close(&mut self) -> Result<()> {
        let Some((open, path)) = &mut self.open else { return Ok(()) };
        open.close()?;
        let keep = self.durable && self.unsynced.closed.len() < OPEN_FILES_MAX;
        if self.durable {
            open.begin_writing_back();
        }
        let file = keep.then(|| open.file());
        self.unsynced.closed.push(Staged { promise: open.promise(), path: std::mem::take(path), file });
        self.open = None;
        Ok(())
    }

    fn end_partition(&mut self) {
        if let Some(partition) = self.partition.take() {
            self.ended.push(self.place.staged_partition(&partition.name));
        }
    }

    /// Closes what the barrier closes, and hands the rest to the operating system.
    fn settle(&mut self, barrier: &Barrier) -> Result<()> {
        match self.open_state().map(|open| closing::at_barrier(&open, barrier, &self.limits)) {
            Some(Decision::Close(_)) => self.close()?,
            Some(Decision::Keep) | None => {
                if let Some((open, _)) = &mut self.open {
                    open.flush()?;
                }
            }
        }
        if barrier.last || barrier.boundary != self.boundary {
            self.end_partition();
        }
        self.boundary = barrier.boundary;
        Ok(())
    }
}

impl Sink for LocalSink {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        let post = one_line(tuple.value(self.positions[tuple.input]))?;
        let durable = self.durable;
        let file = self.file_for(post.len() as u64)?;
        file.append(&post)?;
        if durable {
            file.begin_writing_back();
        }
        Ok(())
    }

    fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        self.durable = barrier.durable;
        self.settle(barrier)?;
        let staged = |(open, path): &(MicroBatch, PathBuf)| {
            (Staged { promise: open.promise(), path: path.clone(), file: Some(open.file()) }, open.since())
        };
        let prepare = Prepare {
            unsynced: std::mem::take(&mut self.unsynced),
            open: self.open.as_ref().map(staged),
            ended: std::mem::take(&mut self.ended),
            durable: barrier.durable,
            last: barrier.last,
        };
        let (place, ledger) = (Arc::clone(&self.place), Arc::clone(&self.ledger));
        Ok(Box::new(move || prepare.run(&place, &ledger)))
    }

    fn commit(&mut self, promises: Vec<Promise>) -> Job<()> {
        let (place, ledger, durable) = (Arc::clone(&self.place), Arc::clone(&self.ledger), self.durable);
        Box::new(move || {
            publish(&place, &promises, durable)?;
            forget(&place, &ledger, &promises);
            Ok(())
        })
    }
}

/// The post's bytes. JSON that isn't known to be a post has to be an object, and loses its line
/// breaks, which can only be outside of its strings.
fn one_line(value: &Value) -> Result<Cow<'_, [u8]>> {
    match value {
        Value::Post(post) => Ok(Cow::Borrowed(post)),
        Value::Json(json) if json.first() == Some(&b'{') => match memchr::memchr2(b'\n', b'\r', json) {
            None => Ok(Cow::Borrowed(json)),
            Some(_) => Ok(json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect()),
        },
        other => {
            Err(Error::rejected(format!("the field \"{POST}\" has to be a post or a JSON object, found {other:?}")))
        }
    }
}
