//! How long a tuple takes from the spout to the last bolt of three stages, at 1,000 tuples a second
//! with checkpoints on: from when the spout hands it over to when the sink takes it.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a bench measures real time")]

mod parts;

use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waterspout::component::{Component, Problem};
use waterspout::epoch::Cursor;
use waterspout::error::Result;
use waterspout::sink::{Sink, SinkConfig, SinkContext};
use waterspout::spout::{Spout, SpoutConfig, SpoutContext, SpoutOutput};
use waterspout::tuple::{Fields, Streams, Tuple};
use waterspout::value::Value;

use parts::{Identity, run};

/// The number of tuples that are emitted each second.
const RATE: u32 = 1_000;

/// The duration of the measurement, in seconds.
const SECONDS: u32 = 5;

/// The start of the clock for the times in the tuples.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The latencies that the sink measured, in nanoseconds.
static LATENCIES: Mutex<Vec<u64>> = Mutex::new(Vec::new());

fn nanoseconds() -> u64 {
    START.elapsed().as_nanos() as u64
}

/// Emits the time, [`RATE`] times a second.
#[derive(Deserialize, Serialize, JsonSchema)]
struct Ticks {}

impl Component for Ticks {
    const NAME: &'static str = "Ticks";
    const GUARANTEE: &'static str = "starts again from the beginning after a restart";
}

impl SpoutConfig for Ticks {
    fn streams(&self) -> Streams {
        Streams::default_with(Fields::new(["at"]))
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok(vec!["0".into()])
    }

    fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new(Self {}))
    }
}

#[async_trait(?Send)]
impl Spout for Ticks {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        let started = tokio::time::Instant::now();
        for tick in 0..RATE * SECONDS {
            tokio::time::sleep_until(started + Duration::from_secs(1) / RATE * tick).await;
            out.push([Value::Int(nanoseconds() as i64)]);
            out.emit(0, Cursor::At(tick.to_string())).await?;
        }
        Ok(())
    }
}

/// Notes how old the tuples are.
#[derive(Deserialize, Serialize, JsonSchema)]
struct Age {}

impl Component for Age {
    const NAME: &'static str = "Age";
    const GUARANTEE: &'static str = "keeps nothing";
}

impl SinkConfig for Age {
    fn check(&self, _inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    fn build(&self, _context: SinkContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Self {}))
    }

    fn blocks(&self) -> bool {
        false
    }
}

impl Sink for Age {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        let at = tuple.value(0).as_int().expect("Ticks emits numbers") as u64;
        LATENCIES.lock().expect("no other thread panics").push(nanoseconds() - at);
        Ok(())
    }
}

fn measure(hint: u16, grouping: &str) {
    let text = format!(
        "Topology(
    name: \"latency\",
    spouts: {{ \"in\": Spout(run: Ticks()) }},
    bolts: {{
        \"same\": Bolt(run: Identity(), inputs: [{grouping}(\"in\")], parallelism_hint: {hint}),
        \"age\": Bolt(run: Age(), inputs: [{grouping}(\"same\")], parallelism_hint: {hint}),
    }},
    checkpoint: Checkpoint(every: \"1s\"),
)"
    );
    let state = tempfile::tempdir().expect("a temporary folder");
    run(
        &text,
        &waterspout::components::standard().spout::<Ticks>().bolt::<Identity>().sink::<Age>(),
        state.path(),
    );
    let mut latencies = std::mem::take(&mut *LATENCIES.lock().expect("no other thread panics"));
    assert_eq!(latencies.len(), (RATE * SECONDS) as usize);
    latencies.sort_unstable();
    let quantile = |percent: usize| latencies[(latencies.len() - 1) * percent / 100] as f64 / 1e3;
    println!(
        "latency/{grouping}, hint {hint}: p50 {:.1} µs, p99 {:.1} µs, largest {:.1} µs",
        quantile(50),
        quantile(99),
        quantile(100)
    );
}

fn main() {
    LazyLock::force(&START);
    measure(1, "LocalOrShuffle");
    // Every other tuple crosses to the other executor.
    measure(2, "Shuffle");
}
