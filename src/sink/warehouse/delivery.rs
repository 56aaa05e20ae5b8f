//! The second phase: loads segments of an outbox into the tables.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::super::outbox::OutboxReader;
use super::super::waiting::Waiting;
use super::super::{Delivered, RefusedRow, RefusedRows, SinkContext};
use crate::clock::SharedClock;
use crate::detached::Detached;
use crate::epoch::Promise;
use crate::error::{Error, Result};
use crate::tuple::Tuple;
use crate::warehouse::failure::{Done, Failure};
use crate::warehouse::input::InputLayout;
use crate::warehouse::ledger::{RowPosition, SegmentLoad};
use crate::warehouse::load::LoadRows;
use crate::warehouse::months::{Micros, time_of};
use crate::warehouse::row::RowReading;

/// The time between two rounds of [`SegmentLoader::upkeep`].
const UPKEEP_EVERY: Duration = Duration::from_secs(3_600);

/// A task of an earlier run. Ledger entries with the task's prefix can be deleted, except those
/// that are still promised.
#[derive(Clone, Debug)]
pub(crate) struct LeftTask {
    /// The prefix of the task's segment names.
    pub prefix: String,
    /// The segments that may be loaded again.
    pub promised: Vec<String>,
}

/// Reads the rows of the segments at the given positions.
pub(crate) type ReadRows<'r> = &'r mut dyn FnMut(&[usize]) -> Result<LoadRows>;

/// A database into which segments are loaded. All calls block, and are made one after the other.
pub(crate) trait SegmentLoader: Send + Sync + 'static {
    /// An open connection.
    type Session: Send;

    /// Returns the product and the address, for users: `Postgres at "host/database"`.
    fn outside(&self) -> String;

    /// Begins a session, and creates or migrates the tables.
    ///
    /// # Errors
    /// If the database doesn't answer; transient.
    fn begin(&self) -> Result<Self::Session>;

    /// Loads segments in one transaction, except those that the ledger has. Returns the outcome of
    /// each.
    ///
    /// # Errors
    /// If the whole load fails, or `read` does.
    fn load(
        &self,
        session: &mut Self::Session,
        segments: &[String],
        read: ReadRows<'_>,
    ) -> Done<Vec<SegmentLoad>>;

    /// Cleans up after a load. If `is_end` is true, nothing is loaded after this call, and no later
    /// call reports that the segments are forgotten.
    ///
    /// # Errors
    /// If the clean-up fails; transient, since a repeated load is recognised.
    fn loaded(&self, _segments: &[String], _is_end: bool) -> Result<()> {
        Ok(())
    }

    /// Deletes delivered segments from the ledger.
    ///
    /// # Errors
    /// If the database doesn't delete them; transient.
    fn forget(&self, session: &mut Self::Session, segments: &[String]) -> Result<()>;

    /// Deletes the segments of a task of an earlier run from the ledger.
    ///
    /// # Errors
    /// If the database doesn't delete them; transient.
    fn forget_task(&self, session: &mut Self::Session, task: &LeftTask) -> Result<()>;

    /// Does periodic work, in one task of the sink.
    ///
    /// # Errors
    /// If any of the work fails; it is done the next time.
    fn upkeep(&self, session: &mut Self::Session) -> Result<()>;

    /// Returns the time before which posts are too old to be kept.
    fn keep_from(&self) -> Option<Micros> {
        None
    }
}

/// The settings for reading the rows of a task.
pub(crate) struct RowOptions {
    /// The layout of each input.
    pub layouts: Vec<InputLayout>,
    /// True if the posts themselves are kept.
    pub keeps_raw: bool,
}

/// The delivery of one task. Its jobs run one after the other.
pub(crate) struct Delivery<L: SegmentLoader> {
    loader: L,
    options: RowOptions,
    /// True for the task that does the work that is done once for all tasks.
    is_first_task: bool,
    clock: SharedClock,
    detached: Detached,
    /// Held during each request to the database.
    connection: Mutex<Connection<L::Session>>,
    waiting: Waiting,
}

struct Connection<S> {
    session: Option<S>,
    /// True once a session was open: an unknown schema ends only a start.
    was_connected: bool,
    left: Vec<LeftTask>,
    upkeep_at: Option<Duration>,
}

impl<L: SegmentLoader> Delivery<L> {
    /// Creates the delivery of a task; the task cleans up after the tasks in `left`.
    pub(crate) fn new(
        loader: L,
        options: RowOptions,
        left: Vec<LeftTask>,
        context: &SinkContext,
    ) -> Arc<Self> {
        let connection = Connection { session: None, was_connected: false, left, upkeep_at: None };
        Arc::new(Self {
            waiting: Waiting::new(loader.outside(), Arc::clone(&context.clock)),
            loader,
            options,
            is_first_task: context.task == 0,
            clock: Arc::clone(&context.clock),
            detached: Detached::default(),
            connection: Mutex::new(connection),
        })
    }

