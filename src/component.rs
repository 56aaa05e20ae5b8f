//! The contract of a component in a topology file: its name, its role, and its problems.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::tuple::Fields;

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

/// The description of a running topology that its components may see: names, tasks, and the
/// receivers of each stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopologyOutline {
    /// Its name.
    pub name: String,
    /// Its components, without hidden ones.
    pub components: Vec<ComponentOutline>,
}

/// A component in a [`TopologyOutline`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentOutline {
    /// Its id.
    pub id: String,
    /// The number of its first task in the plan; its other tasks have the numbers after it.
    pub first_task: usize,
    /// The number of its tasks.
    pub tasks: usize,
    /// Its streams and their fields.
    pub streams: Vec<(String, Fields)>,
    /// Its inputs.
    pub inputs: Vec<InputOutline>,
}

/// An input in a [`TopologyOutline`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputOutline {
    /// The id of the component that emits.
    pub from: String,
    /// The name of the stream.
    pub stream: String,
    /// The name of the grouping in RON.
    pub grouping: &'static str,
    /// The names of the fields that it groups by.
    pub keys: Vec<String>,
}

impl TopologyOutline {
    /// Returns the component with this id.
    pub fn component(&self, id: &str) -> Option<&ComponentOutline> {
        self.components.iter().find(|component| component.id == id)
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
