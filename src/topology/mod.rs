//! WHAT runs: a topology, checked, with every name resolved. Pure: nothing here does I/O (but
//! reading topology files) or reads a clock.

mod plan;

mod component;
mod concealed;
mod config;
mod env;
mod explain;
mod graph;
mod guard;
mod in_front;
mod include;
mod input_share;
mod inputs;
mod json_form;
mod json_schema;
mod load;
mod overrides;
mod print;
mod problem;
mod record;
mod schema;
mod settings;
mod source;
mod syntax;
mod test_cases;
#[cfg(test)]
mod tests;
mod wiring;

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::time::Duration;

use crate::component::Role;
use crate::registry::Config;
use crate::tuple::{StreamId, Streams};

pub use crate::epoch::MicroBatch;
pub use crate::flow::Grouping;

pub use explain::explain;
pub use graph::{graph_dot, graph_mermaid, graph_text};
pub use guard::{Guard, PathVerdict};
pub use input_share::check_shares;
pub use json_form::file_as_json;
pub use json_schema::json_schema;
pub use load::{LoadOptions, load, load_united, parse};
pub use plan::{Plan, TaskPlan};
pub use problem::{Problems, TopologyProblem, nearest as nearest_name};
pub use test_cases::{
    ExpectedKind, ExpectedRow, ExpectedRows, ExpectedStream, FieldDifference, Pattern, TestCase,
    TestInput, TestPlace, TestStep, tuple_of_json,
};

/// A topology that can't be wrong: `file → check → Topology`.
#[derive(Clone)]
pub struct Topology {
    /// Its name.
    pub name: String,
    /// Spouts and bolts, in an order in which each comes behind all that it takes input from.
    pub components: Vec<ComponentSpec>,
    /// When and whether epochs are made durable.
    pub checkpoint: Checkpoint,
    /// When a file of the lake closes.
    pub micro_batch: MicroBatch,
    /// When a folder of the lake closes.
    pub partition_every: Duration,
    /// The bound of all that is in flight between tasks, in bytes.
    pub memory: u64,
    /// How often a topology may be rolled back before it stops.
    pub restarts: Restarts,
    /// The engine's own fields whose text comes from outside: by path (`checkpoint.every`), what
    /// was written (`Env("EVERY")`), so that [`explain`] can say so.
    pub outside: BTreeMap<String, String>,
    /// Its tests; see `waterspout test`.
    pub tests: Vec<TestCase>,
}

/// The largest parallelism hint.
pub const PARALLELISM_HINT_MAX: u16 = 1024;

/// One component of a topology.
#[derive(Clone)]
pub struct ComponentSpec {
    /// Its id.
    pub id: String,
    /// The name of its type, such as `Lines`.
    pub type_name: &'static str,
    /// What it is.
    pub role: Role,
    /// What it guarantees, in a sentence.
    pub guarantee: &'static str,
    /// Its typed configuration.
    pub config: Config,
    /// `run:` in RON, with every default written out.
    pub explained: String,
    /// How many tasks it gets, 1 to [`PARALLELISM_HINT_MAX`].
    pub parallelism_hint: NonZeroU16,
    /// Where its tuples come from; empty for a spout.
    pub inputs: Vec<InputSpec>,
    /// The streams that it declares.
    pub streams: Streams,
    /// What happens when `execute` fails.
    pub on_error: OnError,
    /// How many tuples go to another task in one go, at most.
    pub batch: usize,
    /// How long tuples wait for their batch to fill up; `None` sends as soon as there is nothing
    /// more to do.
    pub linger: Option<Duration>,
    /// The sink that asked for this bolt, which no file names; see
    /// [`SinkConfig::bolt_in_front`](crate::sink::SinkConfig::bolt_in_front).
    pub in_front_of: Option<String>,
}

/// One input of a bolt.
#[derive(Clone, Debug)]
pub struct InputSpec {
    /// The position of the component that emits, in [`Topology::components`].
    pub from: usize,
    /// Which of its streams.
    pub stream: StreamId,
    /// How its tuples are shared out.
    pub grouping: Grouping,
}

impl ComponentSpec {
    /// The place that a sink puts the tuples of an input into, for people, if it tells inputs apart.
    pub fn destination(&self, topology: &Topology, input: &InputSpec) -> Option<&'static str> {
        let Config::Sink(sink) = &self.config else { return None };
        sink.destination(topology.components[input.from].streams.fields(input.stream))
    }
}

impl Topology {
    /// The name of an input, as a topology file writes it: `trends:late`.
    pub fn input_name(&self, input: &InputSpec) -> String {
        wiring::input_name(&self.components, input)
    }
}

/// What happens when `execute` returns an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The tuple is tried again up to `times` times, and then goes the other way.
    Retry {
        /// How many more times.
        times: u32,
        /// What happens after that.
        then: AfterRetries,
    },
    /// The tuple goes to the dead letters.
    DeadLetter,
    /// The topology stops.
    Stop,
}

/// What happens to a tuple that failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRetries {
    /// It goes to the dead letters.
    DeadLetter,
    /// The topology stops.
    Stop,
}

impl Default for OnError {
    fn default() -> Self {
        Self::Retry { times: 3, then: AfterRetries::DeadLetter }
    }
}

/// When and whether epochs are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Never: nothing is synced or saved, files are published when they close.
    Off,
    /// Every so often, if anything moved.
    Every(Duration),
}

/// How often a topology may be rolled back before it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarts {
    /// How many times.
    pub max: u32,
    /// Within which time.
    pub within: Duration,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self::Every(Duration::from_secs(1))
    }
}

impl Default for Restarts {
    fn default() -> Self {
        Self { max: 5, within: Duration::from_secs(600) }
    }
}
