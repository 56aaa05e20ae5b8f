//! Tuples that failed, and work that was lost: dead letters, and the way back to a checkpoint.

use super::{BoltTask, TaskInput, Worker};
use crate::dead_letter::of_tuple;
use crate::error::Error;
use crate::flow::{Batch, BuriedTuple};
use crate::keys::stable_hash;
use crate::protocol::Report;
use crate::tuple::Tuple;
use crate::value::Value;

impl BoltTask {
    /// The topology has to go back: work is lost, perhaps over a tuple that is known.
    pub(super) fn report_broken(&self, error: &Error) {
        let tuple = match &self.worker {
            Worker::Bolt(bolt) => bolt.blames().map(stable_hash),
            Worker::Sink(..) => None,
        };
        self.reporter.send(Report::Broken { cause: error.chain(), tuple });
    }

    /// Counts tuples of earlier calls that failed, and makes dead letters of those that are given
    /// up.
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

    /// Sends a tuple to the dead letters, or only counts it, if they come faster than can be kept.
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
