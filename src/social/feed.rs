//! The feed that a source hands its posts to: topics, dedup, budget and gaps on the way into the
//! spool.

mod gaps;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::watch;
use uuid::Uuid;

use crate::clock::SharedClock;
use crate::error::{Error, Kind, NO_ROOM_RETRY, Result};
use crate::post::{Post, PostStream};
use crate::printable::{printable_line, shortened};
use crate::secret::Redactor;
use crate::spool::{Appended, Spool};

use super::budget::Account;
use super::common::Common;
use super::identity::{identity, identity_on};
use super::left_out::LeftOut;
use super::offered::{Cost, Offered};
use super::rate::Rate;
use super::refused::refused;
use super::schedule::Schedule;
use super::tail::{Tail, json};
use super::topics::Topics;
use super::troubles::Troubles;
use super::wrap;
use crate::gaps::{Gap, GapLedger};

/// The most bytes of posts in one record; a single larger post has a record of its own.
const RECORD_BYTES_MAX: usize = 256 << 10;

/// The most bytes of records between two records that have the cursors of all parts. The tail that
/// a spool retains is larger, so it always contains such a record.
const WHOLE_EVERY_BYTES: usize = 1 << 20;

/// The interval at which a source that brings no posts saves its cursors.
const SAVE_EVERY: Duration = Duration::from_secs(10);

/// The longest cursor that a record takes, in bytes.
const CURSOR_BYTES_MAX: usize = 60_000;

/// The parts under which the budget and the rate are saved.
const BUDGET: &str = "$budget";
const RATE: &str = "$rate";

/// The reports of the capture's thread to the task that reads its spool.
#[derive(Default)]
pub(super) struct Says {
    /// The current activity of the source, in a word or two.
    pub state: watch::Sender<String>,
    /// Messages for people that the task hasn't shown yet.
    pub messages: Mutex<Vec<String>>,
    /// The parts that fail at the moment.
    pub troubles: Mutex<Troubles>,
}

/// The way of a source's posts into the topology. Clones are the same feed; a feed stays on the
/// capture's thread.
#[derive(Clone)]
pub struct Feed(Rc<Inner>);

struct Inner {
    spout: String,
    kind: &'static str,
    topics: Topics,
    clock: SharedClock,
    spool: Spool,
    /// The longest post, with its line break, that fits into a record of the spool together with
    /// the longest cursor.
    post_bytes_max: usize,
    cursor_bytes_max: usize,
    says: Arc<Says>,
    secrets: Redactor,
    tail: RefCell<Tail>,
    buffer: RefCell<Vec<Post>>,
    ledger: RefCell<GapLedger>,
    schedule: RefCell<Schedule>,
    budget: RefCell<Option<Account>>,
    rate: RefCell<Rate>,
    /// The activity that the source reported last.
    doing: RefCell<String>,
    left_out: RefCell<LeftOut>,
    /// Lets one flush run at a time, so that records are in the order of their cursors.
    turn: tokio::sync::Mutex<()>,
    saved: Cell<Duration>,
    since_whole: Cell<usize>,
}

/// The parts from which a feed is made.
pub(super) struct Parts {
    pub spout: String,
    pub kind: &'static str,
    pub common: Common,
    pub clock: SharedClock,
    pub spool: Spool,
    pub says: Arc<Says>,
    pub ledger: GapLedger,
    /// The secrets that no text may show.
    pub secrets: Redactor,
}

/// The longest text of a source for people, in characters: a server may answer with megabytes.
const TEXT_CHARS_MAX: usize = 2_000;

/// Makes a text of a source safe for people: without secrets, shortened and printable. A server may
/// repeat the key that it was sent.
pub(super) fn for_people(text: &str, secrets: &Redactor) -> String {
    printable_line(&shortened(&secrets.clean(text), TEXT_CHARS_MAX)).into_owned()
}

