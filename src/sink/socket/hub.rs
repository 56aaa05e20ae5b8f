//! The readers of a socket, and the queue of each reader.
//!
//! Lines are gathered in chunks that all readers share. A chunk is put into the queue of each
//! reader that is to get it, and one thread for each reader writes the chunk at the front of its
//! queue.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::OnSlowReader;
use super::chunk::Chunk;
use crate::clock::SharedClock;
use crate::sink::SinkCounts;

/// The interval at which a waiting thread checks if it should end. A shorter interval costs
/// wake-ups.
pub(super) const STOP_CHECK: Duration = Duration::from_millis(50);

/// The result of offering a chunk to the readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// At least one reader has the chunk in its queue.
    Queued,
    /// The socket has no readers.
    NoReader,
    /// All readers are too slow, so the chunk was dropped.
    Dropped,
    /// At least one reader has no room for the chunk, so no reader got it.
    Full,
    /// The socket is closed.
    Closed,
}

/// The options of a socket that its hub needs.
#[derive(Clone, Debug)]
pub(super) struct HubOptions {
    pub on_slow_reader: OnSlowReader,
    pub buffer: usize,
    pub readers_max: usize,
    pub max_rate: Option<u64>,
    pub reader_timeout: Duration,
}

/// The readers of one socket.
pub(super) struct Hub {
    pub options: HubOptions,
    pub clock: SharedClock,
    pub address: SocketAddr,
    readers: Mutex<Readers>,
    /// Signals that a reader came or left, or took a chunk.
    changed: Condvar,
    /// The number of readers, readable without the lock.
    count: AtomicUsize,
    is_closed: AtomicBool,
    pub counts: Arc<SinkCounts>,
    refused: AtomicU64,
}

#[derive(Default)]
struct Readers {
    all: Vec<ReaderSlot>,
    next: u64,
}

struct ReaderSlot {
    id: u64,
    queue: VecDeque<Chunk>,
    bytes: usize,
    /// Signals that the queue has a chunk, or that the reader must be disconnected.
    wake: Arc<Condvar>,
    /// True if the reader is too slow, so that its thread must end.
    is_cut: bool,
}

impl ReaderSlot {
    /// An empty queue also takes a chunk that is larger than the whole buffer.
    fn has_room(&self, chunk: &Chunk, buffer: usize) -> bool {
        self.queue.is_empty() || self.bytes + chunk.bytes().len() <= buffer
    }

    fn put(&mut self, chunk: &Chunk) {
        chunk.begin_wait();
        self.bytes += chunk.bytes().len();
        self.queue.push_back(chunk.clone());
        self.wake.notify_one();
    }

    /// Tells the reader's thread, which checks for this while it waits, to end.
    fn cut(&mut self) {
        self.is_cut = true;
        self.wake.notify_one();
    }
}

/// The next action of a reader's thread.
pub(super) enum Next {
    /// Write the chunk at the front of the queue. The chunk stays there until [`took`](Hub::took)
    /// is called.
    Write(Chunk),
    /// Check the connection, because the queue was empty for a while.
    Look,
    /// End; true if the socket closes, and the reader isn't at fault.
    End(bool),
}

