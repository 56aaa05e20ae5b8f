//! Where a bolt emits to.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::event_time::EventTime;
use crate::flow::Emitter;
use crate::tuple::StreamId;
use crate::value::Value;

/// Where a bolt emits to. What one `execute` emits goes out when it returns `Ok`.
pub struct Output {
    pub(crate) emitter: Emitter,
    /// The number of the hidden stream to the dead letters, behind the declared ones.
    pub(crate) dead: StreamId,
    /// The bolt keeps back the watermark that it was called with.
    pub(crate) holds_watermark: bool,
    /// Tuples of earlier calls that are to become dead letters.
    pub(crate) buried: Vec<BuriedTuple>,
    /// The number of tuples of earlier calls that failed and that nobody has counted yet.
    pub(crate) late_failures: u64,
}

/// A tuple that an earlier call took, and that becomes a dead letter.
pub(crate) struct BuriedTuple {
    /// The position of the input that it came by.
    pub input: usize,
    /// Its values.
    pub values: Box<[Value]>,
    /// Why it failed.
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

    /// True if a component of the topology takes this stream. A tuple that nobody takes is gone:
    /// a bolt may ask before it makes many.
    pub fn is_taken(&self, stream: StreamId) -> bool {
        self.emitter.is_taken(stream)
    }

    /// Emits a tuple on a stream; of each bolt that takes it by direct grouping, only the task with
    /// this number gets it.
    pub fn emit_direct(
        &mut self,
        stream: StreamId,
        task: usize,
        values: impl IntoIterator<Item = Value>,
    ) {
        self.emitter.emit(stream, Some(task), values);
    }

    /// Emits a tuple like [`emit_to`](Self::emit_to) and [`emit_direct`](Self::emit_direct), and
    /// adds the numbers of the tasks that get it, as they stand in the plan.
    pub fn emit_told(
        &mut self,
        stream: StreamId,
        direct_to: Option<usize>,
        values: impl IntoIterator<Item = Value>,
        tasks: &mut Vec<usize>,
    ) {
        self.emitter.emit_told(stream, direct_to, values, tasks);
    }

    /// Lets what this call has emitted so far go out, also if the call fails later: for a bolt
    /// whose emits are answers to earlier tuples.
    ///
    /// # Errors
    /// Fatal if it emitted what it hasn't declared.
    pub fn keep(&mut self) -> Result<()> {
        self.emitter.commit().map_err(Error::fatal)
    }

    /// True if something that was emitted found no room: a bolt that can wait with more should.
    pub fn is_blocked(&self) -> bool {
        self.emitter.is_blocked()
    }

    /// Says that a tuple failed that an earlier call took, as a try that counts.
    pub fn count_late_failure(&mut self) {
        self.late_failures += 1;
    }

    /// Sends a tuple that an earlier call took to the dead letters.
    pub fn bury(&mut self, input: usize, values: Box<[Value]>, error: Error) {
        self.buried.push(BuriedTuple { input, values, error });
    }

    /// Gives what this call emits from here on another event time than that of the tuple or the
    /// watermark that the call is for.
    pub fn set_time(&mut self, time: EventTime) {
        self.emitter.set_time(time);
    }

    /// In a call of [`Bolt::watermark`](crate::bolt::Bolt::watermark): keeps that watermark back,
    /// since answers to earlier tuples are still to come. It goes on with a later watermark that
    /// isn't kept back, or behind the next [`Bolt::barrier`](crate::bolt::Bolt::barrier).
    pub fn hold_watermark(&mut self) {
        self.holds_watermark = true;
    }

    /// Ends a call of the bolt: what it emitted goes out, or is discarded if the call failed.
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
