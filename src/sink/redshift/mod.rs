//! `Redshift`: writes posts and trends into the tables of a warehouse in Amazon Redshift, in few
//! large loads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::outbox::{self, Outbox, OutboxBound};
use super::warehouse::{
    self, Delivery, Gathering, GatheringBounds, LeftTask, LeftTasks, ReadRows, RowOptions,
    SegmentLoader, SharedOptions, WarehouseSink, default_outbox, default_schema,
};
use super::{BoltInFront, OnFull, Sink, SinkConfig, SinkContext};
use crate::clock::SharedClock;
use crate::component::{Component, Problem};
use crate::epoch::Promise;
use crate::error::Result;
use crate::lake::store::s3::{self, ConditionalPut, S3 as Bucket, with_bucket_access};
use crate::secret::Secret;
use crate::tuple::Fields;
use crate::units::{ByteSize, Interval};
use crate::warehouse::failure::Done;
use crate::warehouse::ledger::SegmentLoad;
use crate::warehouse::months::{Micros, micros};
use crate::warehouse::redshift::{
    CopyAccess, LoadFiles, RedshiftSession, check_iam_role, redshift_address,
};
use crate::warehouse::session::Warehouse;

/// The largest number of segments in one load. A topology with short epochs has many small
/// segments, and each takes a row of the ledger and a place in statements.
const LOAD_SEGMENTS_MAX: usize = 2_000;

with_bucket_access! {
    /// Writes posts into the tables of a warehouse in Amazon Redshift, as `Postgres` does it, but
    /// in few large loads: gathered rows are put into a bucket, as files of JSON with manifests,
    /// and Redshift copies them from there with a role of its own. This sink is experimental: it
    /// was never run on a real Redshift. Posts as sources emit them pass `Features` first, which
    /// the plan puts in front. Rows that aren't loaded yet are on this machine's disk, in the
    /// topology's state.
    #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    pub struct Redshift {
        /// The bucket for the files, which Redshift must be able to read. The files are deleted
        /// after their load.
        pub bucket: String,
        /// The prefix of the files' keys.
        #[serde(default = "default_prefix")]
        pub prefix: String,
        /// The address: `redshift://user:password@host:5439/database?sslmode=verify-full`, with the
        /// options of libpq.
        pub url: Secret,
        /// The schema of the database that the tables are in.
        #[serde(default = "default_schema")]
        pub schema: String,
        /// The role by which Redshift reads the bucket: `arn:aws:iam::<account>:role/<name>`,
        /// several separated by commas if one assumes the other, or `default` for the cluster's own
        /// role.
        #[serde(default = "default_iam_role")]
        pub iam_role: String,
        /// The time for which segments are gathered for one load. A longer time makes fewer and
        /// larger loads.
        #[serde(default = "default_load_every")]
        pub load_every: Interval,
        /// The most bytes of the outbox in one load, for each task; a load begins early once so
        /// many bytes are there. A load takes several times this size in memory.
        #[serde(default = "default_load_bytes")]
        pub load_bytes: ByteSize,
        /// The form in which whole posts are kept: `Super`, or `None`, which saves most of the
        /// space.
        #[serde(default)]
        pub raw: RawSuper,
        /// The way to put a file that must not replace another: `IfNoneMatch`, or `HeadThenPut` for
        /// servers that answer 501 to it. Without it: as `WATERSPOUT_S3_CONDITIONAL_PUT` in the
        /// environment says, or `IfNoneMatch`.
        #[serde(default)]
        pub conditional_put: Option<ConditionalPut>,
        /// The bound on the data that isn't loaded, on this machine's disk, for each task.
        #[serde(default = "default_outbox")]
        pub outbox: ByteSize,
        /// The reaction to a full outbox: the spouts upstream pause until half of it is loaded, or
        /// tuples that don't fit are dropped and counted.
        #[serde(default)]
        pub on_full: OnFull,
        /// Tasks of earlier runs that left segments in the ledger.
        #[serde(skip)]
        left: LeftTasks,
    }
}

/// The form in which whole posts are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RawSuper {
    /// The whole post, as JSON that SQL can query.
    #[default]
    Super,
    /// Nothing.
    None,
}

