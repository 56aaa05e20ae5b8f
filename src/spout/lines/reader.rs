//! Reads files on a separate thread, since a read may block: a pipe without a writer, a network
//! disk.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::thread;

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;
use rustix::buffer::spare_capacity;
use tokio::sync::mpsc;

use super::STANDARD_INPUT;
use super::format::{Format, SNIFFED_BYTES, sniff};
use super::input::is_stream;
use super::mark::{FileId, Mark};
use super::splitter::Place;
use crate::error::{Error, Result};

/// The maximum number of bytes that are read from a file at a time. Smaller chunks make the
/// hand-over more expensive; with larger ones the data in flight doesn't fit into the processor's
/// cache.
const CHUNK_BYTES: usize = 1 << 20;

/// The maximum number of bytes that are read from a pipe at a time, which is a pipe's capacity on
/// Linux. Increasing the capacity to a whole chunk brought no gain.
const PIPE_CHUNK_BYTES: usize = 64 << 10;

/// The number of chunks that wait for the spout. One is enough to overlap reading with checking;
/// each further one only costs memory.
const CHUNKS_WAITING_MAX: usize = 2;

/// A file that is to be read.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// The position of its split.
    pub split: usize,
    /// Its path, or [`STANDARD_INPUT`].
    pub path: String,
    /// The place where reading continues; `None` at the start.
    pub mark: Option<Mark>,
}

/// An event of a file, in this order: opened, any number of chunks, ended.
#[derive(Debug)]
pub(super) enum Event {
    /// Chunks follow from here on.
    Opened(Opened),
    /// The next bytes of the file.
    Chunk(Bytes),
    /// The file is read to its end.
    Ended,
    /// The file can't be read.
    Failed(Error),
}

/// A file that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub path: String,
    /// The position at which reading begins.
    pub place: Place,
    /// The beginning of the file, as far as a [`Mark`] of this position needs it.
    pub head: Vec<u8>,
    /// Device and inode; `None` for a pipe.
    pub file: Option<FileId>,
}

/// Reads files one after the other on one thread, and reports the events of each with the position
/// of its split. The thread ends when all files are read, or after the receiver is dropped.
pub(super) fn start(jobs: Vec<Job>, has_kind: bool) -> Result<mpsc::Receiver<(usize, Event)>> {
    let (reports, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
    // Each pipe has a separate thread, so a pipe without a writer only delays itself.
    let (streams, files): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| is_stream(&job.path));
    let groups = streams.into_iter().map(|job| vec![job]).chain([files]);
    for jobs in groups.filter(|jobs| !jobs.is_empty()) {
        let reports = reports.clone();
        let work =
            move || jobs.into_iter().all(|job| Reader { job, has_kind, reports: &reports }.run());
        let thread = thread::Builder::new().name("lines".into()).spawn(work);
        thread.map_err(|error| {
            Error::fatal("can't start a thread that reads the input").because(error)
        })?;
    }
    Ok(receiver)
}

/// The reason for which a reader stops early.
enum Stop {
    Failed(Error),
    /// The receiver was dropped.
    Gone,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

struct Reader<'a> {
    job: Job,
    has_kind: bool,
    reports: &'a mpsc::Sender<(usize, Event)>,
}

