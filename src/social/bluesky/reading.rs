//! Reads one connection: events that were captured before are skipped, and new ones are taken.

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

/// The part that the cursor is saved under; the source has only one.
pub(super) const PART: &str = "jetstream";

/// The interval at which a connection without messages is checked, the silence after which a sign
/// of life is requested, and the silence after which the connection counts as dead. Jetstream pings
/// every 30 s.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const PING_AFTER: Duration = Duration::from_secs(35);
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// The most bytes of messages that are taken before they go into the spool. A larger number would
/// take memory, and save less time than it takes to write a record.
const FLUSH_BYTES: usize = 128 << 10;

/// The end of a connection.
pub(super) enum End {
    /// The connection was lost, for this reason.
    Lost(String),
    /// The connection isn't joined to the captured events: the same host is to be asked again.
    Again(Resume),
}

/// An open connection that is being read.
pub(super) struct Reading<'a> {
    feed: &'a Feed,
    host: &'a str,
    by_author: bool,
    passage: Passage<'a>,
    began: Duration,
    /// The time that the connection may bring no events.
    patience: Option<Duration>,
    /// The number of events that came.
    pub events: u64,
    /// Bytes since the last flush.
    unflushed: usize,
    /// True if a message came, and if an event came, since the last wait.
    heard: bool,
    moved: bool,
    /// The monotonic times of the last message and of the last event.
    heard_at: Duration,
    event_at: Duration,
    pinged: bool,
}

impl<'a> Reading<'a> {
    /// Begins to read a connection. `fruitless` is the number of connections in a row before this
    /// one that brought nothing: each doubles the patience, so that a quiet stream isn't connected
    /// again all the time.
    pub(crate) fn new(
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

    /// Reads until the connection ends, and returns the reason.
    pub(crate) async fn run(&mut self, socket: &mut Socket) -> Result<End> {
        // From here on a restart knows since when the source was away, even if nothing comes.
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
                // The check is made even after a message, since pings may always come first.
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

    /// Brings the taken events onto this machine's disk.
    async fn settle(&mut self) -> Result<()> {
        self.unflushed = 0;
        self.feed.set_cursor(PART, self.passage.position().save());
        self.feed.flush().await
    }

    /// Returns the next message, if it comes before the next check of the connection.
    async fn wait(&mut self, socket: &mut Socket) -> Option<Result<Option<Message>, Failure>> {
        self.note();
        let pause = self.passage.decides_after().unwrap_or(LOOK_EVERY);
        match select(pin!(socket.next()), self.feed.clock().sleep(pause)).await {
            Either::Left((message, _)) => Some(message),
            Either::Right(_) => None,
        }
    }

    /// Notes the times of the last message and of the last event. Returns the current time.
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

    /// Distinguishes a dead connection and a stuck stream from a quiet stream; returns the reason
    /// for ending the connection, if there is one.
    async fn look(&mut self, socket: &mut Socket) -> Option<String> {
        let now = self.note();
        let silent = now.saturating_sub(self.heard_at);
        if silent >= DEAD_AFTER {
            return Some(format!("no sign of life for {} s", silent.as_secs()));
        }
        // A new connection loses nothing. So a stream whose authors may just be silent is connected
        // again from time to time, too.
        let patience = if self.by_author {
            PATIENCE_MAX
        } else {
            self.patience.unwrap_or(self.passage.position().patience())
        };
        let still = now.saturating_sub(self.event_at);
        if still >= patience {
            return Some(format!("no events for {} s, though the server answers", still.as_secs()));
        }
        if silent >= PING_AFTER && !self.pinged {
            self.pinged = true;
            return socket.ping().await.err().map(|failure| failure.to_string());
        }
        None
    }

    /// Notes that the server is alive and has nothing new from these authors.
    fn alive(&mut self) {
        self.passage.alive(self.feed.now());
    }

    /// Takes a message; returns the end of the connection, if the message ends it.
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
    /// connection can't be joined to the captured events.
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

    /// Returns the time since the connection was opened.
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

    /// Writes the missing period into the ledger, if there is one. Returns how to ask the host
    /// again.
    async fn follow(&mut self, outcome: Outcome) -> Result<Option<Resume>> {
        if let Some((from_us, to_us)) = outcome.gap {
            let why = format!("{} didn't have the events after the cursor", name(self.host));
            self.feed.gap("", at(from_us), at(to_us), &why).await?;
        }
        Ok(outcome.again)
    }
}

/// Returns the post of a frame, if the frame has one.
fn made(feed: &Feed, frame: &Frame<'_>) -> Option<Result<Post, String>> {
    let now = feed.now();
    match frame {
        Frame::Post { event, .. } => Some(post(Bluesky::KIND, event, &[], now)),
        Frame::Delete { event, time_us, id } => {
            Some(delete(Bluesky::KIND, id, time_us.map_or(now, at), event, now))
        }
        // A message without a record is nevertheless a post if it matches a topic.
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
