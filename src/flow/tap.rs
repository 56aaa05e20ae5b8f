//! Copies tuples for watchers as they pass. A closed tap costs one check per batch, and an open one
//! never makes a component wait: tuples that find no room in the tap's queue are counted and not
//! shown.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, TryLockError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::flow::Batch;
use crate::tuple::StreamId;
use crate::value::Value;

/// The number of tuples that wait for a watcher. Each may keep the buffer alive in which it was
/// read.
const WAITING_MAX: usize = 256;

/// A tuple that passed.
pub struct TappedTuple {
    /// The number that was given to the stream when the tap was opened.
    pub source: usize,
    /// Its values.
    pub values: Vec<Value>,
}

/// A tap before it is split into its receiving end and its counter.
pub struct Tap {
    sender: Sender<TappedTuple>,
    missed: Arc<AtomicU64>,
    receiver: Receiver<TappedTuple>,
}

impl Default for Tap {
    fn default() -> Self {
        let (sender, receiver) = bounded(WAITING_MAX);
        Self { sender, missed: Arc::default(), receiver }
    }
}

impl Tap {
    /// Begins to copy each `every`th tuple of a stream, under this number.
    pub fn open(&self, component: &ComponentTap, stream: StreamId, every: u64, source: usize) {
        let (sender, missed) = (self.sender.clone(), Arc::clone(&self.missed));
        let every = every.max(1);
        component.add(OpenTap { stream, every, passed: 0, source, sender, missed });
    }

    /// Returns the receiver of the tuples, and the number of tuples that found no room so far.
    pub fn split(self) -> (Receiver<TappedTuple>, Arc<AtomicU64>) {
        (self.receiver, self.missed)
    }
}

struct OpenTap {
    stream: StreamId,
    every: u64,
    passed: u64,
    source: usize,
    sender: Sender<TappedTuple>,
    missed: Arc<AtomicU64>,
}

/// The open taps on one component, which all its tasks share.
#[derive(Default)]
pub struct ComponentTap {
    is_open: AtomicBool,
    open: Mutex<Vec<OpenTap>>,
}

impl ComponentTap {
    /// Returns true if a tap is open.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    fn add(&self, tap: OpenTap) {
        // A tap is never left half changed, so a panic elsewhere doesn't matter.
        self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(tap);
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// Offers a batch of a stream, whose tuples have `arity` values, to the open taps.
    #[cold]
    pub fn offer(&self, stream: StreamId, arity: usize, batch: &Batch) {
        let mut open = match self.open.try_lock() {
            Ok(open) => open,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another task is showing a batch now, and tasks never wait for each other here.
            Err(TryLockError::WouldBlock) => return,
        };
        open.retain_mut(|tap| tap.stream != stream || tap.take(arity, batch));
        if open.is_empty() {
            self.is_open.store(false, Ordering::Relaxed);
        }
    }
}

impl OpenTap {
    /// Copies the wanted tuples of a batch, as far as there is room. Returns false if the watcher
    /// is gone.
    fn take(&mut self, arity: usize, batch: &Batch) -> bool {
        for tuple in 0..batch.tuples {
            self.passed += 1;
            if !self.passed.is_multiple_of(self.every) {
                continue;
            }
            let values = batch.values[tuple * arity..(tuple + 1) * arity].to_vec();
            match self.sender.try_send(TappedTuple { source: self.source, values }) {
                Ok(()) => {}
                Err(TrySendError::Disconnected(_)) => return false,
                Err(TrySendError::Full(_)) => {
                    let left = (batch.tuples - tuple) as u64;
                    self.passed += left - 1;
                    self.missed.fetch_add(left.div_ceil(self.every), Ordering::Relaxed);
                    return true;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(numbers: std::ops::Range<i64>) -> Batch {
        let tuples = numbers.clone().count();
        let values = numbers.flat_map(|number| [Value::Int(number), Value::Null]).collect();
        Batch { values, tuples, bytes: 0, times: Vec::new() }
    }

    #[test]
    fn a_tap_shows_what_finds_room_and_counts_the_rest() {
        let (component, stream) = (ComponentTap::default(), StreamId(1));
        let tap = Tap::default();
        assert!(!component.is_open());
        tap.open(&component, stream, 10, 7);
        component.offer(StreamId(0), 2, &batch(0..100));
        component.offer(stream, 2, &batch(0..100));
        let (receiver, missed) = tap.split();
        let shown: Vec<i64> = receiver
            .try_iter()
            .map(|tuple| {
                assert_eq!((tuple.source, tuple.values.len()), (7, 2));
                tuple.values[0].as_int().unwrap()
            })
            .collect();
        assert_eq!(shown, (9..100).step_by(10).collect::<Vec<_>>());
        for _ in 0..40 {
            component.offer(stream, 2, &batch(0..100));
        }
        assert_eq!(receiver.try_iter().count(), WAITING_MAX);
        assert_eq!(missed.load(Ordering::Relaxed), 400 - WAITING_MAX as u64);
        drop(receiver);
        component.offer(stream, 2, &batch(0..100));
        assert!(!component.is_open());
    }
}
