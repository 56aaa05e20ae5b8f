//! `Filter`: passes the tuples for which a jq expression is true.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::input::InputPlaces;
use super::program::Program;
use super::{compile_checked, steps_usual};
use crate::bolt::{Bolt, BoltConfig, BoltContext, Output};
use crate::component::{Component, Problem};
use crate::error::{Error, Result};
use crate::tuple::{Fields, Streams, Tuple};

/// Passes on the tuples, unchanged, for which a jq expression is true, such as
/// `Filter(where: ".tweet.lang == \"en\"")`. The expression gets the post (`{"tweet": {…}}`), or an
/// object of all fields if the input has no field `post`; `$tuple` is an object of the other
/// fields, as in `$tuple.kind == "tweet"`. As in jq's own `select`, every value except `null` and
/// `false` is true. If an expression gives several values, the tuple passes once if one of them is
/// true; without a value it doesn't pass. All inputs must declare the same fields.
///
/// The expression is checked before anything starts. It only has access to its tuple: no files, no
/// environment (`env`, `$ENV`), no other input (`input`), no clock (`now`). If it fails on a tuple,
/// `on_error` decides what happens.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The jq expression.
    pub r#where: String,
    /// The maximum number of steps of the expression per tuple. Each call, each round of a loop,
    /// and each part of a value that is made takes about one step. An expression that needs more
    /// fails on this tuple. The default allows a fraction of a second and at most about 64 MiB;
    /// each further million allows about a second and 256 MiB.
    #[serde(default = "steps_usual")]
    pub max_steps: NonZeroU32,
}

impl Component for Filter {
    const NAME: &'static str = "Filter";
    const GUARANTEE: &'static str =
        "keeps no state: each tuple passes or is dropped, depending only on its content";
}

impl BoltConfig for Filter {
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Err(flaw) = Program::compile(&self.r#where, self.max_steps.get()) {
            problems.push(flaw.problem("where"));
        }
        let first = inputs.first().cloned().unwrap_or_default();
        if let Some(other) = inputs.iter().find(|input| **input != first) {
            let what = format!(
                "expected inputs with the same fields, found {first} and {other}: give each its \
                 own Filter"
            );
            problems.push(Problem { field: "where", what, candidates: None });
        }
        if problems.is_empty() { Ok(Streams::default_with(first)) } else { Err(problems) }
    }

    fn build(&self, context: &BoltContext) -> Result<Box<dyn Bolt>> {
        let program = compile_checked(&self.r#where, self.max_steps)?;
        let places = context.inputs.iter().map(InputPlaces::of).collect();
        Ok(Box::new(Sieve { program, places }))
    }
}

struct Sieve {
    program: Program,
    /// The positions of the fields of each input.
    places: Vec<InputPlaces>,
}

impl Sieve {
    fn passes(&self, tuple: Tuple<'_>) -> Result<bool> {
        let places = self
            .places
            .get(tuple.input)
            .ok_or_else(|| Error::fatal("a tuple came from an input that doesn't exist"))?;
        let mut passes = false;
        let input = places.input(tuple)?;
        self.program.run(input, places.tuple(&self.program, tuple)?, |output| {
            passes = jaq_core::ValT::as_bool(&output);
            Ok(!passes)
        })?;
        Ok(passes)
    }
}

/// A jq condition on tuples, for a watcher of passing tuples.
pub(crate) struct Condition(Sieve);

impl Condition {
    /// Compiles an expression for tuples of inputs with these fields.
    ///
    /// # Errors
    /// If the expression has a flaw.
    pub(crate) fn compile(code: &str, inputs: &[Fields]) -> Result<Self> {
        let program = compile_checked(code, steps_usual())?;
        Ok(Self(Sieve { program, places: inputs.iter().map(InputPlaces::of).collect() }))
    }

    /// Returns true if one of the values that it gives is true.
    ///
    /// # Errors
    /// If the expression fails on this tuple.
    pub(crate) fn holds(&self, tuple: Tuple<'_>) -> Result<bool> {
        self.0.passes(tuple)
    }
}

impl Bolt for Sieve {
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        if self.passes(tuple)? {
            out.emit(tuple.values.iter().cloned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