impl Feed {
    /// Opens a feed and reads the spool's tail. `position` is the position of the newest
    /// checkpoint.
    pub(super) fn open(parts: Parts, position: u64) -> Result<Self> {
        let Parts { spout, kind, common, clock, spool, says, mut ledger, secrets } = parts;
        let mut tail = Tail::default();
        let mut schedule = Schedule::new(common.refresh);
        for record in spool.records_from_oldest(position) {
            match record {
                Ok(record) => tail.read(&record, &mut ledger, &mut schedule, clock.now())?,
                // Damage before the checkpoint: the posts that it affects are in the lake already.
                Err(error) => {
                    says.messages.lock().unwrap_or_else(PoisonError::into_inner).push(error.chain())
                }
            }
        }
        let saved = |part: &str| tail.progress.get(part).map(String::as_str);
        let budget = common.budget.map(|budget| Account::open(budget, saved(BUDGET)));
        let rate = Rate::open(saved(RATE), clock.monotonic());
        let cursor_bytes_max = CURSOR_BYTES_MAX.min(common.spool.post_bytes_max(0) / 4);
        let post_bytes_max = common.spool.post_bytes_max(cursor_bytes_max).saturating_sub(1);
        Ok(Self(Rc::new(Inner {
            spout,
            kind,
            topics: Topics::new(&common.topics),
            spool,
            post_bytes_max,
            cursor_bytes_max,
            says,
            secrets,
            tail: RefCell::new(tail),
            buffer: RefCell::default(),
            ledger: RefCell::new(ledger),
            schedule: RefCell::new(schedule),
            budget: RefCell::new(budget),
            rate: RefCell::new(rate),
            doing: RefCell::default(),
            left_out: RefCell::default(),
            turn: tokio::sync::Mutex::default(),
            saved: Cell::new(clock.monotonic()),
            since_whole: Cell::new(WHOLE_EVERY_BYTES),
            clock,
        })))
    }

    /// Returns the clock that the topology runs by; all waits and timeouts of a source use it.
    pub fn clock(&self) -> &SharedClock {
        &self.0.clock
    }

    /// Returns the wall clock's time, in UTC.
    pub fn now(&self) -> OffsetDateTime {
        self.0.clock.now()
    }

    /// Returns the topics that posts are compared with.
    pub fn topics(&self) -> &Topics {
        &self.0.topics
    }

    /// Returns the spout's id.
    pub fn spout(&self) -> &str {
        &self.0.spout
    }

    /// Returns the last cursor that was set for a part of the source, saved or not; `None` for a
    /// new part. The source alone decides what a cursor means. Names of parts that begin with `$`
    /// are reserved for the feed.
    pub fn cursor(&self, part: &str) -> Option<String> {
        self.0.tail.borrow().progress.get(part).cloned()
    }

    /// Sets the cursor of a part of the source. The cursor is saved with the next flush that has
    /// posts, or within 10 s.
    pub fn set_cursor(&self, part: &str, cursor: impl Into<String>) {
        let cursor = cursor.into();
        let mut tail = self.0.tail.borrow_mut();
        if tail.progress.get(part) != Some(&cursor) {
            tail.progress.insert(part.into(), cursor.clone());
            tail.changed.insert(part.into(), cursor);
        }
    }

    /// Takes a post, made by [`post`](super::post) or [`delete`](super::delete). A post that was
    /// seen before, or that matches no topic, is dropped. Deletions are never off topic. A post
    /// that is taken enters the topology with the next [`flush`](Self::flush).
    pub fn offer(&self, post: Post) -> Offered {
        self.offer_at(post, Cost::Received)
    }

    /// Does the same for a source that begins again at its cursor: posts that were captured before
    /// cost nothing.
    pub fn offer_again(&self, post: Post) -> Offered {
        self.offer_at(post, Cost::NotSeen)
    }

    /// Does the same while a source repeats posts: only posts that weren't captured before cost
    /// anything.
    pub fn offer_repeated(&self, post: Post) -> Offered {
        self.offer_at(post, Cost::Taken)
    }

