//! The capture of one source: a thread with its own runtime, which reads the network into the
//! spool. The capture outlives the task that reads the spool, so that a roll-back or a rebalance
//! loses no connection. If no task uses the capture for 30 s, it ends.

use std::any::Any;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use futures_util::future::{Either, select};
use time::OffsetDateTime;
use tokio::sync::watch;

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::panics::caught;
use crate::panics::message as panic_message;
use crate::secret::Redactor;
use crate::spool::{Options, Reader, Record, Spool};
use crate::units::ByteSize;

use super::feed::{Feed, Parts, Says, for_people};
use super::platform::Platform;
use super::refresh;
use super::runtime::block_on;
use super::tail::posts;
use crate::gaps::GapLedger;

/// The time that a capture waits for another task to use it.
const LINGERS: Duration = Duration::from_secs(30);

/// The least number of bytes covered by checkpoints that a source's spool keeps (or a quarter of
/// the spool, if that is less): the set of seen posts is rebuilt from these bytes at a start.
const RETAIN_MIN: u64 = 64 << 20;

/// A source that is being read.
pub(super) struct Capture {
    pub spool: Spool,
    pub says: Arc<Says>,
    failure: Mutex<Option<Error>>,
    users: watch::Sender<usize>,
    /// The platform's configuration when the capture began.
    configuration: Box<dyn Any + Send + Sync>,
    /// True if another capture is to replace this one.
    dismissed: watch::Sender<bool>,
    /// True if others can open the capture's spool.
    ended: watch::Sender<bool>,
}

/// A task's share in a capture.
pub(super) struct Use {
    pub capture: Arc<Capture>,
    pub reader: Reader,
}

/// Returns the capture that writes the spool in this folder.
#[cfg(test)]
pub(super) fn of(spool: &Path) -> Option<Arc<Capture>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.get(spool).cloned()
}

/// All captures of the process, by the folder of their spools.
static OPEN: Mutex<Option<HashMap<PathBuf, Arc<Capture>>>> = Mutex::new(None);

/// The paths and positions that a capture needs to start.
pub(super) struct Place<'a> {
    pub component: &'a str,
    /// The folder of the topology's state; `None` if nothing is to outlive the process.
    pub state: Option<&'a Path>,
    /// The folder of the spool.
    pub spool: &'a Path,
    /// The position of the newest checkpoint.
    pub position: u64,
    /// The time when that checkpoint was made.
    pub saved_at: Option<OffsetDateTime>,
}

impl Use {
    /// Joins the capture of a source, or starts it. If a capture with another configuration still
    /// runs, it is ended first.
    ///
    /// # Errors
    /// If the capture's spool or ledger can't be opened.
    pub(crate) async fn open<P: Platform>(
        platform: &P,
        place: &Place<'_>,
        clock: SharedClock,
    ) -> Result<Self> {
        loop {
            match Self::try_open(platform, place, clock.clone())? {
                Ok(joined) => return Ok(joined),
                Err(other) => other.dismiss().await,
            }
        }
    }

    /// Does the same in one attempt; returns the capture with another configuration, if there is
    /// one.
    fn try_open<P: Platform>(
        platform: &P,
        place: &Place<'_>,
        clock: SharedClock,
    ) -> Result<Result<Self, Arc<Capture>>> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let open = open.get_or_insert_default();
        let capture = match open.get(place.spool) {
            Some(capture) if capture.configuration.downcast_ref() == Some(platform) => {
                Arc::clone(capture)
            }
            Some(other) => return Ok(Err(Arc::clone(other))),
            None => {
                let capture = start(platform.clone(), place, clock)?;
                open.insert(place.spool.into(), Arc::clone(&capture));
                capture
            }
        };
        capture.users.send_modify(|users| *users += 1);
        let reader = capture.spool.reader(place.position);
        Ok(Ok(Self { capture, reader }))
    }

    /// Takes the error that stopped the source, if it has stopped with one.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.capture.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.capture.users.send_modify(|users| *users -= 1);
    }
}

