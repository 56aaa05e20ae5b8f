//! The records that a spool still has, from the oldest on.

use std::collections::VecDeque;
use std::path::PathBuf;

use super::Record;
use super::log::{Extent, Log};
use super::segment::Segment;
use crate::error::Result;

/// The records from the oldest on. Damage before the checkpoint, which a power loss may cause,
/// gives one error, and then the records continue at the next known beginning of a record.
pub struct Records {
    folder: PathBuf,
    extents: VecDeque<Extent>,
    /// The position of the checkpoint.
    checkpoint: u64,
    segment: Option<Segment>,
    /// The position of the next read, unless the read begins in the next segment.
    position: u64,
    read: std::vec::IntoIter<Record>,
}

impl Records {
    pub(super) fn new(log: &Log, checkpoint: u64) -> Self {
        let (folder, extents) = (log.folder.clone(), log.extents.clone());
        let position = extents.front().map_or(0, |first| first.base);
        Self { folder, extents, checkpoint, segment: None, position, read: Vec::new().into_iter() }
    }

    /// Reads the next records. Returns false if there are no more.
    fn read(&mut self) -> Result<bool> {
        while self.extents.front().is_some_and(|extent| extent.end <= self.position) {
            self.extents.pop_front();
            self.segment = None;
        }
        let Some(extent) = self.extents.front().copied() else { return Ok(false) };
        self.position = self.position.max(extent.base);
        let opened = match self.segment.take() {
            Some(segment) => Ok(segment),
            None => Segment::open(&self.folder, extent.base, false),
        };
        let read = opened.and_then(|segment| {
            let read = segment.read(self.position, extent.end)?;
            match read.bad {
                Some(bad) if read.records.is_empty() => Err(segment.damaged(read.next, bad)),
                _ => Ok((segment, read)),
            }
        });
        let (segment, read) = read.inspect_err(|_| self.position = self.behind_damage(extent))?;
        self.position = read.next;
        self.segment = Some(segment);
        self.read = read.records.into_iter();
        Ok(true)
    }

    /// Returns the position at which records begin again.
    fn behind_damage(&self, extent: Extent) -> u64 {
        if (self.position + 1..extent.end).contains(&self.checkpoint) {
            self.checkpoint
        } else {
            extent.end
        }
    }
}

impl Iterator for Records {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        loop {
            if let Some(record) = self.read.next() {
                return Some(Ok(record));
            }
            match self.read() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
