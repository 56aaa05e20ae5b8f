//! The contract of a component in a topology file: its name, its role, and its problems.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The configuration of a component, in a topology file the value of `run:`. The doc comments of
/// the type and of its fields are the help that `waterspout components show` prints.
pub trait Component: DeserializeOwned + Serialize + JsonSchema + Send + Sync + 'static {
    /// The name in RON, such as `Lines`.
    const NAME: &'static str;
    /// Other names for the same component.
    const ALIASES: &'static [&'static str] = &[];
    /// One sentence on the fate of a post in this component when something fails. `validate`,
    /// `graph` and `components show` print it.
    const GUARANTEE: &'static str;
}

/// The role of a component.
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
    /// Returns the name of the role.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spout => "spout",
            Self::Bolt => "bolt",
            Self::Sink => "sink",
        }
    }
}

/// A problem of a component's configuration, found by the component itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field of the configuration that is wrong.
    pub field: &'static str,
    /// The problem, and what was expected.
    pub what: String,
    /// The wrong name and the valid ones, for "did you mean".
    pub candidates: Option<(String, Vec<String>)>,
}
