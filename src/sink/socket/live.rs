//! What goes out at once although lines wait for readers: while all readers keep up, the disk is
//! only needed for what they haven't taken when a barrier comes.

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

/// Chunks that are in readers' queues and in a segment of the outbox, by their numbers.
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

/// The lines of an epoch that go out at once.
pub(super) struct Live {
    /// True while all readers keep up. While it is false nothing is gathered.
    is_on: bool,
    /// Lines that are gathered.
    lines: Vec<u8>,
    /// Chunks in readers' queues.
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

    /// True while lines go out at once.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Makes room for more lines; afterwards it may be [off](Self::is_on).
    ///
    /// # Errors
    /// If what is gathered has to go to the outbox, and can't.
    pub(crate) fn make_room(&mut self, hub: &Hub, outbox: &mut Outbox) -> Result<()> {
        if self.lines.len() >= CHUNK_BYTES { self.flush(hub, outbox) } else { Ok(()) }
    }

    /// The lines that are gathered, to be added to while it is [on](Self::is_on).
    pub(crate) fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.lines
    }

    /// Hands over what is gathered: to the readers, or to the outbox if one of them doesn't keep up
    /// or there is none.
    ///
    /// # Errors
    /// If it can't be written; then it stays.
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
        // What came before stands before it in the outbox, too.
        let written = self.spill(outbox).and_then(|()| write(outbox, bytes.clone(), None));
        if written.is_err() {
            self.lines = bytes.to_vec();
        }
        written
    }

    /// Writes what readers haven't taken. What was written before an error isn't written again.
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

    /// Forgets chunks that were taken whole.
    fn in_flight_taken(&mut self) {
        while self.in_flight.front().is_some_and(|chunk| chunk.settled() == Some(chunk.lines())) {
            self.in_flight.pop_front();
        }
    }

    /// A barrier: what readers haven't taken goes to the outbox, too. From then on lines go out at
    /// once, if there are readers that have taken everything before.
    ///
    /// # Errors
    /// If it can't be written; what was written before isn't written again.
    pub(crate) fn barrier(&mut self, hub: &Hub, outbox: &mut Outbox) -> Result<()> {
        self.flush(hub, outbox)?;
        self.spill(outbox)?;
        self.is_on = hub.count() > 0 && !outbox.has_waiting();
        Ok(())
    }
}

/// Writes lines as one row, with the number of the live chunk that they are.
fn write(outbox: &mut Outbox, lines: Bytes, live: Option<i64>) -> Result<()> {
    let mut row = vec![Value::Json(lines)];
    row.extend(live.map(Value::Int));
    outbox.write(Tuple::new(&row, 0))
}
