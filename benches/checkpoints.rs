//! The cost of checkpoints, and their gain: the word count with and without them in the same run,
//! the start of a topology that has a million keys of state, and the pause of its rebalance.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a bench measures real time")]

mod parts;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use waterspout::checkpoint::disk::DiskStore;
use waterspout::component::Component;
use waterspout::engine::{Exit, RunOptions, Running, start};
use waterspout::epoch::Cursor;
use waterspout::error::Result;
use waterspout::registry::Registry;
use waterspout::spout::{Spout, SpoutConfig, SpoutContext, SpoutOutput};
use waterspout::topology::{LoadOptions, parse};
use waterspout::tuple::{Fields, Streams};
use waterspout::value::Value;

use parts::run;

/// The number of words that a run counts: some seconds' work, so that several checkpoints come.
const WORDS: i64 = 40_000_000;

/// The number of different keys in the second part.
const KEYS: i64 = 1_000_000;

/// The number of keys that keep coming.
const FREQUENT: i64 = 500;

/// The time after which the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Emits `key 0`, `key 1` … each once, and then the first few over and over, as most words of a
/// language are rare; without an end unless `tuples` gives one.
#[derive(Clone, Deserialize, Serialize, JsonSchema)]
struct Keys {
    /// The number of different keys.
    keys: i64,
    /// The number of tuples in all.
    tuples: Option<i64>,
}

impl Component for Keys {
    const NAME: &'static str = "Keys";
    const GUARANTEE: &'static str = "goes on behind the checkpoint";
}

impl SpoutConfig for Keys {
    fn streams(&self) -> Streams {
        Streams::default_with(Fields::new(["word"]))
    }

    fn splits(&self) -> Result<Vec<String>> {
        Ok(vec!["all".into()])
    }

    fn build(&self, _: &SpoutContext) -> Result<Box<dyn Spout>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait(?Send)]
impl Spout for Keys {
    async fn run(&mut self, out: &mut SpoutOutput) -> Result<()> {
        let word = |key: i64| Value::from(format!("key {key}"));
        let frequent: Vec<_> = (0..FREQUENT.min(self.keys)).map(word).collect();
        let mut next = match &out.splits()[0].cursor {
            Cursor::At(next) => next.parse().unwrap_or(0),
            _ => 0,
        };
        while self.tuples.is_none_or(|tuples| next < tuples) {
            for _ in 0..256 {
                let known = frequent[(next % frequent.len() as i64) as usize].clone();
                out.push([if next < self.keys { word(next) } else { known }]);
                next += 1;
            }
            out.emit(0, Cursor::At(next.to_string())).await?;
        }
        Ok(())
    }
}

fn registry() -> Registry {
    waterspout::components::standard().spout::<Keys>()
}

fn counting(spout: &str, checkpoint: &str) -> String {
    format!(
        r#"Topology(name: "count", spouts: {{"in": Spout(run: {spout})}}, bolts: {{
            "count": Bolt(run: Count(fields: ["word"]), inputs: [Fields("in", ["word"])]),
            "null": Bolt(run: Null(), inputs: [LocalOrShuffle("count")]),
        }}, checkpoint: {checkpoint})"#
    )
}

fn overhead(c: &mut Criterion) {
    let state = tempfile::tempdir().expect("a temporary folder");
    let registry = registry();
    let mut group = c.benchmark_group("word count");
    group
        .throughput(Throughput::Elements(WORDS as u64))
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat);
    for checkpoint in ["Off", "Checkpoint(every: \"1s\")", "Checkpoint(every: \"100ms\")"] {
        let text = counting(&format!("Keys(keys: 500, tuples: {WORDS})"), checkpoint);
        group.bench_function(checkpoint, |b| {
            b.iter_custom(|n| (0..n).map(|_| run(&text, &registry, state.path())).sum());
        });
    }
}

/// Starts from what the folder holds.
fn go_on(state: &Path) -> Arc<Running> {
    let text = counting(&format!("Keys(keys: {KEYS})"), "Checkpoint(every: \"1s\")");
    let topology = parse("bench.ron", &text, &registry(), &LoadOptions::default())
        .unwrap_or_else(|problems| panic!("a good topology: {problems}"));
    let store = DiskStore::open(state).expect("a state");
    start(topology, RunOptions::new(Arc::new(store), state)).expect("a good topology")
}

/// Waits until so many tuples more were counted.
fn count_more(running: &Running, tuples: u64) {
    let counted = || running.status().components[1].received;
    let (before, begun) = (counted(), Instant::now());
    while counted() < before + tuples {
        assert!(begun.elapsed() < PATIENCE, "{:?}", running.status());
        std::thread::yield_now();
    }
}

fn stop(running: &Running) {
    running.stop();
    assert_eq!(running.wait(PATIENCE), Some(Exit::Finished));
}

fn million_keys(c: &mut Criterion) {
    let state = tempfile::tempdir().expect("a temporary folder");
    let running = go_on(state.path());
    count_more(&running, KEYS as u64);
    stop(&running);
    drop(running);
    let mut group = c.benchmark_group("1 M keys");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("start", |b| {
        b.iter_custom(|n| {
            let once = |_| {
                let begun = Instant::now();
                let running = black_box(go_on(state.path()));
                count_more(&running, 1);
                let took = begun.elapsed();
                stop(&running);
                took
            };
            (0..n).map(once).sum()
        });
    });
    group.bench_function("pause of a rebalance", |b| {
        let running = go_on(state.path());
        let mut tasks = 1;
        b.iter_custom(|n| {
            let once = |_| {
                tasks = 3 - tasks;
                count_more(&running, 1);
                let hints =
                    BTreeMap::from([("count".to_owned(), NonZeroU16::new(tasks).expect("1 or 2"))]);
                running.rebalance(hints).expect("it can be rebalanced")
            };
            (0..n).map(once).sum()
        });
        stop(&running);
    });
}

criterion_group!(benches, overhead, million_keys);
criterion_main!(benches);
