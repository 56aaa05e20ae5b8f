//! Reading files on a thread, since a read may block: a pipe without a writer, a network disk.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::thread;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use tokio::sync::{mpsc, oneshot};

use super::STANDARD_INPUT;
use super::mark::Mark;
use super::splitter::Place;
use crate::error::{Error, Result};

/// How much is read from a file in one go, in bytes. With smaller chunks handing over costs more;
/// with larger ones what is in flight no longer fits into the processor's cache.
const CHUNK_BYTES: usize = 1 << 20;

/// A pipe gives no more than this in one go (its own capacity on Linux). Widening it to a whole chunk
/// gained nothing.
const PIPE_CHUNK_BYTES: usize = 64 << 10;

/// How many chunks wait for the spout. One is enough to overlap reading with checking; each further
/// one costs its memory.
const CHUNKS_WAITING_MAX: usize = 2;

/// A file that is to be read.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The position of its split.
    pub split: usize,
    /// Its path, or [`STANDARD_INPUT`].
    pub path: String,
    /// Where to go on, if not at the start.
    pub mark: Option<Mark>,
}

/// What happens to a file, in this order: opened, any number of chunks and waits, ended. A file that
/// is followed may be opened again, when there is another one under its name.
#[derive(Debug)]
pub(super) enum Event {
    /// Chunks follow from here on. The bytes are what the file begins with, as far as a [`Mark`] of
    /// this place wants them.
    Opened(Place, Vec<u8>),
    /// What comes next in the file.
    Chunk(Bytes),
    /// There is nothing more for now; sending (or dropping) this makes the reader look again.
    Waiting(oneshot::Sender<()>),
    /// The file is read to its end.
    Ended,
    /// It can't be read.
    Failed(Error),
}

/// Reads files and reports, with the position of the split, what happens: one file after the other
/// on one thread, or, if they are followed, each on a thread of its own. The threads end when they
/// are done, or after the receiver is dropped.
pub(super) fn start(jobs: Vec<Job>, follow: bool) -> Result<mpsc::Receiver<(usize, Event)>> {
    let (reports, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
    let groups: Vec<_> = if follow { jobs.into_iter().map(|job| vec![job]).collect() } else { vec![jobs] };
    for jobs in groups {
        let reports = reports.clone();
        let work = move || jobs.into_iter().all(|job| Reader { job, follow, reports: &reports }.run());
        let thread = thread::Builder::new().name("lines".into()).spawn(work);
        thread.map_err(|error| Error::fatal("no thread could be started to read on").because(error))?;
    }
    Ok(receiver)
}

/// Why a reader stops early.
enum Stop {
    Failed(Error),
    /// Nobody listens any more.
    Gone,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

struct Reader<'a> {
    job: Job,
    follow: bool,
    reports: &'a mpsc::Sender<(usize, Event)>,
}

impl Reader<'_> {
    /// Reads the file; whether the next one should be read.
    fn run(&self) -> bool {
        match self.read() {
            Ok(()) => self.report(Event::Ended).is_ok(),
            Err(Stop::Failed(error)) => {
                // If nobody listens any more, nobody is left to tell.
                let _ = self.report(Event::Failed(error));
                false
            }
            Err(Stop::Gone) => false,
        }
    }

    fn report(&self, event: Event) -> Result<(), Stop> {
        self.reports.blocking_send((self.job.split, event)).map_err(|_| Stop::Gone)
    }

    fn read(&self) -> Result<(), Stop> {
        let mut source = self.open(self.job.mark)?;
        loop {
            while let Some(chunk) = source.next().map_err(|error| self.unreadable(error))? {
                self.report(Event::Chunk(chunk))?;
            }
            if !self.follow || !source.seekable {
                return Ok(());
            }
            source = self.wait(source)?;
        }
    }

    /// At the end of a file that is followed: finds out what became of it.
    fn wait(&self, mut source: Source) -> Result<Source, Stop> {
        // While there is no file under this name, the next one may be on its way.
        let replaced = fs::metadata(&self.job.path).is_ok_and(|found| !source.is(&found));
        // Between the read that found the end and the rename something may have been written.
        if replaced && let Some(chunk) = source.next().map_err(|error| self.unreadable(error))? {
            self.report(Event::Chunk(chunk))?;
        } else if replaced || source.shrank().map_err(|error| self.unreadable(error))? {
            source = self.open(None)?;
        } else {
            let (wake, woken) = oneshot::channel();
            self.report(Event::Waiting(wake))?;
            // Dropped or sent: if nobody listens any more, the next report will tell.
            let _ = woken.blocking_recv();
        }
        Ok(source)
    }

    /// Opens the file, goes to where reading goes on, and reports that.
    fn open(&self, mark: Option<Mark>) -> Result<Source, Stop> {
        let mut source = Source::open(&self.job.path).map_err(|error| self.unreadable(error))?;
        // What comes through a pipe after a restart is another stream, so no place in it is known.
        let mark = mark.filter(|_| source.seekable);
        let (place, head) = match mark {
            None => Default::default(),
            Some(mark) => match source.go_to(mark).map_err(|error| self.unreadable(error))? {
                Some(head) => (mark.place, head),
                None if self.follow => return self.open(None),
                None => return Err(self.another_file(mark.place).into()),
            },
        };
        self.report(Event::Opened(place, head))?;
        Ok(source)
    }

    fn unreadable(&self, error: io::Error) -> Error {
        unreadable(&self.job.path, error)
    }

    fn another_file(&self, place: Place) -> Error {
        Error::fatal(format!(
            "\"{}\" is not the file that was read up to line {} (byte {}) before the restart",
            self.job.path, place.line, place.offset
        ))
    }
}

