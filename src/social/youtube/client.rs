//! The needed calls of YouTube's API, each paid for from the key's quota.

use std::cell::Cell;
use std::time::Duration;

use time::OffsetDateTime;

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::social::{Asking, Backoff, Feed, Http, Quota, Reply, Verdict};

use super::YouTube;
use super::answer::{Answer, answer};
use super::pacific::{day, next_day};

/// The two quotas of a key, and the turns of its searches.
const SEARCHES: &str = "searches";
const UNITS: &str = "units";
const TURNS: &str = "turns";

/// The length of a day. The searches that the key is allowed in a day are evenly spread: by default
/// one in 864 s.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The requested parts of a video.
const PARTS: &str = "snippet,statistics,contentDetails";

/// A client for one key.
pub(super) struct Client {
    http: Http,
    quota: Quota,
    clock: SharedClock,
    searches: u64,
    units: u64,
    /// The number of calls that were paid for so far.
    calls: Cell<u64>,
    /// True if the next search has waited for its turn.
    has_turn: Cell<bool>,
}

/// A page, or the reason why there is none.
#[derive(Debug)]
pub(super) enum Page {
    Is(Reply),
    /// The page hasn't changed.
    Same,
    /// The page's token is no longer valid.
    Gone,
    /// The channel or playlist doesn't exist, or YouTube refuses the request.
    Missing(String),
}

impl Client {
    pub(crate) fn new(config: &YouTube, clock: SharedClock) -> Result<Self> {
        let http =
            Http::new(&config.base_url, clock.clone())?.with_parameter("key", &config.api_key);
        let quota = Quota::of("youtube", config.api_key.reveal());
        let (searches, units) = (config.searches_per_day, config.units_per_day);
        Ok(Self {
            http,
            quota,
            clock,
            searches,
            units,
            calls: Cell::new(0),
            has_turn: Cell::new(false),
        })
    }

    fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// Restores from the spool the part of the day's quotas that was used before a restart.
    pub(crate) fn restore(&self, feed: &Feed) {
        for bucket in [SEARCHES, UNITS] {
            let saved = feed.cursor(&part(bucket));
            let saved = saved.as_deref().and_then(|saved| saved.split_once(' '));
            if let Some((window, used)) =
                saved.and_then(|(window, used)| window.parse().ok().zip(used.parse().ok()))
                && let Ok(window) = OffsetDateTime::from_unix_timestamp(window)
            {
                self.quota.restore(bucket, used, window);
            }
        }
        let turn = feed.cursor(&part(TURNS)).and_then(|turn| turn.parse().ok());
        if let Some(Ok(turn)) = turn.map(OffsetDateTime::from_unix_timestamp) {
            // If the clock was set back, the searches must not stop for long.
            self.quota.block(TURNS, turn.min(self.now() + self.every() * 100));
        }
    }

    /// Returns the time between two searches.
    fn every(&self) -> Duration {
        DAY / u32::try_from(self.searches).unwrap_or(u32::MAX).max(1)
    }

    /// Returns the number of calls that were paid for so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Takes the next turn for a search, in common with all spouts of this key, and saves it, so
    /// that several starts in a row don't search each time.
    fn reserve(&self, feed: &Feed) -> OffsetDateTime {
        let turn = self.quota.reserve(TURNS, self.now(), self.every());
        feed.set_cursor(&part(TURNS), (turn + self.every()).unix_timestamp().to_string());
        turn
    }

    /// Waits for the turn of the next search.
    pub(crate) async fn turn(&self, feed: &Feed) {
        let turn = self.reserve(feed);
        self.has_turn.set(true);
        // Waits in pieces, since the wall clock may be set.
        while let Ok(left) = Duration::try_from(turn - self.now())
            && !left.is_zero()
        {
            feed.sleep(left.min(Duration::from_secs(60))).await;
        }
    }

    fn limit(&self, bucket: &str) -> u64 {
        if bucket == SEARCHES { self.searches } else { self.units }
    }

    /// Pays for a call; waits for the next day if the quota is used up.
    async fn pay(&self, bucket: &str, feed: &Feed) -> Result<()> {
        // Further pages of a search don't wait for their turns, since their tokens expire: the next
        // search waits longer instead.
        if bucket == SEARCHES && !self.has_turn.replace(false) {
            self.reserve(feed);
        }
        loop {
            let today = day(self.now());
            let blocked = self.quota.blocked(bucket, self.now());
            if blocked.is_none() && self.quota.take(bucket, 1, self.limit(bucket), today) {
                feed.set_cursor(
                    &part(bucket),
                    format!("{} {}", today.unix_timestamp(), self.quota.used(bucket, today)),
                );
                self.calls.set(self.calls.get() + 1);
                // Searches are so few that each is saved before it is made.
                return if bucket == SEARCHES { feed.save().await } else { Ok(()) };
            }
            let until = blocked.unwrap_or_else(|| next_day(self.now()));
            feed.sleep_until(&format!("quota of {bucket} used"), until).await;
        }
    }