    fn offer_at(&self, post: Post, cost: Cost) -> Offered {
        if post.len() > self.0.post_bytes_max {
            let (found, max) = (post.len(), self.0.post_bytes_max);
            self.refuse(
                &post,
                &format!("expected a post of at most {max} bytes (an eighth of the spool's bytes_max), found {found}"),
            );
            return Offered::Taken;
        }
        let stream = post.stream();
        let is_post = matches!(stream, PostStream::Default | PostStream::Edits);
        let (identity, is_wanted) =
            (identity_on(&post, stream), !is_post || self.0.topics.want(&post));
        let offered = match (is_wanted, self.0.tail.borrow().seen.contains(identity)) {
            (false, _) => Offered::OffTopic,
            (true, true) => Offered::Seen,
            (true, false) => Offered::Taken,
        };
        if is_post && cost.is_paid(offered) {
            self.0.rate.borrow_mut().count(self.0.clock.monotonic());
            if let Some(budget) = &mut *self.0.budget.borrow_mut() {
                budget.spend(1, self.now());
            }
        }
        if offered != Offered::Taken {
            return offered;
        }
        self.0.tail.borrow_mut().seen.insert(identity);
        self.0.tail.borrow_mut().versions.note(&post);
        if stream == PostStream::Default
            && !self.0.schedule.borrow().is_off()
            && let Some(id) = post.reread_id()
        {
            let now = self.now();
            self.0.schedule.borrow_mut().plan(&id, now, now);
        }
        self.0.buffer.borrow_mut().push(post);
        Offered::Taken
    }

    /// Returns true if a post was taken before.
    pub fn has_seen(&self, post: &Post) -> bool {
        self.0.tail.borrow().seen.contains(identity(post))
    }

    /// Returns true if a post of Facebook was taken before with another text: the post was edited
    /// since.
    pub fn has_changed(&self, post: &Post) -> bool {
        self.0.tail.borrow().versions.differs(post)
    }

    /// Takes a post that was read again: a JSON object as the platform gave it, and `after`, the
    /// time between its receipt and this read (such as `10m`). The post goes onto the stream
    /// `counts`, even if it was seen before. Each such read counts as a post of the budget.
    ///
    /// # Errors
    /// If the object can't be made into a post; the text says why.
    pub fn offer_refreshed(&self, object: &[u8], after: &str) -> Result<Offered, String> {
        let post = wrap::refreshed(self.0.kind, object, after, self.now())?;
        Ok(self.offer_counts(post))
    }

    /// Does the same for a post that has [`REFRESHED`](crate::post::REFRESHED) already.
    pub fn offer_counts(&self, post: Post) -> Offered {
        if let Some(budget) = &mut *self.0.budget.borrow_mut() {
            budget.spend(1, self.now());
        }
        self.offer(post)
    }

    /// Takes input that can't be made into a post: the input goes to the dead letters with the
    /// reason.
    pub fn refuse(&self, raw: &[u8], why: &str) {
        let refused = refused(raw, &self.for_people(why), self.0.post_bytes_max);
        // Overlapping sources bring the same input again; it becomes one dead letter.
        if self.0.tail.borrow_mut().seen.insert(identity(&refused)) {
            self.0.buffer.borrow_mut().push(refused);
        }
    }

    /// Brings the offered posts onto this machine's disk, together with the source's cursors. Waits
    /// for room in the spool and on the disk; a source that awaits this reads nothing more until
    /// there is room.
    ///
    /// # Errors
    /// Fatal if the spool can't be used.
    pub async fn flush(&self) -> Result<()> {
        self.write_out(false).await
    }

    async fn write_out(&self, now: bool) -> Result<()> {
        let _turn = self.0.turn.lock().await;
        let due = now || self.0.clock.monotonic().saturating_sub(self.0.saved.get()) >= SAVE_EVERY;
        if self.0.buffer.borrow().is_empty() && (!due || self.0.tail.borrow().changed.is_empty()) {
            return Ok(());
        }
        self.keep_accounts();
        // The cursors are taken together with the posts, before the first await: other futures may
        // offer posts during an await.
        let mut out = Outgoing::take(&self.0);
        let delta = json(&out.changed);
        let fits = delta.len() < self.0.cursor_bytes_max;
        let bytes: usize = out.posts.iter().map(|post| post.len()).sum();
        let is_due =
            out.posts.is_empty() || !fits || self.0.since_whole.get() + bytes >= WHOLE_EVERY_BYTES;
        let whole = is_due.then(|| json(&self.0.tail.borrow().progress));
        while !out.posts.is_empty() {
            let (count, record) = first_record(&out.posts, self.0.post_bytes_max);
            let is_last = count == out.posts.len();
            let cursor = if is_last && fits { ["+", &delta].concat() } else { "+{}".into() };
            self.append(cursor.as_bytes(), &record).await?;
            out.posts.drain(..count);
        }
        if let Some(whole) = whole {
            self.append(b"=", whole.as_bytes()).await?;
            self.0.since_whole.set(0);
        }
        out.changed.clear();
        self.0.saved.set(self.0.clock.monotonic());
        Ok(())
    }