fn default_prefix() -> String {
    "_redshift".into()
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

impl Component for Redshift {
    const NAME: &'static str = "Redshift";
    const GUARANTEE: &'static str = "each post of a completed checkpoint is in the tables once, in \
        its newest version; what \
         the server refuses becomes a dead letter, what isn't loaded yet depends on this machine's \
         disk, and what \
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
        // A spout that pauses at the outbox's bound must not wait for a larger load.
        let bytes = self.load_bytes.0.min(self.outbox.0 / 2);
        GatheringBounds { every: self.load_every.0, bytes, segments: LOAD_SEGMENTS_MAX }
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
        if let Err(what) = check_iam_role(&self.iam_role) {
            problems.push(problem("iam_role", what));
        }
        let shared = SharedOptions {
            address: redshift_address(&self.url).map(drop),
            schema: &self.schema,
            sizes: vec![("load_bytes", self.load_bytes), ("outbox", self.outbox)],
        };
        problems.extend(shared.problems(inputs));
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
            "\"{name}\" is Redshift; {about_schema}; \"{bucket}\" is there and can be written to \
                (whether \
             Redshift may read it is only seen at the first load)"
        )))
    }

    fn bolt_in_front(&self, _stream: &str, fields: &Fields) -> Option<BoltInFront> {
        warehouse::features_in_front(fields)
    }

    fn destination(&self, fields: &Fields) -> Option<&'static str> {
        warehouse::tables_of(fields)
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let loader = RedshiftLoader {
            warehouse: RedshiftSession::warehouse(&self.url, &self.schema)?,
            access: self.access(),
            files: LoadFiles::new(s3::open_for_uploads(&self.target())?),
            clock: Arc::clone(&context.clock),
        };
        let options = RowOptions {
            layouts: warehouse::layouts(&context.inputs)?,
            keeps_raw: self.raw == RawSuper::Super,
        };
        let bound = OutboxBound { bytes_max: self.outbox.0, on_full: self.on_full };
        let bounds = self.gathering_bounds();
        let context = warehouse::outbox_context(context, bounds.bytes);
        let left = warehouse::take_left(&self.left, &context);
        Ok(Box::new(WarehouseSink {
            outbox: Outbox::open(&context, bound)?,
            gathering: Arc::new(Gathering::new(bounds, Arc::clone(&context.clock))),
            delivery: Delivery::new(loader, options, left, &context),
        }))
    }

    fn place(&self, context: &SinkContext) -> Result<String> {
        outbox::place(context)
    }

    fn recover(&self, place: &str, promises: &[Promise]) -> Result<Vec<Promise>> {
        warehouse::recover(&self.left, place, promises)
    }

    fn outbox_bytes_max(&self) -> Option<u64> {
        (self.on_full == OnFull::Pause).then_some(self.outbox.0)
    }
}

/// Loads segments into Redshift.
struct RedshiftLoader {
    warehouse: Warehouse,
    access: CopyAccess,
    files: LoadFiles,
    clock: SharedClock,
}

impl RedshiftLoader {
    /// Deletes the files of the tasks to which the segments belong. Their loads are known to be
    /// over, and a later load of the same task puts the files that it needs again.
    fn delete_files(&self, segments: &[String]) -> Result<()> {
        let tasks: BTreeSet<&str> =
            segments.iter().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect();
        tasks.into_iter().try_for_each(|task| self.files.delete(task))
    }

    fn now(&self) -> Micros {
        micros(self.clock.now())
    }
}

impl SegmentLoader for RedshiftLoader {
    type Session = RedshiftSession;

    fn outside(&self) -> String {
        format!("Redshift at \"{}\"", self.warehouse.name())
    }

    fn begin(&self) -> Result<RedshiftSession> {
        let session = RedshiftSession::connect(&self.warehouse, &self.access)?;
        session.migrate(self.now())?;
        Ok(session)
    }

    fn load(
        &self,
        session: &mut RedshiftSession,
        segments: &[String],
        read: ReadRows<'_>,
    ) -> Done<Vec<SegmentLoad>> {
        session.load_segments(segments, &self.files, self.now(), read)
    }

    /// At the end of the run the files are deleted at once, because no later call reports that the
    /// segments are forgotten.
    fn loaded(&self, segments: &[String], is_end: bool) -> Result<()> {
        if is_end { self.delete_files(segments) } else { Ok(()) }
    }

    fn forget(&self, session: &mut RedshiftSession, segments: &[String]) -> Result<()> {
        self.delete_files(segments)?;
        session.forget(segments)
    }

    fn forget_task(&self, session: &mut RedshiftSession, task: &LeftTask) -> Result<()> {
        session.forget_task(&task.prefix, &task.promised)?;
        self.files.delete(task.prefix.trim_end_matches('/'))
    }

    fn upkeep(&self, session: &mut RedshiftSession) -> Result<()> {
        session.prune_history(self.now())
    }
}

#[cfg(test)]
mod tests;
