//! Opening a spool: it finds the end that can be trusted, and the position at which writing
//! continues.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memmem;
use serde::Serialize;

use super::Options;
use super::disk::Disk;
use super::log::{Extent, Log};
use super::record::{self, Item, MARK_BYTES, MARK_MAGIC};
use super::segment::{self, READ_BYTES, Segment};
use crate::error::{Error, Result};
use crate::fault::point;
use crate::lake::disk::failed;

/// The end of a log that a crash or a power loss left incomplete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Torn {
    /// The segment's file.
    pub file: PathBuf,
    /// The beginning of the torn end in the file, in bytes.
    pub offset: u64,
    /// The length of the torn end, in bytes.
    pub bytes: u64,
    /// The bytes before the newest checkpoint's position that are missing too: the log was cut
    /// before its synced end, or isn't of the same time as the checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
}

/// The part of a log that a checkpoint covers and that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// True if the whole log is missing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_all: bool,
    /// The number of missing bytes. If the whole log is missing: all bytes before the checkpoint,
    /// most of which were deleted after earlier checkpoints.
    pub bytes: u64,
    /// The estimated number of missing records, by the size of those before; `None` if there are
    /// none before.
    pub records: Option<u64>,
}

impl fmt::Display for Torn {
    /// Writes a sentence for a person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes, missing } = self;
        let file = file.display();
        let Some(missing) = missing else {
            return write!(
                f,
                "{bytes} bytes of an incomplete record were cut off \"{file}\" at byte {offset}"
            );
        };
        if missing.is_all {
            return write!(
                f,
                "the spool \"{file}\" is gone, or empty, and the newest checkpoint covers its first {} bytes. The lake has \
                 the posts that the checkpoint covers; posts that were received later and not processed yet are lost",
                missing.bytes
            );
        }
        write!(f, "the spool \"{file}\" ends at byte {offset}, {} bytes ", missing.bytes)?;
        if let Some(records) = missing.records {
            write!(f, "(about {records} records) ")?;
        }
        write!(
            f,
            "before the newest checkpoint: it was cut, or is an older copy. The lake has the posts that the checkpoint \
             covers; posts that were received later and not processed yet are lost"
        )?;
        if *bytes > 0 {
            write!(f, ", and {bytes} bytes of an incomplete record were cut off")
        } else {
            Ok(())
        }
    }
}

/// A log that is ready to be written, and the end that was cut off.
pub(super) struct Opened {
    pub log: Log,
    pub torn: Option<Torn>,
}

/// The result of a scan of a segment from a position on.
pub(super) struct Scan {
    /// The number of records.
    pub records: u64,
    /// The position behind the last record.
    pub end: u64,
    /// The reason why the bytes behind the last record can't be parsed, if there are any.
    pub bad: Option<&'static str>,
}

/// Reads a segment from a position on, up to the end of its whole records.
pub(super) fn scan(segment: &Segment, from: u64) -> Result<Scan> {
    let until = segment.file_end()?;
    let mut scan = Scan { records: 0, end: from, bad: None };
    while scan.end < until && scan.bad.is_none() {
        let read = segment.read(scan.end, until)?;
        scan.records += read.records.len() as u64;
        (scan.end, scan.bad) = (read.next, read.bad);
    }
    Ok(scan)
}

/// Returns true if a mark behind `position` records a sync beyond `position`.
pub(super) fn was_synced(segment: &Segment, position: u64) -> Result<bool> {
    let until = segment.file_end()?;
    let mut at = position;
    while at < until {
        let bytes = segment.bytes(at, until.min(at + READ_BYTES))?;
        let tells =
            |found: usize| match record::parse(&bytes[found..], segment.salt, at + found as u64) {
                Item::Mark(synced) => synced > position,
                _ => false,
            };
        if memmem::find_iter(&bytes, &MARK_MAGIC).any(tells) {
            return Ok(true);
        }
        // A mark may lie across the border of two reads.
        at += READ_BYTES - MARK_BYTES as u64;
    }
    Ok(false)
}

