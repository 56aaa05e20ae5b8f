//! The outbox of a sink that writes rows: tuples on this machine's disk, until the outside has
//! them.
//!
//! A task writes the tuples of an epoch into a segment, and closes it at the barrier: so every
//! promise is closed, and a commit reads whole segments. Files are deleted when their segments are
//! forgotten, or at the next start.

mod segment;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{OnFull, SinkContext};
use crate::epoch::{Barrier, Job, Prepared, Promise};
use crate::error::{Error, Result};
use crate::fault;
use crate::lake::backlog::{Admission, Backlog};
use crate::lake::disk::{failed, make_private_folders, remove_if_empty, sync_folder};
use crate::tuple::Tuple;

pub use segment::OutboxRow;
use segment::{ClosedSegment, OpenSegment};

/// The folder of a topology's state that holds what isn't delivered yet.
const OUTBOX: &str = "outbox";

/// The segments of a commit that are held in memory at once, in bytes, unless a single one is
/// larger. Fewer make more and smaller loads; more cost memory for each task.
pub const GATHERED_BYTES_MAX: u64 = 32 << 20;

/// The extension of the file that stands beside a segment's, if its sink keeps notes on it.
const NOTES: &str = "notes";

/// The bound of an outbox, and what happens beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxBound {
    /// Bytes on this machine's disk that aren't delivered, for each task.
    pub bytes_max: u64,
    /// What happens beyond it. For [`OnFull::Pause`] the sink names the bound in
    /// [`outbox_bytes_max`](super::SinkConfig::outbox_bytes_max).
    pub on_full: OnFull,
}

impl OutboxBound {
    /// The bound for [`SinkConfig::outbox_bytes_max`](super::SinkConfig::outbox_bytes_max).
    pub fn bytes_before_pausing(self) -> Option<u64> {
        (self.on_full == OnFull::Pause).then_some(self.bytes_max)
    }

    /// The bound beyond which tuples are dropped.
    pub fn bytes_before_dropping(self) -> Option<u64> {
        (self.on_full == OnFull::Drop).then_some(self.bytes_max)
    }
}

/// The outbox of one task.
pub struct Outbox {
    place: OutboxPlace,
    place_name: String,
    /// What the names of this task's segments begin with.
    prefix: String,
    next: u64,
    segment_bytes_max: u64,
    open: Option<OpenSegment>,
    closed: Vec<ClosedSegment>,
    /// Folders with new names in them, which aren't synced yet.
    new_folders: BTreeSet<PathBuf>,
    backlog: Arc<Backlog>,
    admission: Admission,
}

/// Where a task keeps its segments, as a promise names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutboxPlace {
    /// The task's folder, absolute: `<state>/outbox/<run>/<component>-<task>`.
    rows: PathBuf,
}

impl OutboxPlace {
    fn of(context: &SinkContext) -> Result<Self> {
        let outbox = std::path::absolute(context.state.join(OUTBOX)).map_err(|cause| {
            Error::fatal(format!("bad state folder \"{}\"", context.state.display())).because(cause)
        })?;
        Ok(Self {
            rows: outbox.join(&context.run).join(format!("{}-{}", context.component, context.task)),
        })
    }

    fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|cause| {
            Error::fatal(format!("bad outbox \"{}\"", self.rows.display())).because(cause)
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let place: Self = serde_json::from_str(text).ok()?;
        let outbox = place.rows.ancestors().nth(2)?.file_name()?;
        (place.rows.is_absolute() && outbox == OUTBOX).then_some(place)
    }

    fn parse_or_fail(text: &str) -> Result<Self> {
        Self::parse(text).ok_or_else(|| {
            Error::fatal(format!(
                "bad place \"{text}\" in a promise: expected the outbox of a sink"
            ))
        })
    }

    /// The file of a segment.
    fn file(&self, segment: &str) -> Result<PathBuf> {
        let number = segment.rsplit('/').next().unwrap_or_default();
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::fatal(format!(
                "bad segment \"{segment}\" in a promise: expected …/<number>"
            )));
        }
        Ok(self.rows.join(number))
    }
}

/// The place of a task with this context; see [`SinkConfig::place`](super::SinkConfig::place).
///
/// # Errors
/// If the state folder has no absolute path, or one that isn't UTF-8.
pub fn place(context: &SinkContext) -> Result<String> {
    OutboxPlace::of(context)?.to_text()
}

