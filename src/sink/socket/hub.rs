//! The readers of a socket, and what waits for each of them.
//!
//! Lines are gathered in chunks that all readers share. A chunk lies in the queue of each reader
//! that is to get it, and a thread for each reader writes what is at the front of its queue.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::OnSlowReader;
use super::chunk::Chunk;
use crate::clock::SharedClock;
use crate::sink::SinkCounts;

/// How often a thread that waits looks whether it should end. Shorter costs wake-ups.
pub(super) const STOP_CHECK: Duration = Duration::from_millis(50);

/// What became of a chunk that was offered to the readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offered {
    /// It is in the queue of one reader at least.
    Queued,
    /// There is no reader.
    NoReader,
    /// All readers are too slow, so it was dropped for them.
    Dropped,
    /// Some reader has no room for it, and none got it.
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
    /// A reader came or went, or took a chunk.
    changed: Condvar,
    /// The number of readers there are: for a look without the lock.
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
    /// There is something in the queue, or the reader has to go.
    wake: Arc<Condvar>,
    /// Its thread has to end: it is too slow.
    is_cut: bool,
}

impl ReaderSlot {
    /// A single chunk may be larger than the whole buffer.
    fn has_room(&self, chunk: &Chunk, buffer: usize) -> bool {
        self.queue.is_empty() || self.bytes + chunk.bytes().len() <= buffer
    }

    fn put(&mut self, chunk: &Chunk) {
        chunk.begin_wait();
        self.bytes += chunk.bytes().len();
        self.queue.push_back(chunk.clone());
        self.wake.notify_one();
    }

    /// Ends its thread, which looks for that while it waits.
    fn cut(&mut self) {
        self.is_cut = true;
        self.wake.notify_one();
    }
}

/// What a reader's thread has to do next.
pub(super) enum Next {
    /// It writes the chunk at the front of its queue, which stays there until it
    /// [was taken](Hub::took).
    Write(Chunk),
    /// Nothing came for a while: it looks after its connection.
    Look,
    /// It ends; true if the socket closes, and the reader isn't at fault.
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

    /// Waits until something changes, or for a while.
    fn wait<'a>(&self, readers: MutexGuard<'a, Readers>) -> MutexGuard<'a, Readers> {
        let waited = self.changed.wait_timeout(readers, STOP_CHECK);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// The number of readers there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Lines were dropped for one reader, or since there is none.
    pub(crate) fn drop_lines(&self, lines: usize) {
        self.counts.add_dropped(lines as u64);
    }

    /// A connection was refused.
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// What the socket is doing, for people.
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

    /// Takes a reader in, unless there are too many; returns its number and what wakes it.
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

    /// Offers a chunk to all readers, and waits at most `patience` for those without room, which
    /// is less by that afterwards; `None` is for ever. A reader without room doesn't get it.
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

    /// What a reader's thread does next.
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

    /// True if a reader has to go.
    pub(crate) fn is_cut(&self, id: u64) -> bool {
        self.lock().all.iter().any(|reader| reader.id == id && reader.is_cut)
    }

    /// A reader's thread waits, unless it has to end.
    pub(crate) fn pause(&self, wake: &Condvar, time: Duration) {
        let readers = self.lock();
        if !self.is_closed() {
            drop(wake.wait_timeout(readers, time.min(STOP_CHECK)));
        }
    }

    /// A reader has taken the chunk at the front of its queue.
    pub(crate) fn took(&self, id: u64) {
        let mut readers = self.lock();
        let Some(reader) = readers.all.iter_mut().find(|reader| reader.id == id) else { return };
        if let Some(chunk) = reader.queue.pop_front() {
            reader.bytes -= chunk.bytes().len();
            self.settle(&chunk, chunk.lines());
        }
        self.changed.notify_all();
    }

    /// A reader is gone. Of the chunk at the front of its queue it has taken so many lines; it gets
    /// none of the others.
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

    /// Waits until no reader has any of these chunks in its queue; false if the socket closed
    /// before. Once the patience is over, readers keep what is in their queues, and what they don't
    /// take of it is dropped.
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

    /// True if a reader has nothing in its queue.
    #[cfg(test)]
    pub(crate) fn is_idle(&self, id: u64) -> bool {
        self.lock().all.iter().any(|reader| reader.id == id && reader.queue.is_empty())
    }

    /// Waits until all queues are empty, for so long at most.
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

    /// Closes the socket: each reader gets the rest of the line that it is in, and then the end.
    /// Waits for that, for so long at most.
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

/// How often an idle connection is looked after: a reader that has gone is found that soon.
const LOOK_EVERY: Duration = Duration::from_secs(1);
