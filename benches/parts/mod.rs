//! The common parts of the benches of whole topologies.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waterspout::bolt::{Bolt, BoltConfig, BoltContext, Output};
use waterspout::checkpoint::disk::DiskStore;
use waterspout::component::{Component, Problem};
use waterspout::engine::{Exit, RunOptions, Running, start};
use waterspout::error::Result;
use waterspout::registry::Registry;
use waterspout::topology::{LoadOptions, parse};
use waterspout::tuple::{Fields, Streams, Tuple};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Emits what it takes.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Identity {}

impl Component for Identity {
    const NAME: &'static str = "Identity";
    const GUARANTEE: &'static str = "keeps nothing";
}

impl BoltConfig for Identity {
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        Ok(Streams::default_with(inputs[0].clone()))
    }

    fn build(&self, _: &BoltContext) -> Result<Box<dyn Bolt>> {
        Ok(Box::new(Self {}))
    }
}

impl Bolt for Identity {
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        out.emit(tuple.values.iter().cloned());
        Ok(())
    }
}

/// Works for a given time on each tuple, and emits it.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(crate) struct Busy {
    /// The time for a tuple, in nanoseconds.
    nanoseconds: u64,
}

impl Component for Busy {
    const NAME: &'static str = "Busy";
    const GUARANTEE: &'static str = "keeps nothing";
}

impl BoltConfig for Busy {
    fn streams(&self, inputs: &[Fields]) -> Result<Streams, Vec<Problem>> {
        Ok(Streams::default_with(inputs[0].clone()))
    }

    fn build(&self, _: &BoltContext) -> Result<Box<dyn Bolt>> {
        Ok(Box::new(Self { nanoseconds: self.nanoseconds }))
    }
}

impl Bolt for Busy {
    fn execute(&mut self, tuple: Tuple<'_>, out: &mut Output) -> Result<()> {
        let started = Instant::now();
        let takes = Duration::from_nanos(self.nanoseconds);
        while started.elapsed() < takes {
            std::hint::spin_loop();
        }
        out.emit(tuple.values.iter().cloned());
        Ok(())
    }
}

/// Starts a topology with an empty state.
fn begin(text: &str, registry: &Registry, state: &Path) -> Arc<Running> {
    let topology =
        parse("bench.ron", text, registry, &LoadOptions { online: true, ..LoadOptions::default() })
            .unwrap_or_else(|problems| panic!("a good topology: {problems}"));
    let store = DiskStore::fresh(state).expect("a folder for the state");
    start(topology, RunOptions::new(Arc::new(store), state)).expect("a good topology")
}

/// Runs a topology to its end. Returns the time that it took, with its start and its last
/// checkpoint.
pub(crate) fn run(text: &str, registry: &Registry, state: &Path) -> Duration {
    let started = Instant::now();
    let exit = begin(text, registry, state).wait(Duration::from_secs(120));
    let took = started.elapsed();
    assert_eq!(exit, Some(Exit::Finished));
    took
}

/// Runs a topology to its end. Returns the time until a component had taken a number of tuples, and
/// calls `then` at that moment.
pub(crate) fn run_until_taken(
    text: &str,
    registry: &Registry,
    state: &Path,
    (component, tuples): (&str, u64),
    then: impl FnOnce(),
) -> Duration {
    let started = Instant::now();
    let running = begin(text, registry, state);
    let received = || {
        let status = running.status();
        let component = status.components.iter().find(|known| known.id == component);
        component.expect("a component of the topology").received
    };
    while received() < tuples {
        thread::sleep(Duration::from_millis(1));
    }
    let took = started.elapsed();
    then();
    assert_eq!(running.wait(Duration::from_secs(120)), Some(Exit::Finished));
    took
}
