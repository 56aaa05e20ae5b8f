//! Standard input and pipes: their data can't be read again, so it goes through a spool.
//!
//! A thread reads, splits, and appends whole lines, several per record; the spout reads them back
//! from the spool at its own pace. The thread belongs to the process and not to the spout's task,
//! which may be restarted: the data that the thread has read must not be lost with the task.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use futures_util::future::{Either, select};
use tokio::sync::watch;

use super::STANDARD_INPUT;
use super::reader::{Source, unreadable};
use super::splitter::{Content, Line, LineSplitter, Place};
use crate::epoch::Cursor;
use crate::error::{Error, Kind, NO_ROOM_RETRY, Result};
use crate::spool::{Appended, Batch, Options, Reader, Spool, Torn};

/// The maximum number of bytes of lines that are appended at a time. A record costs a write and a
/// checksum; a larger one would delay the lines of a fast source.
const RECORD_BYTES_MAX: usize = 256 << 10;

/// The maximum length of a record's cursor, which is the number of a line and its length.
const CURSOR_BYTES_MAX: usize = 41;

/// Returns the longest line that goes through a spool: as long as the configuration allows, but not
/// longer than fits into a record with its line break.
pub(super) fn line_bytes_max(options: Options, line_bytes_max: usize) -> usize {
    line_bytes_max.min(options.post_bytes_max(CURSOR_BYTES_MAX).saturating_sub(1))
}

/// Returns true if the data of this path can't be read again.
pub(super) fn is_stream(path: &str) -> bool {
    path == STANDARD_INPUT || std::fs::metadata(path).is_ok_and(|found| !found.is_file())
}

/// A stream that is being read.
pub(super) struct Input {
    /// The position of its split.
    pub split: usize,
    spool: Spool,
    failure: Failure,
    reader: Reader,
    completed: watch::Receiver<Vec<Cursor>>,
    /// True if the end of the stream was reached, and everything before it was returned.
    ended: bool,
}

/// The options by which a stream is read.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub spool: Options,
    pub line_bytes_max: usize,
    /// True if a line may be any object.
    pub has_kind: bool,
}

/// The error because of which the thread stopped early.
type Failure = Arc<Mutex<Option<Error>>>;

/// The threads that read a stream until the process ends, by the folder of its spool.
static OPEN: Mutex<Option<HashMap<PathBuf, (Spool, Failure)>>> = Mutex::new(None);

impl Input {
    /// Opens the spool in `folder` at the cursor, and continues to read the stream into it. Also
    /// returns the damage at the spool's end, if a part was cut off or is missing.
    pub(crate) fn open(
        (split, path): (usize, &str),
        (folder, cursor): (&Path, &Cursor),
        wanted: Wanted,
        completed: watch::Receiver<Vec<Cursor>>,
    ) -> Result<(Self, Option<Torn>)> {
        let position = position(cursor)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.get_or_insert_default();
        let mut cut = None;
        if !open.contains_key(folder) {
            let (spool, torn) = Spool::open(folder, position, wanted.spool)?;
            cut = torn;
            let failure = Failure::default();
            start(
                path,
                spool.clone(),
                Arc::clone(&failure),
                wanted.line_bytes_max,
                wanted.has_kind,
            )?;
            open.insert(folder.to_path_buf(), (spool, failure));
        }
        let (spool, failure) = open[folder].clone();
        let reader = spool.reader(position);
        Ok((Self { split, spool, failure, reader, completed, ended: false }, cut))
    }

    /// Returns the number of records that were dropped because the spool was full and its options
    /// allow dropping.
    pub(crate) fn dropped(&self) -> u64 {
        self.spool.dropped()
    }

    /// Returns the next lines; `None` at the end of the stream. Deletes records that checkpoints
    /// cover. Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Option<Batch>> {
        while !self.ended {
            let news = match select(pin!(self.reader.next_batch()), pin!(self.completed.changed()))
                .await
            {
                Either::Left((batch, _)) => Some(batch?),
                Either::Right(_) => None,
            };
            match news {
                Some(Some(batch)) => return Ok(Some(batch)),
                Some(None) => self.ended = true,
                None => {
                    let cursor = self.completed.borrow_and_update()[self.split].clone();
                    self.spool.trim(position(&cursor)?)?;
                }
            }
        }
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }
}