/// A file that can't be read, by its name.
pub(super) fn unreadable(path: &str, error: io::Error) -> Error {
    Error::fatal(format!("\"{path}\" can't be read")).because(error)
}

/// An open file.
pub(super) struct Source {
    file: File,
    /// Whether it is an ordinary file, and not a pipe, a terminal or standard input.
    seekable: bool,
    chunk_bytes: usize,
    /// How many bytes of it were read or skipped.
    offset: u64,
}

impl Source {
    pub fn open(path: &str) -> io::Result<Self> {
        let file = match path {
            STANDARD_INPUT => File::from(io::stdin().as_fd().try_clone_to_owned()?),
            path => File::open(path)?,
        };
        let ordinary = file.metadata()?.is_file();
        let chunk_bytes = if ordinary { CHUNK_BYTES } else { PIPE_CHUNK_BYTES };
        Ok(Self { file, seekable: ordinary && path != STANDARD_INPUT, chunk_bytes, offset: 0 })
    }

    /// The next chunk, or `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut chunk = Vec::with_capacity(self.chunk_bytes);
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&self.file, spare_capacity(&mut chunk)))?;
        self.offset += length as u64;
        // A pipe may give a line at a time, and each line keeps its whole chunk in memory.
        chunk.shrink_to_fit();
        Ok(if length == 0 { None } else { Some(chunk.into()) })
    }

    /// Goes to a mark, and gives what the file begins with; `None` if the mark is of another file.
    fn go_to(&mut self, mark: Mark) -> io::Result<Option<Vec<u8>>> {
        let mut head = Vec::new();
        (&self.file).take(Mark::head_bytes(mark.place) as u64).read_to_end(&mut head)?;
        if Mark::new(mark.place, &head) != mark || self.file.metadata()?.len() < mark.place.offset {
            return Ok(None);
        }
        self.offset = self.file.seek(SeekFrom::Start(mark.place.offset))?;
        Ok(Some(head))
    }

    /// Whether the file became shorter than what was read of it.
    fn shrank(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() < self.offset)
    }

    fn is(&self, found: &fs::Metadata) -> bool {
        self.file.metadata().is_ok_and(|open| (open.dev(), open.ino()) == (found.dev(), found.ino()))
    }
}
