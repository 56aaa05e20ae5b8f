//! The second phase of `Postgres`: segments of an outbox come into the tables.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;

use super::super::outbox::OutboxReader;
use super::super::{Delivered, RefusedRow, RefusedRows, SinkContext};
use super::{Postgres, Raw, is_final};
use crate::clock::{SharedClock, earlier};
use crate::detached::Detached;
use crate::epoch::Promise;
use crate::error::{Error, Result};
use crate::tuple::Tuple;
use crate::units::Interval;
use crate::warehouse::failure::Failure;
use crate::warehouse::ledger::{RowPosition, SegmentLoad};
use crate::warehouse::load::LoadRows;
use crate::warehouse::months::{micros, time_of};
use crate::warehouse::row::{RowLayout, RowReading, read};
use crate::warehouse::schema;
use crate::warehouse::session::{Session, Warehouse};

/// The segments of one transaction, in bytes, unless a single one is larger. More cost memory for
/// each task; less would make more transactions, each with a sync of the server's disk.
const LOAD_BYTES_MAX: u64 = 8 << 20;

/// The segments of one transaction. A topology with short epochs has many small ones.
const LOAD_SEGMENTS_MAX: usize = 1_000;

/// The time between two looks for old months.
const UPKEEP_EVERY: Duration = Duration::from_secs(3_600);

/// A task of an earlier run: what begins with its prefix in the ledger can go, but for what is
/// still promised.
#[derive(Clone, Debug)]
pub(super) struct LeftTask {
    pub prefix: String,
    pub promised: Vec<String>,
}

/// What a task delivers with. Its jobs come one after the other.
pub(super) struct Delivery {
    warehouse: Warehouse,
    layouts: Arc<[RowLayout]>,
    keeps_raw: bool,
    retention: Option<Interval>,
    /// True for the task that does what one has to do for all.
    is_first_task: bool,
    clock: SharedClock,
    detached: Detached,
    /// Held by whoever asks the server.
    connection: Mutex<Connection>,
    /// When the server began not to answer.
    waiting_since: Mutex<Option<OffsetDateTime>>,
}

#[derive(Default)]
struct Connection {
    session: Option<Session>,
    /// True once a session was there: a schema that isn't known ends only a start.
    was_connected: bool,
    left: Vec<LeftTask>,
    upkeep_at: Option<Duration>,
}

impl Delivery {
    pub fn new(
        warehouse: Warehouse,
        layouts: Arc<[RowLayout]>,
        config: &Postgres,
        left: Vec<LeftTask>,
        context: &SinkContext,
    ) -> Arc<Self> {
        Arc::new(Self {
            warehouse,
            layouts,
            keeps_raw: config.raw == Raw::Jsonb,
            retention: config.retention,
            is_first_task: context.task == 0,
            clock: Arc::clone(&context.clock),
            detached: Detached::default(),
            connection: Mutex::new(Connection { left, ..Connection::default() }),
            waiting_since: Mutex::default(),
        })
    }

    /// Checks a tuple before it is written down.
    pub fn check(&self, tuple: Tuple<'_>) -> Result<()> {
        self.layouts[tuple.input].check(tuple.values).map_err(Error::rejected)
    }

    /// From here on nobody waits for the server.
    pub fn stop(&self) {
        self.detached.stop();
    }

    /// Delivers the first of the promises that make one transaction, and adds them to what is
    /// delivered.
    pub fn deliver_some(
        self: &Arc<Self>,
        reader: &Arc<OutboxReader>,
        promises: &[Promise],
        delivered: &mut Delivered,
    ) -> Result<()> {
        let promises = gathered(promises).to_vec();
        let (this, of_thread) = (Arc::clone(self), Arc::clone(reader));
        let some = promises.clone();
        let loads = self
            .asked("postgres load", move |connection| this.load(connection, &of_thread, &some))?;
        for (promise, load) in promises.iter().zip(loads) {
            if !load.refused.is_empty() {
                delivered.refused.push(refused_rows(reader, promise, &load)?);
            }
            reader.delivered(promise);
            delivered.segments.push(promise.segment.clone());
        }
        Ok(())
    }

    /// Takes delivered segments out of the ledger.
    pub fn forget(self: &Arc<Self>, segments: &[String]) -> Result<()> {
        let segments = segments.to_vec();
        self.asked("postgres forget", move |connection| match &connection.session {
            Some(session) => session.forget(&segments),
            None => Ok(()),
        })
    }

