//! `Postgres`: writes posts into the tables of a warehouse.

mod delivery;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::delivery::{Delivery, LeftTask};
pub(super) use self::delivery::{refused_rows, waiting_error};
use super::outbox::{self, Outbox, OutboxBound};
use super::{BoltInFront, Delivered, OnFull, Sink, SinkConfig, SinkContext};
use crate::bolt::{Features, LanguageSource};
use crate::component::{Component, Problem};
use crate::epoch::{Barrier, Job, MicroBatch, Prepared, Promise};
use crate::error::{Error, Kind, Result};
use crate::secret::Secret;
use crate::tuple::{Fields, Tuple};
use crate::units::{ByteSize, Interval};
use crate::warehouse::row::{DEMANDED, RowLayout};
use crate::warehouse::session::Warehouse;
use crate::warehouse::{address, schema};

/// The longest segment of an outbox, in bytes. A segment is in memory as a whole while it is
/// loaded, several times over; shorter ones make more transactions.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;

/// Writes posts into the tables of a warehouse in PostgreSQL: one row for each post of a platform,
/// its newest version, with its hashtags, mentions, addresses and author, its counts over time, gaps
/// and deletions. The tables are made, brought to the newest version, and filed by month. Posts as
/// sources emit them pass `Features` first, which the plan puts in front. What the server hasn't
/// taken yet is on this machine's disk, in the topology's state.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// The address: `postgres://user:password@host:5432/database?sslmode=verify-full`, or
    /// `host=… user=…`, with the options of libpq.
    pub url: Secret,
    /// The schema of the database that the tables are in.
    #[serde(default = "default_schema")]
    pub schema: String,
    /// What is kept of the posts themselves: `Jsonb`, or `None`, which saves most of the room.
    #[serde(default)]
    pub raw: Raw,
    /// The age up to which posts are kept, by their own time: months that are older as a whole are
    /// dropped.
    /// Without it: for ever.
    #[serde(default)]
    pub retention: Option<Interval>,
    /// The bound on what each task keeps on this machine's disk that the server hasn't taken.
    #[serde(default = "default_outbox")]
    pub outbox: ByteSize,
    /// What happens beyond it: the spouts upstream pause until half of it is delivered, or what
    /// doesn't fit is dropped, and counted.
    #[serde(default)]
    pub on_full: OnFull,
    /// Tasks of earlier runs, which left segments in the ledger.
    #[serde(skip)]
    left: LeftTasks,
}

/// What is kept of the posts themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Raw {
    /// The whole post, as JSON that can be asked.
    #[default]
    Jsonb,
    /// Nothing.
    None,
}

/// Tasks that have ended, until one that runs has tidied up after them.
type LeftTasks = Arc<Mutex<Vec<LeftTask>>>;

fn default_schema() -> String {
    "waterspout".into()
}

fn default_outbox() -> ByteSize {
    ByteSize(1 << 30)
}

impl Component for Postgres {
    const NAME: &'static str = "Postgres";
    const GUARANTEE: &'static str = "each post of a completed checkpoint is in the tables once, in its newest version; what \
         the server refuses becomes a dead letter, what it hasn't taken yet depends on this machine's disk, and what \
         on_full: Drop drops is counted";
}

impl SinkConfig for Postgres {
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        let problem = |field, what| Problem { field, what, candidates: None };
        let mut problems = Vec::new();
        if let Err(error) = address::WarehouseAddress::parse(&self.url) {
            problems.push(problem("url", error.chain()));
        }
        if let Err(what) = schema::check_name(&self.schema) {
            problems.push(problem("schema", what));
        }
        if self.retention.is_some_and(|retention| retention.0 < RETENTION_MIN) {
            problems.push(problem("retention", "expected a day or more".into()));
        }
        if self.outbox.0 == 0 {
            let what = "expected a size above 0, since everything goes through it";
            problems.push(problem("outbox", what.into()));
        }
        problems.extend(problems_of_inputs(inputs));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_online(&self) -> Result<Option<String>> {
        let warehouse = Warehouse::at(&self.url, &self.schema)?;
        let session = warehouse.connect()?;
        let version = session.server_version()?;
        let name = warehouse.name();
        let schema = warehouse.schema();
        let found = schema::version(&session)?;
        schema::check_is_known(&session, found.unwrap_or_default())?;
        session.check_rights(found.is_some())?;
        Ok(Some(match found {
            Some(found) => format!(
                "\"{name}\" is PostgreSQL {version}; its schema \"{schema}\" has version {found} and can be written to"
            ),
            None => format!(
                "\"{name}\" is PostgreSQL {version}; its schema \"{schema}\" will be made at the start"
            ),
        }))
    }

