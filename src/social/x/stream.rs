//! The filtered stream: one connection, watched by its keep-alives, and made again by X's rules.

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

/// After so long without a byte a connection is taken for dead: X sends at least a keep-alive every
/// 20 s, and half of that more is for the network.
const STALLED: Duration = Duration::from_secs(30);

/// After so long the rules are compared again, should a connection be made.
const RULES_KEPT: Duration = Duration::from_secs(600);

/// How often they are compared while a connection stands.
const RULES_LOOKED_AT: Duration = Duration::from_secs(3_600);

/// How many posts a budget still allows when the stream is ended, at most: a second at X's full
/// rate, which may be on its way.
const RESERVE_MAX: u64 = 250;

/// The longest time that X repeats by `backfill_minutes`.
const BACKFILL_MAX: Duration = Duration::from_secs(300);

/// How many minutes have to be repeated for a loss so long ago; none if X doesn't repeat so many.
fn minutes(missing: Duration) -> u8 {
    // What was created just before may not have been delivered by then.
    let missing = missing + BEFORE;
    if missing > BACKFILL_MAX { 0 } else { (missing.as_secs() / 60 + 1).min(5) as u8 }
}

/// Whether so many minutes repeat all that a loss so long ago may have left undelivered.
fn is_repeated(missing: time::Duration, minutes: u8) -> bool {
    minutes > 0 && missing + BEFORE <= Duration::from_secs(60) * u32::from(minutes)
}

/// Where a stream's bytes come from.
pub(super) trait Pieces {
    /// The next bytes; `None` at the end.
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

/// Why a connection is over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It ended, or broke.
    Lost(String),
    /// The budget is nearly used up.
    Budget,
    /// X said why.
    Told(Verdict),
}

/// Whether so many posts are left that streaming is worth its while.
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
        // Waiting for room here is what lets X slow down; what it drops then is in the gap of the
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

/// Ends what the stream repeats, if it is over; what isn't known to be so is left to the search.
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

/// Takes a line; gives what X says by it about the connection.
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

/// Compares the rules while a connection stands, since another program may have deleted some. Ends
/// only if X lets nobody look.
async fn keep_rules(api: &Api, feed: &Feed, x: &X) -> Result<String> {
    loop {
        feed.sleep(RULES_LOOKED_AT).await;
        if let Err(forbidden) = rules::sync(api, feed, x).await? {
            return Ok(forbidden);
        }
    }
}

/// What has to be known from one connection to the next.
struct Connecting<'a> {
    api: &'a Api,
    x: &'a X,
    feed: &'a Feed,
    shared: &'a Shared,
    reconnect: Reconnect,
    /// When the rules were compared, and whether some may not be in force yet.
    synced: Option<Duration>,
    fresh_rules: bool,
    /// Why there is no connection.
    why: String,
    /// Whether all connections were ended since the last one stood.
    freed: bool,
    backfill_minutes: u8,
    /// Whether there was no connection ever: nothing was promised before it.
    is_new: bool,
}

/// Streams for ever, or until X says that the account has no stream: why.
///
/// # Errors
/// Fatal where only a person can help.
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

    /// Connects and reads. Gives what X says; nothing if it said nothing and the wait for the next
    /// try is over.
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

    /// How many minutes the stream is asked to repeat.
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
        // What wasn't repeated to its end is searched for.
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

    /// A connection stands: what may be missing before it is written down.
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

    /// Does what an answer asks for. Gives why, if the account has no stream.
    async fn heed(&mut self, verdict: Verdict) -> Result<Option<String>> {
        match verdict {
            Verdict::Forbidden(why) if self.backfill_minutes > 0 => {
                self.feed.say(format!(
                    "X repeats nothing for this account, so `backfill_minutes` is left out: {why}"
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
            Verdict::Good => self.wait(Trouble::Http, "an answer that is no stream").await,
        }
        Ok(None)
    }

    /// Another connection is held. If it is this source's own, of a process that was killed or a
    /// socket that was lost, it is ended, once; then X's wait for 429 is kept.
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
