//! Sends the rows of promised segments, and records the progress.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, LocalBoxFuture, select};
use futures_util::stream::FuturesUnordered;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use super::bodies::Bodies;
use super::endpoint::{Endpoint, Outcome};
use super::notes::{Refusal, SegmentNotes};
use super::pace::out_of_turn;
use crate::clock::SharedClock;
use crate::detached::Detached;
use crate::epoch::Promise;
use crate::error::{Error, Result};
use crate::fault::point;
use crate::sink::outbox::{OutboxReader, OutboxRow};
use crate::sink::{Delivered, RefusedRow, RefusedRows};
use crate::tuple::Tuple;

/// The time after which a commit reports its deliveries and gets newer promises. A longer time
/// keeps delivered segments in the checkpoints; a shorter one reads segments more often.
const COMMIT_TIME_MAX: Duration = Duration::from_secs(5);

/// The longest wait for the next request within a commit. Longer waits are left to a later commit.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// The interval at which a commit checks if its task has stopped. A shorter interval costs
/// wake-ups.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// The state that the commits of one task share.
pub(crate) struct Deliveries {
    endpoint: Arc<Endpoint>,
    bodies: Mutex<Bodies>,
    at_once: usize,
    clock: SharedClock,
    task: Arc<Detached>,
    progress: Mutex<Progress>,
}

/// A row: the name of its segment, and its position in the segment.
type RowId = (String, usize);

/// The state of segments that aren't delivered yet.
#[derive(Default)]
struct Progress {
    notes: BTreeMap<String, SegmentNotes>,
    failing: BTreeMap<RowId, Failing>,
}

/// A row that the endpoint didn't accept.
struct Failing {
    failures: u32,
    not_before: Duration,
    since: OffsetDateTime,
    cause: String,
}

impl Deliveries {
    pub(crate) fn new(
        endpoint: Arc<Endpoint>,
        bodies: Bodies,
        at_once: usize,
        clock: SharedClock,
        task: Arc<Detached>,
    ) -> Self {
        let progress = Mutex::default();
        Self { endpoint, bodies: Mutex::new(bodies), at_once, clock, task, progress }
    }

    /// Sends the unsent rows of these segments while the endpoint accepts them. After the last
    /// barrier, unsent rows are a transient error.
    ///
    /// # Errors
    /// If an outbox can't be read, or a sent row can't be recorded.
    pub(crate) async fn deliver(
        &self,
        reader: &OutboxReader,
        promises: &[Promise],
        is_last: bool,
    ) -> Result<Delivered> {
        let mut progress = std::mem::take(&mut *lock(&self.progress));
        let delivered = self.deliver_with(&mut progress, reader, promises, is_last).await;
        *lock(&self.progress) = progress;
        delivered
    }

    async fn deliver_with(
        &self,
        progress: &mut Progress,
        reader: &OutboxReader,
        promises: &[Promise],
        is_last: bool,
    ) -> Result<Delivered> {
        progress.keep_only(promises);
        if !is_last && self.endpoint.wait() > WAIT_MAX {
            // No request can be sent now, so the segments needn't be read.
            let waits = progress.waits(&self.endpoint.name());
            return Ok(Delivered { waits, ..Delivered::default() });
        }
        let until = if is_last { Duration::MAX } else { self.clock.monotonic() + COMMIT_TIME_MAX };
        let mut delivered = Delivered::default();
        let mut rest = promises;
        while !rest.is_empty() {
            let gathered = reader.gather(rest);
            rest = &rest[gathered.len()..];
            let mut round = Round::open(self, reader, gathered, progress, until)?;
            let sent = round.send().await;
            round.close(reader, &mut delivered)?;
            sent?;
            if !is_last || delivered.segments.len() < promises.len() - rest.len() {
                break;
            }
        }
        let left = promises.len() - delivered.segments.len();
        delivered.waits = progress.waits(&self.endpoint.name());
        if is_last && left > 0 {
            let rated = || format!("{left} segments wait for their turn, as the rate says");
            return Err(Error::transient(delivered.waits.unwrap_or_else(rated)));
        }
        Ok(delivered)
    }
}

impl Progress {
    /// Forgets segments that are no longer promised.
    fn keep_only(&mut self, promises: &[Promise]) {
        let is_promised = |segment: &str| promises.iter().any(|promise| promise.segment == segment);
        self.notes.retain(|segment, _| is_promised(segment));
        self.failing.retain(|(segment, _), _| is_promised(segment));
    }

