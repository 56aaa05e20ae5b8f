//! One connection to Jetstream after another.

use std::pin::pin;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{Either, select};

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::registry::Component;
use crate::social::{Backoff, Failure, Feed, Message, Platform, Refused, Socket, Source, delete, post};

use super::Bluesky;
use super::cursor::{AHEAD_MAX, PATIENCE_MAX, Position, at, unix_us};
use super::frame::{Frame, parse};
use super::wanted::{Wanted, name};

/// The part that the cursor is kept under: there is only one.
const PART: &str = "jetstream";

/// How long to wait before connecting again: Jetstream prescribes nothing. It begins anew once events have come.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// A connection that stood so long is no attempt that failed.
const STOOD: Duration = Duration::from_secs(30);

/// How often a connection without messages is looked at, after how long it is asked for a sign of life, and after how
/// long without one it is dead. Jetstream pings every 30 s.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const PING_AFTER: Duration = Duration::from_secs(35);
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// So many bytes of messages are taken at most before they go into the spool; more would take memory, and less time
/// for each than it takes to write a record.
const FLUSH_BYTES: usize = 128 << 10;

/// Reads Jetstream.
pub(super) struct Jetstream {
    hosts: Vec<String>,
    wanted: Wanted,
}

impl Jetstream {
    pub fn new(hosts: Vec<String>, wanted: Wanted) -> Self {
        Self { hosts, wanted }
    }

    /// Connects to a host, to find out whether it takes what is asked for.
    ///
    /// # Errors
    /// Why it doesn't.
    pub async fn greets(&self, host: &str, clock: &SharedClock) -> Result<(), String> {
        self.connect(host, None, clock).await.map(|_| ()).map_err(|refused| what(&refused))
    }

    async fn connect(&self, host: &str, cursor: Option<i64>, clock: &SharedClock) -> Result<Socket, Refused> {
        let mut socket = Socket::connect(&self.wanted.address(host, cursor), &[], clock).await?;
        if let Some(hello) = self.wanted.hello() {
            socket.send(hello).await.map_err(Refused::Failure)?;
        }
        Ok(socket)
    }
}

#[async_trait(?Send)]
impl Source for Jetstream {
    async fn run(&mut self, feed: &Feed) -> Result<()> {
        let mut position = Position::read(feed.cursor(PART).as_deref());
        let mut backoff = Backoff::exponential(RETRY_FIRST, RETRY_MAX);
        let mut fruitless = 0;
        for host in self.hosts.iter().cycle() {
            feed.await_budget().await;
            let ended = match self.connect(host, position.cursor(feed.now()), feed.clock()).await {
                Ok(mut socket) => {
                    feed.works(PART);
                    let began = feed.clock().monotonic();
                    let mut reading = Reading::new(feed, &mut position, self.wanted.is_by_author(), fruitless);
                    reading.position.connected(feed.now());
                    let ended = reading.run(&mut socket).await?;
                    fruitless = if reading.events > 0 { 0 } else { fruitless + 1 };
                    if fruitless == 0 || feed.clock().monotonic().saturating_sub(began) >= STOOD {
                        backoff.reset();
                    }
                    ended
                }
                Err(refused) => {
                    stop(&refused, host)?;
                    what(&refused)
                }
            };
            if feed.is_budget_spent() {
                continue;
            }
            let wait = backoff.next_with_jitter();
            let then = format!("connects again in {:.0} s", wait.as_secs_f64().ceil());
            feed.attempt_failed(PART, &format!("{}: {ended}", name(host)), &then);
            feed.flush().await?;
            feed.sleep(wait).await;
        }
        Err(Error::fatal("there is no host to connect to"))
    }
}

/// Why there is no connection.
fn what(refused: &Refused) -> String {
    match refused {
        Refused::Status(status, body) => {
            let body = String::from_utf8_lossy(&body[..body.len().min(300)]);
            format!("it answered {status} {}", body.trim()).trim().into()
        }
        Refused::Failure(failure) => failure.to_string(),
    }
}