fn position(cursor: &Cursor) -> Result<u64> {
    match cursor {
        Cursor::Start => Ok(0),
        Cursor::At(position) => position.parse().map_err(|_| {
            Error::fatal(format!(
                "the checkpoint's cursor \"{position}\" isn't a position in a spool"
            ))
        }),
        // A stream that ended has no `End` cursor: the next start may have another stream.
        Cursor::End => {
            Err(Error::fatal("the checkpoint says that standard input has ended for ever"))
        }
    }
}

/// Returns the lines of a record.
pub(super) fn lines(cursor: &[u8], content: Bytes, line_bytes_max: usize) -> Result<Vec<Line>> {
    let damaged =
        || Error::fatal(format!("the spool's cursor \"{}\" names no line", cursor.escape_ascii()));
    let text = std::str::from_utf8(cursor).map_err(|_| damaged())?;
    let (number, length) =
        text.split_once(' ').map_or((text, None), |(number, length)| (number, Some(length)));
    let number: u64 = number.parse().map_err(|_| damaged())?;
    if let Some(length) = length {
        let length = length.parse().map_err(|_| damaged())?;
        return Ok(vec![Line { number, content: Content::TooLong { held: content, length } }]);
    }
    // The byte order mark was removed before, and only the very beginning could have one.
    let mut splitter = LineSplitter::new(Place { offset: 1, line: number - 1 }, line_bytes_max);
    splitter.feed(content);
    Ok(std::iter::from_fn(|| splitter.next_line()).collect())
}

fn start(
    path: &str,
    spool: Spool,
    failure: Failure,
    line_bytes_max: usize,
    has_kind: bool,
) -> Result<()> {
    let path = path.to_owned();
    let work = move || {
        if let Err(error) = read(&path, &spool, line_bytes_max, has_kind) {
            *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
        spool.finish();
    };
    let thread = thread::Builder::new().name("lines".into()).spawn(work);
    thread
        .map_err(|error| Error::fatal("can't start a thread that reads the input").because(error))
        .map(|_| ())
}

/// Reads a stream to its end into the spool.
fn read(path: &str, spool: &Spool, line_bytes_max: usize, has_kind: bool) -> Result<()> {
    let mut source = Source::open(path, has_kind).map_err(|error| unreadable(path, error))?;
    let mut splitter = LineSplitter::new(Place::default(), line_bytes_max);
    let bytes_max = RECORD_BYTES_MAX.min(line_bytes_max.saturating_add(1));
    let mut record = Gathered { spool, bytes_max, first: 0, next: 0, content: Vec::new() };
    while let Some(chunk) = source.next().map_err(|error| unreadable(path, error))? {
        splitter.feed(chunk);
        while let Some(line) = splitter.next_line() {
            record.add(line)?;
        }
        record.append()?;
    }
    if let Some(line) = splitter.finish() {
        record.add(line)?;
    }
    record.append()
}

/// Consecutive lines that become one record.
struct Gathered<'a> {
    spool: &'a Spool,
    /// The maximum length of a record; a single line with its line break always fits.
    bytes_max: usize,
    first: u64,
    next: u64,
    content: Vec<u8>,
}

impl Gathered<'_> {
    fn add(&mut self, line: Line) -> Result<()> {
        match line.content {
            Content::Whole(bytes) => {
                if line.number != self.next || self.content.len() + bytes.len() >= self.bytes_max {
                    self.append()?;
                    self.first = line.number;
                }
                self.content.extend_from_slice(&bytes);
                self.content.push(b'\n');
                self.next = line.number + 1;
                Ok(())
            }
            Content::TooLong { held, length } => {
                self.append()?;
                append(self.spool, &format!("{} {length}", line.number), &held)
            }
        }
    }

    fn append(&mut self) -> Result<()> {
        if !self.content.is_empty() {
            append(self.spool, &self.first.to_string(), &self.content)?;
            self.content.clear();
            self.first = self.next;
        }
        Ok(())
    }
}

fn append(spool: &Spool, cursor: &str, content: &[u8]) -> Result<()> {
    loop {
        match spool.append(cursor.as_bytes(), content) {
            Err(error) if error.kind() == Kind::NoRoom => thread::sleep(NO_ROOM_RETRY),
            Err(error) if error.kind() == Kind::Rejected => {
                // Lines are cut to the maximum length before they come here.
                return Err(Error::fatal("a record is larger than the spool takes").because(error));
            }
            // The spool counts the records that it drops. A closed spool belongs to a process that
            // ends.
            other => {
                return other.map(|(Appended::At(_) | Appended::Dropped | Appended::Closed)| ());
            }
        }
    }
}
