//! Reads and checks `tests:` of a topology file: input posts, and expected rows, on a clock that
//! the test sets. `engine/test_run` runs the tests.

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

/// The time at which a test begins if the test sets no clock. It is the same in every run, so that
/// no result depends on the day.
pub(crate) const TEST_CLOCK_DEFAULT: OffsetDateTime = datetime!(2000-01-01 00:00 UTC);

/// The largest number of rows in one list of a test. Each of them is compared with each row that
/// the topology produced, so a longer list would take minutes if it doesn't match.
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
    /// True if the sources end after the last step, so that windows emit the rows that they hold.
    pub ends: bool,
    /// Variables of the environment for bolts that use `Env`.
    pub env: BTreeMap<String, String>,
    /// The input of each spout.
    pub inputs: Vec<TestInput>,
    /// The expectations of components.
    pub expected: Vec<ExpectedStream>,
    /// The expected dead letters. If they aren't given, any dead letter is a failure.
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
    /// The stream of all steps; `None` for the stream that the spout itself would choose.
    pub stream: Option<StreamId>,
    /// The steps, in order.
    pub steps: Vec<TestStep>,
}

/// One step of a test's input.
#[derive(Clone, Debug)]
pub enum TestStep {
    /// A post. `topics` replaces the topics that the spout would give it.
    Post {
        /// The post.
        post: Post,
        /// The topics that it matched.
        topics: Option<Value>,
    },
    /// A tuple of a stream whose tuples aren't posts.
    Tuple(Vec<Value>),
    /// The posts or tuples of a file, one JSON object a line.
    File {
        /// Its path.
        path: PathBuf,
        /// The place where the file is named.
        place: TestPlace,
        /// The fields of the tuples, if they aren't posts.
        fields: Option<Fields>,
    },
    /// Sets the clock to this time: no older post is expected from the spout.
    Clock(OffsetDateTime),
}

/// The expectation of one component.
#[derive(Clone, Debug)]
pub struct ExpectedStream {
    /// Its id.
    pub component: String,
    /// The stream, if the component isn't a sink.
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
    /// The way in which the expected rows are compared with the actual ones.
    pub kind: ExpectedKind,
    /// The rows, each with its place.
    pub rows: Vec<ExpectedRow>,
}

/// The way in which expected rows are compared with actual ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedKind {
    /// These and no others, in any order.
    Exactly,
    /// These and no others, in this order.
    Ordered,
    /// At least these.
    AtLeast,
    /// This number of rows, of any content.
    Count(u64),
}

/// One row that is expected.
#[derive(Clone, Debug)]
pub struct ExpectedRow {
    /// Its place.
    pub place: TestPlace,
    /// The pattern of its values. A field that the pattern doesn't name may have any value.
    pub pattern: Pattern,
}

/// Reads a row of a file as a tuple with these fields.
///
/// # Errors
/// If the row isn't a JSON object, or has other fields.
pub fn tuple_of_json(fields: &Fields, json: &str) -> Result<Vec<Value>, String> {
    values::tuple_of_json(fields, json)
}