impl Hub {
    pub(crate) fn new(options: HubOptions, address: SocketAddr, clock: SharedClock) -> Self {
        Self {
            options,
            clock,
            address,
            readers: Mutex::default(),
            changed: Condvar::new(),
            count: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            counts: Arc::default(),
            refused: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, or until a time has passed.
    fn wait<'a>(&self, readers: MutexGuard<'a, Readers>) -> MutexGuard<'a, Readers> {
        let waited = self.changed.wait_timeout(readers, STOP_CHECK);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Returns the number of readers.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Counts lines that were dropped for one reader, or because the socket has no readers.
    pub(crate) fn drop_lines(&self, lines: usize) {
        self.counts.add_dropped(lines as u64);
    }

    /// Counts a refused connection.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the state of the socket, for users.
    pub(crate) fn says(&self) -> String {
        let readers = match self.count() {
            0 => "no reader".to_owned(),
            1 => "1 reader".to_owned(),
            count => format!("{count} readers"),
        };
        let refused = match self.refused.load(Ordering::Relaxed) {
            0 => String::new(),
            refused => format!(", {refused} refused"),
        };
        format!("{readers} at {}{refused}", self.address)
    }

    /// Adds a reader, unless there are too many. Returns the reader's number and its signal.
    pub(crate) fn admit(&self) -> Option<(u64, Arc<Condvar>)> {
        let mut readers = self.lock();
        if readers.all.len() >= self.options.readers_max || self.is_closed() {
            return None;
        }
        let id = readers.next;
        readers.next += 1;
        let wake = Arc::new(Condvar::new());
        readers.all.push(ReaderSlot {
            id,
            queue: VecDeque::new(),
            bytes: 0,
            wake: Arc::clone(&wake),
            is_cut: false,
        });
        self.count.store(readers.all.len(), Ordering::Release);
        self.changed.notify_all();
        Some((id, wake))
    }

    /// Offers a chunk to all readers, if all of them have room for it.
    pub(crate) fn offer_if_room(&self, chunk: &Chunk) -> Offered {
        let mut readers = self.lock();
        let buffer = self.options.buffer;
        if self.is_closed() {
            Offered::Closed
        } else if readers.all.is_empty() {
            Offered::NoReader
        } else if readers.all.iter().all(|reader| !reader.is_cut && reader.has_room(chunk, buffer))
        {
            self.put(&mut readers, chunk)
        } else {
            Offered::Full
        }
    }

    /// Offers a chunk to all readers. Waits at most `patience` for readers without room, and
    /// reduces `patience` by the time spent; `None` waits for ever. A reader that still has no room
    /// doesn't get the chunk.
    pub(crate) fn offer(&self, chunk: &Chunk, patience: &mut Option<Duration>) -> Offered {
        let mut readers = self.lock();
        loop {
            if self.is_closed() {
                return Offered::Closed;
            }
            if readers.all.is_empty() {
                return Offered::NoReader;
            }
            let buffer = self.options.buffer;
            let is_over = *patience == Some(Duration::ZERO);
            if is_over || readers.all.iter().all(|reader| reader.has_room(chunk, buffer)) {
                return self.put(&mut readers, chunk);
            }
            readers = self.wait_patiently(readers, patience);
        }
    }

    fn wait_patiently<'a>(
        &self,
        readers: MutexGuard<'a, Readers>,
        patience: &mut Option<Duration>,
    ) -> MutexGuard<'a, Readers> {
        let begun = self.clock.monotonic();
        let readers = self.wait(readers);
        if let Some(left) = patience {
            *left = left.saturating_sub(self.clock.monotonic().saturating_sub(begun));
        }
        readers
    }

    /// Puts a chunk into the queues that have room for it.
    fn put(&self, readers: &mut Readers, chunk: &Chunk) -> Offered {
        let mut offered = Offered::Dropped;
        for reader in &mut readers.all {
            if reader.has_room(chunk, self.options.buffer) && !reader.is_cut {
                reader.put(chunk);
                offered = Offered::Queued;
                continue;
            }
            self.drop_lines(chunk.lines());
            if self.options.on_slow_reader == OnSlowReader::Disconnect {
                reader.cut();
            }
        }
        offered
    }

    /// Returns the next action of a reader's thread.
    pub(crate) fn next(&self, id: u64, wake: &Condvar) -> Next {
        let readers = self.lock();
        let Some(reader) = readers.all.iter().find(|reader| reader.id == id) else {
            return Next::End(false);
        };
        if reader.is_cut {
            return Next::End(false);
        }
        if self.is_closed() {
            return Next::End(true);
        }
        if let Some(chunk) = reader.queue.front() {
            return Next::Write(chunk.clone());
        }
        let waited = wake.wait_timeout(readers, self.options.reader_timeout.min(LOOK_EVERY));
        let (readers, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let reader = readers.all.iter().find(|reader| reader.id == id);
        match reader.and_then(|reader| reader.queue.front()) {
            Some(chunk) if !self.is_closed() => Next::Write(chunk.clone()),
            _ if self.is_closed() => Next::End(true),
            _ => Next::Look,
        }
    }

    /// Returns true if a reader must be disconnected.
    pub(crate) fn is_cut(&self, id: u64) -> bool {
        self.lock().all.iter().any(|reader| reader.id == id && reader.is_cut)
    }

    /// Waits in a reader's thread, unless the thread must end.
    pub(crate) fn pause(&self, wake: &Condvar, time: Duration) {
        let readers = self.lock();
        if !self.is_closed() {
            drop(wake.wait_timeout(readers, time.min(STOP_CHECK)));
        }
    }

    /// Notes that a reader has taken the chunk at the front of its queue.
    pub(crate) fn took(&self, id: u64) {
        let mut readers = self.lock();
        let Some(reader) = readers.all.iter_mut().find(|reader| reader.id == id) else { return };
        if let Some(chunk) = reader.queue.pop_front() {
            reader.bytes -= chunk.bytes().len();
            self.settle(&chunk, chunk.lines());
        }
        self.changed.notify_all();
    }

    /// Removes a reader. The reader has taken this many lines of the chunk at the front of its
    /// queue, and gets no other chunk.
    pub(crate) fn left(&self, id: u64, taken: usize) {
        let mut readers = self.lock();
        let Some(at) = readers.all.iter().position(|reader| reader.id == id) else { return };
        let reader = readers.all.swap_remove(at);
        let mut taken = taken;
        for chunk in reader.queue {
            self.settle(&chunk, taken);
            if chunk.is_final() {
                self.drop_lines(chunk.lines() - taken);
            }
            taken = 0;
        }
        self.count.store(readers.all.len(), Ordering::Release);
        self.changed.notify_all();
    }

    fn settle(&self, chunk: &Chunk, taken: usize) {
        self.counts.add_emitted(taken as u64);
        chunk.end_wait(taken);
    }

    /// Waits until no reader has any of these chunks in its queue; returns false if the socket
    /// closed first. When the patience has run out, readers keep their queues, and lines that they
    /// then don't take are dropped.
    pub(crate) fn wait_until_settled(
        &self,
        chunks: &[Chunk],
        patience: &mut Option<Duration>,
    ) -> bool {
        let mut readers = self.lock();
        loop {
            let mut unsettled = chunks.iter().filter(|chunk| chunk.settled().is_none()).peekable();
            if unsettled.peek().is_none() {
                return true;
            }
            if *patience == Some(Duration::ZERO) {
                unsettled.for_each(Chunk::make_final);
                return true;
            }
            if self.is_closed() {
                return false;
            }
            readers = self.wait_patiently(readers, patience);
        }
    }

    /// Returns true if a reader's queue is empty.
    #[cfg(test)]
    pub(crate) fn is_idle(&self, id: u64) -> bool {
        self.lock().all.iter().any(|reader| reader.id == id && reader.queue.is_empty())
    }

    /// Waits until all queues are empty, at most for the given time.
    pub(crate) fn drain(&self, at_most: Duration) {
        let begun = self.clock.monotonic();
        let mut readers = self.lock();
        while readers.all.iter().any(|reader| !reader.queue.is_empty())
            && !self.is_closed()
            && self.clock.monotonic().saturating_sub(begun) < at_most
        {
            readers = self.wait(readers);
        }
    }

    /// Closes the socket: each reader gets the rest of its current line, and then the end. Waits
    /// for that, at most for the given time.
    pub(crate) fn close(&self, at_most: Duration) {
        let begun = self.clock.monotonic();
        let mut readers = self.lock();
        self.is_closed.store(true, Ordering::Release);
        readers.all.iter().for_each(|reader| reader.wake.notify_one());
        self.changed.notify_all();
        while !readers.all.is_empty() {
            if self.clock.monotonic().saturating_sub(begun) >= at_most {
                readers.all.iter_mut().for_each(ReaderSlot::cut);
                return;
            }
            readers = self.wait(readers);
        }
    }
}

/// The interval of checks of an idle connection, which is also the time to detect that a reader has
/// left.
const LOOK_EVERY: Duration = Duration::from_secs(1);
