//! Sends lines at once, also where lines may wait for readers: while all readers keep up, the disk
//! only stores the lines that readers haven't taken when a barrier comes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::CHUNK_BYTES;
use super::chunk::Chunk;
use super::hub::{Hub, Offered};
use crate::error::Result;
use crate::sink::outbox::Outbox;
use crate::tuple::Tuple;
use crate::value::Value;

/// The numbers of chunks that are both in readers' queues and in a segment of the outbox.
#[derive(Default)]
pub(super) struct LiveChunks(Mutex<BTreeMap<i64, Chunk>>);

impl LiveChunks {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, Chunk>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, number: i64) -> Option<Chunk> {
        self.lock().get(&number).cloned()
    }

    pub(crate) fn has_some(&self) -> bool {
        !self.lock().is_empty()
    }

    pub(crate) fn forget(&self, number: i64) {
        self.lock().remove(&number);
    }
}

/// The lines of an epoch that are sent at once.
pub(super) struct Live {
    /// True while all readers keep up. While false, no lines are gathered.
    is_on: bool,
    /// The gathered lines.
    lines: Vec<u8>,
    /// The chunks in readers' queues.
    in_flight: VecDeque<Chunk>,
    chunks: Arc<LiveChunks>,
    next: i64,
}

impl Live {
    pub(crate) fn new() -> Self {
        Self {
            is_on: false,
            lines: Vec::new(),
            in_flight: VecDeque::new(),
            chunks: Arc::default(),
            next: 0,
        }
    }

    pub(crate) fn chunks(&self) -> Arc<LiveChunks> {
        Arc::clone(&self.chunks)
    }

    /// Returns true while lines are sent at once.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Makes room for more lines; after that, live sending may be [off](Self::is_on).
    ///
    /// # Errors
    /// If the gathered lines must go to the outbox and can't be written.
    pub(crate) fn make_room(&mut self, hub: &Hub, outbox: &mut Outbox) -> Result<()> {
        if self.lines.len() >= CHUNK_BYTES { self.flush(hub, outbox) } else { Ok(()) }
    }

    /// Returns the gathered lines, which the caller may extend while live sending is
    /// [on](Self::is_on).
    pub(crate) fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.lines
    }

    /// Hands the gathered lines to the readers, or to the outbox if a reader doesn't keep up or the
    /// socket has no readers.
    ///
    /// # Errors
    /// If the lines can't be written; then they stay gathered.
    pub(crate) fn flush(&mut self, hub: &Hub, outbox: &mut Outbox) -> Result<()> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::take(&mut self.lines));
        let chunk = Chunk::of_outbox(bytes.clone());
        if self.is_on && hub.offer_if_room(&chunk) == Offered::Queued {
            self.in_flight.push_back(chunk);
            self.in_flight_taken();
            return Ok(());
        }
        self.is_on = false;
        // Older lines must come before newer ones in the outbox, too.
        let written = self.spill(outbox).and_then(|()| write(outbox, bytes.clone(), None));
        if written.is_err() {
            self.lines = bytes.to_vec();
        }
        written
    }

    /// Writes the lines that readers haven't taken. After an error, lines that were written aren't
    /// written again.
    fn spill(&mut self, outbox: &mut Outbox) -> Result<()> {
        while let Some(chunk) = self.in_flight.front() {
            if chunk.settled() != Some(chunk.lines()) {
                self.chunks.lock().insert(self.next, chunk.clone());
                write(outbox, chunk.shared_bytes(), Some(self.next))?;
                self.next += 1;
            }
            self.in_flight.pop_front();
        }
        Ok(())
    }

    /// Forgets chunks that were taken completely.
    fn in_flight_taken(&mut self) {
        while self.in_flight.front().is_some_and(|chunk| chunk.settled() == Some(chunk.lines())) {
            self.in_flight.pop_front();
        }
    }

    /// Handles a barrier: lines that readers haven't taken go to the outbox, too. After the
    /// barrier, lines are sent at once if there are readers that have taken everything before it.
    ///
    /// # Errors
    /// If lines can't be written; a repeated call doesn't write the earlier lines again.
    pub(crate) fn barrier(&mut self, hub: &Hub, outbox: &mut Outbox) -> Result<()> {
        self.flush(hub, outbox)?;
        self.spill(outbox)?;
        self.is_on = hub.count() > 0 && !outbox.has_waiting();
        Ok(())
    }
}

/// Writes lines as one row, with the number of their live chunk.
fn write(outbox: &mut Outbox, lines: Bytes, live: Option<i64>) -> Result<()> {
    let mut row = vec![Value::Json(lines)];
    row.extend(live.map(Value::Int));
    outbox.write(Tuple::new(&row, 0))
}
