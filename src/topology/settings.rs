//! Reads the fields of a topology file beside its spouts and bolts.

use std::time::Duration;

use super::record::{Record, Values, choice};
use super::syntax::{Kind, Node};
use super::{Checkpoint, Restarts};
use crate::epoch::MicroBatch;

/// The fields of `Topology(…)`.
pub(super) const TOPOLOGY_FIELDS: [&str; 10] = [
    "name",
    "spouts",
    "bolts",
    "include",
    "checkpoint",
    "micro_batch",
    "partition",
    "memory",
    "restarts",
    "tests",
];

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// The longest name of a topology: the name becomes part of a folder's name.
const NAME_BYTES_MAX: usize = 128;

const MEMORY_DEFAULT: u64 = 256 << 20;
const PARTITION_EVERY_DEFAULT: Duration = Duration::from_secs(3_600);

/// The parts of a topology that don't depend on its components.
pub(super) struct Settings {
    pub name: String,
    pub checkpoint: Checkpoint,
    pub micro_batch: MicroBatch,
    pub partition_every: Duration,
    pub memory: u64,
    pub restarts: Restarts,
}

/// Reads the settings. A setting with a problem, which is reported, gets its default.
pub(super) fn read(values: &mut Values<'_>, root: &Record<'_>) -> Settings {
    let name = root.required(values.report, "name");
    Settings {
        name: name.and_then(|node| topology_name(values, node)).unwrap_or_default(),
        checkpoint: root
            .get("checkpoint")
            .and_then(|node| checkpoint(values, node))
            .unwrap_or_default(),
        micro_batch: root
            .get("micro_batch")
            .map(|node| micro_batch(values, node))
            .unwrap_or_default(),
        partition_every: root
            .get("partition")
            .and_then(|node| partition(values, node))
            .unwrap_or(PARTITION_EVERY_DEFAULT),
        memory: root
            .get("memory")
            .and_then(|node| values.size("memory", "memory", node))
            .unwrap_or(MEMORY_DEFAULT),
        restarts: root.get("restarts").map(|node| restarts(values, node)).unwrap_or_default(),
    }
}

/// Returns the topology's name, which becomes the name of a folder in the state.
fn topology_name(values: &mut Values<'_>, node: &Node) -> Option<String> {
    let name = values.text("name", "name", node, "capture")?;
    let bad = |c: char| c.is_control() || matches!(c, '/' | '\\');
    if name.trim().is_empty()
        || name.starts_with('.')
        || name.contains(bad)
        || name.len() > NAME_BYTES_MAX
    {
        let what = "name: expected 1 to 128 bytes without `/`, `\\` or control characters, \
                    not beginning with a dot";
        values.report.add(node.span, what);
        return None;
    }
    Some(name)
}

fn checkpoint(values: &mut Values<'_>, node: &Node) -> Option<Checkpoint> {
    if matches!(&node.kind, Kind::Name(name) if name.text == "Off") {
        return Some(Checkpoint::Off);
    }
    // `(every: "5s")` is what `--set checkpoint.every=5s` adds.
    if node.name().is_some() {
        choice(values.report, "checkpoint", node, &["Checkpoint", "Off"])?;
    }
    let record = Record::open(values.report, node, "checkpoint", "Checkpoint", &["every"])?;
    let every = record.get("every").and_then(|node| {
        values.duration("checkpoint.every", "checkpoint.every", node, MILLISECOND)
    })?;
    Some(Checkpoint::Every(every))
}

fn micro_batch(values: &mut Values<'_>, node: &Node) -> MicroBatch {
    let mut micro_batch = MicroBatch::default();
    let fields = ["posts", "bytes", "age"];
    let Some(record) = Record::open(values.report, node, "micro_batch", "MicroBatch", &fields)
    else {
        return micro_batch;
    };
    let posts =
        record.get("posts").and_then(|node| values.number("micro_batch.posts", node, 1, u64::MAX));
    let bytes = record
        .get("bytes")
        .and_then(|node| values.size("micro_batch.bytes", "micro_batch.bytes", node));
    let age = record
        .get("age")
        .and_then(|node| values.duration("micro_batch.age", "micro_batch.age", node, MILLISECOND));
    micro_batch.posts = posts.unwrap_or(micro_batch.posts);
    micro_batch.bytes = bytes.unwrap_or(micro_batch.bytes);
    micro_batch.age = age.unwrap_or(micro_batch.age);
    micro_batch
}

fn partition(values: &mut Values<'_>, node: &Node) -> Option<Duration> {
    let record = Record::open(values.report, node, "partition", "Partition", &["every"])?;
    let node = record.get("every")?;
    let every = values.duration("partition.every", "partition.every", node, SECOND)?;
    // The name of a partition's folder has a precision of one second.
    if every.subsec_nanos() > 0 {
        values.report.add(node.span, "partition.every: expected whole seconds");
        return None;
    }
    Some(every)
}

fn restarts(values: &mut Values<'_>, node: &Node) -> Restarts {
    let mut restarts = Restarts::default();
    let Some(record) =
        Record::open(values.report, node, "restarts", "Restarts", &["max", "within"])
    else {
        return restarts;
    };
    let max =
        record.get("max").and_then(|node| values.number("restarts.max", node, 0, u32::MAX.into()));
    let within = record
        .get("within")
        .and_then(|node| values.duration("restarts.within", "restarts.within", node, MILLISECOND));
    restarts.max = max.and_then(|max| max.try_into().ok()).unwrap_or(restarts.max);
    restarts.within = within.unwrap_or(restarts.within);
    restarts
}
