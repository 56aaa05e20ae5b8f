//! Files that are followed: all of a task on one thread, which looks at them in turns.
//!
//! [`Follower`] is a state machine that is asked for its next event with the time as an argument.
//! It *scans* now and then: lists what the paths stand for, and tells by device and inode, and by
//! what files begin with, which are new, renamed, cut or gone. Between scans it looks only at files
//! that grew lately. A file that is gone from its paths is looked for beside, under its inode or as
//! a compressed copy.

mod elsewhere;
pub mod known;
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

/// The time between two looks at files that grew lately.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The time for which a file counts as one that grew lately. For longer, more idle files are looked
/// at ten times a second; for less, a slow writer's lines wait for the next scan.
const LATELY: Duration = Duration::from_secs(10);

/// The shortest time between two lists of all files: new ones are found that soon.
const SCAN_EVERY: Duration = Duration::from_secs(1);

/// A scan takes a 150th of the time at most, whatever the number of files: with some ten thousand
/// of them there are several seconds between two.
const SCAN_SHARE: u32 = 150;

/// The most files that are kept open. A file that is open can be read to its end after it was
/// deleted; one beyond the bound, that was idle for longest, is opened again when it grows. The
/// usual limit for a process is 1,024 descriptors, which sinks and connections share.
const OPEN_MAX: usize = 128;

/// The time for which a file that begins like another one is left alone: a rotation that copies and
/// then cuts needs that long at most between both, once the copy doesn't grow any more.
const COPY_GRACE: Duration = Duration::from_secs(5);

/// The time for which a file is followed that was moved out of its paths, after it last grew.
const MOVED_GRACE: Duration = Duration::from_secs(600);

/// An event of followed files.
#[derive(Debug)]
pub(super) enum Event {
    /// Chunks of this file follow. The bytes are what it begins with, as far as its mark wants
    /// them.
    Opened { number: u64, split: String, entry: Entry, head: Vec<u8> },
    /// The next bytes of the file.
    Chunk { number: u64, chunk: Bytes },
    /// The file has another name, or goes on in a copy of it.
    Moved { number: u64, file: FileId, path: PathBuf },
    /// Nothing more will come of it.
    Closed { number: u64 },
    /// Posts may be missing of this file: how far it was read and when, and why.
    Lost { entry: Entry, why: String },
    /// All files of the checkpoint were told of.
    Scanned,
    /// A file of the checkpoint can't be looked at, so that nothing can be said of it: nothing more
    /// comes.
    Failed(Error),
    /// Something that a person should know.
    Said(String),
    /// There is nothing more for now; sending (or dropping) this after so long makes the reader
    /// look again.
    Waiting(oneshot::Sender<()>, Duration),
}

/// The paths to follow, and the files of the checkpoint.
pub(super) struct Followed {
    pub paths: Vec<String>,
    pub has_kind: bool,
    /// The splits of this task, each with what the checkpoint knows of its files; `None` if it
    /// knows none.
    pub splits: HashMap<String, Option<Vec<Entry>>>,
    /// The files of runs that didn't follow. Their device and inode are 0 where the state doesn't
    /// say them.
    pub not_followed: Vec<Entry>,
}

/// A file that is read.
struct File {
    id: FileId,
    path: PathBuf,
    source: Option<Source>,
    /// The length of its content that was read.
    offset: u64,
    /// Its beginning, as far as that is known, up to [`HEAD_BYTES`].
    head: Vec<u8>,
    /// Its size on the disk when it was last looked at.
    size: u64,
    modified: (i64, i64),
    grew: Duration,
    /// It is among those to be read.
    is_ready: bool,
    /// It is none of the paths any more, since then.
    moved: Option<Duration>,
    is_packed: bool,
}

