//! Handles tuples that failed and work that was lost: writes dead letters, and asks for a roll-back
//! to a checkpoint.

use super::{BoltTask, TaskInput, Worker};
use crate::dead_letter::of_tuple;
use crate::error::Error;
use crate::flow::{Batch, BuriedTuple};
use crate::keys::stable_hash;
use crate::protocol::Report;
use crate::tuple::Tuple;
use crate::value::Value;

impl BoltTask {
    /// Asks for a roll-back, because work was lost, perhaps over a known tuple.
    pub(super) fn report_broken(&self, error: &Error) {
        let tuple = match &self.worker {
            Worker::Bolt(bolt) => bolt.blames().map(stable_hash),
            Worker::Sink(..) => None,
        };
        self.reporter.send(Report::Broken { cause: error.chain(), tuple });
    }

    /// Counts tuples of earlier calls that failed, and sends those that are given up to the dead
    /// letters.
    #[inline]
    pub(super) fn settle_late(&mut self) {
        if self.output.late_failures > 0 {
            self.meter.add_failures(std::mem::take(&mut self.output.late_failures));
        }
        if !self.output.buried.is_empty() {
            self.bury_late();
        }
    }

    #[cold]
    fn bury_late(&mut self) {
        for BuriedTuple { input, values, error } in std::mem::take(&mut self.output.buried) {
            self.bury_values(input, &values, &error);
        }
    }

    /// Sends a tuple to the dead letters. If letters come too fast to be kept, the tuple is only
    /// counted.
    pub(super) fn bury(&mut self, input: usize, batch: &Batch, at: usize, error: &Error) {
        let arity = self.inputs[input].fields.len();
        self.bury_values(input, &batch.values[at * arity..(at + 1) * arity], error);
    }

    fn bury_values(&mut self, input: usize, values: &[Value], error: &Error) {
        let tuple = Tuple::new(values, input);
        let TaskInput { from, fields } = &self.inputs[input];
        let letter =
            of_tuple(&self.component, &error.chain(), self.clock.now(), from, fields, tuple);
        if self.letters.take(letter.len(), self.clock.monotonic()) {
            self.output.emit_dead(letter);
            self.output.emitter.commit().expect("the hidden stream takes one value");
        }
        self.meter.add_dead_letters(1);
    }
}
