//! A segment: a file with a header, and records behind it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use rustix::buffer::spare_capacity;

use super::Record;
use super::disk::Disk;
use super::record::{self, Item, MARK_BYTES};
use crate::error::{Error, Result};
use crate::lake::disk::failed;

/// The bytes of a segment's header:
///
/// ```text
/// 8 bytes of magic with the format's version | u64 base | u64 end of the segment before | u64 salt | u32 CRC
/// ```
pub(super) const HEADER_BYTES: u64 = 36;

/// The magic; its last byte is the version of the format.
const MAGIC: [u8; 8] = *b"wspool\0\x01";

/// The most bytes of one read, unless a single record is longer.
pub(super) const READ_BYTES: u64 = 1 << 20;

/// The most records of one read, so that tiny posts don't pile up.
pub(super) const READ_RECORDS_MAX: usize = 1_000;

/// An open segment.
pub(super) struct Segment {
    pub path: PathBuf,
    /// The segment's file, shared with a sync that is running.
    pub file: Arc<File>,
    /// The position of the segment's first record.
    pub base: u64,
    /// The end of the segment before. It is less than `base` if posts were lost that a checkpoint
    /// covers.
    pub previous_end: u64,
    /// The salt, drawn at random for each segment; see [`record`].
    pub salt: u64,
}

/// The result of one read.
#[derive(Default)]
pub(super) struct Read {
    pub records: Vec<Record>,
    /// The position behind the last parsed item.
    pub next: u64,
    /// The reason why the bytes from `next` on can't be parsed.
    pub bad: Option<&'static str>,
}

/// Returns the path of the segment that begins at this position.
pub(super) fn path(folder: &Path, base: u64) -> PathBuf {
    folder.join(format!("{base:020}.seg"))
}

/// Returns the positions at which the segments in a folder begin, in order. Other files don't
/// count.
pub(super) fn list(folder: &Path) -> Result<Vec<u64>> {
    let unlisted = |cause| failed("list", folder, cause);
    let mut bases = Vec::new();
    for entry in fs::read_dir(folder).map_err(unlisted)? {
        let name = entry.map_err(unlisted)?.file_name();
        let digits = name
            .to_str()
            .and_then(|name| name.strip_suffix(".seg"))
            .filter(|digits| digits.len() == 20);
        bases.extend(digits.and_then(|digits| digits.parse::<u64>().ok()));
    }
    bases.sort_unstable();
    Ok(bases)
}