    fn bolt_in_front(&self, _stream: &str, fields: &Fields) -> Option<BoltInFront> {
        is_raw(fields).then(features_in_front)
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let warehouse = Warehouse::at(&self.url, &self.schema)?;
        let mut layouts = Vec::new();
        for fields in &context.inputs {
            let layout = RowLayout::of(fields).map_err(|missing| {
                Error::fatal(format!("an input has no field \"{}\"", missing.join("\" and no \"")))
            })?;
            layouts.push(layout);
        }
        let bound = OutboxBound { bytes_max: self.outbox.0, on_full: self.on_full };
        let bytes = context.micro_batch.bytes.min(SEGMENT_BYTES_MAX);
        let segments =
            SinkContext { micro_batch: MicroBatch { bytes, ..context.micro_batch }, ..context };
        let left = if segments.task == 0 {
            std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner))
        } else {
            Vec::new()
        };
        Ok(Box::new(PostgresSink {
            outbox: Outbox::open(&segments, bound)?,
            delivery: Delivery::new(warehouse, layouts.into(), self, left, &segments),
        }))
    }

    fn place(&self, context: &SinkContext) -> Result<String> {
        outbox::place(context)
    }

    fn recover(&self, place: &str, promises: &[Promise]) -> Result<Vec<Promise>> {
        let recovered = outbox::recover(place, promises)?;
        if let Some(prefix) = outbox::segment_prefix(place) {
            let segments = promises.iter().map(|promise| promise.segment.clone()).collect();
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            left.push(LeftTask { prefix, promised: segments });
        }
        Ok(recovered)
    }

    fn outbox_bytes_max(&self) -> Option<u64> {
        (self.on_full == OnFull::Pause).then_some(self.outbox.0)
    }
}

/// The shortest retention. A partition holds a month, so a shorter one would drop nothing sooner.
const RETENTION_MIN: Duration = Duration::from_secs(86_400);

/// The inputs whose tuples are neither rows nor posts.
pub(super) fn problems_of_inputs(inputs: &[Fields]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for fields in inputs.iter().filter(|fields| !is_raw(fields)) {
        if let Err(missing) = RowLayout::of(fields) {
            let what = format!(
                "expected the fields \"{}\", as Features declares them, or a field \"post\" alone; found {fields}, \
                 which has no \"{}\"",
                DEMANDED.join("\", \""),
                missing.join("\" and no \"")
            );
            problems.push(Problem { field: "inputs", what, candidates: None });
        }
    }
    problems
}

/// True if tuples have to pass `Features` first: posts as sources emit them.
pub(super) fn is_raw(fields: &Fields) -> bool {
    fields.position("post").is_some() && fields.position("platform").is_none()
}

/// `Features()`; all versions of a post come to one task.
pub(super) fn features_in_front() -> BoltInFront {
    BoltInFront {
        type_name: Features::NAME,
        guarantee: Features::GUARANTEE,
        config: Arc::new(Features { language: LanguageSource::Detect, sentiment: true }),
        explained: "Features(language: Detect, sentiment: true)".into(),
        keys: vec!["platform", "post_id"],
    }
}

/// One task.
struct PostgresSink {
    outbox: Outbox,
    delivery: Arc<Delivery>,
}

impl Sink for PostgresSink {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        self.delivery.check(tuple)?;
        self.outbox.write(tuple)
    }

    fn dropped(&self) -> u64 {
        self.outbox.dropped()
    }

    fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        self.outbox.prepare(barrier)
    }

    fn commit(&mut self, promises: Vec<Promise>) -> Job<Delivered> {
        let reader = Arc::new(self.outbox.reader(&promises));
        let delivery = Arc::clone(&self.delivery);
        let mut delivered = Delivered::default();
        Box::new(move || {
            // What was delivered before an error isn't asked for again.
            while delivered.segments.len() < promises.len() {
                let rest = &promises[delivered.segments.len()..];
                delivery.deliver_some(&reader, rest, &mut delivered)?;
            }
            Ok(std::mem::take(&mut delivered))
        })
    }

    fn forgotten(&mut self, segments: Vec<String>) -> Job<()> {
        let mut delete = self.outbox.forgotten(segments.clone());
        let delivery = Arc::clone(&self.delivery);
        Box::new(move || {
            delivery.forget(&segments)?;
            delete()
        })
    }
}

impl Drop for PostgresSink {
    fn drop(&mut self) {
        // A server that doesn't answer mustn't hold up whoever goes back to a checkpoint.
        self.delivery.stop();
    }
}

/// True if an error stays, however often it is tried.
pub(super) fn is_final(error: &Error) -> bool {
    matches!(error.kind(), Kind::Fatal | Kind::Rejected)
}

#[cfg(test)]
mod tests;
