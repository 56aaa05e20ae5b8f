//! Reading one connection: what was captured before is passed over, and what is new is taken.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};

use crate::component::Component;
use crate::error::Result;
use crate::post::Post;
use crate::social::{Failure, Feed, Message, Platform, Socket, delete, post};

use crate::social::bluesky::Bluesky;
use crate::social::bluesky::cursor::{AHEAD_MAX, Mark, PATIENCE_MAX, Position, at, unix_us};
use crate::social::bluesky::frame::{Frame, parse};
use crate::social::bluesky::join::{Joining, Resume, Step};
use crate::social::bluesky::wanted::name;

/// The part that the cursor is kept under: there is only one.
pub(crate) const PART: &str = "jetstream";

/// How often a connection without messages is looked at, after how long it is asked for a sign of life, and after how
/// long without one it is dead. Jetstream pings every 30 s.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const PING_AFTER: Duration = Duration::from_secs(35);
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// So many bytes of messages are taken at most before they go into the spool; more would take memory, and less time
/// for each than it takes to write a record.
const FLUSH_BYTES: usize = 128 << 10;

/// How a connection ended.
pub(crate) enum End {
    /// It was lost, for this reason.
    Lost(String),
    /// It isn't joined to what was captured before: the same host is to be asked again.
    Again(Resume),
}

