//! Tuples as lines of NDJSON.

use crate::post::break_no_lines;
use crate::tuple::{Fields, Tuple, to_json};
use crate::value::Value;

/// Writes tuples as lines. A tuple of a source (`post`, `kind`, `topics`) is its post alone, so
/// that another `Lines` can read it; any other tuple is an object of its fields.
pub(super) struct LineWriter {
    inputs: Vec<LineInput>,
}

struct LineInput {
    fields: Fields,
    of_posts: bool,
}

impl LineWriter {
    /// For inputs with these fields.
    pub(crate) fn new(inputs: Vec<Fields>) -> Self {
        let posts = Fields::of_posts();
        let input = |fields: Fields| LineInput { of_posts: fields == posts, fields };
        Self { inputs: inputs.into_iter().map(input).collect() }
    }

    /// True if the input's tuples are posts.
    pub(crate) fn is_of_posts(&self, input: usize) -> bool {
        self.inputs[input].of_posts
    }

    /// Appends a tuple as one line that ends with a line break and contains no other.
    pub(crate) fn append(&self, tuple: Tuple<'_>, into: &mut Vec<u8>) {
        let input = &self.inputs[tuple.input];
        match tuple.values.first() {
            Some(Value::Post(post)) if input.of_posts => into.extend_from_slice(post),
            _ => {
                let start = into.len();
                to_json(&input.fields, tuple.values, into);
                // A raw JSON value may contain line breaks between its members.
                break_no_lines(&mut into[start..]);
            }
        }
        into.push(b'\n');
    }
}
