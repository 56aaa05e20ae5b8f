//! Reads posts again for their counts, since an event has no counts.

use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::net::answer::Meaning;
use crate::post::fields::{elements, get};
use crate::social::{Feed, Http, Refresher, Reply};

/// The number of posts that one call reads.
const BATCH: usize = 25;

/// The longest time that a rate limit is believed to last.
const RESET_MAX: Duration = Duration::from_secs(3_600);

/// The path of the call.
const PATH: &str = "/xrpc/app.bsky.feed.getPosts";

/// A reader of posts' counts through a public view of Bluesky.
pub(super) struct Counts {
    api_url: String,
    http: Option<Http>,
}

impl Counts {
    pub(crate) fn new(api_url: &str) -> Self {
        Self { api_url: api_url.into(), http: None }
    }

    async fn read(&mut self, feed: &Feed, uris: &[&str]) -> Result<Reply> {
        let http = match &mut self.http {
            Some(http) => http,
            none => none.insert(Http::new(&self.api_url, feed.clock().clone())?),
        };
        let query: Vec<_> = uris.iter().map(|uri| ("uris", *uri)).collect();
        let failed = |cause: &dyn ToString| {
            Error::transient("can't read the counts").because(cause.to_string())
        };
        let reply = http.get(PATH, &query).await.map_err(|failure| failed(&failure))?;
        let meaning = Meaning::of_status(reply.status);
        // If the server refuses an address, it says that the request is wrong, or that something is
        // absent.
        if matches!(meaning, Meaning::Done | Meaning::Wrong | Meaning::Absent) {
            return Ok(reply);
        }
        if let (Meaning::Limited, Some(resets)) = (meaning, resets(&reply)) {
            feed.sleep_until("counts: 429", resets.min(feed.now() + RESET_MAX)).await;
        }
        Err(failed(&format!("it answered {}", reply.status)))
    }
}

/// Returns the time from which requests are allowed again, which the answer has in seconds since
/// 1970.
fn resets(reply: &Reply) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(reply.header("ratelimit-reset")?.parse().ok()?).ok()
}

fn offer(feed: &Feed, reply: &Reply, after: &str) {
    for post in elements(get(&reply.body, "posts").unwrap_or_default()) {
        if let Err(why) = feed.offer_refreshed(post, after) {
            feed.refuse(post, &why);
        }
    }
}

#[async_trait(?Send)]
impl Refresher for Counts {
    fn batch(&self) -> usize {
        BATCH
    }

    async fn reread(&mut self, feed: &Feed, ids: &[String], after: &str) -> Result<()> {
        // Other records have no counts.
        let uris: Vec<_> = ids
            .iter()
            .map(String::as_str)
            .filter(|id| id.contains("/app.bsky.feed.post/"))
            .collect();
        if uris.is_empty() {
            return Ok(());
        }
        let reply = self.read(feed, &uris).await?;
        if reply.is_ok() {
            offer(feed, &reply, after);
            return Ok(());
        }
        // One address that the server refuses fails the call for all, so each is asked for alone.
        for uri in uris.iter().filter(|_| uris.len() > 1) {
            let reply = self.read(feed, &[uri]).await?;
            if reply.is_ok() {
                offer(feed, &reply, after);
            }
        }
        Ok(())
    }
}