    /// Returns the reason why unaccepted rows wait.
    fn waits(&self, endpoint: &str) -> Option<String> {
        let oldest = self.failing.values().min_by_key(|failing| failing.since)?;
        let since = oldest.since.replace_nanosecond(0).unwrap_or(oldest.since);
        let since = since.format(&Rfc3339).unwrap_or_default();
        let cause = &oldest.cause;
        Some(match self.failing.len() {
            1 => format!("waiting for {endpoint} since {since}: {cause}"),
            rows => format!("waiting for {endpoint} to take {rows} tuples since {since}: {cause}"),
        })
    }
}

/// One commit's segments.
struct Round<'a> {
    deliveries: &'a Deliveries,
    progress: &'a mut Progress,
    segments: Vec<Segment<'a>>,
    /// Rows that weren't tried yet, in order: segment and position.
    fresh: VecDeque<(usize, usize)>,
    /// Rows that weren't accepted when they were tried.
    failing: Vec<(usize, usize)>,
    /// The time at which the commit ends, by the monotonic clock.
    until: Duration,
}

struct Segment<'a> {
    promise: &'a Promise,
    /// Empty if all rows are handled and no row was refused.
    rows: Vec<OutboxRow>,
}

/// The result of a request: its segment, its row, and its outcome.
type Ended = (usize, usize, Outcome);

impl<'a> Round<'a> {
    fn open(
        deliveries: &'a Deliveries,
        reader: &OutboxReader,
        promises: &'a [Promise],
        progress: &'a mut Progress,
        until: Duration,
    ) -> Result<Self> {
        let (mut segments, mut fresh, mut failing) = (Vec::new(), VecDeque::new(), Vec::new());
        for (at, promise) in promises.iter().enumerate() {
            let name = &promise.segment;
            if !progress.notes.contains_key(name) {
                let notes = SegmentNotes::open(reader.notes(promise)?)?;
                progress.notes.insert(name.clone(), notes);
            }
            let notes = &progress.notes[name];
            let is_done = notes.count() as u64 >= promise.posts;
            let rows =
                if is_done && !notes.has_refused() { Vec::new() } else { reader.rows(promise)? };
            for row in (0..rows.len()).filter(|row| !notes.is_done(*row)) {
                if progress.failing.contains_key(&(name.clone(), row)) {
                    failing.push((at, row));
                } else {
                    fresh.push_back((at, row));
                }
            }
            segments.push(Segment { promise, rows });
        }
        Ok(Self { deliveries, progress, segments, fresh, failing, until })
    }

    /// Sends until everything is sent, the next request would have to wait too long, or the
    /// commit's time is over.
    async fn send(&mut self) -> Result<()> {
        let Deliveries { endpoint, clock, task, at_once, .. } = self.deliveries;
        let mut underway: FuturesUnordered<LocalBoxFuture<'a, Ended>> = FuturesUnordered::new();
        loop {
            let is_over = task.is_stopped() || clock.monotonic() >= self.until;
            let mut wait = None;
            while !is_over && underway.len() < *at_once {
                let Some(place) = self.next() else { break };
                match endpoint.begin() {
                    Ok(begun) => {
                        self.take(place);
                        underway.extend(self.request(place, begun)?);
                    }
                    Err(pause) => {
                        wait = Some(pause);
                        break;
                    }
                }
            }
            if underway.is_empty() {
                match wait {
                    Some(wait) if wait <= WAIT_MAX => clock.sleep(wait.min(STOP_CHECK)).await,
                    // A row that was handled without a request leaves room for the next.
                    None if !is_over && self.next().is_some() => {}
                    _ => return Ok(()),
                }
                continue;
            }
            let tick = clock.sleep(wait.unwrap_or(STOP_CHECK).min(STOP_CHECK));
            if let Either::Left((Some(ended), _)) = select(underway.next(), tick).await {
                self.ended(ended)?;
            }
        }
    }

    /// Returns the next row to send: the first failed row that may be tried again, or else the
    /// first untried row.
    fn next(&self) -> Option<(usize, usize)> {
        let now = self.deliveries.clock.monotonic();
        let may = |place: &&(usize, usize)| {
            self.progress.failing.get(&self.id(**place)).is_none_or(|row| row.not_before <= now)
        };
        let failing = self.failing.iter().filter(may).min();
        failing.or(self.fresh.front()).copied()
    }

