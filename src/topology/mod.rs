//! A checked topology in which every name is resolved: WHAT runs. Apart from reading topology
//! files, this module does no I/O and reads no clock.

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

/// A valid topology: the result of `file → check → Topology`.
#[derive(Clone)]
pub struct Topology {
    /// Its name.
    pub name: String,
    /// Spouts and bolts. Each comes after all components that it takes input from.
    pub components: Vec<ComponentSpec>,
    /// The interval at which epochs are made durable, or `Off`.
    pub checkpoint: Checkpoint,
    /// The conditions under which a file of the lake closes.
    pub micro_batch: MicroBatch,
    /// The interval after which a partition of the lake closes.
    pub partition_every: Duration,
    /// The bound on all bytes in flight between tasks.
    pub memory: u64,
    /// The limit on restarts, beyond which the topology stops.
    pub restarts: Restarts,
    /// The engine's own fields whose text comes from outside, for [`explain`]: the path of the
    /// field (`checkpoint.every`) and the call that was written (`Env("EVERY")`).
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
    /// Its role: spout, bolt or sink.
    pub role: Role,
    /// Its delivery guarantee, in one sentence.
    pub guarantee: &'static str,
    /// Its typed configuration.
    pub config: Config,
    /// `run:` in RON, with every default written out.
    pub explained: String,
    /// The number of its tasks, 1 to [`PARALLELISM_HINT_MAX`].
    pub parallelism_hint: NonZeroU16,
    /// The streams that it takes as input; empty for a spout.
    pub inputs: Vec<InputSpec>,
    /// The streams that it declares.
    pub streams: Streams,
    /// The reaction to an error of `execute`.
    pub on_error: OnError,
    /// The largest number of tuples that go to another task at once.
    pub batch: usize,
    /// The longest time that tuples wait for their batch to fill up. `None` sends a partial batch
    /// as soon as the task has nothing else to do.
    pub linger: Option<Duration>,
    /// The sink that asked for this bolt, if the engine inserted it; see
    /// [`SinkConfig::bolt_in_front`](crate::sink::SinkConfig::bolt_in_front).
    pub in_front_of: Option<String>,
}

/// One input of a bolt.
#[derive(Clone, Debug)]
pub struct InputSpec {
    /// The position of the component that emits, in [`Topology::components`].
    pub from: usize,
    /// The stream of that component.
    pub stream: StreamId,
    /// The way in which tuples are distributed over the tasks.
    pub grouping: Grouping,
}

impl ComponentSpec {
    /// Returns the place where a sink puts the tuples of an input, for people, if the sink tells
    /// its inputs apart.
    pub fn destination(&self, topology: &Topology, input: &InputSpec) -> Option<&'static str> {
        let Config::Sink(sink) = &self.config else { return None };
        sink.destination(topology.components[input.from].streams.fields(input.stream))
    }
}

impl Topology {
    /// Returns the name of an input, as a topology file writes it: `trends:late`.
    pub fn input_name(&self, input: &InputSpec) -> String {
        wiring::input_name(&self.components, input)
    }
}

/// The reaction to an error of `execute`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The tuple is tried again up to `times` times. If all attempts fail, `then` applies.
    Retry {
        /// The number of further attempts.
        times: u32,
        /// The reaction when all attempts have failed.
        then: AfterRetries,
    },
    /// The tuple goes to the dead letters.
    DeadLetter,
    /// The topology stops.
    Stop,
}

/// The reaction when the last attempt for a tuple has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterRetries {
    /// The tuple goes to the dead letters.
    DeadLetter,
    /// The topology stops.
    Stop,
}

impl Default for OnError {
    fn default() -> Self {
        Self::Retry { times: 3, then: AfterRetries::DeadLetter }
    }
}

/// The interval at which epochs are made durable, or `Off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Never: nothing is synced or saved, and files are published when they close.
    Off,
    /// At this interval, unless nothing changed.
    Every(Duration),
}

/// The limit on restarts, beyond which a topology stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarts {
    /// The number of restarts allowed within that time.
    pub max: u32,
    /// The time within which restarts are counted.
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
