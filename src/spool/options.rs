//! The options of a spool in a topology file.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record;
use crate::error::{Error, Result};
use crate::units::{ByteSize, Interval};

/// The size of a spool, and its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The most bytes that the spool takes on the disk.
    pub bytes_max: ByteSize,
    /// The fate of a post for which there is no room: `Wait` until a checkpoint makes room, or
    /// `Drop` the post and count it.
    pub on_full: OnFull,
    /// The bytes that are kept although a checkpoint covers them; at most half of `bytes_max`.
    pub retain: ByteSize,
    /// The time between two syncs: a power loss loses at most the posts of that time.
    pub sync_every: Interval,
}

/// The fate of a post for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFull {
    /// The source waits.
    #[default]
    Wait,
    /// The post is dropped and counted.
    Drop,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bytes_max: ByteSize(1 << 30),
            on_full: OnFull::Wait,
            retain: ByteSize(0),
            sync_every: Interval(Duration::from_secs(1)),
        }
    }
}

/// The largest segment, in bytes. Larger segments make trimming coarser; with smaller ones the
/// syncs at the segments' ends cost more.
const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// The number of segments that fit below the bound: trimming frees whole segments, so with few of
/// them a spool that is nearly full could wait without an end.
const SEGMENTS_MIN: u64 = 8;

impl Options {
    /// Returns the most bytes of one segment; no post can be larger.
    pub(super) fn segment_bytes(&self) -> u64 {
        SEGMENT_BYTES_MAX.min(self.bytes_max.0 / SEGMENTS_MIN)
    }

    /// Returns the length of the longest post that fits beside a cursor of this size.
    pub fn post_bytes_max(&self, cursor_bytes: usize) -> usize {
        let beside = record::HEAD_BYTES + record::MARK_BYTES + cursor_bytes;
        usize::try_from(self.segment_bytes()).unwrap_or(usize::MAX).saturating_sub(beside)
    }

    /// Checks that the sizes agree.
    ///
    /// # Errors
    /// Fatal if `retain` is larger than half of `bytes_max`.
    pub(super) fn check(&self) -> Result<()> {
        if self.retain.0 > self.bytes_max.0 / 2 {
            let (retain, max) = (self.retain, self.bytes_max);
            return Err(Error::fatal(format!(
                "expected retain to be at most half of bytes_max ({max}), found {retain}"
            )));
        }
        Ok(())
    }
}