/// A connection that stands.
pub(crate) struct Reading<'a> {
    feed: &'a Feed,
    position: &'a mut Position,
    host: &'a str,
    by_author: bool,
    /// How this connection is joined to what was captured before; none once it is.
    joining: Option<Joining>,
    /// Where it stood when it was asked for.
    asked: Position,
    began: Duration,
    /// How long it may bring no events.
    patience: Option<Duration>,
    /// The server says that it begins later than it was asked to.
    clamped: bool,
    /// How many events came, and how many of them since it is joined.
    pub events: u64,
    live_events: u64,
    /// How many in a row are from the future.
    ahead: u32,
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
    pub fn new(
        feed: &'a Feed,
        position: &'a mut Position,
        host: &'a str,
        by_author: bool,
        fruitless: u32,
        joining: Joining,
    ) -> Self {
        let now = feed.clock().monotonic();
        let least = (fruitless > 0).then(|| position.patience().saturating_mul(1 << fruitless.min(10)));
        Self {
            feed,
            host,
            by_author,
            patience: least.map(|least| least.min(PATIENCE_MAX)),
            asked: position.clone(),
            position,
            joining: Some(joining),
            began: now,
            clamped: false,
            events: 0,
            live_events: 0,
            ahead: 0,
            unflushed: 0,
            heard: false,
            moved: false,
            heard_at: now,
            event_at: now,
            pinged: false,
        }
    }

    /// Reads until it ends, and says why it did.
    pub async fn run(&mut self, socket: &mut Socket) -> Result<End> {
        // From here on a restart knows since when it was away, also if nothing comes.
        self.feed.set_cursor(PART, self.position.save());
        self.feed.save().await?;
        if self.by_author {
            if let Some((from, to)) = self.position.forgotten(self.feed.now()) {
                self.feed.gap("", from, to, "Jetstream keeps events for 36 hours only").await?;
            }
            self.alive();
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
                ended = self.look(socket).await.map(End::Lost);
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

    /// The server lives, and has nothing new of these authors.
    fn alive(&mut self) {
        if self.by_author && self.joining.as_ref().is_none_or(Joining::is_settled) {
            self.position.alive(self.feed.now());
        }
    }

    /// Takes a message; says how the connection ends, if it does.
    async fn take(&mut self, message: Result<Option<Message>, Failure>) -> Result<Option<End>> {
        let lost = |why: String| Ok(Some(End::Lost(why)));
        self.heard = true;
        let message = match message {
            Ok(Some(Message::Text(message) | Message::Binary(message))) => message,
            Ok(Some(Message::Alive)) => {
                self.alive();
                return Ok(None);
            }
            Ok(Some(Message::Close(code, why))) => {
                return lost(format!("it closed with {code} {why}").trim().into());
            }
            Ok(None) => return lost("the connection ended".into()),
            Err(failure) => return lost(failure.to_string()),
        };
        match parse(&message) {
            Ok(Frame::Clamped) => self.clamped = true,
            Ok(Frame::Ends(why)) => {
                self.feed.say(format!("{} ends the stream: {why}", Bluesky::NAME));
                return lost(why);
            }
            Ok(frame) => {
                if let Some(again) = self.event(&message, &frame).await? {
                    return Ok(Some(End::Again(again)));
                }
            }
            Err(why) => {
                self.unflushed += message.len();
                self.feed.refuse(&message, &why);
            }
        }
        if self.feed.is_budget_spent() { lost("the budget is used".into()) } else { Ok(None) }
    }

    /// Takes an event, unless it was captured before. Says how to ask the host again, if this connection can't be joined
    /// to what was captured before.
    async fn event(&mut self, message: &[u8], frame: &Frame<'_>) -> Result<Option<Resume>> {
        self.events += 1;
        self.moved = true;
        let step = match frame.mark() {
            Some(mark) => self.step(mark, frame),
            None if self.joining.is_some() => Step::Compare,
            None => Step::Live,
        };
        match step {
            Step::Skip => return Ok(None),
            Step::Compare => {}
            Step::Joined => {
                self.joined();
                return Ok(None);
            }
            Step::Live => self.joined(),
            Step::Gap { from_us } => {
                self.gap(from_us, frame.mark().map_or(from_us, |mark| mark.time_us)).await?;
                self.joined();
            }
            Step::Again { resume, gap } => {
                if let (Resume::Other { assumed: true, .. }, Some((from_us, to_us))) = (resume, gap) {
                    self.gap(from_us, to_us).await?;
                }
                return Ok(Some(resume));
            }
        }
        self.unflushed += message.len();
        match made(self.feed, frame) {
            Some(Ok(post)) if self.joining.is_none() => _ = self.feed.offer_again(post),
            Some(Ok(post)) => _ = self.feed.offer_repeated(post),
            Some(Err(why)) => self.feed.refuse(message, &why),
            None => {}
        }
        if let Some(mark) = frame.mark().filter(|_| self.joining.is_none()) {
            self.position.event(mark, self.feed.now(), self.live_events > 0);
            self.live_events += 1;
        }
        Ok(None)
    }

    /// What to do with an event, by what was captured before.
    fn step(&mut self, mark: Mark, frame: &Frame<'_>) -> Step {
        let Some(joining) = &mut self.joining else { return Step::Live };
        let now = self.feed.now();
        let is_ahead = mark.time_us > unix_us(now + AHEAD_MAX);
        self.ahead = if is_ahead { self.ahead + 1 } else { 0 };
        // One time that can't be yet says nothing of those before; if the next can't either, the clock is slow.
        if self.ahead == 1 && !joining.is_mark(mark) && !joining.is_settled() {
            return Step::Compare;
        }
        let is_known = joining.asks_memory()
            && made(self.feed, frame).is_some_and(|post| post.is_ok_and(|post| self.feed.has_seen(&post)));
        let step = joining.step(mark, is_known, self.feed.clock().monotonic().saturating_sub(self.began));
        if std::mem::take(&mut self.clamped) && mark.time_us > self.asked.reached() {
            return Step::Gap { from_us: self.asked.reached() };
        }
        match step {
            Step::Live if self.asked.newest().is_none() => self.begins_later(mark).unwrap_or(step),
            _ => step,
        }
    }

    /// What a first event says where none was captured before by which it could be joined: by its time alone.
    fn begins_later(&self, first: Mark) -> Option<Step> {
        let (from, _) = self.asked.missing(first.time_us).filter(|_| !self.by_author)?;
        Some(Step::Gap { from_us: unix_us(from) })
    }

    /// From here on everything is new, and goes by this host's times.
    fn joined(&mut self) {
        let Some(joining) = self.joining.take() else { return };
        if self.position.host() != self.host {
            self.position.set_host(self.host);
            joining.seen().iter().for_each(|mark| self.position.note(*mark));
        }
    }

    /// Writes into the ledger that events may be missing.
    async fn gap(&mut self, from_us: i64, to_us: i64) -> Result<()> {
        let now = self.feed.now();
        let to_us = to_us.min(unix_us(now));
        if from_us < to_us {
            let why = format!("{} didn't have the events from the cursor on", name(self.host));
            self.feed.gap("", at(from_us), at(to_us), &why).await?;
            // What is before is in the ledger now.
            self.position.reach(to_us);
        }
        Ok(())
    }
}

/// The post of a frame, if it is one.
fn made(feed: &Feed, frame: &Frame<'_>) -> Option<Result<Post, String>> {
    let now = feed.now();
    match frame {
        Frame::Post { event, .. } => Some(post(Bluesky::KIND, event, &[], now)),
        Frame::Delete { event, time_us, id } => Some(delete(Bluesky::KIND, id, time_us.map_or(now, at), event, now)),
        // It has no record, but if it is what somebody looks for it is none the less a post.
        Frame::Unknown { event, .. } => {
            let made = post(Bluesky::KIND, event, &[], now);
            let topics = feed.topics();
            let is_wanted = made.as_ref().map_or(true, |made| !topics.is_empty() && topics.want(made));
            is_wanted.then_some(made)
        }
        Frame::Other { .. } | Frame::Clamped | Frame::Ends(_) => None,
    }
}
