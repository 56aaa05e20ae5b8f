//! Follows files: all files of a task on one thread, which checks them in turns.
//!
//! [`Follower`] is a state machine that is asked for its next event with the time as an argument.
//! From time to time it *scans*: it expands the paths, and finds by device and inode, and by the
//! beginnings of files, which ones are new, renamed, cut or missing. Between scans it only checks
//! files that grew recently. A file that is missing from its paths is searched for in its folder,
//! by its inode or as a compressed copy.

mod elsewhere;
pub(crate) mod known;
mod resume;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use self::known::{Entry, FileId};
use super::mark::{HEAD_BYTES, Mark};
use super::reader::Source;
use super::splitter::Place;
use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::globs::Glob;

/// The time between two checks of files that grew recently.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The time for which a file counts as recently grown. If it were longer, more idle files would be
/// checked ten times a second; if it were shorter, the lines of a slow writer would wait for the
/// next scan.
const LATELY: Duration = Duration::from_secs(10);

/// The shortest time between two scans, after which new files are found.
const SCAN_EVERY: Duration = Duration::from_secs(1);

/// The time between two scans while nothing happens. A longer one would delay new lines, and a
/// shorter one wakes idle topologies more often.
const SCAN_EVERY_QUIET: Duration = Duration::from_secs(2);

/// The number of scans without a growing file after which scans are less frequent.
const QUIET_SCANS: u32 = 20;

/// The inverse of the maximum share of time that scans take, whatever the number of files: with
/// some ten thousand of them there are several seconds between two scans.
const SCAN_SHARE: u32 = 150;

/// The maximum number of files that are kept open. An open file can be read to its end even after
/// it was deleted. Beyond this number, the file that was opened first is closed, and opened again
/// when it grows. The usual limit for a process is 1,024 descriptors, which sinks and connections
/// share.
const OPEN_MAX: usize = 128;

/// The time for which a file with the same beginning as another one isn't read: a rotation that
/// copies and then cuts needs at most that long between the two, once the copy doesn't grow any
/// more.
const COPY_GRACE: Duration = Duration::from_secs(5);

/// The time for which a file that was moved out of its paths is followed after it last grew.
const MOVED_GRACE: Duration = Duration::from_secs(600);

/// An event of followed files.
#[derive(Debug)]
pub(super) enum Event {
    /// Chunks of this file follow. The bytes are the beginning of the file, as far as its mark
    /// needs it.
    Opened { number: u64, split: String, entry: Entry, head: Vec<u8> },
    /// The next bytes of the file.
    Chunk { number: u64, chunk: Bytes },
    /// The file has another name, or continues in a copy of it.
    Moved { number: u64, file: FileId, path: PathBuf },
    /// No more events of this file will come.
    Closed { number: u64 },
    /// Posts of this file may be missing: the position and time of the last read, and the reason.
    Lost { entry: Entry, why: String },
    /// All files of the checkpoint were reported.
    Scanned,
    /// A file of the checkpoint can't be examined, so its state is unknown. No more events will
    /// come.
    Failed(Error),
    /// A message for the user.
    Said(String),
    /// Nothing to do for this time. Sending to the channel after it (or dropping it) wakes the
    /// reader.
    Waiting(oneshot::Sender<()>, Duration),
}

/// The paths to follow, and the files of the checkpoint.
pub(super) struct Followed {
    pub paths: Vec<String>,
    pub has_kind: bool,
    /// The splits of this task, each with its files in the checkpoint; `None` if the checkpoint
    /// doesn't have the split.
    pub splits: HashMap<String, Option<Vec<Entry>>>,
    /// The files of runs that didn't follow. Their device and inode are 0 if the state doesn't have
    /// them.
    pub not_followed: Vec<Entry>,
}

/// A file that is read.
struct File {
    id: FileId,
    path: PathBuf,
    source: Option<Source>,
    /// The length of its content that was read.
    offset: u64,
    /// Its beginning, as far as it is known, up to [`HEAD_BYTES`].
    head: Vec<u8>,
    /// Its size on the disk at the last check.
    size: u64,
    modified: (i64, i64),
    grew: Duration,
    /// True if it is in the queue of files to be read.
    is_ready: bool,
    /// The time since which no path matches it.
    moved: Option<Duration>,
    is_packed: bool,
}

impl File {
    /// Returns its entry in a checkpoint, without the number of the line.
    fn entry(&self) -> Entry {
        let place = Place { offset: self.offset, line: 0 };
        Entry {
            file: self.id,
            path: self.path.clone(),
            mark: Mark::new(place, &self.head),
            read_at: 0,
        }
    }
}

/// A file with the same beginning as one that is being read.
struct Twin {
    since: Duration,
    size: u64,
}

