//! A lake through the engine: what is read from one arrives in another, once and whole.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test may fail where something is missing, and waits for real programs"
)]

use std::fs;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use waterspout::checkpoint::MemoryStore;
use waterspout::component::Role;
use waterspout::engine::{Exit, RunOptions, start};
use waterspout::epoch::MicroBatch;
use waterspout::flow::Grouping;
use waterspout::lake::store::local::LocalStore;
use waterspout::lake::{listing, replay};
use waterspout::registry::Config;
use waterspout::topology::{Checkpoint, ComponentSpec, InputSpec, OnError, Restarts, Topology};
use waterspout::tuple::{StreamId, Streams};

/// A topology that replays one lake into another.
fn copy(from: &Path, to: &Path, tasks: u16, checkpoint: Checkpoint) -> Topology {
    let config = |name: &str, root: &Path| {
        let registry = waterspout::components::standard();
        let ron = format!("{name}(root: {root:?})");
        registry.find(name).unwrap().read(&ron).unwrap().config
    };
    let spout = config("LocalReplay", from);
    let Config::Spout(replay) = &spout else { panic!("LocalReplay is a spout") };
    let input = InputSpec { from: 0, stream: StreamId::DEFAULT, grouping: Grouping::Shuffle };
    let streams = replay.streams();
    Topology {
        name: "copy".into(),
        components: vec![
            component("in", Role::Spout, spout, streams, vec![], 1),
            component("lake", Role::Sink, config("Local", to), Streams::none(), vec![input], tasks),
        ],
        checkpoint,
        micro_batch: MicroBatch { posts: 100, bytes: 10_000, age: Duration::from_secs(60) },
        partition_every: Duration::from_secs(3600),
        memory: 64 << 20,
        restarts: Restarts::default(),
        outside: std::collections::BTreeMap::new(),
        tests: Vec::new(),
    }
}

fn component(
    id: &str,
    role: Role,
    config: Config,
    streams: Streams,
    inputs: Vec<InputSpec>,
    tasks: u16,
) -> ComponentSpec {
    ComponentSpec {
        id: id.into(),
        type_name: "",
        role,
        guarantee: "",
        config,
        explained: String::new(),
        parallelism_hint: NonZeroU16::new(tasks).unwrap(),
        inputs,
        streams,
        on_error: OnError::default(),
        batch: 256,
        linger: None,
        in_front_of: None,
    }
}

fn run(topology: Topology) -> Exit {
    let state = tempfile::tempdir().unwrap();
    let options = RunOptions::new(Arc::new(MemoryStore::default()), state.path());
    start(topology, options).unwrap().wait(Duration::from_secs(60)).expect("a finite source ends")
}

fn lines(root: &Path) -> Vec<String> {
    let mut out = Vec::new();
    replay(&root.display().to_string(), &mut out).unwrap();
    let mut lines: Vec<_> = String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// A lake of some partitions and files, with every length of post from the shortest on.
fn sample(root: &Path) {
    for partition in 0..3 {
        let folder = root
            .join(format!("2015-12-18T0{partition}:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..5 {
            let post = |i: usize| {
                format!(
                    "{{\"tweet\": {{\"id\":1{partition}{file}{i:04},\"text\":\"{}\"}}}}",
                    "ü".repeat(i)
                )
            };
            let posts: Vec<String> = (0..300).map(post).collect();
            fs::write(folder.join(format!("{file:07}")), format!("[{}]", posts.join(","))).unwrap();
        }
    }
}

fn check(tasks: u16, checkpoint: Checkpoint) {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample(from.path());
    assert_eq!(run(copy(from.path(), to.path(), tasks, checkpoint)), Exit::Finished);
    assert!(lines(to.path()) == lines(from.path()), "a post is missing, doubled or changed");
    let store = LocalStore::new(to.path());
    let partitions = listing::partitions(&store).unwrap();
    assert_eq!(partitions.len(), usize::from(tasks));
    for partition in &partitions {
        let files = listing::files(&store, partition).unwrap();
        let numbers: Vec<String> = files.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(numbers, (0..numbers.len()).map(|i| format!("{i:07}")).collect::<Vec<_>>());
    }
    assert_eq!(
        fs::read_dir(to.path()).unwrap().count(),
        partitions.len() + 1,
        "nothing is left but the partitions and the index"
    );
}

#[test]
fn a_lake_is_copied_once_and_whole() {
    check(1, Checkpoint::Every(Duration::from_millis(20)));
}

#[test]
fn several_tasks_write_one_lake() {
    check(4, Checkpoint::Every(Duration::from_millis(20)));
}

#[test]
fn nothing_is_missing_without_checkpoints() {
    check(2, Checkpoint::Off);
}

#[test]
fn a_damaged_file_stops_the_topology_and_is_named() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample(from.path());
    let file = from.path().join("2015-12-18T01:00:00-afa5ac3a-e695-4f96-aca2-d24c7527aed7/0000002");
    let mut content = fs::read(&file).unwrap();
    content.truncate(5000);
    fs::write(&file, content).unwrap();
    let exit = run(copy(from.path(), to.path(), 1, Checkpoint::default()));
    let Exit::Failed(text) = exit else { panic!("{exit:?}") };
    assert!(text.contains("/0000002\" is damaged at byte 5000"), "{text}");
}
