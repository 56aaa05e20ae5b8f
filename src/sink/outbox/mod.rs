//! The outbox of a sink that writes rows: keeps tuples on this machine's disk until the destination
//! has taken them.
//!
//! A task writes the tuples of an epoch into a segment and closes the segment at the barrier, so
//! every promise is closed and a commit reads whole segments. The files are deleted when their
//! segments are forgotten, or at the next start.

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

/// The folder of a topology's state that holds undelivered tuples.
const OUTBOX: &str = "outbox";

/// The bytes of segments that a commit holds in memory at once, unless a single segment is larger.
/// A smaller value makes more and smaller loads; a larger one costs memory for each task.
pub const GATHERED_BYTES_MAX: u64 = 32 << 20;

/// The extension of the notes file beside a segment's file, if the sink keeps notes.
const NOTES: &str = "notes";

/// The bound of an outbox, and the reaction to reaching the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutboxBound {
    /// The largest number of undelivered bytes on this machine's disk, for each task.
    pub bytes_max: u64,
    /// The reaction to a full outbox. For [`OnFull::Pause`] the sink returns the bound from
    /// [`outbox_bytes_max`](super::SinkConfig::outbox_bytes_max).
    pub on_full: OnFull,
}

impl OutboxBound {
    /// Returns the bound for [`SinkConfig::outbox_bytes_max`](super::SinkConfig::outbox_bytes_max).
    pub fn bytes_before_pausing(self) -> Option<u64> {
        (self.on_full == OnFull::Pause).then_some(self.bytes_max)
    }

    /// Returns the bound beyond which tuples are dropped.
    pub fn bytes_before_dropping(self) -> Option<u64> {
        (self.on_full == OnFull::Drop).then_some(self.bytes_max)
    }
}

/// The outbox of one task.
pub struct Outbox {
    place: OutboxPlace,
    place_name: String,
    /// The prefix of the names of this task's segments.
    prefix: String,
    next: u64,
    segment_bytes_max: u64,
    open: Option<OpenSegment>,
    closed: Vec<ClosedSegment>,
    /// Folders with new entries that aren't synced yet.
    new_folders: BTreeSet<PathBuf>,
    backlog: Arc<Backlog>,
    admission: Admission,
}

/// The place of a task's segments, as a promise names it.
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

    /// Returns the path of a segment's file.
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

/// Returns the place of a task with this context; see
/// [`SinkConfig::place`](super::SinkConfig::place).
///
/// # Errors
/// If the state folder has no absolute path, or its path isn't UTF-8.
pub fn place(context: &SinkContext) -> Result<String> {
    OutboxPlace::of(context)?.to_text()
}

/// Deletes the unpromised files of a task of this place, and returns the promises; see
/// [`SinkConfig::recover`](super::SinkConfig::recover). A promised segment whose file is missing
/// was delivered by an earlier commit, which the sink's commit verifies.
///
/// # Errors
/// If the place isn't that of an outbox, or files can't be deleted.
pub fn recover(place: &str, promises: &[Promise]) -> Result<Vec<Promise>> {
    let place = OutboxPlace::parse_or_fail(place)?;
    let mut promised = BTreeSet::new();
    for promise in promises {
        promised.insert(place.file(&promise.segment)?);
    }
    delete_all_but(&promised, &place.rows)?;
    Ok(promises.to_vec())
}

/// Deletes the files of a place, if the place is that of an outbox. Returns true if it was.
///
/// # Errors
/// If files can't be deleted.
pub(crate) fn discard(place: &str) -> Result<bool> {
    let Some(place) = OutboxPlace::parse(place) else { return Ok(false) };
    delete_all_but(&BTreeSet::new(), &place.rows)?;
    Ok(true)
}

/// Returns the prefix of the segment names of a place's task, if the place is that of an outbox.
pub fn segment_prefix(place: &str) -> Option<String> {
    let place = OutboxPlace::parse(place)?;
    let task = place.rows.file_name()?.to_str()?;
    let run = place.rows.parent()?.file_name()?.to_str()?;
    Some(format!("{run}/{task}/"))
}

/// Deletes the segments of all tasks in the outbox of a topology that has ended: everything is
/// delivered, but the process was killed before it deleted the files.
///
/// # Errors
/// If files can't be deleted.
pub(crate) fn discard_delivered(state: &Path) -> Result<()> {
    for run in entries_of(&state.join(OUTBOX))? {
        for task in entries_of(&run)? {
            // Other sinks keep only folders here, no files.
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

/// Returns the paths of a folder's entries; empty if the folder doesn't exist.
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
        // A notes file is kept as long as its segment, whose own file has no extension.
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

/// Removes a task's folder and the folder of its run, if they are empty.
fn tidy(folder: &Path) {
    folder.ancestors().take(2).for_each(remove_if_empty);
}

impl Outbox {
    /// Creates the outbox of one task, with its folder.
    ///
    /// # Errors
    /// If the folder can't be created.
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

    /// Adds a tuple to the epoch in progress, unless the outbox is full and drops tuples.
    ///
    /// # Errors
    /// If the tuple can't be written; no part of the tuple is kept then.
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

    /// Returns how many tuples were dropped because the outbox was full.
    pub fn dropped(&self) -> u64 {
        self.admission.dropped()
    }

    /// Returns true if anything that was promised before the epoch in progress is undelivered.
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

    /// Closes the epoch's segments; the returned job syncs and promises them. See
    /// [`Sink::prepare`](super::Sink::prepare).
    ///
    /// # Errors
    /// If written data can't be handed to the operating system.
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
                // Folders are synced last, so that a name never becomes durable before its content.
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

    /// Returns a reader of promised segments, for a commit.
    pub fn reader(&self, promises: &[Promise]) -> OutboxReader {
        self.backlog.owes(promises);
        OutboxReader { backlog: Arc::clone(&self.backlog) }
    }

    /// Returns the job that deletes the files of forgotten segments; see
    /// [`Sink::forgotten`](super::Sink::forgotten). Segments of tasks that no longer exist are
    /// deleted at the next start.
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
    /// Returns the first promises that fit in memory together, at least one.
    pub fn gather<'a>(&self, promises: &'a [Promise]) -> &'a [Promise] {
        let mut bytes = 0_u64;
        let fits = |promise: &&Promise| {
            bytes = bytes.saturating_add(promise.length);
            bytes <= GATHERED_BYTES_MAX
        };
        let count = promises.iter().take_while(fits).count();
        &promises[..count.max(1).min(promises.len())]
    }

    /// Returns the rows of a segment, in the order in which they were written.
    ///
    /// # Errors
    /// If the file is missing or differs from its promise. A sink therefore first asks the
    /// destination if it has the segment already.
    pub fn rows(&self, promise: &Promise) -> Result<Vec<OutboxRow>> {
        let place = OutboxPlace::parse_or_fail(&promise.place)?;
        segment::read(&place.file(&promise.segment)?, promise)
    }

    /// Returns the path for the sink's notes on a segment. The notes file is kept and deleted with
    /// the segment; only the sink creates it.
    ///
    /// # Errors
    /// If the promise isn't that of an outbox.
    pub fn notes(&self, promise: &Promise) -> Result<PathBuf> {
        let place = OutboxPlace::parse_or_fail(&promise.place)?;
        Ok(place.file(&promise.segment)?.with_extension(NOTES))
    }

    /// Marks a segment as delivered: its bytes no longer count against the outbox's bound.
    pub fn delivered(&self, promise: &Promise) {
        self.backlog.delivered(&promise.segment);
    }
}