impl Reader<'_> {
    /// Reads the file. Returns true if the next one should be read.
    fn run(&self) -> bool {
        match self.read() {
            Ok(()) => self.report(Event::Ended).is_ok(),
            Err(Stop::Failed(error)) => {
                // If the receiver was dropped, no one is left to inform.
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
        let mut source =
            Source::open(&self.job.path, self.has_kind).map_err(|error| self.unreadable(error))?;
        // After a restart a pipe carries another stream, so positions in it have no meaning.
        let mark = self.job.mark.filter(|_| source.is_file);
        let (place, head) = match mark {
            None => Default::default(),
            Some(mark) => match source.go_to(mark).map_err(|error| self.unreadable(error))? {
                Some(head) => (mark.place, head),
                None => return Err(self.another_file(mark.place).into()),
            },
        };
        let file = if source.is_file {
            let found = source.metadata().map_err(|error| self.unreadable(error))?;
            Some((found.dev(), found.ino()))
        } else {
            None
        };
        self.report(Event::Opened(Opened { path: self.job.path.clone(), place, head, file }))?;
        while let Some(chunk) = source.next().map_err(|error| self.unreadable(error))? {
            self.report(Event::Chunk(chunk))?;
        }
        Ok(())
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

/// Returns the error for a file that can't be read, with its name.
pub(super) fn unreadable(path: &str, error: io::Error) -> Error {
    Error::fatal(format!("\"{path}\" can't be read")).because(error)
}

/// An open file or stream. Compressed content is decompressed.
pub(super) struct Source {
    file: File,
    /// True if it is an ordinary file, and not a pipe, a terminal or standard input.
    pub is_file: bool,
    chunk_bytes: usize,
    has_kind: bool,
    /// True if no part of it was read yet.
    is_new: bool,
    unpacked: Option<Box<dyn Read + Send>>,
    /// The reason why decompression can't continue.
    failed: Option<io::Error>,
    /// The number of bytes of its content that were read or skipped.
    pub offset: u64,
}

impl Source {
    /// Opens a file, or standard input. `has_kind` is true if a line may be any object.
    pub(crate) fn open(path: &str, has_kind: bool) -> io::Result<Self> {
        let file = match path {
            STANDARD_INPUT => File::from(io::stdin().as_fd().try_clone_to_owned()?),
            path => File::open(path)?,
        };
        let ordinary = file.metadata()?.is_file();
        let chunk_bytes = if ordinary { CHUNK_BYTES } else { PIPE_CHUNK_BYTES };
        let is_file = ordinary && path != STANDARD_INPUT;
        Ok(Self {
            file,
            is_file,
            chunk_bytes,
            has_kind,
            is_new: true,
            unpacked: None,
            failed: None,
            offset: 0,
        })
    }

    /// Returns the next chunk, or `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Bytes>> {
        let chunk = if self.is_new {
            self.is_new = false;
            self.first_chunk()?
        } else {
            self.read_chunk()?
        };
        self.offset += chunk.len() as u64;
        Ok(if chunk.is_empty() { None } else { Some(chunk.into()) })
    }

    /// Reads the first chunk, which tells the format of the file.
    fn first_chunk(&mut self) -> io::Result<Vec<u8>> {
        let first = self.read_chunk()?;
        let head = &first[..first.len().min(SNIFFED_BYTES)];
        let is_whole = self.is_file && self.file.metadata()?.len() <= head.len() as u64;
        match sniff(head, is_whole, self.has_kind) {
            Format::Lines => return Ok(first),
            Format::Other(what) => return Err(io::Error::other(what)),
            packed => {
                let rest = self.file.try_clone()?;
                self.unpacked = Some(unpacked(&packed, io::Cursor::new(first).chain(rest))?);
            }
        }
        self.read_chunk()
    }

    fn read_chunk(&mut self) -> io::Result<Vec<u8>> {
        let mut chunk = Vec::with_capacity(self.chunk_bytes);
        if let Some(unpacked) = &mut self.unpacked {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            // The content before the damage is returned first.
            match unpacked.take(self.chunk_bytes as u64).read_to_end(&mut chunk) {
                Err(error) if chunk.is_empty() => return Err(error),
                Err(error) => self.failed = Some(error),
                Ok(_) => {}
            }
        } else {
            rustix::io::retry_on_intr(|| rustix::io::read(&self.file, spare_capacity(&mut chunk)))?;
        }
        // A pipe may return one line at a time, and each line keeps its whole chunk in memory.
        chunk.shrink_to_fit();
        Ok(chunk)
    }

    /// Moves to a mark, and returns the beginning of the file; `None` if the mark belongs to
    /// another file.
    pub(crate) fn go_to(&mut self, mark: Mark) -> io::Result<Option<Vec<u8>>> {
        let head = self.head(Mark::head_bytes(mark.place))?;
        if Mark::new(mark.place, &head) != mark || !self.skip_to(mark.place.offset)? {
            return Ok(None);
        }
        Ok(Some(head))
    }

    /// Returns this many bytes of the beginning of a file's content, or as many as it has.
    pub(crate) fn head(&self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut head = vec![0; bytes.max(4)];
        let length = read_at(&self.file, &mut head)?;
        head.truncate(length);
        let packed = sniff(&head, false, true);
        if matches!(packed, Format::Gzip | Format::Zstd) {
            head.clear();
            let whole = At { file: self.file.try_clone()?, offset: 0 };
            let read = unpacked(&packed, whole)?.take(bytes as u64).read_to_end(&mut head);
            match read {
                // The file is still being written.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                other => other.map(drop)?,
            }
        }
        head.truncate(bytes);
        Ok(head)
    }

    /// Moves to an offset of the content. Returns false if the content is shorter. Nothing may have
    /// been read before.
    pub(crate) fn skip_to(&mut self, offset: u64) -> io::Result<bool> {
        let mut magic = [0; 4];
        let length = read_at(&self.file, &mut magic)?;
        let packed = sniff(&magic[..length], false, true);
        if offset == 0 {
            return Ok(true);
        }
        self.is_new = false;
        self.offset = offset;
        if matches!(packed, Format::Gzip | Format::Zstd) {
            let mut content = unpacked(&packed, At { file: self.file.try_clone()?, offset: 0 })?;
            let skipped = io::copy(&mut content.by_ref().take(offset), &mut io::sink())?;
            self.unpacked = Some(content);
            return Ok(skipped == offset);
        }
        self.file.seek(SeekFrom::Start(offset))?;
        Ok(self.file.metadata()?.len() >= offset)
    }

    /// Returns true if its content is compressed.
    pub(crate) fn is_packed(&self) -> bool {
        self.unpacked.is_some()
    }

    pub(crate) fn metadata(&self) -> io::Result<fs::Metadata> {
        self.file.metadata()
    }
}

/// A file that is read at a separate offset, independently of other readers.
struct At {
    file: File,
    offset: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}

/// Fills the buffer from the beginning of a file, up to the file's end.
fn read_at(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], length as u64)? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

/// Returns the decompressed content of a file.
fn unpacked(
    packed: &Format,
    bytes: impl Read + Send + 'static,
) -> io::Result<Box<dyn Read + Send>> {
    Ok(match packed {
        Format::Gzip => Box::new(MultiGzDecoder::new(io::BufReader::new(bytes))),
        _ => Box::new(zstd::stream::read::Decoder::new(bytes)?),
    })
}

/// Returns the format of a file, if it isn't lines. Reads its beginning.
///
/// # Errors
/// If it can't be read.
pub(super) fn not_lines(path: &str, has_kind: bool) -> io::Result<Option<String>> {
    let file = File::open(path)?;
    let mut head = vec![0; SNIFFED_BYTES];
    let length = read_at(&file, &mut head)?;
    let is_whole = file.metadata()?.len() <= length as u64;
    match sniff(&head[..length], is_whole, has_kind) {
        Format::Other(what) => Ok(Some(what)),
        Format::Lines | Format::Gzip | Format::Zstd => Ok(None),
    }
}

/// Returns true if reading of a file can continue at a mark.
pub(super) fn is_at(path: &str, mark: Mark) -> bool {
    let source = Source::open(path, true);
    source.is_ok_and(|mut source| matches!(source.go_to(mark), Ok(Some(_))))
}
