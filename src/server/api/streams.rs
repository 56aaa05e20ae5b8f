//! Server-Sent Events: the numbers, messages and tuples of topologies as they come.

use std::cell::Cell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::rt::spawn;
use actix_web::web::{Bytes, Data, Path, Query};
use actix_web::{HttpResponse, get};
use futures_util::stream::unfold;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use utoipa::IntoParams;

use super::problem::{ApiError, ProblemResponses};
use super::topologies::{TopologyName, look, unanswered};
use crate::control::{RemoteLines, Request, TRENDS, TapRequest, ask_remote};
use crate::protocol::Message;
use crate::server::fleet::{Fleet, Kept, Refusal};
use crate::units::Interval;

/// The maximum number of streams of events. Each holds a connection and asks a process.
pub(crate) const STREAMS_MAX: usize = 64;

/// The maximum number of events that wait for a reader. More cost memory, and show a slow reader
/// older events.
const EVENTS_WAITING_MAX: usize = 16;

/// The longest time for which a reader may take no event before its stream ends.
const READER_MAX: Duration = Duration::from_secs(30);

/// The interval of comments on a stream without events, so that proxies keep its connection.
const BEAT_EVERY: Duration = Duration::from_secs(15);

/// The bounds and the default of the interval at which a topology is asked for a stream.
const EVERY_MIN: Duration = Duration::from_millis(200);
const EVERY_DEFAULT: Duration = Duration::from_secs(1);
const EVERY_MAX: Duration = Duration::from_secs(60);

/// The longest wait for a process to begin a tap, or to tell its status.
const PATIENCE: Duration = Duration::from_secs(5);

/// The bound on streams of events, as a semaphore.
#[derive(Clone)]
pub(crate) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS_MAX)))
    }
}

impl Streams {
    fn enter(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            let what = format!("there are {STREAMS_MAX} streams of events already");
            ApiError::try_again(what, 10)
        })
    }
}

/// The sending end of a stream of events.
#[derive(Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<Bytes>,
    /// True once the reader has disconnected.
    is_over: Rc<Cell<bool>>,
    _room: Rc<OwnedSemaphorePermit>,
}

impl Events {
    /// Sends an event, whose data is one line. Returns false once the reader has disconnected, or
    /// has read nothing for [`READER_MAX`].
    pub(crate) async fn send(&self, event: &str, data: &str) -> bool {
        let mut text = String::with_capacity(event.len() + data.len() + 16);
        // Writing into a text can't fail.
        let _ = write!(text, "event: {event}\ndata: {data}\n\n");
        self.send_raw(text).await
    }

    /// Sends a comment, which proxies pass on and readers ignore. Returns as [`send`](Self::send).
    pub(crate) async fn beat(&self) -> bool {
        self.send_raw(": still there\n\n".to_owned()).await
    }

    async fn send_raw(&self, text: String) -> bool {
        let sent = timeout(READER_MAX, self.sender.send(Bytes::from(text))).await;
        let is_sent = matches!(sent, Ok(Ok(())));
        if !is_sent {
            self.is_over.set(true);
        }
        is_sent && !self.is_over.get()
    }
}

/// Opens a stream. Returns its sending end, and the response that carries it.
///
/// # Errors
/// If there are [`STREAMS_MAX`] streams already.
pub(crate) fn open(streams: &Streams) -> Result<(Events, HttpResponse), ApiError> {
    let room = streams.enter()?;
    let (sender, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let body = unfold(receiver, async |mut receiver: mpsc::Receiver<Bytes>| {
        let bytes = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(bytes), receiver))
    });
    let kind = HeaderValue::from_static("text/event-stream");
    let response = HttpResponse::Ok().insert_header((CONTENT_TYPE, kind)).streaming(Box::pin(body));
    let (is_over, room) = (Rc::default(), Rc::new(room));
    Ok((Events { sender, is_over, _room: room }, response))
}

/// The interval of a stream.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct Every {
    /// The interval at which the topology is asked, such as `1s`, which is the default.
    interval: Option<String>,
}

impl Every {
    fn interval(&self) -> Result<Duration, Refusal> {
        let Some(text) = &self.interval else { return Ok(EVERY_DEFAULT) };
        let Interval(every) =
            text.parse().map_err(|what: String| Refusal::Bad(format!("interval: {what}")))?;
        Ok(every.clamp(EVERY_MIN, EVERY_MAX))
    }
}

/// Sends the numbers and messages of a topology as Server-Sent Events: `summary` and `report` in
/// each interval, `message` for each message of its process, `trends` for each row of its `Trends`.
#[utoipa::path(
    tag = "streams",
    params(TopologyName, Every),
    responses((status = 200, content_type = "text/event-stream", body = String), ProblemResponses)
)]
#[get("/topologies/{name}/events")]
pub(crate) async fn topology_events(
    fleet: Data<Fleet>,
    streams: Data<Streams>,
    path: Path<TopologyName>,
    every: Query<Every>,
) -> Result<HttpResponse, ApiError> {
    let kept = fleet.find(&path.name)?;
    let every = every.interval()?;
    let (events, response) = open(&streams)?;
    spawn(send_events(fleet, kept, every, events));
    Ok(response)
}