    /// Checks a tuple before the tuple is stored.
    ///
    /// # Errors
    /// If the tuple can't become a row; the error is "rejected".
    pub(crate) fn check(&self, tuple: Tuple<'_>) -> Result<()> {
        self.options.layouts[tuple.input].check(tuple.values).map_err(Error::rejected)
    }

    /// Stops all waiting for the database.
    pub(crate) fn stop(&self) {
        self.detached.stop();
    }

    /// Delivers promises in one load, and adds them to the delivered ones.
    ///
    /// # Errors
    /// If the database doesn't take the load now; transient.
    pub(crate) fn deliver(
        self: &Arc<Self>,
        reader: &Arc<OutboxReader>,
        promises: &[Promise],
        is_end: bool,
        delivered: &mut Delivered,
    ) -> Result<()> {
        let (this, of_thread) = (Arc::clone(self), Arc::clone(reader));
        let some = promises.to_vec();
        let loads = self.asked("warehouse load", move |session| {
            let segments: Vec<_> = some.iter().map(|promise| promise.segment.clone()).collect();
            let loads = this.load(session, &of_thread, &some, &segments)?;
            this.loader.loaded(&segments, is_end)?;
            Ok(loads)
        })?;
        for (promise, load) in promises.iter().zip(loads) {
            if !load.refused.is_empty() {
                delivered.refused.push(refused_rows(reader, promise, &load)?);
            }
            reader.delivered(promise);
            delivered.segments.push(promise.segment.clone());
        }
        Ok(())
    }

    /// Deletes delivered segments from the ledger.
    ///
    /// # Errors
    /// If the database doesn't delete them now; transient.
    pub(crate) fn forget(self: &Arc<Self>, segments: &[String]) -> Result<()> {
        let (this, segments) = (Arc::clone(self), segments.to_vec());
        self.asked("warehouse forget", move |session| this.loader.forget(session, &segments))
    }

    /// Runs a request to the database on a separate thread, with an open session. After an error
    /// the session is closed.
    fn asked<T: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        ask: impl FnOnce(&mut L::Session) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = Arc::clone(self);
        let asked = self.detached.run(name, move || {
            let mut connection = this.connection.lock().unwrap_or_else(PoisonError::into_inner);
            let asked = this.set_up(&mut connection).and_then(ask);
            if asked.is_err() {
                connection.session = None;
            }
            asked
        });
        self.waiting.observe(asked)
    }

    /// Opens a session with the tables, and does the periodic work that is due.
    fn set_up<'c>(&self, connection: &'c mut Connection<L::Session>) -> Result<&'c mut L::Session> {
        if connection.session.is_none() {
            let begun = self.loader.begin();
            connection.session = Some(match begun {
                Err(error) if connection.was_connected => {
                    return Err(Error::transient(error.chain()));
                }
                other => other?,
            });
            connection.was_connected = true;
        }
        let Connection { session: Some(session), left, upkeep_at, .. } = connection else {
            return Err(Error::transient("no session"));
        };
        while let Some(task) = left.last() {
            self.loader.forget_task(session, task)?;
            left.pop();
        }
        let now = self.clock.monotonic();
        if self.is_first_task && upkeep_at.is_none_or(|at| now >= at) {
            *upkeep_at = Some(now.saturating_add(UPKEEP_EVERY));
            // A month that can't be dropped now, because another session reads it, is dropped the
            // next time.
            let _ = self.loader.upkeep(session);
        }
        Ok(session)
    }

    fn load(
        &self,
        session: &mut L::Session,
        reader: &OutboxReader,
        promises: &[Promise],
        segments: &[String],
    ) -> Result<Vec<SegmentLoad>> {
        let loaded = self.loader.load(session, segments, &mut |missing| {
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
        let reading = RowReading { now: self.clock.now(), keeps_raw: self.options.keeps_raw };
        let keep_from = self.loader.keep_from();
        for (number, row) in reader.rows(promise)?.into_iter().enumerate() {
            let read = match self.options.layouts.get(row.input) {
                Some(layout) => layout.read(&row.values, reading),
                None => Err("its input isn't in the topology any more".into()),
            };
            rows.add(RowPosition { segment, number }, read, keep_from);
        }
        Ok(())
    }
}

/// Returns the rows that the ledger lists as refused, from the outbox.
fn refused_rows(
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
