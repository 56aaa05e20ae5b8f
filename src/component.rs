//! The contract of a component as a topology file names it: its name, its role, and what can be
//! wrong with it.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The configuration of a component as a topology file writes it behind `run:`. The doc comments of
/// the type and of its fields are the help that `waterspout components show` prints.
pub trait Component: DeserializeOwned + Serialize + JsonSchema + Send + Sync + 'static {
    /// The name in RON, such as `Lines`.
    const NAME: &'static str;
    /// Other names for the same component.
    const ALIASES: &'static [&'static str] = &[];
    /// One sentence on what becomes of a post here when something fails: what `validate`, `graph`
    /// and `components show` print.
    const GUARANTEE: &'static str;
}

/// What a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Makes tuples from outside.
    Spout,
    /// Takes tuples and may emit more.
    Bolt,
    /// A bolt that writes outside.
    Sink,
}

impl Role {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spout => "spout",
            Self::Bolt => "bolt",
            Self::Sink => "sink",
        }
    }
}

/// What is wrong with a component's configuration, found by the component itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field of the configuration that is wrong.
    pub field: &'static str,
    /// What is wrong, what was expected.
    pub what: String,
    /// The wrong name and the valid ones, for "did you mean".
    pub candidates: Option<(String, Vec<String>)>,
}