impl Segment {
    /// Makes a segment, and syncs it and its name: once the segment has a record, its header is on
    /// the disk.
    pub(crate) fn create(
        disk: &dyn Disk,
        folder: &Path,
        base: u64,
        previous_end: u64,
    ) -> Result<Self> {
        let (path, salt) = (path(folder, base), rand::random());
        // An existing file was begun by an attempt that failed, and has no record.
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|cause| failed("make", &path, cause))?;
        disk.write(&file, &header(base, previous_end, salt), 0)
            .map_err(|cause| failed("write", &path, cause))?;
        disk.sync(&file).map_err(|cause| unsynced(&path, cause))?;
        disk.sync_folder(folder).map_err(|cause| unsynced(folder, cause))?;
        Ok(Self { path, file: Arc::new(file), base, previous_end, salt })
    }

    /// Opens a segment, for reading or also for writing.
    ///
    /// # Errors
    /// Fatal if the segment's header is damaged.
    pub(crate) fn open(folder: &Path, base: u64, write: bool) -> Result<Self> {
        let path = path(folder, base);
        let unread = |cause| failed("read", &path, cause);
        let file = OpenOptions::new().read(true).write(write).open(&path).map_err(unread)?;
        let mut bytes = [0; HEADER_BYTES as usize];
        let whole = match file.read_exact_at(&mut bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            other => Some(other.map_err(unread)?),
        };
        match whole.and_then(|()| parse_header(&bytes, base)) {
            Some((previous_end, salt)) => {
                Ok(Self { path, file: Arc::new(file), base, previous_end, salt })
            }
            None => Err(Error::fatal(format!(
                "\"{}\" is damaged at byte 0: bad header",
                path.display()
            ))),
        }
    }

    /// Returns true if the power was lost while the segment was made, before any record: its header
    /// isn't valid, and no bytes lie behind the header.
    pub(crate) fn is_stillborn(folder: &Path, base: u64) -> Result<bool> {
        let path = path(folder, base);
        let length = fs::metadata(&path).map_err(|cause| failed("read", &path, cause))?.len();
        Ok(length <= HEADER_BYTES && Self::open(folder, base, false).is_err())
    }

    /// Returns the position behind the file's last byte, even if that byte isn't valid.
    pub(crate) fn file_end(&self) -> Result<u64> {
        let length = self.file.metadata().map_err(|cause| failed("read", &self.path, cause))?.len();
        Ok(self.base + length.saturating_sub(HEADER_BYTES))
    }

    /// Returns the offset in the file of a position.
    pub(crate) fn offset(&self, position: u64) -> u64 {
        HEADER_BYTES + (position - self.base)
    }

    /// Returns the error that names a damaged place.
    pub(crate) fn damaged(&self, position: u64, what: &str) -> Error {
        let (path, offset) = (self.path.display(), self.offset(position));
        Error::fatal(format!(
            "\"{path}\" is damaged at byte {offset} (position {position}): {what}"
        ))
    }

    /// Reads the records between two positions, about [`READ_BYTES`] at once.
    pub(crate) fn read(&self, from: u64, until: u64) -> Result<Read> {
        let mut want = READ_BYTES;
        loop {
            let bytes = self.bytes(from, until.min(from + want))?;
            let got = bytes.len() as u64;
            let (read, needed) = self.parse(bytes, from);
            let cut = if got == 0 { from < until } else { needed.is_some() && read.next == from };
            match needed {
                _ if !cut => return Ok(read),
                Some(needed) if got == want => want = needed,
                _ => return Ok(Read { bad: Some("the file ends within a record"), ..read }),
            }
        }
    }

    /// Returns the records of a buffer, and the bytes that its last record needs if that is
    /// incomplete.
    fn parse(&self, buffer: Bytes, from: u64) -> (Read, Option<u64>) {
        let mut read = Read { next: from, ..Read::default() };
        let mut at = 0;
        while at < buffer.len() && read.records.len() < READ_RECORDS_MAX {
            match record::parse(&buffer[at..], self.salt, read.next) {
                Item::Post { cursor, post } => {
                    let end = at + post.end;
                    let (cursor, post) = (at + cursor.start..at + cursor.end, at + post.start..end);
                    (at, read.next) = (end, from + end as u64);
                    let (cursor, post) = (buffer.slice(cursor), buffer.slice(post));
                    read.records.push(Record { cursor, post, position: read.next });
                }
                Item::Mark(_) => {
                    at += MARK_BYTES;
                    read.next = from + at as u64;
                }
                Item::Short(needed) => return (read, Some(needed as u64)),
                Item::Bad(why) => {
                    read.bad = Some(why);
                    break;
                }
            }
        }
        (read, None)
    }

    /// Returns the bytes between two positions; fewer if the file is shorter.
    pub(crate) fn bytes(&self, from: u64, until: u64) -> Result<Bytes> {
        let wanted = (until - from) as usize;
        let mut buffer = Vec::with_capacity(wanted);
        while buffer.len() < wanted {
            let offset = self.offset(from + buffer.len() as u64);
            let read = rustix::io::retry_on_intr(|| {
                rustix::io::pread(&self.file, spare_capacity(&mut buffer), offset)
            });
            if read.map_err(|errno| failed("read", &self.path, errno.into()))? == 0 {
                break;
            }
        }
        buffer.truncate(wanted);
        Ok(buffer.into())
    }
}

/// Makes the error of a failed sync: the kernel may have dropped data that it couldn't write, so a
/// second attempt proves nothing.
pub(super) fn unsynced(path: &Path, cause: io::Error) -> Error {
    let path = path.display();
    Error::fatal(format!("can't sync \"{path}\", so what was written to it may be lost"))
        .because(cause)
}

fn header(base: u64, previous_end: u64, salt: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    [base, previous_end, salt].iter().for_each(|number| bytes.extend(number.to_le_bytes()));
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// Returns the end of the segment before, and the salt, if the header is valid.
fn parse_header(bytes: &[u8], base: u64) -> Option<(u64, u64)> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    let number = |at: usize| body[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let whole = crc32fast::hash(body) == u32::from_le_bytes(*crc) && body.starts_with(&MAGIC);
    if whole && number(8)? == base { Some((number(16)?, number(24)?)) } else { None }
}