    /// Returns a page of a search.
    pub(crate) async fn search(&self, query: &[(&str, &str)], feed: &Feed) -> Result<Page> {
        let fixed =
            [("part", "snippet"), ("type", "video"), ("order", "date"), ("maxResults", "50")];
        self.get(SEARCHES, "/search", &[&fixed[..], query].concat(), None, feed).await
    }

    /// Returns a page of a playlist, unless it still has this etag.
    pub(crate) async fn playlist(
        &self,
        query: &[(&str, &str)],
        etag: Option<&str>,
        feed: &Feed,
    ) -> Result<Page> {
        let fixed = [("part", "snippet,contentDetails"), ("maxResults", "50")];
        self.get(UNITS, "/playlistItems", &[&fixed[..], query].concat(), etag, feed).await
    }

    /// Returns up to fifty videos; videos that are gone are missing from the answer. The call has
    /// no `maxResults`, which is for lists.
    ///
    /// # Errors
    /// Transient if there is no usable answer.
    pub(crate) async fn videos(&self, ids: &[String], feed: &Feed) -> Result<Reply> {
        match self
            .get(UNITS, "/videos", &[("part", PARTS), ("id", &ids.join(","))], None, feed)
            .await?
        {
            Page::Is(reply) => Ok(reply),
            Page::Same | Page::Gone => Err(Error::transient("YouTube returned no videos")),
            Page::Missing(why) => {
                Err(Error::transient(format!("YouTube returned no videos, {why}")))
            }
        }
    }

    /// Repeats a request: waits for quotas, and while YouTube is busy or unreachable.
    async fn get(
        &self,
        bucket: &str,
        path: &str,
        query: &[(&str, &str)],
        etag: Option<&str>,
        feed: &Feed,
    ) -> Result<Page> {
        let headers: Vec<_> = etag.map(|etag| ("if-none-match", etag)).into_iter().collect();
        let request = async || {
            self.pay(bucket, feed).await?;
            Ok(self.http.get_with(path, query, &headers).await)
        };
        let judge = |reply: Reply, _: &mut Backoff| {
            Ok(match answer(&reply) {
                Answer::Good => Verdict::Good(Page::Is(reply)),
                Answer::Same => Verdict::Good(Page::Same),
                Answer::DayUsed => {
                    // Somebody else used the same key: YouTube knows better how much is left.
                    self.quota.block(bucket, next_day(self.now()));
                    Verdict::Limited
                }
                Answer::NoSuchPage => Verdict::Stays(Page::Gone),
                Answer::Missing(why) | Answer::Refused(why) => Verdict::Stays(Page::Missing(why)),
                Answer::Stop(why) => return Err(Error::fatal(why)),
                Answer::Busy(why) => Verdict::Again(why),
            })
        };
        let waits = Backoff::exponential(Duration::from_secs(2), Duration::from_secs(300));
        Asking { feed, part: bucket, of: "" }.until_answered(waits, request, judge).await
    }

    /// Checks the key by one cheap call.
    ///
    /// # Errors
    /// If YouTube refuses the key, or doesn't answer.
    pub(crate) async fn check(&self, channel: Option<&str>) -> Result<()> {
        let channel = channel.unwrap_or("UC_x5XG1OV2P6uZZ5FSM9Ttw");
        let reply = self.http.get("/channels", &[("part", "id"), ("id", channel)]).await;
        let reply =
            reply.map_err(|failure| Error::transient(format!("can't reach YouTube: {failure}")))?;
        match answer(&reply) {
            Answer::Good | Answer::Same | Answer::Missing(_) | Answer::NoSuchPage => Ok(()),
            Answer::DayUsed => Err(Error::transient("the key's quota of today is used up")),
            Answer::Busy(why) => Err(Error::transient(why)),
            Answer::Refused(why) => {
                Err(Error::fatal(format!("YouTube refuses the request, {why}")))
            }
            Answer::Stop(why) => Err(Error::fatal(why)),
        }
    }
}

fn part(bucket: &str) -> String {
    format!("quota {bucket}")
}
