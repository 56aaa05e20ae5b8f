//! The input of a jq expression for a tuple.

use std::sync::Arc;

use jaq_json::Val;

use super::convert::{from_fields, from_json, from_value};
use super::program::Program;
use crate::error::Result;
use crate::tuple::{Fields, Tuple};
use crate::value::Value;

/// The field that holds posts.
const POST: &str = "post";

/// The positions of the fields of one input.
pub(crate) struct InputPlaces {
    fields: Fields,
    post: Option<usize>,
}

impl InputPlaces {
    pub(crate) fn of(fields: &Fields) -> Self {
        Self { fields: fields.clone(), post: fields.position(POST) }
    }

    /// Returns the position of the field with the post.
    pub(crate) fn post(&self) -> Option<usize> {
        self.post
    }

    /// Returns the position of a field.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.fields.position(name)
    }

    /// Returns the input of the expression: the post, or an object of all fields if the input has
    /// none.
    ///
    /// # Errors
    /// If jq can't parse it.
    pub(crate) fn input(&self, tuple: Tuple<'_>) -> Result<Val> {
        match self.post.map(|post| tuple.value(post)) {
            Some(Value::Post(post)) => from_json(post),
            Some(other) => from_value(other),
            None => self.rest(tuple),
        }
    }

    /// Returns the value of `$tuple`: an object of the other fields.
    ///
    /// # Errors
    /// If jq can't parse it.
    pub(crate) fn tuple(&self, program: &Program, tuple: Tuple<'_>) -> Result<Val> {
        if program.uses_tuple { self.rest(tuple) } else { Ok(Val::Null) }
    }

    fn rest(&self, tuple: Tuple<'_>) -> Result<Val> {
        let named = self.fields.names().iter().zip(tuple.values).enumerate();
        let rest = named.filter(|(position, _)| Some(*position) != self.post);
        from_fields(rest.map(|(_, field)| field))
    }
}

/// Returns true if an output of an expression is the same value as its input.
pub(crate) fn is_same(output: &Val, input: &Val) -> bool {
    match (output, input) {
        (Val::Obj(output), Val::Obj(input)) => {
            std::ptr::eq(&raw const **output, &raw const **input)
        }
        _ => false,
    }
}

/// Returns an empty list of topics, which all posts share.
pub(crate) fn no_topics() -> Value {
    Value::List(Arc::from([]))
}