    /// Saves the source's cursors now, and not only within 10 s.
    ///
    /// # Errors
    /// If [`flush`](Self::flush) would fail.
    pub async fn save(&self) -> Result<()> {
        self.write_out(true).await
    }

    fn keep_accounts(&self) {
        let budget = self.0.budget.borrow().as_ref().map(Account::save);
        if let Some(budget) = budget {
            self.set_cursor(BUDGET, budget);
        }
        let rate = self.0.rate.borrow().save();
        self.set_cursor(RATE, rate);
    }

    async fn append(&self, cursor: &[u8], post: &[u8]) -> Result<()> {
        self.0.since_whole.set(self.0.since_whole.get() + post.len());
        loop {
            match self.0.spool.append_async(cursor, post).await {
                Err(error) if error.kind() == Kind::NoRoom => {
                    let before = self.0.says.state.send_replace("waits: the disk is full".into());
                    self.0.clock.sleep(NO_ROOM_RETRY).await;
                    self.0.says.state.send_replace(before);
                }
                Err(error) if error.kind() == Kind::Rejected => {
                    let what = "the source's cursors don't fit into a record of the spool: raise the spool's \"bytes_max\"";
                    return Err(Error::fatal(what).because(error));
                }
                Ok(Appended::Closed) => return Err(Error::fatal("the spool was closed")),
                other => {
                    return other
                        .map(|(Appended::At(_) | Appended::Dropped | Appended::Closed)| ());
                }
            }
        }
    }

    /// Returns the number of posts that the budget allows now, less a reserve for posts that are on
    /// their way; `None` without a budget.
    pub fn budget_left(&self) -> Option<u64> {
        let mut budget = self.0.budget.borrow_mut();
        let budget = budget.as_mut()?;
        let left = budget.left(self.0.clock.now());
        let reserve = (self.0.rate.borrow().per_s * 2.0).ceil() as u64;
        Some(left.saturating_sub(reserve.min(budget.reserve_max())))
    }

    /// Returns the time when the budget's next interval begins; `None` without a budget.
    pub fn budget_resets(&self) -> Option<OffsetDateTime> {
        self.0.budget.borrow().as_ref().map(Account::resets)
    }

    /// Returns true if the budget is used up: then read nothing before
    /// [`await_budget`](Self::await_budget) returns.
    pub fn is_budget_spent(&self) -> bool {
        self.budget_left() == Some(0)
    }

    /// Waits until the next interval begins if the budget is used up; the state shows the wait.
    pub async fn await_budget(&self) {
        while self.is_budget_spent() {
            let Some(resets) = self.budget_resets() else { return };
            self.sleep_until("budget used", resets).await;
        }
    }

    /// Shows the activity of the source in a word or two, such as `reconnects in 5 s`; an empty
    /// text removes it. The parts that are left out are shown behind it.
    pub fn set_state(&self, state: impl Into<String>) {
        *self.0.doing.borrow_mut() = state.into();
        self.show_state();
    }

    fn show_state(&self) {
        let (doing, left_out) =
            (self.0.doing.borrow().clone(), self.0.left_out.borrow().to_string());
        let separator = if doing.is_empty() || left_out.is_empty() { "" } else { "; " };
        let state = self.for_people(&[doing.as_str(), separator, left_out.as_str()].concat());
        self.0.says.state.send_if_modified(|known| {
            let changed = *known != state;
            *known = state;
            changed
        });
    }

    fn for_people(&self, text: &str) -> String {
        for_people(text, &self.0.secrets)
    }