    fn take(&mut self, place: (usize, usize)) {
        if self.fresh.front() == Some(&place) {
            self.fresh.pop_front();
        }
        self.failing.retain(|other| *other != place);
    }

    fn id(&self, (segment, row): (usize, usize)) -> RowId {
        (self.segments[segment].promise.segment.clone(), row)
    }

    /// Returns the request for a row, unless the row needs none.
    fn request(
        &mut self,
        place: (usize, usize),
        begun: Duration,
    ) -> Result<Option<LocalBoxFuture<'a, Ended>>> {
        let (segment, row) = place;
        let OutboxRow { input, values } = &self.segments[segment].rows[row];
        let body = lock(&self.deliveries.bodies).of(Tuple::new(values, *input));
        let body = match body {
            Ok(Some(body)) => body,
            // The topology's file had another template when the row was stored.
            Ok(None) => return self.ended((segment, row, Outcome::Sent)).map(|()| None),
            Err(error) => {
                let refused = Outcome::Refused(error.chain());
                return self.ended((segment, row, refused)).map(|()| None);
            }
        };
        let key = key(&self.segments[segment].promise.segment, row);
        let endpoint = &self.deliveries.endpoint;
        Ok(Some(Box::pin(async move {
            let sent = endpoint.send(begun, &key, body.content_type, body.bytes).await;
            (segment, row, sent)
        })))
    }

    /// Records the outcome of a row.
    fn ended(&mut self, (segment, row, outcome): Ended) -> Result<()> {
        let Deliveries { clock, task, .. } = self.deliveries;
        let id = self.id((segment, row));
        let refusal = match outcome {
            Outcome::Sent => None,
            Outcome::Refused(why) => Some(Refusal { why, at: clock.now().unix_timestamp() }),
            Outcome::Later { cause, may_be_the_tuple, .. } => {
                let since = clock.now();
                let failing = self.progress.failing.entry(id).or_insert_with(|| Failing {
                    failures: 0,
                    not_before: Duration::ZERO,
                    since,
                    cause: String::new(),
                });
                failing.failures += u32::from(may_be_the_tuple);
                failing.not_before = clock.monotonic() + out_of_turn(failing.failures);
                failing.cause = cause;
                self.failing.push((segment, row));
                return Ok(());
            }
        };
        self.progress.failing.remove(&id);
        if refusal.is_some() && task.is_stopped() {
            // The next task sends the request again, and its answer counts.
            return Ok(());
        }
        faulty(point("webhook.answered"))?;
        let Some(notes) = self.progress.notes.get_mut(&id.0) else { return Ok(()) };
        notes.note(row, refusal)?;
        faulty(point("webhook.noted"))
    }

    /// Adds finished segments to the delivered ones.
    fn close(self, reader: &OutboxReader, delivered: &mut Delivered) -> Result<()> {
        for Segment { promise, rows } in self.segments {
            let Some(notes) = self.progress.notes.get_mut(&promise.segment) else { continue };
            if (notes.count() as u64) < promise.posts {
                continue;
            }
            if notes.has_refused() {
                delivered.refused.push(refused_rows(promise, rows, notes)?);
            } else {
                notes.write()?;
            }
            reader.delivered(promise);
            delivered.segments.push(promise.segment.clone());
        }
        Ok(())
    }
}

fn refused_rows(
    promise: &Promise,
    rows: Vec<OutboxRow>,
    notes: &mut SegmentNotes,
) -> Result<RefusedRows> {
    let refused = notes.refused()?;
    let at = refused.values().map(|refusal| refusal.at).min().unwrap_or_default();
    let rows = rows.into_iter().enumerate().filter_map(|(row, OutboxRow { input, values })| {
        let error = refused.get(&row)?.why.clone();
        Some(RefusedRow { input, values, error })
    });
    Ok(RefusedRows {
        segment: promise.segment.clone(),
        at: OffsetDateTime::from_unix_timestamp(at).unwrap_or(OffsetDateTime::UNIX_EPOCH),
        rows: rows.collect(),
    })
}

/// Returns the idempotency key of a row: the same for each attempt, and different for each row.
fn key(segment: &str, row: usize) -> String {
    Uuid::from_u128(xxh3_128(format!("{segment}/{row}").as_bytes())).to_string()
}

fn faulty(passed: std::io::Result<()>) -> Result<()> {
    passed.map_err(|cause| Error::file("can't go on sending", cause))
}

/// No value here is ever left half-changed, so a panic in another thread is harmless.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