/// # Errors
/// Fatal if the request itself is wrong: the next one would be so too.
fn stop(refused: &Refused, host: &str) -> Result<()> {
    match refused {
        Refused::Status(400, _) => {
            let what = format!("{}: {}: expected collections and authors that it takes", name(host), what(refused));
            Err(Error::fatal(what))
        }
        _ => Ok(()),
    }
}

/// A connection that stands.
struct Reading<'a> {
    feed: &'a Feed,
    position: &'a mut Position,
    by_author: bool,
    /// How long it may bring no events.
    patience: Option<Duration>,
    /// Whether the first event is still to be held against what was asked for.
    resumes: bool,
    /// Where it stood when it was asked for.
    asked: Position,
    clamped: bool,
    /// How many events came.
    events: u64,
    /// Bytes since the last flush.
    unflushed: usize,
    /// What came since it was waited the last time.
    heard: bool,
    moved: bool,
    /// When something, and when an event came the last time, by the monotonic clock.
    heard_at: Duration,
    event_at: Duration,
    pinged: bool,
}

impl<'a> Reading<'a> {
    /// `fruitless` is how many connections in a row before this one brought nothing: each doubles the patience, so
    /// that a quiet stream isn't begun anew all the time.
    fn new(feed: &'a Feed, position: &'a mut Position, by_author: bool, fruitless: u32) -> Self {
        let now = feed.clock().monotonic();
        let least = (fruitless > 0).then(|| position.patience().saturating_mul(1 << fruitless.min(10)));
        Self {
            feed,
            by_author,
            patience: least.map(|least| least.min(PATIENCE_MAX)),
            resumes: position.cursor(feed.now()).is_some(),
            asked: *position,
            position,
            clamped: false,
            events: 0,
            unflushed: 0,
            heard: false,
            moved: false,
            heard_at: now,
            event_at: now,
            pinged: false,
        }
    }

