//! Reads toots again for their counts.

use async_trait::async_trait;

use crate::error::Result;
use crate::post::fields::elements;
use crate::social::{Feed, Refresher};

use super::Mastodon;
use super::api::{Api, Failed};

/// The number of toots that one call reads, which is the API's limit.
const BATCH: usize = 20;

/// The client that reads toots by their numbers on the instance.
pub(super) struct Counts {
    config: Mastodon,
    api: Option<Api>,
    /// True if the instance can't read several toots at once, as Mastodon before 4.3.
    singly: bool,
}

impl Counts {
    pub(crate) fn new(config: Mastodon) -> Self {
        Self { config, api: None, singly: false }
    }
}

#[async_trait(?Send)]
impl Refresher for Counts {
    fn batch(&self) -> usize {
        BATCH
    }

    async fn reread(&mut self, feed: &Feed, ids: &[String], after: &str) -> Result<()> {
        let api = match &mut self.api {
            Some(api) => api,
            none => none.insert(Api::new(&self.config, feed.clock().clone())?),
        };
        let offer = |status: &[u8]| {
            if let Err(why) = feed.offer_refreshed(status, after) {
                feed.refuse(status, &why);
            }
        };
        if !self.singly {
            let query: Vec<_> = ids.iter().map(|id| ("id[]", id.as_str())).collect();
            match api.get(feed, "/api/v1/statuses", &query).await {
                Ok(reply) => {
                    elements(&reply.body).for_each(offer);
                    return Ok(());
                }
                Err(Failed::Refused(_)) => self.singly = true,
                Err(Failed::Fatal(error)) => return Err(error),
            }
        }
        for id in ids {
            match api.get(feed, &format!("/api/v1/statuses/{id}"), &[]).await {
                Ok(reply) => offer(&reply.body),
                // The toot is gone.
                Err(Failed::Refused(_)) => {}
                Err(Failed::Fatal(error)) => return Err(error),
            }
        }
        Ok(())
    }
}