/// Deletes what a task of this place left that isn't promised, and returns the promises; see
/// [`SinkConfig::recover`](super::SinkConfig::recover). A promised segment whose file is gone was
/// delivered by an earlier commit: the sink's commit finds that out.
///
/// # Errors
/// If the place isn't one of an outbox, or files can't be deleted.
pub fn recover(place: &str, promises: &[Promise]) -> Result<Vec<Promise>> {
    let place = OutboxPlace::parse_or_fail(place)?;
    let mut promised = BTreeSet::new();
    for promise in promises {
        promised.insert(place.file(&promise.segment)?);
    }
    delete_all_but(&promised, &place.rows)?;
    Ok(promises.to_vec())
}

/// Deletes what is left in a place, if it is one of an outbox. True if it was.
///
/// # Errors
/// If files can't be deleted.
pub(crate) fn discard(place: &str) -> Result<bool> {
    let Some(place) = OutboxPlace::parse(place) else { return Ok(false) };
    delete_all_but(&BTreeSet::new(), &place.rows)?;
    Ok(true)
}

/// What the names of all segments of a place's task begin with, if it is a place of an outbox.
pub fn segment_prefix(place: &str) -> Option<String> {
    let place = OutboxPlace::parse(place)?;
    let task = place.rows.file_name()?.to_str()?;
    let run = place.rows.parent()?.file_name()?.to_str()?;
    Some(format!("{run}/{task}/"))
}

/// Deletes the segments of all tasks in the outbox of a topology's state that has ended: everything
/// is delivered, but the process was killed before it deleted the files.
///
/// # Errors
/// If files can't be deleted.
pub(crate) fn discard_delivered(state: &Path) -> Result<()> {
    for run in entries_of(&state.join(OUTBOX))? {
        for task in entries_of(&run)? {
            // Other sinks keep folders here, and no files.
            for file in entries_of(&task)? {
                if file.is_file() {
                    delete_file(&file)?;
                }
            }
            tidy(&task);
        }
    }
    Ok(())
}

/// The paths of a folder's entries; none if there is no such folder.
fn entries_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        other => other.map_err(|cause| failed("read", folder, cause))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|cause| failed("read", folder, cause))?.path());
    }
    Ok(paths)
}

fn delete_all_but(promised: &BTreeSet<PathBuf>, folder: &Path) -> Result<()> {
    for path in entries_of(folder)? {
        // A segment's notes stay with it; its own file has no extension.
        if !promised.contains(&path.with_extension("")) {
            delete_file(&path)?;
        }
    }
    tidy(folder);
    Ok(())
}

fn delete_file(path: &Path) -> Result<()> {
    match fault::point("outbox.delete").and_then(|()| fs::remove_file(path)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|cause| failed("remove", path, cause)),
    }
}

/// Removes a task's folder and that of its run, if they are empty.
fn tidy(folder: &Path) {
    folder.ancestors().take(2).for_each(remove_if_empty);
}

impl Outbox {
    /// The outbox of one task, with its folder.
    ///
    /// # Errors
    /// If the folder can't be made.
    pub fn open(context: &SinkContext, bound: OutboxBound) -> Result<Self> {
        let place = OutboxPlace::of(context)?;
        let backlog = Arc::new(Backlog::default());
        let made = make_private_folders(&place.rows)
            .map_err(|cause| failed("make", &place.rows, cause))?;
        Ok(Self {
            place_name: place.to_text()?,
            prefix: format!("{}/{}-{}", context.run, context.component, context.task),
            next: 0,
            segment_bytes_max: context.micro_batch.bytes,
            open: None,
            closed: Vec::new(),
            new_folders: made.into_iter().chain([place.rows.clone()]).collect(),
            place,
            admission: Admission::new(Arc::clone(&backlog), bound.bytes_before_dropping()),
            backlog,
        })
    }

