//! `Redshift`: writes posts into the tables of a warehouse in Amazon Redshift, in few large loads.

mod delivery;
mod gathering;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::delivery::{LeftTask, RedshiftDelivery};
use self::gathering::{Gathering, GatheringBounds};
use super::outbox::{self, Outbox, OutboxBound};
use super::postgres::{features_in_front, is_raw, problems_of_inputs};
use super::{BoltInFront, Delivered, OnFull, Sink, SinkConfig, SinkContext};
use crate::component::{Component, Problem};
use crate::epoch::{Barrier, Job, MicroBatch, Prepared, Promise};
use crate::error::{Error, Result};
use crate::lake::store::s3::{self, ConditionalPut, S3 as Bucket, with_bucket_access};
use crate::secret::Secret;
use crate::tuple::{Fields, Tuple};
use crate::units::{ByteSize, Interval};
use crate::warehouse::redshift::{CopyAccess, RedshiftSession, check_iam_role, redshift_address};
use crate::warehouse::row::RowLayout;
use crate::warehouse::schema::check_name;

/// The longest segment of an outbox, in bytes; shorter ones make more rows of the ledger.
const SEGMENT_BYTES_MAX: u64 = 8 << 20;

with_bucket_access! {
    /// Writes posts into the tables of a warehouse in Amazon Redshift, as `Postgres` does it, but in
    /// few large loads: what was gathered is put into a bucket, as files of JSON with manifests, from
    /// where Redshift copies it with a role of its own. It is experimental: it was never run
    /// on a real Redshift. Posts as sources emit them pass `Features` first, which the plan puts in front. What
    /// isn't loaded yet is on this machine's disk, in the topology's state.
    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct Redshift {
        /// The bucket for the files, which Redshift has to be able to read. They are deleted when
        /// they aren't needed any more.
        pub bucket: String,
        /// What the keys of the files begin with.
        #[serde(default = "default_prefix")]
        pub prefix: String,
        /// The address: `redshift://user:password@host:5439/database?sslmode=verify-full`, with the
        /// options of libpq.
        pub url: Secret,
        /// The schema of the database that the tables are in.
        #[serde(default = "default_schema")]
        pub schema: String,
        /// The role by which Redshift reads the bucket: `arn:aws:iam::<account>:role/<name>`, several
        /// with commas between them if one assumes the other, or `default` for that of the cluster.
        #[serde(default = "default_iam_role")]
        pub iam_role: String,
        /// The time for which segments are gathered for one load. Longer makes fewer and larger loads.
        #[serde(default = "default_load_every")]
        pub load_every: Interval,
        /// How much is loaded at once at most, in bytes of the outbox, for each task; a load begins
        /// early where so much is there. It is in memory several times over.
        #[serde(default = "default_load_bytes")]
        pub load_bytes: ByteSize,
        /// What is kept of the posts themselves: `Super`, or `None`, which saves most of the room.
        #[serde(default)]
        pub raw: RawSuper,
        /// How a file is put that mustn't replace another: `IfNoneMatch`, or `HeadThenPut` for
        /// servers that answer 501 to it. Without it: as `WATERSPOUT_S3_CONDITIONAL_PUT` in the
        /// environment says, or `IfNoneMatch`.
        #[serde(default)]
        pub conditional_put: Option<ConditionalPut>,
        /// The bound on what each task keeps on this machine's disk that isn't loaded.
        #[serde(default = "default_outbox")]
        pub outbox: ByteSize,
        /// What happens beyond it: the spouts upstream pause until half of it is loaded, or what
        /// doesn't fit is dropped, and counted.
        #[serde(default)]
        pub on_full: OnFull,
        /// Tasks of earlier runs, which left segments in the ledger.
        #[serde(skip)]
        left: LeftTasks,
    }
}

/// What is kept of the posts themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawSuper {
    /// The whole post, as JSON that can be asked.
    #[default]
    Super,
    /// Nothing.
    None,
}

/// Tasks that have ended, until one that runs has tidied up after them.
type LeftTasks = Arc<Mutex<Vec<LeftTask>>>;

fn default_prefix() -> String {
    "_redshift".into()
}

fn default_schema() -> String {
    "waterspout".into()
}

fn default_iam_role() -> String {
    "default".into()
}

fn default_load_every() -> Interval {
    Interval(Duration::from_secs(300))
}

fn default_load_bytes() -> ByteSize {
    ByteSize(64 << 20)
}

fn default_outbox() -> ByteSize {
    ByteSize(1 << 30)
}

impl Component for Redshift {
    const NAME: &'static str = "Redshift";
    const GUARANTEE: &'static str = "each post of a completed checkpoint is in the tables once, in its newest version; what \
         the server refuses becomes a dead letter, what isn't loaded yet depends on this machine's disk, and what \
         on_full: Drop drops is counted; never run on a real Redshift";
}

impl Redshift {
    fn target(&self) -> Bucket {
        Bucket { conditional_put: self.conditional_put, ..Bucket::from(self) }
    }