/// Opens the log in a folder, to continue at `position`.
///
/// # Errors
/// Fatal if the log is damaged, or if it lacks the bytes behind `position`.
pub(super) fn open(
    disk: Arc<dyn Disk>,
    folder: &Path,
    position: u64,
    options: Options,
) -> Result<Opened> {
    let mut bases = segment::list(folder)?;
    let newest = bases.last().copied();
    let mut torn = bury(folder, &mut bases)?;
    let Some(first) = bases.first() else {
        // A segment is made only when everything before it is covered, so a log with nothing but an
        // empty segment lacks nothing.
        if position > 0 && newest != Some(position) {
            let missing = Some(Missing { is_all: true, bytes: position, records: None });
            torn = Some(Torn { file: folder.to_path_buf(), offset: 0, bytes: 0, missing });
        }
        return begin(disk, folder, position, options, torn);
    };
    if *first > position {
        return Err(missing(folder, position, *first));
    }
    let start = bases.partition_point(|base| *base <= position) - 1;
    let extents = extents(folder, &bases[..start])?;
    let mut log = Found { disk, folder, position, options, extents };
    let last = log.check(&bases[start..])?;
    let (active, cut) = log.settle(last)?;
    torn = cut.or(torn);
    let mut log = log.ready(active)?;
    log.trim(position)?;
    Ok(Opened { log, torn })
}

/// Removes an empty last segment, which is left if the power was lost while it was made.
fn bury(folder: &Path, bases: &mut Vec<u64>) -> Result<Option<Torn>> {
    let Some(base) = bases.last().copied() else { return Ok(None) };
    if !Segment::is_stillborn(folder, base)? {
        return Ok(None);
    }
    bases.pop();
    let file = segment::path(folder, base);
    let removed =
        fs::metadata(&file).and_then(|found| fs::remove_file(&file).map(|()| found.len()));
    let bytes = removed.map_err(|cause| failed("delete", &file, cause))?;
    Ok(Some(Torn { file, offset: 0, bytes, missing: None }).filter(|torn| torn.bytes > 0))
}

/// Makes a log without earlier segments.
fn begin(
    disk: Arc<dyn Disk>,
    folder: &Path,
    at: u64,
    options: Options,
    torn: Option<Torn>,
) -> Result<Opened> {
    let active = Segment::create(&*disk, folder, at, at)?;
    let found =
        Found { disk, folder, position: at, options, extents: vec![Extent { base: at, end: at }] };
    Ok(Opened { log: found.ready(active)?, torn })
}

fn missing(folder: &Path, position: u64, next: u64) -> Error {
    let folder = folder.display();
    Error::fatal(format!(
        "the spool \"{folder}\" should go on at position {position}, but goes on at {next}"
    ))
}

/// Returns the segments before the one with the position. They needn't be whole any more.
fn extents(folder: &Path, bases: &[u64]) -> Result<Vec<Extent>> {
    let extent = |base: &u64| {
        let path = segment::path(folder, *base);
        let length = fs::metadata(&path).map_err(|cause| failed("read", &path, cause))?.len();
        Ok(Extent { base: *base, end: base + length.saturating_sub(segment::HEADER_BYTES) })
    };
    bases.iter().map(extent).collect()
}

/// The parts of a log that were found in its folder so far.
struct Found<'a> {
    disk: Arc<dyn Disk>,
    folder: &'a Path,
    position: u64,
    options: Options,
    extents: Vec<Extent>,
}

/// The last segment, and the result of its scan.
struct Last {
    segment: Segment,
    /// The position at which the scan began.
    from: u64,
    scan: Scan,
}

