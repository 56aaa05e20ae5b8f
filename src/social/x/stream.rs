//! The filtered stream: one connection, watched by its keep-alives, and connected again by X's
//! rules.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, select};
use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::social::{Body, Failure, Feed, Offered};

use super::answer::{Verdict, judge, judge_line};
use super::api::{Api, STREAM};
use super::backfill::BEFORE;
use super::framing::Lines;
use super::item;
use super::item::Item;
use super::reconnect::{Reconnect, Trouble};
use super::repeating::{Repeating, Stage};
use super::source::{LIVE, Shared, begin, life, unix_ms};
use super::{X, rules};

/// The time without a byte after which a connection counts as dead: X sends at least a keep-alive
/// every 20 s, and the network gets half of that more.
const STALLED: Duration = Duration::from_secs(30);

/// The time after which a new connection compares the rules again.
const RULES_KEPT: Duration = Duration::from_secs(600);

/// The interval at which the rules are compared during a connection.
const RULES_LOOKED_AT: Duration = Duration::from_secs(3_600);

/// The most posts that a budget still allows when the stream is ended: a second at X's full rate,
/// which may be on its way.
const RESERVE_MAX: u64 = 250;

/// The longest time that X repeats by `backfill_minutes`.
const BACKFILL_MAX: Duration = Duration::from_secs(300);

/// Returns the minutes that have to be repeated for a loss this long ago; 0 if X doesn't repeat so
/// many.
fn minutes(missing: Duration) -> u8 {
    // Posts that were created just before may not have been delivered by then.
    let missing = missing + BEFORE;
    if missing > BACKFILL_MAX { 0 } else { (missing.as_secs() / 60 + 1).min(5) as u8 }
}

/// Returns true if these minutes repeat everything that a loss this long ago may have left
/// undelivered.
fn is_repeated(missing: time::Duration, minutes: u8) -> bool {
    minutes > 0 && missing + BEFORE <= Duration::from_secs(60) * u32::from(minutes)
}

/// The origin of a stream's bytes.
pub(super) trait Pieces {
    /// Returns the next bytes; `None` at the end.
    async fn piece(&mut self) -> Result<Option<bytes::Bytes>, Failure>;

    /// Notes that a line is complete.
    fn line_came(&mut self) {}
}

impl Pieces for Body {
    async fn piece(&mut self) -> Result<Option<bytes::Bytes>, Failure> {
        self.chunk().await
    }

    fn line_came(&mut self) {
        self.message_came();
    }
}

/// The reason why a connection is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The connection ended, or broke.
    Lost(String),
    /// The budget is nearly used up.
    Budget,
    /// X told the reason.
    Told(Verdict),
}

/// Returns true if the budget has enough posts left for streaming.
fn has_budget(x: &X, feed: &Feed) -> bool {
    let reserve = x.budget.map_or(0, |budget| (budget.posts / 10).min(RESERVE_MAX));
    feed.budget_left().is_none_or(|left| left > reserve)
}

/// Reads a connection to its end; `anything` becomes true with the first bytes.
///
/// # Errors
/// If the spool can't be used.
pub(super) async fn read(
    body: &mut impl Pieces,
    x: &X,
    feed: &Feed,
    shared: &Shared,
    anything: &mut bool,
) -> Result<End> {
    let mut lines = Lines::default();
    loop {
        let piece = match select(pin!(body.piece()), feed.clock().sleep(STALLED)).await {
            Either::Left((piece, _)) => piece,
            Either::Right(_) => {
                return Ok(End::Lost("no byte came for 30 s, not even a keep-alive".into()));
            }
        };
        let piece = match piece {
            Ok(Some(piece)) => piece,
            Ok(None) => return Ok(End::Lost("X ended the connection".into())),
            Err(failure) => return Ok(End::Lost(failure.to_string())),
        };
        *anything = true;
        let (now, arrived) = (feed.now(), feed.clock().monotonic());
        feed.set_cursor(LIVE, unix_ms(now));
        lines.push(&piece);
        let mut told = None;
        while let Some(line) = lines.next() {
            match line {
                Ok(line) => {
                    body.line_came();
                    told = take(&line, feed, now, shared).or(told);
                }
                Err(start) => feed.refuse(&start, "a line of the stream is longer than 16 MiB"),
            }
        }
        // A wait for room here makes X slow down; posts that X then drops are in the gap of the
        // next connection.
        feed.flush().await?;
        if let Some(repeating) = &mut *shared.repeating.borrow_mut() {
            repeating.waited(feed.clock().monotonic().saturating_sub(arrived));
        }
        end_repeating(feed, shared).await?;
        if let Some(verdict) = told {
            return Ok(End::Told(verdict));
        }
        if !has_budget(x, feed) {
            return Ok(End::Budget);
        }
    }
}

