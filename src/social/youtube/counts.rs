//! Reads videos again for their counts, up to fifty in a call.

use async_trait::async_trait;

use crate::error::{Error, Result};
use crate::post::fields::{elements, get, string};
use crate::social::{Feed, Platform, Refresher, delete};

use super::YouTube;
use super::client::Client;

/// The number of ids that a call accepts.
const IDS_MAX: usize = 50;

/// The length below which an id is a video's; ids of a playlist's items are longer, and no video
/// can be read by them.
const VIDEO_ID_LESS: usize = 24;

/// The client that reads videos again.
pub(super) struct Counts {
    config: YouTube,
    client: Option<Client>,
}

impl Counts {
    pub(crate) fn new(config: &YouTube) -> Self {
        Self { config: config.clone(), client: None }
    }
}

#[async_trait(?Send)]
impl Refresher for Counts {
    fn batch(&self) -> usize {
        IDS_MAX
    }

    async fn reread(&mut self, feed: &Feed, ids: &[String], after: &str) -> Result<()> {
        feed.await_budget().await;
        if self.client.is_none() {
            self.client = Some(Client::new(&self.config, feed.clock().clone())?);
        }
        let Some(client) = &self.client else { return Ok(()) };
        let ids: Vec<_> = ids.iter().filter(|id| id.len() < VIDEO_ID_LESS).cloned().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let reply = client.videos(&ids, feed).await?;
        take(&reply.body, feed, &ids, after)
    }
}

/// Offers the videos of an answer, and deletions of those that it lacks: YouTube doesn't tell if a
/// video was deleted or made private. An answer without a list says nothing about deletions.
fn take(reply: &[u8], feed: &Feed, ids: &[String], after: &str) -> Result<()> {
    let items = get(reply, "items").filter(|items| items.first() == Some(&b'['));
    let items = items.ok_or_else(|| Error::transient("YouTube's answer has no list of videos"))?;
    let mut is_plain = true;
    let mut there = Vec::new();
    for video in elements(items) {
        let id = get(video, "id").and_then(string);
        is_plain &= id.is_some();
        there.extend(id.map(|id| id.into_owned()));
        if let Err(why) = feed.offer_refreshed(video, after) {
            feed.refuse(video, &why);
        }
    }
    // A video without an id may be any of the requested ones.
    for id in ids.iter().filter(|id| is_plain && !there.contains(id)) {
        if let Ok(gone) = delete(YouTube::KIND, id, feed.now(), b"null", feed.now()) {
            feed.offer(gone);
        }
    }
    Ok(())
}
