//! The metrics of a running topology.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A running topology at one moment. Counts are totals since the start: to show rates, take the
/// difference of two snapshots and divide it by that of `uptime`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// The topology's name.
    pub topology: String,
    /// The time since the start.
    pub uptime: Duration,
    /// The current phase.
    pub phase: Phase,
    /// The boundary of the open partition, UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub partition: OffsetDateTime,
    /// The time at which the next partition begins, UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub rolls_over: OffsetDateTime,
    /// The newest complete epoch; 0 before the first.
    pub epoch: u64,
    /// The time since that epoch was completed; `None` before the first.
    pub checkpoint_age: Option<Duration>,
    /// The time from that epoch's barrier until the epoch was durable.
    #[serde(default)]
    pub checkpoint_took: Option<Duration>,
    /// True if spouts emit nothing because a user asked for that.
    #[serde(default)]
    pub inactive: bool,
    /// The length of the checkpoint file, if it is on this machine's disk.
    #[serde(default)]
    pub state_file_bytes: Option<u64>,
    /// The reason why checkpoints can't be saved at the moment, such as a full disk.
    pub waits: Option<String>,
    /// The progress of a stop.
    #[serde(default)]
    pub drain: Option<Drain>,
    /// The tasks that don't return from a call, with the duration: `count[0] for 12 s`.
    pub hangs: Vec<String>,
    /// Every component, in the order of the topology.
    pub components: Vec<ComponentStatus>,
}

/// The phase of a topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Tuples flow.
    Running,
    /// The spouts have stopped; tuples in flight are being written.
    Draining,
    /// The last epoch is complete; commits are still running.
    Committing,
}

/// A drain that isn't finished yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// The work that the drain waits for: `commits of lake[0]`.
    pub waits_for: String,
    /// The time until the drain is given up.
    pub left: Duration,
}

/// An operation that fails and is retried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Trouble {
    /// The failing part of the component: `commit`, or a part of a source.
    pub part: String,
    /// The reason of the last failure, with all causes.
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
    /// The number of tasks.
    pub tasks: usize,
    /// The number of tuples taken.
    pub received: u64,
    /// The number of tuples emitted on all streams, each counted once even if several tasks get it.
    pub emitted: u64,
    /// The number of failed executions, including retries; for a source, failed attempts to read
    /// it.
    pub failed: u64,
    /// The number of tuples that went to the dead letters.
    pub dead_letters: u64,
    /// The number of these that were only counted, because they came faster than they could be
    /// stored.
    #[serde(default)]
    pub letters_dropped: u64,
    /// The number of tuples that a sink or a bolt dropped according to its options.
    #[serde(default)]
    pub dropped: u64,
    /// The number of posts of a replay that came out of order, if it reads their times.
    #[serde(default)]
    pub out_of_order: u64,
    /// The number of tuples that came after their window had closed.
    #[serde(default)]
    pub late: u64,
    /// Its watermark: the minimum of its tasks. `None` without one, and at the end of all sources.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub watermark: Option<OffsetDateTime>,
    /// The event time between the watermark and the newest post of all sources.
    #[serde(default)]
    pub behind: Option<Duration>,
    /// The number of posts that don't have the form that a bolt expects of posts of their kind.
    #[serde(default)]
    pub drifted: u64,
    /// The number of keys of its state, if it has keyed state.
    #[serde(default)]
    pub keys: Option<u64>,
    /// The number of bytes of keys and values of that state in the newest checkpoint.
    #[serde(default)]
    pub state_bytes: Option<u64>,
    /// The number of keys that were forgotten because of a bound.
    #[serde(default)]
    pub forgotten: u64,
    /// The median time of one `execute`, over the run; `None` if there was no call.
    pub p50: Option<Duration>,
    /// The 99th percentile of the same time.
    pub p99: Option<Duration>,
    /// The distribution of the durations of `execute`.
    #[serde(default)]
    pub executes: Option<ExecuteTimes>,
    /// The time spent working, summed over the tasks.
    pub busy: Duration,
    /// The fill level of its inboxes, 0 to 1: that of the fullest task.
    pub inbox: f64,
    /// Its activity, in a word or two: `running`, `idle`, `blocked`, `ended`, or a text of the
    /// source.
    pub state: String,
    /// The operations that fail at the moment and are retried.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
    /// True for a source if all its attempts have failed so far.
    #[serde(default)]
    pub only_failed: bool,
}

/// The upper bounds of [`ExecuteTimes::counts`], in seconds. More bounds would make each status
/// larger, and add nothing to the quantiles.
pub const EXECUTE_BOUNDS_S: [f64; 9] =
    [0.000_001, 0.000_01, 0.000_1, 0.001, 0.01, 0.1, 1.0, 10.0, 60.0];

/// The distribution of the durations of a component's `execute`, since its tasks were started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecuteTimes {
    /// For each bound, the number of calls that took at most that long.
    pub counts: Vec<u64>,
    /// The number of all calls.
    pub count: u64,
    /// The total duration of all calls in seconds, with the precision of the histogram.
    pub sum_s: f64,
}