/// Ends the repetition, if it is over; a gap whose repetition is unclear is left to the search.
async fn end_repeating(feed: &Feed, shared: &Shared) -> Result<()> {
    let (now, repeating) = (feed.clock().monotonic(), &shared.repeating);
    let stage = repeating.borrow().as_ref().map(|one| (one.stage(now), one.gap.clone(), one.posts));
    match stage {
        None | Some((Stage::Repeats, ..)) => return Ok(()),
        Some((Stage::Over, gap, posts)) => feed.filled(&gap, posts).await?,
        Some((Stage::Unclear, ..)) => {}
    }
    repeating.take();
    Ok(())
}

/// Takes a line. Returns the verdict on the connection, if the line has one.
fn take(line: &[u8], feed: &Feed, now: OffsetDateTime, shared: &Shared) -> Option<Verdict> {
    match item::read(line, now) {
        Item::Post(post) => {
            match &mut *shared.repeating.borrow_mut() {
                None => _ = feed.offer(post),
                Some(repeating) => {
                    let created = post.created_at();
                    let taken = feed.offer(post) == Offered::Taken;
                    repeating.post(created, taken, feed.clock().monotonic());
                }
            }
            None
        }
        Item::Errors => Some(judge_line(line)),
        Item::Unknown(why) => {
            feed.refuse(line, &why);
            None
        }
    }
}

/// Compares the rules during a connection, since another program may have deleted some. Ends only
/// if X forbids reading them; returns the reason.
async fn keep_rules(api: &Api, feed: &Feed, x: &X) -> Result<String> {
    loop {
        feed.sleep(RULES_LOOKED_AT).await;
        if let Err(forbidden) = rules::sync(api, feed, x).await? {
            return Ok(forbidden);
        }
    }
}

/// The state that is kept from one connection to the next.
struct Connecting<'a> {
    api: &'a Api,
    x: &'a X,
    feed: &'a Feed,
    shared: &'a Shared,
    reconnect: Reconnect,
    /// The time when the rules were compared, and true if some may not be in force yet.
    synced: Option<Duration>,
    fresh_rules: bool,
    /// The reason why there is no connection.
    why: String,
    /// True if all connections were ended since the last one stood.
    freed: bool,
    backfill_minutes: u8,
    /// True if there never was a connection: nothing was promised before it.
    is_new: bool,
}

/// Streams without an end, or until X says that the account has no stream; returns the reason.
///
/// # Errors
/// Fatal if only a person can help.
pub(super) async fn run(api: &Api, x: &X, feed: &Feed, shared: &Shared) -> Result<String> {
    let mut connecting = Connecting {
        api,
        x,
        feed,
        shared,
        reconnect: Reconnect::new(),
        synced: None,
        fresh_rules: false,
        why: "the program was not running".into(),
        freed: false,
        backfill_minutes: x.backfill_minutes,
        is_new: begin(feed, feed.now()).await?,
    };
    loop {
        connecting.await_budget().await;
        if let Some(forbidden) = connecting.sync_rules().await? {
            return Ok(forbidden);
        }
        let verdict = match connecting.connect().await? {
            None => continue,
            Some(verdict) => verdict,
        };
        if let Some(forbidden) = connecting.heed(verdict).await? {
            return Ok(forbidden);
        }
    }
}