async fn send_events(fleet: Data<Fleet>, kept: Arc<Kept>, every: Duration, events: Events) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut newest, mut pid) = (0, None);
    loop {
        tick.tick().await;
        let summary = kept.summary();
        let is_gone = fleet.find(&kept.name).is_err();
        if pid != summary.pid && summary.pid.is_some() {
            // Another process counts its messages from the beginning.
            (newest, pid) = (0, summary.pid);
            spawn(send_trends(Arc::clone(&kept), events.clone()));
        }
        let summary = serde_json::to_string(&summary).unwrap_or_default();
        if !events.send("summary", &summary).await || is_gone {
            return;
        }
        let Ok(seen) = look(&kept).await else { continue };
        let report = kept.history().report(&seen);
        kept.history().add(seen);
        let report = serde_json::to_string(&report).unwrap_or_default();
        if !events.send("report", &report).await {
            return;
        }
        let request = Request::Messages { after: newest };
        let state = kept.folder.state();
        let asked = ask_remote::<Vec<Message>>(&state, &request, PATIENCE).await;
        for message in asked.unwrap_or_default() {
            newest = message.number;
            let message = serde_json::to_string(&message).unwrap_or_default();
            if !events.send("message", &message).await {
                return;
            }
        }
    }
}

/// Sends the rows of each `Trends` of a topology.
async fn send_trends(kept: Arc<Kept>, events: Events) {
    let Ok(seen) = look(&kept).await else { return };
    for component in seen.status.components {
        if component.type_name == TRENDS {
            let request =
                TapRequest { component: component.id, stream: None, condition: None, sample: 1 };
            let (kept, events) = (Arc::clone(&kept), events.clone());
            spawn(async move {
                let state = kept.folder.state();
                let tap = RemoteLines::open(&state, &Request::Tap(request), PATIENCE).await;
                if let Ok(lines) = tap {
                    send_tapped(lines, &events, "trends").await;
                }
            });
        }
    }
}

/// A selection of tuples.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct TapQuery {
    /// The component, or `component:stream`; of a sink, what it takes.
    component: String,
    /// A jq expression that has to be true of a tuple.
    #[serde(rename = "where")]
    #[param(rename = "where")]
    condition: Option<String>,
    /// The sampling rate: each `sample`-th tuple is sent.
    #[param(minimum = 1)]
    sample: Option<u64>,
}

impl From<TapQuery> for TapRequest {
    fn from(query: TapQuery) -> Self {
        let TapQuery { component, condition, sample } = query;
        let (component, stream) = match component.split_once(':') {
            Some((component, stream)) => (component.to_owned(), Some(stream.to_owned())),
            None => (component, None),
        };
        Self { component, stream, condition, sample: sample.unwrap_or(1) }
    }
}

/// Sends tuples as they pass, as Server-Sent Events: `tuple` for each one that is shown, `missed`
/// with the number of those that weren't, since they came faster than they were read. The stream of
/// the topology is never held up.
#[utoipa::path(
    tag = "streams",
    params(TopologyName, TapQuery),
    responses((status = 200, content_type = "text/event-stream", body = String), ProblemResponses)
)]
#[get("/topologies/{name}/tap")]
pub(crate) async fn tap_topology(
    fleet: Data<Fleet>,
    streams: Data<Streams>,
    path: Path<TopologyName>,
    query: Query<TapQuery>,
) -> Result<HttpResponse, ApiError> {
    let kept = fleet.find(&path.name)?;
    let (events, response) = open(&streams)?;
    let request = Request::Tap(query.into_inner().into());
    let lines = RemoteLines::open(&kept.folder.state(), &request, PATIENCE).await;
    let lines = lines.map_err(unanswered)?;
    spawn(async move { send_tapped(lines, &events, "tuple").await });
    Ok(response)
}

async fn send_tapped(mut lines: RemoteLines, events: &Events, event: &str) {
    while let Some(line) = lines.next().await {
        let event = if line.starts_with("{\"missed\"") { "missed" } else { event };
        if !events.send(event, &line).await {
            return;
        }
    }
}

/// Sends the log of a topology as Server-Sent Events: `line` for each line, beginning with the
/// newest of the existing lines.
#[utoipa::path(
    tag = "streams",
    params(TopologyName, FollowQuery),
    responses((status = 200, content_type = "text/event-stream", body = String), ProblemResponses)
)]
#[get("/topologies/{name}/logs/follow")]
pub(crate) async fn follow_logs(
    fleet: Data<Fleet>,
    streams: Data<Streams>,
    path: Path<TopologyName>,
    query: Query<FollowQuery>,
) -> Result<HttpResponse, ApiError> {
    let kept = fleet.find(&path.name)?;
    let (events, response) = open(&streams)?;
    let (after, lines) = (query.after.unwrap_or(0), query.lines.unwrap_or(100).min(1_000));
    spawn(async move {
        let mut newest = kept.log().follow();
        // Marked as seen before the lines are read, so that a line that comes between isn't missed.
        newest.borrow_and_update();
        let mut shown = kept.log().after(after, lines);
        let mut last = after;
        loop {
            for line in shown {
                last = line.number;
                let line = serde_json::to_string(&line).unwrap_or_default();
                if !events.send("line", &line).await {
                    return;
                }
            }
            match timeout(BEAT_EVERY, newest.changed()).await {
                Ok(Err(_)) => return,
                Err(_) if !events.beat().await => return,
                _ if fleet.find(&kept.name).is_err() => return,
                _ => shown = kept.log().after(last, 1_000),
            }
        }
    });
    Ok(response)
}

/// The first lines of a stream.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(crate) struct FollowQuery {
    /// Only lines after the one with this number.
    after: Option<u64>,
    /// The number of newest lines: at most 1,000; 100 by default.
    lines: Option<usize>,
}
