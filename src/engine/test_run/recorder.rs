//! Records the tuples that a sink gets, in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::component::Problem;
use crate::error::Result;
use crate::sink::{Sink, SinkConfig, SinkContext};
use crate::tuple::{Fields, Tuple};
use crate::value::Value;

/// The largest number of bytes that a recorder keeps. Comparing more than this would take seconds,
/// and no person reads that much.
const RECORDED_BYTES_MAX: usize = 256 << 20;

#[derive(Default)]
struct Recorded {
    tuples: Vec<(usize, Vec<Value>)>,
    bytes: usize,
    is_full: bool,
}

/// A sink that keeps all tuples, each with the number of its input.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Recorded>>);

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the tuples so far, in the order of arrival.
    pub(crate) fn tuples(&self) -> Vec<(usize, Vec<Value>)> {
        self.lock().tuples.clone()
    }

    /// Returns true if the limit was reached and some tuples weren't kept.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_full
    }
}

impl SinkConfig for Recorder {
    fn check(&self, _inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    fn build(&self, _context: SinkContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }

    fn blocks(&self) -> bool {
        false
    }
}

impl Sink for Recorder {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        let mut recorded = self.lock();
        recorded.bytes += tuple.values.iter().map(Value::weight).sum::<usize>();
        if recorded.bytes > RECORDED_BYTES_MAX {
            recorded.is_full = true;
            return Ok(());
        }
        let values = tuple.values.iter().map(Value::detached).collect();
        recorded.tuples.push((tuple.input, values));
        Ok(())
    }
}