impl Connecting<'_> {
    async fn await_budget(&mut self) {
        while !has_budget(self.x, self.feed) {
            let Some(resets) = self.feed.budget_resets() else { return };
            self.feed.sleep_until("budget used", resets).await;
        }
    }

    async fn sync_rules(&mut self) -> Result<Option<String>> {
        let now = self.feed.clock().monotonic();
        let kept = self.synced.is_some_and(|synced| now.saturating_sub(synced) < RULES_KEPT);
        if kept && !rules::is_unsettled(self.feed) {
            return Ok(None);
        }
        match rules::sync(self.api, self.feed, self.x).await? {
            Ok(added) => self.fresh_rules |= added,
            Err(forbidden) => return Ok(Some(forbidden)),
        }
        self.synced = Some(now);
        Ok(None)
    }

    /// Connects and reads. Returns X's verdict, or `None` if X gave none and the wait before the
    /// next attempt is over.
    async fn connect(&mut self) -> Result<Option<Verdict>> {
        self.api.wait_for(STREAM, self.feed).await;
        let minutes = self.backfill();
        match self.api.open(minutes, self.feed).await {
            Err(failure) => {
                self.wait(Trouble::Network, &failure.to_string()).await;
                Ok(None)
            }
            Ok(mut body) if body.status() == 200 => self.streaming(&mut body, minutes).await,
            Ok(body) => match body.whole().await {
                Ok(reply) => Ok(Some(judge(&reply))),
                Err(failure) => {
                    self.wait(Trouble::Network, &failure.to_string()).await;
                    Ok(None)
                }
            },
        }
    }

    /// Returns the number of minutes that the stream is asked to repeat.
    fn backfill(&self) -> u8 {
        let missing = life(self.feed)
            .map(|life| self.feed.now() - life)
            .and_then(|missing| Duration::try_from(missing).ok());
        missing.map_or(0, minutes).min(self.backfill_minutes)
    }

    async fn streaming(&mut self, body: &mut Body, minutes: u8) -> Result<Option<Verdict>> {
        self.feed.set_state("");
        self.feed.works(STREAM);
        self.freed = false;
        let (since, now) = (self.feed.clock().monotonic(), self.feed.now());
        let repeating = self.note_gap(now, minutes).await?;
        self.shared.repeating.replace(repeating);
        let mut anything = false;
        let end = {
            let reading = read(body, self.x, self.feed, self.shared, &mut anything);
            match select(pin!(reading), pin!(keep_rules(self.api, self.feed, self.x))).await {
                Either::Left((end, _)) => end?,
                Either::Right((forbidden, _)) => End::Told(Verdict::Forbidden(forbidden?)),
            }
        };
        // A gap that wasn't repeated to its end is searched for.
        self.shared.repeating.take();
        let stood = self.feed.clock().monotonic().saturating_sub(since);
        let trouble = if anything { Trouble::Lost(stood) } else { Trouble::Network };
        match end {
            End::Lost(why) => {
                self.wait(trouble, &why).await;
                self.why = format!("the connection was lost: {why}");
                Ok(None)
            }
            End::Budget => {
                self.why = "the budget was used up".into();
                Ok(None)
            }
            End::Told(Verdict::Again(why)) => {
                self.wait(trouble, &why).await;
                self.why = format!("X ended the connection: {why}");
                Ok(None)
            }
            End::Told(verdict) => {
                self.why = format!("X ended the connection: {verdict:?}");
                Ok(Some(verdict))
            }
        }
    }

    /// Writes the gap before a new connection into the ledger. Returns the repetition, if the
    /// stream repeats the gap.
    async fn note_gap(&mut self, now: OffsetDateTime, minutes: u8) -> Result<Option<Repeating>> {
        let last = life(self.feed).unwrap_or(now);
        self.feed.set_cursor(LIVE, unix_ms(now));
        if std::mem::take(&mut self.is_new) {
            self.fresh_rules = false;
            return Ok(None);
        }
        let to = if std::mem::take(&mut self.fresh_rules) { now + rules::TAKE } else { now };
        let gap = self.feed.gap("", last, to, &self.why).await?;
        if !is_repeated(now - last, minutes) || to > now {
            return Ok(None);
        }
        Ok(Some(Repeating::new(gap, now, self.feed.clock().monotonic())))
    }

    /// Acts on a verdict. Returns the reason, if the account has no stream.
    async fn heed(&mut self, verdict: Verdict) -> Result<Option<String>> {
        match verdict {
            Verdict::Forbidden(why) if self.backfill_minutes > 0 => {
                self.feed.say(format!(
                    "this account may not use `backfill_minutes`, so the option is ignored: {why}"
                ));
                self.backfill_minutes = 0;
            }
            Verdict::Forbidden(why) => return Ok(Some(why)),
            Verdict::Stop(why) => return Err(Error::fatal(why)),
            Verdict::Wrong(why) => return Err(Error::fatal(format!("X refuses to stream: {why}"))),
            Verdict::NoRules => {
                self.synced = None;
                self.wait(Trouble::Http, "the rules were gone").await;
            }
            Verdict::Limited(reset) => {
                let wait = self.reconnect.after(Trouble::Limited);
                self.api.limited(STREAM, reset, wait, self.feed.now());
            }
            Verdict::TooManyConnections => self.free().await,
            Verdict::Again(why) => self.wait(Trouble::Http, &why).await,
            Verdict::Good => self.wait(Trouble::Http, "the answer isn't a stream").await,
        }
        Ok(None)
    }

    /// Handles another connection that X holds. If it may be this source's own (of a process that
    /// was killed, or a socket that was lost), all connections are ended, once; otherwise X's wait
    /// for 429 is kept.
    async fn free(&mut self) {
        let own = !self.is_new;
        if self.x.free_connections && own && !self.freed {
            self.freed = true;
            if self.api.free_connections(self.feed).await {
                self.feed.say("X still held a connection of this source, so all connections of the app were ended");
                self.wait(Trouble::Network, "a connection was still held").await;
                return;
            }
        }
        let wait = self.reconnect.after(Trouble::Limited);
        self.freed = false;
        self.api.quota.block(STREAM, self.feed.now() + wait);
        self.feed.say(format!(
            "X allows this app no second connection: if another program has one, end it, or give this source an app \
             of its own; tried again in {wait:?}"
        ));
    }

    async fn wait(&mut self, trouble: Trouble, why: &str) {
        let wait = self.reconnect.after(trouble);
        if !wait.is_zero() {
            self.feed.attempt_failed(STREAM, why, &format!("connects again in {wait:?}"));
            self.feed.sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_has_room_for_posts_that_come_late() {
        let s = Duration::from_secs;
        let asked = [0, 44, 45, 58, 284, 285, 286, 3_600].map(|missing| minutes(s(missing)));
        assert_eq!(asked, [1, 1, 2, 2, 5, 5, 0, 0]);
        let repeated = |missing, minutes| is_repeated(time::Duration::seconds(missing), minutes);
        assert_eq!(
            [(45, 1), (46, 1), (58, 1), (58, 2), (0, 0)].map(|(s, m)| repeated(s, m)),
            [true, false, false, true, false]
        );
    }
}