    /// Adds a tuple to the epoch in progress, unless the outbox is full and drops.
    ///
    /// # Errors
    /// If it can't be written; then nothing of it was.
    pub fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        let row = segment::encode_row(tuple);
        let bytes = row.len() as u64;
        if !self.admission.admits(bytes) {
            return Ok(());
        }
        if let Some(open) = &self.open
            && open.rows() > 0
            && open.length() + bytes > self.segment_bytes_max
        {
            self.close_open()?;
        }
        if self.open.is_none() {
            self.open = Some(self.begin()?);
        }
        if let Some(open) = &mut self.open {
            open.append(&row)?;
            self.backlog.wrote(bytes);
        }
        Ok(())
    }

    /// How many tuples were dropped because the outbox was full.
    pub fn dropped(&self) -> u64 {
        self.admission.dropped()
    }

    /// True if something that was promised before the epoch in progress isn't delivered.
    pub fn has_waiting(&self) -> bool {
        self.backlog.bytes() > self.backlog.written()
    }

    fn begin(&mut self) -> Result<OpenSegment> {
        let name = format!("{}/{:07}", self.prefix, self.next);
        let open = OpenSegment::begin(self.place.file(&name)?, self.place_name.clone(), name)?;
        self.next += 1;
        self.new_folders.insert(self.place.rows.clone());
        Ok(open)
    }

    fn close_open(&mut self) -> Result<()> {
        if let Some(open) = &mut self.open {
            open.flush()?;
        }
        self.closed.extend(self.open.take().map(OpenSegment::close));
        Ok(())
    }

    /// Closes the epoch's segments; the job syncs them and promises them. See
    /// [`Sink::prepare`](super::Sink::prepare).
    ///
    /// # Errors
    /// If what was written can't be handed to the operating system.
    pub fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        self.close_open()?;
        let closed = std::mem::take(&mut self.closed);
        let folders = std::mem::take(&mut self.new_folders);
        let is_durable = barrier.durable;
        let (backlog, written) = (Arc::clone(&self.backlog), self.backlog.written());
        let mut is_counted = false;
        Ok(Box::new(move || {
            if is_durable {
                closed.iter().try_for_each(ClosedSegment::sync)?;
                // Names come last, so that none is ever durable without what it names.
                for folder in &folders {
                    sync_folder(folder).map_err(|cause| failed("sync", folder, cause))?;
                }
            }
            let promises: Vec<_> = closed.iter().map(|segment| segment.promise.clone()).collect();
            if !std::mem::replace(&mut is_counted, true) {
                backlog.prepared(&promises, written);
            }
            Ok(Prepared { promises, open_since: None })
        }))
    }

    /// What a commit reads the promised segments with.
    pub fn reader(&self, promises: &[Promise]) -> OutboxReader {
        self.backlog.owes(promises);
        OutboxReader { backlog: Arc::clone(&self.backlog) }
    }

    /// The job that deletes the files of forgotten segments; see
    /// [`Sink::forgotten`](super::Sink::forgotten). Segments of tasks that are gone are deleted at
    /// the next start.
    pub fn forgotten(&self, segments: Vec<String>) -> Job<()> {
        let (place, prefix) = (self.place.clone(), format!("{}/", self.prefix));
        Box::new(move || {
            for segment in segments.iter().filter(|segment| segment.starts_with(&prefix)) {
                let file = place.file(segment)?;
                delete_file(&file)?;
                delete_file(&file.with_extension(NOTES))?;
            }
            Ok(())
        })
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        tidy(&self.place.rows);
    }
}

/// Reads segments for a commit.
#[derive(Default)]
pub struct OutboxReader {
    backlog: Arc<Backlog>,
}

impl OutboxReader {
    /// The first of the promises that fit in memory together, at least one of them.
    pub fn gather<'a>(&self, promises: &'a [Promise]) -> &'a [Promise] {
        let mut bytes = 0_u64;
        let fits = |promise: &&Promise| {
            bytes = bytes.saturating_add(promise.length);
            bytes <= GATHERED_BYTES_MAX
        };
        let count = promises.iter().take_while(fits).count();
        &promises[..count.max(1).min(promises.len())]
    }

    /// The rows of a segment, in the order in which they were written.
    ///
    /// # Errors
    /// If the file is gone, or isn't what was promised: a sink asks the outside first whether it
    /// has the segment.
    pub fn rows(&self, promise: &Promise) -> Result<Vec<OutboxRow>> {
        let place = OutboxPlace::parse_or_fail(&promise.place)?;
        segment::read(&place.file(&promise.segment)?, promise)
    }

    /// The file for what the sink notes of a segment: it is kept and deleted with the segment. There
    /// is none unless the sink makes one.
    ///
    /// # Errors
    /// If the promise isn't one of an outbox.
    pub fn notes(&self, promise: &Promise) -> Result<PathBuf> {
        let place = OutboxPlace::parse_or_fail(&promise.place)?;
        Ok(place.file(&promise.segment)?.with_extension(NOTES))
    }

    /// A segment is outside: it doesn't count against the outbox's bound any more.
    pub fn delivered(&self, promise: &Promise) {
        self.backlog.delivered(&promise.segment);
    }
}
