//! The output to which a bolt emits.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::event_time::EventTime;
use crate::flow::Emitter;
use crate::tuple::StreamId;
use crate::value::Value;

/// The output of a bolt. Tuples that a call of `execute` emits are sent when the call returns `Ok`.
pub struct Output {
    pub(crate) emitter: Emitter,
    /// The number of the hidden stream to the dead letters, after the declared streams.
    pub(crate) dead: StreamId,
    /// True if the bolt keeps back the watermark of the present call.
    pub(crate) holds_watermark: bool,
    /// Tuples of earlier calls that become dead letters.
    pub(crate) buried: Vec<BuriedTuple>,
    /// The number of failures of earlier calls' tuples that the task hasn't counted yet.
    pub(crate) late_failures: u64,
}

/// A tuple of an earlier call that becomes a dead letter.
pub(crate) struct BuriedTuple {
    /// The position of the tuple's input.
    pub input: usize,
    /// Its values.
    pub values: Box<[Value]>,
    /// The reason for the failure.
    pub error: Error,
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

    /// Returns true if a component of the topology takes this stream. Tuples of a stream that no
    /// component takes are discarded, so a bolt may ask before it emits many.
    pub fn is_taken(&self, stream: StreamId) -> bool {
        self.emitter.is_taken(stream)
    }

    /// Emits a tuple on a stream. Of each bolt that takes the stream by direct grouping, only the
    /// task with this number gets the tuple.
    pub fn emit_direct(
        &mut self,
        stream: StreamId,
        task: usize,
        values: impl IntoIterator<Item = Value>,
    ) {
        self.emitter.emit(stream, Some(task), values);
    }

    /// Emits a tuple as [`emit_to`](Self::emit_to) and [`emit_direct`](Self::emit_direct) do, and
    /// adds the numbers in the plan of the tasks that get it.
    pub fn emit_told(
        &mut self,
        stream: StreamId,
        direct_to: Option<usize>,
        values: impl IntoIterator<Item = Value>,
        tasks: &mut Vec<usize>,
    ) {
        self.emitter.emit_told(stream, direct_to, values, tasks);
    }

    /// Sends the tuples that this call has emitted so far, even if the call fails later. For a bolt
    /// whose emits are answers to earlier tuples.
    ///
    /// # Errors
    /// A fatal error if the bolt emitted a tuple that doesn't match its declaration.
    pub fn keep(&mut self) -> Result<()> {
        self.emitter.commit().map_err(Error::fatal)
    }

    /// Returns true if some tuples found no room. A bolt that can wait before it emits more should
    /// do so.
    pub fn is_blocked(&self) -> bool {
        self.emitter.is_blocked()
    }

    /// Counts a failed attempt for a tuple of an earlier call.
    pub fn count_late_failure(&mut self) {
        self.late_failures += 1;
    }

    /// Sends a tuple of an earlier call to the dead letters.
    pub fn bury(&mut self, input: usize, values: Box<[Value]>, error: Error) {
        self.buried.push(BuriedTuple { input, values, error });
    }

    /// Sets the event time of the following emits of this call, in place of that of the tuple or
    /// watermark.
    pub fn set_time(&mut self, time: EventTime) {
        self.emitter.set_time(time);
    }

    /// Keeps back the watermark of the present call of
    /// [`Bolt::watermark`](crate::bolt::Bolt::watermark), because answers to earlier tuples are
    /// still to come. It is sent with a later watermark that isn't kept back, or after the next
    /// [`Bolt::barrier`](crate::bolt::Bolt::barrier).
    pub fn hold_watermark(&mut self) {
        self.holds_watermark = true;
    }

    /// Ends a call of the bolt. Its tuples are sent, or discarded if the call failed.
    #[inline]
    pub(crate) fn end_call(&mut self, result: Result<()>) -> Result<()> {
        match result {
            Ok(()) => self.emitter.commit().map_err(Error::fatal),
            Err(error) => {
                self.holds_watermark = false;
                self.emitter.roll_back();
                Err(error)
            }
        }
    }

    /// Emits a dead letter, which is a post of the kind `dead`.
    pub(crate) fn emit_dead(&mut self, letter: Bytes) {
        self.emitter.emit(self.dead, None, [Value::Json(letter)]);
    }
}
