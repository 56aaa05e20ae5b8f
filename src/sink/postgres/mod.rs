//! `Postgres`: writes posts and trends into the tables of a warehouse.

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
use crate::clock::{SharedClock, earlier};
use crate::component::{Component, Problem};
use crate::epoch::Promise;
use crate::error::Result;
use crate::secret::Secret;
use crate::tuple::Fields;
use crate::units::{ByteSize, Interval};
use crate::warehouse::address::WarehouseAddress;
use crate::warehouse::failure::Done;
use crate::warehouse::ledger::SegmentLoad;
use crate::warehouse::months::{Micros, micros};
use crate::warehouse::schema;
use crate::warehouse::session::{Session, Warehouse};

/// The bytes of one transaction. A larger value costs memory for each task; a smaller one makes
/// more transactions, each with a sync of the server's disk.
const LOADS: GatheringBounds =
    GatheringBounds { every: Duration::ZERO, bytes: 8 << 20, segments: 1_000 };

/// Writes posts into the tables of a warehouse in PostgreSQL: one row for each post of a platform,
/// its newest version, with its hashtags, mentions, addresses and author, its counts over time,
/// gaps and deletions. The tables are made, brought to the newest version, and filed by month.
/// Posts as sources emit them pass `Features` first, which the plan puts in front. An input of
/// trends, the stream `default` of `Trends`, goes into the table `trends`, one row for each key and
/// bucket. What the server hasn't taken yet is on this machine's disk, in the topology's state.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Postgres {
    /// The address: `postgres://user:password@host:5432/database?sslmode=verify-full`, or
    /// `host=… user=…`, with the options of libpq.
    pub url: Secret,
    /// The schema of the database that the tables are in.
    #[serde(default = "default_schema")]
    pub schema: String,
    /// The form in which whole posts are kept: `Jsonb`, or `None`, which saves most of the space.
    #[serde(default)]
    pub raw: Raw,
    /// The age up to which posts are kept, by their own time: a month is dropped once all of it is
    /// older. Without this option, posts are kept for ever.
    #[serde(default)]
    pub retention: Option<Interval>,
    /// The bound on the data that the server hasn't taken, on this machine's disk, for each task.
    #[serde(default = "default_outbox")]
    pub outbox: ByteSize,
    /// The reaction to a full outbox: the spouts upstream pause until half of it is delivered, or
    /// tuples that don't fit are dropped and counted.
    #[serde(default)]
    pub on_full: OnFull,
    /// Tasks of earlier runs that left segments in the ledger.
    #[serde(skip)]
    left: LeftTasks,
}

/// The form in which whole posts are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Raw {
    /// The whole post, as JSON that SQL can query.
    #[default]
    Jsonb,
    /// Nothing.
    None,
}

impl Component for Postgres {
    const NAME: &'static str = "Postgres";
    const GUARANTEE: &'static str = "each post of a completed checkpoint is in the tables once, in \
        its newest version, and each \
         bucket of a trend; what the server refuses becomes a dead letter, what it hasn't taken \
         yet depends on this machine's disk, and what \
         on_full: Drop drops is counted";
}

impl SinkConfig for Postgres {
    fn check(&self, inputs: &[Fields]) -> Result<(), Vec<Problem>> {
        let shared = SharedOptions {
            address: WarehouseAddress::parse(&self.url).map(drop),
            schema: &self.schema,
            sizes: vec![("outbox", self.outbox)],
        };
        let mut problems = shared.problems(inputs);
        if self.retention.is_some_and(|retention| retention.0 < RETENTION_MIN) {
            let what = "expected a day or more".into();
            problems.push(Problem { field: "retention", what, candidates: None });
        }
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
                "\"{name}\" is PostgreSQL {version}; its schema \"{schema}\" has version {found} \
                    and can be written to"
            ),
            None => format!(
                "\"{name}\" is PostgreSQL {version}; its schema \"{schema}\" will be made at the \
                    start"
            ),
        }))
    }

    fn bolt_in_front(&self, _stream: &str, fields: &Fields) -> Option<BoltInFront> {
        warehouse::features_in_front(fields)
    }

    fn destination(&self, fields: &Fields) -> Option<&'static str> {
        warehouse::tables_of(fields)
    }

    fn build(&self, context: SinkContext) -> Result<Box<dyn Sink>> {
        let loader = PostgresLoader {
            warehouse: Warehouse::at(&self.url, &self.schema)?,
            retention: self.retention,
            clock: Arc::clone(&context.clock),
        };
        let options = RowOptions {
            layouts: warehouse::layouts(&context.inputs)?,
            keeps_raw: self.raw == Raw::Jsonb,
        };
        let bound = OutboxBound { bytes_max: self.outbox.0, on_full: self.on_full };
        let context = warehouse::outbox_context(context, LOADS.bytes);
        let left = warehouse::take_left(&self.left, &context);
        Ok(Box::new(WarehouseSink {
            outbox: Outbox::open(&context, bound)?,
            gathering: Arc::new(Gathering::new(LOADS, Arc::clone(&context.clock))),
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

/// The shortest retention. A partition holds a month, so a shorter retention would drop nothing
/// sooner.
const RETENTION_MIN: Duration = Duration::from_secs(86_400);

/// Loads segments into PostgreSQL.
struct PostgresLoader {
    warehouse: Warehouse,
    retention: Option<Interval>,
    clock: SharedClock,
}

impl SegmentLoader for PostgresLoader {
    type Session = Session;

    fn outside(&self) -> String {
        format!("Postgres at \"{}\"", self.warehouse.name())
    }

    fn begin(&self) -> Result<Session> {
        let session = self.warehouse.connect()?;
        schema::migrate(&session)?;
        Ok(session)
    }

    fn load(
        &self,
        session: &mut Session,
        segments: &[String],
        read: ReadRows<'_>,
    ) -> Done<Vec<SegmentLoad>> {
        session.load_segments(segments, read)
    }

    fn forget(&self, session: &mut Session, segments: &[String]) -> Result<()> {
        session.forget(segments)
    }

    fn forget_task(&self, session: &mut Session, task: &LeftTask) -> Result<()> {
        session.forget_task(&task.prefix, &task.promised)
    }

    fn upkeep(&self, session: &mut Session) -> Result<()> {
        session.prune_history()?;
        if let Some(keep_from) = self.keep_from() {
            session.drop_before(keep_from)?;
        }
        Ok(())
    }

    fn keep_from(&self) -> Option<Micros> {
        self.retention.map(|retention| micros(earlier(self.clock.now(), retention.0)))
    }
}

#[cfg(test)]
mod tests;
