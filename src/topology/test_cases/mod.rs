//! `tests:` of a topology file: posts that go in, and rows that are expected to come out, on a
//! clock that the test sets. They are read and checked here; `engine/test_run` runs them.

mod expect;
mod input;
mod pattern;
mod read;
mod values;

#[cfg(test)]
pub(super) use read::TEST_FIELDS;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use time::OffsetDateTime;
use time::macros::datetime;

use crate::post::Post;
use crate::tuple::{Fields, StreamId};
use crate::value::Value;

pub use pattern::{FieldDifference, Pattern};
pub(super) use read::{Known, read_all};

/// The time at which a test begins that sets none. It is the same in every run, so that no result
/// depends on the day.
pub(crate) const TEST_CLOCK_DEFAULT: OffsetDateTime = datetime!(2000-01-01 00:00 UTC);

/// The most rows that one list of a test may name. Each of them is compared with each row that came, so
/// a longer list would take minutes where it doesn't match.
pub(crate) const EXPECTED_ROWS_MAX: usize = 2_000;

/// One test of a topology.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// Its name.
    pub name: String,
    /// The place of its name in the file.
    pub place: TestPlace,
    /// The time at which it begins.
    pub clock: OffsetDateTime,
    /// True if the sources end behind the last step, so that windows emit what they hold.
    pub ends: bool,
    /// Variables of the environment, for what bolts name by `Env`.
    pub env: BTreeMap<String, String>,
    /// The input of each spout.
    pub inputs: Vec<TestInput>,
    /// The expectations of components.
    pub expected: Vec<ExpectedStream>,
    /// The dead letters that are expected. Without them any dead letter is a failure.
    pub dead_letters: Option<ExpectedRows>,
}

/// A place in a topology file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestPlace {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
}

impl fmt::Display for TestPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The input of one spout in a test.
#[derive(Clone, Debug)]
pub struct TestInput {
    /// The spout's id.
    pub spout: String,
    /// The stream that all of it goes to. `None` for the one that the spout would choose.
    pub stream: Option<StreamId>,
    /// The steps, in order.
    pub steps: Vec<TestStep>,
}

/// One step of a test's input.
#[derive(Clone, Debug)]
pub enum TestStep {
    /// A post. `topics` is given where those that the spout would give aren't meant.
    Post {
        /// The post.
        post: Post,
        /// The topics that it matched.
        topics: Option<Value>,
    },
    /// A tuple of a stream that isn't one of posts.
    Tuple(Vec<Value>),
    /// The posts or tuples of a file, one JSON object a line.
    File {
        /// Its path.
        path: PathBuf,
        /// The place where it is named.
        place: TestPlace,
        /// The fields of the tuples, where they aren't posts.
        fields: Option<Fields>,
    },
    /// It is this time now, and no older post is expected from the spout.
    Clock(OffsetDateTime),
}

/// The expectation of one component.
#[derive(Clone, Debug)]
pub struct ExpectedStream {
    /// Its id.
    pub component: String,
    /// The stream, where the component isn't a sink.
    pub stream: Option<StreamId>,
    /// The component for messages: `bolt "count"`, `bolt "features", stream "keys"`, `sink "lake"`.
    pub title: String,
    /// The rows.
    pub rows: ExpectedRows,
}

/// Rows that are expected.
#[derive(Clone, Debug)]
pub struct ExpectedRows {
    /// The place of the list.
    pub place: TestPlace,
    /// The way in which they are compared with those that come.
    pub kind: ExpectedKind,
    /// The rows, each with its place.
    pub rows: Vec<ExpectedRow>,
}

/// The way in which expected rows are compared with those that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedKind {
    /// These and no others, in any order.
    Exactly,
    /// These and no others, in this order.
    Ordered,
    /// At least these.
    AtLeast,
    /// So many, whatever they say.
    Count(u64),
}

/// One row that is expected.
#[derive(Clone, Debug)]
pub struct ExpectedRow {
    /// Its place.
    pub place: TestPlace,
    /// Its values; fields that it doesn't name may have any value.
    pub pattern: Pattern,
}

/// Reads a row of a file as a tuple with these fields.
///
/// # Errors
/// If it is no JSON object, or has other fields.
pub fn tuple_of_json(fields: &Fields, json: &str) -> Result<Vec<Value>, String> {
    values::tuple_of_json(fields, json)
}
