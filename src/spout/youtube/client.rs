//! The calls of YouTube's API that are needed, each paid for from the key's quota.

use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;

use crate::clock::SharedClock;
use crate::error::{Error, Result};
use crate::social::{Backoff, Feed, Http, Quota, is_whole};

use super::YouTube;
use super::answer::{Answer, answer};
use super::pacific::{day, next_day};

/// The two purses of a key.
pub(super) const SEARCHES: &str = "searches";
const UNITS: &str = "units";

/// What of a video is asked for.
const PARTS: &str = "snippet,statistics,contentDetails";

/// A client for one key.
pub(super) struct Client {
    http: Http,
    quota: Quota,
    clock: SharedClock,
    searches: u64,
    units: u64,
}

/// A page that isn't there, and what to do instead.
#[derive(Debug)]
pub(super) enum Page {
    Is(Bytes),
    /// The token is no good any more.
    Gone,
    /// What it is a page of isn't there.
    Missing(String),
}

impl Client {
    pub fn new(config: &YouTube, clock: SharedClock) -> Result<Self> {
        let http = Http::new(&config.base_url, clock.clone())?.with_parameter("key", &config.api_key);
        let quota = Quota::of("youtube", config.api_key.reveal());
        Ok(Self { http, quota, clock, searches: config.searches_per_day, units: config.units_per_day })
    }

    fn now(&self) -> OffsetDateTime {
        self.clock.now()
    }

    /// Learns from the spool what was used of the day before a restart.
    pub fn restore(&self, feed: &Feed) {
        for bucket in [SEARCHES, UNITS] {
            let saved = feed.cursor(&part(bucket));
            let saved = saved.as_deref().and_then(|saved| saved.split_once(' '));
            if let Some((window, used)) = saved.and_then(|(window, used)| window.parse().ok().zip(used.parse().ok()))
                && let Ok(window) = OffsetDateTime::from_unix_timestamp(window)
            {
                self.quota.restore(bucket, used, window);
            }
        }
    }

    fn limit(&self, bucket: &str) -> u64 {
        if bucket == SEARCHES { self.searches } else { self.units }
    }

    /// How many searches are left today.
    pub fn searches_left(&self) -> u64 {
        self.searches.saturating_sub(self.quota.used(SEARCHES, day(self.now())))
    }

    /// Pays for a call; waits for the next day if nothing is left.
    async fn pay(&self, bucket: &str, feed: &Feed) {
        loop {
            let today = day(self.now());
            let blocked = self.quota.blocked(bucket, self.now());
            if blocked.is_none() && self.quota.take(bucket, 1, self.limit(bucket), today) {
                feed.set_cursor(
                    &part(bucket),
                    format!("{} {}", today.unix_timestamp(), self.quota.used(bucket, today)),
                );
                return;
            }
            let until = blocked.unwrap_or_else(|| next_day(self.now()));
            feed.sleep_until(&format!("quota of {bucket} used"), until).await;
        }
    }

    /// A page of a search.
    pub async fn search(&self, query: &[(&str, &str)], feed: &Feed) -> Result<Page> {
        let fixed = [("part", "snippet"), ("type", "video"), ("order", "date"), ("maxResults", "50")];
        self.get(SEARCHES, "/search", &[&fixed[..], query].concat(), feed).await
    }

    /// A page of a playlist.
    pub async fn playlist(&self, query: &[(&str, &str)], feed: &Feed) -> Result<Page> {
        let fixed = [("part", "snippet,contentDetails"), ("maxResults", "50")];
        self.get(UNITS, "/playlistItems", &[&fixed[..], query].concat(), feed).await
    }

    /// Up to fifty videos; those that are gone are missing from the answer.
    pub async fn videos(&self, ids: &[String], feed: &Feed) -> Result<Bytes> {
        let ids = ids.join(",");
        match self.get(UNITS, "/videos", &[("part", PARTS), ("id", &ids), ("maxResults", "50")], feed).await? {
            Page::Is(page) => Ok(page),
            Page::Gone | Page::Missing(_) => Ok(Bytes::from_static(b"{}")),
        }
    }

    /// Asks patiently: waits for quotas, and while YouTube is busy or out of reach.
    async fn get(&self, bucket: &str, path: &str, query: &[(&str, &str)], feed: &Feed) -> Result<Page> {
        let mut backoff = Backoff::exponential(Duration::from_secs(2), Duration::from_secs(300));
        loop {
            self.pay(bucket, feed).await;
            let why = match self.http.get(path, query).await {
                Ok(reply) => match answer(&reply) {
                    Answer::Good if is_whole(&reply.body) => {
                        feed.set_state("");
                        return Ok(Page::Is(reply.body));
                    }
                    Answer::DayUsed => {
                        // Somebody else used the same key: YouTube knows better what is left.
                        self.quota.block(bucket, next_day(self.now()));
                        continue;
                    }
                    Answer::NoSuchPage => return Ok(Page::Gone),
                    Answer::Missing(why) => return Ok(Page::Missing(why)),
                    Answer::Stop(why) => return Err(Error::fatal(why)),
                    Answer::Busy(why) => why,
                    Answer::Good => "the answer is cut".into(),
                },
                Err(failure) => failure.to_string(),
            };
            let wait = backoff.next_with_jitter();
            feed.set_state(format!("asks again in {} s: {why}", wait.as_secs().max(1)));
            feed.sleep(wait).await;
        }
    }

    /// One cheap call that a key is good for.
    ///
    /// # Errors
    /// What isn't good.
    pub async fn check(&self, channel: Option<&str>) -> Result<()> {
        let channel = channel.unwrap_or("UC_x5XG1OV2P6uZZ5FSM9Ttw");
        let reply = self.http.get("/channels", &[("part", "id"), ("id", channel)]).await;
        let reply = reply.map_err(|failure| Error::transient(format!("YouTube can't be asked: {failure}")))?;
        match answer(&reply) {
            Answer::Good | Answer::Missing(_) | Answer::NoSuchPage => Ok(()),
            Answer::DayUsed => Err(Error::transient("the key's quota of today is used up")),
            Answer::Busy(why) => Err(Error::transient(why)),
            Answer::Stop(why) => Err(Error::fatal(why)),
        }
    }
}

fn part(bucket: &str) -> String {
    format!("quota {bucket}")
}
