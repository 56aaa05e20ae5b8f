//! A jq expression as the template of the data that a sink sends.

use std::num::NonZeroU32;

use jaq_json::Val;

use super::compile_checked;
use super::convert::into_json;
use super::input::InputPlaces;
use super::program::Program;
use crate::component::Problem;
use crate::error::{Error, Result};
use crate::tuple::{Fields, Tuple};

/// A compiled template, for tuples of these inputs.
pub(crate) struct BodyTemplate {
    program: Program,
    /// The positions of the fields of each input.
    places: Vec<InputPlaces>,
}

/// The result of a template for a tuple.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Any value except a text, as JSON.
    Json(Vec<u8>),
    /// A text.
    Text(Vec<u8>),
}

impl BodyTemplate {
    /// Returns the problem of an expression in this field, with its place.
    pub(crate) fn problem(
        field: &'static str,
        code: &str,
        max_steps: NonZeroU32,
    ) -> Option<Problem> {
        Program::compile(code, max_steps.get()).err().map(|flaw| flaw.problem(field))
    }

    /// Compiles an expression that was validated before.
    ///
    /// # Errors
    /// If it has a flaw nevertheless: a fatal error.
    pub(crate) fn compile(code: &str, max_steps: NonZeroU32, inputs: &[Fields]) -> Result<Self> {
        let places = inputs.iter().map(InputPlaces::of).collect();
        Ok(Self { program: compile_checked(code, max_steps)?, places })
    }

    /// Returns the value of the expression for a tuple; `None` if it gives no value.
    ///
    /// # Errors
    /// Rejected if it fails on this tuple, or gives several values.
    pub(crate) fn body(&self, tuple: Tuple<'_>) -> Result<Option<Body>> {
        let places = self
            .places
            .get(tuple.input)
            .ok_or_else(|| Error::fatal("a tuple came from an input that doesn't exist"))?;
        let mut body = None;
        let several = || Error::rejected("the jq filter gives several values, expected one");
        let rest = places.tuple(&self.program, tuple)?;
        self.program.run(places.input(tuple)?, rest, |output| {
            let made = match &output {
                Val::TStr(text) | Val::BStr(text) => Body::Text(text.to_vec()),
                other => Body::Json(into_json(other)?),
            };
            match body.replace(made) {
                None => Ok(true),
                Some(_) => Err(several()),
            }
        })?;
        Ok(body)
    }
}
