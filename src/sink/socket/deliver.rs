//! Delivers lines from the outbox: `on_no_reader: Wait`, `on_slow_reader: Wait`.
//!
//! Lines go out at once while readers keep up (`live`). The outbox holds the lines that readers
//! haven't taken at a barrier, and all lines that arrive while readers don't keep up. A commit
//! hands the lines of promised segments to the readers. A line is delivered once one reader has
//! taken it completely and no reader has it in its queue. Lines that a departed reader hasn't taken
//! go to the other readers, or to the next ones.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::chunk::{Chunk, count_lines};
use super::hub::{Hub, Offered};
use super::live::LiveChunks;
use super::{CHUNK_BYTES, OnNoReader, OnSlowReader};
use crate::epoch::Promise;
use crate::error::Result;
use crate::sink::Delivered;
use crate::sink::outbox::OutboxReader;
use crate::value::Value;

/// The time that slow readers may delay one commit before the engine applies `on_slow_reader: Drop`
/// or `Disconnect`: about the time until the next checkpoint. A longer time would let a reader fill
/// the outbox and so stop the capture.
const SLOW_PATIENCE: Duration = Duration::from_secs(1);

/// The delivery state of offered segments, kept until no checkpoint names them.
#[derive(Default)]
pub(super) struct Ledger(Mutex<BTreeMap<String, Vec<Range<usize>>>>);

impl Ledger {
    /// The undelivered lines of a segment, by their numbers. `None` for a segment that wasn't
    /// offered before.
    fn missing(&self, segment: &str) -> Option<Vec<Range<usize>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(segment).cloned()
    }

    fn note(&self, segment: &str, missing: Vec<Range<usize>>) {
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.insert(segment.to_owned(), missing);
    }

    pub(crate) fn forget(&self, segments: &[String]) {
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        segments.iter().for_each(|segment| drop(ledger.remove(segment)));
    }
}

/// A commit.
pub(super) struct Delivery {
    pub hub: Arc<Hub>,
    pub ledger: Arc<Ledger>,
    pub live: Arc<LiveChunks>,
    pub outbox: OutboxReader,
    pub on_no_reader: OnNoReader,
}

impl Delivery {
    /// Delivers as much as readers take, one segment after the other.
    ///
    /// # Errors
    /// If a segment differs from its promise.
    pub(crate) fn deliver(&self, promises: &[Promise]) -> Result<Delivered> {
        let mut delivered = Delivered::default();
        let waits = self.hub.options.on_slow_reader == OnSlowReader::Wait;
        let mut patience = if waits { None } else { Some(SLOW_PATIENCE) };
        for promise in promises {
            if !self.deliver_segment(promise, &mut patience)? {
                break;
            }
            self.outbox.delivered(promise);
            delivered.segments.push(promise.segment.clone());
        }
        Ok(delivered)
    }

    /// Returns true if the whole segment is delivered.
    fn deliver_segment(&self, promise: &Promise, patience: &mut Option<Duration>) -> Result<bool> {
        let known = self.ledger.missing(&promise.segment);
        if known.as_ref().is_some_and(Vec::is_empty) {
            return Ok(true);
        }
        // Without readers nothing is read from the disk, and lines in flight were offered already.
        let is_new = known.is_none() && self.live.has_some();
        if self.hub.count() == 0 && self.on_no_reader == OnNoReader::Wait && !is_new {
            return Ok(false);
        }
        let lines = SegmentLines::of(self.outbox.rows(promise)?.into_iter().map(|row| row.values));
        let Some(mut missing) = known.or_else(|| self.not_in_flight(&lines, patience)) else {
            return Ok(false);
        };
        self.ledger.note(&promise.segment, missing.clone());
        while !missing.is_empty() {
            let (left, goes_on) = self.offer(&lines, &missing, patience);
            missing = left;
            self.ledger.note(&promise.segment, missing.clone());
            if !goes_on {
                return Ok(false);
            }
        }
        self.ledger.note(&promise.segment, Vec::new());
        Ok(true)
    }

    /// Returns the lines of a segment that no reader has taken, neither before the barrier nor
    /// since. `None` if the socket closed before that was known.
    fn not_in_flight(
        &self,
        lines: &SegmentLines,
        patience: &mut Option<Duration>,
    ) -> Option<Vec<Range<usize>>> {
        let mut missing = Vec::new();
        let mut first = 0;
        for (row, live) in &lines.rows {
            let range = first..first + lines_of(row);
            first = range.end;
            let Some(chunk) = live.and_then(|number| self.live.get(number)) else {
                missing.push(range);
                continue;
            };
            if !self.hub.wait_until_settled(std::slice::from_ref(&chunk), patience) {
                return None;
            }
            let taken = chunk.settled().unwrap_or(chunk.lines());
            missing.push(range.start + taken..range.end);
        }
        missing.retain(|range| !range.is_empty());
        // Adjacent rows are offered together.
        let mut joined: Vec<Range<usize>> = Vec::new();
        for range in missing {
            match joined.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => joined.push(range),
            }
        }
        for (_, live) in &lines.rows {
            live.iter().for_each(|number| self.live.forget(*number));
        }
        Some(joined)
    }

    /// Offers lines. Returns the undelivered lines, and true if the delivery should continue.
    fn offer(
        &self,
        lines: &SegmentLines,
        wanted: &[Range<usize>],
        patience: &mut Option<Duration>,
    ) -> (Vec<Range<usize>>, bool) {
        let mut queued = Vec::new();
        let mut missing = Vec::new();
        let mut goes_on = true;
        for (range, chunk) in lines.chunks(wanted) {
            if !goes_on {
                missing.push(range);
                continue;
            }
            match self.hub.offer(&chunk, patience) {
                Offered::Queued => queued.push((range, chunk)),
                Offered::Dropped | Offered::Full => {}
                Offered::NoReader if self.on_no_reader == OnNoReader::Drop => {
                    self.hub.drop_lines(chunk.lines());
                }
                Offered::NoReader | Offered::Closed => {
                    goes_on = false;
                    missing.push(range);
                }
            }
        }
        let chunks: Vec<_> = queued.iter().map(|(_, chunk)| chunk.clone()).collect();
        if !self.hub.wait_until_settled(&chunks, patience) {
            goes_on = false;
        }
        for (range, chunk) in queued {
            // If the socket has closed, a line that isn't known to be taken is sent again.
            let taken = chunk.settled().unwrap_or(if goes_on { chunk.lines() } else { 0 });
            if taken < chunk.lines() {
                missing.push(range.start + taken..range.end);
            }
        }
        missing.sort_by_key(|range| range.start);
        (missing, goes_on)
    }
}