    /// Reports that an attempt to reach a part of the source failed. `then` says what comes next:
    /// `connects again in 5 s`. The attempt counts as a failure, and its cause is shown until
    /// [`works`](Self::works) is called for the part.
    pub fn attempt_failed(&self, part: &str, cause: &str, then: &str) {
        let cause = self.for_people(cause);
        self.set_state(format!("{cause}; {then}"));
        self.troubles().failed(part, cause);
        self.0.says.state.send_modify(|_| ());
    }

    /// Reports that a part of the source works.
    pub fn works(&self, part: &str) {
        let is_news = self.troubles().works(part);
        if is_news {
            let state = self.troubles().causes.values().next().cloned().unwrap_or_default();
            self.set_state(state);
        }
    }

    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.0.says.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a part out for a while, since the platform refuses it: sends a message, and shows the
    /// part in the state until [`take_back`](Self::take_back). The pause before the part is asked
    /// for again grows from a minute to an hour.
    pub fn leave_out(&self, part: &str, why: &str) {
        let is_new = self.0.left_out.borrow_mut().refuse(part, why, self.now());
        if is_new {
            self.say(format!("{part} is left out, and asked for again later: {why}"));
        }
        self.show_state();
    }

    /// Returns true while a part is left out and isn't to be asked for yet.
    pub fn is_left_out(&self, part: &str) -> bool {
        self.0.left_out.borrow().is_out(part, self.now())
    }

    /// Reports that a part that was left out is good again. Returns the time since when the part
    /// was left out, if it was.
    pub fn take_back(&self, part: &str) -> Option<OffsetDateTime> {
        let since = self.0.left_out.borrow_mut().take_back(part)?;
        self.say(format!("{part} is read again"));
        self.show_state();
        Some(since)
    }

    /// Sends a message to people, once. Never put a URL with a token into a message.
    pub fn say(&self, message: impl Into<String>) {
        let message = self.for_people(&message.into());
        self.0.says.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        self.0.says.state.send_modify(|_| ());
    }

    /// Waits by the topology's clock.
    pub async fn sleep(&self, duration: Duration) {
        self.0.clock.sleep(duration).await;
    }

    /// Waits until a time of the wall clock; the state shows `<why> until 23:59:10`.
    pub async fn sleep_until(&self, why: &str, until: OffsetDateTime) {
        let (hour, minute, second) = until.to_offset(time::UtcOffset::UTC).to_hms();
        self.set_state(format!("{why} until {hour:02}:{minute:02}:{second:02}"));
        while let Ok(left) = Duration::try_from(until - self.now())
            && !left.is_zero()
        {
            // Waits in pieces, since the wall clock may be set.
            self.sleep(left.min(Duration::from_secs(60))).await;
        }
        self.set_state("");
    }

    pub(super) fn with_schedule<T>(&self, with: impl FnOnce(&mut Schedule) -> T) -> T {
        with(&mut self.0.schedule.borrow_mut())
    }
}

/// Posts and cursors on their way into the spool. If a flush is given up, those that aren't in the
/// spool go back into the buffer.
struct Outgoing<'a> {
    feed: &'a Inner,
    posts: Vec<Post>,
    changed: BTreeMap<String, String>,
}

impl<'a> Outgoing<'a> {
    fn take(feed: &'a Inner) -> Self {
        let posts = std::mem::take(&mut *feed.buffer.borrow_mut());
        Self { feed, posts, changed: std::mem::take(&mut feed.tail.borrow_mut().changed) }
    }
}

impl Drop for Outgoing<'_> {
    fn drop(&mut self) {
        self.feed.buffer.borrow_mut().splice(0..0, self.posts.drain(..));
        let tail = &mut *self.feed.tail.borrow_mut();
        for (part, cursor) in std::mem::take(&mut self.changed) {
            tail.changed.entry(part).or_insert(cursor);
        }
    }
}

/// Returns the number of posts that go into one record of at most `bytes_max` bytes, and that
/// record.
fn first_record(posts: &[Post], bytes_max: usize) -> (usize, Vec<u8>) {
    let bytes_max = bytes_max.min(RECORD_BYTES_MAX);
    let mut record = Vec::new();
    for (number, post) in posts.iter().enumerate() {
        if !record.is_empty() && record.len() + post.len() >= bytes_max {
            return (number, record);
        }
        record.extend_from_slice(post);
        record.push(b'\n');
    }
    (posts.len(), record)
}