/// A follower of files; see the documentation of this module.
pub(super) struct Follower {
    globs: Vec<(String, Glob)>,
    has_kind: bool,
    splits: HashSet<String>,
    /// Splits that no checkpoint has.
    fresh: HashSet<String>,
    not_followed: Vec<Entry>,
    /// Entries of the checkpoint that wait for the first scan.
    resumed: Vec<(String, Entry)>,
    files: HashMap<u64, File>,
    by_id: HashMap<FileId, u64>,
    twins: HashMap<FileId, Twin>,
    /// Skipped files, which belong to other tasks or have no complete first line: their size and
    /// time of change at that moment.
    passed_over: HashMap<FileId, (u64, (i64, i64))>,
    ready: VecDeque<u64>,
    /// Opened files, in the order of opening; some of them have been closed since.
    opened: VecDeque<u64>,
    events: VecDeque<Event>,
    next_number: u64,
    next_scan: Duration,
    /// The number of scans in a row after which no file had grown recently.
    quiet_scans: u32,
    next_look: Duration,
    /// The messages that were reported, each once.
    said: HashSet<String>,
    is_first_scan: bool,
    has_failed: bool,
}

impl Follower {
    /// Creates a follower.
    ///
    /// # Errors
    /// If a path is a malformed glob.
    pub(crate) fn new(followed: Followed) -> Result<Self> {
        let mut globs = Vec::new();
        for path in &followed.paths {
            globs.push((path.clone(), super::paths::absolute_glob(path)?));
        }
        let mut follower = Self {
            globs,
            has_kind: followed.has_kind,
            splits: HashSet::new(),
            fresh: HashSet::new(),
            not_followed: followed.not_followed,
            resumed: Vec::new(),
            files: HashMap::new(),
            by_id: HashMap::new(),
            twins: HashMap::new(),
            passed_over: HashMap::new(),
            ready: VecDeque::new(),
            opened: VecDeque::new(),
            events: VecDeque::new(),
            next_number: 0,
            next_scan: Duration::ZERO,
            quiet_scans: 0,
            next_look: Duration::ZERO,
            said: HashSet::new(),
            is_first_scan: true,
            has_failed: false,
        };
        for (split, entries) in followed.splits {
            match entries {
                None => drop(follower.fresh.insert(split.clone())),
                Some(entries) => {
                    follower.resumed.extend(entries.into_iter().map(|entry| (split.clone(), entry)))
                }
            }
            follower.splits.insert(split);
        }
        Ok(follower)
    }

