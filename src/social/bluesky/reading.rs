//! Reading one connection: what was captured before is passed over, and what is new is taken.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};

use crate::component::Component;
use crate::error::Result;
use crate::post::Post;
use crate::social::{Failure, Feed, Message, Platform, Socket, delete, post};

use super::Bluesky;
use super::cursor::{PATIENCE_MAX, Position, at};
use super::frame::{Frame, parse};
use super::join::{Joining, Resume};
use super::passage::{Outcome, Passage, Taking};
use super::wanted::name;

/// The part that the cursor is kept under: there is only one.
pub(super) const PART: &str = "jetstream";

/// How often a connection without messages is looked at, after how long it is asked for a sign of
/// life, and after how long without one it is dead. Jetstream pings every 30 s.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const PING_AFTER: Duration = Duration::from_secs(35);
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// So many bytes of messages are taken at most before they go into the spool; more would take
/// memory, and less time for each than it takes to write a record.
const FLUSH_BYTES: usize = 128 << 10;

/// How a connection ended.
pub(super) enum End {
    /// It was lost, for this reason.
    Lost(String),
    /// It isn't joined to what was captured before: the same host is to be asked again.
    Again(Resume),
}

/// A connection that stands.
pub(super) struct Reading<'a> {
    feed: &'a Feed,
    host: &'a str,
    by_author: bool,
    passage: Passage<'a>,
    began: Duration,
    /// How long it may bring no events.
    patience: Option<Duration>,
    /// How many events came.
    pub events: u64,
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
    /// `fruitless` is how many connections in a row before this one brought nothing: each doubles
    /// the patience, so that a quiet stream isn't begun anew all the time.
    pub fn new(
        feed: &'a Feed,
        position: &'a mut Position,
        host: &'a str,
        by_author: bool,
        fruitless: u32,
        joining: Joining,
    ) -> Self {
        let now = feed.clock().monotonic();
        let least =
            (fruitless > 0).then(|| position.patience().saturating_mul(1 << fruitless.min(10)));
        Self {
            feed,
            host,
            by_author,
            patience: least.map(|least| least.min(PATIENCE_MAX)),
            passage: Passage::new(position, host, by_author, joining),
            began: now,
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
    pub async fn run(&mut self, socket: &mut Socket) -> Result<End> {
        // From here on a restart knows since when it was away, also if nothing comes.
        self.feed.set_cursor(PART, self.passage.position().save());
        self.feed.save().await?;
        if self.by_author {
            if let Some((from, to)) = self.passage.position().forgotten(self.feed.now()) {
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
            let is_pause = message.is_none();
            let mut ended = match message {
                Some(message) => self.take(message).await?,
                None => None,
            };
            if waited && ended.is_none() {
                // Also when a message came: pings may always come first.
                ended = self.look(socket).await.map(End::Lost);
            }
            if is_pause && ended.is_none() {
                let outcome = self.passage.overdue(self.feed.now(), self.stands());
                ended = match outcome {
                    Some(outcome) => self.follow(outcome).await?.map(End::Again),
                    None => None,
                };
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
        self.feed.set_cursor(PART, self.passage.position().save());
        self.feed.flush().await
    }

    /// The next message, if it comes before it is time to look at the connection.
    async fn wait(&mut self, socket: &mut Socket) -> Option<Result<Option<Message>, Failure>> {
        self.note();
        let pause = self.passage.decides_after().unwrap_or(LOOK_EVERY);
        match select(pin!(socket.next()), self.feed.clock().sleep(pause)).await {
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
        // Nothing is lost by beginning anew, so a stream whose authors may just be silent is so now
        // and then too.
        let patience = if self.by_author {
            PATIENCE_MAX
        } else {
            self.patience.unwrap_or(self.passage.position().patience())
        };
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
        self.passage.alive(self.feed.now());
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
            Ok(Frame::Clamped) => self.passage.clamped(),
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

    /// Takes an event, unless it was captured before. Returns how to ask the host again if this
    /// connection can't be joined to what was captured before.
    async fn event(&mut self, message: &[u8], frame: &Frame<'_>) -> Result<Option<Resume>> {
        self.events += 1;
        self.moved = true;
        let Some(mark) = frame.mark() else {
            self.offer(message, frame, self.passage.unmarked());
            return Ok(None);
        };
        let is_known = self.passage.asks_memory()
            && made(self.feed, frame)
                .is_some_and(|post| post.is_ok_and(|post| self.feed.has_seen(&post)));
        let outcome = self.passage.event(mark, is_known, self.feed.now(), self.stands());
        self.offer(message, frame, outcome.taking);
        self.follow(outcome).await
    }

    /// How long the connection has stood.
    fn stands(&self) -> Duration {
        self.feed.clock().monotonic().saturating_sub(self.began)
    }

    fn offer(&mut self, message: &[u8], frame: &Frame<'_>, taking: Taking) {
        if taking == Taking::Skipped {
            return;
        }
        self.unflushed += message.len();
        match made(self.feed, frame) {
            Some(Ok(post)) if taking == Taking::New => _ = self.feed.offer_again(post),
            Some(Ok(post)) => _ = self.feed.offer_repeated(post),
            Some(Err(why)) => self.feed.refuse(message, &why),
            None => {}
        }
    }

    /// Writes into the ledger what may be missing. Returns how to ask the host again.
    async fn follow(&mut self, outcome: Outcome) -> Result<Option<Resume>> {
        if let Some((from_us, to_us)) = outcome.gap {
            let why = format!("{} didn't have the events from the cursor on", name(self.host));
            self.feed.gap("", at(from_us), at(to_us), &why).await?;
        }
        Ok(outcome.again)
    }
}

/// The post of a frame, if it is one.
fn made(feed: &Feed, frame: &Frame<'_>) -> Option<Result<Post, String>> {
    let now = feed.now();
    match frame {
        Frame::Post { event, .. } => Some(post(Bluesky::KIND, event, &[], now)),
        Frame::Delete { event, time_us, id } => {
            Some(delete(Bluesky::KIND, id, time_us.map_or(now, at), event, now))
        }
        // It has no record, but if it is what somebody looks for it is none the less a post.
        Frame::Unknown { event, .. } => {
            let made = post(Bluesky::KIND, event, &[], now);
            let topics = feed.topics();
            let is_wanted =
                made.as_ref().map_or(true, |made| !topics.is_empty() && topics.want(made));
            is_wanted.then_some(made)
        }
        Frame::Other { .. } | Frame::Clamped | Frame::Ends(_) => None,
    }
}
