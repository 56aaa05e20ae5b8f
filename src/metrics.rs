//! What a running topology tells about itself.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A running topology at one moment. Counts are totals since the start: whoever shows rates takes
/// the difference of two snapshots and divides by that of `uptime`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The topology's name.
    pub topology: String,
    /// How long it has been running.
    pub uptime: Duration,
    /// What it is doing.
    pub phase: Phase,
    /// The boundary of the open partition, UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub partition: OffsetDateTime,
    /// When the next partition begins, UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub rolls_over: OffsetDateTime,
    /// The newest complete epoch; 0 before the first.
    pub epoch: u64,
    /// How long ago that was completed; `None` before the first.
    pub checkpoint_age: Option<Duration>,
    /// How long that epoch took, from its barrier until it was durable.
    #[serde(default)]
    pub checkpoint_took: Option<Duration>,
    /// True if spouts emit nothing for now, since somebody asked for that.
    #[serde(default)]
    pub inactive: bool,
    /// The length of the file that checkpoints are kept in, if it is on this machine's disk.
    #[serde(default)]
    pub state_file_bytes: Option<u64>,
    /// What keeps checkpoints from being saved, if something does: a full disk.
    pub waits: Option<String>,
    /// What a stop waits for, while there is one.
    #[serde(default)]
    pub drain: Option<Drain>,
    /// Tasks that don't return from a call, and for how long: `count[0] for 12 s`.
    pub hangs: Vec<String>,
    /// Every component, in the order of the topology.
    pub components: Vec<ComponentStatus>,
}

/// What a topology is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Tuples flow.
    Running,
    /// The spouts have stopped; what is in flight is being written.
    Draining,
    /// The last epoch is complete; commits are awaited.
    Committing,
}

/// A drain that isn't done yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// What is awaited: `commits of lake[0]`.
    pub waits_for: String,
    /// How long until the drain is given up.
    pub left: Duration,
}

/// Something that a component tries again and again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Trouble {
    /// What of the component fails: `commit`, or a part of a source.
    pub part: String,
    /// Why the last attempt failed, whole.
    pub cause: String,
}

/// One component at one moment, all its tasks together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// Its id.
    pub id: String,
    /// `spout`, `bolt` or `sink`.
    pub role: Cow<'static, str>,
    /// The name of its type.
    pub type_name: Cow<'static, str>,
    /// How many tasks it has.
    pub tasks: usize,
    /// Tuples taken.
    pub received: u64,
    /// Tuples emitted, on all streams, counted once however many tasks get them.
    pub emitted: u64,
    /// Failed executions, retries included; of a source, failed attempts to read it.
    pub failed: u64,
    /// Tuples that went to the dead letters.
    pub dead_letters: u64,
    /// Those of them that were counted only, since they came faster than can be kept.
    #[serde(default)]
    pub letters_dropped: u64,
    /// Tuples that a sink or a bolt dropped because its options say so.
    #[serde(default)]
    pub dropped: u64,
    /// Posts of a replay that came out of order, where it reads their times.
    #[serde(default)]
    pub out_of_order: u64,
    /// Tuples that came after their window had closed.
    #[serde(default)]
    pub late: u64,
    /// Its watermark: the least of its tasks. `None` without one, and at the end of all sources.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub watermark: Option<OffsetDateTime>,
    /// How far the watermark is behind the newest post of all sources, in event time.
    #[serde(default)]
    pub behind: Option<Duration>,
    /// Posts that weren't as a bolt expects posts of their kind.
    #[serde(default)]
    pub drifted: u64,
    /// How many keys its state has, if it has state by keys.
    #[serde(default)]
    pub keys: Option<u64>,
    /// How many bytes that state has in the newest checkpoint, keys and values.
    #[serde(default)]
    pub state_bytes: Option<u64>,
    /// Keys that were forgotten because of a bound.
    #[serde(default)]
    pub forgotten: u64,
    /// Median of the time that one `execute` took, over the run; `None` if there was none.
    pub p50: Option<Duration>,
    /// 99th percentile of the same.
    pub p99: Option<Duration>,
    /// How often `execute` took how long.
    #[serde(default)]
    pub executes: Option<ExecuteTimes>,
    /// Time spent working, summed over the tasks.
    pub busy: Duration,
    /// How full its inboxes are, 0 to 1: the fullest of its tasks.
    pub inbox: f64,
    /// What it is doing, in a word or two: `running`, `idle`, `blocked`, `ended`, or the source's
    /// own words.
    pub state: String,
    /// What fails at the moment, and is tried again.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
    /// True for a source all of whose attempts have failed so far.
    #[serde(default)]
    pub only_failed: bool,
}

/// The upper bounds of [`ExecuteTimes::counts`], in seconds. More of them would make each status
/// larger, and tell no more than the quantiles beside them.
pub const EXECUTE_BOUNDS_S: [f64; 9] =
    [0.000_001, 0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0, 60.0];

/// How often `execute` of a component took how long, since its tasks were started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecuteTimes {
    /// How many took at most as long as the bound of the same position says, each count with all
    /// before it.
    pub counts: Vec<u64>,
    /// How many there were.
    pub count: u64,
    /// How long all of them took together, in seconds, as exactly as the histogram tells.
    pub sum_s: f64,
}