impl File {
    /// Returns its entry of a checkpoint, without the number of the line.
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

/// A file that begins like one that is read.
struct Twin {
    since: Duration,
    size: u64,
}

/// Follows files; see the module.
pub(super) struct Follower {
    globs: Vec<(String, Glob)>,
    has_kind: bool,
    splits: HashSet<String>,
    /// Splits of which no checkpoint knows anything.
    fresh: HashSet<String>,
    not_followed: Vec<Entry>,
    /// Entries that wait for the first scan.
    resumed: Vec<(String, Entry)>,
    files: HashMap<u64, File>,
    by_id: HashMap<FileId, u64>,
    twins: HashMap<FileId, Twin>,
    /// Files that aren't ours, or have no whole first line: their size when that was seen.
    passed_over: HashMap<FileId, (u64, (i64, i64))>,
    ready: VecDeque<u64>,
    /// Files that were opened, in that order; some of them are closed since.
    opened: VecDeque<u64>,
    events: VecDeque<Event>,
    next_number: u64,
    next_scan: Duration,
    next_look: Duration,
    /// Said once for each.
    said: HashSet<String>,
    is_first_scan: bool,
    has_failed: bool,
}

impl Follower {
    /// # Errors
    /// If a path is no glob.
    pub fn new(followed: Followed) -> Result<Self> {
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

    /// The next event; `None` if there is nothing before [`wait`](Self::wait) has gone by. `now` is
    /// asked for the time.
    pub fn next(&mut self, now: impl Fn() -> Duration) -> Option<Event> {
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
                self.next_scan = time + SCAN_EVERY.max(took * SCAN_SHARE);
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

    /// Returns the time until something is to be done.
    pub fn wait(&self, now: Duration) -> Duration {
        let lately = self.files.values().any(|file| now.saturating_sub(file.grew) < LATELY);
        let next = if lately { self.next_look.min(self.next_scan) } else { self.next_scan };
        next.saturating_sub(now).max(Duration::from_millis(1))
    }

    /// Looks at files that grew lately.
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
                // A compressed file that is still being written ends in the middle.
                if error.kind() != io::ErrorKind::UnexpectedEof {
                    self.say_once(format!(
                        "\"{path}\" can't be read on: {}",
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
                // The next scan tells what became of it.
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
            // Some of it may have been read when the file was found.
            if let Some(known) =
                file.head.len().checked_sub(before).filter(|known| *known < chunk.len())
            {
                let wanted = (HEAD_BYTES - file.head.len()).min(chunk.len() - known);
                file.head.extend_from_slice(&chunk[known..known + wanted]);
            }
        } else if file.is_packed {
            // What is added to it later can only be unpacked from the start.
            file.source = None;
        }
        Ok(chunk)
    }

    /// Has a file read in its turn.
    fn make_ready(&mut self, number: u64) {
        if let Some(file) = self.files.get_mut(&number)
            && !std::mem::replace(&mut file.is_ready, true)
        {
            self.ready.push_back(number);
        }
    }

    /// Closes the files that were opened first, if too many are open. Those that are gone from
    /// their paths can't be opened again, and compressed ones would have to be unpacked again.
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
        // A bound on what is remembered: beyond it a message may come twice.
        if self.said.len() > 1_000 {
            self.said.clear();
        }
        if self.said.insert(what.clone()) {
            self.events.push_back(Event::Said(what));
        }
    }
}

/// Returns true unless all that the file has now was read.
fn has_more(file: &File) -> bool {
    let found = file.source.as_ref().and_then(|source| source.metadata().ok());
    file.is_packed || found.is_none_or(|found| found.len() > file.offset)
}

fn open(path: &Path, has_kind: bool) -> io::Result<Source> {
    let path = path.to_str().ok_or_else(|| io::Error::other("its name is not UTF-8; rename it"))?;
    Source::open(path, has_kind)
}

/// The number of events that wait for the spout. One chunk is enough to overlap reading with
/// checking; each further one costs its memory.
const EVENTS_WAITING_MAX: usize = 2;

/// Follows files on a thread of its own, which ends after the receiver is dropped.
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
                // Dropped or sent: if nobody listens any more, the next report will tell.
                let _ = woken.blocking_recv();
            }
        }
    };
    let thread = thread::Builder::new().name("lines".into()).spawn(work);
    thread.map_err(|error| Error::fatal("no thread could be started to read on").because(error))?;
    Ok(receiver)
}