    /// Returns the next event; `None` if there is nothing to do until [`wait`](Self::wait) has
    /// passed. `now` returns the time.
    pub(crate) fn next(&mut self, now: impl Fn() -> Duration) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.has_failed {
                return None;
            }
            let time = now();
            if time >= self.next_scan {
                self.scan(time);
                let took = now().saturating_sub(time);
                let is_quiet = !self.has_grown_lately(time);
                self.quiet_scans = if is_quiet { self.quiet_scans.saturating_add(1) } else { 0 };
                let every =
                    if self.quiet_scans > QUIET_SCANS { SCAN_EVERY_QUIET } else { SCAN_EVERY };
                self.next_scan = time + every.max(took * SCAN_SHARE);
                self.next_look = time + LOOK_EVERY;
            } else if let Some(number) = self.ready.pop_front() {
                self.read(number, time);
            } else if time >= self.next_look {
                self.look(time);
                self.next_look = time + LOOK_EVERY;
            } else {
                return None;
            }
        }
    }

    /// Returns the time until the next check or scan.
    pub(crate) fn wait(&self, now: Duration) -> Duration {
        let next = if self.has_grown_lately(now) {
            self.next_look.min(self.next_scan)
        } else {
            self.next_scan
        };
        next.saturating_sub(now).max(Duration::from_millis(1))
    }

    fn has_grown_lately(&self, now: Duration) -> bool {
        self.files.values().any(|file| now.saturating_sub(file.grew) < LATELY)
    }

    /// Checks the files that grew recently.
    fn look(&mut self, now: Duration) {
        let lately = self.files.iter().filter(|(_, file)| now.saturating_sub(file.grew) < LATELY);
        for number in lately.map(|(number, _)| *number).collect::<Vec<_>>() {
            let Some(source) = self.files.get(&number).and_then(|file| file.source.as_ref()) else {
                continue;
            };
            if let Ok(found) = source.metadata() {
                self.compare(number, &found, now);
            }
        }
    }

    /// Reads a chunk of a file, after the files that were ready before it.
    fn read(&mut self, number: u64, now: Duration) {
        if let Some(file) = self.files.get_mut(&number) {
            file.is_ready = false;
        }
        match self.read_chunk(number, now) {
            Ok(Some(chunk)) => {
                if self.files.get(&number).is_some_and(has_more) {
                    self.make_ready(number);
                }
                self.events.push_back(Event::Chunk { number, chunk });
            }
            Ok(None) => {}
            Err(error) => {
                let Some(file) = self.files.get_mut(&number) else { return };
                file.source = None;
                let path = file.path.display().to_string();
                // A compressed file that is still being written ends early.
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    self.say_once(format!(
                        "\"{path}\" can't be read any further: {}",
                        error.to_string().replace("FILE", &path)
                    ));
                }
            }
        }
    }

    fn read_chunk(&mut self, number: u64, now: Duration) -> io::Result<Option<Bytes>> {
        let Some(file) = self.files.get_mut(&number) else { return Ok(None) };
        if file.source.is_none() {
            let mut source = open(&file.path, self.has_kind)?;
            let found = source.metadata()?;
            let is_same = scan::id(&found) == file.id && source.head(file.head.len())? == file.head;
            if !is_same || !source.skip_to(file.offset)? {
                // The next scan finds out what happened to the file.
                self.next_scan = self.next_scan.min(now + LOOK_EVERY);
                return Ok(None);
            }
            file.source = Some(source);
            self.close_longest_open(number);
        }
        let Some(file) = self.files.get_mut(&number) else { return Ok(None) };
        let Some(source) = &mut file.source else { return Ok(None) };
        let chunk = source.next()?;
        file.is_packed = source.is_packed();
        file.offset = source.offset;
        if let Some(chunk) = &chunk {
            file.grew = now;
            let before = usize::try_from(file.offset - chunk.len() as u64).unwrap_or(usize::MAX);
            // A part of the chunk may already be in the head, which was read when the file was
            // found.
            if let Some(known) =
                file.head.len().checked_sub(before).filter(|known| *known < chunk.len())
            {
                let wanted = (HEAD_BYTES - file.head.len()).min(chunk.len() - known);
                file.head.extend_from_slice(&chunk[known..known + wanted]);
            }
        } else if file.is_packed {
            // Added content of a compressed file can only be decompressed from the start.
            file.source = None;
        }
        Ok(chunk)
    }

    /// Adds a file to the queue of files to be read.
    fn make_ready(&mut self, number: u64) {
        if let Some(file) = self.files.get_mut(&number)
            && !std::mem::replace(&mut file.is_ready, true)
        {
            self.ready.push_back(number);
        }
    }

    /// Closes the files that were opened first, if too many are open. Files that are missing from
    /// their paths stay open, since they can't be opened again, and so do compressed ones, since
    /// they would have to be decompressed again.
    fn close_longest_open(&mut self, number: u64) {
        self.opened.push_back(number);
        for _ in OPEN_MAX..self.opened.len() {
            let Some(first) = self.opened.pop_front() else { return };
            let Some(file) = self.files.get_mut(&first) else { continue };
            if first == number || file.moved.is_some() || file.is_packed && file.is_ready {
                self.opened.push_back(first);
            } else {
                file.source = None;
            }
        }
    }

    fn say_once(&mut self, what: String) {
        // Limits the memory: after this many messages a message may be repeated.
        if self.said.len() > 1_000 {
            self.said.clear();
        }
        if self.said.insert(what.clone()) {
            self.events.push_back(Event::Said(what));
        }
    }
}

/// Returns true unless all current content of the file was read.
fn has_more(file: &File) -> bool {
    let found = file.source.as_ref().and_then(|source| source.metadata().ok());
    file.is_packed || found.is_none_or(|found| found.len() > file.offset)
}

fn open(path: &Path, has_kind: bool) -> io::Result<Source> {
    let path = path.to_str().ok_or_else(|| io::Error::other("its name is not UTF-8; rename it"))?;
    Source::open(path, has_kind)
}

/// The number of events that wait for the spout. One chunk is enough to overlap reading with
/// checking; each further one only costs memory.
const EVENTS_WAITING_MAX: usize = 2;

/// Follows files on a separate thread, which ends after the receiver is dropped.
pub(super) fn start(followed: Followed, clock: SharedClock) -> Result<mpsc::Receiver<Event>> {
    let (reports, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let mut follower = Follower::new(followed)?;
    let work = move || {
        loop {
            let event = follower.next(|| clock.monotonic());
            let (event, woken) = match event {
                Some(event) => (event, None),
                None => {
                    let (wake, woken) = oneshot::channel();
                    (Event::Waiting(wake, follower.wait(clock.monotonic())), Some(woken))
                }
            };
            if reports.blocking_send(event).is_err() {
                return;
            }
            if let Some(woken) = woken {
                // Dropped or sent to: if the receiver was dropped, the next report fails.
                let _ = woken.blocking_recv();
            }
        }
    };
    let thread = thread::Builder::new().name("lines".into()).spawn(work);
    thread.map_err(|error| {
        Error::fatal("can't start a thread that reads the input").because(error)
    })?;
    Ok(receiver)
}