/// The lines of a segment: one text for each row, with any number of lines.
struct SegmentLines {
    /// The texts of the rows, each with the number of its live chunk.
    rows: Vec<(Value, Option<i64>)>,
}

/// Returns the bytes of a row that the socket has written.
fn text_of(row: &Value) -> &[u8] {
    match row {
        Value::Post(post) => post,
        Value::Json(text) => text,
        _ => &[],
    }
}

/// Returns the lines of a row. A post is one line, without a line break at its end.
fn lines_of(row: &Value) -> usize {
    match row {
        Value::Post(_) => 1,
        other => count_lines(text_of(other)),
    }
}

impl SegmentLines {
    fn of(rows: impl Iterator<Item = Vec<Value>>) -> Self {
        let row = |values: Vec<Value>| {
            let live = values.get(1).and_then(Value::as_int);
            values.into_iter().next().map(|text| (text, live))
        };
        Self { rows: rows.filter_map(row).collect() }
    }

    /// Returns chunks of the wanted lines, each with the numbers of its lines. Each range of lines
    /// begins a chunk.
    fn chunks(&self, wanted: &[Range<usize>]) -> impl Iterator<Item = (Range<usize>, Chunk)> {
        let mut wanted = wanted.to_vec();
        wanted.reverse();
        let mut rows = self.rows.iter().map(|(row, _)| row);
        // The current row, with the number of its first line.
        let mut row = rows.next();
        let mut first = 0;
        std::iter::from_fn(move || {
            let range = wanted.last_mut()?;
            let start = range.start;
            let mut bytes = Vec::with_capacity(CHUNK_BYTES);
            while let Some(at) = row
                && range.start < range.end
                && bytes.len() < CHUNK_BYTES
            {
                let behind = first + lines_of(at);
                if range.start >= behind {
                    first = behind;
                    row = rows.next();
                    continue;
                }
                let until = behind.min(range.end);
                append_lines(at, range.start - first..until - first, &mut bytes);
                range.start = until;
            }
            let end = range.start;
            if range.start >= range.end || row.is_none() {
                wanted.pop();
            }
            (end > start).then(|| (start..end, Chunk::of_outbox(bytes)))
        })
    }
}

/// Appends some lines of a row.
fn append_lines(row: &Value, wanted: Range<usize>, into: &mut Vec<u8>) {
    let text = text_of(row);
    match row {
        Value::Post(_) => {
            into.extend_from_slice(text);
            into.push(b'\n');
        }
        _ if wanted == (0..count_lines(text)) => into.extend_from_slice(text),
        _ => {
            let lines = text.split_inclusive(|byte| *byte == b'\n');
            lines
                .skip(wanted.start)
                .take(wanted.len())
                .for_each(|line| into.extend_from_slice(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::post::Post;

    proptest! {
        #[test]
        fn chunks_hold_exactly_the_wanted_lines(
            rows in prop::collection::vec(0_usize..5, 0..40),
            cuts in prop::collection::vec(0_usize..100, 0..8),
        ) {
            let mut number = 0;
            let mut all = Vec::new();
            let mut values = Vec::new();
            for count in rows {
                let of_row: Vec<String> = (0..count)
                    .map(|_| {
                        number += 1;
                        format!("{{\"n\":{number}}}\n")
                    })
                    .collect();
                values.push(if count == 1 {
                    Value::Post(Post::trusted(of_row[0].trim_end().to_owned().into()))
                } else {
                    Value::Json(of_row.concat().into())
                });
                all.extend(of_row);
            }
            let lines = SegmentLines::of(values.into_iter().map(|value| vec![value]));
            prop_assert_eq!(lines.rows.iter().map(|(row, _)| lines_of(row)).sum::<usize>(), all.len());
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(all.len())).collect();
            cuts.sort_unstable();
            cuts.dedup();
            let wanted: Vec<_> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
            let expected: String = wanted.iter().flat_map(|range| all[range.clone()].iter().cloned()).collect();
            let (mut found, mut numbers) = (Vec::new(), Vec::new());
            for (range, chunk) in lines.chunks(&wanted) {
                prop_assert_eq!(chunk.lines(), range.len());
                found.extend_from_slice(chunk.bytes());
                numbers.extend(range);
            }
            prop_assert_eq!(String::from_utf8(found).unwrap(), expected);
            prop_assert_eq!(numbers, wanted.into_iter().flatten().collect::<Vec<_>>());
        }
    }
}
