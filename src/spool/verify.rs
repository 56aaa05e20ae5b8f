//! A check of a whole spool, which finds its problems.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::open::{Torn, scan, was_synced};
use super::segment::{self, HEADER_BYTES, Segment};
use crate::error::Result;

/// The content and the problems of a spool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// The number of segments.
    pub segments: u64,
    /// The number of whole records, up to the first damage in each segment.
    pub records: u64,
    /// The size of the files, in bytes.
    pub bytes: u64,
    /// The position of the oldest record.
    pub oldest: u64,
    /// The position behind the newest record.
    pub newest: u64,
    /// An end that was never synced, which the next opening cuts off.
    pub torn: Option<Torn>,
    /// Places that were valid once, and aren't any more. Before the newest checkpoint, damage does
    /// no harm.
    pub damage: Vec<Damage>,
}

/// A damaged place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// The segment's file.
    pub file: PathBuf,
    /// The place in the file, in bytes.
    pub offset: u64,
    /// The problem.
    pub what: String,
}

/// Reads the spool in a folder, and changes nothing.
///
/// # Errors
/// If the folder or a file can't be read; damage in a file is a finding.
pub fn verify(folder: &Path) -> Result<Findings> {
    let bases = segment::list(folder)?;
    let mut findings =
        Findings { oldest: bases.first().copied().unwrap_or(0), ..Findings::default() };
    for (index, base) in bases.iter().enumerate() {
        findings.segments += 1;
        findings.read(folder, *base, index == 0, index + 1 == bases.len())?;
    }
    Ok(findings)
}

impl Findings {
    /// Returns true if nothing is torn or damaged.
    pub fn are_none(&self) -> bool {
        self.torn.is_none() && self.damage.is_empty()
    }

    fn read(&mut self, folder: &Path, base: u64, first: bool, last: bool) -> Result<()> {
        if last && Segment::is_stillborn(folder, base)? {
            self.torn = Some(Torn {
                file: segment::path(folder, base),
                offset: 0,
                bytes: 0,
                missing: None,
            });
            return Ok(());
        }
        let segment = match Segment::open(folder, base, false) {
            Ok(segment) => segment,
            Err(error) => {
                self.damage(segment::path(folder, base), 0, &error.chain());
                self.newest = base;
                return Ok(());
            }
        };
        let scan = scan(&segment, base)?;
        let file_end = segment.file_end()?;
        self.bytes += HEADER_BYTES + (file_end - base);
        self.records += scan.records;
        if !first && segment.previous_end != self.newest {
            let what = format!(
                "the segment before should end at {}, but ends at {}",
                segment.previous_end, self.newest
            );
            self.damage(segment.path.clone(), 0, &what);
        }
        self.newest = if last { scan.end } else { file_end };
        let offset = segment.offset(scan.end);
        match scan.bad {
            None => {}
            Some(bad) if !last || was_synced(&segment, scan.end)? => {
                self.damage(segment.path, offset, bad)
            }
            Some(_) => {
                let bytes = file_end - scan.end;
                self.torn = Some(Torn { file: segment.path, offset, bytes, missing: None });
            }
        }
        Ok(())
    }

    fn damage(&mut self, file: PathBuf, offset: u64, what: &str) {
        self.damage.push(Damage { file, offset, what: what.to_owned() });
    }
}