impl Capture {
    /// Ends the capture as soon as no task uses it any more, and waits for its end.
    pub(super) async fn dismiss(&self) {
        self.dismissed.send_replace(true);
        // The sender is in the capture, which is borrowed.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }
}

fn start<P: Platform>(platform: P, place: &Place<'_>, clock: SharedClock) -> Result<Arc<Capture>> {
    let common = platform.common();
    let (spool, torn) = Spool::open(place.spool, place.position, retaining(common.spool))?;
    let says = Arc::new(Says::default());
    let capture = Arc::new(Capture {
        spool,
        says,
        failure: Mutex::default(),
        users: watch::Sender::new(0),
        configuration: Box::new(platform.clone()),
        dismissed: watch::Sender::new(false),
        ended: watch::Sender::new(false),
    });
    let mut lost = None;
    if let Some(torn) = torn {
        let now = clock.now();
        // If no post tells when it was received, the lost posts came after the checkpoint.
        let from = || newest_received(&capture.spool).or(place.saved_at).unwrap_or(now);
        lost = torn.missing.map(|_| Lost { from: from().min(now), why: torn.to_string() });
        capture.says.messages.lock().unwrap_or_else(PoisonError::into_inner).push(torn.to_string());
    }
    let (component, state) = (place.component.to_owned(), place.state.map(Path::to_path_buf));
    let (position, folder, running) =
        (place.position, place.spool.to_path_buf(), Arc::clone(&capture));
    let secrets = Redactor::new(&platform.secrets());
    let hidden = secrets.clone();
    let parts = move || -> Result<Parts> {
        Ok(Parts {
            spout: component.clone(),
            kind: P::KIND,
            common: common.clone(),
            clock: Arc::clone(&clock),
            spool: running.spool.clone(),
            says: Arc::clone(&running.says),
            ledger: GapLedger::open(state.as_deref(), &component)?,
            secrets: secrets.clone(),
        })
    };
    let (is_kept, running) = (place.state.is_some(), Arc::clone(&capture));
    let work = move || {
        loop {
            let result = caught(|| run(&platform, parts()?, (position, lost.take()), &running));
            let result =
                result.unwrap_or_else(|panic| Err(Error::fatal(panic_message(panic.as_ref()))));
            let result = result.map_err(|error| error.with_text(|text| for_people(text, &hidden)));
            if end(&folder, &running, result) {
                break;
            }
        }
        if !is_kept {
            // A folder that is left behind does no harm but takes room.
            let _ = std::fs::remove_dir_all(&folder);
        }
    };
    let name = format!("capture-{}", place.component);
    let span = tracing::Span::current();
    thread::Builder::new()
        .name(name)
        .spawn(move || span.in_scope(work))
        .map_err(|cause| Error::fatal("can't start the thread of the capture").because(cause))?;
    Ok(capture)
}

/// Returns the options with `retain` raised to the least number of bytes that a source needs.
fn retaining(options: Options) -> Options {
    let least = RETAIN_MIN.min(options.bytes_max.0 / 4);
    Options { retain: ByteSize(options.retain.0.max(least)), ..options }
}

/// Posts that the spool had and now lacks.
struct Lost {
    /// The time when the newest post that remains was received.
    from: OffsetDateTime,
    why: String,
}

/// Returns the time when the newest post of a spool was received, if any post has such a time.
fn newest_received(spool: &Spool) -> Option<OffsetDateTime> {
    let mut newest = None;
    let posts_only = |record: &Record| record.cursor.first() == Some(&b'+');
    for record in spool.records_from_oldest(0).filter_map(Result::ok).filter(posts_only) {
        newest = newest.max(posts(&record.post).filter_map(|post| post.received_at()).max());
    }
    newest
}

/// Reads the source until the source fails or no task wants it any more.
fn run<P: Platform>(
    platform: &P,
    parts: Parts,
    (position, lost): (u64, Option<Lost>),
    capture: &Capture,
) -> Result<()> {
    let feed = Feed::open(parts, position)?;
    block_on(async {
        if let Some(lost) = lost {
            feed.gap("", lost.from, feed.clock().now(), &lost.why).await?;
        }
        let mut source = platform.source()?;
        let refresher =
            if platform.common().refresh.is_empty() { None } else { platform.refresher()? };
        let counts = async {
            match refresher {
                Some(refresher) => refresh::run(refresher, &feed).await,
                None => std::future::pending().await,
            }
        };
        let both = async {
            match select(source.run(&feed), pin!(counts)).await {
                Either::Left((result, _)) | Either::Right((result, _)) => result,
            }
        };
        match select(pin!(both), pin!(unwanted(capture, &feed))).await {
            Either::Left((result, _)) => result,
            Either::Right(((), _)) => Ok(()),
        }
    })?
}

/// Ends when no task has used the capture for [`LINGERS`], or when no task uses it and another
/// capture is to replace it.
async fn unwanted(capture: &Capture, feed: &Feed) {
    let mut users = capture.users.subscribe();
    loop {
        // The sender is in the capture, which is borrowed.
        let _ = users.wait_for(|users| *users == 0).await;
        let back = pin!(users.wait_for(|users| *users > 0));
        let mut dismissed = capture.dismissed.subscribe();
        let dismissed = pin!(dismissed.wait_for(|dismissed| *dismissed));
        if let Either::Left(_) = select(select(feed.clock().sleep(LINGERS), dismissed), back).await
        {
            return;
        }
    }
}

/// Removes a capture from the list, so that the next task starts another one, and closes its spool.
/// Returns false, and changes nothing, if a task has joined the capture at the last moment: then
/// the capture goes on.
fn end(folder: &Path, capture: &Arc<Capture>, result: Result<()>) -> bool {
    // A task that looks for the capture waits for this lock until the spool can be opened again.
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if result.is_ok() && *capture.users.borrow() > 0 {
        return false;
    }
    if let Some(open) = open.as_mut() {
        open.remove(folder);
    }
    *capture.failure.lock().unwrap_or_else(PoisonError::into_inner) = result.err();
    if let Err(error) = capture.spool.close() {
        capture.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
    capture.ended.send_replace(true);
    true
}
