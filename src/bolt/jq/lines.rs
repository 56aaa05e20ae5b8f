//! A jq expression whose outputs are lines, for sinks.

use std::num::NonZeroU32;

use super::compile_checked;
use super::convert::into_json;
use super::input::InputPlaces;
use super::program::Program;
use crate::component::Problem;
use crate::error::Result;
use crate::tuple::{Fields, Tuple};

/// An expression whose outputs for a tuple become lines of JSON.
pub(crate) struct LineFilter {
    program: Program,
    /// The positions of the fields of each input.
    places: Vec<InputPlaces>,
}

impl LineFilter {
    /// Returns the flaw of an expression as a problem of its field.
    pub(crate) fn problem(
        code: &str,
        max_steps: NonZeroU32,
        field: &'static str,
    ) -> Option<Problem> {
        Program::compile(code, max_steps.get()).err().map(|flaw| flaw.problem(field))
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// If the expression has a flaw.
    pub(crate) fn new(code: &str, max_steps: NonZeroU32, inputs: &[Fields]) -> Result<Self> {
        Ok(Self {
            program: compile_checked(code, max_steps)?,
            places: inputs.iter().map(InputPlaces::of).collect(),
        })
    }

    /// Appends a line for each output.
    ///
    /// # Errors
    /// If the expression fails; then nothing is appended.
    pub(crate) fn append(&self, tuple: Tuple<'_>, into: &mut Vec<u8>) -> Result<()> {
        let start = into.len();
        let places = &self.places[tuple.input];
        let input = places.input(tuple)?;
        let rest = places.tuple(&self.program, tuple)?;
        let appended = self.program.run(input, rest, |value| {
            into.extend_from_slice(&into_json(&value)?);
            into.push(b'\n');
            Ok(true)
        });
        if appended.is_err() {
            into.truncate(start);
        }
        appended
    }
}