    /// Asks the server something on a thread of its own, with a session that is set up. After an
    /// error the session is given up.
    fn asked<T: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        ask: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = Arc::clone(self);
        let asked = self.detached.run(name, move || {
            let mut connection = this.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let asked = this.set_up(&mut connection).and_then(|()| ask(&mut connection));
            if asked.is_err() {
                connection.session = None;
            }
            asked
        });
        let mut since = self.waiting_since.lock().unwrap_or_else(PoisonError::into_inner);
        match asked {
            Ok(answer) => {
                *since = None;
                Ok(answer)
            }
            Err(error) if is_final(&error) => Err(error),
            Err(error) => {
                let since = *since.get_or_insert_with(|| self.clock.now());
                Err(waiting_error("Postgres", &self.warehouse.name(), since, error))
            }
        }
    }

    /// A session with the schema, and what is due from time to time.
    fn set_up(&self, connection: &mut Connection) -> Result<()> {
        if connection.session.is_none() {
            let session = self.warehouse.connect()?;
            let migrated = schema::migrate(&session);
            if let Err(error) = migrated {
                let text = error.chain();
                let is_start = !connection.was_connected;
                return Err(if is_start { error } else { Error::transient(text) });
            }
            connection.session = Some(session);
            connection.was_connected = true;
        }
        let Some(session) = &mut connection.session else { return Ok(()) };
        for task in std::mem::take(&mut connection.left) {
            if let Err(error) = session.forget_task(&task.prefix, &task.promised) {
                connection.left.push(task);
                return Err(error);
            }
        }
        let now = self.clock.monotonic();
        if self.is_first_task && connection.upkeep_at.is_none_or(|at| now >= at) {
            connection.upkeep_at = Some(now.saturating_add(UPKEEP_EVERY));
            // What can't be dropped now, since somebody reads it, is dropped the next time.
            let _ = self.upkeep(session);
        }
        Ok(())
    }

    fn upkeep(&self, session: &mut Session) -> Result<()> {
        session.prune_history()?;
        if let Some(keep_from) = self.keep_from() {
            session.drop_before(micros(keep_from))?;
        }
        Ok(())
    }

    fn keep_from(&self) -> Option<OffsetDateTime> {
        self.retention.map(|retention| earlier(self.clock.now(), retention.0))
    }

    fn load(
        &self,
        connection: &mut Connection,
        reader: &OutboxReader,
        promises: &[Promise],
    ) -> Result<Vec<SegmentLoad>> {
        let Some(session) = &mut connection.session else { return Ok(Vec::new()) };
        let segments: Vec<_> = promises.iter().map(|promise| promise.segment.clone()).collect();
        let loaded = session.load_segments(&segments, |missing| {
            let mut rows = LoadRows::default();
            for at in missing {
                rows.segments.insert(*at, segments[*at].clone());
                self.add_rows(reader, *at, &promises[*at], &mut rows)?;
            }
            Ok(rows)
        });
        loaded.map_err(|failure| match failure {
            Failure::Own(error) => error,
            other => other.transient("can't load"),
        })
    }

    fn add_rows(
        &self,
        reader: &OutboxReader,
        segment: usize,
        promise: &Promise,
        rows: &mut LoadRows,
    ) -> Result<()> {
        let reading = RowReading { now: self.clock.now(), keeps_raw: self.keeps_raw };
        let keep_from = self.keep_from().map(micros);
        for (number, row) in reader.rows(promise)?.into_iter().enumerate() {
            let read = match self.layouts.get(row.input) {
                Some(layout) => read(layout, &row.values, reading),
                None => Err("its input isn't in the topology any more".into()),
            };
            rows.add(RowPosition { segment, number }, read, keep_from);
        }
        Ok(())
    }
}

/// The error as a state: whom it waits for, and since when.
pub(in super::super) fn waiting_error(
    product: &str,
    name: &str,
    since: OffsetDateTime,
    error: Error,
) -> Error {
    let (hour, minute, second) = since.time().as_hms();
    let date = since.date();
    error.with_text(|cause| {
        format!(
            "waiting for {product} at \"{name}\" since {date}T{hour:02}:{minute:02}:{second:02}Z: {cause}"
        )
    })
}

/// The rows that the ledger says were refused, from the outbox.
pub(in super::super) fn refused_rows(
    reader: &OutboxReader,
    promise: &Promise,
    load: &SegmentLoad,
) -> Result<RefusedRows> {
    let mut rows = Vec::new();
    let all = reader.rows(promise)?;
    for refused in &load.refused {
        let Some(row) = all.get(refused.number) else { continue };
        rows.push(RefusedRow {
            input: row.input,
            values: row.values.clone(),
            error: refused.error.clone(),
        });
    }
    Ok(RefusedRows { segment: promise.segment.clone(), at: time_of(load.loaded_at), rows })
}

/// The first of the promises that make one transaction, at least one.
fn gathered(promises: &[Promise]) -> &[Promise] {
    let mut bytes = 0_u64;
    let fits = |promise: &&Promise| {
        bytes = bytes.saturating_add(promise.length);
        bytes <= LOAD_BYTES_MAX
    };
    let count = promises.iter().take(LOAD_SEGMENTS_MAX).take_while(fits).count();
    &promises[..count.max(1).min(promises.len())]
}
