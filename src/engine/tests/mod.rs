//! Tests of the whole engine, on small components whose every step is visible.

mod again;
mod components;
mod contracts;
mod event_time;
mod faults;
mod flow;
mod kappa;
mod recovery;
mod trends;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use components::{Collected, collect};

use super::options::RunOptions;
use super::run::{Exit, Running, start};
use crate::bolt::BoltConfig;
use crate::checkpoint::MemoryStore;
use crate::component::Role;
use crate::epoch::MicroBatch;
use crate::flow::Grouping;
use crate::registry::Config;
use crate::sink::SinkConfig;
use crate::spout::SpoutConfig;
use crate::topology::{Checkpoint, ComponentSpec, InputSpec, OnError, Restarts, Topology};
use crate::tuple::Streams;

/// The time that a test waits for an event before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A builder of topologies; each component is added after its inputs.
struct Builder(Topology);

impl Builder {
    fn new() -> Self {
        Self(Topology {
            name: "test".into(),
            components: Vec::new(),
            checkpoint: Checkpoint::Every(Duration::from_millis(5)),
            micro_batch: MicroBatch::default(),
            partition_every: Duration::from_secs(3600),
            memory: 64 << 20,
            restarts: Restarts::default(),
            outside: std::collections::BTreeMap::new(),
            tests: Vec::new(),
        })
    }

    fn add(
        mut self,
        id: &str,
        role: Role,
        config: Config,
        streams: Streams,
        hint: u16,
        inputs: Vec<InputSpec>,
    ) -> Self {
        self.0.components.push(ComponentSpec {
            id: id.into(),
            type_name: "Test",
            role,
            guarantee: "",
            config,
            explained: String::new(),
            parallelism_hint: NonZeroU16::new(hint).unwrap(),
            inputs,
            streams,
            on_error: OnError::default(),
            batch: 7,
            linger: None,
            in_front_of: None,
        });
        self
    }

    fn spout(self, id: &str, hint: u16, config: impl SpoutConfig + 'static) -> Self {
        let streams = config.streams();
        self.add(id, Role::Spout, Config::Spout(Arc::new(config)), streams, hint, Vec::new())
    }

    fn bolt(
        self,
        id: &str,
        hint: u16,
        config: impl BoltConfig + 'static,
        inputs: &[(&str, Grouping)],
    ) -> Self {
        let inputs = self.inputs(inputs);
        let fields: Vec<_> = inputs
            .iter()
            .map(|input| self.0.components[input.from].streams.fields(input.stream).clone())
            .collect();
        let streams = config.streams(&fields).unwrap();
        self.add(id, Role::Bolt, Config::Bolt(Arc::new(config)), streams, hint, inputs)
    }

    fn sink(
        self,
        id: &str,
        hint: u16,
        config: impl SinkConfig + 'static,
        inputs: &[(&str, Grouping)],
    ) -> Self {
        let inputs = self.inputs(inputs);
        self.add(id, Role::Sink, Config::Sink(Arc::new(config)), Streams::none(), hint, inputs)
    }

    fn inputs(&self, inputs: &[(&str, Grouping)]) -> Vec<InputSpec> {
        let of = |(from, grouping): &(&str, Grouping)| {
            let (id, stream) = from.split_once(':').unwrap_or((from, "default"));
            let from = self.0.components.iter().position(|spec| spec.id == id).unwrap();
            let stream = self.0.components[from].streams.id(stream).unwrap();
            InputSpec { from, stream, grouping: grouping.clone() }
        };
        inputs.iter().map(of).collect()
    }

    fn with(mut self, change: impl FnOnce(&mut Topology)) -> Self {
        change(&mut self.0);
        self
    }

    fn last(self, change: impl FnOnce(&mut ComponentSpec)) -> Self {
        self.with(|topology| change(topology.components.last_mut().unwrap()))
    }

    fn start(self) -> Started {
        self.start_from(&Arc::new(MemoryStore::default()))
    }

    fn start_from(self, store: &Arc<MemoryStore>) -> Started {
        let state = tempfile::tempdir().unwrap();
        let mut options = RunOptions::new(Arc::<MemoryStore>::clone(store), state.path());
        options.drain_deadline = Duration::from_secs(20);
        Started { running: start(self.0, options).unwrap(), _state: state }
    }

    fn run(self) -> Exit {
        self.start().end()
    }
}

struct Started {
    running: Arc<Running>,
    /// Deleted when the test ends.
    _state: tempfile::TempDir,
}

impl Started {
    fn end(&self) -> Exit {
        self.running
            .wait(PATIENCE)
            .unwrap_or_else(|| panic!("it hangs: {:#?}", self.running.status()))
    }

    /// Waits until a condition on the topology holds, and fails if it doesn't in time.
    fn until(&self, what: &str, holds: impl Fn(&Running) -> bool) {
        let begun = std::time::Instant::now();
        while !holds(&self.running) {
            assert!(
                begun.elapsed() < PATIENCE,
                "{what} never came to hold: {:#?}",
                self.running.status()
            );
            std::thread::yield_now();
        }
    }
}

fn shuffle(from: &str) -> (&str, Grouping) {
    (from, Grouping::Shuffle)
}

/// Returns all collected numbers, sorted.
fn numbers(collected: &Collected) -> Vec<i64> {
    let mut numbers: Vec<_> =
        collected.visible().iter().map(|tuple| tuple[0].as_int().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

fn collector() -> (components::Collect, Collected) {
    collect()
}
