//! Where a bolt emits to.

use bytes::Bytes;

use super::emitter::Emitter;
use crate::error::{Error, Result};
use crate::tuple::StreamId;
use crate::value::Value;

/// Where a bolt emits to. What one `execute` emits goes out when it returns `Ok`.
pub struct Output {
    pub(super) emitter: Emitter,
    /// The number of the hidden stream to the dead letters, behind the declared ones.
    pub(super) dead: StreamId,
}

impl Output {
    /// Emits a tuple on the stream `default`: one value for each declared field.
    pub fn emit(&mut self, values: impl IntoIterator<Item = Value>) {
        self.emitter.emit(StreamId::DEFAULT, None, values);
    }

    /// Emits a tuple on a stream.
    pub fn emit_to(&mut self, stream: StreamId, values: impl IntoIterator<Item = Value>) {
        self.emitter.emit(stream, None, values);
    }

    /// Emits a tuple on a stream; of each bolt that takes it by direct grouping, only the task with
    /// this number gets it.
    pub fn emit_direct(&mut self, stream: StreamId, task: usize, values: impl IntoIterator<Item = Value>) {
        self.emitter.emit(stream, Some(task), values);
    }

    /// Ends a call of the bolt: what it emitted goes out, or is discarded if the call failed.
    #[inline]
    pub(super) fn end_call(&mut self, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => self.emitter.commit().map_err(Error::fatal),
            Err(error) => {
                self.emitter.roll_back();
                Err(error)
            }
        }
    }

    /// Emits a dead letter, which is a post of the kind `dead`.
    pub(super) fn emit_dead(&mut self, letter: Bytes) {
        self.emitter.emit(self.dead, None, [Value::Json(letter)]);
    }
}
