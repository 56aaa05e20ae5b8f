//! A sink that keeps what it gets, in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::component::Problem;
use crate::error::Result;
use crate::sink::{Sink, SinkConfig, SinkContext};
use crate::tuple::{Fields, Tuple};
use crate::value::Value;

/// The most that one recorder keeps, in bytes. A test with more than this takes seconds to compare, and no person
/// reads it.
const RECORDED_BYTES_MAX: usize = 256 << 20;

#[derive(Default)]
struct Recorded {
    tuples: Vec<(usize, Vec<Value>)>,
    bytes: usize,
    is_full: bool,
}

/// Keeps all tuples, each with the input that it came by.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Recorded>>);

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tuples so far, in the order in which they came.
    pub(crate) fn tuples(&self) -> Vec<(usize, Vec<Value>)> {
        self.lock().tuples.clone()
    }

    /// True if more came than is kept.
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