    fn access(&self) -> CopyAccess {
        CopyAccess { iam_role: self.iam_role.clone(), region: self.region.clone() }
    }

    fn gathering_bounds(&self) -> GatheringBounds {
        // Whoever pauses at the outbox's bound must not wait for more than that.
        let bytes = self.load_bytes.0.min(self.outbox.0 / 2);
        GatheringBounds { every: self.load_every.0, bytes }
    }
}

impl SinkConfig for Redshift {
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        let problem = |field, what| Problem { field, what, candidates: None };
        let mut problems = Vec::new();
        for (field, what) in self.target().problems() {
            problems.push(problem(field, what));
        }
        if self.prefix.contains(['\'', '\\']) {
            let what = "expected no ' and no \\, since it stands in a COPY";
            problems.push(problem("prefix", what.into()));
        }
        if let Err(error) = redshift_address(&self.url) {
            problems.push(problem("url", error.chain()));
        }
        if let Err(what) = check_name(&self.schema) {
            problems.push(problem("schema", what));
        }
        if let Err(what) = check_iam_role(&self.iam_role) {
            problems.push(problem("iam_role", what));
        }
        for (field, size) in [("load_bytes", self.load_bytes), ("outbox", self.outbox)] {
            if size.0 == 0 {
                let what = "expected a size above 0, since everything goes through it";
                problems.push(problem(field, what.into()));
            }
        }
        problems.extend(problems_of_inputs(inputs));
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_online(&self) -> Result<Option<String>> {
        let target = self.target();
        s3::probe(s3::open(&target)?.as_ref(), target.way_to_put()?)?;
        let warehouse = RedshiftSession::warehouse(&self.url, &self.schema)?;
        let session = RedshiftSession::connect(&warehouse, &self.access())?;
        let found = session.schema_version()?;
        session.check_is_known(found)?;
        let (name, schema, bucket) = (warehouse.name(), warehouse.schema(), target.address());
        let about_schema = match found {
            Some(found) => format!("its schema \"{schema}\" has version {found}"),
            None => format!("its schema \"{schema}\" will be made at the start"),
        };
        Ok(Some(format!(
            "\"{name}\" is Redshift; {about_schema}; \"{bucket}\" is there and can be written to (whether \
             Redshift may read it is only seen at the first load)"
        )))
    }

    fn bolt_in_front(&self, _stream: &str, fields: &Fields) -> Option<BoltInFront> {
        is_raw(fields).then(features_in_front)
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let mut layouts = Vec::new();
        for fields in &context.inputs {
            let layout = RowLayout::of(fields).map_err(|missing| {
                Error::fatal(format!("an input has no field \"{}\"", missing.join("\" and no \"")))
            })?;
            layouts.push(layout);
        }
        let bound = OutboxBound { bytes_max: self.outbox.0, on_full: self.on_full };
        let bounds = self.gathering_bounds();
        let bytes = context.micro_batch.bytes.min(SEGMENT_BYTES_MAX).min(bounds.bytes.max(1));
        let segments =
            SinkContext { micro_batch: MicroBatch { bytes, ..context.micro_batch }, ..context };
        let left = if segments.task == 0 {
            std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner))
        } else {
            Vec::new()
        };
        Ok(Box::new(RedshiftSink {
            outbox: Outbox::open(&segments, bound)?,
            gathering: Arc::new(Gathering::new(bounds, Arc::clone(&segments.clock))),
            delivery: RedshiftDelivery::new(self, layouts, left, &segments)?,
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

/// One task.
struct RedshiftSink {
    outbox: Outbox,
    gathering: Arc<Gathering>,
    delivery: Arc<RedshiftDelivery>,
}

impl Sink for RedshiftSink {
    fn write(&mut self, tuple: Tuple<'_>) -> Result<()> {
        self.delivery.check(tuple)?;
        self.outbox.write(tuple)
    }

    fn dropped(&self) -> u64 {
        self.outbox.dropped()
    }

    fn prepare(&mut self, barrier: &Barrier) -> Result<Job<Prepared>> {
        if barrier.last {
            self.gathering.end();
        }
        self.outbox.prepare(barrier)
    }

    fn commit(&mut self, promises: Vec<Promise>) -> Job<Delivered> {
        let reader = Arc::new(self.outbox.reader(&promises));
        let (delivery, gathering) = (Arc::clone(&self.delivery), Arc::clone(&self.gathering));
        let mut delivered = Delivered::default();
        let mut is_due = false;
        Box::new(move || {
            // A load that has begun is brought to its end, however often it has to be repeated.
            is_due = is_due || gathering.is_due(&promises);
            while is_due && delivered.segments.len() < promises.len() {
                let rest = &promises[delivered.segments.len()..];
                let some = gathering.gathered(rest);
                delivery.deliver(&reader, some, gathering.has_ended(), &mut delivered)?;
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

impl Drop for RedshiftSink {
    fn drop(&mut self) {
        // A server that doesn't answer mustn't hold up whoever goes back to a checkpoint.
        self.delivery.stop();
    }
}

#[cfg(test)]
mod tests;