impl Found<'_> {
    /// Checks the segments from the position on; all but the last must be whole and without a gap.
    fn check(&mut self, bases: &[u64]) -> Result<Last> {
        let (last, before) =
            bases.split_last().expect("one of the segments begins at or before the position");
        let mut end = None;
        for base in before {
            let Last { segment, scan, .. } = self.scan(*base, end, false)?;
            if let Some(bad) = scan.bad {
                return Err(segment.damaged(scan.end, bad));
            }
            self.extents.push(Extent { base: *base, end: scan.end });
            end = Some(scan.end);
        }
        self.scan(*last, end, true)
    }

    /// Scans a segment, which must begin where the one before ended.
    fn scan(&self, base: u64, previous_end: Option<u64>, write: bool) -> Result<Last> {
        let segment = Segment::open(self.folder, base, write)?;
        if previous_end.is_some_and(|end| end != base) {
            return Err(missing(self.folder, previous_end.unwrap_or(base), base));
        }
        let from = base.max(self.position);
        if !write && segment.file_end()? < from {
            return Err(segment.damaged(
                segment.file_end()?,
                "it ends before the checkpoint, and isn't the last",
            ));
        }
        let scan = scan(&segment, from)?;
        Ok(Last { segment, from, scan })
    }

    /// Cuts the last segment behind its last record, and returns the segment to write to.
    fn settle(&mut self, last: Last) -> Result<(Segment, Option<Torn>)> {
        let Last { segment, from, scan } = last;
        if let Some(bad) = scan.bad
            && was_synced(&segment, scan.end)?
        {
            return Err(segment.damaged(scan.end, bad));
        }
        let whole = if scan.end == from { self.whole_until(&segment, from)? } else { scan.end };
        let torn = self.cut(&segment, whole)?;
        self.extents.push(Extent { base: segment.base, end: whole });
        if whole == scan.end {
            return Ok((segment, torn));
        }
        // The position lies behind the last whole record: a power loss lost posts that a checkpoint
        // covers, or somebody has cut the file.
        let (file, offset) = (segment.path.clone(), segment.offset(whole));
        let bytes = torn.map_or(0, |torn| torn.bytes);
        let missing = Some(self.missing(&segment, whole, from - whole)?);
        let torn = Some(Torn { file, offset, bytes, missing });
        let next = Segment::create(&*self.disk, self.folder, from, whole)?;
        self.extents.push(Extent { base: from, end: from });
        Ok((next, torn))
    }

    /// Describes this number of missing bytes behind the whole records of a segment.
    fn missing(&self, segment: &Segment, whole: u64, bytes: u64) -> Result<Missing> {
        let records = self::scan(segment, segment.base)?.records;
        let size = (whole - segment.base).checked_div(records).unwrap_or(0);
        Ok(Missing {
            is_all: false,
            bytes,
            records: bytes.checked_div(size).map(|about| about.max(1)),
        })
    }

    /// Returns the end of the whole records before a position behind which there are none. No
    /// record may lie across the position.
    fn whole_until(&self, segment: &Segment, position: u64) -> Result<u64> {
        match self::scan(segment, segment.base)?.end {
            end if end > position => {
                Err(segment.damaged(position, "the checkpoint points into a record"))
            }
            end => Ok(end),
        }
    }

    /// Cuts a segment and syncs it, since the bytes before the cut may have been in the page cache
    /// only.
    fn cut(&self, segment: &Segment, end: u64) -> Result<Option<Torn>> {
        let (offset, file_end) = (segment.offset(end), segment.file_end()?);
        let torn =
            Torn { file: segment.path.clone(), offset, bytes: file_end - end, missing: None };
        if torn.bytes > 0 {
            let cut = point("spool.cut").and_then(|()| segment.file.set_len(offset));
            cut.map_err(|cause| failed("cut", &segment.path, cause))?;
        }
        self.disk.sync(&segment.file).map_err(|cause| segment::unsynced(&segment.path, cause))?;
        self.disk
            .sync_folder(self.folder)
            .map_err(|cause| segment::unsynced(self.folder, cause))?;
        Ok(Some(torn).filter(|torn| torn.bytes > 0))
    }

    fn ready(self, active: Segment) -> Result<Log> {
        let end = self.extents.last().map_or(active.base, |extent| extent.end);
        let bytes = self.extents.iter().map(Extent::bytes).sum();
        Ok(Log {
            options: self.options,
            disk: self.disk,
            folder: self.folder.to_path_buf(),
            extents: self.extents.into(),
            bytes,
            unmarked: (end > active.base).then_some(end),
            active,
            synced: end,
            dirty: false,
            ragged: false,
            written_back: end,
            dropped: 0,
            failure: None,
            closed: false,
            buffer: Vec::new(),
        })
    }
}
