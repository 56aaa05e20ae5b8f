//! The second phase of `Redshift`: gathered segments come into the tables in one load.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use time::OffsetDateTime;

use super::super::outbox::OutboxReader;
use super::super::postgres::{is_final, refused_rows, waiting_error};
use super::super::{Delivered, SinkContext};
use super::{RawSuper, Redshift};
use crate::clock::SharedClock;
use crate::detached::Detached;
use crate::epoch::Promise;
use crate::error::{Error, Result};
use crate::lake::store::s3;
use crate::tuple::Tuple;
use crate::warehouse::failure::Failure;
use crate::warehouse::ledger::{RowPosition, SegmentLoad};
use crate::warehouse::load::LoadRows;
use crate::warehouse::months::micros;
use crate::warehouse::redshift::{CopyAccess, LoadFiles, RedshiftSession};
use crate::warehouse::row::{RowLayout, RowReading, read};
use crate::warehouse::session::Warehouse;

/// A task of an earlier run: what begins with its prefix in the ledger can go, but for what is
/// still promised.
#[derive(Clone, Debug)]
pub(super) struct LeftTask {
    pub prefix: String,
    pub promised: Vec<String>,
}

/// What a task delivers with. Its jobs come one after the other.
pub(super) struct RedshiftDelivery {
    warehouse: Warehouse,
    access: CopyAccess,
    files: LoadFiles,
    layouts: Vec<RowLayout>,
    keeps_raw: bool,
    clock: SharedClock,
    detached: Detached,
    /// Held by whoever asks the server.
    connection: Mutex<Connection>,
    /// When the server began not to answer.
    waiting_since: Mutex<Option<OffsetDateTime>>,
}

#[derive(Default)]
struct Connection {
    session: Option<RedshiftSession>,
    /// True once a session was there: a schema that isn't known ends only a start.
    was_connected: bool,
    left: Vec<LeftTask>,
}

impl RedshiftDelivery {
    pub fn new(
        config: &Redshift,
        layouts: Vec<RowLayout>,
        left: Vec<LeftTask>,
        context: &SinkContext,
    ) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            warehouse: RedshiftSession::warehouse(&config.url, &config.schema)?,
            access: config.access(),
            files: LoadFiles::new(s3::open_for_uploads(&config.target())?),
            layouts,
            keeps_raw: config.raw == RawSuper::Super,
            clock: Arc::clone(&context.clock),
            detached: Detached::default(),
            connection: Mutex::new(Connection { left, ..Connection::default() }),
            waiting_since: Mutex::default(),
        }))
    }

    /// Checks a tuple before it is written down.
    pub fn check(&self, tuple: Tuple<'_>) -> Result<()> {
        self.layouts[tuple.input].check(tuple.values).map_err(Error::rejected)
    }

    /// From here on nobody waits for the server.
    pub fn stop(&self) {
        self.detached.stop();
    }

    /// Delivers promises in one load, and adds them to what is delivered. At the end of the run the
    /// files go at once, since nobody is told then that the segments are forgotten.
    pub fn deliver(
        self: &Arc<Self>,
        reader: &Arc<OutboxReader>,
        promises: &[Promise],
        is_end: bool,
        delivered: &mut Delivered,
    ) -> Result<()> {
        let (this, of_thread) = (Arc::clone(self), Arc::clone(reader));
        let some = promises.to_vec();
        let loads = self.asked("redshift load", move |session| {
            let loads = this.load(session, &of_thread, &some)?;
            if is_end {
                let segments: Vec<_> = some.iter().map(|promise| &promise.segment).collect();
                this.delete_files(segments)?;
            }
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

    /// Takes delivered segments out of the ledger, and deletes the files of their tasks: the loads
    /// are known to be over, and what another load of the same task needs is put again.
    pub fn forget(self: &Arc<Self>, segments: &[String]) -> Result<()> {
        let (this, segments) = (Arc::clone(self), segments.to_vec());
        self.asked("redshift forget", move |session| {
            this.delete_files(segments.iter().collect())?;
            session.forget(&segments)
        })
    }

    fn delete_files(&self, segments: Vec<&String>) -> Result<()> {
        let tasks: BTreeSet<&str> =
            segments.into_iter().filter_map(|name| Some(name.rsplit_once('/')?.0)).collect();
        tasks.into_iter().try_for_each(|task| self.files.delete(task))
    }

    /// Asks the server something on a thread of its own, with a session that is set up. After an
    /// error the session is given up.
    fn asked<T: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        ask: impl FnOnce(&RedshiftSession) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let this = Arc::clone(self);
        let asked = self.detached.run(name, move || {
            let mut connection = this.connection.lock().unwrap_or_else(PoisonError::into_inner);
            this.set_up(&mut connection)?;
            let Connection { session: Some(session), .. } = &*connection else {
                return Err(Error::transient("no session"));
            };
            let asked = ask(session);
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
                Err(waiting_error("Redshift", &self.warehouse.name(), since, error))
            }
        }
    }

    /// A session with the schema, and what is due at the start.
    fn set_up(&self, connection: &mut Connection) -> Result<()> {
        if connection.session.is_some() {
            return Ok(());
        }
        let now = micros(self.clock.now());
        let begun = RedshiftSession::connect(&self.warehouse, &self.access)
            .and_then(|session| session.migrate(now).map(|_| session));
        let session = match begun {
            Err(error) if connection.was_connected => return Err(Error::transient(error.chain())),
            other => other?,
        };
        // What stays too long costs nothing but room.
        let _ = session.prune_history(now);
        while let Some(task) = connection.left.last() {
            session.forget_task(&task.prefix, &task.promised)?;
            self.files.delete(task.prefix.trim_end_matches('/'))?;
            connection.left.pop();
        }
        connection.session = Some(session);
        connection.was_connected = true;
        Ok(())
    }

    fn load(
        &self,
        session: &RedshiftSession,
        reader: &OutboxReader,
        promises: &[Promise],
    ) -> Result<Vec<SegmentLoad>> {
        let segments: Vec<_> = promises.iter().map(|promise| promise.segment.clone()).collect();
        let now = micros(self.clock.now());
        let loaded = session.load_segments(&segments, &self.files, now, |missing| {
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
        for (number, row) in reader.rows(promise)?.into_iter().enumerate() {
            let read = match self.layouts.get(row.input) {
                Some(layout) => read(layout, &row.values, reading),
                None => Err("its input isn't in the topology any more".into()),
            };
            rows.add(RowPosition { segment, number }, read, None);
        }
        Ok(())
    }
}
