//! Tests the spout on the real engine, with a sink that keeps the posts.

use std::fs;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::checkpoint::MemoryStore;
use crate::component::{Problem, Role};
use crate::engine::{Exit, RunOptions, Running, start};
use crate::epoch::MicroBatch;
use crate::error::Result;
use crate::flow::Grouping;
use crate::registry::Config;
use crate::sink::{Sink, SinkConfig, SinkContext};
use crate::topology::{Checkpoint, ComponentSpec, InputSpec, OnError, Restarts, Topology};
use crate::tuple::{Fields, StreamId, Streams, Tuple};

/// A time limit that is long enough for a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Default)]
struct Keep(Arc<Mutex<Vec<String>>>);

impl SinkConfig for Keep {
    fn check(&self, _inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        Ok(())
    }

    fn build(&self, _context: SinkContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

impl Sink for Keep {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        let post = tuple.value(0).as_post().expect("a source gives posts");
        self.0
            .lock()
            .expect("no test panics with it")
            .push(String::from_utf8_lossy(post).into_owned());
        Ok(())
    }
}

/// A run of `Lines(…)` with this many tasks, before a sink.
struct Run {
    kept: Keep,
    running: Arc<Running>,
    _state: tempfile::TempDir,
}

impl Run {
    fn start(lines: &str, hint: u16) -> Self {
        let kept = Keep::default();
        let component = |id: &str, role, config, hint, streams, inputs| ComponentSpec {
            id: id.into(),
            type_name: "",
            role,
            guarantee: "",
            config,
            explained: String::new(),
            parallelism_hint: NonZeroU16::new(hint).unwrap(),
            inputs,
            streams,
            on_error: OnError::default(),
            batch: 64,
            linger: None,
            in_front_of: None,
        };
        let config =
            crate::components::standard().find("Lines").unwrap().read(lines).unwrap().config;
        let spout = component(
            "in",
            Role::Spout,
            config,
            hint,
            Streams::default_with(Fields::of_posts()),
            vec![],
        );
        let input = InputSpec { from: 0, stream: StreamId::DEFAULT, grouping: Grouping::Shuffle };
        let sink = Config::Sink(Arc::new(kept.clone()));
        let topology = Topology {
            name: "lines".into(),
            components: vec![
                spout,
                component("out", Role::Sink, sink, 1, Streams::none(), vec![input]),
            ],
            checkpoint: Checkpoint::Every(Duration::from_millis(10)),
            micro_batch: MicroBatch::default(),
            partition_every: Duration::from_secs(3600),
            memory: 64 << 20,
            restarts: Restarts::default(),
            outside: std::collections::BTreeMap::new(),
            tests: Vec::new(),
        };
        let state = tempfile::tempdir().unwrap();
        let mut options = RunOptions::new(Arc::new(MemoryStore::default()), state.path());
        options.drain_deadline = Duration::from_secs(20);
        Self { kept, running: start(topology, options).unwrap(), _state: state }
    }

    fn end(&self) -> Exit {
        self.running.wait(PATIENCE).expect("it ends")
    }

    /// Returns the sink's posts, sorted.
    fn kept(&self) -> Vec<String> {
        let mut kept = self.kept.0.lock().unwrap().clone();
        kept.sort_unstable();
        kept
    }
}

fn lines_of(
    folder: &tempfile::TempDir,
    name: &str,
    range: std::ops::Range<u32>,
    bad: &str,
) -> Vec<String> {
    let posts: Vec<String> =
        range.map(|id| format!("{{\"tweet\":{{\"id\":\"{id:07}\"}}}}")).collect();
    fs::write(folder.path().join(name), format!("{}\n{bad}", posts.join("\n"))).unwrap();
    posts
}

#[test]
fn every_post_of_every_file_arrives_once_whatever_the_number_of_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = lines_of(&folder, "a.ndjson", 0..70_000, "[1]\n\nnull");
    expected.extend(lines_of(&folder, "b.ndjson", 100_000..100_003, ""));
    expected.extend(lines_of(&folder, "c.ndjson", 200_000..205_000, "{\"last\""));
    for hint in [1, 2, 4] {
        let run =
            Run::start(&format!("Lines(paths: [\"{}/*.ndjson\"])", folder.path().display()), hint);
        assert_eq!(run.end(), Exit::Finished);
        assert!(run.kept() == expected, "with {hint} tasks: {} posts", run.kept().len());
        let status = run.running.status();
        assert_eq!(status.components[0].dead_letters, 3);
    }
}

#[test]
fn a_followed_file_is_read_until_the_topology_stops() {
    let folder = tempfile::tempdir().unwrap();
    let expected = lines_of(&folder, "a.ndjson", 0..3, "{\"unfinished\":");
    let run = Run::start(
        &format!("Lines(paths: [\"{}/a.ndjson\"], follow: true)", folder.path().display()),
        1,
    );
    let begun = std::time::Instant::now();
    while run.kept().len() < expected.len() {
        assert!(begun.elapsed() < PATIENCE, "only {:?} came", run.kept());
        std::thread::yield_now();
    }
    run.running.stop();
    assert_eq!(run.end(), Exit::Finished);
    assert_eq!((run.kept(), run.running.status().components[0].dead_letters), (expected, 0));
}
