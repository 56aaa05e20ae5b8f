//! The parts that the sinks of warehouses share: their inputs, their tasks, their delivery.
//!
//! ```text
//! tuples ─▶ outbox ─▶ promised segments ─▶ gathering ─▶ delivery ─▶ SegmentLoader ─▶ the database
//! ```
//!
//! A database is one implementation of [`SegmentLoader`].

mod delivery;
mod gathering;
mod task;

use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use self::delivery::{Delivery, LeftTask, ReadRows, RowOptions, SegmentLoader};
pub(crate) use self::gathering::{Gathering, GatheringBounds};
pub(crate) use self::task::WarehouseSink;
use super::{BoltInFront, SinkContext};
use crate::bolt::Features;
use crate::component::{Component, Problem};
use crate::epoch::{MicroBatch, Promise};
use crate::error::{Error, Result};
use crate::tuple::Fields;
use crate::units::ByteSize;
use crate::warehouse::input::InputLayout;
use crate::warehouse::schema;

/// The longest segment of an outbox, in bytes. A segment is in memory as a whole, several times
/// over, while it is loaded; shorter ones make more transactions or more rows of the ledger.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;

/// Tasks that have ended, until a running task has cleaned up after them.
pub(crate) type LeftTasks = Arc<Mutex<Vec<LeftTask>>>;

/// The schema of the tables, unless the topology names another one.
pub(crate) fn default_schema() -> String {
    "waterspout".into()
}

/// The bound of an outbox, unless the topology names another one.
pub(crate) fn default_outbox() -> ByteSize {
    ByteSize(1 << 30)
}

/// The options that all warehouse sinks have.
pub(crate) struct SharedOptions<'o> {
    /// The result of reading the address.
    pub address: Result<()>,
    /// The schema of the database.
    pub schema: &'o str,
    /// Sizes, each with the name of its option.
    pub sizes: Vec<(&'static str, ByteSize)>,
}

impl SharedOptions<'_> {
    /// Returns the problems of these options, and of inputs whose tuples are neither rows nor
    /// posts.
    pub(crate) fn problems(&self, inputs: &[Fields]) -> Vec<Problem> {
        let problem = |field, what| Problem { field, what, candidates: None };
        let mut problems = Vec::new();
        if let Err(error) = &self.address {
            problems.push(problem("url", error.chain()));
        }
        if let Err(what) = schema::check_name(self.schema) {
            problems.push(problem("schema", what));
        }
        for (field, size) in &self.sizes {
            if size.0 == 0 {
                let what = "expected a size above 0, since everything goes through it";
                problems.push(problem(field, what.into()));
            }
        }
        for fields in inputs.iter().filter(|fields| !is_raw(fields)) {
            if let Err(what) = InputLayout::of(fields) {
                problems.push(problem("inputs", what));
            }
        }
        problems
    }
}

/// Returns true if tuples must pass `Features` first: posts as sources emit them.
fn is_raw(fields: &Fields) -> bool {
    fields.position("post").is_some() && fields.position("platform").is_none()
}

/// Returns `Features()` for tuples that must pass it; all versions of a post go to one task.
pub(crate) fn features_in_front(fields: &Fields) -> Option<BoltInFront> {
    is_raw(fields).then(|| BoltInFront {
        type_name: Features::NAME,
        guarantee: Features::GUARANTEE,
        config: Arc::new(Features::default()),
        explained: "Features()".into(),
        keys: vec!["platform", "post_id"],
    })
}

/// Returns the tables for the tuples of an input, for users.
pub(crate) fn tables_of(fields: &Fields) -> Option<&'static str> {
    InputLayout::of(fields).ok().map(|layout| layout.tables())
}

/// Returns the layouts of a task's inputs.
///
/// # Errors
/// If the layout of an input can't be read.
pub(crate) fn layouts(inputs: &[Fields]) -> Result<Vec<InputLayout>> {
    inputs.iter().map(|fields| InputLayout::of(fields).map_err(Error::fatal)).collect()
}

/// Returns the context for a task's outbox, whose segments are at most as long as one load.
pub(crate) fn outbox_context(context: SinkContext, load_bytes: u64) -> SinkContext {
    let bytes = context.micro_batch.bytes.min(SEGMENT_BYTES_MAX).min(load_bytes.max(1));
    SinkContext { micro_batch: MicroBatch { bytes, ..context.micro_batch }, ..context }
}

/// Returns the tasks after which the first task of a sink cleans up.
pub(crate) fn take_left(left: &LeftTasks, context: &SinkContext) -> Vec<LeftTask> {
    if context.task > 0 {
        return Vec::new();
    }
    std::mem::take(&mut *left.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Restores the outbox of a task that has ended to its promises, and records the task for a later
/// clean-up; see [`SinkConfig::recover`](super::SinkConfig::recover).
///
/// # Errors
/// If promised data is missing.
pub(crate) fn recover(left: &LeftTasks, place: &str, promises: &[Promise]) -> Result<Vec<Promise>> {
    let recovered = super::outbox::recover(place, promises)?;
    if let Some(prefix) = super::outbox::segment_prefix(place) {
        let promised = promises.iter().map(|promise| promise.segment.clone()).collect();
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        left.push(LeftTask { prefix, promised });
    }
    Ok(recovered)
}
