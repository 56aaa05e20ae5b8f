//! `Filter`: the tuples for which a jq expression is true.

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

/// Passes the tuples on, unchanged, for which a jq expression is true, such as
/// `Filter(where: ".tweet.lang == \"en\"")`. The expression gets the post (`{"tweet": {…}}`), or an
/// object of all fields where the input has no field `post`; `$tuple` is an object of the other
/// fields, as in `$tuple.kind == "tweet"`. As in jq's own `select`, each value but `null` and
/// `false` is true. An expression that gives several values passes the tuple once if one of them is
/// true, and one that gives none doesn't pass it. All inputs must declare the same fields.
///
/// The expression is checked before anything starts. It sees nothing but its tuple: no files, no
/// environment (`env`, `$ENV`), no other input (`input`), no clock (`now`). A tuple on which it
/// fails goes the way of `on_error`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The jq expression.
    pub r#where: String,
    /// The steps that the expression may take for one tuple: about one for each call, round of a
    /// loop, and part of a value that is made. An expression that takes more fails on this tuple.
    /// The usual number is a fraction of a second and at most some 64 MiB; each million more is
    /// about a second and 256 MiB.
    #[serde(default = "steps_usual")]
    pub max_steps: NonZeroU32,
}

impl Component for Filter {
    const NAME: &'static str = "Filter";
    const GUARANTEE: &'static str =
        "keeps nothing: a tuple goes on as it came, or doesn't, by what it holds alone";
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
    /// Of each input.
    places: Vec<InputPlaces>,
}

impl Sieve {
    fn passes(&self, tuple: Tuple<'_>) -> Result<bool> {
        let places = self
            .places
            .get(tuple.input)
            .ok_or_else(|| Error::fatal("a tuple came by an input that isn't there"))?;
        let mut passes = false;
        let input = places.input(tuple)?;
        self.program.run(input, places.tuple(&self.program, tuple)?, |output| {
            passes = jaq_core::ValT::as_bool(&output);
            Ok(!passes)
        })?;
        Ok(passes)
    }
}

/// Whether a jq expression is true of a tuple, for whoever watches tuples.
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
