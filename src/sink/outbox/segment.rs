//! One file of an outbox: a sequence of rows, each with its length in front.
//!
//! ```text
//! row     length of the rest (u32) · number of the input (u32) · values, as value::encode writes them
//! ```
//!
//! Numbers are little-endian. A file has no header and no trailer: its length and checksum are in
//! its promise.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::epoch::Promise;
use crate::error::{Error, Result};
use crate::fault;
use crate::lake::disk::failed;
use crate::tuple::Tuple;
use crate::value::{Value, decode, encode};

/// The number of bytes that are buffered before a write. At 64 KiB, the overhead of a write equals
/// the time for copying its bytes (20 µs), so a larger buffer would only cost memory.
const BUFFER_BYTES: usize = 256 << 10;

/// The size of the two numbers in front of a row's values, in bytes.
const HEAD_BYTES: usize = 8;

/// A tuple that was read from an outbox.
#[derive(Clone, Debug, PartialEq)]
pub struct OutboxRow {
    /// The position of the input that delivered the tuple; see [`Tuple::input`].
    pub input: usize,
    /// The values of the tuple.
    pub values: Vec<Value>,
}

/// A tuple that is to be written.
pub(super) fn encode_row(tuple: Tuple<'_>) -> Vec<u8> {
    let mut row = vec![0; HEAD_BYTES];
    encode(tuple.values, &mut row);
    // A tuple is far below 4 GiB, because the bytes that a task may have in flight are bounded.
    let length = u32::try_from(row.len() - 4).unwrap_or(u32::MAX);
    row[..4].copy_from_slice(&length.to_le_bytes());
    row[4..HEAD_BYTES]
        .copy_from_slice(&u32::try_from(tuple.input).unwrap_or(u32::MAX).to_le_bytes());
    row
}

/// A segment that is being written.
pub(super) struct OpenSegment {
    path: PathBuf,
    file: File,
    place: String,
    name: String,
    buffer: Vec<u8>,
    /// The number of bytes in the file, without those in the buffer.
    written: u64,
    checksum: crc32fast::Hasher,
    rows: u64,
}

impl OpenSegment {
    /// Creates the file.
    ///
    /// # Errors
    /// If the file exists or can't be created.
    pub(crate) fn begin(path: PathBuf, place: String, name: String) -> Result<Self> {
        let file = File::create_new(&path).map_err(|cause| failed("make", &path, cause))?;
        let (buffer, checksum) = (Vec::new(), crc32fast::Hasher::new());
        Ok(Self { path, file, place, name, buffer, written: 0, checksum, rows: 0 })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// If the disk has no room for the buffered rows; then the new row isn't added.
    pub(crate) fn append(&mut self, row: &[u8]) -> Result<()> {
        if self.buffer.len() + row.len() > BUFFER_BYTES {
            self.flush()?;
        }
        self.buffer.extend_from_slice(row);
        self.rows += 1;
        Ok(())
    }

    /// Writes the buffer. After an error, the same bytes are written at the same position.
    ///
    /// # Errors
    /// If the buffer can't be written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        fault::point("outbox.write")
            .and_then(|()| self.file.write_all_at(&self.buffer, self.written))
            .map_err(|cause| failed("write", &self.path, cause))?;
        self.checksum.update(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES);
        Ok(())
    }

    /// Returns the number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns the length so far, in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Ends a segment whose buffer was flushed.
    pub(crate) fn close(self) -> ClosedSegment {
        debug_assert!(self.buffer.is_empty(), "what is in the buffer can't be promised");
        let promise = Promise {
            place: self.place,
            segment: self.name,
            length: self.written,
            posts: self.rows,
            checksum: self.checksum.finalize(),
            closed: true,
        };
        ClosedSegment { promise, path: self.path, file: self.file }
    }
}

/// A complete segment.
pub(super) struct ClosedSegment {
    /// The promise for the segment, valid once the segment is synced.
    pub promise: Promise,
    path: PathBuf,
    file: File,
}

impl ClosedSegment {
    /// Syncs the segment to the disk.
    ///
    /// # Errors
    /// If the sync fails, which is fatal: the kernel may have dropped data that it couldn't write,
    /// so a later successful sync proves nothing.
    pub(crate) fn sync(&self) -> Result<()> {
        let synced = fault::point("outbox.sync").and_then(|()| self.file.sync_data());
        synced.and_then(|()| fault::point("outbox.synced")).map_err(|cause| {
            let path = self.path.display();
            Error::fatal(format!("can't sync \"{path}\", so what was written may be lost"))
                .because(cause)
        })
    }
}

/// Returns the rows of a file after checking the file against its promise.
pub(super) fn read(path: &Path, promise: &Promise) -> Result<Vec<OutboxRow>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::fatal(format!(
                "\"{}\" is gone, but {} rows of it were promised and aren't known to be delivered",
                path.display(),
                promise.posts
            )));
        }
        other => other.map_err(|cause| failed("read", path, cause))?,
    };
    let damaged = |what: &str| {
        let (path, segment) = (path.display(), &promise.segment);
        Error::fatal(format!(
            "\"{path}\" isn't what was promised for \"{segment}\": {what}; it was damaged on the \
                disk"
        ))
    };
    if bytes.len() as u64 != promise.length {
        return Err(damaged(&format!("expected {} bytes, found {}", promise.length, bytes.len())));
    }
    if crc32fast::hash(&bytes) != promise.checksum {
        return Err(damaged("its checksum differs"));
    }
    let mut rows = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (row, behind) = take_row(rest).ok_or_else(|| damaged("a row can't be read"))?;
        rows.push(row);
        rest = behind;
    }
    if rows.len() as u64 == promise.posts {
        Ok(rows)
    } else {
        Err(damaged("the number of rows differs"))
    }
}

/// Returns the first row of some bytes, and the bytes after the row.
fn take_row(bytes: &[u8]) -> Option<(OutboxRow, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (row, behind) = rest.split_at_checked(length)?;
    let (input, values) = row.split_first_chunk::<4>()?;
    let input = usize::try_from(u32::from_le_bytes(*input)).ok()?;
    Some((OutboxRow { input, values: decode(values)? }, behind))
}