    /// Reads until it ends, and says why it did.
    async fn run(&mut self, socket: &mut Socket) -> Result<String> {
        // From here on a restart knows since when it was away, also if nothing comes.
        self.feed.set_cursor(PART, self.position.save());
        self.feed.save().await?;
        if self.by_author {
            if let Some((from, to)) = self.position.forgotten(self.feed.now()) {
                self.feed.gap("", from, to, "Jetstream keeps events for 36 hours only").await?;
            }
            self.position.alive(self.feed.now());
        }
        loop {
            let (message, waited) = match socket.next().now_or_never() {
                Some(message) => (Some(message), false),
                None => {
                    self.settle().await?;
                    (self.wait(socket).await, true)
                }
            };
            let mut ended = match message {
                Some(message) => self.take(message).await?,
                None => None,
            };
            if waited && ended.is_none() {
                // Also when a message came: pings may always come first.
                ended = self.look(socket).await;
            }
            if ended.is_some() || self.unflushed >= FLUSH_BYTES {
                self.settle().await?;
            }
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    /// Brings what came onto this machine's disk.
    async fn settle(&mut self) -> Result<()> {
        self.unflushed = 0;
        self.feed.set_cursor(PART, self.position.save());
        self.feed.flush().await
    }

    /// The next message, if it comes before it is time to look at the connection.
    async fn wait(&mut self, socket: &mut Socket) -> Option<Result<Option<Message>, Failure>> {
        self.note();
        match select(pin!(socket.next()), self.feed.clock().sleep(LOOK_EVERY)).await {
            Either::Left((message, _)) => Some(message),
            Either::Right(_) => None,
        }
    }

    /// Notes when what came since the last time came.
    fn note(&mut self) -> Duration {
        let now = self.feed.clock().monotonic();
        if std::mem::take(&mut self.heard) {
            self.heard_at = now;
            self.pinged = false;
        }
        if std::mem::take(&mut self.moved) {
            self.event_at = now;
        }
        now
    }

    /// Tells a dead connection, and a stream that stands still, from a quiet one; says what it is.
    async fn look(&mut self, socket: &mut Socket) -> Option<String> {
        let now = self.note();
        let silent = now.saturating_sub(self.heard_at);
        if silent >= DEAD_AFTER {
            return Some(format!("no sign of life for {} s", silent.as_secs()));
        }
        // Nothing is lost by beginning anew, so a stream whose authors may just be silent is so now and then too.
        let patience = if self.by_author { PATIENCE_MAX } else { self.patience.unwrap_or(self.position.patience()) };
        let still = now.saturating_sub(self.event_at);
        if still >= patience {
            return Some(format!("no events for {} s, though it lives", still.as_secs()));
        }
        if silent >= PING_AFTER && !self.pinged {
            self.pinged = true;
            return socket.ping().await.err().map(|failure| failure.to_string());
        }
        None
    }

    /// Takes a message; says why the connection ends, if it does.
    async fn take(&mut self, message: Result<Option<Message>, Failure>) -> Result<Option<String>> {
        self.heard = true;
        let message = match message {
            Ok(Some(Message::Text(message) | Message::Binary(message))) => message,
            Ok(Some(Message::Alive)) => {
                if self.by_author {
                    self.position.alive(self.feed.now());
                }
                return Ok(None);
            }
            Ok(Some(Message::Close(code, why))) => {
                return Ok(Some(format!("it closed with {code} {why}").trim().into()));
            }
            Ok(None) => return Ok(Some("the connection ended".into())),
            Err(failure) => return Ok(Some(failure.to_string())),
        };
        self.unflushed += message.len();
        let (time_us, ended) = match parse(&message) {
            Ok(frame) => self.offer(&message, frame),
            Err(why) => {
                self.feed.refuse(&message, &why);
                (None, None)
            }
        };
        if let Some(time_us) = time_us {
            self.event(time_us).await?;
        }
        Ok(ended.or_else(|| self.feed.is_budget_spent().then(|| "the budget is used".into())))
    }

    /// Hands on what a frame has: gives its time, and why the stream ends if it says so.
    fn offer(&mut self, message: &[u8], frame: Frame<'_>) -> (Option<i64>, Option<String>) {
        let (feed, now) = (self.feed, self.feed.now());
        let (time_us, made) = match frame {
            Frame::Post { event, time_us } => (time_us, Some(post(Bluesky::KIND, event, &[], now))),
            Frame::Delete { event, time_us, id } => {
                let deleted = time_us.map_or(now, at);
                (time_us, Some(delete(Bluesky::KIND, &id, deleted, event, now)))
            }
            // It has no record, but if it is what somebody looks for it is none the less a post.
            Frame::Unknown { event, time_us } => {
                let made = post(Bluesky::KIND, event, &[], now);
                let wanted = made.as_ref().map_or(true, |made| !feed.topics().is_empty() && feed.topics().want(made));
                (time_us, wanted.then_some(made))
            }
            Frame::Other { time_us } => (time_us, None),
            Frame::Clamped => {
                self.clamped = true;
                (None, None)
            }
            Frame::Ends(why) => {
                feed.say(format!("{} ends the stream: {why}", Bluesky::NAME));
                return (None, Some(why));
            }
        };
        match made {
            Some(Ok(made)) => _ = feed.offer(made),
            Some(Err(why)) => feed.refuse(message, &why),
            None => {}
        }
        (time_us, None)
    }

    /// Counts an event, and finds out by the first one whether those before it are gone.
    async fn event(&mut self, time_us: i64) -> Result<()> {
        let now = self.feed.now();
        let is_ahead = time_us > unix_us(now + AHEAD_MAX);
        // One time that can't be yet says nothing of those before; if the next can't either, the clock is slow.
        if self.resumes && (!is_ahead || self.events > 0) {
            self.resumes = false;
            let first_us = if is_ahead { unix_us(now) } else { time_us };
            let missing = if self.clamped {
                self.asked.cursor(now).map(|cursor| (at(cursor), at(first_us))).filter(|(from, to)| from < to)
            } else {
                self.asked.missing(first_us).filter(|_| !self.by_author)
            };
            if let Some((from, to)) = missing {
                self.feed.gap("", from, to, "the server no longer had the events from the cursor on").await?;
                if is_ahead {
                    // What is before is in the ledger now.
                    self.position.event(first_us, now, false);
                }
            }
        }
        self.position.event(time_us, now, self.events > 0);
        self.events += 1;
        self.moved = true;
        Ok(())
    }
}
